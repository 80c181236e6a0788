"""``virtual_server`` and ``virtual_server_group`` to ``[[service]]``."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network
from typing import Any, Final

from lvsha.config.importers.keepalived_checks import CHECKERS, Timers, read_checks
from lvsha.config.importers.keepalived_scope import duration, number, read_block, refuse, truth, whole
from lvsha.config.importers.keepalived_text import Statement
from lvsha.config.importers.report import Block, Notebook

MAX_RANGE: Final = 4096
"""Addresses of one range."""
_SCHEDULERS: Final = frozenset(
    ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf", "twos"]
)
_METHODS: Final = {"NAT": "nat", "DR": "dr", "TUN": "tun"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Virtual:
    """One virtual address, or a firewall mark."""

    address: IPv4Address | IPv6Address | None = None
    port: int = 0
    fwmark: int = 0
    family: int | None = None


@dataclass(slots=True)
class Group:
    """A virtual_server_group."""

    name: str
    members: list[Virtual] = field(default_factory=list)


def read_group(statement: Statement, notebook: Notebook) -> Group:
    group = Group(statement.values[0] if statement.values else "")
    notebook.take()
    for line in statement:
        try:
            group.members += list(_members(line))
        except (ValueError, IndexError) as error:
            notebook.suspicious(line.place, "virtual_server_group", f"{error}: left out", matters=True)
        else:
            notebook.take()
    return group


def _members(line: Statement) -> Iterator[Virtual]:
    if line.words[0] == "fwmark":
        family = {"inet": 4, "inet6": 6}.get(line.words[2]) if len(line.words) > 2 else None
        yield Virtual(fwmark=whole(line.words[1], 1, 2**32 - 1), family=family)
        return
    port = whole(line.words[1], 0, 65535) if len(line.words) > 1 else 0
    for address in expand_range(line.words[0]):
        yield Virtual(address=address, port=port)


def expand_range(text: str) -> list[IPv4Address | IPv6Address]:
    """``a.b.c.d``, ``a.b.c.d-e``, ``a.b.c.d-e.f.g.h``, ``a.b.c.d/n``, and the same of IPv6 (``::2-9``).

    Raises:
        ValueError: it is none of them, or has more than ``MAX_RANGE`` addresses.
    """
    if "/" in text:
        network = ip_network(text, strict=False)
        if network.num_addresses > MAX_RANGE:
            refuse(f"{text} has more than {MAX_RANGE} addresses")
        return [
            IPv4Address(each) if isinstance(network, IPv4Network) else IPv6Address(each) for each in network
        ]
    first_text, dash, last_text = text.partition("-")
    first = ip_address(first_text)
    if not dash:
        return [first]
    if "." in last_text or ":" in last_text:
        last = ip_address(last_text)
    else:
        separator = "." if first.version == 4 else ":"
        last = ip_address(first_text.rpartition(separator)[0] + separator + last_text)
    if last.version != first.version or not 0 <= int(last) - int(first) < MAX_RANGE:
        refuse(f"{text} is not a range of up to {MAX_RANGE} addresses")
    return [type(first)(number) for number in range(int(first), int(last) + 1)]


class _Forwarding:
    """lb_kind and its tunnel."""

    def __init__(self) -> None:
        self.method: str | None = None
        self.tunnel: dict[str, Any] = {}

    def take(self, statement: Statement) -> None:
        words = list(statement.values)
        method = words.pop(0).upper()
        if method not in _METHODS:
            refuse(f"{method} is not NAT, DR or TUN")
        self.method = _METHODS[method]
        self.tunnel = {}
        while words:
            word = words.pop(0)
            if word == "type":
                self.tunnel["type"] = words.pop(0)
            elif word == "port":
                self.tunnel["port"] = whole(words.pop(0), 1, 65535)
            elif word in ("csum", "remcsum"):
                self.tunnel["checksum"] = word

    def table(self) -> dict[str, Any]:
        table: dict[str, Any] = {} if self.method is None else {"method": self.method}
        return table | ({"tunnel": self.tunnel} if self.tunnel else {})


class VirtualServer:
    """One virtual_server, read statement by statement."""

    def __init__(
        self, statement: Statement, groups: dict[str, Group], script_user: str | None, notebook: Notebook
    ) -> None:
        self._statement = statement
        self._notebook = notebook
        self._script_user = script_user
        self._timers = Timers()
        self._forwarding = _Forwarding()
        self._sorry_forwarding = _Forwarding()
        self._table: dict[str, Any] = {}
        self._flags: list[str] = []
        self._protocol: str | None = None
        self._family: int | None = None
        self._inhibit = False
        self._sorry: Statement | None = None
        self._servers: list[Statement] = []
        self._scheduler = "wlc"
        notebook.take()
        self._virtuals = self._read_virtuals(groups)
        read_block(statement, self._handlers(), notebook)

    def _read_virtuals(self, groups: dict[str, Group]) -> list[Virtual]:
        words = self._statement.values
        place = self._statement.place
        try:
            if words[0] == "group":
                if words[1] not in groups:
                    refuse(f"there is no virtual_server_group {words[1]}")
                return groups[words[1]].members
            if words[0] == "fwmark":
                return [Virtual(fwmark=whole(words[1], 1, 2**32 - 1))]
            port = whole(words[1], 0, 65535) if len(words) > 1 else 0
            return [Virtual(address=ip_address(words[0]), port=port)]
        except (ValueError, IndexError) as error:
            message = str(error) if isinstance(error, ValueError) else "an address is missing"
            self._notebook.suspicious(place, "virtual_server", f"{message}: left out", matters=True)
            return []

    def _handlers(self) -> dict[str, Any]:
        table = self._table
        return {
            **self._timers.handlers(),
            "lvs_sched": self._set_scheduler,
            "lb_algo": self._set_scheduler,
            "lvs_method": self._forwarding.take,
            "lb_kind": self._forwarding.take,
            "protocol": self._set_protocol,
            "persistence_timeout": self._persistence,
            "persistence_granularity": lambda s: table.update(persistence_netmask=_netmask(s.values[0])),
            "persistence_engine": lambda s: table.update(persistence_engine=s.values[0]),
            "ops": lambda s: table.update(one_packet=True),
            "flag-1": lambda s: self._flags.append("fallback"),
            "flag-2": lambda s: self._flags.append("port"),
            **{
                f"{owner}-{flag}": lambda s, flag=flag: self._flags.append(flag)
                for owner in ("sh", "mh")
                for flag in ("fallback", "port")
            },
            "quorum": lambda s: table.update(quorum=number(s, 1, 2**31 - 1)),
            "hysteresis": lambda s: table.update(hysteresis=number(s, 0, 2**31 - 1)),
            "inhibit_on_failure": lambda s: setattr(self, "_inhibit", truth(s)),
            "ip_family": self._set_family,
            "sorry_server": lambda s: setattr(self, "_sorry", s),
            "sorry_server_lvs_method": self._sorry_forwarding.take,
            "real_server": self._servers.append,
            "snmp_name": lambda s: table.update(name=s.values[0]),
        }

    # Statements

    def _set_scheduler(self, statement: Statement) -> None:
        word = statement.values[0].lower()
        if word not in _SCHEDULERS:
            refuse(f"{word} is no scheduler")
        self._scheduler = word

    def _set_protocol(self, statement: Statement) -> None:
        word = statement.values[0].upper()
        if word not in ("TCP", "UDP", "SCTP"):
            refuse(f"{word} is not TCP, UDP or SCTP")
        self._protocol = word.lower()

    def _persistence(self, statement: Statement) -> None:
        value = number(statement, 1, 31 * 86400) if statement.values else 360
        self._table["persistence_timeout"] = duration(value)

    def _set_family(self, statement: Statement) -> None:
        family = {"inet": 4, "inet6": 6}.get(statement.values[0])
        if family is None:
            refuse(f"{statement.values[0]!r} is neither inet nor inet6")
        self._family = family

    # Result

    def blocks(self) -> list[Block]:
        """Addresses as one ``[[service]]``, and one for each firewall mark."""
        servers = [server for statement in self._servers if (server := self._real_server(statement))]
        checks = [check for _, check in servers]
        shared = checks[0] if checks and all(check == checks[0] for check in checks) else None
        realservers = []
        for table, check in servers:
            if shared is None:
                table |= check
            realservers.append(table)
        common: dict[str, Any] = {"scheduler": self._scheduler}
        common |= {"method": "nat"} | self._forwarding.table() | self._table
        if self._flags:
            if self._scheduler in ("sh", "mh"):
                common["scheduler_flags"] = [
                    f"{self._scheduler}-{flag}" for flag in dict.fromkeys(self._flags)
                ]
            else:
                self._notebook.suspicious(
                    self._statement.place, "flag", f"{self._scheduler} has no flags: left out"
                )
        common["on_failure"] = "weight-zero" if self._inhibit else "remove"
        if sorry := self._sorry_table():
            common["sorry"] = sorry
        if shared is not None:
            common |= shared
        common["realservers"] = realservers
        return [
            Block(header="service", table=who | common, place=self._statement.place, notes=self._notes())
            for who in self._who(realservers)
        ]

    def _notes(self) -> tuple[str, ...]:
        if self._inhibit:
            return ()
        return (
            'on_failure = "remove" is keepalived\'s default: established connections to a realserver that'
            ' fails its check are dropped. "weight-zero" lets them end.',
        )

    def _who(self, realservers: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        protocol = self._protocol
        addresses = [each for each in self._virtuals if each.address is not None]
        if protocol is None and addresses:
            self._notebook.suspicious(
                self._statement.place,
                "protocol",
                'is missing: keepalived takes UDP, and so does the new file; most likely "tcp" is meant',
                matters=True,
            )
            protocol = "udp"
        if addresses:
            texts = [endpoint(each.address, each.port) for each in addresses]
            yield {"address": texts[0] if len(texts) == 1 else texts, "protocol": protocol}
        is_ipv6 = any(server["address"].count(":") > 1 for server in realservers)
        for mark in (each for each in self._virtuals if each.address is None):
            if self._protocol is not None and not addresses:
                self._notebook.lost(
                    self._statement.place, "protocol", "a firewall mark has every protocol", matters=False
                )
            yield {"fwmark": mark.fwmark, "family": mark.family or self._family or (6 if is_ipv6 else 4)}

    def _sorry_table(self) -> dict[str, Any] | None:
        if self._sorry is None:
            return None
        try:
            address = ip_address(self._sorry.values[0])
            port = whole(self._sorry.values[1], 0, 65535) if len(self._sorry.values) > 1 else 0
        except (ValueError, IndexError) as error:
            self._notebook.suspicious(self._sorry.place, "sorry_server", f"{error}: left out", matters=True)
            return None
        method = self._sorry_forwarding.method or self._forwarding.method or "nat"
        text = endpoint(address, port) if method == "nat" and port else str(address)
        return {"address": text, **self._sorry_forwarding.table()}

    def _real_server(self, statement: Statement) -> tuple[dict[str, Any], dict[str, Any]] | None:
        notebook = self._notebook
        try:
            address = ip_address(statement.values[0])
            port = whole(statement.values[1], 0, 65535) if len(statement.values) > 1 else 0
        except (ValueError, IndexError) as error:
            notebook.suspicious(statement.place, "real_server", f"{error}: left out", matters=True)
            return None
        table: dict[str, Any] = {}
        forwarding = _Forwarding()
        timers = Timers(self._timers)
        checkers: list[Statement] = []
        read_block(
            statement,
            {
                **timers.handlers(),
                **dict.fromkeys(CHECKERS, checkers.append),
                "weight": lambda s: table.update(weight=number(s, 0, 65535)),
                "uthreshold": lambda s: table.update(upper_threshold=number(s, 0, 2**31 - 1)),
                "lthreshold": lambda s: table.update(lower_threshold=number(s, 0, 2**31 - 1)),
                "lvs_method": forwarding.take,
                "lb_kind": forwarding.take,
                "inhibit_on_failure": lambda s: table.update(
                    on_failure="weight-zero" if truth(s) else "remove"
                ),
                "snmp_name": lambda s: table.update(name=s.values[0]),
            },
            notebook,
        )
        method = forwarding.method or self._forwarding.method or "nat"
        virtual_ports = {each.port for each in self._virtuals if each.address is not None}
        if method != "nat" and virtual_ports and {port or min(virtual_ports)} != virtual_ports:
            notebook.suspicious(
                statement.place,
                "real_server",
                f"{method} cannot change the port: {port} is the virtual port, as in keepalived",
            )
            port = 0
        keeps_port = port and (method == "nat" or len(virtual_ports) != 1)
        where = {"address": endpoint(address, port) if keeps_port else str(address)}
        return where | table | forwarding.table(), self._checks(checkers, timers, port)

    def _checks(self, checkers: list[Statement], timers: Timers, port: int) -> dict[str, Any]:
        """``check`` or ``checks``: all of them have to pass, there as here."""
        tables = []
        is_mark = all(each.address is None for each in self._virtuals)
        for statement in checkers:
            for check in read_checks(statement, timers, self._script_user, self._notebook):
                if is_mark and port and check["type"] not in ("on", "ping", "exec"):
                    check.setdefault("port", port)
                tables.append(check)
        if len(tables) > 1:
            return {"checks": tables}
        return {"check": tables[0] if tables else {"type": "on"}}


def _netmask(text: str) -> int | str:
    if text.isdecimal():
        return whole(text, 1, 128)
    return str(IPv4Address(text)) if "." in text else refuse(f"{text!r} is no netmask")


def endpoint(address: IPv4Address | IPv6Address | None, port: int) -> str:
    """``10.0.0.1:80``, ``[2001:db8::1]:80``."""
    assert address is not None, "a firewall mark has no address"
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"
