"""``[agent] watchdog``: the machine restarts when vrrpd cannot say any more that it is well.

A lease (``vrrp.lease``) takes the addresses from a vrrpd that hangs; this is for a machine of
which nothing but the power button helps. The device is written to four times in its timeout, from the
same loop that sends the adverts, and not while an address that belongs to another MASTER by now cannot
be taken off here. Off unless the configuration names a device.
"""

from collections.abc import Callable

from lvsha.agent.journal import Journal
from lvsha.core.instant import SECOND, Instant, after
from lvsha.io.watchdog import WatchdogDevice
from lvsha.vrrp.complaints import Complaints

PETS = 4
"""In a timeout: three may fail."""


class Watchdog:
    def __init__(
        self, path: str | None, timeout: int, *, is_well: Callable[[], bool], journal: Journal
    ) -> None:
        """``timeout`` in nanoseconds; ``path`` None: there is none."""
        self._path = path
        self._timeout = timeout
        self._is_well = is_well
        self._journal = journal
        self._complaints = Complaints()
        self._device: WatchdogDevice | None = None
        self._was_well = True
        self.deadline: Instant | None = None

    def begin(self, now: Instant) -> None:
        """From here on the machine restarts unless ``on_deadline`` is called in time."""
        if self._path is not None:
            self.deadline = now
            self.on_deadline(now)

    def on_deadline(self, now: Instant) -> None:
        if self.deadline is None or now < self.deadline:
            return
        self.deadline = after(now, self._timeout // PETS)
        is_well = self._is_well()
        if is_well != self._was_well:
            self._was_well = is_well
            self._journal.write("vrrp.watchdog_starved" if not is_well else "vrrp.watchdog_fed")
        if not is_well:
            return
        try:
            if self._device is None:
                self._open()
            else:
                self._device.pet()
        except OSError as error:
            count = self._complaints.count("watchdog", now)
            if count is not None:
                problem = f"{self._path}: {error.strerror or error}"
                self._journal.write("vrrp.watchdog_failed", problem=problem, count=count)

    def close(self) -> None:
        """A clean stop: nobody has to be restarted."""
        self.deadline = None
        if self._device is not None:
            self._device.close(stop=True)
            self._journal.write("vrrp.watchdog_stopped", stops=self._device.facts.can_stop)
            self._device = None

    def _open(self) -> None:
        assert self._path is not None, "else there is no deadline"
        self._device = WatchdogDevice(self._path, self._timeout // SECOND)
        facts = self._device.facts
        self._timeout = min(self._timeout, facts.timeout_s * SECOND)
        self._journal.write(
            "vrrp.watchdog_started",
            device=self._path,
            identity=facts.identity,
            timeout_s=facts.timeout_s,
            stops_when_closed=facts.can_stop,
        )
