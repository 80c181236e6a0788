"""What a MASTER promises when it finds itself late.

A BACKUP waits three times the interval that the advert names (version 3). A MASTER
whose machine is busy breaks a promise of 10 ms long before it is dead, and then there
are two. So it promises less while it keeps its beat: adverts leave every
``advert_interval`` as before, and the interval *named* in them grows to
``MARGIN`` times what it was late. Think of a courier who says "within two hours" on a
day of snow, and still rides as fast as he can.

Widening is at once, narrowing only after ``CALM`` adverts and ``CALM_FOR`` of which none was late, and
nothing is promised beyond ``WIDEST`` intervals or ``LONGEST``: what it buys in calm it
costs in takeover time, and only after the machine has shown that it needs it. Version 2
names whole seconds that must be equal on both sides, so there it stays as it is.
"""

from lvsha.core.instant import SECOND
from lvsha.wire.vrrp import CENTISECOND, MAX_INTERVAL_CS

MARGIN = 2
"""The interval named, in units of the worst lateness: three of them are waited, so five more are free."""
CALM = 50
"""Adverts in a row, none of them late, before a wide promise is taken back."""
CALM_FOR = 5 * SECOND
"""And so long: a machine that is late once a second is not calm, however many adverts are in between."""
WIDEST = 10
"""Of the configured interval."""
LONGEST = 1 * SECOND
"""But an interval configured longer than that is never widened."""


class Pace:
    """One per virtual router; it lives while that router is MASTER."""

    def __init__(self, interval: int) -> None:
        self.interval = interval
        """As configured, nanoseconds."""
        self.promised = interval
        """What the adverts name."""
        self._calm = 0

    @property
    def is_wide(self) -> bool:
        return self.promised > self.interval

    def sent(self, late: int) -> bool:
        """An advert leaves ``late`` nanoseconds after it was due; True: another promise from now on."""
        before = self.promised
        if MARGIN * late > self.interval:
            self._calm = 0
            limit = max(self.interval, min(WIDEST * self.interval, LONGEST))
            named = -(-MARGIN * late // CENTISECOND) * CENTISECOND
            self.promised = max(self.promised, min(named, limit, MAX_INTERVAL_CS * CENTISECOND))
        elif self.is_wide:
            self._calm += 1
            if self._calm >= max(CALM, CALM_FOR // self.interval):
                self.reset(self.interval)
        return self.promised != before

    def reset(self, interval: int) -> None:
        """Start again: another interval, or MASTER no more."""
        self.interval = self.promised = interval
        self._calm = 0
