"""Long work in a loop that others wait for, in slices.

A thread is no way out: it holds the interpreter's lock whenever the loop comes back from the
kernel, so each datagram sent costs the loop a whole switching interval.
"""

import asyncio
import time

SLICE_S = 0.002


class Slices:
    """Whoever has much to do asks ``due`` between portions, or awaits ``pause``."""

    def __init__(self, slice_s: float = SLICE_S) -> None:
        self._slice_s = slice_s
        self._end = time.perf_counter() + slice_s

    @property
    def due(self) -> bool:
        """The slice is used up."""
        return time.perf_counter() >= self._end

    async def pause(self) -> None:
        """Let everything else have its turn, if the slice is used up."""
        if self.due:
            await asyncio.sleep(0)
            self._end = time.perf_counter() + self._slice_s
