"""Asks the agent on this machine: HTTP over its Unix socket, with the standard library."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from lvsha.core.errors import LvshaError

DEFAULT_RUN_DIR = "/run/lvsha"
_TIMEOUT_S = 5.0


class AgentUnreachable(LvshaError):
    """Nobody answers on the socket."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(self._path)


def ask(run_dir: str, method: str, path: str) -> Any:
    """The answer's JSON.

    Raises:
        AgentUnreachable: no agent, no permission, or no answer; the text says what to do.
    """
    socket_path = Path(run_dir) / "directord.sock"
    connection = _UnixConnection(str(socket_path))
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = json.loads(response.read())
    except FileNotFoundError:
        raise AgentUnreachable(
            f"no agent runs here ({socket_path} does not exist); start it with "
            "`systemctl start lvsha.target` or `lvsha agent -f FILE`, or name its --run-dir"
        ) from None
    except PermissionError:
        raise AgentUnreachable(f"you may not open {socket_path}; try as root or in the group lvsha") from None
    except ConnectionRefusedError:
        raise AgentUnreachable(
            f"the agent on {socket_path} is dead; `systemctl status lvsha-directord` says why"
        ) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise AgentUnreachable(f"the agent on {socket_path} gave no answer: {error}") from None
    finally:
        connection.close()
    if response.status >= 400:
        raise AgentUnreachable(str(body.get("error", f"HTTP status {response.status}")))
    return body
