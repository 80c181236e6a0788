"""A file read in pieces means what it means as a whole, and a reload reads what changed."""

import random
import tomllib
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from lvsha.config.lines import Path, line_map, line_of
from lvsha.config.load import Loader, load_with_warnings
from lvsha.config.pieces import Pieces
from lvsha.core.errors import ConfigErrors
from tests.config.problem_cases import CASES

EXAMPLES = [path.read_text() for path in sorted(FilePath(__file__).parents[2].glob("docs/examples/*.toml"))]
TEXTS = [*EXAMPLES, *CASES.values()]
TWO = """\
# two services
[[service]]
address = "10.0.0.10:80"   # a comment
realservers = ["10.1.0.1"]
[[service]]
address = "10.0.0.20:80"
[[service.realservers]]
address = "10.1.0.2"
weight = 5

[directors.lb1]
address = "10.0.0.1"
"""


def every_path(value: object, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from every_path(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from every_path(inner, (*path, place))


@pytest.mark.parametrize("text", [*EXAMPLES, TWO])
def test_pieces_hold_the_whole_document_and_every_line_of_it(text: str) -> None:
    pieces = Pieces.of(text, None)

    assert pieces is not None
    whole, lines = tomllib.loads(text), line_map(text)
    assert pieces.raw(afresh=True) == whole
    assert {path: pieces.line(path) for path in every_path(whole)} == {
        path: line_of(lines, path) for path in every_path(whole)
    }


@pytest.mark.parametrize(
    "text",
    [
        'x = """\n[[service]]\n"""\n',
        "[[service]]\nrealservers = [\n[[service]]\n]\n",
        "service = []\n[[service]]\naddress = 1\n",
        "[service]\n[[service]]\n",
        "[service.check]\n[[service]]\n",
        '[[service]]\n["service".check]\n',
        "[[service]]\na = 1\na = 2\n",
        "[[service]]\nx = [\n[1],\n]\n[sync]\n",
    ],
)
def test_what_might_mean_something_else_in_pieces_is_read_as_a_whole(text: str) -> None:
    assert Pieces.of(text, None) is None


def outcome(loader: Loader | None, text: str) -> object:
    try:
        if loader is None:
            return load_with_warnings(text, "a.toml", hostname="lb1")
        return loader.load(text, "a.toml", hostname="lb1")
    except ConfigErrors as refusal:
        return refusal.problems


def test_whatever_was_read_before_a_text_means_the_same() -> None:
    """Good and bad files, and files with a line less, one after the other through one loader."""
    rng = random.Random(62)
    loader = Loader()

    for _ in range(150):
        text = rng.choice(TEXTS)
        if rng.random() < 0.6:
            lines = text.splitlines(keepends=True)
            del lines[rng.randrange(len(lines))]
            text = "".join(lines)

        assert outcome(loader, text) == outcome(None, text), text


def test_a_service_that_did_not_change_stays_the_same_object() -> None:
    loader = Loader()
    before, _ = loader.load(TWO, hostname="lb1")

    after, _ = loader.load(TWO.replace("weight = 5", "weight = 7"), hostname="lb1")

    assert after.services[0] is before.services[0]
    assert after.services[1] != before.services[1]


def test_a_service_that_moved_stays_the_same_object_and_its_warnings_move() -> None:
    loader = Loader()
    text = TWO.replace('address = "10.0.0.20:80"', 'address = "10.0.0.20:80"\nscheduler = "dh"')
    before, warnings = loader.load(text, hostname="lb1")

    after, moved = loader.load("[[service]]\naddress = '10.0.0.30:80'\n" + text, hostname="lb1")

    assert after.services[2] is before.services[1]
    places = {(problem.path, problem.line) for problem in warnings}
    assert ("service[1].scheduler", 7) in places
    assert ("service[2].scheduler", 9) in {(problem.path, problem.line) for problem in moved}


def test_other_defaults_make_every_service_anew() -> None:
    loader = Loader()
    before, _ = loader.load(TWO, hostname="lb1")

    after, _ = loader.load(TWO + "[defaults.check]\nfall = 9\n", hostname="lb1")

    checks = [service.realservers[0].check for service in after.services]
    assert [check.fall for check in checks if check is not None] == [9, 9]
    assert before.services[0] is not after.services[0]
