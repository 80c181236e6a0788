"""What tshark says of sync messages, with the stock dissector and with proto/wireshark/lvsha.lua.

``.venv/bin/python -m tests.interop.sync_dissection`` prints which fields each of them has right, over all
captures and vectors: the figures of docs/reference/sync-protocol.md.
"""

import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from lvsha.core.errors import DropReason
from lvsha.io.capture import CaptureFile, CaptureWriter
from lvsha.wire.ipvs_sync.records import Loses, SyncConn
from tests.conformance.ipvs_sync_vectors import load_vectors
from tests.conformance.sync_captures import capture_paths, datagrams
from tests.conformance.sync_reading import looked_at

SCRIPT = Path(__file__).resolve().parents[2] / "proto" / "wireshark" / "lvsha.lua"
PORT = 8848

Fields = dict[str, str]
"""What is said of one entry, by field; without those that the entry does not have."""


@dataclass(slots=True)
class Said:
    """Of one datagram."""

    entries: list[Fields] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)
    problems: set[str] = field(default_factory=set)


def corpus(folder: Path) -> tuple[Path, list[bytes]]:
    """One capture of all there is: the frames of the captures, and the vectors in frames of their own."""
    path, messages = folder / "corpus.pcap", []
    with path.open("wb") as file:
        writer = CaptureWriter(file)
        for capture in capture_paths():
            messages += datagrams(capture)
            with capture.open("rb") as frames:
                for frame in CaptureFile(frames):
                    writer.write(frame.time_ns, frame.data)
        for vector in load_vectors():
            if vector.error is None and len(vector.data) < 9_300:
                messages.append(vector.data)
                writer.write(0, frame_around(vector.data, len(messages)))
    return path, messages


def frame_around(payload: bytes, number: int) -> bytes:
    """Ethernet, IPv4 and UDP around it; checksums are left out, which tshark does not mind."""
    udp = (
        (40_000).to_bytes(2, "big")
        + PORT.to_bytes(2, "big")
        + (len(payload) + 8).to_bytes(2, "big")
        + b"\0\0"
    )
    total = (len(payload) + 28).to_bytes(2, "big")
    ip = (
        b"\x45\0"
        + total
        + number.to_bytes(2, "big")
        + b"\0\0\1\x11\0\0"
        + bytes((10, 0, 0, 1, 224, 0, 0, 81))
    )
    return bytes.fromhex("01005e000051020000000001") + b"\x08\x00" + ip + udp + payload


def dissect(path: Path, *, script: Path | None) -> list[Said]:
    """One ``Said`` for each datagram, in the order of the capture."""
    words = ["tshark", "-n", "-r", str(path), "-T", "pdml"]
    words += ["-X", f"lua_script:{script}"] if script else []
    words += ["-d", "udp.port==8849-8851,ipvs"] if script is None else []
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert script is None or b"lua" not in done.stderr.lower(), done.stderr.decode()
    name = "lvsha_sync" if script else "ipvs"
    found = []
    for packet in ElementTree.fromstring(done.stdout):
        top = next((each for each in packet if each.get("name") == name), None)
        if top is not None:
            found.append(_ours(top) if script else _stock(top))
    return found


def _ours(top: ElementTree.Element) -> Said:
    said = Said()
    said.problems = {str(each.get("show")) for each in top.iter("field") if _is(each, "problem")}
    for branch in top.findall("proto"):
        shown: dict[str, list[str]] = {}
        for each in branch.iter("field"):
            name = str(each.get("name")).removeprefix("lvsha_sync.")
            shown.setdefault(name, []).append(str(each.get("value" if name in _RAW else "show")))
        if "verdict" not in shown:
            continue
        said.verdicts.append(shown["verdict"][0])
        fields = {name: str(int(shown[name][0], 0)) for name in _NUMBERS if name in shown}
        for name in ("caddr", "vaddr", "daddr"):
            if name in shown:
                fields[name] = shown[name][0]
            elif f"{name}6" in shown:
                fields[name] = str(ip_address(shown[f"{name}6"][0]))
        fields["family"] = "6" if int(shown.get("type", ["0"])[0], 0) & 1 else "4"
        if "state_name" in shown:
            fields["state"] = shown["state_name"][0]
        if "in_seq.init_seq" in shown:
            fields["sequence data"] = ",".join(shown[name][0] for name in _SEQUENCE)
        fields |= {name: shown[name][0] for name in _RAW if name in shown}
        said.entries.append(fields)
    return said


def _is(element: ElementTree.Element, name: str) -> bool:
    return element.get("name") == f"lvsha_sync.{name}"


_RAW = ("pe_name", "pe_data")
"""Compared as hexadecimal digits: they can hold anything."""
_NUMBERS = ("protocol", "cport", "vport", "dport", "fwmark", "timeout", "flags")
_SEQUENCE = tuple(
    f"{way}_seq.{name}" for way in ("in", "out") for name in ("init_seq", "delta", "previous_delta")
)


