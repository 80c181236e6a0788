"""The sync codec and ``lvsha sync decode``, beside tshark on the same capture in the same run.

    python tests/bench/bench_sync_decode.py --megabytes 1000 --page docs/reference/benchmarks-sync.md

Every message is full: 40 IPv4 entries, 1,448 bytes, as a kernel's master sends them at its
default size. Clients and ports are random, so no two messages are alike and nothing that the
decoder remembers helps with them; 8 virtual addresses, 32 realservers, states with their flags and time-outs.

tshark is given the same fields as lvsha prints (``-T json -e ...``), with its name resolution off.
Both write to /dev/null. Codec rates are the best of several rounds on one core.
"""

import argparse
import json
import os
import random
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np

from lvsha.cli.sync_decoder import keep_memory
from lvsha.io.capture import CaptureWriter
from lvsha.sync.inspect import Inspector
from lvsha.wire.ipvs_sync.columns import plain_messages
from lvsha.wire.ipvs_sync.message import decode_message, decode_rows, encode_message
from lvsha.wire.ipvs_sync.names import default_timeout_s
from lvsha.wire.ipvs_sync.records import SyncConn

ENTRIES = 40
WATCH_PORT = 28_848
MESSAGE_SIZE = 8 + 36 * ENTRIES
FRAME_SIZE = 14 + 20 + 8 + MESSAGE_SIZE
WITHOUT_NUMPY = (
    "import sys; sys.modules['numpy'] = None; from lvsha.cli.main import main; sys.exit(main(sys.argv[1:]))"
)
LVSHA = str(Path(sys.executable).with_name("lvsha"))
TSHARK_FIELDS = (
    "frame.time_epoch", "ip.src", "udp.dstport", "ipvs.version", "ipvs.syncid", "ipvs.type", "ipvs.proto",
    "ipvs.state", "ipvs.flags.v1", "ipvs.caddr", "ipvs.cport", "ipvs.vaddr", "ipvs.vport", "ipvs.daddr",
    "ipvs.dport", "ipvs.fwmark", "ipvs.timeout",
)  # fmt: skip
STATES = bytes((1, 1, 1, 4, 5, 7)) * 42 + bytes((1, 1, 1, 1))
"""What a random byte makes of the state; INACTIVE goes with all but ESTABLISHED."""
INACTIVE = bytes(0 if state == 1 else 1 for state in STATES)
TIMEOUTS = {state: default_timeout_s(6, state).to_bytes(2) for state in STATES}
TIMEOUT_BYTES = [bytes(TIMEOUTS[state][half] for state in STATES) for half in (0, 1)]
FEW = {count: bytes(number % count for number in range(256)) for count in (8, 32)}


def messages(count: int, seed: int = 1) -> Iterator[bytes]:
    """Full messages, no two alike."""
    dice = random.Random(seed)
    conn = SyncConn.build(
        protocol=6,
        client=(ip_address("0.0.0.0"), 0),
        virtual=(ip_address("10.0.0.10"), 80),
        destination=(ip_address("10.1.0.10"), 8080),
        state=1,
        flags=0,
        timeout=900,
    )
    message = bytearray(encode_message(7, [conn] * ENTRIES))
    for _ in range(count):
        noise = dice.randbytes(9 * ENTRIES)
        columns = [noise[at : at + ENTRIES] for at in range(0, len(noise), ENTRIES)]
        states = columns[0]
        message[8 + 9 :: 36] = states.translate(STATES)
        message[8 + 6 :: 36] = states.translate(INACTIVE)
        message[8 + 22 :: 36] = states.translate(TIMEOUT_BYTES[0])
        message[8 + 23 :: 36] = states.translate(TIMEOUT_BYTES[1])
        for place, column in zip((10, 11, 24, 25, 26, 27), columns[1:7], strict=True):
            message[8 + place :: 36] = column
        message[8 + 31 :: 36] = columns[7].translate(FEW[8])
        message[8 + 35 :: 36] = columns[8].translate(FEW[32])
        yield bytes(message)


def write_capture(path: Path, megabytes: int) -> int:
    """How many messages it has."""
    count = megabytes * 1_000_000 // (16 + FRAME_SIZE)
    ethernet = bytes.fromhex("01005e0000510200000000010800")
    ip = struct.pack(
        ">BBHHHBBH4s4s",
        0x45,
        0,
        FRAME_SIZE - 14,
        0,
        0,
        1,
        17,
        0,
        bytes((10, 0, 0, 1)),
        bytes((224, 0, 0, 81)),
    )
    head = ethernet + ip + struct.pack(">HHHH", 40_000, 8848, 8 + MESSAGE_SIZE, 0)
    now = 1_795_257_261 * 10**9
    with path.open("wb") as file:
        writer = CaptureWriter(file)
        for number, message in enumerate(messages(count)):
            writer.write(now + number * 123_456, head + message)
    return count


