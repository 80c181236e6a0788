"""What the relay costs: sealing, a resync, memory, digests, a steady rate, a lossy path.

Run: ``.venv/bin/python tests/bench/bench_relay.py [--rows 100000] [--json FILE]``. Two whole
machines in one process exchange sealed datagrams; virtual time, real CPU. Kernels are not part of it:
an ``InstallEntries`` is answered at once.
"""

import argparse
import json
import struct
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from random import Random
from statistics import median

from lvsha.core.instant import MICROSECOND, MILLISECOND, SECOND, Instant
from lvsha.core.machine import Output
from lvsha.sync.relay import Relay
from lvsha.sync.relay_outputs import InstallEntries, SendDatagram
from lvsha.sync.relay_settings import RelayPeer, RelaySettings, director_id
from lvsha.sync.store import Store
from lvsha.wire.relay import decode_envelope, encode_entries, pack_record
from lvsha.wire.relay_seal import FrameHeader, FrameKeys, Keyring, decode_header

KEYS = Keyring([bytes(range(32))])
ADDRESSES = {director_id("a"): IPv4Address("10.0.0.1"), director_id("b"): IPv4Address("10.0.0.2")}
A, B = ADDRESSES
_ENTRY = struct.Struct(">BBHLHHHHLL4s4s4s")


