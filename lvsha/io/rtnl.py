"""Interfaces and addresses: lists, batches of changes, notifications.

Only what a director does while time counts is here: 500 virtual addresses come
or go with two system calls. Links, tunnels, routes and rules are made by
pyroute2 elsewhere.

Changes are idempotent: an address that is there already was added, one that is
not there was removed, and neither is an error.
"""

import errno
from _socket import if_nametoindex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from struct import Struct
from types import TracebackType

from lvsha.core.addr import AF_INET, AF_INET6
from lvsha.core.errors import DecodeError, DropReason, KernelError
from lvsha.io.netlink import DEADLINE_S, ROUTE, AnswersLost, NetlinkError, NetlinkSocket
from lvsha.wire.netlink import (
    CREATE,
    EXCL,
    REPLACE,
    Layouts,
    attribute,
    attribute_map,
    attributes,
    messages,
)

Prefix = IPv4Interface | IPv6Interface
"""An address with the length of its network's prefix."""

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_GROUP_LINK, _GROUP_IPV4_ADDRESS, _GROUP_IPV6_ADDRESS = 1, 5, 9

_IFINFO = Struct("=BxHiII")
_IFADDR = Struct("=BBBBI")
_CACHEINFO = Struct("=IIII")
_CACHEINFO_HEADER = Struct("=HH").pack(4 + _CACHEINFO.size, 6)
_U32 = Struct("=I")

_IFF_UP, _IFF_LOWER_UP = 0x1, 0x10000
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_LINKINFO = 1, 3, 4, 5, 18
_IFLA_INFO_KIND = 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO, _IFA_FLAGS = 1, 2, 6, 8

_SECONDARY = 0x001
_NODAD = 0x002
_DADFAILED = 0x008
_TENTATIVE = 0x040
_NOPREFIXROUTE = 0x200
FOREVER_S = 0xFFFFFFFF
"""A life time without an end."""

_READ_AT_ONCE = 256
_TOLD_MAX = 16384
"""Addresses whose last message is remembered; then it begins anew."""

