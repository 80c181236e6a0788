"""ldirectord.cf to lvsha's own configuration.

Source: ldirectord(8). Global options stand at the left margin, those of a
``virtual`` are indented below it.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from lvsha.config.importers.keepalived_scope import duration, refuse, whole
from lvsha.config.importers.keepalived_services import endpoint, expand_range
from lvsha.config.importers.ldirectord_checks import Checks, Virtual
from lvsha.config.importers.ldirectord_ports import has_port, port_number, split_endpoint
from lvsha.config.importers.report import Block, Imported, Notebook, Place, Reader

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


def convert_ldirectord(name: str, text: str, reader: Reader) -> Imported:
    """Everything that can be carried over, and a remark for each thing that cannot."""
    notebook = Notebook()
    virtuals: list[Virtual] = []
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
            virtuals.append(Virtual(place, value, key == "virtual6", options))
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
    def __init__(self, virtual: Virtual, notebook: Notebook, reader: Reader, said: set[Place]) -> None:
        self._virtual = virtual
        self._notebook = notebook
        self._reader = reader
        self._said = said
        self._checks = Checks(virtual, notebook)

    def blocks(self) -> list[Block]:
        virtual, notebook = self._virtual, self._notebook
        for key, (_, place) in virtual.options.items():
            _remark_reason(key, place, notebook, self._said)
        try:
            who, port = self._who()
        except ValueError as error:
            notebook.suspicious(virtual.place, "virtual", f"{error}: left out", matters=True)
            return []
        table: dict[str, Any] = who | {
            "scheduler": self._virtual.option("scheduler", "wrr"),
            **self._options(),
        }
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
        quiescent = self._virtual.option("quiescent", "no")
        table["on_failure"] = "weight-zero" if quiescent == "yes" else "remove"
        if sorry := self._fallback(port, method):
            table["sorry"] = sorry
        checks = []
        for server, asked in servers:
            server_port = int(server["address"].rpartition(":")[2]) if has_port(server["address"]) else port
            checks.append(self._checks.check(server_port, *asked, virtual_port=port))
        if checks and all(check == checks[0] for check in checks):
            table["check"] = checks[0]
        else:
            for (server, _), check in zip(servers, checks, strict=True):
                server["check"] = check
        table["realservers"] = [server for server, _ in servers]
        notes = () if quiescent == "yes" else (_REMOVE_NOTE,)
        return [Block(header="service", table=table, place=virtual.place, notes=notes)]

    # Parts

    def _who(self) -> tuple[dict[str, Any], int]:
        target = self._virtual.target
        protocol = self._virtual.option("protocol", "fwm" if target.isdecimal() else "tcp")
        if protocol not in _PROTOCOLS:
            refuse(f"protocol {protocol} is not one of {', '.join(_PROTOCOLS)}")
        if target.isdecimal():
            family = 6 if self._virtual.is_ipv6 else 4
            return {"fwmark": whole(target, 1, 2**32 - 1), "family": family}, 0
        address, port = self._endpoint(target)
        return {"address": endpoint(address, port), "protocol": protocol}, port

    def _endpoint(self, text: str) -> tuple[IPv4Address | IPv6Address, int]:
        host, port_text = split_endpoint(text)
        try:
            address = ip_address(host)
        except ValueError:
            resolved = self._reader.resolve_name(host)
            if resolved is None:
                refuse(f"{host} is no address; lvsha resolves no names")
            address = ip_address(resolved)
        return address, port_number(port_text)

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
            last_host, port_text = split_endpoint(last)
            first_host, first_port = split_endpoint(first)
            addresses = expand_range(f"{first_host}-{last_host}")
            own_port = port_number(port_text or first_port)
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


_REMOVE_NOTE: Final = (
    'on_failure = "remove" is ldirectord\'s quiescent = no: established connections to a realserver that'
    " fails"
    ' its check are dropped. "weight-zero" lets them end.'
)
