"""Is this director fit to lead? Its interfaces, what it tracks, and the groups of its routers.

Interfaces are seen here; what else is tracked directord looks at and tells. A fault makes a
router unusable, a weight moves its priority; both reach the machines as inputs.
"""

from collections.abc import Callable
from typing import Any

from lvsha.agent.journal import Journal
from lvsha.agent.links import InterfaceTable
from lvsha.agent.vrrpd.ports import Ports
from lvsha.agent.vrrpd.virtual_macs import VirtualMacs
from lvsha.core.errors import KernelError
from lvsha.core.instant import Instant, earliest
from lvsha.core.machine import Output
from lvsha.io.reactor import monotonic
from lvsha.vrrp.complaints import Complaints
from lvsha.vrrp.group import fault as group_fault
from lvsha.vrrp.router import VirtualRouter
from lvsha.vrrp.settings import HeartbeatPath, RouterSettings
from lvsha.vrrp.track import Judgement, SteadyLink, TrackKind, judge

Perform = Callable[[VirtualRouter, list[Output], Instant], None]
"""Carries out what a router answers."""


class Fitness:
    def __init__(
        self,
        routers: dict[str, VirtualRouter],
        interfaces: InterfaceTable,
        ports: Ports,
        macs: VirtualMacs,
        *,
        complaints: Complaints,
        journal: Journal,
        perform: Perform,
    ) -> None:
        self._routers = routers
        self._interfaces = interfaces
        self._ports = ports
        self._macs = macs
        self._complaints = complaints
        self._journal = journal
        self._perform = perform
        self.faults: dict[str, str] = {}
        """By router, why it cannot work; empty when it can."""
        self._own_faults: dict[str, str] = {}
        """Without those of its group."""
        self._verdicts: dict[str, bool] = {}
        """Of what is tracked, as directord last said."""
        self._offsets: dict[str, int] = {}
        """What directord wants added to a router's priority."""
        self._links: dict[tuple[str, str], SteadyLink] = {}
        """By router and interface: what to believe of links that come and go."""

    # Inputs

    @property
    def deadline(self) -> Instant | None:
        """When to look again: a link has stayed, or stayed away, for long enough."""
        return earliest(*(link.deadline for link in self._links.values())) if self._links else None

    def hear(self, key: str, up: bool, now: Instant) -> None:
        """directord's verdict on something tracked."""
        known = {track.key for router in self._routers.values() for track in router.settings.track}
        if key not in known or self._verdicts.get(key) == up:
            return
        was_told = key in self._verdicts
        self._verdicts[key] = up
        if was_told or not up:
            self._journal.write("vrrp.tracked", key=key, up=up)
        for router in self._routers.values():
            self.look(router, now)
        self.weigh(now)

    def offset(self, router: str | None, offset: int, now: Instant) -> None:
        """What directord wants added to a priority; None: to all."""
        for name in self._routers:
            if router in (None, name):
                self._offsets[name] = offset
        self.weigh(now)

    def reconfigured(self) -> None:
        """Other routers, or other settings: forget what is about none of them."""
        tracked = {track.key for router in self._routers.values() for track in router.settings.track}
        self._verdicts = {key: up for key, up in self._verdicts.items() if key in tracked}
        for left in (self._own_faults, self.faults, self._offsets):
            for name in set(left) - set(self._routers):
                del left[name]
        self._links.clear()
        self.regroup()

    def regroup(self) -> None:
        """Tell every router who leads or follows with it."""
        for router in self._routers.values():
            router.group = tuple(
                self._routers[name] for name in self._group_of(router) if name != router.settings.name
            )

    # Looking

    def look(self, router: VirtualRouter, now: Instant) -> None:
        """Open the sockets that are missing, and tell the router whether it can work."""
        settings = router.settings
        ours = {
            prefix.ip
            for other in self._routers.values()
            if other.settings.interface == settings.interface
            for prefix in other.settings.bound_addresses
        }
        view = self._interfaces.view(settings.interface, settings.family, exclude=ours)
        problem = view.problem
        try:
            self._ports.open(settings.interface, settings.family, view.index)
        except KernelError as error:
            problem = str(error)
        problem = problem or self._macs.prepare(settings)
        for path in settings.paths:
            self._open_path(settings, path)
        primary = settings.source_address or view.primary
        steady = self._steady(settings, settings.interface, not problem, now)
        if problem and steady:
            problem, primary = "", primary or router.primary
        elif not problem and not steady:
            problem = f"{settings.interface} is back: it counts when it has stayed for link_up_delay"
        own = problem or self._judge(router, now).fault
        is_news = own != self._own_faults.get(settings.name, "")
        self._own_faults[settings.name] = own
        group = self._group_of(router)
        problem = own or group_fault(settings.name, group, self._own_faults)
        usable = not problem and primary is not None
        if problem != self.faults.get(settings.name, ""):
            self.faults[settings.name] = problem
            if problem:
                self._journal.write("vrrp.interface_unusable", router=settings.name, problem=problem)
        self._perform(router, router.set_interface(usable, primary, now), now)
        if is_news:
            for name in group:
                if name != settings.name:
                    self.look(self._routers[name], now)

    def weigh(self, now: Instant) -> None:
        """The effective priorities."""
        for name, router in self._routers.items():
            settings = router.settings
            if not settings.is_owner:
                offset = self._offsets.get(name, 0) + self._judge(router, now).offset
                wanted = min(254, max(1, settings.priority + offset))
                self._perform(router, router.set_priority(wanted, now), now)

    def tracked(self, settings: RouterSettings) -> dict[str, Any]:
        """What a router tracks, and whether it is up; None: nobody has looked yet."""
        return {
            track.key: self._interfaces.is_up(track.target)
            if track.kind is TrackKind.INTERFACE
            else self._verdicts.get(track.key)
            for track in settings.track
        }

    def _open_path(self, settings: RouterSettings, path: HeartbeatPath) -> None:
        """Without its sockets the router works on."""
        view = self._interfaces.view(path.interface, settings.family, exclude=set())
        try:
            self._ports.open(path.interface, settings.family, view.index)
        except KernelError as error:
            if self._complaints.count(f"path {path.interface}", monotonic()) is not None:
                self._journal.write("vrrp.path_unusable", router=settings.name, problem=str(error))

    def _steady(self, settings: RouterSettings, interface: str, up: bool, now: Instant) -> bool:
        """What ``settings`` believes of a link that is ``up`` at this moment, or not."""
        if not settings.link_up_delay and not settings.link_down_delay:
            return up
        link = self._links.setdefault(
            (settings.name, interface),
            SteadyLink(up_delay=settings.link_up_delay, down_delay=settings.link_down_delay),
        )
        return link.look(up, now)

    def _judge(self, router: VirtualRouter, now: Instant) -> Judgement:
        """A group is judged as one: a weight on one side moves both."""
        members = [self._routers[name].settings for name in self._group_of(router)] or [router.settings]
        tracks = dict.fromkeys(track for member in members for track in member.track)
        seen = {
            track.key: self._steady(router.settings, track.target, self._interfaces.is_up(track.target), now)
            for track in tracks
            if track.kind is TrackKind.INTERFACE
        }
        return judge(tracks, {**self._verdicts, **seen})

    def _group_of(self, router: VirtualRouter) -> list[str]:
        group = router.settings.group
        return [name for name, other in self._routers.items() if group and other.settings.group == group]
