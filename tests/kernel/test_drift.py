"""Somebody else writes into the IPVS table of a director that is at work: found, said, put right.

The kernel keeps the rows of connections when a service is removed, but without any
service it looks at no packet, and its own TCP would reset them: ``director.reset_grace``
holds those resets back. So an ``ipvsadm -C`` costs time, and no connection.
"""

import time
from collections.abc import Iterator

import pytest

from tests.kernel.director_rig import Rig, running_pair

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

CONNECTIONS = 50
FOREIGN = "10.0.0.10:9999"
TCP = "10.0.0.10:8000"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with running_pair(tmp_path_factory.mktemp("drift")) as rig:
        yield rig


def ipvsadm(rig: Rig, *words: str) -> str:
    return rig.namespace().run(["ipvsadm", *words])


def table(rig: Rig) -> list[str]:
    return sorted(ipvsadm(rig, "-Sn").splitlines())


def test_a_cleared_table_is_back_within_a_second_and_no_connection_is_lost(rig: Rig) -> None:
    before = table(rig)
    rig.stage.open_connections(CONNECTIONS)
    begun = time.time()

    with rig.beating() as beats:
        ipvsadm(rig, "-C")
        count = rig.stage.check_connections()
        rig.stage.pump(0.5)

    assert count["survived"] == CONNECTIONS, count
    assert beats[0].longest_silence_ms < 1000
    assert len(beats[0].lost) > 0, "nothing was cleared: this test shows nothing"
    assert table(rig) == before
    missing = {event["service"] for event in rig.events("ipvs.service_missing", since=begun)}
    assert missing >= {"TCP 10.0.0.10:8000", "UDP 10.0.0.10:8000"}


@pytest.mark.parametrize(
    ("words", "event", "said"),
    [
        (f"-e -t {TCP} -r 10.0.0.11:8000 -g -w 7", "ipvs.destination_altered", "weight is 7, should be 1"),
        (f"-e -t {TCP} -r 10.0.0.11:8000 -m -w 1", "ipvs.destination_altered", "method is masq, should be"),
        (f"-d -t {TCP} -r 10.0.0.12:8000", "ipvs.destination_missing", "10.0.0.12:8000"),
        (f"-a -t {TCP} -r 10.0.0.13:8000 -g", "ipvs.destination_foreign", "10.0.0.13:8000"),
        (f"-E -t {TCP} -s lc -p 60", "ipvs.service_altered", "scheduler is lc, should be rr"),
        (f"-D -t {TCP}", "ipvs.service_missing", TCP),
    ],
)
def test_a_foreign_edit_is_undone_within_a_second_and_said(
    rig: Rig, words: str, event: str, said: str
) -> None:
    before, begun = table(rig), time.time()

    ipvsadm(rig, *words.split())
    edited = time.time()
    rig.until(lambda: table(rig) == before, f"the table as it was before ipvsadm {words}")

    assert said in str(rig.event(event, since=begun))
    assert rig.event("director.applied", since=begun)["at"] - edited < 1.0


def test_foreign_services_are_left_alone(rig: Rig) -> None:
    ipvsadm(rig, "-A", "-t", FOREIGN, "-s", "rr")
    begun = time.time()

    rig.stage.pump(1.2)

    assert f"-A -t {FOREIGN} -s rr" in table(rig)
    assert rig.status()["foreign_services"] == [f"TCP {FOREIGN}"]
    assert rig.events("director.applied", since=begun) == []


def test_exclusive_removes_foreign_services(rig: Rig) -> None:
    assert f"-A -t {FOREIGN} -s rr" in table(rig), "the test before leaves it"

    rig.reloaded(lambda text: text + "exclusive = true\n")
    rig.until(lambda: FOREIGN not in "".join(table(rig)), "the foreign service to be removed", within=2)

    rig.reloaded()
    ipvsadm(rig, "-A", "-t", FOREIGN, "-s", "rr")
    rig.stage.pump(1.0)
    assert f"-A -t {FOREIGN} -s rr" in table(rig)
    ipvsadm(rig, "-D", "-t", FOREIGN)


def test_the_grace_for_resets_is_in_force(rig: Rig) -> None:
    """By nftables, or by iptables where nf_tables has no IPv4 (Debian's user-mode Linux)."""
    assert rig.events("director.reset_grace_unavailable") == []
    (applied,) = rig.events("director.reset_grace_applied")
    assert applied["firewall"] in ("nft", "iptables")


def test_the_status_shows_everything_that_an_operator_asks(rig: Rig) -> None:
    rig.until(
        lambda: rig.status()["peers"][0].get("same_config") is True, "the peer's configuration", within=60
    )
    screen = rig.command("status")
    seen = rig.status()

    (router,) = seen["vrrp"]["routers"]
    assert (router["state"], router["addresses"]) == ("MASTER", ["10.0.0.10/24"])
    assert router["since_s"] > 1
    (peer,) = seen["peers"]
    assert (peer["name"], peer["address"], peer["differs"]) == ("lb2", "10.0.0.2", False)
    assert peer["generation"] == seen["config"]["shared"]
    assert {daemon["role"] for daemon in seen["sync"]["daemons"]} == {"master", "backup"}
    service = next(service for service in seen["services"] if service["service"] == f"TCP {TCP}")
    first = service["destinations"][0]
    assert (first["address"], first["kernel_weight"], first["state"]) == ("10.0.0.11", 1, "up")
    assert first["last_check"]["ok"]
    for word in ("lb1: all is well", "MASTER", "10.0.0.10/24", "lb2", "master on", f"TCP {TCP}", "ok in"):
        assert word in screen, screen
