"""Grace for connections that the director does not know *yet*.

A packet of an established connection that meets no IPVS row goes to the
director's own TCP, which has no such connection either and resets it. Twice
that is wrong, because the row is about to be there:

* somebody cleared the IPVS table by hand, and it is put back within half a second;
* just after a takeover, the packet overtook the datagram that carries its row.

So the first reset of a flow from a virtual address is held back, and all that
follow within the grace. The client retransmits (after 200 ms, 400 ms ...), and
by then the row is there. After the grace resets pass, and a connection that
really is lost is told so, two seconds later than before.

The rules are nftables text: one table of our own, ``inet lvsha``, that touches
nothing but locally made TCP resets from (virtual address, service port). The
sets of flows are bounded; when one is full, resets are merely held back longer.

iptables, for a kernel whose nf_tables lacks IPv4 and IPv6, cannot hold back for
a time, only a number of resets of a flow: as many as a client's retransmissions
make in a few seconds.
"""

from collections.abc import Iterable

from lvsha.core.addr import Address
from lvsha.core.instant import SECOND
from lvsha.ipvs.model import DesiredTable, Protocol

TABLE = "inet lvsha"
CHAIN = "LVSHA-GRACE"
JUMP = ("OUTPUT", "-p", "tcp", "--tcp-flags", "RST", "RST", "-j", CHAIN)
_LEGACY_RESETS = 8
"""Of one flow. A client of a lost connection that has one segment to send retransmits it 0.2, 0.6, 1.4 ...
25 s later; the ninth time it is told."""
FLOWS_MAX = 65536
"""Flows remembered per family; 8 MB when full."""
_MEMORY_S = 60
"""How long a flow that had its grace is remembered: it does not get another."""

Endpoint = tuple[Address, int]


def guarded_endpoints(table: DesiredTable) -> tuple[Endpoint, ...]:
    """TCP services by address. A firewall mark names no address to guard, nor does a loopback one need it."""
    found = [
        (key.address, key.port)
        for key in table
        if key.address is not None
        and key.protocol == Protocol.TCP
        and key.port
        and not key.address.is_loopback
    ]
    return tuple(sorted(found, key=lambda endpoint: (endpoint[0].version, int(endpoint[0]), endpoint[1])))


def _family(version: int, endpoints: Iterable[Endpoint], grace: int) -> list[str]:
    keyword, kind = ("ip", "ipv4_addr") if version == 4 else ("ip6", "ipv6_addr")
    grace_s = max(1, round(grace / SECOND))
    elements = ", ".join(f"{address} . {port}" for address, port in endpoints)
    flow = f"{keyword} daddr . tcp dport"
    held = f"set held{version} {{ type {kind} . inet_service; flags dynamic,timeout;"
    had = f"set had_grace{version} {{ type {kind} . inet_service; flags dynamic,timeout;"
    return [
        f"  set services{version} {{ type {kind} . inet_service; elements = {{ {elements} }} }}",
        f"  {held} timeout {grace_s}s; size {FLOWS_MAX}; }}",
        f"  {had} timeout {_MEMORY_S}s; size {FLOWS_MAX}; }}",
        f"  chain grace{version} {{",
        f"    {flow} @held{version} drop",
        f"    {flow} @had_grace{version} accept",
        f"    add @had_grace{version} {{ {flow} }}",
        f"    add @held{version} {{ {flow} }}",
        "    drop",
        "  }",
    ]


def legacy_rules(endpoints: tuple[Endpoint, ...]) -> str:
    """Input for ``iptables-restore --noflush``: replaces our chain, to which ``JUMP`` leads.

    Args:
        endpoints: of one IP version.
    """
    lines = ["*filter", f":{CHAIN} - [0:0]"]
    for address, port in endpoints:
        lines.append(
            f"-A {CHAIN} -p tcp -s {address} --sport {port} -m hashlimit --hashlimit-upto 4/minute "
            f"--hashlimit-burst {_LEGACY_RESETS} --hashlimit-mode srcip,srcport,dstip,dstport "
            f"--hashlimit-htable-max {FLOWS_MAX} --hashlimit-name {CHAIN} -j DROP"
        )
    return "\n".join([*lines, "COMMIT", ""])


def ruleset(endpoints: tuple[Endpoint, ...], grace: int) -> str:
    """Input for ``nft -f``: replaces our table in one transaction; empty sets need no table.

    Args:
        endpoints: (virtual address, port) of each TCP service.
        grace: nanoseconds; whole seconds count.
    """
    # Declared before it is deleted: deleting what is not there would fail.
    lines = [f"table {TABLE} {{}}", f"delete table {TABLE}"]
    if endpoints and grace:
        versions = sorted({address.version for address, _ in endpoints})
        lines.append(f"table {TABLE} {{")
        for version in versions:
            lines += _family(version, (one for one in endpoints if one[0].version == version), grace)
        lines.append("  chain resets {")
        lines.append("    type filter hook output priority 0; policy accept;")
        for version in versions:
            keyword = "ip" if version == 4 else "ip6"
            lines.append(
                f"    tcp flags & rst == rst {keyword} saddr . tcp sport @services{version} "
                f"jump grace{version}"
            )
        lines += ["  }", "}"]
    return "\n".join(lines) + "\n"
