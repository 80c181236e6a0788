"""Asks the agent on this machine, with the standard library.

directord answers HTTP on its Unix socket. While it is away, vrrpd answers for its
part on its own (``agent.ipc``).
"""

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lvsha.agent.ipc import LineBuffer, encode
from lvsha.core.errors import LvshaError
from lvsha.director.status import without_directord

DEFAULT_RUN_DIR = "/run/lvsha"
_TIMEOUT_S = 5.0


class AgentUnreachable(LvshaError):
    """Nobody answers on the socket."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class AgentRefused(LvshaError):
    """The agent answers, and will not do it."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(str(answer.get("error", "refused")))
        self.answer = answer


def ask(
    run_dir: str,
    method: str,
    path: str,
    *,
    body: Mapping[str, Any] | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> Any:
    """The answer's JSON; ``body`` goes as JSON.

    Raises:
        AgentRefused: nothing has changed, and why.
        AgentUnreachable: no agent, no permission, or no answer; the text says what to do.
    """
    socket_path = Path(run_dir) / "directord.sock"
    connection = _UnixConnection(str(socket_path), timeout_s)
    try:
        data = json.dumps(body).encode() if body is not None else None
        connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        response = connection.getresponse()
        answer = json.loads(response.read())
    except FileNotFoundError:
        raise AgentUnreachable(
            f"no agent runs here ({socket_path} does not exist); start it with "
            "`systemctl start lvsha.target` or `lvsha agent -f FILE`, or name its --run-dir"
        ) from None
    except PermissionError:
        raise AgentUnreachable(f"you may not open {socket_path}; try as root or in the group lvsha") from None
    except ConnectionRefusedError:
        raise AgentUnreachable(
            f"directord on {socket_path} is dead or just starting; "
            "`systemctl status lvsha-directord` says which, and why"
        ) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise AgentUnreachable(f"the agent on {socket_path} gave no answer: {error}") from None
    finally:
        connection.close()
    if response.status == 409:
        raise AgentRefused(answer)
    if response.status >= 400:
        raise AgentUnreachable(str(answer.get("error", f"HTTP status {response.status}")))
    return answer


def ask_status(run_dir: str) -> Any:
    """The status as ``director.status`` describes it, as far as the living processes know it.

    Raises:
        AgentUnreachable: neither answers.
    """
    try:
        return ask(run_dir, "GET", "/v1/status")
    except AgentUnreachable as why:
        with _vrrpd(run_dir, why) as vrrpd:
            return without_directord(_next_status(vrrpd, why), str(why))


_ROLE_S = 120.0
"""A switchover waits for the connections, as long as the agent's switchover_deadline."""


def order_role(run_dir: str, kind: str, *, force: bool = False) -> None:
    """``release`` or ``resume``; vrrpd takes the order itself while directord is away.

    Raises:
        AgentRefused: a release would lose connections.
        AgentUnreachable: nobody took it.
    """
    try:
        ask(run_dir, "POST", f"/v1/{kind}" + ("?force=1" if force else ""), timeout_s=_ROLE_S)
    except AgentUnreachable as why:
        with _vrrpd(run_dir, why) as vrrpd:
            vrrpd.sendall(encode({"type": kind}))
            vrrpd.sendall(encode({"type": "get"}))
            _next_status(vrrpd, why)


def _vrrpd(run_dir: str, why: AgentUnreachable) -> socket.socket:
    """A connection to vrrpd; raises ``why`` when there is none to be had."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_TIMEOUT_S)
    try:
        connection.connect(str(Path(run_dir) / "vrrpd.sock"))
    except OSError:
        connection.close()
        raise why from None
    return connection


def _next_status(connection: socket.socket, why: AgentUnreachable) -> dict[str, Any]:
    buffer = LineBuffer()
    try:
        while data := connection.recv(1 << 16):
            for message in buffer.feed(data):
                if message.get("type") == "status":
                    return message
    except (OSError, ValueError):
        pass  # it went away, or is no vrrpd
    raise why
