"""The plain UDP datagrams among many frames, as NumPy columns: what ``datagram.py`` reads one at a time.

Plain is what a sync master sends: IPv4 without options, whole, captured whole, under
no VLAN tag. Everything else is left to ``DatagramReader``, which says the same of
these. NumPy is the extra ``fast``; nothing that runs all day imports this.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lvsha.wire.datagram import IPV4, LINK_HEADERS, UDP

Numbers = NDArray[np.intp]
Marks = NDArray[np.bool_]


def rows_at(data: NDArray[np.uint8], offsets: Numbers, size: int) -> NDArray[np.uint8]:
    """``size`` bytes from each of ``offsets``, a row each."""
    if not len(offsets):
        return np.empty((0, size), np.uint8)
    # Every byte of the data begins an element of a view: taking elements by number copies them whole.
    view: NDArray[Any] = np.ndarray((data.size - size + 1,), f"V{size}", data, 0, (1,))
    return view[offsets].view(np.uint8).reshape(-1, size)


def pairs(rows: NDArray[np.uint8], column: int) -> Numbers:
    """The 16-bit numbers that begin in this column."""
    return (rows[:, column].astype(np.intp) << 8) | rows[:, column + 1]


class Datagrams(NamedTuple):
    """One number of each column belongs to one datagram."""

    frame: Numbers
    """Which of the frames it is."""
    source: NDArray[np.uint8]
    """Four bytes each."""
    destination: NDArray[np.uint8]
    port: Numbers
    start: Numbers
    """Where its payload lies in the data."""
    size: Numbers

    def of(self, wanted: Marks | Numbers) -> "Datagrams":
        """Only those that are wanted."""
        return Datagrams._make(column[wanted] for column in self)


def plain_datagrams(data: NDArray[np.uint8], link: int, starts: Numbers, captured: Numbers) -> Datagrams:
    """Which of the frames at ``starts``, ``captured`` bytes each, are whole datagrams of the usual form."""
    place, ip = LINK_HEADERS.get(link, (0, 0))
    udp = ip + 20
    frame = np.flatnonzero(captured >= udp + 8) if ip else np.empty(0, np.intp)
    rows = rows_at(data, starts[frame], udp + 8)
    length = pairs(rows, udp + 4)
    plain = (
        (pairs(rows, place) == IPV4)
        & (rows[:, ip] == 0x45)
        & (rows[:, ip + 9] == UDP)
        & (pairs(rows, ip + 6) & 0x3FFF == 0)
        & (length > 8)
        & (udp + length <= captured[frame])
    )
    frame, rows = frame[plain], rows[plain]
    return Datagrams(
        frame=frame,
        source=rows[:, ip + 12 : ip + 16],
        destination=rows[:, ip + 16 : ip + 20],
        port=pairs(rows, udp + 2),
        start=starts[frame] + udp + 8,
        size=length[plain] - 8,
    )
