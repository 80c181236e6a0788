"""What a small ``sync_maxlen`` costs, beside the kernel's default.

Run in a guest: ``lvsha lab exec --bare -- .venv/bin/python tests/bench/bench_sync_maxlen.py``.
N TCP handshakes (SYN, then ACK) go through one director; every handshake's ACK
announces the connection. Counted per setting: datagrams and bytes on the sync
wire, wall time of the whole, and how old an entry is when it leaves.
"""

import argparse
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path

from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.sysctl import write_sysctl
from lvsha.ipvs.model import (
    AddDestination,
    AddService,
    Daemon,
    DaemonRole,
    Destination,
    ForwardingMethod,
    Protocol,
    Service,
    ServiceKey,
)
from lvsha.wire.checksum import internet_checksum

VIP = IPv4Address("127.99.0.1")
RS = IPv4Address("127.99.0.2")


def sh(command: str) -> None:
    subprocess.run(command, shell=True, check=True)  # noqa: S602  (fixed text)


def packet(client: int, flags: int) -> bytes:
    source = struct.pack("!I", 0x7F640000 + (client >> 14))
    tcp = struct.pack("!HHIIBBHHH", 1024 + (client & 0x3FFF), 80, 1, 1, 5 << 4, flags, 1024, 0, 0)
    pseudo = source + VIP.packed + struct.pack("!BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", internet_checksum(pseudo + tcp)) + tcp[18:]
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, source, VIP.packed) + tcp


def master_thread_ticks() -> int:
    """CPU ticks of the kernel's master thread so far."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        if "(ipvs-m:" in text:
            fields = text.rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])
    return 0


def measure(maxlen: int | None, connections: int) -> dict[str, float | int | None]:
    """One setting, from an empty table."""
    with IpvsSocket() as ipvs:
        ipvs.flush()
        key = ServiceKey.of(Protocol.TCP, VIP, 80)
        destination = Destination(address=RS, port=80, method=ForwardingMethod.MASQ)
        ipvs.apply([AddService(Service(key=key, scheduler="rr")), AddDestination(key, destination)])
        if maxlen != 0:
            ipvs.start_daemon(Daemon(role=DaemonRole.MASTER, interface="sync0", syncid=1, maxlen=maxlen))
        capture = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        capture.bind(("sync0", 3))
        capture.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)  # SO_RCVBUFFORCE
        capture.setblocking(False)
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        pairs = [(packet(n, 2), packet(n, 16)) for n in range(connections)]
        sent: dict[bytes, float] = {}
        ages: list[float] = []
        datagrams = size = entries = 0
        begun, ticks = time.monotonic(), master_thread_ticks()

        def drain() -> None:
            nonlocal datagrams, size, entries
            while True:
                try:
                    data = capture.recv(65535)
                except BlockingIOError:
                    return
                if data[9:10] != b"\x11":
                    continue
                now, payload = time.monotonic(), data[28:]
                datagrams += 1
                size += len(data)
                entries += payload[4]
                for offset in range(8, len(payload) - 35, 36):
                    left = sent.pop(
                        payload[offset + 24 : offset + 28] + payload[offset + 8 + 2 : offset + 12], None
                    )
                    if left is not None:
                        ages.append(now - left)

        for number, (syn, ack) in enumerate(pairs):
            raw.sendto(syn, (str(VIP), 0))
            raw.sendto(ack, (str(VIP), 0))
            sent[syn[12:16] + syn[20:22]] = time.monotonic()
            if number % 64 == 0:
                drain()
        offered = time.monotonic() - begun
        deadline = time.monotonic() + 4.0
        while time.monotonic() < deadline and maxlen != 0 and entries < connections:
            drain()
            time.sleep(0.005)
        if maxlen != 0:
            ticks = master_thread_ticks() - ticks
            ipvs.stop_daemon(DaemonRole.MASTER)
        ipvs.flush()
        capture.close()
        raw.close()
    write_sysctl("net.ipv4.vs.expire_nodest_conn", "1")
    return {
        "maxlen": maxlen,
        "connections": connections,
        "offered_s": round(offered, 3),
        "datagrams": datagrams,
        "wire_bytes": size,
        "entries": entries,
        "thread_cpu_s": round(ticks / os.sysconf("SC_CLK_TCK"), 2) if maxlen != 0 else 0.0,
        "age_ms_median": round(statistics.median(ages) * 1e3, 1) if ages else None,
        "age_ms_worst": round(max(ages) * 1e3, 1) if ages else None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    sh("ip link set lo up; ip link add sync0 type dummy")
    sh("ip addr add 10.77.0.1/24 dev sync0; ip link set sync0 up")
    with IpvsSocket():
        pass  # loads ip_vs, whose sysctls follow
    write_sysctl("net.ipv4.vs.sync_threshold", "0 0")
    write_sysctl("net.ipv4.vs.sync_refresh_period", "10")
    rows = []
    for maxlen in (0, 1472, 372, 44):
        runs = [measure(maxlen, arguments.connections) for _ in range(arguments.runs)]
        rows.append(sorted(runs, key=lambda row: row["offered_s"] or 0)[len(runs) // 2])
    base = rows[0]["offered_s"] or 1
    print(
        f"{'maxlen':>7} {'offered':>9} {'ratio':>6} {'datagrams':>9} {'bytes':>9} {'entries':>8} "
        f"{'thread':>7} {'age p50':>9} {'age max':>9}"
    )
    for row in rows:
        print(
            f"{row['maxlen'] or 'off':>7} {row['offered_s']:>8} s {(row['offered_s'] or 0) / base:>6.2f} "
            f"{row['datagrams']:>9} {row['wire_bytes']:>9} {row['entries']:>8} {row['thread_cpu_s']:>5} s "
            f"{row['age_ms_median']!s:>6} ms {row['age_ms_worst']!s:>6} ms"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