NO_CAPABILITY = "needs CAP_NET_ADMIN: run as root, or give the unit AmbientCapabilities=CAP_NET_ADMIN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A network interface."""

    name: str
    index: int
    mac: bytes
    """Empty where there is none (a tunnel)."""
    up: bool
    """Set up by the administrator."""
    carrier: bool
    """And connected: an interface works if both are true."""
    mtu: int
    kind: str = ""
    """``macvlan``, ``bridge``, ... ; empty: a device of its own."""
    parent: int = 0
    """The index of the interface that it stands on; 0: on none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceAddress:
    """An address on an interface."""

    index: int
    prefix: Prefix
    is_primary: bool = True
    """IPv4: the first of its subnet, whose removal removes the others unless
    ``promote_secondaries`` is 1. IPv6: not a temporary one."""
    is_tentative: bool = False
    """IPv6: duplicate address detection runs: nothing may be sent from it yet."""
    is_duplicate: bool = False
    """IPv6: another host has it, says duplicate address detection: it is not in use."""
    valid_s: int | None = None
    """Seconds until the kernel removes it; None: never."""


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """An interface came, or something about it changed."""

    link: Link


@dataclass(frozen=True, slots=True)
class LinkRemoved:
    """An interface is gone, and its addresses with it."""

    link: Link


@dataclass(frozen=True, slots=True)
class AddressAdded:
    """An address came, or its flags or life time changed."""

    address: InterfaceAddress


@dataclass(frozen=True, slots=True)
class AddressRemoved:
    """An address is gone."""

    address: InterfaceAddress


@dataclass(frozen=True, slots=True)
class NotificationsLost:
    """More happened than the buffer holds: list links and addresses again."""


RouteEvent = LinkChanged | LinkRemoved | AddressAdded | AddressRemoved | NotificationsLost


def _check(header: Struct, start: int, end: int) -> None:
    if end - start < header.size:
        raise DecodeError(DropReason.TRUNCATED, f"{end - start} bytes of a route message")


def decode_link(buffer: bytes, start: int, end: int) -> Link | None:
    """The payload of a link message; None: it tells only what a bridge or IPv6 thinks of the link.

    Raises:
        DecodeError: ``TRUNCATED``.
    """
    _check(_IFINFO, start, end)
    family, _kind, index, flags, _change = _IFINFO.unpack_from(buffer, start)
    if family != 0:  # a port that leaves its bridge is "removed" in AF_BRIDGE
        return None
    found = attribute_map(buffer, start + _IFINFO.size, end)
    mtu, parent, info = (found.get(each, b"") for each in (_IFLA_MTU, _IFLA_LINK, _IFLA_LINKINFO))
    kind = attribute_map(info, 0, len(info)).get(_IFLA_INFO_KIND, b"") if info else b""
    return Link(
        name=found.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"),
        index=index,
        mac=found.get(_IFLA_ADDRESS, b""),
        up=bool(flags & _IFF_UP),
        carrier=bool(flags & _IFF_LOWER_UP),
        mtu=_U32.unpack(mtu)[0] if len(mtu) == 4 else 0,
        kind=kind.rstrip(b"\0").decode(errors="replace"),
        parent=_U32.unpack(parent)[0] if len(parent) == 4 else 0,
    )


class AddressDecoder:
    """Payloads of address messages to records; fast for the second of a shape."""

    def __init__(self) -> None:
        # A point-to-point address has the peer in ADDRESS; ours is LOCAL wherever there is one.
        self._layouts = Layouts(
            [
                ((("s", (_IFA_LOCAL,)), ("s", (_IFA_ADDRESS,))), b""),
                ((("I", (_IFA_FLAGS,)),), None),
                ((("s", (_IFA_CACHEINFO,)),), b""),
            ],
            skip=_IFADDR.size,
        )

    def decode(self, buffer: bytes, start: int, end: int) -> InterfaceAddress | None:
        """None: of a family that has no addresses of ours.

        Raises:
            DecodeError: ``TRUNCATED``.
        """
        _check(_IFADDR, start, end)
        family, length, short_flags, _scope, index = _IFADDR.unpack_from(buffer, start)
        packed, flags, cacheinfo = self._layouts.read(buffer, start, end)
        assert isinstance(packed, bytes), "its leaf is bytes"
        assert isinstance(cacheinfo, bytes), "its leaf is bytes"
        if not isinstance(flags, int):  # absent: an old kernel, or few flags
            flags = int(short_flags)
        prefix: Prefix
        if family == AF_INET and len(packed) == 4:
            prefix = IPv4Interface((packed, length))
        elif family == AF_INET6 and len(packed) == 16:
            prefix = IPv6Interface((packed, length))
        else:
            return None
        valid = _CACHEINFO.unpack(cacheinfo)[1] if len(cacheinfo) == _CACHEINFO.size else FOREVER_S
        return InterfaceAddress(
            index=index,
            prefix=prefix,
            is_primary=not flags & _SECONDARY,
            is_tentative=bool(flags & _TENTATIVE),
            is_duplicate=bool(flags & _DADFAILED),
            valid_s=None if valid == FOREVER_S else valid,
        )


def encode_address(
    index: int,
    prefix: Prefix,
    *,
    nodad: bool = False,
    noprefixroute: bool = False,
    valid_s: int | None = None,
    deprecated: bool = False,
) -> bytes:
    """The payload that adds or removes an address; ``deprecated``: no connection of ours starts from it."""
    packed = prefix.ip.packed
    family = AF_INET if prefix.version == 4 else AF_INET6
    flags = 0
    if nodad and family == AF_INET6:
        flags |= _NODAD
    if noprefixroute:
        flags |= _NOPREFIXROUTE
    # The interface's own loopback addresses are of host scope, as `ip address` would have it.
    scope = 254 if family == AF_INET and prefix.ip.is_loopback else 0
    parts = [
        _IFADDR.pack(family, prefix.network.prefixlen, flags & 0xFF, scope, index),
        attribute(_IFA_LOCAL, packed),
        attribute(_IFA_ADDRESS, packed),
    ]
    if flags & ~0xFF:
        parts.append(attribute(_IFA_FLAGS, _U32.pack(flags)))
    if valid_s is not None or deprecated:
        valid = FOREVER_S if valid_s is None else valid_s
        parts.append(attribute(_IFA_CACHEINFO, _CACHEINFO.pack(0 if deprecated else valid, valid, 0, 0)))
    return b"".join(parts)


Item = tuple[str, Prefix]
"""An interface's name and an address on it."""


