"""An incident, recorded and put in again."""

import json
from pathlib import Path

import pytest

from lvsha.cli.sim import main
from lvsha.core.instant import Instant, after
from lvsha.vrrp.outputs import AddAddresses, SendAdvertisement
from lvsha.vrrp.record import RecordedRouter, RecordError, replay
from tests.vrrp.routers import ADVERT, DOWN, LOWER_PEER, US, VIPS, advert, settings

CONFIG = """\
[[vrrp]]
name = "r"
interface = "eth0"
vrid = 51
addresses = ["10.0.0.10/24", "10.0.0.11/24"]
preempt = true
"""


def incident() -> list[str]:
    """A takeover, a worse MASTER, a failed address, a release."""
    lines: list[str] = []
    router = RecordedRouter(settings(), lines.append)
    router.set_interface(True, US, Instant(0))
    router.start(Instant(0))
    router.receive(advert(50), LOWER_PEER, Instant(1))
    router.on_deadline(Instant(DOWN))
    router.caught_up(Instant(DOWN))
    router.on_deadline(Instant(DOWN))
    router.set_bound(frozenset(VIPS[:1]), Instant(DOWN + 1))
    router.receive(advert(50), LOWER_PEER, Instant(DOWN + 2))
    router.on_deadline(after(Instant(DOWN), 2 * ADVERT))
    router.on_action_failed(SendAdvertisement("r", 100), 100, Instant(DOWN + 2 * ADVERT))
    router.set_priority(90, Instant(DOWN + 2 * ADVERT + 1))
    router.on_action_failed(AddAddresses("r", VIPS), 1, Instant(DOWN + 2 * ADVERT + 2))
    router.resume(Instant(DOWN + 2 * ADVERT + 3))
    router.release(Instant(DOWN + 2 * ADVERT + 4))
    router.shutdown(Instant(DOWN + 2 * ADVERT + 5))
    return lines


def test_what_was_recorded_comes_out_again() -> None:
    lines = incident()

    steps = list(replay([settings()], lines))

    assert len(steps) == len(lines) == 15
    assert all(step.is_same for step in steps)
    assert sum(len(step.outputs) for step in steps) > 10


@pytest.mark.parametrize("priority", [50, 100, 200])
def test_a_master_that_overslept_and_hears_of_it_over_another_path(priority: int) -> None:
    lines: list[str] = []
    router = RecordedRouter(settings(), lines.append)
    router.set_interface(True, US, Instant(0))
    router.start(Instant(0))
    router.on_deadline(Instant(DOWN))
    router.caught_up(Instant(DOWN))
    router.on_deadline(Instant(DOWN))
    router.receive_beside(advert(priority), LOWER_PEER, after(Instant(DOWN), 10 * ADVERT))
    router.on_deadline(after(Instant(DOWN), 20 * ADVERT))

    steps = list(replay([settings()], lines))

    assert len(steps) == 7
    assert all(step.is_same for step in steps)


def test_another_configuration_is_found_out() -> None:
    steps = list(replay([settings(priority=40)], incident()))

    assert not all(step.is_same for step in steps)


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "nonsense",
        "[]",
        '{"router":"other","now":1,"input":"release","outputs":[]}',
        '{"router":"r","now":1,"input":"explode","outputs":[]}',
        '{"router":"r","now":1,"input":"receive","advert":3,"outputs":[]}',
        '{"router":"r","now":"x","input":"release","outputs":[]}',
    ],
)
def test_a_line_that_is_no_input_is_said_with_its_number(line: str) -> None:
    with pytest.raises(RecordError, match="line 1"):
        list(replay([settings()], [line]))


def test_a_reload_ends_a_replay() -> None:
    lines: list[str] = []
    router = RecordedRouter(settings(), lines.append)
    router.start(Instant(0))
    router.reconfigure(settings(priority=50), Instant(1))

    with pytest.raises(RecordError, match="configuration changed"):
        list(replay([settings()], lines))


def test_the_command_tells_the_incident_and_where_it_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, journal = tmp_path / "lvsha.toml", tmp_path / "record"
    config.write_text(CONFIG)
    lines = incident()
    journal.write_text("".join(f"{line}\n" for line in lines))

    assert main(["replay", str(journal), "--config", str(config)]) == 0
    told = capsys.readouterr().out
    assert "became_master reason=preempted" in told
    assert told.endswith("15 inputs, the same outputs\n")

    changed = json.loads(lines[1])
    changed["outputs"] = []
    journal.write_text("".join(f"{line}\n" for line in [lines[0], json.dumps(changed)]))
    assert main(["replay", str(journal), "--config", str(config)]) == 1
    assert "line 2: recorded was nothing" in capsys.readouterr().err

    assert main(["replay", "/nowhere", "--config", str(config)]) == 2
