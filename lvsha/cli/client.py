"""Asks the agent on this machine, with the standard library.

directord answers HTTP on its Unix socket. While it is away, vrrpd answers for its
part on its own (``agent.ipc``).
"""

import argparse
import getpass
import http.client
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lvsha.core.errors import LvshaError

DEFAULT_RUN_DIR = "/run/lvsha"
_LONGEST_TOKEN = 4096
_TIMEOUT_S = 5.0
_PEER_S = 10.0
"""More, where one director asks another."""
_STREAM_S = 60.0
"""The agent says something at least every 15 s."""


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


def say_refusal(verb: str, refusal: AgentRefused, *, as_json: bool) -> None:
    """Why on stderr; on stdout the whole answer, or what would be lost, a connection a line."""
    if as_json:
        print(json.dumps(refusal.answer))
    print(f"lvsha {verb}: {refusal}", file=sys.stderr)
    for connection in refusal.answer.get("lost", ()) if not as_json else ():
        print(connection)


def _token(file: str) -> str:
    """The token in a file, which ``lvsha token`` printed.

    Raises:
        SystemExit: it cannot be read, or cannot be one.
    """
    try:
        with Path(file).open("rb") as opened:
            token = opened.read(_LONGEST_TOKEN + 1).decode("ascii").strip()
    except OSError as error:
        raise SystemExit(f"lvsha: {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        token = ""
    if not token.isprintable() or not 0 < len(token) <= _LONGEST_TOKEN or " " in token:
        raise SystemExit(f"lvsha: {file}: this is no token: it is one word, as `lvsha token` prints it")
    return token


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Which agent to ask: the one on this machine, or (``url``) one over TLS."""

    run_dir: str = DEFAULT_RUN_DIR
    url: str | None = None
    token: str | None = field(default=None, repr=False)
    ca: str | None = None
    """A file of certificates to trust besides the system's."""
    certificate: str | None = None
    """Ours, with its key in the same file."""
    peer: str | None = None
    """The director that this one shall ask, through the relay; empty: the only other one; None: itself."""

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Agent":
        """By the options of ``add_agent_options`` and the environment."""
        token = os.environ.get("LVSHA_TOKEN")
        if arguments.url and arguments.token_file:
            token = _token(arguments.token_file)
        return cls(
            run_dir=arguments.run_dir,
            url=arguments.url,
            token=token,
            ca=arguments.ca,
            certificate=arguments.certificate,
            peer=arguments.director or ("" if arguments.peer else None),
        )

    def ask(
        self,
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
        if self.peer is not None:
            body = {"peer": self.peer or None, "method": method, "path": path, "body": body}
            method, path, timeout_s = "POST", "/v1/peer", timeout_s + _PEER_S
        with self._request(method, path, body, {}, timeout_s) as response:
            try:
                answer = json.loads(response.read())
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise AgentUnreachable(f"the agent on {self} gave no answer: {error}") from None
        if response.status == 409:
            raise AgentRefused(answer)
        if response.status >= 400:
            raise AgentUnreachable(str(answer.get("error", f"HTTP status {response.status}")))
        return answer

    def stream(self, path: str, last_id: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Server-sent events: kind, id, data; ends when the agent ends.

        Raises:
            AgentUnreachable: as ``ask``.
        """
        if self.peer is not None:
            raise AgentUnreachable(
                "events are not followed through another director: name its API with --url"
            )
        headers = {"Last-Event-ID": last_id} if last_id else {}
        with self._request("GET", path, None, headers, _STREAM_S) as response:
            if response.status != 200:
                raise AgentUnreachable(f"the agent on {self} answers {response.status} {response.reason}")
            found: dict[str, str] = {}
            try:
                for line in response:
                    name, _, value = line.decode().rstrip("\n").partition(": ")
                    if name:
                        found[name] = value
                    elif "event" in found:
                        yield found["event"], found.get("id", ""), json.loads(found["data"])
                        found = {}
            except (OSError, ValueError, http.client.HTTPException):
                return

    @contextmanager
    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: dict[str, str],
        timeout_s: float,
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self._connection(timeout_s)
        data = json.dumps(body).encode() if body is not None else None
        if data is not None:
            headers["Content-Type"] = "application/json"
        if self.url and self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            try:
                connection.request(method, path, data, headers)
                response = connection.getresponse()
            except FileNotFoundError:
                raise AgentUnreachable(
                    f"no agent runs here ({self} does not exist); start it with "
                    "`systemctl start lvsha.target` or `lvsha agent -f FILE`, or name its --run-dir"
                ) from None
            except PermissionError:
                raise AgentUnreachable(f"you may not open {self}; try as root or in its group") from None
            except ConnectionRefusedError:
                raise AgentUnreachable(
                    f"directord on {self} is dead or just starting; "
                    "`systemctl status lvsha-directord` says which, and why"
                ) from None
            except (OSError, http.client.HTTPException) as error:
                raise AgentUnreachable(f"the agent on {self} gave no answer: {error}") from None
            yield response
        finally:
            connection.close()

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        if self.url is None:
            return _UnixConnection(str(self), timeout_s)
        import ssl

        parts = urlsplit(self.url)
        if parts.scheme != "https" or not parts.hostname:
            raise AgentUnreachable(
                f"{self.url} is no address of an agent: write https://lb1.example.net:9443"
            )
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate:
                context.load_cert_chain(self.certificate)
            port = parts.port or 9443
        except (OSError, ValueError) as error:
            raise AgentUnreachable(f"TLS to {self.url} is not possible: {error}") from None
        return http.client.HTTPSConnection(parts.hostname, port, timeout=timeout_s, context=context)

    def __str__(self) -> str:
        return self.url or str(Path(self.run_dir) / "directord.sock")


def add_agent_options(parser: argparse.ArgumentParser) -> None:
    """Which agent: the same words for every verb."""
    group = parser.add_argument_group("which director")
    group.add_argument("--run-dir", default=DEFAULT_RUN_DIR, help="the agent's [agent] run_dir")
    group.add_argument(
        "--peer", action="store_true", help="the other director of the pair, asked by this one"
    )
    group.add_argument("--director", metavar="NAME", help="as --peer, where there are several")
    group.add_argument("--url", metavar="URL", help="a director's API over TLS: https://lb2:9443")
    group.add_argument("--token-file", metavar="FILE", help="of --url; or the environment's LVSHA_TOKEN")
    group.add_argument("--ca", metavar="FILE", help="of --url: certificates to trust")
    group.add_argument("--certificate", metavar="FILE", help="of --url: our certificate and its key")


def ask(
    run_dir: str,
    method: str,
    path: str,
    *,
    body: Mapping[str, Any] | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> Any:
    """``Agent.ask`` of the agent on this machine."""
    return Agent(run_dir=run_dir).ask(method, path, body=body, timeout_s=timeout_s)


def ask_status(agent: Agent | str) -> Any:
    """The status as ``director.status`` describes it, as far as the living processes know it.

    ``agent``: or the run directory of the one on this machine.

    Raises:
        AgentUnreachable: neither answers.
    """
    agent = Agent(run_dir=agent) if isinstance(agent, str) else agent
    try:
        return agent.ask("GET", "/v1/status")
    except AgentUnreachable as why:
        if agent.url is not None or agent.peer is not None:
            raise
        with _vrrpd(agent.run_dir, why) as vrrpd:
            # Only now: what it imports takes longer than the whole of the usual way.
            from lvsha.director.status import without_directord

            return without_directord(_next_status(vrrpd, why), str(why))


def owner() -> str:
    """Who orders; empty: a user without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


ROLE_S = 120.0
"""A switchover waits for the connections, as long as the agent's switchover_deadline."""


def order_role(agent: Agent | str, kind: str, *, body: Mapping[str, Any] | None = None) -> Any:
    """``switchover`` or ``resume``; vrrpd takes the order itself while directord is away.

    Raises:
        AgentRefused: a switchover would lose connections.
        AgentUnreachable: nobody took it.
    """
    agent = Agent(run_dir=agent) if isinstance(agent, str) else agent
    try:
        return agent.ask("POST", f"/v1/{kind}", body=body or {}, timeout_s=ROLE_S)
    except AgentUnreachable as why:
        if (
            agent.url is not None
            or agent.peer is not None
            or (body or {}).get("at") is not None
            or (body or {}).get("cancel")
        ):
            raise
        from lvsha.agent.ipc import encode

        order = "release" if kind == "switchover" else kind
        with _vrrpd(agent.run_dir, why) as vrrpd:
            vrrpd.sendall(encode({"type": order}))
            vrrpd.sendall(encode({"type": "get"}))
            _next_status(vrrpd, why)
        return {"ordered": order}


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
    from lvsha.agent.ipc import LineBuffer

    buffer = LineBuffer()
    try:
        while data := connection.recv(1 << 16):
            for message in buffer.feed(data):
                if message.get("type") == "status":
                    return message
    except (OSError, ValueError):
        pass  # it went away, or is no vrrpd
    raise why