class RouteSocket:
    """Links and addresses of the network namespace in which it was made.

    Calls block for microseconds as a rule and for ``deadline_s`` at most. A
    KernelError of ENOBUFS or ETIMEDOUT means that nobody knows what was done:
    list, and compare.
    """

    def __init__(self, *, deadline_s: float = DEADLINE_S, netlink: NetlinkSocket | None = None) -> None:
        self._netlink = netlink or NetlinkSocket(ROUTE, deadline_s=deadline_s)
        self._netlink.check_strictly()
        self._decoder = AddressDecoder()
        self._form: tuple[object, ...] = ()
        self._encoded: dict[tuple[int, Prefix], bytes] = {}
        """Additions of that form: a lease is renewed with the same bytes for years."""

    def close(self) -> None:
        self._netlink.close()

    def __enter__(self) -> "RouteSocket":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def links(self) -> dict[int, Link]:
        """All interfaces by index."""
        try:
            answers = self._netlink.dump(_GETLINK, _IFINFO.pack(0, 0, 0, 0, 0))
        except NetlinkError as error:
            raise KernelError("list interfaces", error.errno, error.text) from None
        links = [decode_link(*answer) for answer in answers]
        return {link.index: link for link in links if link is not None}

    def link(self, name: str) -> Link:
        """The interface of a name.

        Raises:
            KernelError: ENODEV, with a guess at which one was meant.
        """
        links = self.links()
        for link in links.values():
            if link.name == name:
                return link
        raise KernelError(f"find interface {name}", errno.ENODEV, self._no_interface(name))

    def addresses(self, index: int = 0) -> list[InterfaceAddress]:
        """All addresses, or those of one interface (by the kernel's own filter, since Linux 4.20)."""
        try:
            answers = self._netlink.dump(_GETADDR, _IFADDR.pack(0, 0, 0, 0, index))
        except NetlinkError as error:
            raise KernelError("list addresses", error.errno, error.text) from None
        decode = self._decoder.decode
        found = [decode(*answer) for answer in answers]
        return [address for address in found if address is not None and index in (0, address.index)]

    def add_addresses(
        self,
        items: Iterable[Item],
        *,
        nodad: bool = True,
        noprefixroute: bool = False,
        valid_s: int | None = None,
    ) -> list[tuple[Item, KernelError]]:
        """Add all; a failure does not stop the following ones.

        IPv6 addresses come deprecated. Else the kernel prefers a /128 to the interface's own address as
        the source of our health checks (RFC 6724 rule 8), and in DR mode the answers go to the realserver
        itself, which has that address too. For IPv4 a later address is not preferred.

        Args:
            nodad: IPv6: use it at once, without a second of asking whether another host has it.
            noprefixroute: no route to its network comes with it; a link-local address needs its own.
            valid_s: a lease: the kernel removes the address by itself after so many
                seconds, unless it is added again before; ``FOREVER_S`` ends a lease. None:
                an address that is there already keeps what it has.

        Returns:
            What failed, and why; an address that is there already did not.

        Raises:
            KernelError: ENOBUFS or ETIMEDOUT, nobody knows what was done.
        """
        flags = CREATE | (EXCL if valid_s is None else REPLACE)

        form = (nodad, noprefixroute, valid_s)
        if form != self._form or len(self._encoded) >= _TOLD_MAX:
            self._form = form
            self._encoded.clear()

        def encode(index: int, prefix: Prefix) -> bytes:
            payload = self._encoded.get((index, prefix))
            if payload is None:
                payload = self._encoded[index, prefix] = encode_address(
                    index,
                    prefix,
                    nodad=nodad,
                    noprefixroute=noprefixroute and not prefix.ip.is_link_local,
                    valid_s=valid_s,
                    deprecated=prefix.version == 6,
                )
            return payload

        requests = [(item, _NEWADDR, flags) for item in items]
        return self._change(requests, encode, "add {} to {}", forgiven=(errno.EEXIST,))

    def remove_addresses(self, items: Iterable[Item]) -> list[tuple[Item, KernelError]]:
        """Remove all; what is not there, be it the address or the interface, was removed."""
        requests = [(item, _DELADDR, 0) for item in items]
        forgiven = (errno.EADDRNOTAVAIL, errno.ENODEV)
        return self._change(requests, encode_address, "remove {} from {}", forgiven=forgiven)

    def _change(
        self,
        requests: list[tuple[Item, int, int]],
        encode: Callable[[int, Prefix], bytes],
        what: str,
        *,
        forgiven: tuple[int, ...],
    ) -> list[tuple[Item, KernelError]]:
        failures: list[tuple[Item, KernelError]] = []
        indices: dict[str, int | None] = {}
        batch: list[tuple[int, int, bytes]] = []
        sent: list[Item] = []
        for item, kind, flags in requests:
            name, prefix = item
            if name not in indices:
                try:
                    indices[name] = if_nametoindex(name)
                except OSError:
                    indices[name] = None
            index = indices[name]
            if index is not None:
                batch.append((kind, flags, encode(index, prefix)))
                sent.append(item)
            elif errno.ENODEV not in forgiven:
                hint = self._no_interface(name)
                failures.append((item, KernelError(what.format(prefix, name), errno.ENODEV, hint)))
        try:
            answers = self._netlink.batch(batch)
        except NetlinkError as error:
            raise KernelError(f"change {len(batch)} addresses", error.errno, error.text) from None
        for place, code, text in answers:
            if code in forgiven:
                continue
            item = sent[place]
            hint = text or (NO_CAPABILITY if code == errno.EPERM else "")
            failures.append((item, KernelError(what.format(item[1], item[0]), code, hint)))
        return failures

    def _no_interface(self, name: str) -> str:
        from difflib import get_close_matches  # only a mistake needs it

        names = [link.name for link in self.links().values()]
        close = get_close_matches(name, names, n=1, cutoff=0.5)
        if close:
            return f"there is no interface {name!r}: did you mean {close[0]!r}?"
        return f"there is no interface {name!r}: there are {', '.join(names)}"


