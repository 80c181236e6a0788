"""Results side by side, for people. Pure: results in, lines out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import median
from typing import Any

Json = dict[str, Any]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of text under a ruled heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def summarize(results: Iterable[Json]) -> list[Json]:
    """One row for all runs of the same scenario under the same conditions with the same director."""
    groups: dict[tuple[str, str], list[Json]] = {}
    for result in results:
        groups.setdefault((conditions(result), result["director"]), []).append(result)
    return [_summary(name, director, runs) for (name, director), runs in groups.items()]


def conditions(result: Json) -> str:
    """What two results must share to be compared."""
    settings = result["settings"]
    words = [result["scenario"]]
    if result["scenario"] == "agent-kill":
        words[0] += f" {settings['process']}"
    words += [settings["method"].upper(), f"IPv{settings['family']}", f"advert {settings['advert_s']:g} s"]
    words += kind_of_service(settings)
    if settings["vips"] > 1:
        words.append(f"{settings['vips']} VIPs")
    if settings["sync_maxlen"]:
        words.append(f"maxlen {settings['sync_maxlen']}")
    if settings.get("transport", "relay") != "relay":
        words.append(settings["transport"])
    words.append(f"{settings['crash_after_s']:g} s after")
    return ", ".join(words)


def kind_of_service(settings: Json) -> list[str]:
    """Where it is not TCP, by address, without persistence."""
    words = ["UDP"] if settings.get("protocol", "tcp") == "udp" else []
    words += ["persistent"] if settings.get("persistent") or words else []
    return words + (["by mark"] if settings.get("fwmark") else [])


def _summary(name: str, director: str, runs: list[Json]) -> Json:
    survived = [run["connections"]["survived"] for run in runs]
    silences = [run["longest_silence_ms"] for run in runs if run["longest_silence_ms"] is not None]
    return {
        "conditions": name,
        "director": director,
        "kernel": runs[0]["kernel"],
        "runs": len(runs),
        "runs_ok": sum(run["ok"] for run in runs),
        "established": max(run["connections"]["established"] for run in runs),
        "survived_median": median(survived),
        "survived_worst": min(survived),
        "longest_silence_ms_median": median(silences) if silences else None,
        "longest_silence_ms_range": [min(silences), max(silences)] if silences else None,
        "takeover_ms_median": _median_of(runs, "takeover_ms"),
        "double_holder_ms_worst": max((run["double_holder_ms"] or 0 for run in runs), default=0),
        "detected_ms_median": _median_of(runs, "detected_ms"),
        "returned_ms_median": _median_of(runs, "returned_ms"),
        "repaired_ms_median": _median_of(runs, "repaired_ms"),
        "reloaded_ms_median": _median_of(runs, "reloaded_ms"),
        "heartbeats_lost_worst": _worst_of(runs, "heartbeats_lost"),
        "takeovers_worst": _worst_of(runs, "takeovers"),
        "kernel_writes_worst": _worst_of(runs, "kernel_writes"),
        "times_table_emptied": sum(run.get("table_emptied_ms") is not None for run in runs),
    }


def _number(value: Any, combine: Callable[[Iterable[float]], float]) -> float | None:
    """What a key holds in one run: a number, or one for each director or kind."""
    if isinstance(value, dict):
        numbers = [number for number in value.values() if number is not None]
        return combine(numbers) if numbers else None
    return value  # type: ignore[no-any-return]  # JSON


def _numbers(runs: list[Json], key: str, combine: Callable[[Iterable[float]], float]) -> list[float]:
    found = [_number(run.get(key), combine) for run in runs]
    return [number for number in found if number is not None]


def _median_of(runs: list[Json], key: str) -> float | None:
    """Of the slower director's where there is one for each."""
    values = _numbers(runs, key, max)
    return median(values) if values else None


def _worst_of(runs: list[Json], key: str) -> float | None:
    values = _numbers(runs, key, sum)
    return max(values) if values else None


