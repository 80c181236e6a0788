"""What survives a killed vrrpd: a small file in memory, written without a system call.

vrrpd notes each router's state and the moment of its last advert in a mapped
file under the run directory (a tmpfs, so a reboot empties it). Its successor
reads it: a router that was MASTER less than one master-down interval ago goes
on as MASTER; nobody can have taken over meanwhile. Anything older has to
listen first.
"""

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from lvsha.core.instant import Instant

_SLOT = struct.Struct("<48s8sqq")
_STATE = struct.Struct("<8sqq")
"""A slot without its name, which stands there already."""
_SLOTS = 256
_NUMBER = struct.Struct("<q")
_SIZE = _SLOT.size * _SLOTS + _NUMBER.size


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWords:
    """The last that was noted of one router."""

    state: str
    alive: Instant
    """When it last sent or heard an advert."""
    since: Instant
    """When it entered ``state``."""


def _key(name: str) -> bytes:
    return name.encode()[:48].ljust(48, b"\0")


class BlackBox:
    """The mapped file. One writer; at most 256 routers are noted, further ones are not."""

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, _SIZE)
            self._map = mmap.mmap(fd, _SIZE)
        finally:
            os.close(fd)
        self._slots: dict[str, int] = {}

    def last_words(self, router: str) -> LastWords | None:
        """What was last noted of ``router``; None when nothing was."""
        key = _key(router)
        for slot in range(_SLOTS):
            name, state, alive, since = _SLOT.unpack_from(self._map, slot * _SLOT.size)
            if name == key:
                self._slots[router] = slot
                return LastWords(
                    state=state.rstrip(b"\0").decode(), alive=Instant(alive), since=Instant(since)
                )
        return None

    def note(self, router: str, state: str, *, alive: Instant, since: Instant) -> None:
        """Write one router's state."""
        slot = self._slots.get(router)
        if slot is None:
            slot = self._free_slot(router)
            if slot is None:
                return
            _SLOT.pack_into(self._map, slot * _SLOT.size, _key(router), state.encode()[:8], alive, since)
        else:
            place = (slot + 1) * _SLOT.size - _STATE.size
            _STATE.pack_into(self._map, place, state.encode()[:8], alive, since)

    @property
    def last_number(self) -> int:
        """``ReplayGuard.last``; 0: no advert was authenticated yet."""
        (number,) = _NUMBER.unpack_from(self._map, _SLOT.size * _SLOTS)
        return int(number)

    @last_number.setter
    def last_number(self, number: int) -> None:
        _NUMBER.pack_into(self._map, _SLOT.size * _SLOTS, number)

    def close(self) -> None:
        self._map.close()

    def _free_slot(self, router: str) -> int | None:
        key = _key(router)
        for slot in range(_SLOTS):
            name = _SLOT.unpack_from(self._map, slot * _SLOT.size)[0]
            if name in (key, b"\0" * 48):
                self._slots[router] = slot
                return slot
        return None
