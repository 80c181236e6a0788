"""``lvsha trace``: packets a second and memory, beside scapy's dissection of the same frames in one run.

    .venv/bin/python tests/bench/bench_trace.py --connections 20000 --json FILE

The captures are made here: connections with direct routing as client, director and realserver see them, 11
packets each, like those of the lab. Scapy only dissects, which trace's own headers code is compared with;
what the whole command takes is measured apart, with the peak of its memory.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lvsha.io.capture import CaptureFile, CaptureWriter
from lvsha.trace.decode import Decoder
from lvsha.trace.packet import ACK, FIN, SYN

MACS = {
    name: bytes.fromhex(f"0200000000{mac}") for name, mac in (("client", "64"), ("lb", "01"), ("rs", "0b"))
}
VIP = bytes((10, 0, 0, 10))
PACKETS: tuple[tuple[bool, int, int, int, int], ...] = (
    # from the client?, flags, sequence, acknowledgement, payload
    (True, SYN, 0, 0, 0),
    (False, SYN | ACK, 0, 1, 0),
    (True, ACK, 1, 1, 0),
    (True, ACK, 1, 1, 18),
    (False, ACK, 1, 19, 0),
    (False, ACK, 1, 19, 900),
    (True, ACK, 19, 901, 0),
    (True, FIN | ACK, 19, 901, 0),
    (False, ACK, 901, 20, 0),
    (False, FIN | ACK, 901, 20, 0),
    (True, ACK, 20, 902, 0),
)


def frame(
    source: str, target: str, ttl: int, ident: int, ends: tuple[bytes, int, bytes, int], at: Any
) -> bytes:
    flags, sequence, acknowledgement, size = at
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + size, ident, 0x4000, ttl, 6, 0, ends[0], ends[2])
    tcp = struct.pack(">HHLLBBHHH", ends[1], ends[3], sequence, acknowledgement, 0x50, flags, 64240, 0, 0)
    return MACS[target] + MACS[source] + b"\x08\x00" + head + tcp + bytes(size)


def make(folder: Path, connections: int) -> list[Path]:
    """The three captures."""
    paths = [folder / f"{name}.pcap" for name in MACS]
    files = {path.stem: path.open("wb") for path in paths}
    writers = {name: CaptureWriter(file) for name, file in files.items()}
    now = 1_795_000_000 * 10**9
    for number in range(connections):
        client, port = (0xC0A80000 + number // 50_000).to_bytes(4, "big"), 10_000 + number % 50_000
        for ident, (is_request, flags, sequence, acknowledgement, size) in enumerate(PACKETS):
            now += 20_000
            at = flags, sequence + number, acknowledgement + number, size
            if is_request:
                ends = client, port, VIP, 80
                first = frame("client", "lb", 64, ident, ends, at)
                second = frame("lb", "rs", 63, ident, ends, at)
                writers["client"].write(now, first)
                writers["lb"].write(now + 1000, first)
                writers["lb"].write(now + 2000, second)
                writers["rs"].write(now + 3000, second)
            else:
                data = frame("rs", "client", 64, ident, (VIP, 80, client, port), at)
                writers["rs"].write(now, data)
                writers["client"].write(now + 3000, data)
    for file in files.values():
        file.close()
    return paths


def rate(path: Path) -> float:
    """Frames a second of our decoder alone."""
    decoder = Decoder()
    with path.open("rb") as file:
        frames = list(CaptureFile(file))
    began = time.perf_counter()
    for number, each in enumerate(frames, 1):
        decoder.decode(each.link, each.data, each.time_ns, number)
    return len(frames) / (time.perf_counter() - began)


def scapy_rate(path: Path, limit: int) -> float:
    """Frames a second of scapy's dissection."""
    from scapy.layers.l2 import Ether

    with path.open("rb") as file:
        frames = [each.data for each, _ in zip(CaptureFile(file), range(limit), strict=False)]
    began = time.perf_counter()
    for data in frames:
        Ether(data)
    return len(frames) / (time.perf_counter() - began)


def whole(paths: list[Path]) -> dict[str, Any]:
    """The command on all three captures: seconds, and the peak of its memory."""
    words = [str(Path(sys.executable).with_name("lvsha")), "trace", "--json", *map(str, paths)]
    began = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert process.stdout is not None
    document = json.load(process.stdout)
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    frames = sum(capture["frames"] for capture in document["captures"])
    return {
        "frames": frames,
        "seconds": round(took, 2),
        "frames_per_s": round(frames / took),
        "connections_told": len(document["connections"]),
        "not_followed": document["limits"]["connections_not_followed"],
        "ok": document["ok"],
        "peak_mb": round(usage.ru_maxrss / 1024),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        few = make(Path(folder), 2000)
        result: dict[str, Any] = {
            "decode_frames_per_s": round(max(rate(few[1]) for _ in range(3))),
            "scapy_frames_per_s": round(max(scapy_rate(few[1], 3000) for _ in range(3))),
            "few": whole(few),
        }
        many = make(Path(folder), arguments.connections)
        result["many"] = whole(many)
    result["times_scapy"] = round(result["decode_frames_per_s"] / result["scapy_frames_per_s"], 1)
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