def _stock(top: ElementTree.Element) -> Said:
    said = Said()
    for branch in top.findall("field"):
        if not str(branch.get("show")).startswith("Connection #"):
            continue
        shown = {str(each.get("name")).removeprefix("ipvs."): each for each in branch.iter("field")}
        fields: Fields = {}
        names = {"proto": "protocol", "flags.v1": "flags"}
        for theirs in ("proto", "cport", "vport", "dport", "fwmark", "timeout", "flags", "flags.v1"):
            if theirs in shown:
                fields[names.get(theirs, theirs)] = str(int(str(shown[theirs].get("show")), 0))
        for name in ("caddr", "vaddr", "daddr"):
            for theirs in (name, f"{name}6"):
                if theirs in shown:
                    fields[name] = str(ip_address(str(shown[theirs].get("show"))))
        if "type" in shown:
            family = re.search(r"IPv(\d)", str(shown["type"].get("showname")))
            fields["family"] = family[1] if family else "unknown"
        else:
            fields["family"] = "4"
        if "state" in shown:
            fields["state"] = str(shown["state"].get("showname")).removeprefix("State: ").split(" (")[0]
        if "in_seq.initial" in shown:
            numbers = [shown.get(f"{way}_seq.{name}") for way in ("in", "out") for name in _STOCK_SEQUENCE]
            fields["sequence data"] = ",".join(
                "none" if each is None else str(each.get("show")) for each in numbers
            )
        said.entries.append(fields)
    return said


_STOCK_SEQUENCE = ("initial", "delta", "pdelta")


def expected(data: bytes) -> Said:
    """The codec's reading: the entries that a receiver looks at, what it does with each, and why it stops."""
    message, entries = looked_at(data)
    if message is None:
        return Said()
    said = Said([_fields(conn, message.version) for conn, _ in entries], [verdict for _, verdict in entries])
    for problem in message.problems:
        if problem.loses is not Loses.NOTHING or problem.reason is DropReason.TRAILING_BYTES:
            said.problems.add(str(problem.reason))
        if problem.loses in (Loses.MESSAGE, Loses.REST) or problem.reason is DropReason.TRAILING_BYTES:
            break
    return said


def _fields(conn: SyncConn, version: int) -> Fields:
    fields = {
        "family": "6" if conn.is_inet6 else "4",
        "protocol": str(conn.protocol),
        "flags": str(conn.flags),
        "state": conn.state_name,
        "cport": str(conn.cport),
        "vport": str(conn.vport),
        "dport": str(conn.dport),
        "caddr": str(conn.client),
        "vaddr": str(conn.virtual),
        "daddr": str(conn.destination),
    }
    if version:
        fields |= {"fwmark": str(conn.fwmark), "timeout": str(conn.timeout)}
    if conn.sequence is not None:
        fields["sequence data"] = ",".join(str(number) for each in conn.sequence for number in each)
    if conn.pe_name:
        fields["pe_name"] = conn.pe_name.hex()
    if conn.pe_data:
        fields["pe_data"] = conn.pe_data.hex()
    return fields


@dataclass(slots=True)
class Score:
    right: Counter[str] = field(default_factory=Counter)
    total: Counter[str] = field(default_factory=Counter)
    whole_entries: int = 0
    entries: int = 0

    def add(self, wanted: Iterable[Fields], given: list[Fields]) -> None:
        for number, fields in enumerate(wanted):
            said = given[number] if number < len(given) else {}
            right = [name for name, value in fields.items() if said.get(name) == value]
            self.right.update(right)
            self.total.update(fields.keys())
            self.entries += 1
            self.whole_entries += len(right) == len(fields)

    @property
    def share(self) -> float:
        return self.right.total() / self.total.total()


def score(path: Path, messages: list[bytes], script: Path | None) -> Score:
    """How many fields of the entries that a receiver looks at are right."""
    result = Score()
    for data, said in zip(messages, dissect(path, script=script), strict=True):
        result.add(expected(data).entries, said.entries)
    return result


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        path, messages = corpus(Path(folder))
        ours, stock = (score(path, messages, script) for script in (SCRIPT, None))
    print(f"{len(messages)} messages, {ours.entries} entries, {ours.total.total()} fields")
    print(f"{'field':<16}{'entries':>9}{'lvsha.lua':>11}{'stock':>9}")
    for name, total in ours.total.items():
        print(f"{name:<16}{total:>9}{ours.right[name] / total:>11.1%}{stock.right[name] / total:>9.1%}")
    print(f"{'all fields':<16}{ours.total.total():>9}{ours.share:>11.1%}{stock.share:>9.1%}")
    shares = [each.whole_entries / each.entries for each in (ours, stock)]
    print(f"{'whole entries':<16}{ours.entries:>9}{shares[0]:>11.1%}{shares[1]:>9.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
