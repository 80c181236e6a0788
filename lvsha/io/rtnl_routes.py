"""Routes and policy rules that move with virtual addresses: added and removed in batches.

As with addresses, what is there already was added and what is not there was removed.
All carry ``PROTOCOL``: ``ip route show proto 112`` lists ours and no others.
"""

import errno
from _socket import if_nametoindex
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct

from lvsha.core.addr import AF_INET, AF_INET6, Address
from lvsha.core.errors import KernelError
from lvsha.io.netlink import ROUTE, NetlinkError, NetlinkSocket
from lvsha.vrrp.routes import Network, RouteSettings, RuleSettings
from lvsha.wire.netlink import CREATE, EXCL, REPLACE, attribute, attribute_map

PROTOCOL = 112
"""Who made a route: VRRP's number, and none of those that /etc/iproute2/rt_protos knows."""

_NEWROUTE, _DELROUTE, _GETROUTE, _NEWRULE, _DELRULE = 24, 25, 26, 32, 33
_ANYWHERE: dict[int, Address] = {4: IPv4Address("198.51.100.1"), 6: IPv6Address("2001:db8:ffff::1")}
"""Not on any network: RFC 5737, RFC 3849."""
_RTMSG = Struct("=BBBBBBBBI")
_U32 = Struct("=I")
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 5, 6, 7, 15
_FRA_DST, _FRA_SRC, _FRA_PRIORITY, _FRA_FWMARK, _FRA_TABLE, _FRA_PROTOCOL = 1, 2, 6, 10, 15, 21
_UNICAST, _TO_TABLE = 1, 1
_SCOPE_GLOBAL, _SCOPE_LINK, _SCOPE_NOWHERE = 0, 253, 255

_GONE = (errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EADDRNOTAVAIL)


def encode_route(route: RouteSettings, index: int, *, removing: bool = False) -> bytes:
    """The payload of RTM_NEWROUTE, or of RTM_DELROUTE, which matches any scope."""
    family, prefix = _family(route.to)
    scope = _SCOPE_GLOBAL if route.via is not None or family == AF_INET6 else _SCOPE_LINK
    if removing:
        scope = _SCOPE_NOWHERE
    head = _RTMSG.pack(family, prefix, 0, 0, min(route.table, 252), PROTOCOL, scope, _UNICAST, 0)
    parts = [head, attribute(_RTA_OIF, _U32.pack(index)), attribute(_RTA_TABLE, _U32.pack(route.table))]
    if prefix:
        parts.append(attribute(_RTA_DST, route.to.network_address.packed))
    if route.via is not None:
        parts.append(attribute(_RTA_GATEWAY, route.via.packed))
    if route.source is not None:
        parts.append(attribute(_RTA_PREFSRC, route.source.packed))
    if route.metric is not None:
        parts.append(attribute(_RTA_PRIORITY, _U32.pack(route.metric)))
    return b"".join(parts)


def encode_rule(rule: RuleSettings) -> bytes:
    """The payload of RTM_NEWRULE and RTM_DELRULE."""
    family = AF_INET if rule.family == 4 else AF_INET6
    to, source = _prefix(rule.to), _prefix(rule.source)
    head = _RTMSG.pack(family, to, source, 0, min(rule.table, 252), 0, 0, _TO_TABLE, 0)
    parts = [
        head,
        attribute(_FRA_TABLE, _U32.pack(rule.table)),
        attribute(_FRA_PRIORITY, _U32.pack(rule.priority)),
        attribute(_FRA_PROTOCOL, bytes((PROTOCOL,))),
    ]
    if rule.to is not None and to:
        parts.append(attribute(_FRA_DST, rule.to.network_address.packed))
    if rule.source is not None and source:
        parts.append(attribute(_FRA_SRC, rule.source.network_address.packed))
    if rule.fwmark is not None:
        parts.append(attribute(_FRA_FWMARK, _U32.pack(rule.fwmark)))
    return b"".join(parts)


def _family(network: Network) -> tuple[int, int]:
    return (AF_INET if network.version == 4 else AF_INET6), network.prefixlen


def _prefix(network: Network | None) -> int:
    return 0 if network is None else network.prefixlen


class PolicySocket:
    """Adds and removes them, in the network namespace in which it was made."""

    def __init__(self) -> None:
        self._netlink = NetlinkSocket(ROUTE)

    def close(self) -> None:
        self._netlink.close()

    def add(self, routes: Iterable[RouteSettings], rules: Iterable[RuleSettings]) -> list[KernelError]:
        """What failed; the rest is there. Raises: KernelError, nobody knows what was done."""
        found = [
            (f"add a route to {route.to}", _NEWROUTE, CREATE | REPLACE, encode_route(route, _index(route)))
            for route in routes
        ]
        found += [(f"add rule {rule.priority}", _NEWRULE, CREATE | EXCL, encode_rule(rule)) for rule in rules]
        return self._do(found, forgiven=(errno.EEXIST,))

    def remove(self, routes: Iterable[RouteSettings], rules: Iterable[RuleSettings]) -> list[KernelError]:
        """What failed; the rest is gone. Raises: KernelError, nobody knows what was done."""
        found = [
            (f"remove a route to {route.to}", _DELROUTE, 0, encode_route(route, index, removing=True))
            for route in routes
            if (index := _index(route))
        ]
        found += [(f"remove rule {rule.priority}", _DELRULE, 0, encode_rule(rule)) for rule in rules]
        return self._do(found, forgiven=_GONE)

    def gateway(self, interface: str, family: int) -> Address | None:
        """Of ``interface``, where packets to the rest of the world go through it; one question."""
        anywhere = _ANYWHERE[family]
        packed = anywhere.packed
        head = _RTMSG.pack(AF_INET if family == 4 else AF_INET6, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
        try:
            buffer, start, end = self._netlink.ask(_GETROUTE, head + attribute(_RTA_DST, packed))
        except NetlinkError:
            return None  # there is no such route
        found = attribute_map(buffer, start + _RTMSG.size, end)
        via = found.get(_RTA_GATEWAY)
        out = found.get(_RTA_OIF, b"")
        try:
            index = if_nametoindex(interface)
        except OSError:
            return None
        if via is None or len(via) != len(packed) or out != _U32.pack(index):
            return None
        return ip_address(via)

    def _do(
        self, requests: list[tuple[str, int, int, bytes]], *, forgiven: tuple[int, ...]
    ) -> list[KernelError]:
        try:
            answers = self._netlink.batch([request[1:] for request in requests])
        except NetlinkError as error:
            raise KernelError(f"change {len(requests)} routes and rules", error.errno, error.text) from None
        return [
            KernelError(requests[place][0], code, text)
            for place, code, text in answers
            if code not in forgiven
        ]


def _index(route: RouteSettings) -> int:
    """0: there is no such interface, and the kernel will say so."""
    try:
        return if_nametoindex(route.interface)
    except OSError:
        return 0
