"""Runs become medians, and medians a table."""

from typing import Any

from lvsha.lab.report import comparison, conditions, demo_table, markdown, progress, summarize
from lvsha.lab.settings import DirectorKind, RunSettings


def result(director: str, survived: int, silence: float | None, **more: Any) -> dict[str, Any]:
    settings = RunSettings(scenario="crash", director=DirectorKind(director))
    return {
        "scenario": "crash",
        "director": director,
        "kernel": "uml",
        "connections": {"established": 100, "survived": survived},
        "longest_silence_ms": silence,
        "double_holder_ms": 0.0,
        "ok": survived == 100,
        "settings": settings.as_json(),
    } | more


def test_runs_of_one_scenario_and_director_are_summed_up_by_median_and_worst() -> None:
    rows = summarize([result("lvsha", 100, 320.0), result("lvsha", 98, 340.0), result("lvsha", 100, 330.0)])

    assert len(rows) == 1
    assert (rows[0]["survived_median"], rows[0]["survived_worst"]) == (100, 98)
    assert rows[0]["longest_silence_ms_median"] == 330.0
    assert rows[0]["longest_silence_ms_range"] == [320.0, 340.0]
    assert (rows[0]["runs"], rows[0]["runs_ok"]) == (3, 2)


def test_a_run_without_a_measurement_is_not_a_silence_of_zero() -> None:
    rows = summarize([result("lvsha", 100, 320.0), result("lvsha", 0, None)])

    assert rows[0]["longest_silence_ms_median"] == 320.0
    assert rows[0]["survived_worst"] == 0


def test_other_conditions_are_another_row() -> None:
    slow = result("lvsha", 100, 3000.0)
    slow["settings"]["advert_s"] = 1.0

    assert len(summarize([result("lvsha", 100, 320.0), slow])) == 2
    assert conditions(slow) == "crash, DR, IPv4, advert 1 s, 1 s after"
    slow["settings"] |= {"protocol": "udp", "fwmark": 7}
    assert conditions(slow) == "crash, DR, IPv4, advert 1 s, UDP, persistent, by mark, 1 s after"


def test_directors_stand_one_below_the_other_with_ours_first() -> None:
    lines = comparison(summarize([result("keepalived", 80, 318.0), result("lvsha", 100, 312.0)]))

    assert lines[0].split()[:2] == ["Scenario", "Director"]
    assert "lvsha" in lines[2]
    assert "100 / 100" in lines[2]
    assert "keepalived" in lines[3]
    assert "80 / 100" in lines[3]
    assert "1 not ok" in lines[3]


def test_the_demonstration_ends_with_a_column_for_each() -> None:
    ours = result("lvsha", 100, 329.4, detected_ms={"lb1": 1500.0, "lb2": 1532.0}, connections_died={})
    theirs = result("keepalived", 80, 335.0, connections_died={"ECONNRESET": 20})

    text = "\n".join(demo_table([ours, theirs]))

    for word in ("1532 ms", "100 / 100", "80 / 100", "20 x ECONNRESET", "329 ms", "335 ms"):
        assert word in text


def test_markdown_has_the_same_cells() -> None:
    lines = markdown(summarize([result("keepalived", 80, 318.0), result("lvsha", 100, 312.0)]))

    assert lines[1] == "| --- | --- | --- | --- | --- | --- |"
    assert lines[2] == "| crash, DR, IPv4, advert 0.1 s, 1 s after | lvsha | 1 | 100 / 100 | 312 ms |  |"
    assert lines[3].startswith("|  | keepalived | 1 | 80 / 100 | 318 ms |")


def test_what_a_scenario_adds_is_summed_up_too() -> None:
    runs = [
        result(
            "lvsha", 100, 20.0, repaired_ms=ms, kernel_writes={"ipvs": writes, "addresses": 0}, takeovers=0
        )
        for ms, writes in ((240.0, 0), (260.0, 2), (900.0, 0))
    ]

    row = summarize(runs)[0]

    assert (row["repaired_ms_median"], row["kernel_writes_worst"], row["takeovers_worst"]) == (260.0, 2, 0)
    assert "table back after 260 ms; no takeover; kernel writes: 2" in comparison([row])[-1]


def test_progress_says_what_went_wrong() -> None:
    bad = result("lvsha", 98, None, verdict="98 of 100 connections go on")

    assert progress(bad).endswith("98 / 100  not measured  not ok: 98 of 100 connections go on")
