"""Reads what a machine is, applies a plan to it, and takes it back."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from lvsha.core.addr import Address
from lvsha.core.errors import KernelError, LvshaError
from lvsha.io.rtnl import RouteSocket
from lvsha.io.sysctl import read_sysctl
from lvsha.realserver.director import MASQUERADE_TABLE
from lvsha.realserver.model import Machine, Network, Step, StepKind
from lvsha.realserver.plan import sysctls_of
from lvsha.realserver.tunnels import MSS_TABLE

STATE = Path("/run/lvsha-realserver/applied.json")
"""What was applied, newest last, so that it can be taken back. Gone with the kernel, as the changes are."""

_MODULES = ("ipip", "sit", "ip_gre", "ip6_gre", "ip6_tunnel", "fou", "fou6")

Run = Callable[[tuple[str, ...]], None]


def look(*, with_nft: bool = False) -> Machine:
    """This machine, in the network namespace of the caller. Asking nftables may load it."""
    addresses: dict[Address, str] = {}
    networks: dict[Address, Network] = {}
    with RouteSocket() as routes:
        links = routes.links()
        for address in routes.addresses():
            link = links.get(address.index)
            prefix = address.prefix
            addresses[prefix.ip] = link.name if link else "?"
            networks[prefix.ip] = ip_interface(str(prefix)).network
    names = sorted(link.name for link in links.values())
    sysctls = {}
    for name in sysctls_of(name for name in names if name != "lo"):
        try:
            sysctls[name] = read_sysctl(name)
        except (KernelError, ValueError):
            continue  # no such interface yet
    gateways, on_link = _routes()
    has_nft = with_nft and _has_nft()
    return Machine(
        addresses=addresses,
        sysctls=sysctls,
        links={link.name: link.mtu for link in links.values()},
        up=frozenset(link.name for link in links.values() if link.up),
        networks=networks,
        on_link=on_link,
        gateways=gateways,
        modules=frozenset(name for name in _MODULES if Path("/sys/module", name).exists()),
        fou_ports=frozenset(
            row["port"] for family in ((), ("-6",)) for row in _ask("ip", *family, "-j", "fou", "show")
        ),
        nft_tables=_tables() if has_nft else {},
        has_nft=has_nft,
    )


def _routes() -> tuple[dict[int, Address], frozenset[tuple[Network, str]]]:
    """The default gateways, and what is on the link; of the main table."""
    gateways: dict[int, Address] = {}
    on_link = set()
    for version in (4, 6):
        for row in _ask("ip", f"-{version}", "-j", "route", "show", "table", "main"):
            if row["dst"] == "default":
                if "gateway" in row and version not in gateways:
                    gateways[version] = ip_address(row["gateway"])
            elif "gateway" not in row and "dev" in row and row.get("type", "unicast") == "unicast":
                on_link.add((ip_network(row["dst"]), row["dev"]))
    return gateways, frozenset(on_link)


def _ask(*command: str) -> list[Any]:
    """JSON of ``ip``; nothing where the kernel has no such thing."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return list(json.loads(done.stdout)) if done.returncode == 0 and done.stdout.strip() else []


def _has_nft() -> bool:
    """Whether both the program and the kernel can do it."""
    if shutil.which("nft") is None:
        return False
    table = "table inet lvsha-try { chain output { type filter hook output priority 0; }; }"
    return subprocess.run(("nft", "-c", table), capture_output=True, check=False, timeout=30).returncode == 0


def _tables() -> dict[str, str]:
    """Those of ours that there are."""
    found = {}
    for name in (MSS_TABLE, MASQUERADE_TABLE):
        command = ("nft", "list", "table", "inet", name)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        if done.returncode == 0:
            found[name] = done.stdout
    return found


