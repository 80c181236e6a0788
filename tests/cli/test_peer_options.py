"""``--peer``: the same verb, asked of the other director through this one."""

import json
from typing import Any

import pytest

from lvsha.cli import client, operate, reload, role, status


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, Any]]:
    """What goes over the socket."""
    seen: list[tuple[str, str, Any]] = []

    def request(self: client.Agent, method: str, path: str, body: Any, *_: Any) -> Any:
        seen.append((method, path, body))
        raise client.AgentUnreachable("lb2 is not connected")

    monkeypatch.setattr(client.Agent, "_request", request)
    return seen


@pytest.mark.parametrize(
    ("command", "peer"),
    [("drain rs11 --peer", None), ("drain --peer rs11", None), ("drain rs11 --director lb3", "lb3")],
)
def test_an_order_is_put_to_the_other_director(
    asked: list[tuple[str, str, Any]], command: str, peer: str | None, capsys: Any
) -> None:
    verb, *rest = command.split()

    assert operate.main(verb, rest) == 1

    ((method, path, body),) = asked
    assert (method, path) == ("POST", "/v1/peer")
    assert (body["peer"], body["method"], body["path"]) == (peer, "POST", "/v1/drain")
    assert body["body"]["target"] == "rs11"
    assert capsys.readouterr().err == "lvsha drain: lb2 is not connected\n"


def test_no_verb_falls_back_to_this_machine(asked: list[tuple[str, str, Any]], capsys: Any) -> None:
    """vrrpd here knows nothing of the peer, and must not be told its orders."""
    assert status.main(["--peer"]) == 1
    assert role.main("switchover", ["--peer"]) == 1
    assert reload.main(["--plan", "--peer"]) == 1

    assert [body["path"] for _, _, body in asked] == ["/v1/status", "/v1/switchover", "/v1/config/diff"]
    assert capsys.readouterr().err.count("lb2 is not connected") == 3


def test_an_order_says_who_has_it(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"target": "rs11", "destinations": [], "peers": {"lb2": True, "lb3": False}}
    monkeypatch.setattr(client.Agent, "ask", lambda *_, **__: answer)

    assert operate.main("undrain", ["rs11"]) == 0
    said = capsys.readouterr().out
    assert "lb2 has it too" in said
    assert "lb3 has not said that it has it" in said

    assert operate.main("undrain", ["rs11", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == answer
