"""Millions of short texts of different lengths, put one behind another by NumPy.

A line is a row of pieces, each out of a table of texts. Where every piece begins is a
sum over columns of lengths. Pieces are then written a column at a time, each as wide
as its table: what hangs over is written over by the pieces behind it, and the last
piece hangs over nothing. So all copies are of one size, and no byte is looked at.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvsha.wire.datagram_columns import Numbers

Texts = NDArray[np.bytes_]


@dataclass(frozen=True, slots=True)
class Picked:
    """A text for each line: the text of its number, out of ``texts``."""

    texts: Texts
    numbers: NDArray[Any]
    lengths: NDArray[np.uint8]


Piece = Picked | bytes
"""A text for each line, or one text for all."""


class Table:
    """Texts by number, each made when it is first asked for."""

    def __init__(self, size: int, width: int, make: Callable[[int], str]) -> None:
        """``size``: numbers are below it; ``width``: no text is longer, in bytes."""
        self._make = make
        # Pages of these that are never touched take no memory.
        self._texts = np.zeros(size, f"S{width}")
        self._lengths = np.zeros(size, np.uint8)

    def pick(self, numbers: NDArray[Any]) -> Piece:
        """The texts of these numbers; one for all if they are all the same."""
        if numbers[0] == numbers[-1] and (numbers == numbers[0]).all():
            return self._make(int(numbers[0])).encode()
        lengths = self._lengths.take(numbers)
        if not lengths.all():
            missing = np.unique(numbers[lengths == 0])
            texts = [self._make(number).encode() for number in missing.tolist()]
            self._texts[missing] = texts
            self._lengths[missing] = [len(text) for text in texts]
            lengths = self._lengths.take(numbers)
        return Picked(self._texts, numbers, lengths)


class Paste:
    """Puts pieces together, each time in the same memory, which grows."""

    def __init__(self) -> None:
        self._out = np.empty(0, np.uint8)

    def __call__(self, pieces: Iterable[Piece], count: int) -> tuple[memoryview, Numbers]:
        """``count`` lines, good until the next call, and where each begins and the last one ends.

        The last piece must be one for all, and from where a piece begins to the line's end there must be as
        many bytes as its table is wide.
        """
        joined = _joined(pieces)
        assert isinstance(joined[-1], bytes), "the last piece hangs over nothing"
        sizes = np.full(count, sum(len(piece) for piece in joined if isinstance(piece, bytes)))
        for piece in joined:
            if isinstance(piece, Picked):
                sizes += piece.lengths
        bounds = np.zeros(count + 1, np.intp)
        np.cumsum(sizes, out=bounds[1:])
        total = int(bounds[-1])
        if len(self._out) < total:
            self._out = np.empty(total * 5 // 4, np.uint8)
        at = bounds[:-1].copy()
        for piece in joined:
            width = len(piece) if isinstance(piece, bytes) else piece.texts.itemsize
            # Every byte begins an element of a view: a text may be put anywhere.
            view: NDArray[Any] = np.ndarray((total - width + 1,), f"S{width}", self._out, 0, (1,))
            if isinstance(piece, bytes):
                view[at] = piece
                at += len(piece)
            else:
                view[at] = piece.texts.take(piece.numbers)
                at += piece.lengths
        return self._out.data[:total], bounds


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Neighbours that are one text for all made one text."""
    joined: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined
