"""``checktype`` and ``service`` of a ``virtual`` of ldirectord.cf, as a check of ours."""

import re
import shlex
from typing import Any

from lvsha.config.importers.keepalived_scope import duration, whole
from lvsha.config.importers.ldirectord_ports import SERVICE_OF_PORT, split_endpoint
from lvsha.config.importers.report import Notebook, Place


class Virtual:
    """One ``virtual``, its options still as they were written."""

    def __init__(
        self, place: Place, target: str, is_ipv6: bool, options: dict[str, tuple[str, Place]]
    ) -> None:
        self.place = place
        self.target = target
        self.is_ipv6 = is_ipv6
        self.options = dict(options)
        self.reals: list[tuple[str, Place]] = []

    def option(self, key: str, default: str = "") -> str:
        return self.options.get(key, (default, None))[0] or default


class Checks:
    """Of one ``virtual``; a realserver's own ``request`` and ``receive`` go before its."""

    def __init__(self, virtual: Virtual, notebook: Notebook) -> None:
        self._virtual = virtual
        self._notebook = notebook
        self._option = virtual.option

    def check(self, port: int, request: str, receive: str, *, virtual_port: int) -> dict[str, Any]:
        kind = self._option("checktype", "negotiate")
        place = self._virtual.options.get("checktype", ("", self._virtual.place))[1]
        is_udp = self._option("protocol") == "udp"
        if kind in ("on", "off"):
            return {"type": kind}
        if kind == "ping" or (kind == "connect" and is_udp):
            return {"type": "ping", **self._timers(connects=True)}
        if kind == "connect":
            return {"type": "tcp", **self._port(), **self._timers(connects=True)}
        if kind in ("external", "external-perl"):
            return self._external(port, place, virtual_port)
        if kind.isdecimal():
            negotiate = self._negotiate(
                port, request or self._option("request"), receive or self._option("receive")
            )
            is_datagram = negotiate["type"] in ("dns", "sip", "radius")
            return negotiate | ({} if is_datagram else {"plain_connects": min(int(kind), 1000)})
        if kind != "negotiate":
            self._notebook.suspicious(place, "checktype", f"{kind} is unknown: negotiate", matters=True)
        return self._negotiate(port, request or self._option("request"), receive or self._option("receive"))

    def _port(self) -> dict[str, Any]:
        text = self._option("checkport")
        return {"port": whole(text, 1, 65535)} if text.isdecimal() and int(text) else {}

    def _timers(self, *, connects: bool) -> dict[str, Any]:
        def value(key: str, default: int) -> int:
            text = self._option(key, str(default))
            return int(text) if text.isdecimal() and int(text) else default

        timeout = value("checktimeout", 5) if connects else value("negotiatetimeout", 30)
        return {
            "interval": duration(value("checkinterval", 10)),
            "timeout": duration(timeout),
            "fall": value("failurecount", 1),
            "rise": 1,
            "initial": "down",
        }

    def _external(self, port: int, place: Place, virtual_port: int) -> dict[str, Any]:
        command = self._option("checkcommand")
        if not command:
            self._notebook.suspicious(place, "checkcommand", "is missing: always up", matters=True)
            return {"type": "on"}
        host, _ = split_endpoint(self._virtual.target)
        self._notebook.changed(
            place,
            "checktype",
            "the command finds its realserver in LVSHA_CHECK_ADDRESS and LVSHA_CHECK_PORT; ldirectord gave it"
            " VIP, port, realserver, port as arguments: the line passes them on through sh",
            matters=True,
        )
        quoted = " ".join(shlex.quote(word) for word in (*shlex.split(command), host, str(virtual_port)))
        script = f'exec {quoted} "$LVSHA_CHECK_ADDRESS" "${{LVSHA_CHECK_PORT:-{port}}}"'
        return {"type": "exec", "command": ["/bin/sh", "-c", script], **self._timers(connects=False)}

    def _negotiate(self, port: int, request: str, receive: str) -> dict[str, Any]:
        service = self._option("service") or SERVICE_OF_PORT.get(port, "")
        place = self._virtual.options.get("service", ("", self._virtual.place))[1]
        timers = {**self._port(), **self._timers(connects=False)}
        login = {
            key: value
            for key, value in (
                ("username", self._option("login")),
                ("password", self._option("passwd")),
            )
            if value
        }
        if service in ("http", "https"):
            return self._http(service, request, receive) | login | timers
        if service in ("smtp", "submission"):
            return {"type": "smtp"} | timers
        if service == "dns":
            table: dict[str, Any] = {"type": "dns", "query_type": "A"}
            if request:
                table["query_name"] = request
            return table | ({"expect": receive} if receive else {}) | timers
        if service == "simpletcp":
            table = {"type": "tcp"}
            if request:
                table["send"] = request.encode().decode("unicode_escape")
            return table | ({"expect_regex": receive} if receive else {}) | timers
        if service in ("imap", "imaps", "pop", "pops"):
            secure: dict[str, Any] = {"tls": {"verify": False}} if service.endswith("s") else {}
            return {"type": service.removesuffix("s"), **secure} | login | timers
        if service in ("ftp", "nntp"):
            return {"type": service} | login | timers
        if service in ("ldap", "ldaps"):
            secure = {"tls": {"verify": False}} if service == "ldaps" else {}
            base = {"search_base": request} if request else {}
            bind = login if len(login) == 2 else {}
            return {"type": "ldap", **secure, **base} | bind | timers
        if service == "radius":
            secret = self._option("secret")
            if secret:
                return {"type": "radius", "secret": secret} | login | timers
            self._notebook.suspicious(place, "service", "radius without a secret: a ping", matters=True)
            return {"type": "ping"} | self._timers(connects=True)
        if service == "http_proxy":
            url = (
                request if "://" in request else f"http://{self._option('virtualhost')}/{request.lstrip('/')}"
            )
            table = {"type": "http-proxy", "path": url}
            return table | ({"body_regex": receive} if receive else {}) | timers
        if service == "sip":
            return {
                "type": "sip",
                **({"transport": "tcp"} if self._option("protocol") == "tcp" else {}),
            } | timers
        if service in ("mysql", "pgsql"):
            table = {"type": "mysql" if service == "mysql" else "postgresql"}
            if self._option("login"):
                table["user"] = self._option("login")
            if service == "pgsql" and self._option("database"):
                table["database"] = self._option("database")
            self._notebook.changed(
                place, "service", f"{service} has to greet; no statement is run", matters=bool(request)
            )
            return table | timers
        if service and service != "none":
            self._notebook.changed(
                place, "service", f"{service} has no check of its own: a connection is enough", matters=True
            )
        return {"type": "tcp"} | timers

    def _http(self, service: str, request: str, receive: str) -> dict[str, Any]:
        path = request or "/"
        if match := re.match(r"[a-z]+://[^/]+(/.*)?$", path):
            path = match[1] or "/"
        table: dict[str, Any] = {"type": service, "path": path if path.startswith("/") else "/" + path}
        if self._option("virtualhost"):
            table["host"] = self._option("virtualhost")
        if self._option("httpmethod", "GET").upper() != "GET":
            table["method"] = self._option("httpmethod").upper()
        if receive:
            table["body_regex"] = receive
        if service == "https":
            table["tls"] = {"verify": False}
        return table
