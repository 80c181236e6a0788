"""Would this machine's packet filter drop that packet? Pure: rules in, verdict and rule out.

Rules of nftables (``nft -j list ruleset``) and of iptables (``iptables-save``) become one form.
Three-valued, and on the side of silence: a rule with a test that is not understood here (a
limit, a set that changes, an extension) may match or not, and a packet is called dropped only
if it is dropped either way.
"""

import json
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, Final

from lvsha.core.addr import Address
from lvsha.doctor.facts import Network

_PROTOCOLS: Final = {
    "icmp": 1,
    "ipip": 4,
    "ipencap": 4,
    "tcp": 6,
    "udp": 17,
    "gre": 47,
    "ipv6-icmp": 58,
    "vrrp": 112,
    "sctp": 132,
}
_DEPTH: Final = 16
"""Jumps within jumps; the kernel allows as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """The first of a flow."""

    protocol: int
    destination: Address
    source: Address | None = None
    """None: from somewhere."""
    port: int = 0
    interface: str = ""
    """It comes in here."""

    def __str__(self) -> str:
        name = {4: "IPIP", 6: "TCP", 17: "UDP", 47: "GRE", 112: "VRRP"}.get(
            self.protocol, f"protocol {self.protocol}"
        )
        sender = f" from {self.source}" if self.source is not None else ""
        port = f" port {self.port}" if self.port else ""
        return f"{name} to {self.destination}{port}{sender}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One condition."""

    name: str
    """``protocol``, ``source``, ``destination``, ``port``, ``interface``, ``state``; others are unknown."""
    values: tuple[Network | tuple[int, int] | str, ...] = ()
    negated: bool = False

    def holds(self, packet: Packet) -> bool | None:
        """None: cannot be told."""
        found: bool | None
        match self.name:
            case "protocol":
                found = self._has_number(packet.protocol)
            case "port":
                found = self._has_number(packet.port) if packet.port else None
            case "destination":
                found = self._has_address(packet.destination)
            case "source":
                found = None if packet.source is None else self._has_address(packet.source)
            case "interface":
                found = packet.interface in self.values if packet.interface else None
            case "state":
                found = "new" in {str(value).lower() for value in self.values}
            case _:
                found = None
        return None if found is None else found is not self.negated

    def _has_number(self, number: int) -> bool:
        return any(isinstance(value, tuple) and value[0] <= number <= value[1] for value in self.values)

    def _has_address(self, address: Address) -> bool:
        return any(
            not isinstance(value, tuple | str) and value.version == address.version and address in value
            for value in self.values
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    tests: tuple[Test, ...]
    verdict: str
    """``accept``, ``drop``, ``return``, ``jump``, ``goto``; empty: it only counts or marks."""
    target: str = ""
    text: str = ""


@dataclass(slots=True, kw_only=True)
class Chain:
    name: str
    hook: str = ""
    """Empty: others jump to it."""
    priority: int = 0
    family: int = 0
    """4 or 6; 0: both."""
    policy: str = "accept"
    rules: list[Rule] = field(default_factory=list)


Ruleset = dict[str, Chain]
"""By table and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A packet that does not get through, and the rule that decides it."""

    packet: Packet
    rule: str

    def __str__(self) -> str:
        return f"{self.packet} is dropped by {self.rule}"


def find_drop(rules: Ruleset, hook: str, packet: Packet) -> Drop | None:
    """The rule that certainly drops ``packet`` at ``hook`` (``input``, ``forward``); None: none, or maybe."""
    chains = sorted((chain for chain in rules.values() if chain.hook == hook), key=lambda each: each.priority)
    for chain in chains:
        if chain.family in (0, packet.destination.version):
            verdict, rule = _walk(rules, chain, packet, 0)
            if verdict in ("", "return"):
                verdict, rule = chain.policy, f"the policy of chain {chain.name}"
            if verdict == "drop":
                return Drop(packet=packet, rule=rule)
    return None


def _walk(rules: Ruleset, chain: Chain, packet: Packet, depth: int) -> tuple[str, str]:
    """``accept``, ``drop``, ``unknown``, or empty: it came to the end."""
    for rule in chain.rules:
        answers = [test.holds(packet) for test in rule.tests]
        if False in answers or not rule.verdict:
            continue
        verdict, text = rule.verdict, f"rule `{rule.text}` of chain {chain.name}"
        if verdict in ("jump", "goto"):
            inner = rules.get(rule.target)
            if inner is None or depth >= _DEPTH:
                return "unknown", ""
            inner_verdict, inner_text = _walk(rules, inner, packet, depth + 1)
            verdict, text = inner_verdict, inner_text or text
            if verdict in ("", "return"):
                if rule.verdict == "goto" and None not in answers:
                    return "", ""
                continue
        if None in answers and verdict != "drop":
            return "unknown", ""
        if None in answers:
            continue  # it may be dropped here; later rules tell whether it is in any case
        return verdict, text
    return "", ""


# --- nftables -----------------------------------------------------------------------------------------


def parse_nft(text: str) -> Ruleset:
    """The rules of ``nft -j list ruleset``; what is not understood becomes unknown tests.

    Raises:
        ValueError: not such a JSON.
    """
    found: Ruleset = {}
    for item in json.loads(text).get("nftables", []) if text else []:
        if chain := item.get("chain"):
            family = {"ip": 4, "ip6": 6, "inet": 0}.get(chain["family"])
            found[_nft_key(chain, chain["name"])] = Chain(
                name=f"{chain['family']} {chain['table']} {chain['name']}",
                hook=chain.get("hook", "") if family is not None else "",
                priority=chain.get("prio", 0) if isinstance(chain.get("prio", 0), int) else 0,
                family=family or 0,
                policy=chain.get("policy", "accept"),
            )
        elif (rule := item.get("rule")) and (into := found.get(_nft_key(rule, rule["chain"]))):
            into.rules.append(_nft_rule(rule))
    return found


def _nft_key(item: dict[str, Any], name: str) -> str:
    return f"{item['family']}/{item['table']}/{name}"


def _nft_rule(rule: dict[str, Any]) -> Rule:
    tests: list[Test] = []
    verdict = target = ""
    for expression in rule.get("expr", []):
        for name, value in expression.items():
            match name:
                case "match":
                    tests += _nft_test(value)
                case "accept" | "drop" | "return":
                    verdict = name
                case "reject":
                    verdict = "drop"
                case "jump" | "goto":
                    verdict, target = name, _nft_key(rule, value["target"])
                case "queue":
                    verdict = "accept"
                    tests.append(Test(name="queue"))
                case "counter" | "log" | "comment" | "mangle" | "notrack":
                    pass
                case "vmap":
                    verdict = "accept"
                    tests.append(Test(name="vmap"))
                case _:
                    tests.append(Test(name=name))
    words = " ".join(_nft_words(expression) for expression in rule.get("expr", []))
    return Rule(tests=tuple(tests), verdict=verdict, target=target, text=words[:160])


def _nft_words(expression: dict[str, Any]) -> str:
    (name, value), *_ = expression.items()
    if name != "match":
        return f"{name} {value['target']}" if name in ("jump", "goto") else name
    left = value["left"]
    parts = [str(word) for part in left.values() for word in part.values()] if isinstance(left, dict) else []
    operator = [] if value["op"] in ("==", "in") else [value["op"]]
    return " ".join([*parts, *operator, _nft_value_text(value["right"])])


def _nft_value_text(value: Any) -> str:
    if isinstance(value, dict):
        if "set" in value:
            return "{ " + ", ".join(map(_nft_value_text, value["set"])) + " }"
        if "prefix" in value:
            return f"{value['prefix']['addr']}/{value['prefix']['len']}"
        if "range" in value:
            return "-".join(map(str, value["range"]))
    if isinstance(value, list):
        return ",".join(map(_nft_value_text, value))
    return str(value)


def _nft_test(match: dict[str, Any]) -> list[Test]:
    """One test; two where naming a port names the protocol as well."""
    left, negated = match["left"], match["op"] == "!="
    unknown = [Test(name="unknown")]
    if match["op"] not in ("==", "in", "!=") or not isinstance(left, dict):
        return unknown
    extra: list[Test] = []
    if payload := left.get("payload"):
        protocol, name = payload.get("protocol"), payload.get("field")
        names = {"saddr": "source", "daddr": "destination", "protocol": "protocol", "nexthdr": "protocol"}
        kind = names.get(name, "") if protocol in ("ip", "ip6") else ""
        if name == "dport" and protocol in ("tcp", "udp", "sctp", "th"):
            kind = "port"
        if protocol in _PROTOCOLS:
            number = _PROTOCOLS[protocol]
            extra = [Test(name="protocol", values=((number, number),))]
    elif meta := left.get("meta"):
        names = {"l4proto": "protocol", "iifname": "interface", "iif": "interface"}
        kind = names.get(meta.get("key", ""), "")
    elif ct := left.get("ct"):
        kind = "state" if ct.get("key") == "state" else ""
    else:
        kind = ""
    if not kind:
        return [*extra, *unknown]
    try:
        values = tuple(_nft_values(kind, match["right"]))
    except (ValueError, KeyError, TypeError):
        return [*extra, *unknown]
    return [*extra, Test(name=kind, values=values, negated=negated)]


def _nft_values(kind: str, right: Any) -> Iterator[Network | tuple[int, int] | str]:
    for value in right["set"] if isinstance(right, dict) and "set" in right else _listed(right):
        if kind in ("interface", "state"):
            if not isinstance(value, str) or value.endswith("*"):
                raise ValueError(value)
            yield value
        elif kind in ("source", "destination"):
            if isinstance(value, dict) and "prefix" in value:
                yield ip_network(f"{value['prefix']['addr']}/{value['prefix']['len']}", strict=False)
            else:
                yield ip_network(value)
        elif isinstance(value, dict):
            low, high = value["range"]
            yield int(low), int(high)
        else:
            number = _PROTOCOLS[value] if kind == "protocol" and isinstance(value, str) else int(value)
            yield number, number


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# --- iptables -----------------------------------------------------------------------------------------


def parse_iptables(text: str, family: int) -> Ruleset:
    """The filter table of ``iptables-save`` (``ip6tables-save``)."""
    found: Ruleset = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":") and table == "filter":
            name, policy, *_ = line[1:].split()
            hook = {"INPUT": "input", "FORWARD": "forward", "OUTPUT": "output"}.get(name, "")
            found[f"ipt{family}/{name}"] = Chain(
                name=f"{'iptables' if family == 4 else 'ip6tables'} {name}",
                hook=hook,
                family=family,
                policy=policy.lower() if policy != "-" else "accept",
            )
        elif line.startswith("-A ") and table == "filter":
            _, name, *words = shlex.split(line)
            if chain := found.get(f"ipt{family}/{name}"):
                chain.rules.append(_iptables_rule(words, family, " ".join(words)))
    return found


