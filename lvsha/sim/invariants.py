"""What must hold of virtual directors, looked at after every step.

1. A kernel that refuses nothing holds an address exactly while its router does
   (MASTER, or releasing, or adopting).
2. In a network that is whole and loses nothing, or with a second path, for longer than anybody's down
   interval, nobody has been MASTER beside another for longer than a down interval.
3. There, somebody who can be MASTER does not wait for it longer than two down intervals.
4. Only a MASTER announces.
5. A process that does not run, or is frozen, holds nothing when its lease is over.
6. Every queue stays within its bound.

And at the end, after a quiet while: every router that takes part and can is MASTER or
BACKUP, exactly one is MASTER, the best one where all preempt, and the gateway sends
every address to it.
"""

from lvsha.core.instant import MILLISECOND, Instant, to_seconds
from lvsha.sim.director import INBOX, Director
from lvsha.sim.stage import Stage
from lvsha.vrrp.transitions import Phase, State

TO_COME = 10_000
"""Frames under way and recorded ones still to be sent again; more is a storm."""


class Broken(Exception):
    """An invariant does not hold."""


class Watch:
    def __init__(self, stage: Stage) -> None:
        self.changed = True
        """Something but an advert has happened since the last look."""
        self.looks = 0
        """How often everything was looked at."""
        self._stage = stage
        self._double_since: Instant | None = None
        self._none_since: Instant | None = None

    @property
    def is_calm(self) -> bool:
        """Nothing is being waited for, and nothing has changed."""
        return not self.changed and self._double_since is None and self._none_since is None

    def begin_again(self) -> None:
        """Something befell them: whatever was waited for is waited for from now on."""
        self.changed = True
        self._double_since = self._none_since = None

    def look(self) -> None:
        """
        Raises:
            Broken: with what is not as it must be.
        """
        if not self.changed and self._double_since is None and self._none_since is None:
            return
        self.changed = False
        self.looks += 1
        masters = able = 0
        for director in self._stage.directors:
            self._look_at(director)
            if director.is_running and not director.is_frozen:
                masters += director.link_up and director.is_master("r")
                able += director.state("r") is State.BACKUP and not director.kernel.bind_errno
        if len(self._stage.world) > TO_COME:
            raise Broken(f"{len(self._stage.world)} things are to come")
        self._look_at_masters(masters, able)

    def _look_at(self, director: Director) -> None:
        kernel = director.kernel
        refused = kernel.bind_errno or kernel.unbind_errno
        refused = refused or any(router.unbinds_again for router in director.routers.values())
        if not refused and not director.is_frozen and not director.binds_what_it_should():
            raise Broken(f"{director.name} binds {kernel.bound} in {director.routers['r'].phase}")
        if len(director.inbox) > INBOX:
            raise Broken(f"{director.name}: {len(director.inbox)} datagrams wait")
        addresses = len(director.settings[0].bound_addresses)
        if len(director.announcer) > addresses:
            raise Broken(f"{director.name} announces {len(director.announcer)} of {addresses} addresses")
        if not director.is_running or director.is_frozen:
            now = director.clock.now()
            late = [prefix for prefix, end in kernel.leases.items() if end < now]
            if late:
                raise Broken(f"{director.name} does not run and holds {late} beyond the lease")
        elif len(director.announcer) and not director.is_master("r"):
            raise Broken(f"{director.name} announces as {director.routers['r'].phase}")

    def _look_at_masters(self, masters: int, able: int) -> None:
        stage, now = self._stage, self._stage.world.now
        clean = (
            stage.network.is_clean
            and stage.network.weather.delay_most <= MILLISECOND
            and not any(director.kernel.send_errno or director.lag for director in stage.directors)
        )
        # Who hears each other anywhere agrees, unless it is a tie.
        heard = (
            stage.beside is not None
            and not stage.has_tie
            and not any(director.lag or director.is_frozen for director in stage.directors)
        )
        if not (clean or heard) or masters < 2:
            self._double_since = None
        elif self._double_since is None:
            self._double_since = now
        elif now - self._double_since > stage.down:
            raise Broken(f"{masters} MASTERs since {to_seconds(self._double_since):.3f} in a whole network")
        if not clean or masters or not able:
            self._none_since = None
        elif self._none_since is None:
            self._none_since = now
        elif now - self._none_since > 2 * stage.down:
            raise Broken(f"no MASTER since {to_seconds(self._none_since):.3f} though somebody could")


def must_be_right(stage: Stage) -> None:
    """At the end.

    Raises:
        Broken: with what is not as it must be.
    """
    states = {director.name: director.routers["r"] for director in stage.directors}
    masters = [name for name, router in states.items() if router.state is State.MASTER]
    if len(masters) != 1:
        raise Broken(f"{len(masters)} MASTERs at the end: {[str(r.phase) for r in states.values()]}")
    for name, router in states.items():
        if name != masters[0] and router.phase is not Phase.BACKUP:
            raise Broken(f"{name} is {router.phase} at the end")
    master = states[masters[0]]
    best = max(router.priority for router in states.values())
    if (
        master.settings.preempts
        and master.priority < best
        and not any(router.is_modest for router in states.values())
    ):
        raise Broken(f"{masters[0]} is MASTER with priority {master.priority}, another has {best}")
    for prefix in master.settings.bound_addresses:
        believed = stage.network.beliefs.get(prefix.ip)
        if believed != masters[0]:
            raise Broken(f"the gateway sends {prefix.ip} to {believed}, MASTER is {masters[0]}")
