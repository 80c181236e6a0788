"""Silence is counted in a window."""

from lvsha.lab.results import silence

MS = 1_000_000


def beats(echoes: list[int], lost: list[int], end: int) -> dict[str, object]:
    return {
        "at": end * MS,
        "flows": [{"echoes": [at * MS for at in echoes], "lost": [at * MS for at in lost]}],
    }


def test_one_of_several_handovers_is_looked_at_by_itself() -> None:
    report = beats([0, 2, 4, 12, 14, 54, 56], lost=[6, 30], end=60)

    first, second = silence(report, 3 * MS, 15 * MS), silence(report, 13 * MS)

    assert (first["longest_silence_ms"], first["silence_began_ms"]) == (8.0, 1.0)
    assert first["heartbeats_lost"] == 1
    assert (second["longest_silence_ms"], second["silence_began_ms"]) == (40.0, 1.0)
    assert second["longest_silence_before_ms"] == 8.0
