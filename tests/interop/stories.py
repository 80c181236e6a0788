"""Stories run side by side, and are told one by one.

What these tests wait for is other people's timers. A module writes each story as
an ``async def`` that takes a stage, and marks it with ``Stories.story``; all the
stories that pytest has selected run at once, in one loop, each on a network of its
own, and every test then reports its own.
"""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.interop.vrrp_stage import Stage, clear_away_orphans

Story = Callable[[Stage], Awaitable[Any]]


class Outcomes:
    """What became of each story."""

    def __init__(self, results: dict[str, Any]) -> None:
        self._results = results

    def of(self, name: str) -> Any:
        """What the story returned; raises what it raised."""
        result = self._results[name]
        if isinstance(result, BaseException):
            raise result
        return result


def play(stories: dict[str, Story], folder: Path) -> Outcomes:
    """Run them all; the logs of those that fail are shown with what failed."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    missing = [tool for tool in ("ip", "bridge", "setpriv", "unshare") if shutil.which(tool) is None]
    assert not missing, f"not installed: {', '.join(missing)}; `./run test` installs them"
    clear_away_orphans()

    async def run_all() -> list[Any]:
        return await asyncio.gather(
            # Numbers for names: a Unix socket's path has to be short.
            *(_on_a_stage(story, folder / str(number)) for number, story in enumerate(stories.values())),
            return_exceptions=True,
        )

    return Outcomes(dict(zip(stories, asyncio.run(run_all()), strict=True)))


async def _on_a_stage(story: Story, folder: Path) -> Any:
    with Stage(folder) as stage:
        try:
            return await story(stage)
        except BaseException as error:
            for log in sorted(folder.glob("*/log")):  # noqa: ASYNC240  (the story is over)
                lines = log.read_text(errors="replace").splitlines()
                error.add_note("\n".join([f"--- {log.parent.name} ---", *lines[-40:]]))
            raise


class Stories:
    """The stories of a module. ``outcomes`` is to be made a fixture there::

    stories = Stories()
    outcomes = stories.fixture()

    @stories.story
    async def test_something(stage: Stage) -> None: ...
    """

    def __init__(self) -> None:
        self._stories: dict[str, Story] = {}

    def story(self, function: Story) -> Callable[[Outcomes], None]:
        name = function.__name__
        self._stories[name] = function

        def test(outcomes: Outcomes) -> None:
            outcomes.of(name)

        test.__name__ = name
        test.__doc__ = function.__doc__
        return test

    def fixture(self) -> Any:
        @pytest.fixture(scope="module")
        def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
            names = {item.name for item in request.session.items if item.path == request.path}
            selected = {name: story for name, story in self._stories.items() if name in names}
            return play(selected, tmp_path_factory.mktemp("stories"))

        return outcomes
