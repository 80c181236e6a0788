"""Packets through rules: dropped, let through, or not to be told."""

import json
from ipaddress import IPv4Address
from typing import Any

import pytest

from lvsha.doctor.firewall import Packet, find_drop, parse_iptables, parse_nft

WEB = Packet(
    protocol=6,
    destination=IPv4Address("10.0.0.10"),
    source=IPv4Address("10.0.0.100"),
    port=80,
    interface="eth0",
)
ADVERT = Packet(protocol=112, destination=IPv4Address("224.0.0.18"), interface="eth0")

_FILTER = """*filter
:INPUT {policy} [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:web - [0:0]
{rules}
COMMIT
"""


def iptables(*rules: str, policy: str = "ACCEPT") -> str:
    return _FILTER.format(policy=policy, rules="\n".join(rules))


@pytest.mark.parametrize(
    ("rules", "policy", "is_dropped"),
    [
        (("-A INPUT -p tcp -m tcp --dport 80 -j DROP",), "ACCEPT", True),
        (("-A INPUT -p tcp -m tcp --dport 81 -j DROP",), "ACCEPT", False),
        (("-A INPUT ! -i lo -j REJECT --reject-with icmp-port-unreachable",), "ACCEPT", True),
        (("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT",), "DROP", True),
        (("-A INPUT -p tcp -m multiport --dports 22,80:90 -j ACCEPT",), "DROP", False),
        (("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",), "DROP", True),
        (("-A INPUT -m conntrack --ctstate NEW -j ACCEPT",), "DROP", False),
        (("-A INPUT -j web", "-A web -s 10.0.0.0/24 -j ACCEPT"), "DROP", False),
        (("-A INPUT -j web", "-A web -s 10.9.0.0/24 -j ACCEPT"), "DROP", True),
        (("-A INPUT -j web", "-A web -j RETURN", "-A web -j ACCEPT"), "DROP", True),
        (("-A INPUT -m limit --limit 5/sec -j ACCEPT",), "DROP", False),  # it may let it through
        (("-A INPUT -m limit --limit 5/sec -j DROP",), "ACCEPT", False),
        (("-A INPUT -m limit --limit 5/sec -j DROP",), "DROP", True),  # either way
        (('-A INPUT -m comment --comment "-j DROP" -j ACCEPT',), "DROP", False),
        (("-A INPUT -j LOG --log-prefix DROP",), "ACCEPT", False),
    ],
)
def test_iptables(rules: tuple[str, ...], policy: str, is_dropped: bool) -> None:
    found = find_drop(parse_iptables(iptables(*rules, policy=policy), 4), "input", WEB)

    assert (found is not None) is is_dropped


def nft(*rules: list[dict[str, Any]], policy: str = "accept", family: str = "inet") -> str:
    place = {"family": family, "table": "filter"}
    chain = {"chain": {**place, "name": "input", "hook": "input", "prio": 0, "policy": policy}}
    made = [{"rule": {**place, "chain": "input", "expr": rule}} for rule in rules]
    return json.dumps({"nftables": [{"metainfo": {}}, chain, *made]})


def match(left: dict[str, Any], right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


DPORT = {"payload": {"protocol": "tcp", "field": "dport"}}
DADDR = {"payload": {"protocol": "ip", "field": "daddr"}}


@pytest.mark.parametrize(
    ("rules", "policy", "is_dropped"),
    [
        (
            ([match(DPORT, {"set": [22, {"range": [80, 90]}]}), {"counter": {}}, {"drop": None}],),
            "accept",
            True,
        ),
        (([match(DPORT, 80, "!="), {"drop": None}],), "accept", False),
        (([match(DADDR, {"prefix": {"addr": "10.0.0.0", "len": 24}}), {"accept": None}],), "drop", False),
        (
            ([match({"ct": {"key": "state"}}, ["established", "related"], "in"), {"accept": None}],),
            "drop",
            True,
        ),
        (([match({"meta": {"key": "iifname"}}, "eth1"), {"accept": None}],), "drop", True),
        (([match(DPORT, "@open_ports"), {"accept": None}],), "drop", False),  # a set that is not known
        (([{"reject": {}}],), "accept", True),
    ],
)
def test_nftables(rules: tuple[list[dict[str, Any]], ...], policy: str, is_dropped: bool) -> None:
    found = find_drop(parse_nft(nft(*rules, policy=policy)), "input", WEB)

    assert (found is not None) is is_dropped


def test_a_rule_for_tcp_does_not_drop_an_advert() -> None:
    rules = parse_nft(nft([match(DPORT, 80), {"drop": None}]))

    assert find_drop(rules, "input", ADVERT) is None


def test_a_protocol_by_its_name() -> None:
    protocol = {"payload": {"protocol": "ip", "field": "protocol"}}
    rules = parse_nft(nft([match(protocol, "vrrp"), {"accept": None}], policy="drop"))

    assert find_drop(rules, "input", ADVERT) is None
    assert "policy of chain" in str(find_drop(rules, "input", WEB))


def test_rules_of_the_other_family_do_not_count() -> None:
    assert find_drop(parse_nft(nft(policy="drop", family="ip6")), "input", WEB) is None


def test_the_rule_is_named() -> None:
    rules = parse_iptables(iptables("-A INPUT -p tcp -m tcp --dport 80 -j DROP"), 4)

    assert str(find_drop(rules, "input", WEB)) == (
        "TCP to 10.0.0.10 port 80 from 10.0.0.100 is dropped by"
        " rule `-p tcp -m tcp --dport 80 -j DROP` of chain iptables INPUT"
    )
