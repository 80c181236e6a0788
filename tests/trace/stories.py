"""Captures of tests/trace/captures, explained."""

from collections.abc import Callable, Iterable
from pathlib import Path

from lvsha.io.capture import CaptureFile, Frame
from lvsha.trace.explain import Explanation, explain
from lvsha.trace.files import feed, read
from lvsha.trace.gather import Gatherer, Limits

CAPTURES = Path(__file__).with_name("captures")


def files(case: str, *only: str) -> list[Path]:
    """A case's captures; ``only``: of these machines."""
    found = sorted(CAPTURES.glob(f"{case}.*.pcap"))
    assert found, f"there is no case {case}"
    return [path for path in found if not only or any(f".{name}" in path.name for name in only)]


def told(case: str, *only: str, limits: Limits | None = None) -> Explanation:
    gathered = Gatherer(limits=limits)
    for path in files(case, *only):
        read(gathered, str(path))
    return explain(gathered)


def told_of(
    captures: Iterable[tuple[str, Iterable[Frame]]], change: Callable[[str, Frame], Frame] | None = None
) -> Explanation:
    """Of frames that are not in a file, or are changed before."""
    gathered = Gatherer()
    for name, frames in captures:
        feed(gathered, gathered.place(name), (change(name, frame) if change else frame for frame in frames))
    return explain(gathered)


def frames(path: Path) -> list[Frame]:
    with path.open("rb") as file:
        return list(CaptureFile(file))