def run(command: tuple[str, ...]) -> None:
    """One command of a plan.

    Raises:
        LvshaError: it failed, with what it said.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LvshaError(f"{' '.join(command)}: {error}") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise LvshaError(f"{' '.join(command)}: {said[0] if said else f'exit status {done.returncode}'}")


def own_session(process: Path = Path("/proc/self"), environment: Mapping[str, str] | None = None) -> str:
    """``SSH_CONNECTION`` of this shell or of one above it: sudo and su do not hand it down. Empty: none."""
    said = (os.environ if environment is None else environment).get("SSH_CONNECTION", "")
    for _ in range(64):
        if said:
            return said
        try:
            parent = process.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            process = process.parent / parent
            variables = process.joinpath("environ").read_bytes().split(b"\0")
        except (OSError, IndexError):
            return ""
        said = next(
            (each[15:].decode(errors="replace") for each in variables if each.startswith(b"SSH_CONNECTION=")),
            "",
        )
    return ""


def cuts_session(steps: Sequence[Step], machine: Machine, session: str) -> Step | None:
    """A step that would take the way to the operator's own ssh session, ``SSH_CONNECTION``."""
    if len(words := session.split()) != 4:
        return None
    client = ip_address(words[0].partition("%")[0])
    hosts = {
        step.command[4] for step in steps if step.kind is StepKind.ROUTE and "default" not in step.command
    }
    hosts |= {str(route) for route, _ in machine.on_link}
    is_near = any(client in route for route, _ in machine.on_link)
    for step in steps:
        if step.is_done:
            continue
        if step.kind is StepKind.ADDRESS and step.what.startswith(f"{client}/"):
            return step
        if step.kind is not StepKind.ROUTE or step.command[1] != f"-{client.version}":
            continue
        if step.command[4] == "default":
            if not is_near and client.version in machine.gateways:
                return step
        elif (
            step.command[3] == "del"
            and client in ip_network(step.command[4])
            and f"{client}/{client.max_prefixlen}" not in hosts
        ):
            return step
    return None


def undo_cuts_session(steps: Iterable[Step], machine: Machine, session: str) -> Step | None:
    """The same of taking back: a session with a virtual address, or by the default route that goes."""
    if len(words := session.split()) != 4:
        return None
    client, server = (ip_address(word.partition("%")[0]) for word in (words[0], words[2]))
    is_near = any(client in route for route, _ in machine.on_link)
    for step in steps:
        if step.kind is StepKind.ADDRESS and step.what.startswith(f"{server}/"):
            return step
        is_default = step.kind is StepKind.ROUTE and step.command[4] == "default"
        if is_default and not is_near and step.command[1] == f"-{client.version}":
            return step
    return None


def apply(steps: Iterable[Step], state: Path = STATE, execute: Run = run) -> list[Step]:
    """Make it so; what was done. On a failure everything done before is taken back.

    Raises:
        LvshaError: a step failed, or the state file cannot be written.
    """
    done: list[Step] = []
    earlier = applied(state)
    kept = list(earlier)
    ways_back = {step.undo for step in earlier}
    try:
        for step in steps:
            if step.is_done:
                continue
            execute(step.command)
            done.append(step)
            if step.undo is None or step.undo not in ways_back:  # applied again: there is one way back
                ways_back.add(step.undo)
                kept.append(step)
            _save(state, kept)  # before the next: a crash here leaves a way back
    except LvshaError:
        for step in reversed(done):
            if step.undo is not None:
                execute(step.undo)
        _save(state, earlier)
        raise
    return done


def undo(state: Path = STATE, execute: Run = run) -> tuple[list[Step], list[str]]:
    """Take back everything that was applied: the steps, and what failed."""
    steps = applied(state)
    failures = []
    for step in reversed(steps):
        if step.undo is None:
            continue
        try:
            execute(step.undo)
        except LvshaError as error:
            failures.append(str(error))
    state.unlink(missing_ok=True)
    return steps, failures


def applied(state: Path = STATE) -> list[Step]:
    """What is written there.

    Raises:
        LvshaError: it cannot be read.
    """
    try:
        return [
            Step(
                kind=StepKind(entry["kind"]),
                what=entry["what"],
                command=tuple(entry["command"]),
                undo=None if entry["undo"] is None else tuple(entry["undo"]),
                reason=entry["reason"],
            )
            for entry in json.loads(state.read_bytes())
        ]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LvshaError(f"{state}: {error.strerror}") from None
    except (ValueError, LookupError, TypeError, RecursionError):
        raise LvshaError(
            f"{state} is not what `lvsha realserver apply` writes: remove it, and take back by hand what was"
            " applied"
        ) from None


def _save(state: Path, steps: list[Step]) -> None:
    try:
        if not steps:
            state.unlink(missing_ok=True)
            return
        state.parent.mkdir(parents=True, exist_ok=True)
        fresh = state.with_suffix(".new")
        fresh.write_text(json.dumps([asdict(step) for step in steps], indent=1))
        fresh.rename(state)
    except OSError as error:
        raise LvshaError(f"{state}: {error.strerror}; --state names another place") from None
