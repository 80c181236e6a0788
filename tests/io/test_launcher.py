"""Programs that a helper starts for us."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from lvsha.io.launcher import Ended, Launcher, Program, run_program

SHELL = ("/bin/sh", "-c")


def played(story: Callable[[Launcher], Awaitable[object]]) -> object:
    launcher = Launcher()
    try:

        async def play() -> object:
            try:
                return await story(launcher)
            finally:
                launcher.close()

        return asyncio.run(play())
    finally:
        with suppress(ChildProcessError):
            os.waitpid(launcher.pid, 0)


def program(script: str, *, limit_s: float = 60.0, **changes: object) -> Program:
    return Program(words=(*SHELL, script), limit_s=limit_s, **changes)  # type: ignore[arg-type]


def test_the_helper_starts_it_and_tells_how_it_ended() -> None:
    async def story(launcher: Launcher) -> object:
        return await launcher.run(
            program('cat; echo "$PPID $WORD"; exit 3', text=b"in ", environment={"WORD": "w"})
        )

    ended = played(story)

    assert isinstance(ended, Ended)
    parent, word = ended.output.removeprefix(b"in ").split()
    assert (ended.status, word) == (3, b"w")
    assert int(parent) != os.getpid()


def test_only_errors_are_kept_where_only_they_are_wanted() -> None:
    async def story(launcher: Launcher) -> object:
        return await launcher.run(program("echo table; echo wrong >&2", says="errors"))

    assert played(story) == Ended(0, b"wrong\n")


def test_one_that_takes_long_holds_nobody_up_and_is_killed_with_what_it_started() -> None:
    """The second is answered though the first never ends by itself."""

    async def story(launcher: Launcher) -> object:
        long = asyncio.create_task(launcher.run(program("sleep 1000 & wait", limit_s=0.5)))
        quick = await launcher.run(program("echo quick"))
        assert not long.done() or quick
        return quick, await long

    assert played(story) == (Ended(0, b"quick\n"), Ended(None, b""))


def test_what_cannot_be_started_is_an_error_here() -> None:
    async def story(launcher: Launcher) -> object:
        with pytest.raises(FileNotFoundError):
            await launcher.run(Program(words=("/nowhere/at/all",), limit_s=60.0))
        return await launcher.run(program("echo after"))

    assert played(story) == Ended(0, b"after\n")


def test_without_its_helper_programs_are_started_here() -> None:
    async def story(launcher: Launcher) -> object:
        waiting = asyncio.create_task(launcher.run(program("sleep 1000")))
        await launcher.run(program(":"))
        os.kill(launcher.pid, signal.SIGKILL)
        with pytest.raises(ChildProcessError):
            await waiting
        return await launcher.run(program("echo $PPID"))

    ended = played(story)

    assert isinstance(ended, Ended)
    assert int(ended.output) == os.getpid()


def test_signals_to_the_group_leave_the_helper_and_are_not_hidden_from_programs() -> None:
    """systemd tells every process of the unit; what a hook inherits must be the default."""

    async def story(launcher: Launcher) -> object:
        await launcher.run(program(":"))
        os.kill(launcher.pid, signal.SIGTERM)
        return await launcher.run(program("kill -TERM $$; echo still here"))

    assert played(story) == Ended(-signal.SIGTERM, b"")


def test_the_helper_ends_with_who_asked_it() -> None:
    launcher = Launcher()

    launcher.close()

    give_up = time.monotonic() + 60
    with suppress(ChildProcessError):
        while os.waitpid(launcher.pid, os.WNOHANG) == (0, 0):
            assert time.monotonic() < give_up
            time.sleep(0.01)


def test_it_says_the_same_without_a_helper() -> None:
    async def story() -> Ended:
        return await run_program(program("echo out; echo error >&2"))

    assert asyncio.run(story()) == Ended(0, b"out\nerror\n")
