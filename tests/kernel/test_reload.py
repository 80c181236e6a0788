"""SIGHUP under traffic: the difference is applied, and not one datagram is lost."""

from collections.abc import Callable, Iterator

import pytest

from tests.kernel.director_rig import Rig, running_pair

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

Edit = Callable[[str], str]
SECOND_VIP = "10.0.0.20"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with running_pair(tmp_path_factory.mktemp("reload")) as rig:
        yield rig


@pytest.fixture
def rig(pair: Rig) -> Iterator[Rig]:
    """With the configuration that the pair was started with."""
    yield pair
    pair.reloaded(nodes=("lb1", "lb2"))


def replaced(old: str, new: str) -> Edit:
    def edit(text: str) -> str:
        assert old in text, text
        return text.replace(old, new)

    return edit


def without_a_loss(rig: Rig, *edits: Edit, nodes: tuple[str, ...] = ("lb1",), then_s: float = 0.5) -> float:
    """Reload under a datagram every 5 ms; all must come back, and lb1 stays MASTER. Returns when."""
    since = rig.stage.timeline.events[-1]["at"]
    with rig.beating() as beats:
        at = rig.reloaded(*edits, nodes=nodes)
        rig.stage.pump(then_s)

    assert beats[0].sent > 50
    assert beats[0].lost == ()
    assert rig.stage.timeline.first("bound", since, address=rig.stage.vip) is None
    assert rig.stage.timeline.first("unbound", since, address=rig.stage.vip) is None
    assert rig.holders() == {"lb1"}
    return at


def test_changed_weights_reach_the_kernel(rig: Rig) -> None:
    without_a_loss(rig, replaced('"10.0.0.11", weight = 1', '"10.0.0.11", weight = 7'))

    weights = rig.stage.timeline.weights["lb1"]
    assert {key: weight for key, weight in weights.items() if "10.0.0.11" in key} == {
        "10.0.0.10:8000/TCP>10.0.0.11:8000": 7,
        "10.0.0.10:8000/UDP>10.0.0.11:8000": 7,
    }


def test_an_added_service_comes_and_goes(rig: Rig) -> None:
    service = '\n[[service]]\naddress = "10.0.0.10:9000"\nprotocol = "tcp"\nrealservers = ["10.0.0.11"]\n'
    table = rig.namespace().run

    without_a_loss(rig, lambda text: text + service)
    assert "-A -t 10.0.0.10:9000" in table(["ipvsadm", "-Sn"])

    without_a_loss(rig)
    assert "10.0.0.10:9000" not in table(["ipvsadm", "-Sn"])


def test_an_added_address_is_bound_announced_and_taken_off_again(rig: Rig) -> None:
    one, two = 'addresses = ["10.0.0.10/24"]', f'addresses = ["10.0.0.10/24", "{SECOND_VIP}/24"]'

    def shown() -> str:
        return rig.namespace().run(["ip", "-4", "-o", "addr", "show", "dev", "eth0"])

    without_a_loss(rig, replaced(one, two), nodes=("lb1", "lb2"))
    assert f"inet {SECOND_VIP}/24" in shown()
    assert SECOND_VIP in rig.status()["vrrp"]["routers"][0]["addresses"][1]

    without_a_loss(rig, nodes=("lb1", "lb2"))
    assert SECOND_VIP not in shown()


@pytest.mark.parametrize("interval", ["300ms", "50ms"])
def test_a_changed_advert_interval_is_followed_and_nobody_takes_over(rig: Rig, interval: str) -> None:
    """The MASTER first: its BACKUP counts by what it hears."""
    slower = replaced('advert_interval = "100ms"', f'advert_interval = "{interval}"')

    without_a_loss(rig, slower, nodes=("lb1", "lb2"), then_s=1.5)

    assert rig.status("lb2")["vrrp"]["routers"][0]["state"] == "BACKUP"


def test_bad_text_is_refused_whole_and_the_old_one_runs_on(rig: Rig) -> None:
    before = rig.namespace().run(["ipvsadm", "-Sn"])

    def two_mistakes(text: str) -> str:
        return replaced('scheduler = "rr"', 'schedular = "lc"')(text) + 'state_dri = "/x"\n'

    with rig.beating() as beats:
        at = rig.reload(two_mistakes)
        rig.event("agent.reload_refused", since=at)
        rig.stage.pump(0.5)

    problems = [event["problem"] for event in rig.events("agent.reload_refused", since=at)]
    assert len(problems) == 2
    assert "schedular" in problems[0]
    assert "scheduler" in problems[0]
    assert "line " in problems[0]
    assert "state_dir" in problems[1]
    assert beats[0].lost == ()
    assert rig.namespace().run(["ipvsadm", "-Sn"]) == before
    assert any("the configuration file is refused" in problem for problem in rig.status()["problems"])
    assert rig.events("director.reloaded", since=at) == []


def test_what_needs_a_restart_and_what_looks_doubtful_is_said(rig: Rig) -> None:
    at = without_a_loss(rig, lambda text: text.replace('/state"', '/elsewhere"'))

    assert "state_dir" in rig.event("agent.restart_needed", since=at)["change"]


def test_time_outs_are_set_and_put_back(rig: Rig) -> None:
    def shown() -> str:
        return rig.namespace().run(["ipvsadm", "-L", "--timeout"])

    before = shown()

    without_a_loss(rig, lambda text: text + '\n[ipvs.timeouts]\nudp = "77s"\n')
    assert shown().split()[-1] == "77"

    without_a_loss(rig)
    assert shown() == before


def test_an_alert_tells_of_a_weight_and_of_a_file_that_is_refused(rig: Rig) -> None:
    told = rig.folder / "told"
    script = f"echo $LVSHA_TEXT >> {told}"
    alert = (
        f'\n[[alert]]\nname = "t"\non = ["weight", "config-refused"]\nexec = ["/bin/sh", "-c", "{script}"]\n'
    )
    rig.reloaded(lambda text: text + alert)

    at = rig.reloaded(
        replaced('"10.0.0.11", weight = 1', '"10.0.0.11", weight = 7'), lambda text: text + alert
    )

    def delivered() -> set[str]:
        return {event["told"] for event in rig.events("alert.delivered", since=at)}

    rig.until(lambda: "change.weight" in delivered(), "a weight is told")
    rig.reload(lambda text: text + "nonsense")
    rig.until(lambda: "agent.reload_refused" in delivered(), "a refusal is told")

    lines = told.read_text().splitlines()
    assert "change.weight 10.0.0.11:8000" in lines[0]
    assert "agent.reload_refused" in lines[-1]


def test_a_file_in_the_maintenance_directory_takes_a_realserver_out(rig: Rig) -> None:
    folder = rig.folder / "maintenance"
    folder.mkdir()
    rig.reloaded(lambda text: text + f'maintenance_dir = "{folder}"\n')

    def weights() -> set[int]:
        rows = [row for service in rig.status()["services"] for row in service["destinations"]]
        return {row["kernel_weight"] for row in rows if row["address"] == "10.0.0.11"}

    (folder / "10.0.0.11").touch()
    rig.until(lambda: weights() == {0}, "weight 0")
    owners = {order["owner"] for order in rig.status()["overrides"]}
    (folder / "10.0.0.11").unlink()
    rig.until(lambda: weights() == {1}, "the weight is back")

    assert owners == {"maintenance_dir"}
    assert rig.status()["overrides"] == []
