"""``lvsha sim run --config``: what would happen to the directors of a file."""

import json
from pathlib import Path

import pytest

from lvsha.cli.sim import main

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
MINIMAL = str(EXAMPLES / "minimal-dr.toml")


def answers(
    capsys: pytest.CaptureFixture[str], *words: str, config: str = MINIMAL
) -> tuple[int, list[dict[str, object]]]:
    status = main(["run", "--config", config, "--json", *words])
    return status, json.loads(capsys.readouterr().out)


def test_a_crash_takes_a_down_interval(capsys: pytest.CaptureFixture[str]) -> None:
    status, (answer,) = answers(capsys, "--fault", "power_off lb1")

    assert status == 0
    assert (answer["before"], answer["after"]) == (["lb1"], ["lb2"])
    assert 0.26 <= float(str(answer["without_master"])) <= 0.37
    assert answer["two_holders"] == 0


def test_a_frozen_master_holds_the_address_until_its_lease_is_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, (answer,) = answers(capsys, "--fault", "freeze lb1")

    assert 2 < float(str(answer["two_holders"])) < 3


def test_a_time_before_a_fault_counts_from_the_first_one(capsys: pytest.CaptureFixture[str]) -> None:
    _, (answer,) = answers(capsys, "--fault", "1s: kill lb2", "--fault", "partition lb1 lb2", "--for", "3s")

    lines = [line for line in answer["transcript"] if " -- " in line]  # type: ignore[attr-defined]
    assert lines == ["2.000 -- partition lb1 lb2", "3.000 -- kill lb2"]


def test_two_masters_in_the_end_are_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    status, (answer,) = answers(capsys, "--fault", "partition lb1 lb2")

    assert status == 1
    assert answer["after"] == ["lb1", "lb2"]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_survives_the_loss_of_a_director(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, played = answers(capsys, config=str(path))
    first = played[0]["before"]
    assert isinstance(first, list)
    assert first

    status, played = answers(capsys, "--fault", f"power_off {first[0]}", config=str(path))

    assert status == 0
    assert all(answer["after"] != first for answer in played)


@pytest.mark.parametrize(
    "words",
    [
        ["--config", MINIMAL, "--fault", "explode lb1"],
        ["--config", MINIMAL, "--fault", "freeze nobody"],
        ["--config", MINIMAL, "--fault", "freeze lb1", "--for", "soon"],
        ["--config", "/nowhere.toml"],
    ],
)
def test_what_cannot_be_played_is_said_in_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *words]) == 2

    captured = capsys.readouterr()
    assert captured.err.startswith("lvsha sim: ")
    assert captured.err.count("\n") == 1
    assert not captured.out