class RouteMonitor:
    """Tells what happens to links and addresses, as it happens."""

    def __init__(self, *, netlink: NetlinkSocket | None = None) -> None:
        self._netlink = netlink or NetlinkSocket(ROUTE)
        self._netlink.set_blocking(False)
        for group in (_GROUP_LINK, _GROUP_IPV4_ADDRESS, _GROUP_IPV6_ADDRESS):
            self._netlink.join(group)
        self._decoder = AddressDecoder()
        self._told: set[bytes] = set()
        """Address messages without their life times."""
        self._life_time_at: dict[int, int] = {}
        """Where the life times are, by the length of a message."""

    def fileno(self) -> int:
        """Readable when something happened."""
        return self._netlink.fileno()

    def close(self) -> None:
        self._netlink.close()

    def read(self) -> list[RouteEvent]:
        """What waits, in order; empty when nothing does. In a flood some is left for the next call."""
        events: list[RouteEvent] = []
        for _ in range(_READ_AT_ONCE):
            try:
                buffer = self._netlink.receive()
            except AnswersLost as error:
                if error.errno == errno.ETIMEDOUT:
                    return events
                events.append(NotificationsLost())
                self._told.clear()
                continue
            for kind, _flags, _sequence, start, end in messages(buffer):
                if kind == _NEWADDR and self._is_renewal(buffer, start, end):
                    continue
                event = self._event(kind, buffer, start, end)
                if event is not None:
                    events.append(event)
        return events

    def _is_renewal(self, buffer: bytes, start: int, end: int) -> bool:
        """Whether it has been told before with another life time.

        So nearly all are, where addresses are on a lease, and taking them apart was half of the work.
        """
        at = self._life_time_at.get(end - start, -1)
        if at < 0 or buffer[start + at - 4 : start + at] != _CACHEINFO_HEADER:
            found = attributes(buffer, start + _IFADDR.size, end)
            at = next((first - start for kind, first, _ in found if kind == _IFA_CACHEINFO), -1)
            if at < 0:
                return False
            self._life_time_at[end - start] = at
        told = buffer[start : start + at] + buffer[start + at + _CACHEINFO.size : end]
        if told in self._told:
            return True
        if len(self._told) >= _TOLD_MAX:
            self._told.clear()
        self._told.add(told)
        return False

    def _event(self, kind: int, buffer: bytes, start: int, end: int) -> RouteEvent | None:
        if kind in (_NEWLINK, _DELLINK):
            link = decode_link(buffer, start, end)
            if link is not None:
                return LinkChanged(link) if kind == _NEWLINK else LinkRemoved(link)
        elif kind in (_NEWADDR, _DELADDR):
            if kind == _DELADDR:
                self._told.clear()  # rare, and it may be any of them
            address = self._decoder.decode(buffer, start, end)
            if address is not None:
                return AddressAdded(address) if kind == _NEWADDR else AddressRemoved(address)
        return None
