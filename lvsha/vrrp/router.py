"""One virtual router: who is MASTER, decided by adverts and silence.

RFC 9568 calls the states Initialize, Backup and Active; operators call them INIT,
BACKUP and MASTER, and so do we. RFC 3768 (version 2) differs only in its timers
and in what ``vrrp.endpoint`` refuses.

The rules
---------
1. Whoever is heard with a higher priority is MASTER; of two equal ones, the one
   with the higher primary address. A silence of ``master_down_interval`` means
   that there is none.
2. ``vrrp.transitions`` is the machine: one row per phase and input, what is done,
   in order, and what follows. An input without a row changes nothing. The code
   below says which input it is that happened, ``vrrp.steps`` carries the steps out;
   they decide nothing else.
3. The addresses are bound while MASTER, and in two phases that operators see as
   other states: ADOPTING (seen as BACKUP: we were restarted or overslept, the
   addresses are still ours, and we listen first) and RELEASING (seen as INIT: a
   planned hand-over waits for a successor that serves). An advert of another MASTER
   takes them off, while RELEASING its second one.
4. A new MASTER advertises before it binds, binds before it announces, and all of
   that before anybody is told. A leaving MASTER says so (priority 0) before it
   touches an address, and goes on saying so until somebody answers, because one
   lost datagram would cost the whole down interval. It keeps the addresses until the
   successor's second advert, or for ``BIND_TIME`` after its first: that one says that it is
   about to bind them, and whatever keeps it from that for a while must not leave them with nobody.
5. The MASTER answers every advert that is worse than its own, at once, and
   announces the addresses again: after a split, switches and neighbours follow
   whoever spoke last. A MASTER that gives way to a better one sends a last advert
   as it goes: the other may never have heard it, and would have no reason to
   announce anything.
6. Time that we did not live through proves nothing, nor does silence before all that
   has come is read (``vrrp.hearing``): a BACKUP makes sure of that before it takes over.
   A MASTER late by more than the down interval it promised looks, for an advert at most.
   Has somebody else taken over meanwhile, it steps down, and preempts nobody for ``PENANCE``
   after that; else it goes on. One that is late promises less (``vrrp.pace``). A BACKUP
   late by more than half an advert, or whose kernel took as long to sort what had come, grants
   one more advert, at most ``GRANTS`` times in one silence: what kept it may have kept the MASTER.
7. A fault of our own (an address that cannot be bound, adverts that cannot be
   sent) makes us modest: we take over from silence, but preempt nobody until it
   has proved to be gone.
8. Whoever wants to be asked before a takeover (``pre_hook``) is asked when the silence
   is over, and waited for no longer than ``pre_hook_timeout``. An advert heard meanwhile
   counts as ever.
9. An advert over another path counts as one on the network itself: whoever is heard
   anywhere is alive, and two MASTERs that hear each other anywhere settle it. Only a tie
   is left to the network, whose addresses decide it. That a living MASTER is of no use,
   because its network is cut, it must find out itself (``vrrp.track``: the gateway).
"""

from lvsha.core.addr import Address
from lvsha.core.errors import StateError
from lvsha.core.instant import Instant, after
from lvsha.core.machine import Action, Output
from lvsha.vrrp.advertisement import advertisement
from lvsha.vrrp.group import may_take_over
from lvsha.vrrp.outputs import (
    ActionFailed,
    AddAddresses,
    AddressesRepaired,
    Announce,
    CatchUp,
    PaceChanged,
    Preparing,
    PriorityChanged,
    RanLate,
    Reason,
    RemoveAddresses,
    RenewAddresses,
    SendAdvertisement,
)
from lvsha.vrrp.settings import OWNER_PRIORITY, Prefix, RouterSettings
from lvsha.vrrp.steps import Steps
from lvsha.vrrp.timers import master_down_interval
from lvsha.vrrp.transitions import Input, Phase
from lvsha.wire.vrrp import Advertisement

