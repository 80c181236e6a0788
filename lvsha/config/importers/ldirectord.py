"""ldirectord.cf to lvsha's own configuration.

Source: ldirectord(8). Global options stand at the left margin, those of a
``virtual`` are indented below it.
"""

import re
import shlex
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from lvsha.config.importers.keepalived_scope import duration, refuse, whole
from lvsha.config.importers.keepalived_services import endpoint, expand_range
from lvsha.config.importers.report import Block, Imported, Notebook, Place, Reader

SERVICE_OF_PORT: Final = {
    21: "ftp",
    25: "smtp",
    53: "dns",
    80: "http",
    110: "pop",
    119: "nntp",
    143: "imap",
    389: "ldap",
    443: "https",
    587: "submission",
    636: "ldaps",
    993: "imaps",
    995: "pops",
    1521: "oracle",
    1812: "radius",
    3128: "http_proxy",
    3306: "mysql",
    5060: "sip",
    5432: "pgsql",
}
"""What ``checktype = negotiate`` speaks when ``service`` is not given."""

_METHODS: Final = {"gate": "dr", "masq": "nat", "ipip": "tun"}
_PROTOCOLS: Final = ("tcp", "udp", "sctp", "fwm")
_MAIL: Final = "write an [[alert]] with `mail`, `webhook` or `exec`: docs/how-to/get-alerts.md"
_ITSELF: Final = "lvsha needs no setting for it"
_GLOBAL_REASONS: Final = {
    **dict.fromkeys(
        (
            *("emailalert", "emailalertfrom", "emailalertfreq", "emailalertstatus", "smtp"),
            *("servicename", "comment", "monitorfile"),
        ),
        (_MAIL, False),
    ),
    **dict.fromkeys(("fork", "supervised", "logfile", "checkcount", "readdquiescent"), (_ITSELF, False)),
    "autoreload": ("`systemctl reload lvsha-directord` reloads; a bad file changes nothing", False),
    "callback": ("copy the file to the peer yourself, then reload there", True),
    "execute": ("convert that file too, and append its services", True),
    "fallbackcommand": (
        "no script is run: `sorry` stands in, and `lvsha events --follow --json` says when",
        True,
    ),
}
_TIMES: Final = frozenset({"checktimeout", "negotiatetimeout", "checkinterval", "failurecount"})
_KNOWN: Final = frozenset(
    {
        *_TIMES,
        *_GLOBAL_REASONS,
        *("virtual", "virtual6", "real", "real6", "fallback", "fallback6", "checktype", "service"),
        *("checkcommand", "checkport", "request", "receive", "httpmethod", "virtualhost", "login", "passwd"),
        *("database", "secret", "load", "scheduler", "persistent", "netmask", "protocol", "quiescent"),
        *("cleanstop", "ops", "schedflags", "monitorfile", "maintenancedir"),
    }
)


class _Virtual:
    """One ``virtual``, its options still as they were written."""

    def __init__(
        self, place: Place, target: str, is_ipv6: bool, options: dict[str, tuple[str, Place]]
    ) -> None:
        self.place = place
        self.target = target
        self.is_ipv6 = is_ipv6
        self.options = dict(options)
        self.reals: list[tuple[str, Place]] = []


def convert_ldirectord(name: str, text: str, reader: Reader) -> Imported:
    """Everything that can be carried over, and a remark for each thing that cannot."""
    notebook = Notebook()
    virtuals: list[_Virtual] = []
    options: dict[str, tuple[str, Place]] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*", "", raw).rstrip()
        if not line.strip():
            continue
        place = Place(file=name, line=number)
        notebook.statements += 1
        key, equals, value = (part.strip() for part in line.partition("="))
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" and value[0] not in value[1:-1]:
            value = value[1:-1]
        if not equals:
            notebook.suspicious(place, key, "is no option: a = is missing", matters=True)
        elif key in ("virtual", "virtual6"):
            notebook.take()
            virtuals.append(_Virtual(place, value, key == "virtual6", options))
        elif key not in _KNOWN:
            notebook.suspicious(place, key, "unknown to ldirectord and to lvsha", matters=True)
        elif line[0].isspace() and virtuals:
            notebook.take()
            if key in ("real", "real6"):
                virtuals[-1].reals.append((value, place))
            else:
                virtuals[-1].options[key] = (value, place)
        else:
            notebook.take()
            options[key] = (value, place)
    blocks = [Block(header="sync", table={"enabled": False}, many=False, notes=(_ALONE,))]
    agent: dict[str, Any] = {}
    if options.get("cleanstop", ("yes", None))[0] == "no":
        agent["on_stop"] = "keep"
    if "maintenancedir" in options:
        agent["maintenance_dir"] = options["maintenancedir"][0]
    if agent:
        blocks.append(Block(header="agent", table=agent, many=False))
    said: set[Place] = set()
    for virtual in virtuals:
        blocks += _Converter(virtual, notebook, reader, said).blocks()
    for key, (_, place) in options.items():
        _remark_reason(key, place, notebook, said)
    return Imported(
        format="ldirectord",
        blocks=tuple(blocks),
        remarks=tuple(sorted(notebook.remarks, key=lambda remark: remark.place.line)),
        statements=notebook.statements,
        carried=notebook.carried,
    )