def best_rate(call: Callable[[bytes], object], sample: list[bytes], rounds: int = 15) -> float:
    """Entries a second."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        for message in sample:
            call(message)
        best = min(best, time.perf_counter() - start)
    return len(sample) * ENTRIES / best


def codec_rates() -> dict[str, float]:
    sample = list(messages(1_000))
    inspector = Inspector()
    clock = iter(range(10**18, 2 * 10**18, 200_000))
    keep_memory()
    block = sample[:180]
    joined = np.frombuffer(b"".join(block), np.uint8)
    starts, sizes = np.arange(0, len(joined), MESSAGE_SIZE), np.full(len(block), MESSAGE_SIZE)
    return {
        "tuples_per_s": best_rate(decode_rows, sample),
        "columns_per_s": len(block)
        * best_rate(lambda _: plain_messages(joined, starts, sizes, maxlen=1_472), sample[:1]),
        "records_per_s": best_rate(decode_message, sample),
        "inspected_per_s": best_rate(
            lambda message: inspector.observe(message, source="10.0.0.1", port=8848, now=next(clock)),  # type: ignore[arg-type]  # an Instant is an int
            sample,
            rounds=5,
        ),
    }


def timed(argv: list[str]) -> dict[str, float]:
    """A command's wall clock, processor time, and memory at its largest (of its largest process)."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=complaints)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            complaints.seek(0)
            sys.exit(f"{argv[0]} failed: {complaints.read().decode().strip()}")
    return {"wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "memory_mb": used.ru_maxrss / 1024}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=100, help="size of the capture (100)")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="where the capture goes, and stays")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="write the table of captures into this page"
    )
    parser.add_argument("--codec-only", action="store_true", help="no capture, no tshark")
    parser.add_argument("--rate", type=int, default=5_000, help="messages a second to watch (5000)")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long to watch them (8)")
    options = parser.parse_args()
    result: dict[str, Any] = {"cpus": len(os.sched_getaffinity(0)), **codec_rates()}
    for name, title in (
        ("tuples_per_s", "decode_rows (tuples)"),
        ("columns_per_s", "plain_messages (columns)"),
        ("records_per_s", "decode_message (SyncConn)"),
        ("inspected_per_s", "Inspector.observe"),
    ):
        print(f"{title:<28} {result[name] / 1e6:6.2f} M entries/s on one core")
    if options.seconds:
        result["watch"] = watch(options.rate, options.seconds)
    if not options.codec_only:
        with tempfile.TemporaryDirectory() as folder:
            capture = options.keep or Path(folder, "sync.pcap")
            result |= captures(capture, options.megabytes)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.page:
        write_page(options.page, "codec", codec_lines(result))
        if "tshark" in result:
            write_page(options.page, "captures", capture_lines(result))
    return 0