GRANTS = 3
"""Adverts that a late BACKUP waits longer in one silence: a machine that is always late takes over too."""
MUTE_AFTER = 3
"""Adverts in a row that could not be sent: by then the others have heard none for a down interval."""


class VirtualRouter(Steps):
    """A machine: records and ``now`` go in, outputs come out in the order they are to be done.

    ``set_interface`` comes before ``start``: the primary address settles ties.
    """

    # Inputs

    def start(self, now: Instant, *, held: bool = False, was_master: bool = False) -> list[Output]:
        """Take part.

        Args:
            held: our addresses are bound in the kernel already.
            was_master: we were MASTER less than a master-down interval ago, so
                nobody else can be; without ``held`` it is not believed.

        Raises:
            StateError: it takes part already.
        """
        if self.phase is not Phase.IDLE:
            raise StateError(f"{self.settings.name} is started already")
        self._started = True
        self.since = now
        if held:
            self._held.bound = frozenset(self.settings.bound_addresses)
        if not self._interface_usable:
            on = Input.START_HELD_UNUSABLE if held else Input.START_UNUSABLE
            return self._happen(on, now, Reason.INTERFACE_DOWN)
        if held and (was_master or self.is_owner):
            return self._happen(Input.START_WAS_MASTER, now, Reason.ADOPTED)
        if held:
            return self._happen(Input.START_HELD, now, Reason.ADOPTED)
        if self.is_owner:
            return self._happen(Input.START_OWNER, now, Reason.OWNER)
        return self._happen(Input.START, now, Reason.STARTED)

    def receive(self, advert: Advertisement, source: Address, now: Instant) -> list[Output]:
        """An advert that ``vrrp.endpoint`` has found to be for us."""
        outputs = self._wake(now)
        self.waits_for_group = False
        on, reason = self._classify(advert, source, now)
        outputs += self._happen(on, now, reason, advert=advert, source=source)
        self._last_heard = now
        return outputs

    def receive_beside(self, advert: Advertisement, source: Address, now: Instant) -> list[Output]:
        """The same over another path: rule 9."""
        if advert.priority == self.priority and self.phase is Phase.MASTER:
            return self.wake(now)
        return self.receive(advert, self.master_address or source, now)

    def wake(self, now: Instant) -> list[Output]:
        """Nothing has happened, but it is ``now``: rule 6."""
        return self._wake(now)

    def on_deadline(self, now: Instant) -> list[Output]:
        if self._held.retry is not None and now >= self._held.retry:
            return self._held.unbind_again(self.settings)
        if self._timer is None or now < self._timer:
            return []
        late = now - self._timer
        if self.phase is Phase.MASTER:
            return self._advert_due(late, now)
        if self.phase is Phase.RELEASING:
            over = now >= self._release_over
            reason = Reason.DEADLINE if self.master_address is None else Reason.HEARD_MASTER
            return self._happen(Input.RELEASE_OVER if over else Input.ADVERT_DUE, now, reason)
        if self.phase is Phase.FAULT:
            return self._happen(Input.RETRY_DUE, now, Reason.RETRY)
        if self._is_late(late):
            self._grant(now)
            return [RanLate(self.settings.name, late)]
        again = self._hearing.is_asked
        if self._hearing.ask(now):
            self._timer = after(now, self.master_advert_interval)
            return [CatchUp(self.settings.name, again)]
        self.waits_for_group = True
        if not may_take_over(self.group):
            self._hearing.forget()
            self._timer = after(now, self.settings.advert_interval // 2)
            return []
        if self.settings.pre_hook and not self._prepares:
            self._prepares = True
            self._timer = after(now, self.settings.pre_hook_timeout)
            return [Preparing(self.settings.name)]
        return self._happen(Input.MASTER_SILENT, now, self._why_down)

    def caught_up(self, now: Instant) -> list[Output]:
        """All that had come when ``CatchUp`` was asked for has been read."""
        hearing = self._hearing
        if not hearing.is_asked:
            return []
        if self.phase is not Phase.MASTER:
            if 2 * (now - hearing.asked_at) > self._shorter_interval:
                if hearing.ask_anew(now):
                    self._timer = after(now, self.master_advert_interval)
                    return [CatchUp(self.settings.name)]
            elif hearing.was_slow and self._granted < GRANTS:
                # What kept our kernel from sorting what it had may have kept the MASTER's as well.
                self._grant(now)
                return []
        hearing.is_sure = True
        self._timer = now
        return []

    def permit(self, now: Instant) -> list[Output]:
        """Whoever was asked by ``Preparing`` is done: the deadline is now, unless a MASTER was heard."""
        if self._prepares and self.phase in (Phase.BACKUP, Phase.ADOPTING):
            self._timer = now
        return []

    def on_action_failed(self, action: Action, errno: int, now: Instant) -> list[Output]:
        """The shell could not do ``action``, or not all of it."""
        outputs: list[Output] = []
        kind = type(action).__name__
        count = self._complaints.count(kind, now)
        if count is not None:
            outputs.append(ActionFailed(self.settings.name, kind, errno, count))
        if isinstance(action, SendAdvertisement):
            self._sends_failed += 1
            self._last_send_failed = True
        elif isinstance(action, AddAddresses):
            outputs += self._happen(Input.BIND_FAILED, now, Reason.BIND_FAILED, detail=f"errno {errno}")
        elif isinstance(action, RemoveAddresses) and not self.holds_addresses:
            self._held.stuck(action.addresses, now)
        return outputs

    def set_interface(self, usable: bool, primary: Address | None, now: Instant) -> list[Output]:
        """Whether adverts can pass, and from which address ours leave."""
        self.primary = self.settings.source_address or primary
        before, self._interface_usable = self._interface_usable, usable
        if usable == before:
            return []
        if not usable:
            return self._happen(Input.INTERFACE_LOST, now, Reason.INTERFACE_DOWN)
        self._forgive()
        on = Input.INTERFACE_BACK_OWNER if self.is_owner else Input.INTERFACE_BACK
        return self._happen(on, now, Reason.INTERFACE_UP)

    def set_priority(self, priority: int, now: Instant) -> list[Output]:
        """The effective priority after tracking, 1-254 (255: owner).

        Raises:
            StateError: outside 1-255; 0 is ``release``.
        """
        if not 1 <= priority <= OWNER_PRIORITY:
            raise StateError(f"priority {priority} is outside 1-255")
        if priority == self.priority:
            return []
        before, self.priority = self.priority, priority
        outputs: list[Output] = [PriorityChanged(self.settings.name, before, priority)]
        if self.phase is Phase.MASTER:
            # The others are to count from now, not from the next regular advert.
            outputs.append(SendAdvertisement(self.settings.name, priority))
        return outputs

    def set_bound(self, bound: frozenset[Prefix], now: Instant) -> list[Output]:
        """What the kernel holds of our addresses, whenever that may have changed.

        Level-triggered: what somebody else unbound of a MASTER is bound again, what
        somebody else bound for a BACKUP is taken off.
        """
        name = self.settings.name
        ours = self.settings.bound_addresses
        # What went while we overslept (the lease) is not ours to take back.
        woken = self._wake(now) if not bound.issuperset(ours) else []
        self._held.bound = bound & frozenset(ours)
        missing = tuple(address for address in ours if address not in bound)
        stray = tuple(address for address in ours if address in bound)
        outputs: list[Output]
        if self.phase is Phase.MASTER and missing:
            self._held.bound = frozenset(ours)
            outputs = [AddAddresses(name, missing), Announce(name, missing, self.settings.garp.repeat)]
            stray = ()
        elif self._started and not self.holds_addresses and stray:
            self._held.bound = frozenset()
            outputs = [RemoveAddresses(name, stray)]
            missing = ()
        else:
            return woken
        if self._complaints.count("repaired", now) is not None:
            outputs.append(AddressesRepaired(name, added=missing, removed=stray))
        return [*woken, *outputs]

    def release(self, now: Instant) -> list[Output]:
        """Hand over as planned, and stay out until ``resume``.

        A MASTER keeps its addresses until a successor is heard twice, or
        ``release_deadline`` passes (two adverts, where those take longer);
        ``Released`` says that it is done.
        """
        if self.phase is not Phase.RELEASING:
            wait = max(self.settings.release_deadline, 2 * self.settings.advert_interval)
            self._release_over = after(now, wait)
        return self._happen(Input.RELEASE, now, Reason.NOT_MASTER)

    def resume(self, now: Instant) -> list[Output]:
        """Take part again after ``release``; nothing when it does already."""
        self._forgive()
        if self.phase is Phase.RELEASING:
            return self._happen(Input.RESUME, now, Reason.RESUMED)
        if self.phase is not Phase.IDLE:
            return []
        if not self._interface_usable:
            return self._happen(Input.START_UNUSABLE, now, Reason.INTERFACE_DOWN)
        if self.is_owner:
            return self._happen(Input.START_OWNER, now, Reason.OWNER)
        return self._happen(Input.START, now, Reason.RESUMED)

    def shutdown(self, now: Instant) -> list[Output]:
        """Leave at once: priority 0, addresses off."""
        return self._happen(Input.SHUTDOWN, now, Reason.SHUTDOWN)

    def reconfigure(self, settings: RouterSettings, now: Instant) -> list[Output]:
        """Change what differs, and nothing else; adverts go on.

        The effective priority follows the configured one only while no tracking
        has changed it.

        Raises:
            StateError: name, interface, vrid or family differ: that is another router.
        """
        old = self.settings
        for field in ("name", "interface", "vrid", "family"):
            if getattr(old, field) != getattr(settings, field):
                raise StateError(
                    f"{old.name}: another {field} is another router: remove it and add the new one"
                )
        if settings == old:
            return []
        self._forgive()
        self.settings = settings
        if settings.source_address is not None or old.source_address is not None:
            self.primary = settings.source_address or self.primary
        outputs: list[Output] = []
        if self.priority == old.priority != settings.priority:
            self.priority = settings.priority
            outputs.append(PriorityChanged(settings.name, old.priority, settings.priority))
        if self.master_address is None:
            self.master_advert_interval = settings.advert_interval
        if old.advert_interval != settings.advert_interval:
            self._pace.reset(settings.advert_interval)

        advertised = ("version", "priority", "advert_interval", "addresses", "password")
        if self.phase is Phase.MASTER and any(
            getattr(old, field) != getattr(settings, field) for field in advertised
        ):
            # At once: the backups time us by the interval that they last heard.
            outputs.append(SendAdvertisement(settings.name, self.priority))
            self._timer = after(now, settings.advert_interval)
        if self.holds_addresses and old.lease != settings.lease:
            kept = tuple(address for address in settings.bound_addresses if address in self._held.bound)
            outputs.append(RenewAddresses(settings.name, kept, settings.lease))
        if self.holds_addresses:
            is_master = self.phase is Phase.MASTER
            outputs += self._held.rebind(old, settings, is_master=is_master)
        return outputs

    def advertisement(self, priority: int) -> Advertisement:
        """The record that ``SendAdvertisement(priority)`` stands for."""
        return advertisement(self.settings, priority=priority, promised_interval=self._pace.promised)

    # Classifying

    def _classify(self, advert: Advertisement, source: Address, now: Instant) -> tuple[Input, Reason]:
        """Which input an advert is, as the phase we are in sees it."""
        if advert.priority == 0:
            if self.phase in (Phase.BACKUP, Phase.ADOPTING):
                self._why_down = Reason.MASTER_LEFT
            return Input.HEARD_ZERO, Reason.MASTER_LEFT
        if self.phase is Phase.RELEASING:
            is_first = self.master_address is None
            return Input.HEARD_SUCCESSOR if is_first else Input.HEARD_BETTER, Reason.HEARD_MASTER
        if self.phase is Phase.MASTER:
            if advert.priority > self.priority or (
                advert.priority == self.priority and self._yields_tie(source)
            ):
                return Input.HEARD_BETTER, Reason.BETTER_MASTER
            if self._sends_failed >= MUTE_AFTER:
                return Input.HEARD_WHILE_MUTE, Reason.SEND_FAILED
            return Input.HEARD_WORSE, Reason.BETTER_MASTER
        # BACKUP or ADOPTING: the reason shows only where adopting ends.
        if advert.priority >= self.priority:
            self._preemption.hear_none_worse()
            self._why_down = Reason.MASTER_DOWN
            return Input.HEARD_BETTER, Reason.HEARD_MASTER
        if not self._preemption.hear_worse(self.settings, now, is_owner=self.is_owner):
            self._why_down = Reason.MASTER_DOWN
            return Input.HEARD_BETTER, Reason.HEARD_MASTER
        self._why_down = Reason.PREEMPTED
        return Input.HEARD_WORSE, Reason.HEARD_MASTER

    def _yields_tie(self, source: Address) -> bool:
        """Section 6.4.3: the higher address wins, compared as a number. Unknown: we yield."""
        return self.primary is None or int(source) > int(self.primary)

    def _is_late(self, late: int) -> bool:
        """A BACKUP, by half an advert, and it may still grant one."""
        return 2 * late > self._shorter_interval and self._granted < GRANTS

    @property
    def _shorter_interval(self) -> int:
        """As configured: a MASTER that promises less may send as often as ever."""
        return min(self.settings.advert_interval, self.master_advert_interval)

    def _grant(self, now: Instant) -> None:
        self._granted += 1
        self._hearing.forget()
        self._timer = after(now, self.master_advert_interval)

    def _advert_due(self, late: int, now: Instant) -> list[Output]:
        """A MASTER comes to its advert."""
        promised = self._promised_down_interval
        if self._hearing.since is None and late <= promised:
            return [*self._keep_pace(late), *self._happen(Input.ADVERT_DUE, now, Reason.STARTED)]
        name = self.settings.name
        if self._hearing.since is None:
            self._late = late
        interval = self.settings.advert_interval
        if self._hearing.ask(now, patience=interval):
            self._timer = after(now, interval)
            return [CatchUp(name)]
        # Without an answer, too: all is late here, and silence would make the others take over.
        self._hearing.forget()
        return [
            RanLate(name, self._late),
            *self._keep_pace(self._late),
            *self._happen(Input.ADVERT_DUE, now, Reason.STARTED),
        ]

    def _wake(self, now: Instant) -> list[Output]:
        """Rule 6: a MASTER that was away for a down interval has lost its place, if there is another one."""
        if self.phase is not Phase.MASTER or self._timer is None:
            return []
        late = now - self._timer if self._hearing.since is None else self._late
        if late <= self._promised_down_interval:
            return []
        self._preemption.do_penance(now)
        return [
            RanLate(self.settings.name, late),
            *self._happen(Input.OVERSLEPT, now, Reason.OVERSLEPT),
        ]

    @property
    def _promised_down_interval(self) -> int:
        """How long a BACKUP of our priority waits for us."""
        return master_down_interval(
            version=self.settings.version,
            priority=self.priority,
            master_advert_interval=self._pace.promised,
        )

    def _keep_pace(self, late: int) -> list[Output]:
        """A MASTER comes ``late`` to an advert: what does it promise from now on?"""
        if self.settings.version != 3 or not self._pace.sent(late):
            return []
        return [PaceChanged(self.settings.name, self._pace.promised, late)]
