"""What it costs to read the kernel's announcements: from the packets of a device to the store's rows.

    unshare --net .venv/bin/python tests/bench/bench_sync_capture.py --json build/bench/sync_capture.json

Needs root, not IPVS. A veth pair stands for the dummy device, a little dearer than that. Another process
sends what a kernel's master daemon would, one or eight new connections a message, at a rate; they are read
and stored as in directord. CPU is the reader's.
"""

import argparse
import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

from lvsha.core.instant import Instant
from lvsha.io.sync_capture import SyncCapture
from lvsha.sync.mirror import Mirror
from lvsha.sync.store import Store
from lvsha.wire.ipvs_sync.v1 import assemble

DEVICE = "lvsha-sync"
SECONDS = 3.0
_ENTRY = struct.Struct(">BBHLHHHHLL4s4s4s")


def entry(number: int) -> bytes:
    client = struct.pack(">L", 0x0A010000 + number // 60_000)
    ports = (1024 + number % 60_000, 80, 80)
    return _ENTRY.pack(0, 6, 36, 0x183, 1, *ports, 0, 900, client, b"\x0a\x09\0\x64", b"\x0a\x09\0\x32")


def send(rate: int, each: int) -> None:
    """New connections at a rate, as many a message, in ticks of 2 ms."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    interface = struct.pack("@4s4si", bytes(4), bytes(4), socket.if_nametoindex(DEVICE))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
    began, number = time.monotonic(), 0
    while (passed := time.monotonic() - began) < SECONDS:
        while number + each <= passed * rate:
            sock.sendto(assemble(51, [entry(number + n) for n in range(each)]), ("224.0.0.81", 8848))
            number += each
        time.sleep(0.002)
    print(number)


def measure(rate: int, each: int) -> dict[str, float]:
    capture = SyncCapture(DEVICE, port=8848)
    store = Store(director=1)
    mirror = Mirror(store)
    command = [sys.executable, __file__, "--send", str(rate), str(each)]
    before = time.process_time()
    sender = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    began = time.monotonic()
    while sender.poll() is None or time.monotonic() - began < SECONDS:
        for message in capture.receive():
            mirror.hear(message, Instant(time.monotonic_ns()))
        time.sleep(0.001)
    while messages := capture.receive():
        for message in messages:
            mirror.hear(message, Instant(time.monotonic_ns()))
    spent = time.process_time() - before
    assert sender.stdout is not None
    sent = int(sender.stdout.read())
    lost = capture.take_lost()
    capture.close()
    return {
        "rate": rate,
        "entries_a_message": each,
        "sent": sent,
        "stored": len(store),
        "lost_messages": lost,
        "cores": round(spent / SECONDS, 3),
        "us_an_entry": round(1e6 * spent / max(1, sent), 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="What reading the kernel's announcements costs.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--send", nargs=2, type=int)
    arguments = parser.parse_args()
    if arguments.send:
        send(*arguments.send)
        return 0
    for words in (
        f"link add {DEVICE} type veth peer name far",
        f"address add 192.0.0.8/32 dev {DEVICE}",
        f"link set {DEVICE} up",
        "link set far up",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    found = [measure(rate, each) for rate, each in ((1_000, 1), (10_000, 1), (10_000, 8), (50_000, 8))]
    for each in found:
        print(each)
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"cpus": os.cpu_count(), "runs": found}))
    return 0 if all(each["stored"] == each["sent"] for each in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