_SILENT_MODULES: Final = {"tcp", "udp", "comment", "conntrack", "state", "multiport", "sctp"}


def _iptables_rule(words: list[str], family: int, text: str) -> Rule:
    tests: list[Test] = []
    verdict = target = ""
    negated = False
    rest = iter(words)
    for word in rest:
        if word == "!":
            negated = True
            continue
        match word:
            case "-p" | "--protocol":
                name = next(rest, "")
                number = _PROTOCOLS.get(name, int(name) if name.isdigit() else -1)
                values: tuple[Network | tuple[int, int] | str, ...] = ((number, number),)
                tests.append(
                    Test(name="protocol" if number >= 0 else "unknown", values=values, negated=negated)
                )
            case "-s" | "-d":
                network = ip_network(next(rest, ""), strict=False)
                name = "source" if word == "-s" else "destination"
                tests.append(Test(name=name, values=(network,), negated=negated))
            case "-i":
                device = next(rest, "")
                known = "unknown" if device.endswith("+") else "interface"
                tests.append(Test(name=known, values=(device,), negated=negated))
            case "--dport" | "--dports" | "--destination-port" | "--destination-ports":
                tests.append(Test(name="port", values=tuple(_ports(next(rest, ""))), negated=negated))
            case "--ctstate" | "--state":
                tests.append(
                    Test(name="state", values=tuple(next(rest, "").lower().split(",")), negated=negated)
                )
            case "-m":
                if next(rest, "") not in _SILENT_MODULES:
                    tests.append(Test(name="unknown"))
            case "--comment":
                next(rest, "")
            case "-j" | "-g":
                target = next(rest, "")
                verdict = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "drop", "RETURN": "return"}.get(
                    target, "jump" if word == "-j" else "goto"
                )
                if target in ("LOG", "MARK", "CONNMARK", "NFLOG", "TCPMSS", "TRACE", "SET"):
                    verdict = ""
                break  # what follows belongs to the target
            case _:
                tests.append(Test(name="unknown"))
        negated = False
    return Rule(tests=tuple(tests), verdict=verdict, target=f"ipt{family}/{target}", text=text[:160])


def _ports(text: str) -> Iterable[tuple[int, int]]:
    for part in text.split(","):
        low, _, high = part.partition(":")
        yield int(low or 0), int(high or (low if ":" not in part else 65535))
