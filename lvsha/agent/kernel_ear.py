"""What our own kernel announces, out of its private interface, read in slices."""

import asyncio
from collections.abc import Callable
from typing import Final

from lvsha.agent.journal import Journal
from lvsha.core.errors import KernelError
from lvsha.io.private_link import PRIVATE_INTERFACE
from lvsha.io.reactor import monotonic
from lvsha.io.sync_capture import SyncCapture
from lvsha.sync.mirror import Mirror

ENTRIES_AT_ONCE: Final = 512
"""About three milliseconds."""
_MESSAGES_AT_ONCE: Final = 16
_ENTRIES_MOST: Final = 1 << 16


class KernelEar:
    """The capture in the event loop; it may go and come with the interface."""

    def __init__(self, port: int, mirror: Mirror, journal: Journal, *, heard: Callable[[], None]) -> None:
        """``heard`` is called after a slice that brought news."""
        self._port = port
        self._mirror = mirror
        self._journal = journal
        self._heard = heard
        self._capture: SyncCapture | None = None
        self._complaint = ""

    @property
    def is_open(self) -> bool:
        return self._capture is not None

    @property
    def lost(self) -> int:
        """Datagrams that found the buffer full, up to the last ``take_lost``."""
        return self._capture.lost if self._capture is not None else 0

    def open(self, *, retry_s: float) -> bool:
        """False: not now; said once."""
        try:
            self._capture = SyncCapture(PRIVATE_INTERFACE, port=self._port)
        except KernelError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                self._journal.write("sync.capture_failed", error=str(error), retry_s=retry_s)
            return False
        self._complaint = ""
        asyncio.get_running_loop().add_reader(self._capture.fileno(), self._on_readable)
        return True

    def close(self) -> None:
        if self._capture is not None:
            asyncio.get_running_loop().remove_reader(self._capture.fileno())
            self._capture.close()
            self._capture = None

    def take_lost(self) -> int:
        """How many were lost since the last call."""
        return self._capture.take_lost() if self._capture is not None else 0

    def read_all(self) -> None:
        """What the kernel has sent up to now."""
        self._read(_ENTRIES_MOST)

    def _on_readable(self) -> None:
        self._read(ENTRIES_AT_ONCE)

    def _read(self, entries: int) -> None:
        mirror, news, end = self._mirror, 0, self._mirror.taken + entries
        while self._capture is not None and mirror.taken < end:
            try:
                messages = self._capture.receive(_MESSAGES_AT_ONCE)
            except KernelError:
                self.close()  # the interface went; the watch makes it anew
                break
            if not messages:
                break
            now = monotonic()
            for message in messages:
                news += mirror.hear(message, now)
        if news:
            self._heard()