_ALONE: Final = (
    "ldirectord knows no VRRP and no synchronisation (heartbeat or Pacemaker moved the address). With"
    " [directors]"
    " and a [[vrrp]] lvsha moves it and keeps the connections: see docs/examples/minimal-dr.toml."
)


def _remark_reason(key: str, place: Place, notebook: Notebook, said: set[Place]) -> None:
    if key in _GLOBAL_REASONS and place not in said:
        said.add(place)
        message, matters = _GLOBAL_REASONS[key]
        notebook.carried -= 1
        notebook.lost(place, key, message, matters=matters)


class _Converter:
    def __init__(self, virtual: _Virtual, notebook: Notebook, reader: Reader, said: set[Place]) -> None:
        self._virtual = virtual
        self._notebook = notebook
        self._reader = reader
        self._said = said

    def blocks(self) -> list[Block]:
        virtual, notebook = self._virtual, self._notebook
        for key, (_, place) in virtual.options.items():
            _remark_reason(key, place, notebook, self._said)
        try:
            who, port = self._who()
        except ValueError as error:
            notebook.suspicious(virtual.place, "virtual", f"{error}: left out", matters=True)
            return []
        table: dict[str, Any] = who | {"scheduler": self._option("scheduler", "wrr"), **self._options()}
        method = "dr"
        servers: list[tuple[dict[str, Any], tuple[str, str]]] = []
        for text, place in virtual.reals:
            try:
                servers += self._reals(text, port)
            except ValueError as error:
                notebook.suspicious(place, "real", f"{error}: left out", matters=True)
        methods = {server["method"] for server, _ in servers}
        if len(methods) == 1:
            method = methods.pop()
            for server, _ in servers:
                del server["method"]
        table["method"] = method
        quiescent = self._option("quiescent", "no")
        table["on_failure"] = "weight-zero" if quiescent == "yes" else "remove"
        if sorry := self._fallback(port, method):
            table["sorry"] = sorry
        checks = []
        for server, asked in servers:
            server_port = int(server["address"].rpartition(":")[2]) if _has_port(server["address"]) else port
            checks.append(self._check(server_port, *asked, virtual_port=port))
        if checks and all(check == checks[0] for check in checks):
            table["check"] = checks[0]
        else:
            for (server, _), check in zip(servers, checks, strict=True):
                server["check"] = check
        table["realservers"] = [server for server, _ in servers]
        notes = () if quiescent == "yes" else (_REMOVE_NOTE,)
        return [Block(header="service", table=table, place=virtual.place, notes=notes)]

    # Parts

    def _option(self, key: str, default: str = "") -> str:
        return self._virtual.options.get(key, (default, None))[0] or default

    def _who(self) -> tuple[dict[str, Any], int]:
        target = self._virtual.target
        protocol = self._option("protocol", "fwm" if target.isdecimal() else "tcp")
        if protocol not in _PROTOCOLS:
            refuse(f"protocol {protocol} is not one of {', '.join(_PROTOCOLS)}")
        if target.isdecimal():
            family = 6 if self._virtual.is_ipv6 else 4
            return {"fwmark": whole(target, 1, 2**32 - 1), "family": family}, 0
        address, port = self._endpoint(target)
        return {"address": endpoint(address, port), "protocol": protocol}, port

    def _endpoint(self, text: str) -> tuple[IPv4Address | IPv6Address, int]:
        host, port_text = _split(text)
        try:
            address = ip_address(host)
        except ValueError:
            resolved = self._reader.resolve_name(host)
            if resolved is None:
                refuse(f"{host} is no address; lvsha resolves no names")
            address = ip_address(resolved)
        return address, _port(port_text)

    def _options(self) -> dict[str, Any]:
        table: dict[str, Any] = {}
        options = self._virtual.options
        for key in ("persistent", "netmask", "ops", "schedflags"):
            if key not in options:
                continue
            value, place = options[key]
            try:
                if key == "persistent":
                    table["persistence_timeout"] = duration(whole(value, 1, 31 * 86400))
                elif key == "netmask":
                    table["persistence_netmask"] = int(value) if value.isdecimal() else value
                elif key == "ops":
                    table["one_packet"] = value == "yes"
                else:
                    table["scheduler_flags"] = [flag.strip() for flag in value.split(",")]
            except ValueError as error:
                self._notebook.suspicious(place, key, f"{error}: left out", matters=True)
        return table

    def _reals(self, text: str, port: int) -> list[tuple[dict[str, Any], tuple[str, str]]]:
        """``A[:PORT] METHOD [WEIGHT] [u:N] [l:N] ["request", "receive"]``; ``A->B:PORT`` is a range."""
        match = re.match(r"(?P<where>\S+)\s+(?P<method>gate|masq|ipip)(?P<rest>.*)", text)
        if match is None:
            refuse(f"{text!r} is not ADDRESS gate|masq|ipip")
        method = _METHODS[match["method"]]
        rest = match["rest"]
        quoted = re.findall(r'"((?:[^"\\]|\\.)*)"', rest)
        request, receive = (*quoted, "", "")[:2]
        table: dict[str, Any] = {"method": method}
        for word in re.sub(r'".*', "", rest).replace(",", " ").split():
            if word.isdecimal():
                table["weight"] = whole(word, 0, 65535)
            elif word.startswith("u:"):
                table["upper_threshold"] = whole(word[2:], 0, 2**31 - 1)
            elif word.startswith("l:"):
                table["lower_threshold"] = whole(word[2:], 0, 2**31 - 1)
            else:
                refuse(f"cannot read {word!r}")
        where = match["where"]
        if "->" in where:
            first, last = where.split("->", 1)
            last_host, port_text = _split(last)
            first_host, first_port = _split(first)
            addresses = expand_range(f"{first_host}-{last_host}")
            own_port = _port(port_text or first_port)
        else:
            address, own_port = self._endpoint(where)
            addresses = [address]
        keeps_port = own_port and (method == "nat" or not port) and own_port != port
        return [
            (
                {"address": endpoint(address, own_port) if keeps_port else str(address), **table},
                (request, receive),
            )
            for address in addresses
        ]

    def _fallback(self, port: int, method: str) -> dict[str, Any] | None:
        key = "fallback6" if self._virtual.is_ipv6 else "fallback"
        if key not in self._virtual.options:
            return None
        text, place = self._virtual.options[key]
        words = text.split()
        try:
            address, own_port = self._endpoint(words[0])
            own_method = _METHODS.get(words[1]) if len(words) > 1 else "dr"
            if own_method is None:
                refuse(f"{words[1]} is not gate, masq or ipip")
        except (ValueError, IndexError) as error:
            self._notebook.suspicious(place, key, f"{error}: left out", matters=True)
            return None
        keeps_port = own_port and own_method == "nat" and own_port != port
        table: dict[str, Any] = {"address": endpoint(address, own_port) if keeps_port else str(address)}
        return table | ({"method": own_method} if own_method != method else {})

    # The check

    def _check(self, port: int, request: str, receive: str, *, virtual_port: int) -> dict[str, Any]:
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
        host, _ = _split(self._virtual.target)
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
            for key, value in (("username", self._option("login")), ("password", self._option("passwd")))
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
            return {"type": "sip"} | timers
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


_REMOVE_NOTE: Final = (
    'on_failure = "remove" is ldirectord\'s quiescent = no: established connections to a realserver that'
    " fails"
    ' its check are dropped. "weight-zero" lets them end.'
)


def _has_port(text: str) -> bool:
    return text.startswith("[") or text.count(":") == 1


def _split(text: str) -> tuple[str, str]:
    """Host and port of ``a:80``, ``[v6]:80``, ``a``."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.lstrip(":")
    if text.count(":") > 1:
        return text, ""
    host, _, port = text.partition(":")
    return host, port


def _port(text: str) -> int:
    if not text:
        return 0
    if text.isdecimal():
        return whole(text, 0, 65535)
    names = {name: number for number, name in SERVICE_OF_PORT.items()} | {
        "www": 80,
        "domain": 53,
        "pop3": 110,
    }
    if text not in names:
        refuse(f"{text} is no port")
    return names[text]
