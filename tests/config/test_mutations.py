"""Whatever is done to a good configuration: settings, or ConfigErrors with places, and nothing else."""

import copy
import datetime
import json
import random
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lvsha.config.load import check, load_with_warnings, loads
from lvsha.core.errors import ConfigErrors, ConfigProblem
from tests.config.problem_cases import CASES

EXAMPLES = {
    path.stem: path.read_text() for path in (Path(__file__).parents[2] / "docs/examples").glob("*.toml")
}
PARSED = {name: tomllib.loads(text) for name, text in EXAMPLES.items()}
Place = tuple[str | int, ...]


def outcome(text: str) -> tuple[ConfigProblem, ...]:
    """Problems or warnings; anything but ``ConfigErrors`` fails the test."""
    try:
        warnings = check(text, "lvsha.toml")
        loads(text, "lvsha.toml", "lb1", hostname="lb1")
    except ConfigErrors as refusal:
        found: tuple[ConfigProblem, ...] = refusal.problems
    else:
        found = warnings
    lines = text.count("\n") + 1
    for problem in found:
        assert problem.line is None or 1 <= problem.line <= lines
        assert problem.message
        assert "\n" not in problem.message
        assert "Input should" not in problem.message, "pydantic's words are not an operator's"
        assert "<one>" not in problem.path + problem.message
    return found


def inline(value: Any) -> str:
    """Any value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {inline(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(inline(inner) for inner in value) + "]"
    if isinstance(value, str):
        return json.dumps(value).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime.date) else repr(value)


def toml(document: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(key)} = {inline(value)}\n" for key, value in document.items())


def places(value: object, path: Place = ()) -> Iterator[Place]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from places(inner, (*path, number))


WORDS = st.sampled_from(
    [
        *(
            "eth0",
            "10.0.0.10:80",
            "10.0.0.11",
            "fd00::1",
            "[fd00::1]:80",
            "10.0.0.10/24",
            "224.0.0.1",
            "0.0.0.0",
        ),
        *(
            "lb1",
            "lb2",
            "tcp",
            "udp",
            "http",
            "ping",
            "dr",
            "nat",
            "tun",
            "mh",
            "mh-fallback",
            "sip",
            "remove",
        ),
        *(
            "100ms",
            "1s",
            "0s",
            "31d",
            "hex:00",
            "hex:0",
            "200-299",
            "kernel",
            "",
            "*",
            "on",
            "off",
            "255.0.0.0",
            "/",
        ),
    ]
)
scalars = st.one_of(
    WORDS,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.integers(-(2**70), 2**70),
    st.integers(-2, 300),
    st.floats(),
    st.booleans(),
    st.just(datetime.date(2026, 1, 1)),
)
KEYS = st.one_of(
    st.sampled_from(
        ["lb1", "lb2", "type", "address", "port", "check", "priority", "fwmark", "realservers", "sorry"]
    ),
    st.text("abé .\"'", max_size=4),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
@settings(max_examples=400)
def test_any_values_in_place_of_any_others(data: st.DataObject) -> None:
    document = copy.deepcopy(PARSED[data.draw(st.sampled_from(sorted(PARSED)))])
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from(sorted(places(document), key=repr) or [("directors",)]))
        table: Any = document
        for part in parents:
            table = table[part]
        what = data.draw(st.sampled_from(["replace", "remove", "add", "copy"]))
        if what == "remove" and last in (table if isinstance(table, dict) else range(len(table))):
            del table[last]
        elif what == "add" and isinstance(table, dict):
            table[data.draw(KEYS)] = data.draw(values)
        elif what == "copy" and isinstance(table, list):
            table.append(copy.deepcopy(table[data.draw(st.integers(0, len(table) - 1))]))
        else:
            table[last] = data.draw(values)

    outcome(toml(document))


@given(st.sampled_from(sorted({**EXAMPLES, **CASES})), st.integers(0, 2**32))
@settings(max_examples=300)
def test_any_typing_accident(name: str, seed: int) -> None:
    text = {**EXAMPLES, **CASES}[name]
    dice = random.Random(seed)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(text))
        accident = dice.randrange(4)
        if accident == 0:
            text = text[:at] + text[at + dice.randint(1, 8) :]
        elif accident == 1:
            text = text[:at] + dice.choice("[]{}\"'=,.#\n\\ a5\0é") + text[at:]
        elif accident == 2:
            lines = text.splitlines(keepends=True)
            lines.insert(dice.randrange(len(lines)), dice.choice(lines))
            text = "".join(lines)
        else:
            lines = text.splitlines(keepends=True)
            dice.shuffle(lines)
            text = "".join(lines)

    outcome(text)


@given(st.sampled_from(sorted(PARSED)), st.data())
@settings(max_examples=200)
def test_an_unknown_key_anywhere_is_refused_where_it_stands(name: str, data: st.DataObject) -> None:
    document = copy.deepcopy(PARSED[name])
    tables = [place for place in places(document) if isinstance(at(document, place), dict)]
    free = {"directors", "headers", "sysctl", "interface", "priority"}  # whose keys are the operator's
    place = data.draw(st.sampled_from([each for each in tables if each[-1] not in free]))
    at(document, place)["zzqx"] = 1

    found = outcome(toml(document))

    assert any(problem.path.endswith("zzqx") and problem.message == "unknown key" for problem in found)


def at(value: Any, place: Place) -> Any:
    for part in place:
        value = value[part]
    return value


@given(st.sampled_from(sorted(EXAMPLES)), st.sampled_from(["lb1", "lb2"]))
def test_loading_twice_gives_equal_settings(name: str, node: str) -> None:
    assert load_with_warnings(EXAMPLES[name], node=node) == load_with_warnings(EXAMPLES[name], node=node)
