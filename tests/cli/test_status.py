"""The screen that answers "is all well?"."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lvsha.cli import status
from lvsha.cli.client import AgentUnreachable, ask


def destination(**changes: Any) -> dict[str, Any]:
    return {
        "name": "rs1",
        "state": "up",
        "since_s": 12.0,
        "weight": 10,
        "configured_weight": 10,
        "kernel_weight": 10,
        "active_connections": 3,
        "inactive_connections": 1,
        "check": "tcp 10.0.0.11:80",
        "last_check": {"ok": True, "reason": "ok", "detail": "", "ours": False, "took_ms": 0.4, "ago_s": 1.0},
        **changes,
    }


def picture(*destinations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "node": "lb1",
        "ok": True,
        "problems": [],
        "uptime_s": 90000.0,
        "peers": [{"name": "lb2", "address": "10.0.0.2"}],
        "vrrp": {
            "expected": True,
            "connected": True,
            "routers": [
                {
                    "name": "eth0-51",
                    "state": "MASTER",
                    "since_s": 7300.0,
                    "priority": 200,
                    "master": None,
                    "addresses": [f"10.0.0.{n}/24" for n in range(10, 15)],
                }
            ],
        },
        "sync": {"expected": True, "syncid": 51, "daemons": []},
        "services": [
            {
                "name": "web",
                "service": "TCP 10.0.0.10:80",
                "scheduler": "wlc",
                "in_kernel": True,
                "quorum_met": True,
                "sorry_active": False,
                "destinations": list(destinations),
            }
        ],
        "foreign_services": [],
        **changes,
    }


def test_the_first_line_says_that_all_is_well() -> None:
    assert status.render(picture(destination())).splitlines()[0].startswith("director lb1: all is well")


def test_problems_stand_right_below_the_first_line() -> None:
    text = status.render(picture(destination(), ok=False, problems=["service web has lost its quorum"]))

    first, second, *_ = text.splitlines()
    assert "1 to look at" in first
    assert second == "  ! service web has lost its quorum"


def test_a_weight_that_is_not_the_configured_one_shows_both() -> None:
    down = destination(
        state="down",
        kernel_weight=0,
        last_check={
            "ok": False,
            "reason": "refused",
            "detail": "connection refused",
            "ours": False,
            "took_ms": 0.1,
            "ago_s": 0.4,
        },
    )

    row = next(line for line in status.render(picture(down)).splitlines() if "rs1" in line)

    assert "0 (of 10)" in row
    assert "refused: connection refused" in row


def test_many_addresses_are_counted_not_listed() -> None:
    assert "10.0.0.12/24 and 2 more" in status.render(picture(destination()))


def test_a_sync_daemon_that_does_not_run_cannot_be_overlooked() -> None:
    assert "NOT RUNNING" in status.render(picture(destination()))


@pytest.mark.parametrize(
    ("age_s", "text"),
    [(None, "-"), (0.4, "0 s"), (119, "119 s"), (600, "10 min"), (7300, "2 h"), (400000, "5 d")],
)
def test_ages_are_in_the_unit_a_person_would_use(age_s: float | None, text: str) -> None:
    assert status.ago(age_s) == text


def test_without_an_agent_it_says_how_to_start_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status.main(["--run-dir", str(tmp_path)]) == 1

    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "systemctl start lvsha.target" in error


def test_a_dead_agents_socket_is_told_from_a_missing_one(tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "directord.sock"))

        with pytest.raises(AgentUnreachable, match="is dead"):
            ask(str(tmp_path), "GET", "/v1/status")


def test_watching_goes_on_while_the_agent_is_restarted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: Iterator[dict[str, Any] | AgentUnreachable] = iter(
        [picture(destination()), AgentUnreachable("no agent runs here"), picture(destination())]
    )
    waited: list[float] = []

    def answer(_run_dir: str) -> dict[str, Any]:
        given = next(answers)
        if isinstance(given, AgentUnreachable):
            raise given
        return given

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(status, "ask_status", answer)
    monkeypatch.setattr("time.sleep", wait)

    with pytest.raises(KeyboardInterrupt):
        status.main(["--watch", "--interval", "2"])

    first, second, third = capsys.readouterr().out.split("\x1b[H\x1b[2J")[1:]
    assert "no agent runs here" in second
    assert first == third
    assert waited == [2.0, 2.0, 2.0]


def test_routers_of_a_vrrpd_that_is_away_are_shown_as_they_were() -> None:
    seen = picture(destination())
    seen["vrrp"]["connected"] = False

    assert "was MASTER" in status.render(seen)


def test_the_master_is_called_by_its_name() -> None:
    seen = picture(destination())
    seen["vrrp"]["routers"][0].update(state="BACKUP", master="10.0.0.2")

    (line,) = [line for line in status.render(seen).splitlines() if "eth0-51" in line]
    assert " lb2 " in line


def relay(*, missing: int = 0, connected: bool = True, gate: bool = True) -> dict[str, Any]:
    return {
        "connections": 200,
        "gate": {"open": gate, "reason": "lb2 is still sending what it has"},
        "peers": [{"name": "lb2", "connected": connected, "missing": missing, "lag_ms": 3.0}],
    }


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (relay(), "relay: lb2 has all 200 connections"),
        (relay(missing=12), "relay: lb2 lacks 12 of 200 connections"),
        (relay(connected=False), "relay: lb2 is not connected: 200 connections would be lost now"),
        (relay(gate=False), "relay: no address is taken back yet: lb2 is still sending what it has"),
    ],
)
def test_what_the_other_director_holds_is_said(state: dict[str, Any], line: str) -> None:
    sync = {"expected": True, "syncid": 51, "daemons": [], "relay": state}

    assert line in status.render(picture(destination(), sync=sync))


def test_a_check_that_many_follow_is_told_once() -> None:
    shared = destination(check_id="web/rs1", checks=[])
    several = destination(
        name="rs2",
        check_id="web/rs2",
        checks=[
            {"check_id": "web/rs2", "check": "tcp x", "state": "up", "since_s": 1.0, "last_check": None},
            {"check_id": "web/rs1", "check": "ping x", "state": "up", "since_s": 1.0, "last_check": None},
        ],
    )
    unchecked = destination(name="rs3", check=None, check_id=None, checks=[], last_check=None)
    whole = picture(shared, several, unchecked)
    whole["services"].append({**whole["services"][0], "name": "api", "destinations": [shared]})

    checks = {check["check_id"]: check for check in status.distinct_checks(whole)}

    assert checks["web/rs1"]["followers"] == ["web/rs1", "web/rs2", "api/rs1"]
    assert checks["web/rs2"]["followers"] == ["web/rs2"]
    text = status.render_checks(list(checks.values()))
    assert text.startswith("2 checks run for 4 that are configured")
    assert "web/rs1, web/rs2, api/rs1" in text