def entry(number: int, state: int = 1) -> bytes:
    client = struct.pack(">L", 0x0A010000 + number // 60_000)
    return _ENTRY.pack(
        0,
        6,
        36,
        0,
        state,
        1024 + number % 60_000,
        80,
        80,
        0,
        900,
        client,
        b"\x0a\x09\0\x64",
        b"\x0a\x09\0\x32",
    )


def cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


class Pair:
    """Two relays, a path of 100 µs between them, CPU per side."""

    def __init__(self, *, loss: float = 0.0) -> None:
        self.now = Instant(0)
        self.cpu = dict.fromkeys(ADDRESSES, 0.0)
        self.bytes = self.frames = 0
        self._loss = loss
        self._dice = Random(1)
        self._wire: list[tuple[Instant, int, int, bytes]] = []
        self.stores = {director: Store(director=director) for director in ADDRESSES}
        self.relays = {
            director: Relay(
                RelaySettings(
                    director=director,
                    peers=(RelayPeer(name="peer", director=other, address=ADDRESSES[other]),),
                    key_file="",
                ),
                self.stores[director],
                KEYS,
                epoch=director,
            )
            for director, other in ((A, B), (B, A))
        }

    def start(self) -> None:
        for director, relay in self.relays.items():
            self._perform(director, relay.start(self.now))

    def changed(self) -> None:
        self._timed(A, lambda: self.relays[A].on_changes(self.now))

    def advance(self, duration: int, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass; True when ``until`` holds."""
        end = self.now + duration
        while self.now < end and not until():
            self.now = Instant(self.now + 100 * MICROSECOND)
            wire, self._wire = self._wire, []
            for at, source, target, data in wire:
                if at > self.now:
                    self._wire.append((at, source, target, data))
                    continue
                receive = self.relays[target].receive
                self._timed(target, partial(receive, data, (ADDRESSES[source], 0), self.now))
            for director, relay in self.relays.items():
                deadline = relay.deadline
                if deadline is not None and deadline <= self.now:
                    self._timed(director, partial(relay.on_deadline, self.now))
        return until()

    def _timed(self, director: int, work: Callable[[], list[Output]]) -> None:
        began = time.process_time()
        outputs = work()
        self.cpu[director] += time.process_time() - began
        self._perform(director, outputs)

    def _perform(self, director: int, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, SendDatagram):
                self.frames += 1
                self.bytes += len(output.data)
                if self._dice.random() >= self._loss:
                    arrives = Instant(self.now + 100 * MICROSECOND)
                    self._wire.append((arrives, director, output.peer, output.data))
            elif isinstance(output, InstallEntries):
                installed = self.relays[director].installed
                self._timed(director, partial(installed, output.peer, output.token, self.now))

    @property
    def agrees(self) -> bool:
        view = self.relays[A].peers(self.now)[0]
        return view.connected and view.coverage == 1 and self.stores[A].top == self.stores[B].top


def sealing(figures: dict[str, float]) -> None:
    """Entries a second, one core: from records to a datagram, and back."""
    records = [pack_record(1 << 32, A, 900_000, entry(number)) for number in range(22)]
    keys = FrameKeys(KEYS)
    times = 5_000
    header = FrameHeader(KEYS.primary, A, B, 1, 1)
    frame = keys.seal(header, encode_entries(records))

    def seal() -> None:
        for sequence in range(times):
            keys.seal(FrameHeader(KEYS.primary, A, B, 1, sequence), encode_entries(records))

    def open_all() -> None:
        for _ in range(times):
            decode_envelope(keys.open(decode_header(frame), frame))

    figures["sealed_entries_per_s"] = round(times * 22 / cpu(seal))
    figures["opened_entries_per_s"] = round(times * 22 / cpu(open_all))


def resync(rows: int, figures: dict[str, float]) -> None:
    """A director with nothing joins one with everything."""
    pair = Pair()
    store = pair.stores[A]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(rows):
        store.observe(entry(number), pair.now)
    figures["bytes_per_row"] = round((tracemalloc.get_traced_memory()[0] - before) / rows)
    tracemalloc.stop()
    pair.start()
    assert pair.advance(60 * SECOND, lambda: pair.agrees), "they never agree"
    figures["resync_sender_cpu_s"] = round(pair.cpu[A], 3)
    figures["resync_receiver_cpu_s"] = round(pair.cpu[B], 3)
    figures["resync_virtual_ms"] = pair.now // MILLISECOND
    figures["resync_bytes"] = pair.bytes
    figures["resync_frames"] = pair.frames

    figures["observe_known_us"] = round(
        cpu(lambda: [store.observe(entry(number, 4), pair.now) for number in range(20_000)]) / 20_000 * 1e6, 2
    )
    pair.changed()
    assert pair.advance(10 * SECOND, lambda: pair.agrees), "they never agree again"
    figures["digest_compare_us"] = round(
        cpu(lambda: [store.top == pair.stores[B].top for _ in range(100_000)]) * 10, 3
    )
    session = pair.relays[A]._sessions[B]
    figures["digest_of_a_bucket_us"] = round(
        cpu(lambda: [sorted(h.digest for h in store.bucket(n).values()) for n in range(1024)]) / 1024 * 1e6, 1
    )
    session.theirs = None
    figures["view_us"] = round(cpu(lambda: [pair.relays[A].peers(pair.now) for _ in range(1000)]) * 1e3, 1)


def steady(rate: int, figures: dict[str, float], *, seconds: int = 3) -> None:
    """New connections at a rate: CPU of both, and how old the oldest change gets."""
    pair = Pair()
    pair.start()
    pair.advance(SECOND)
    pair.cpu = dict.fromkeys(ADDRESSES, 0.0)
    number, lag, observing = 0, 0, 0.0
    for _ in range(seconds * 1000):
        began = time.process_time()
        for _ in range(rate // 1000):
            pair.stores[A].observe(entry(number), pair.now)
            number += 1
        observing += time.process_time() - began
        pair.changed()
        pair.advance(MILLISECOND)
        lag = max(lag, pair.relays[A].peers(pair.now)[0].lag)
    assert pair.advance(SECOND, lambda: pair.agrees), "they never agree"
    figures[f"rate_{rate}_sender_cores"] = round((pair.cpu[A] + observing) / seconds, 3)
    figures[f"rate_{rate}_receiver_cores"] = round(pair.cpu[B] / seconds, 3)
    figures[f"rate_{rate}_worst_lag_ms"] = round(lag / MILLISECOND, 1)


def lossy(loss: float, figures: dict[str, float]) -> None:
    """Bursts over a path that loses, 1,000 connections a second; how long after its last one both agree."""
    pair = Pair(loss=loss)
    pair.start()
    pair.advance(3 * SECOND)
    number, took = 0, []
    for _ in range(20):
        for _ in range(200):
            number += 1
            pair.stores[A].observe(entry(number), pair.now)
            pair.changed()
            pair.advance(MILLISECOND)
        quiet = pair.now
        assert pair.advance(10 * SECOND, lambda: pair.agrees), "they never agree"
        took.append((pair.now - quiet) / MILLISECOND)
    figures[f"loss_{round(loss * 100)}_agree_after_median_ms"] = round(median(took), 1)
    figures[f"loss_{round(loss * 100)}_agree_after_worst_ms"] = round(max(took), 1)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures: dict[str, float] = {"rows": arguments.rows}
    sealing(figures)
    resync(arguments.rows, figures)
    for rate in (1_000, 10_000):
        steady(rate, figures)
    for loss in (0.05, 0.2):
        lossy(loss, figures)
    print(*(f"{name:30} {value:>14,}" for name, value in figures.items()), sep="\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
