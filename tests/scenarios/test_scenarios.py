"""Every transcript in this folder, played. ``lvsha sim run --rewrite FILE`` accepts what happens now."""

from pathlib import Path

import pytest

from lvsha.sim.transcript import Transcript, TranscriptError, duration

FILES = sorted(Path(__file__).parent.glob("*.txt"))


def test_there_are_scenarios() -> None:
    assert len(FILES) >= 25


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario_goes_as_it_says(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert Transcript().run(text) == text


def test_a_scenario_without_outputs_gets_them() -> None:
    played = Transcript().run(
        "director a priority=200\nstart\n----\nnothing of this is true\n\nstatus\n----\n"
    )

    assert played == (
        "director a priority=200\nstart\n----\n"
        "0.000 a became_backup reason=started master=None master_priority=None\n\n"
        "status\n----\na BACKUP (BACKUP) priority 200, bound nothing\n"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dance", "line 1: no command 'dance'"),
        ("\nadvance 3", "line 2: advance 3: '3' is not a duration"),
        ("director a vrid=0", "vrid: 0 is outside 1-255"),
        ("director a color=red", "'color=red' is not one of"),
        ("cut a b", "no director 'a'"),
        ("release nobody", "nobody"),
        ("director a\nrefuse a breakfast", "is not bind, unbind or send"),
    ],
)
def test_a_scenario_that_cannot_be_played_says_where_and_why(text: str, says: str) -> None:
    with pytest.raises(TranscriptError) as caught:
        Transcript().run(text)

    assert says in str(caught.value)


def test_durations_have_units() -> None:
    assert [duration(text) for text in ("250us", "10ms", "3.61s", "2m", "1h")] == [
        250_000,
        10_000_000,
        3_610_000_000,
        120_000_000_000,
        3_600_000_000_000,
    ]
