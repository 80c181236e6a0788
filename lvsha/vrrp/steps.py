"""What a virtual router is, and what each step of ``vrrp.transitions`` does to it.

``vrrp.router`` has the rules, and says which input something is that happened; here it is
looked up in the table and carried out.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lvsha.core.addr import Address
from lvsha.core.instant import MILLISECOND, SECOND, Instant, after, earliest
from lvsha.core.machine import Output
from lvsha.vrrp.complaints import Complaints
from lvsha.vrrp.group import Member
from lvsha.vrrp.hearing import Hearing
from lvsha.vrrp.held import HeldAddresses
from lvsha.vrrp.outputs import (
    AdoptedAddresses,
    Announce,
    BecameBackup,
    BecameMaster,
    DuplicateMaster,
    EnteredFault,
    MasterChanged,
    Reason,
    Released,
    Releasing,
    RenewAddresses,
    SendAdvertisement,
    StopAnnouncing,
)
from lvsha.vrrp.pace import Pace
from lvsha.vrrp.preemption import Preemption
from lvsha.vrrp.settings import OWNER_PRIORITY, RouterSettings
from lvsha.vrrp.timers import master_down_interval, skew_time
from lvsha.vrrp.transitions import HOLDING, STATE_OF, TABLE, Input, Phase, State, Step
from lvsha.wire.vrrp import Advertisement

BIND_TIME = 150 * MILLISECOND
"""A successor has bound the addresses so long after its first advert, or something is wrong with it."""
RETRY_FIRST = 5 * SECOND
"""After an address could not be bound."""
RETRY_LAST = 60 * SECOND
LEASE_SLACK = 1 * SECOND
"""The kernel looks at leases once a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One input, with what its steps need to know."""

    on: Input
    now: Instant
    reason: Reason
    advert: Advertisement | None = None
    source: Address | None = None
    detail: str = ""
    before: Phase
    silence: int
    """Nanoseconds since the last advert of another MASTER, or since the state began."""


class Steps:
    """The state of one virtual router; ``VirtualRouter`` is what the shell knows."""

    def __init__(self, settings: RouterSettings) -> None:
        self.settings = settings
        self.phase = Phase.IDLE
        self.since = Instant(0)
        self.priority = settings.priority
        """Effective, after tracking."""
        self.primary: Address | None = settings.source_address
        """Our own address, as the others see it."""
        self.master_address: Address | None = None
        """Of the MASTER that we follow; None while MASTER ourselves or before one is heard."""
        self.master_priority: int | None = None
        self.master_advert_interval = settings.advert_interval
        """Nanoseconds; as heard, our own before that and while MASTER."""
        self.group: tuple[Member, ...] = ()
        """The others that lead or follow together with this one (``vrrp.group``)."""
        self.waits_for_group = False
        """No MASTER is heard here, but one may be elsewhere in the group."""
        self._timer: Instant | None = None
        self._interface_usable = True
        self._started = False
        self._last_heard: Instant | None = None
        self._why_down = Reason.MASTER_DOWN
        self._preemption = Preemption()
        self._prepares = False
        """Its ``pre_hook`` was asked for in this silence."""
        self._granted = 0
        """Extra adverts that a late BACKUP has waited for in this silence."""
        self._hearing = Hearing()
        self._late = 0
        """Of a MASTER that has asked whether it has heard all: how late it came."""
        self._pace = Pace(settings.advert_interval)
        self._sends_failed = 0
        """In a row."""
        self._last_send_failed = False
        self._retry = RETRY_FIRST
        self._release_over = Instant(0)
        self._held = HeldAddresses()
        self._complaints = Complaints()

    @property
    def state(self) -> State:
        return STATE_OF[self.phase]

    @property
    def holds_addresses(self) -> bool:
        return self.phase in HOLDING

    @property
    def is_owner(self) -> bool:
        return self.priority == OWNER_PRIORITY

    @property
    def is_modest(self) -> bool:
        """A fault of our own keeps us from preempting."""
        return self._preemption.is_modest

    @property
    def is_held_back(self) -> bool:
        """Connections are missing here: preempt nobody."""
        return self._preemption.is_held_back

    @is_held_back.setter
    def is_held_back(self, held_back: bool) -> None:
        self._preemption.is_held_back = held_back

    @property
    def promised_interval(self) -> int:
        """Nanoseconds between two adverts as ours name them; more than configured while we run late."""
        return self._pace.promised

    @property
    def unbinds_again(self) -> bool:
        """An address that could not be removed waits to be tried again."""
        return self._held.retry is not None

    @property
    def deadline(self) -> Instant | None:
        timer, retry = self._timer, self._held.retry
        return timer if retry is None else earliest(timer, retry)

    @property
    def skew_time(self) -> int:
        return skew_time(
            version=self.settings.version,
            priority=self.priority,
            master_advert_interval=self.master_advert_interval,
        )

    @property
    def master_down_interval(self) -> int:
        return master_down_interval(
            version=self.settings.version,
            priority=self.priority,
            master_advert_interval=self.master_advert_interval,
        )

    def _forgive(self) -> None:
        """Somebody changed something: a fault of our own may be gone."""
        self._preemption.forgive()
        self._sends_failed = 0
        self._retry = RETRY_FIRST

    def _happen(
        self,
        on: Input,
        now: Instant,
        reason: Reason,
        *,
        advert: Advertisement | None = None,
        source: Address | None = None,
        detail: str = "",
    ) -> list[Output]:
        """Look the row up, change the phase, take its steps."""
        row = TABLE.get((self.phase, on))
        if row is None:
            return []
        heard = self.since if self._last_heard is None else max(self.since, self._last_heard)
        happening = Happening(
            on=on,
            now=now,
            reason=reason,
            advert=advert,
            source=source,
            detail=detail,
            before=self.phase,
            silence=now - heard,
        )
        if row.then is not self.phase:
            if STATE_OF[row.then] is not self.state:
                self.since = now
            self.phase = row.then
            self._granted = 0
            self._hearing.forget()
            self._prepares = False
            self.waits_for_group = False
            self._pace.reset(self.settings.advert_interval)
            self._preemption.hear_none_worse()
            self.master_address = None
            self.master_priority = None
            self.master_advert_interval = self.settings.advert_interval
        outputs: list[Output] = []
        for step in row.steps:
            outputs += _STEPS[step](self, happening)
        return outputs

    # Steps

    def _advertise(self, happening: Happening) -> list[Output]:
        if not self._last_send_failed:
            self._sends_failed = 0
            if happening.on is Input.ADVERT_DUE:
                # MASTER for a whole interval, and nothing has failed since.
                self._forgive()
        self._last_send_failed = False
        return [SendAdvertisement(self.settings.name, self.priority)]

    def _advertise_zero(self, happening: Happening) -> list[Output]:
        return [SendAdvertisement(self.settings.name, 0)]

    def _bind(self, happening: Happening) -> list[Output]:
        return self._held.bind(self.settings)

    def _unbind(self, happening: Happening) -> list[Output]:
        return self._held.unbind(self.settings)

    def _announce(self, happening: Happening) -> list[Output]:
        settings = self.settings
        again = 0
        if happening.on is Input.MASTER_SILENT and settings.lease:
            # Frozen and not dead, it answers for the addresses until its lease is over.
            again = settings.lease + LEASE_SLACK
        return [Announce(settings.name, settings.bound_addresses, settings.garp.repeat, again)]

    def _announce_later(self, happening: Happening) -> list[Output]:
        return [Announce(self.settings.name, self.settings.bound_addresses, 0)]

    def _stop_announcing(self, happening: Happening) -> list[Output]:
        return [StopAnnouncing(self.settings.name, self.settings.bound_addresses)]

    def _follow(self, happening: Happening) -> list[Output]:
        advert, source = happening.advert, happening.source
        assert advert is not None, "only an advert has a sender to follow"
        assert source is not None, "an advert has a sender"
        # Version 2 has refused an interval that is not ours (vrrp.endpoint).
        heard = (source, advert.priority, advert.advert_interval)
        if heard == (self.master_address, self.master_priority, self.master_advert_interval):
            return []
        self.master_address, self.master_priority, self.master_advert_interval = heard
        if happening.before is not self.phase:
            return []  # BecameBackup says it
        return [MasterChanged(self.settings.name, *heard)]

    def _be_modest(self, happening: Happening) -> list[Output]:
        self._preemption.be_modest()
        return []

    def _wait_down(self, happening: Happening) -> list[Output]:
        self._why_down = Reason.MASTER_DOWN
        self._granted = 0
        self._hearing.forget()
        self._prepares = False
        self._timer = after(happening.now, self.master_down_interval)
        return []

    def _wait_skew(self, happening: Happening) -> list[Output]:
        if self._prepares:
            return []  # about to take over as it is
        due = after(happening.now, self.skew_time)
        # Said again, it puts nobody off: whoever leaves may have promised less than he kept to.
        self._timer = due if self._timer is None else min(self._timer, due)
        return []

    def _wait_advert(self, happening: Happening) -> list[Output]:
        interval = self.settings.advert_interval
        due = after(happening.now, interval)
        if happening.on is Input.ADVERT_DUE and self._timer is not None:
            # From when it was due, not from when we came to it: late loops do not add up.
            due = max(after(self._timer, interval), after(happening.now, interval // 2))
        self._timer = due
        return []

    def _wait_release(self, happening: Happening) -> list[Output]:
        # Half as long again as an advert: more than any skew_time, so that saying it
        # twice cannot put off a successor whose timer runs already.
        again = after(happening.now, 3 * self.settings.advert_interval // 2)
        self._timer = min(again, self._release_over)
        return []

    def _wait_successor(self, happening: Happening) -> list[Output]:
        wait = min(2 * self.master_advert_interval, BIND_TIME)
        self._release_over = self._timer = after(happening.now, wait)
        return []

    def _wait_retry(self, happening: Happening) -> list[Output]:
        self._timer = after(happening.now, self._retry)
        self._retry = min(2 * self._retry, RETRY_LAST)
        return []

    def _wait_nothing(self, happening: Happening) -> list[Output]:
        self._timer = None
        return []

    def _tell(self, happening: Happening) -> list[Output]:
        name, reason, source = self.settings.name, happening.reason, happening.source
        if self.phase is Phase.MASTER:
            return [BecameMaster(name, reason, happening.silence)]
        if self.phase in (Phase.BACKUP, Phase.ADOPTING):
            priority = happening.advert.priority if happening.advert is not None else None
            return [BecameBackup(name, reason, source, priority)]
        if self.phase is Phase.FAULT:
            return [EnteredFault(name, reason, happening.detail)]
        if self.phase is Phase.RELEASING:
            return [Releasing(name)]
        return [Released(name, reason, source)]

    def _tell_adopted(self, happening: Happening) -> list[Output]:
        settings = self.settings
        adopted = AdoptedAddresses(settings.name, as_master=self.phase is Phase.MASTER)
        if not settings.lease:
            return [adopted]
        return [adopted, RenewAddresses(settings.name, settings.bound_addresses, settings.lease)]

    def _tell_duplicate(self, happening: Happening) -> list[Output]:
        advert, source = happening.advert, happening.source
        assert advert is not None, "only an advert betrays a second MASTER"
        assert source is not None, "an advert has a sender"
        yields = self.phase is not Phase.MASTER
        if not yields and happening.now - self.since < self.master_down_interval:
            return []  # whoever we took over from is giving way: no second MASTER yet
        count = self._complaints.count("duplicate", happening.now)
        if count is None:
            return []
        return [DuplicateMaster(self.settings.name, source, advert.priority, yields, count)]


_STEPS: dict[Step, Callable[[Steps, Happening], list[Output]]] = {
    step: getattr(Steps, f"_{step.name.lower()}") for step in Step
}
