"""What the programs of this machine print about it: ``ip``, ``nft``, ``iptables-legacy-save``.

Pure readers of their JSON, and one function that runs them, bounded in time and output.
"""

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final

from lvsha.core.addr import Address
from lvsha.core.errors import LvshaError
from lvsha.doctor.facts import Link, Neighbour, OwnAddress, Route

Json = Any

LIMIT_S: Final = 5.0
MAX_OUTPUT: Final = 4 << 20


def run(*command: str, given: str = "") -> str:
    """What a program prints, given at most a few kilobytes.

    Raises:
        LvshaError: it is not there, failed, took too long or said too much.
    """
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        raise LvshaError(f"{command[0]}: {error.strerror}") from None
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        try:
            with process.stdin as pipe, contextlib.suppress(BrokenPipeError):
                pipe.write(given.encode())
            output = read_all(process.stdout.fileno(), LIMIT_S)
        except LvshaError as error:
            process.kill()
            raise LvshaError(f"{' '.join(command)}: {error}") from None
        said = process.stderr.read(2000).decode(errors="replace").strip()
    if process.returncode != 0:
        raise LvshaError(f"{' '.join(command)}: {said or f'exit status {process.returncode}'}")
    return output.decode(errors="replace")


def read_all(file: int, limit_s: float, limit_bytes: int = MAX_OUTPUT) -> bytes:
    """Everything that a program says, up to its end.

    Raises:
        LvshaError: it takes too long, or says too much.
    """
    end = time.monotonic() + limit_s
    parts: list[bytes] = []
    size = 0
    while True:
        if not select.select([file], [], [], max(0.0, end - time.monotonic()))[0]:
            raise LvshaError(f"no answer in {limit_s:.0f} s")
        data = os.read(file, 1 << 16)
        if not data:
            return b"".join(parts)
        parts.append(data)
        size += len(data)
        if size > limit_bytes:
            raise LvshaError(f"more than {limit_bytes >> 20} MiB")


def run_ip(questions: Sequence[str], *options: str) -> list[Json]:
    """What one ``ip -j`` process answers to several questions: a process each costs more than all answers.

    Raises:
        LvshaError: one of them was not answered.
    """
    text = run("ip", *options, "-j", "-batch", "-", given="\n".join(questions) + "\n")
    decoder = json.JSONDecoder()
    answers: list[Json] = []
    at = 0
    try:
        while rest := text[at:].lstrip():
            at = len(text) - len(rest)
            answer, length = decoder.raw_decode(rest)
            answers.append(answer)
            at += length
    except ValueError:
        raise LvshaError(f"ip -batch: {text[at : at + 80]!r} is no JSON: is iproute2 too old?") from None
    if len(answers) != len(questions):
        raise LvshaError(f"ip -batch: {len(answers)} answers to {len(questions)} questions")
    return answers


def links(rows: Json) -> tuple[Link, ...]:
    """Of ``ip -j -d -s -s link``."""
    return tuple(_link(row) for row in rows if row.get("ifname"))


def _link(row: Json) -> Link:
    information = row.get("linkinfo", {})
    data = information.get("info_data", {})
    flags = row.get("flags", [])
    return Link(
        name=row["ifname"],
        mac=row.get("address", "") if row.get("link_type") == "ether" else "",
        mtu=row.get("mtu", 0),
        is_up="UP" in flags and "NO-CARRIER" not in flags,
        kind=information.get("info_kind", ""),
        checks_sums=bool(data.get("icsum", False)) if isinstance(data, dict) else False,
        checksum_errors=row.get("stats64", {}).get("rx", {}).get("crc_errors", 0),
    )


def addresses(rows: Json) -> tuple[OwnAddress, ...]:
    """Of ``ip -j address``."""
    return tuple(
        OwnAddress(
            interface=row["ifname"],
            address=ip_address(own["local"]),
            prefix_length=own["prefixlen"],
            is_host_scope=own.get("scope") == "host",
        )
        for row in rows
        for own in row.get("addr_info", [])
        if own.get("family") in ("inet", "inet6") and "local" in own
    )


def routes(rows: Iterable[Json], version: int) -> Iterator[Route]:
    """Of ``ip -j route``; those that are no unicast routes are left out."""
    for row in rows:
        if row.get("type", "unicast") != "unicast":
            continue
        network = ip_network(row["dst"] if row["dst"] != "default" else ("0.0.0.0/0", "::/0")[version == 6])
        hops = row.get("nexthops") or [row]
        for hop in hops:
            if "dev" in hop:
                via = hop.get("gateway") or hop.get("via", {}).get("host")
                yield Route(network=network, interface=hop["dev"], gateway=ip_address(via) if via else None)


def redirected(rows: Iterable[Json]) -> Iterator[tuple[Address, Address]]:
    """Of ``ip -j route show cache``: what ICMP redirects have changed."""
    for row in rows:
        if "redirected" in row.get("cache", []) and "gateway" in row:
            yield ip_address(row["dst"]), ip_address(row["gateway"])


def neighbours(rows: Iterable[Json]) -> Iterator[Neighbour]:
    """Of ``ip -j neigh``; those that have no MAC are left out."""
    for row in rows:
        if "lladdr" in row and not {"FAILED", "INCOMPLETE"} & set(row.get("state", [])):
            yield Neighbour(interface=row["dev"], address=ip_address(row["dst"]), mac=row["lladdr"])
