"""From a line of the journal to a program that was run, and back into the journal."""

import asyncio
import io
from pathlib import Path
from typing import Any

from lvsha.agent import alerts
from lvsha.agent.alerts import AlertDesk, watch_coverage
from lvsha.agent.journal import Journal
from lvsha.config.alerts import AlertSettings
from lvsha.config.settings import AgentSettings


def journal() -> Journal:
    return Journal("directord", AgentSettings(), stream=io.StringIO())


async def until(said: Journal, event: str) -> dict[str, Any]:
    for _ in range(2000):
        for entry in said.recent:
            if entry["event"] == event:
                return entry
        await asyncio.sleep(0.002)
    raise AssertionError(f"no {event}: {list(said.recent)}")


async def test_a_line_reaches_the_program_and_its_status_the_journal(tmp_path: Path) -> None:
    said = journal()
    desk = AlertDesk(said, node="lb1")
    command = ("/bin/sh", "-c", 'echo "$LVSHA_TEXT" >> "$0"', str(tmp_path / "told"))
    desk.reconfigure([AlertSettings(name="ops", on=("role",), exec=command)])
    said.listeners.append(desk.hear)

    said.write("change.role", subject="r", after="MASTER", why="the other is gone")
    delivered = await until(said, "alert.delivered")
    results = await desk.test(AlertSettings(name="ops", on=("role",), exec=command))
    await desk.close()

    assert (tmp_path / "told").read_text().splitlines() == [
        "lb1: change.role r -> MASTER: the other is gone",
        "lb1: alert.test ops",
    ]
    assert (delivered["answer"], delivered["attempt"], delivered["channel"]) == ("exit status 0", 1, "exec")
    assert [(row["channel"], row["ok"]) for row in results] == [("exec", True)]


async def test_a_failed_attempt_is_made_again_by_itself(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr("lvsha.director.alerts.RETRY_FIRST", 1_000_000)
    said = journal()
    desk = AlertDesk(said, node="lb1")
    script = 'test -e "$0" && exit 0; touch "$0"; echo no; exit 4'
    desk.reconfigure(
        [AlertSettings(name="ops", on=("role",), exec=("/bin/sh", "-c", script, str(tmp_path / "was")))]
    )

    desk.hear({"at": 1.0, "event": "change.role", "subject": "r"})
    failed = await until(said, "alert.failed")
    delivered = await until(said, "alert.delivered")
    await desk.close()

    assert (failed["answer"], failed["retry_ms"]) == ("exit status 4 no", 1)
    assert delivered["attempt"] == 2


async def test_coverage_is_low_after_two_looks_and_said_once(monkeypatch: Any) -> None:
    monkeypatch.setattr(alerts, "COVERAGE_LOOK_S", 0.0)
    said = journal()
    seen = iter([0.5, 1.0, 0.5, 0.5, 0.4, None, 1.0, 1.0, 1.0])

    def look() -> tuple[float, float] | None:
        value = next(seen)  # at its end the watch ends, too
        return None if value is None else (value, 1.0)

    task = asyncio.create_task(watch_coverage(said, look))
    await asyncio.wait([task], timeout=5)

    assert isinstance(task.exception(), RuntimeError)
    assert [(entry["event"], entry["coverage"]) for entry in said.recent] == [
        ("alert.coverage_low", 0.5),
        ("alert.coverage_restored", 1.0),
    ]
