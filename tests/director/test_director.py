"""Health becomes weights: the decisions that cross checks, pools and the kernel's table."""

from dataclasses import replace
from ipaddress import IPv4Address

from lvsha.checker.check import StartProbe
from lvsha.checker.pool import PoolMember, PoolSettings
from lvsha.checker.result import ProbeResult, Reason
from lvsha.checker.settings import CheckKind, CheckSettings
from lvsha.config.settings import Director as DirectorRecord
from lvsha.config.settings import RealServerSettings, ServiceSettings, Settings
from lvsha.core.instant import SECOND, Instant, after
from lvsha.core.machine import Output
from lvsha.director.director import Director, ReconcileTable
from lvsha.ipvs.model import (
    Destination,
    DestinationState,
    Protocol,
    Service,
    ServiceKey,
    ServiceState,
    Table,
)

VIP = IPv4Address("10.0.0.10")
GOOD = ProbeResult(ok=True)
REFUSED = ProbeResult(ok=False, reason=Reason.REFUSED, detail="connection refused")


def realserver(number: int, *, interval: int = SECOND) -> RealServerSettings:
    address = IPv4Address(f"10.0.0.{number}")
    return RealServerSettings(
        name=f"rs{number}",
        destination=Destination(address=address, port=80, weight=10),
        check=CheckSettings(kind=CheckKind.TCP, address=address, port=80, interval=interval, rise=2, fall=2),
    )


def service(name: str, *realservers: RealServerSettings, port: int = 80) -> ServiceSettings:
    members = tuple(PoolMember(name=rs.name, weight=rs.destination.weight) for rs in realservers)
    return ServiceSettings(
        name=name,
        service=Service(key=ServiceKey.of(Protocol.TCP, VIP, port)),
        realservers=realservers,
        pool=PoolSettings(name=name, members=members),
    )


def settings(*services: ServiceSettings) -> Settings:
    return Settings(node="lb1", directors=(DirectorRecord(name="lb1"),), services=services)


class Bench:
    """Runs a director in virtual time against realservers that answer at once."""

    def __init__(self, wanted: Settings, *, actual: Table | None = None) -> None:
        self.director = Director(wanted, random=lambda: 0.5, actual=actual or {})
        self.now = Instant(1 * SECOND)
        self.dead: set[IPv4Address] = set()
        self.probes = 0
        self.outputs: list[Output] = []
        self.take(self.director.start(self.now))

    def take(self, outputs: list[Output]) -> None:
        self.outputs += outputs
        for output in outputs:
            if isinstance(output, StartProbe):
                self.probes += 1
                result = REFUSED if output.settings.address in self.dead else GOOD
                self.take(self.director.on_probe(output.check_id, result, self.now))

    def advance(self, duration: int) -> None:
        end = after(self.now, duration)
        while (deadline := self.director.deadline) is not None and deadline <= end:
            self.now = max(deadline, self.now)
            self.take(self.director.on_deadline(self.now))
        self.now = end

    def weights(self, key: ServiceKey) -> dict[str, int]:
        return {str(d.address): d.weight for d in self.director.desired()[key].destinations}


KEY = ServiceKey.of(Protocol.TCP, VIP, 80)


def test_a_realserver_gets_nothing_until_it_is_proven() -> None:
    bench = Bench(settings(service("web", realserver(11))))

    assert bench.weights(KEY) == {"10.0.0.11": 0}

    bench.advance(2 * SECOND)
    assert bench.weights(KEY) == {"10.0.0.11": 10}


def test_a_dead_realserver_has_weight_zero_and_the_other_keeps_its_own() -> None:
    bench = Bench(settings(service("web", realserver(11), realserver(12))))
    bench.advance(3 * SECOND)

    bench.dead.add(IPv4Address("10.0.0.12"))
    bench.advance(4 * SECOND)

    assert bench.weights(KEY) == {"10.0.0.11": 10, "10.0.0.12": 0}


def test_a_realserver_that_comes_back_gets_its_weight_back() -> None:
    bench = Bench(settings(service("web", realserver(11))))
    bench.advance(3 * SECOND)
    bench.dead.add(IPv4Address("10.0.0.11"))
    bench.advance(4 * SECOND)

    bench.dead.clear()
    bench.advance(4 * SECOND)

    assert bench.weights(KEY) == {"10.0.0.11": 10}


