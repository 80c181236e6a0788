"""What survives a killed vrrpd."""

from pathlib import Path

from lvsha.agent.blackbox import BlackBox
from lvsha.core.instant import Instant


def test_a_successor_reads_the_last_words(tmp_path: Path) -> None:
    first = BlackBox(tmp_path / "state")
    first.note("eth0-51", "MASTER", alive=Instant(1_000), since=Instant(500))
    # Killed: never closed.

    words = BlackBox(tmp_path / "state").last_words("eth0-51")

    assert words is not None
    assert (words.state, words.alive, words.since) == ("MASTER", 1_000, 500)


def test_routers_have_a_slot_each(tmp_path: Path) -> None:
    box = BlackBox(tmp_path / "state")
    for number in range(20):
        box.note(f"r{number}", "BACKUP", alive=Instant(number), since=Instant(0))
    box.note("r7", "MASTER", alive=Instant(777), since=Instant(770))

    again = BlackBox(tmp_path / "state")

    states = {name: again.last_words(name) for name in ("r6", "r7", "r8")}
    assert [(words.state, words.alive) for words in states.values() if words] == [
        ("BACKUP", 6),
        ("MASTER", 777),
        ("BACKUP", 8),
    ]


def test_nothing_is_known_of_a_router_that_never_was(tmp_path: Path) -> None:
    assert BlackBox(tmp_path / "state").last_words("eth0-51") is None


def test_more_routers_than_slots_are_not_noted_and_harm_nobody(tmp_path: Path) -> None:
    box = BlackBox(tmp_path / "state")
    for number in range(300):
        box.note(f"r{number}", "BACKUP", alive=Instant(number), since=Instant(0))

    assert box.last_words("r255") is not None
    assert box.last_words("r299") is None
