"""``virtual_routes`` and ``virtual_rules`` to ``routes`` and ``rules`` of ``[[vrrp]]``.

Words are those of ``ip route`` and ``ip rule``. A line with a word that lvsha has no key for is
left out whole: half a route leads elsewhere.
"""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final

from lvsha.config.importers.keepalived_scope import refuse, whole
from lvsha.config.importers.keepalived_text import Statement
from lvsha.config.importers.report import Notebook

RULE_PREFERENCE: Final = 16384
"""Of the first rule that names none, and one less for each further one (keepalived 2.2.7 says so)."""

_TABLES: Final = {"main": 254, "default": 253, "local": 255}
_KINDS: Final = frozenset(
    ["blackhole", "unreachable", "prohibit", "throw", "local", "broadcast", "multicast"]
)
_BOTH: Final = "put it on both directors (ifupdown, systemd-networkd), or let a `hook` add it on MASTER"
_IGNORED: Final = frozenset(["no_track", "unicast"])
"""lvsha adds what somebody took again with each renewal of its lease."""


class Rules:
    """Gives a preference to those that have none; one for a whole file."""

    def __init__(self) -> None:
        self._next = RULE_PREFERENCE

    def preference(self) -> int:
        self._next -= 1
        return self._next + 1


def take_routes(statement: Statement, into: list[dict[str, Any]], notebook: Notebook) -> None:
    """One table for each line that can be carried over."""
    notebook.take()
    for line in statement:
        try:
            table = read_route(line)
        except (ValueError, IndexError) as error:
            notebook.lost(line.place, "virtual_routes", f"{_said(error, line)}; {_BOTH}")
            continue
        if "interface" in table:
            notebook.take()
        else:
            notebook.changed(
                line.place,
                "virtual_routes",
                f"{table['to']} names no device: the virtual router's is taken; write its interface if the"
                " gateway is elsewhere",
            )
        into.append(table)


def take_rules(statement: Statement, rules: Rules, into: list[dict[str, Any]], notebook: Notebook) -> None:
    """As ``take_routes``."""
    notebook.take()
    for line in statement:
        try:
            table = read_rule(line)
        except (ValueError, IndexError) as error:
            notebook.lost(line.place, "virtual_rules", f"{_said(error, line)}; {_BOTH}")
            continue
        if "priority" not in table:
            table["priority"] = rules.preference()
            notebook.changed(
                line.place,
                "virtual_rules",
                f"names no preference: {table['priority']}, as keepalived chooses",
            )
        else:
            notebook.take()
        into.append(table)


def look_at_static(statement: Statement, rules: Rules, notebook: Notebook) -> None:
    """static_routes and static_rules are not carried over; what is wrong with a line is said all the same."""
    for line in statement:
        try:
            if statement.keyword == "static_rules":
                if "priority" not in read_rule(line):
                    given = rules.preference()
                    notebook.suspicious(
                        line.place, "static_rules", f"names no preference: keepalived takes {given}"
                    )
            else:
                read_route(line)
        except (ValueError, IndexError) as error:
            notebook.suspicious(line.place, statement.keyword, _said(error, line))


def read_route(line: Statement) -> dict[str, Any]:
    """``[src A] [to] NET [via A] [dev I] [table T] [metric N]``.

    Raises:
        ValueError, IndexError: lvsha has no such route.
    """
    words = list(line.words)
    table: dict[str, Any] = {}
    while words:
        word = words.pop(0)
        if word in _IGNORED:
            continue
        if word in ("via", "gw"):
            if words[0] in ("inet", "inet6"):
                words.pop(0)
            table["via"] = str(ip_address(words.pop(0)))
        elif word == "src":
            table["source"] = str(ip_address(words.pop(0)))
        elif word == "dev":
            table["interface"] = words.pop(0)
        elif word == "table":
            table["table"] = _table(words.pop(0))
        elif word in ("metric", "priority", "preference"):
            table["metric"] = whole(words.pop(0), 0, 2**32 - 1)
        elif word in ("or", "nexthop"):
            refuse("a route has one gateway here")
        elif word in _KINDS:
            refuse(f"there are no {word} routes")
        elif "to" not in table:
            table["to"] = words.pop(0) if word == "to" else word
        else:
            refuse(f"a route has no {word} here")
    if "to" not in table:
        refuse("a destination is missing")
    if table["to"] == "default":
        table["to"] = "::/0" if ":" in table.get("via", table.get("source", "")) else "0.0.0.0/0"
    table["to"] = str(_network(table["to"]))
    return table


def read_rule(line: Statement) -> dict[str, Any]:
    """``[from NET] [to NET] [fwmark M] table T [preference N]``.

    Raises:
        ValueError, IndexError: lvsha has no such rule.
    """
    words = list(line.words)
    table: dict[str, Any] = {}
    while words:
        word = words.pop(0)
        if word in _IGNORED:
            continue
        if word in ("from", "to"):
            network = words.pop(0)
            if network not in ("all", "any", "default"):
                table["source" if word == "from" else "to"] = str(_network(network))
        elif word in ("table", "lookup"):
            table["table"] = _table(words.pop(0))
        elif word in ("preference", "priority", "pref", "order"):
            table["priority"] = whole(words.pop(0), 1, 32765)
        elif word == "fwmark":
            table["fwmark"] = int(words.pop(0), 0)
        else:
            refuse(f"a rule has no {word} here")
    if "table" not in table:
        refuse("a rule names a table here")
    if not table.keys() & {"source", "to", "fwmark"}:
        refuse("it matches every packet")
    return table


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        refuse(f"{error}")


def _table(text: str) -> int:
    if text not in _TABLES and not text.isdecimal():
        refuse(f"table {text} has a name: write its number (/etc/iproute2/rt_tables)")
    return _TABLES[text] if text in _TABLES else whole(text, 1, 2**32 - 1)


def _said(error: Exception, line: Statement) -> str:
    message = str(error) if isinstance(error, ValueError) and str(error) else "a value is missing"
    return f"{' '.join(line.words)}: {message}"
