"""Routes and policy rules that a MASTER has and nobody else: they move with its addresses.

They are added after the addresses, whose source they may name, and removed before them.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from lvsha.core.addr import Address

Network = IPv4Network | IPv6Network
MAIN_TABLE = 254


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSettings:
    """``ip route add TO via VIA dev INTERFACE src SOURCE table TABLE metric METRIC``."""

    to: Network
    via: Address | None = None
    interface: str
    source: Address | None = None
    table: int = MAIN_TABLE
    metric: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSettings:
    """``ip rule add from SOURCE to TO fwmark FWMARK table TABLE priority PRIORITY``."""

    family: int
    source: Network | None = None
    to: Network | None = None
    fwmark: int | None = None
    table: int
    priority: int
    """Of two rules the one of the lower number is asked first."""