def progress(result: Json) -> str:
    """One finished run, for whoever waits for the next."""
    connections = result["connections"]
    silence = result["longest_silence_ms"]
    words = [
        f"{conditions(result)}: {result['director']:<10}",
        f"{connections['survived']} / {connections['established']}",
        f"{silence:.0f} ms" if silence is not None else "not measured",
    ]
    if not result["ok"]:
        words.append(f"not ok: {result['verdict']}")
    return "  ".join(words)


HEADING = ["Scenario", "Director", "Runs", "Connections that go on", "Longest silence", "Also"]


def _rows(summaries: Sequence[Json]) -> Iterator[list[str]]:
    """The cells of the table, a row for each summary; scenarios in the order they came, ours first."""
    order = list(dict.fromkeys(row["conditions"] for row in summaries))
    previous = ""
    for row in sorted(
        summaries, key=lambda row: (order.index(row["conditions"]), row["director"] != "lvsha")
    ):
        name = row["conditions"] if row["conditions"] != previous else ""
        yield [name, row["director"], str(row["runs"]), _survivors(row), _silence(row), _also(row)]
        previous = row["conditions"]


def comparison(summaries: Sequence[Json]) -> list[str]:
    """The table at the end of a comparison."""
    return table([HEADING, *_rows(summaries)])


def markdown(summaries: Sequence[Json]) -> list[str]:
    """The same for a page."""
    lines = [HEADING, ["---"] * len(HEADING), *_rows(summaries)]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _survivors(row: Json) -> str:
    text = f"{row['survived_median']:g} / {row['established']}"
    if row["survived_worst"] != row["survived_median"]:
        text += f" (worst {row['survived_worst']})"
    return text


def _silence(row: Json) -> str:
    if row["longest_silence_ms_median"] is None:
        return "not measured"
    text = f"{row['longest_silence_ms_median']:.0f} ms"
    low, high = row["longest_silence_ms_range"]
    return text if row["runs"] == 1 else f"{text} ({low:.0f}-{high:.0f})"


ALSO = {
    "detected_ms_median": "dead realserver at weight 0 after {:.0f} ms",
    "returned_ms_median": "its weight back after {:.0f} ms",
    "repaired_ms_median": "table back after {:.0f} ms",
    "reloaded_ms_median": "new weight after {:.0f} ms",
}


def _also(row: Json) -> str:
    words = [text.format(row[key]) for key, text in ALSO.items() if row[key] is not None]
    if "reload" in row["conditions"] and row["heartbeats_lost_worst"] is not None:
        words.append(f"heartbeats lost: {row['heartbeats_lost_worst']:.0f}")
    if row["takeovers_worst"] is not None:
        words.append("a takeover" if row["takeovers_worst"] else "no takeover")
        if row["kernel_writes_worst"] is not None:
            words.append(f"kernel writes: {row['kernel_writes_worst']:.0f}")
        if row["times_table_emptied"]:
            words.append("table emptied")
    if row["double_holder_ms_worst"]:
        words.append(f"two holders for {row['double_holder_ms_worst']:.0f} ms")
    if row["runs_ok"] < row["runs"]:
        words.append(f"{row['runs'] - row['runs_ok']} not ok")
    return "; ".join(words)


def demo_table(results: Sequence[Json]) -> list[str]:
    """What the demonstration ends with."""
    columns = {result["director"]: result for result in results}
    rows = [["", *columns]]
    questions: list[tuple[str, Callable[[Json], str]]] = [
        ("dead realserver at weight 0 after", _detection),
        ("master director dies: connections that go on", _went_on),
        ("  how the others end", _deaths),
        ("longest silence while the other takes over", _longest_silence),
    ]
    for question, answer in questions:
        rows.append([question, *(answer(result) for result in columns.values())])
    return table(rows)


def _detection(result: Json) -> str:
    return _ms(max(result["detected_ms"].values())) if "detected_ms" in result else "-"


def _longest_silence(result: Json) -> str:
    return _ms(result["longest_silence_ms"])


def _went_on(result: Json) -> str:
    return f"{result['connections']['survived']} / {result['connections']['established']}"


def _deaths(result: Json) -> str:
    died = result.get("connections_died") or {}
    return ", ".join(f"{count} x {name}" for name, count in died.items()) or "-"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"
