"""Programs that follow a virtual router's state."""

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lvsha.agent import hooks
from lvsha.agent.hooks import Hooks
from lvsha.agent.journal import Journal
from lvsha.config.settings import AgentSettings
from lvsha.core.instant import MILLISECOND, SECOND
from tests.vrrp.routers import settings


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "_LOOK_S", 0.001)
    monkeypatch.setattr(hooks, "RETRY_S", 0.002)


def followed(
    script: str, folder: Path, states: Callable[[list[str]], str], enough: int, **changes: Any
) -> tuple[list[str], list[dict[str, Any]]]:
    """What the hook wrote into its file until there were so many lines, and the journal."""
    log = folder / "log"
    log.touch()
    journal = Journal("directord", AgentSettings(), stream=io.StringIO())

    def lines() -> list[str]:
        return log.read_text().split("\n")[:-1]

    async def follow() -> None:
        watched = Hooks(states=lambda: {"r": states(lines())}, journal=journal)
        watched.reconfigure([settings(hook=("/bin/sh", "-c", script, str(log)), **changes)])
        for _ in range(5000):
            if len(lines()) >= enough and len(journal.recent) >= enough:
                break
            await asyncio.sleep(0.001)
        watched.close()
        await asyncio.sleep(0)

    asyncio.run(follow())
    return lines(), list(journal.recent)


SAY = 'echo "$1 $2 was=$LVSHA_BEFORE $LVSHA_ADDRESSES" >> "$0"; echo said'


def test_a_hook_is_told_the_state_and_where_it_came_from(tmp_path: Path) -> None:
    lines, events = followed(SAY, tmp_path, lambda told: ("BACKUP", "MASTER")[len(told) > 0], 2)

    assert lines[:2] == [
        "r BACKUP was= 10.0.0.10/24 10.0.0.11/24",
        "r MASTER was=BACKUP 10.0.0.10/24 10.0.0.11/24",
    ]
    assert [(event["event"], event["status"], event["output"]) for event in events[:2]] == [
        ("hook.finished", 0, "said"),
        ("hook.finished", 0, "said"),
    ]


def test_a_hook_that_fails_is_run_again(tmp_path: Path) -> None:
    lines, events = followed(SAY + "; exit 3", tmp_path, lambda _: "MASTER", 3)

    assert len(lines) >= 3
    assert {(event["event"], event["status"]) for event in events} == {("hook.failed", 3)}


def test_a_hook_is_told_again_while_the_state_lasts(tmp_path: Path) -> None:
    lines, _ = followed(SAY, tmp_path, lambda _: "MASTER", 3, hook_repeat=MILLISECOND)

    assert lines[2].startswith("r MASTER was=MASTER")


def test_a_hook_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    _, events = followed(SAY + "; sleep 60", tmp_path, lambda _: "MASTER", 1, hook_timeout=50 * MILLISECOND)

    assert [(event["event"], event["status"]) for event in events[:1]] == [("hook.failed", "timeout")]
    assert events[0]["took_ms"] < 30_000


def test_a_hook_that_is_not_there_is_said(tmp_path: Path) -> None:
    journal = Journal("directord", AgentSettings(), stream=io.StringIO())

    async def follow() -> None:
        watched = Hooks(states=lambda: {"r": "MASTER"}, journal=journal)
        watched.reconfigure([settings(hook=(str(tmp_path / "gone"),), hook_repeat=SECOND)])
        said = asyncio.Event()
        journal.listeners.append(lambda _: said.set())
        await said.wait()
        watched.close()

    asyncio.run(follow())

    assert journal.recent[0]["event"] == "hook.failed"
    assert "gone" in journal.recent[0]["problem"]


def test_what_runs_before_a_role_is_waited_for_and_bounded(tmp_path: Path) -> None:
    log = tmp_path / "log"
    journal = Journal("directord", AgentSettings(), stream=io.StringIO())
    before = Hooks(states=lambda: {"r": "BACKUP"}, journal=journal)
    quick = ("/bin/sh", "-c", 'echo "$2 was=$LVSHA_BEFORE" >> "$0"', str(log))

    async def story() -> None:
        await before.before(settings(pre_hook=quick), "promote")
        slow = settings(pre_hook=("/bin/sh", "-c", "sleep 60"), pre_hook_timeout=20 * MILLISECOND)
        await before.before(slow, "demote")

    asyncio.run(story())

    assert log.read_text() == "promote was=BACKUP\n"
    first, second = journal.recent
    assert (first["event"], first["status"]) == ("hook.finished", 0)
    assert (second["event"], second["status"]) == ("hook.failed", "timeout")