def watch(rate: int, seconds: float) -> dict[str, Any]:
    """``lvsha sync watch`` on the loopback while full messages are sent there; root, or CAP_NET_RAW."""
    argv = [
        LVSHA,
        "sync",
        "watch",
        "-i",
        "lo",
        "--json",
        "--duration",
        str(seconds + 4),
        "--port",
        str(WATCH_PORT),
    ]
    sample = list(messages(5_000))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody,
    ):
        nobody.bind(("127.0.0.1", WATCH_PORT))  # takes them, so that the kernel does not complain to us
        time.sleep(2)
        start, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - start) < seconds:
            while sent < passed * rate:
                out.sendto(sample[sent % len(sample)], ("127.0.0.1", WATCH_PORT))
                sent += 1
            time.sleep(0.002)
        text, complaints = process.communicate(timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if not text:
        print(f"watch: not measured: {complaints.strip()}")
        return {}
    last = json.loads(text.splitlines()[-1])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result = {
        "sent": sent,
        "counted": last["messages"],
        "capture_dropped": last["capture_dropped"],
        "messages_per_s": sent / seconds,
        "cores": cpu / seconds,
    }
    print(
        f"watch: {result['messages_per_s']:,.0f} messages/s of {ENTRIES} entries for {seconds:.0f} s: "
        f"{sent - last['messages']} of {sent:,} missed, {result['cores']:.2f} of a core"
    )
    return result


def captures(path: Path, megabytes: int) -> dict[str, Any]:
    """The command line on a capture of the size asked for, and on a tenth of it."""
    if not path.exists():
        write_capture(path, megabytes)
    count = (path.stat().st_size - 24) // (16 + FRAME_SIZE)
    entries = count * ENTRIES
    print(f"capture: {path.stat().st_size / 1e6:,.0f} MB, {count:,} messages, {entries:,} entries")
    decode = ["sync", "decode", "--json"]
    fields = [word for field in TSHARK_FIELDS for word in ("-e", field)]
    result: dict[str, Any] = {"megabytes": path.stat().st_size / 1e6, "messages": count, "entries": entries}
    result["at"] = f"{datetime.now(UTC):%Y-%m-%d}"
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder, "small.pcap")
        result["small_megabytes"] = max(10, megabytes // 10)
        small_entries = write_capture(small, result["small_megabytes"]) * ENTRIES
        runs = {
            "tshark_ek_of_a_tenth": ["tshark", "-n", "-r", str(small), "-T", "ek", *fields],
            "lvsha_summary_of_a_tenth": [LVSHA, "sync", "decode", "--summary", str(small)],
            "lvsha_one_process_of_a_tenth": [LVSHA, *decode, "--jobs", "1", str(small)],
        }
        for name, argv in runs.items():
            result[name] = timed(argv) | {"entries": small_entries}
    runs = {
        "lvsha": [LVSHA, *decode, str(path)],
        "lvsha_one_process": [LVSHA, *decode, "--jobs", "1", str(path)],
        "lvsha_without_numpy": [sys.executable, "-c", WITHOUT_NUMPY, *decode, "--jobs", "1", str(path)],
        "tshark": ["tshark", "-n", "-r", str(path), "-T", "json", *fields],
    }
    for name, argv in runs.items():
        result[name] = timed(argv) | {"entries": entries}
    tshark = result["tshark"]
    for name, took in result.items():
        if not isinstance(took, dict):
            continue
        for what in ("wall", "cpu"):
            took[f"ns_an_entry_{what}"] = took[f"{what}_s"] / took["entries"] * 1e9
            took[f"tshark_takes_times_{what}"] = (tshark[f"{what}_s"] / entries) / (
                took[f"{what}_s"] / took["entries"]
            )
        print(
            f"{name:<30} {took['wall_s']:7.2f} s wall, {took['cpu_s']:7.2f} s processor, "
            f"{took['ns_an_entry_cpu']:,.0f} ns an entry, {took['memory_mb']:,.0f} MB; tshark "
            f"{took['tshark_takes_times_wall']:.1f} ×, {took['tshark_takes_times_cpu']:.1f} × of a processor"
        )
    return result


def write_page(page: Path, name: str, lines: list[str]) -> None:
    """Put the lines between the markers of that name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = page.read_text().split(begin)
    _, after = rest.split(end)
    page.write_text(before + "\n".join([begin, *lines, end]) + after)


def codec_lines(result: dict[str, Any]) -> list[str]:
    titles = {
        "tuples_per_s": "`decode_rows`, tuples",
        "columns_per_s": "`plain_messages`, NumPy columns",
        "records_per_s": "`decode_message`, `SyncConn` with all checks",
        "inspected_per_s": "`Inspector.observe`, all counting of `watch`",
    }
    lines = ["| What | Entries a second |", "|---|---|"]
    return lines + [f"| {title} | {result[name] / 1e6:.2f} M |" for name, title in titles.items()]


def capture_lines(result: dict[str, Any]) -> list[str]:
    processes = result["cpus"]
    titles = {
        "lvsha": f"`lvsha`, {processes} processes",
        "lvsha_one_process": "`lvsha --jobs 1`",
        "lvsha_without_numpy": "the same without NumPy",
        "tshark": "`tshark -T json`",
    }
    lines = [
        f"{result['megabytes']:,.0f} MB, {result['entries'] / 1e6:.1f} million entries, {result['at']}, "
        f"one run of each, one after the other:",
        "",
        "| | wall clock, s | processor, s | ns an entry of processor | memory, MB "
        "| tshark takes, wall clock | processor |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, title in titles.items():
        took = result[name]
        lines.append(
            f"| {title} | {took['wall_s']:.1f} | {took['cpu_s']:.1f} | {took['ns_an_entry_cpu']:.0f} "
            f"| {took['memory_mb']:.0f} | {took['tshark_takes_times_wall']:.1f} × "
            f"| {took['tshark_takes_times_cpu']:.1f} × |"
        )
    tenth, whole = result["lvsha_one_process_of_a_tenth"], result["lvsha_one_process"]
    lines += [
        "",
        f"Memory of one process with a tenth of the capture: {tenth['memory_mb']:.0f} MB; with all of it: "
        f"{whole['memory_mb']:.0f} MB. tshark's other form, `-T ek`, takes "
        f"{result['tshark_ek_of_a_tenth']['ns_an_entry_cpu']:.0f} ns an entry; `lvsha --summary` "
        f"{result['lvsha_summary_of_a_tenth']['ns_an_entry_cpu']:.0f}.",
    ]
    return lines


if __name__ == "__main__":
    sys.exit(main())
