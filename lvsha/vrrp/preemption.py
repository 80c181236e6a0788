"""May this router take the role from a living MASTER of lower priority? Rules 6 and 7 of ``vrrp.router``."""

from lvsha.core.instant import SECOND, Instant, after
from lvsha.vrrp.settings import RouterSettings

PENANCE = 5 * SECOND
"""After a MASTER overslept: who stands still now and then must not take the role back each time."""


class Preemption:
    """What speaks against it, of one router."""

    def __init__(self) -> None:
        self.is_held_back = False
        """Whoever synchronises connections has not got them all yet: preempt nobody, the owner included."""
        self._is_modest = False
        """A fault of our own has not proved to be gone."""
        self._penance: Instant | None = None
        """Until when one who overslept preempts nobody."""
        self._worse_since: Instant | None = None
        """Since when only MASTERs of lower priority have been heard: what preempt_delay counts from."""

    @property
    def is_modest(self) -> bool:
        return self._is_modest or self._penance is not None

    def be_modest(self) -> None:
        self._is_modest = True

    def do_penance(self, now: Instant) -> None:
        self._penance = after(now, PENANCE)

    def forgive(self) -> None:
        """Somebody changed something, or all went well for a while: a fault of our own may be gone."""
        self._is_modest = False
        self._penance = None

    def hear_none_worse(self) -> None:
        """A better MASTER was heard, or another phase begins."""
        self._worse_since = None

    def hear_worse(self, settings: RouterSettings, now: Instant, *, is_owner: bool) -> bool:
        """A MASTER of lower priority was heard; whether to preempt it."""
        if self._worse_since is None:
            self._worse_since = now
        if self._penance is not None and now >= self._penance:
            self._penance = None
        if self.is_modest or self.is_held_back:
            return False
        if is_owner:
            return True  # Section 6.1: whatever Preempt_Mode says
        return settings.preempts and now - self._worse_since >= settings.preempt_delay