def test_identical_checks_of_two_services_run_once_and_count_for_both() -> None:
    shared = realserver(11)
    bench = Bench(settings(service("web", shared), service("api", shared, port=8080)))
    bench.advance(3 * SECOND)

    bench.dead.add(IPv4Address("10.0.0.11"))
    bench.advance(4 * SECOND)

    assert bench.director.check_count == 1
    assert bench.weights(KEY) == {"10.0.0.11": 0}
    assert bench.weights(ServiceKey.of(Protocol.TCP, VIP, 8080)) == {"10.0.0.11": 0}


def table_of(wanted: Settings, weight: int) -> Table:
    return {
        entry.service.key: ServiceState(
            service=entry.service,
            destinations={
                rs.destination.key: DestinationState(destination=replace(rs.destination, weight=weight))
                for rs in entry.realservers
            },
        )
        for entry in wanted.services
    }


def test_after_a_restart_the_kernels_table_is_already_the_desired_one() -> None:
    wanted = settings(service("web", realserver(11), realserver(12)))

    bench = Bench(wanted, actual=table_of(wanted, weight=10))

    assert bench.weights(KEY) == {"10.0.0.11": 10, "10.0.0.12": 10}


def test_an_adopted_realserver_that_died_meanwhile_needs_its_whole_fall() -> None:
    wanted = settings(service("web", realserver(11)))
    bench = Bench(wanted, actual=table_of(wanted, weight=10))
    bench.dead.add(IPv4Address("10.0.0.11"))

    bench.advance(1)
    assert bench.weights(KEY) == {"10.0.0.11": 10}, "one bad result is a suspicion"

    bench.advance(2 * SECOND)
    assert bench.weights(KEY) == {"10.0.0.11": 0}


def test_a_reload_without_a_change_keeps_verdicts_and_starts_no_probe() -> None:
    wanted = settings(service("web", realserver(11), realserver(12)))
    bench = Bench(wanted)
    bench.dead.add(IPv4Address("10.0.0.12"))
    bench.advance(5 * SECOND)
    before, probes = bench.director.desired(), bench.probes

    bench.take(
        bench.director.reconfigure(settings(service("web", realserver(11), realserver(12))), bench.now)
    )

    assert bench.director.desired() == before
    assert bench.probes == probes


def test_a_reload_that_changes_a_check_keeps_the_verdict_until_the_new_question_has_its_own() -> None:
    bench = Bench(settings(service("web", realserver(11))))
    bench.advance(3 * SECOND)

    changed = realserver(11, interval=5 * SECOND)
    bench.take(bench.director.reconfigure(settings(service("web", changed)), bench.now))

    assert bench.weights(KEY) == {"10.0.0.11": 10}
    assert bench.director.check_count == 1


def test_a_reload_keeps_the_check_of_whoever_did_not_change() -> None:
    """Two services share a check; the one that comes first gets another one and may not take it away."""
    shared = realserver(1)
    bench = Bench(settings(service("a", shared), service("b", shared, port=81)))
    bench.advance(5 * SECOND)
    before = bench.director.check_of(shared)

    other = replace(shared, check=replace(shared.check, interval=7 * SECOND) if shared.check else None)
    bench.take(
        bench.director.reconfigure(settings(service("a", other), service("b", shared, port=81)), bench.now)
    )

    assert bench.director.check_of(shared) is before
    assert bench.director.check_of(other) is not before
    assert bench.director.check_count == 2


def test_a_service_that_left_the_file_leaves_the_table_and_its_checks_end() -> None:
    bench = Bench(settings(service("web", realserver(11)), service("api", realserver(12), port=8080)))
    bench.advance(3 * SECOND)

    bench.take(bench.director.reconfigure(settings(service("web", realserver(11))), bench.now))

    assert set(bench.director.desired()) == {KEY}
    assert bench.director.check_count == 1


def test_a_realserver_added_by_a_reload_is_proven_first() -> None:
    bench = Bench(settings(service("web", realserver(11))))
    bench.advance(3 * SECOND)

    bench.take(
        bench.director.reconfigure(settings(service("web", realserver(11), realserver(12))), bench.now)
    )
    assert bench.weights(KEY) == {"10.0.0.11": 10, "10.0.0.12": 0}

    bench.advance(2 * SECOND)
    assert bench.weights(KEY) == {"10.0.0.11": 10, "10.0.0.12": 10}


def test_every_change_asks_for_the_table_to_be_reconciled() -> None:
    bench = Bench(settings(service("web", realserver(11))))
    bench.outputs.clear()

    bench.advance(2 * SECOND)

    assert any(isinstance(output, ReconcileTable) for output in bench.outputs)


def test_a_result_for_a_check_that_is_gone_means_nothing() -> None:
    bench = Bench(settings(service("web", realserver(11))))

    assert bench.director.on_probe("web/gone", GOOD, bench.now) == []
