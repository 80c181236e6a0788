"""A director in virtual time under an operator's hands: the bench of the tests of overrides."""

from dataclasses import replace
from ipaddress import IPv4Address

from lvsha.checker.check import StartProbe
from lvsha.checker.pool import PoolMember, PoolSettings
from lvsha.checker.result import ProbeResult, Reason
from lvsha.checker.settings import CheckKind, CheckSettings
from lvsha.config.settings import Director as DirectorRecord
from lvsha.config.settings import RealServerSettings, ServiceSettings, Settings
from lvsha.core.instant import SECOND, Instant, after
from lvsha.core.machine import Event, Output
from lvsha.director.director import Director
from lvsha.director.overrides import Override, OverrideKind, find_target
from lvsha.ipvs.model import (
    Destination,
    DestinationState,
    Protocol,
    Service,
    ServiceKey,
    ServiceState,
    Table,
)

WALL = 1_800_000_000.0
"""The wall clock when the monotonic one is 0."""


def realserver(number: int, *, weight: int = 10) -> RealServerSettings:
    address = IPv4Address(f"10.0.0.{number}")
    check = CheckSettings(kind=CheckKind.TCP, address=address, port=80, interval=SECOND, rise=2, fall=2)
    return RealServerSettings(
        name=f"rs{number}", destination=Destination(address=address, port=80, weight=weight), check=check
    )


def service(name: str, *realservers: RealServerSettings, port: int = 80, **pool: object) -> ServiceSettings:
    members = tuple(PoolMember(name=each.name, weight=each.destination.weight) for each in realservers)
    settings = PoolSettings(name=name, members=members)
    return ServiceSettings(
        name=name,
        service=Service(key=ServiceKey.of(Protocol.TCP, IPv4Address("10.0.0.100"), port)),
        realservers=realservers,
        pool=replace(settings, **pool),  # type: ignore[arg-type]  # a test names its own fields
    )


def settings(*services: ServiceSettings) -> Settings:
    return Settings(node="lb1", directors=(DirectorRecord(name="lb1"),), services=services)


class Bench:
    """Realservers answer at once; the kernel does at once what is wanted, and counts ``connections``."""

    def __init__(self, wanted: Settings) -> None:
        self.director = Director(wanted, random=lambda: 0.5, actual={})
        self.now = Instant(SECOND)
        self.dead: set[IPv4Address] = set()
        self.said: dict[IPv4Address, ProbeResult] = {}
        self.connections: dict[str, int] = {}
        self.forwards = True
        self.events: list[Event] = []
        self.take(self.director.start(self.now, at=self.at))

    @property
    def at(self) -> float:
        return WALL + self.now / SECOND

    def take(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, StartProbe):
                assert isinstance(output.settings.address, IPv4Address)
                refused = ProbeResult(ok=False, reason=Reason.REFUSED, detail="connection refused")
                good = self.said.get(output.settings.address, ProbeResult(ok=True))
                result = refused if output.settings.address in self.dead else good
                self.take(self.director.on_probe(output.check_id, result, self.now))
            elif isinstance(output, Event):
                self.events.append(output)

    def advance(self, duration: int) -> None:
        end = after(self.now, duration)
        while (deadline := self.director.deadline) is not None and deadline <= end:
            self.now = max(deadline, self.now)
            self.take(self.director.on_deadline(self.now))
            self.look()
        self.now = end
        self.look()

    def look(self) -> None:
        self.take(self.director.on_table(self.table(), self.now, forwards=self.forwards))

    def order(self, kind: str, target: str, **fields: object) -> Override:
        override = Override(
            kind=OverrideKind(kind),
            target=find_target(target, self.director.settings.services),
            owner="root",
            **fields,  # type: ignore[arg-type]  # a test names its own fields
        )
        self.take(self.director.order(override, self.now, at=self.at))
        return override

    def take_back(self, kind: str, target: str) -> None:
        found = find_target(target, self.director.settings.services)
        self.take(self.director.take_back([OverrideKind(kind)], found, self.now, owner="root"))

    def weights(self, name: str = "web") -> dict[str, int | None]:
        return self.director.views()[name].weights

    def table(self) -> Table:
        return {
            key: ServiceState(
                service=wanted.service,
                destinations={
                    each.key: DestinationState(
                        destination=each, active=self.connections.get(str(each.address), 0)
                    )
                    for each in wanted.destinations
                },
            )
            for key, wanted in self.director.desired().items()
        }
