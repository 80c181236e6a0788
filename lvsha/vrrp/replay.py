"""Numbers for our adverts, and whether a number has been heard before.

Recorded adverts are as authentic as they ever were. So every advert has a number that
its sender never uses twice, and a receiver takes none that is not larger than the last.
Numbers are microseconds since 1970 as far as anybody knows: a sender that starts again
needs no memory to be beyond its old ones, and a receiver that has just started can tell
last year's advert from today's.

Clocks are wrong, too. So this one is never set back, and is set forward past every
number that it has sent or heard from somebody authentic: a director whose clock was lost
catches up with the first advert it hears.

Source: ``proto/lvsha_vrrp_auth.md`` section 4.
"""

from lvsha.core.addr import Address
from lvsha.core.errors import DecodeError, DropReason
from lvsha.core.instant import MICROSECOND, Instant

FRESH_S = 60
"""How far behind our clock a sender may be whom we do not know."""
SENDERS = 16
"""Remembered per VRID; at the bound the one heard longest ago is forgotten."""

LARGEST = 1 << 62
"""Numbers end below it: whoever has a broken clock must not take ours to the end of 64 bits."""


class ReplayGuard:
    """One per process: its clock is that of all its adverts."""

    def __init__(self, *, wall: int, now: Instant, last: int = 0) -> None:
        """
        Args:
            wall: microseconds since 1970 at ``now``.
            last: ``last`` of an earlier life of this process; 0: none is known.
        """
        self._offset = max(wall, last + 1) - now // MICROSECOND
        self._last = self._before = last
        self._heard: dict[tuple[str, int], dict[tuple[Address, bytes], int]] = {}
        """By interface and VRID: the largest number by sender and key, the one heard last at the end."""

    @property
    def last(self) -> int:
        """The largest number that was sent or taken."""
        return self._last

    def next(self, now: Instant) -> int:
        """The number of the advert that leaves now."""
        self._last = max(self._clock(now), self._last + 1)
        return self._last

    def check(
        self, *, interface: str, vrid: int, source: Address, key_id: bytes, number: int, now: Instant
    ) -> None:
        """An authentic advert has this number; it is remembered if it may be taken.

        Raises:
            DecodeError: ``REPLAYED`` or ``STALE``.
        """
        if number >= LARGEST:
            raise DecodeError(DropReason.STALE, "a number that no clock reaches")
        senders = self._heard.setdefault((interface, vrid), {})
        key = (source, key_id)
        largest = senders.get(key)
        if largest is not None and number <= largest:
            raise DecodeError(
                DropReason.REPLAYED, "this advert was here before: recorded, duplicated or overtaken"
            )
        behind = (self._clock(now) - number) // 1_000_000
        if largest is None and number <= self._before:
            raise DecodeError(DropReason.STALE, "an advert from before we were started again: recorded")
        if largest is None and behind >= FRESH_S:
            raise DecodeError(
                DropReason.STALE,
                f"an advert {behind} s old, and nothing newer was heard of its sender: "
                "recorded, or the clocks differ by more than a minute",
            )
        senders.pop(key, None)
        senders[key] = number
        if len(senders) > SENDERS:
            del senders[next(iter(senders))]
        self._last = max(self._last, number)
        self._offset = max(self._offset, number + 1 - now // MICROSECOND)

    def _clock(self, now: Instant) -> int:
        return self._offset + now // MICROSECOND
