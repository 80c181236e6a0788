"""How long each heartbeat waited in a director, by the kernel's own time stamps on the wire.

A silence that the client measures has three parts: the client did not get the one processor of a user-mode
guest to send, a director did not pass a packet on, or a realserver did not get the processor to answer. Of
these only the second is the directors'. Here it is seen alone: on the bridge every beat of direct routing
passes twice, from the client to a director and from that director to a realserver.
"""

import subprocess
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from lvsha.core.addr import Address
from lvsha.io.capture import CaptureFile
from lvsha.lab.errors import LabError
from lvsha.lab.timeline import milliseconds
from lvsha.lab.topology import PORT

_ETHERNET = 14
_UDP = 8
_SNAPLEN = 100
_STARTED_S = 30.0
_LOOK_S = 0.02
_NUMBERS = 16
"""Of a beat's number at most."""


class Passages:
    """Records the heartbeats of a client on a bridge, on their way to the realservers only."""

    def __init__(self, bridge: str, client: Address, path: Path) -> None:
        self._path = path
        self._beats: list[tuple[int, bytes]] | None = None
        words = ["tcpdump", "-i", bridge, "-s", str(_SNAPLEN), "-B", "8192", "-Z", "root", "-w", str(path)]
        self._process = subprocess.Popen(
            [*words, f"udp dst port {PORT} and src host {client}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + _STARTED_S
        while not path.exists():  # a busy guest takes its time
            if time.monotonic() > end or self._process.poll() is not None:
                raise LabError(f"tcpdump did not begin to record on {bridge} within {_STARTED_S:g} s")
            time.sleep(_LOOK_S)

    def stop(self) -> None:
        """No more; again and again does no harm."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def delays(self, start: int, end: int) -> dict[str, Any]:
        """See below; from and to an instant of the monotonic clock."""
        self.stop()
        offset = time.time_ns() - time.monotonic_ns()
        if self._beats is None:
            self._beats = self.beats()
        return delays(self._beats, start + offset, end + offset)

    def beats(self) -> list[tuple[int, bytes]]:
        """Every frame: its time since 1970 in nanoseconds, and the beat's address and number."""
        with self._path.open("rb") as file:
            return [(frame.time_ns, beat(frame.data)) for frame in CaptureFile(file)]


def beat(frame: bytes) -> bytes:
    """What both passages of one beat have in common: the virtual address, and the beat's number."""
    if frame[12:14] == b"\x86\xdd":
        return frame[38:54] + frame[_ETHERNET + 40 + _UDP :][:_NUMBERS]
    header = (frame[_ETHERNET] & 15) * 4
    return frame[30:34] + frame[_ETHERNET + header + _UDP :][:_NUMBERS]


def delays(beats: Iterable[tuple[int, bytes]], start: int, end: int) -> dict[str, Any]:
    """Of the beats that a client sent in a window: the longest wait in a director, and who was not passed on.

    ``client_pause_ms``: the longest time in which the client sent nothing, which no director can help.
    """
    sent: dict[bytes, int] = {}
    passed: dict[bytes, int] = {}
    for at, name in beats:
        if name not in sent:
            sent[name] = at
        else:
            passed.setdefault(name, at)
    wanted = [name for name, at in sent.items() if start <= at <= end]
    waits = [passed[name] - sent[name] for name in wanted if name in passed]
    pauses = [after - before for before, after in pairwise(sorted(sent[name] for name in wanted))]
    return {
        "beats_seen": len(wanted),
        "not_passed_on": len(wanted) - len(waits),
        "director_delay_ms": milliseconds(max(waits)) if waits else None,
        "client_pause_ms": milliseconds(max(pauses)) if pauses else None,
    }
