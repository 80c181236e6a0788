"""Rules for addresses that are not to be accepted."""

from lvsha.director.accept_mode import accept_rules
from tests.vrrp.routers import VIPS6, settings


def test_nobody_needs_rules_by_default() -> None:
    assert accept_rules([settings()]) == ""


def test_an_owner_takes_packets_to_its_address_whatever_is_set() -> None:
    assert accept_rules([settings(accept=False, priority=255, preempts=True)]) == ""


def test_every_address_of_both_families_is_dropped_after_ipvs_and_neighbours_are_answered() -> None:
    four = settings(accept=False)
    six = settings(name="six", family=6, addresses=VIPS6, accept=False)
    open_to_all = settings(name="open", vrid=9)

    lines = [line.strip() for line in accept_rules([four, six, open_to_all]).splitlines()]

    assert lines[:2] == ["table inet lvsha_accept {}", "delete table inet lvsha_accept"]
    assert "type filter hook input priority 110; policy accept;" in lines
    ours = ", ".join(str(ip) for ip in sorted({prefix.ip for prefix in four.bound_addresses}))
    assert lines.index("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept") < lines.index(
        f"ip daddr {{ {ours} }} drop"
    )
    assert sum(line.startswith("ip6 daddr") for line in lines) == 1
