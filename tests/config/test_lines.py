"""The place of every value of a TOML text."""

import tomllib
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.config.lines import Path, line_map, line_of, path_text

EXAMPLES = sorted((FilePath(__file__).parents[2] / "docs" / "examples").glob("*.toml"))


def every_path(value: object, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from every_path(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from every_path(inner, (*path, place))


def test_every_kind_of_place_is_found() -> None:
    text = """\
top = 1
[a]
x = "s" # [not] = a table
y = [1, # one
     2,
  [ 3 ],
]
z = { k = 1, "l m" = [true] }
[a.b]
"q.r" = 1
c.d = 2
[[t]]
n = 1
[[t]]
n = 2
[t.u]
v = '''
[no]
'''
[[t.w]]
s = \"\"\"x\\\"\"\" ]] \"\"\"
p = 2020-01-01 00:00:00
"""
    lines = line_map(text)
    expected = {
        ("top",): 1,
        ("a",): 2,
        ("a", "x"): 3,
        ("a", "y"): 4,
        ("a", "y", 0): 4,
        ("a", "y", 1): 5,
        ("a", "y", 2): 6,
        ("a", "y", 2, 0): 6,
        ("a", "z"): 8,
        ("a", "z", "k"): 8,
        ("a", "z", "l m", 0): 8,
        ("a", "b"): 9,
        ("a", "b", "q.r"): 10,
        ("a", "b", "c", "d"): 11,
        ("t", 0): 12,
        ("t", 0, "n"): 13,
        ("t", 1): 14,
        ("t", 1, "n"): 15,
        ("t", 1, "u"): 16,
        ("t", 1, "u", "v"): 17,
        ("t", 1, "w", 0): 20,
        ("t", 1, "w", 0, "s"): 21,
        ("t", 1, "w", 0, "p"): 22,
    }

    assert {path: lines.get(path) for path in expected} == expected


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_value_of_an_example_has_a_line(example: FilePath) -> None:
    text = example.read_text()

    lines = line_map(text)

    assert set(every_path(tomllib.loads(text))) <= set(lines)


def test_a_path_that_is_not_there_has_the_line_of_its_nearest_ancestor() -> None:
    lines = line_map("[a]\nb = 1\n")

    assert line_of(lines, ("a", "missing", 3)) == 1
    assert line_of(lines, ("elsewhere",)) is None


def test_paths_read_like_the_file() -> None:
    assert path_text(("service", 2, "realservers", 0, "port")) == "service[2].realservers[0].port"
    assert path_text(("directors", "lb1.example.com")) == 'directors."lb1.example.com"'


scalars = st.one_of(
    st.integers(0, 9).map(str),
    st.sampled_from(
        ['"a"', '"]"', "'}'", '"#\\""', '"""x\ny"""', "'''\n'''", "true", "1979-05-27", "-1.5e3"]
    ),
)
keys = st.sampled_from(["a", "b-c", '"d e"', "'f.g'", "h.i", '"\\u0041b"'])


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arrays = st.lists(inner, max_size=3).map(lambda items: "[ " + ", # c\n".join(items) + "\n]")
    flat = inner.filter(lambda text: "\n" not in text)
    tables = st.lists(st.tuples(keys, flat), max_size=3, unique_by=lambda pair: pair[0]).map(
        lambda pairs: "{ " + ", ".join(f"{key} = {value}" for key, value in pairs) + " }"
    )
    return st.one_of(arrays, tables)


values = st.recursive(scalars, nested, max_leaves=8)


@given(
    st.lists(st.tuples(st.sampled_from(["[t]", "[[s]]", "[t.u]", "[[s.v]]", ""]), keys, values), max_size=6)
)
def test_every_path_of_a_text_that_tomllib_takes_is_mapped_in_order(
    parts: list[tuple[str, str, str]],
) -> None:
    text = "".join(f"{header}\n{key} = {value}\n" for header, key, value in parts)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return

    lines = line_map(text)

    for path in every_path(document):
        assert path in lines, path
        assert 1 <= lines[path] <= text.count("\n") + 1
        assert len(path) == 1 or lines[path] >= lines[path[:-1]]


@given(st.text(alphabet="[]{}\"'#=.,\n\\ab1 ", max_size=60))
def test_any_text_is_scanned_to_its_end(text: str) -> None:
    lines = line_map(text)

    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())


def test_deep_nesting_neither_fails_nor_takes_long() -> None:
    line_map("a = " + "[" * 50_000)
    line_map("a = " + "{b=" * 50_000)
