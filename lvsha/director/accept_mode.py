"""Accept_Mode of RFC 9568 section 6.1 as rules: who does not own an address takes nothing that is sent to it.

What IPVS forwards it must still get. IPVS looks at packets to local addresses at priorities 98
and 99 of that hook (``ip_vs_core.c``: NF_IP_PRI_NAT_SRC - 2 and - 1) and keeps what belongs to a
service; our chain comes after it, at 110, and sees the rest. Neighbour discovery is not data: the
MASTER answers it. ARP never comes there. The rules do not follow the role: who does not hold an
address gets no packet to it in that hook anyway.
"""

from collections.abc import Iterable

from lvsha.vrrp.settings import RouterSettings

TABLE = "inet lvsha_accept"
PRIORITY = 110
"""After IPVS."""


def accept_rules(routers: Iterable[RouterSettings]) -> str:
    """Input for ``nft -f`` that replaces our table; empty when nobody needs it."""
    prefixes = [
        prefix
        for router in routers
        if not router.accept and not router.is_owner
        for prefix in router.bound_addresses
    ]
    if not prefixes:
        return ""
    lines = [
        removal().rstrip(),
        f"table {TABLE} {{",
        "  chain input {",
        f"    type filter hook input priority {PRIORITY}; policy accept;",
        "    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
    ]
    for version, keyword in ((4, "ip"), (6, "ip6")):
        listed = sorted({prefix.ip for prefix in prefixes if prefix.version == version}, key=int)
        if listed:
            lines.append(f"    {keyword} daddr {{ {', '.join(map(str, listed))} }} drop")
    return "\n".join([*lines, "  }", "}", ""])


def removal() -> str:
    """Input for ``nft -f`` that removes it."""
    # Declared before it is deleted: deleting what is not there would fail.
    return f"table {TABLE} {{}}\ndelete table {TABLE}\n"
