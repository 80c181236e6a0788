"""Interfaces with a hardware address of their own on top of another one: made, set up and down, deleted.

Mode VEPA, not private: a private macvlan takes every multicast frame that carries its own
hardware address as sender off the interface below (``macvlan_handle_frame``), and those are
just the adverts of another MASTER.
"""

import errno
from struct import Struct

from lvsha.core.errors import KernelError
from lvsha.io.netlink import ROUTE, NetlinkError, NetlinkSocket
from lvsha.io.rtnl import NO_CAPABILITY
from lvsha.wire.netlink import CREATE, EXCL, attribute, nest, string

KIND = "macvlan"

_NEWLINK, _DELLINK = 16, 17
_IFINFO = Struct("=BxHiII")
_U32 = Struct("=I")
_IFF_UP = 0x1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_LINK, _IFLA_LINKINFO = 1, 3, 5, 18
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_IFLA_MACVLAN_MODE, _VEPA = 1, 2


def encode_macvlan(name: str, mac: bytes, parent: int) -> bytes:
    """The payload of RTM_NEWLINK; it comes down."""
    return b"".join(
        (
            _IFINFO.pack(0, 0, 0, 0, 0),
            string(_IFLA_IFNAME, name),
            attribute(_IFLA_ADDRESS, mac),
            attribute(_IFLA_LINK, _U32.pack(parent)),
            nest(
                _IFLA_LINKINFO,
                string(_IFLA_INFO_KIND, KIND),
                nest(_IFLA_INFO_DATA, attribute(_IFLA_MACVLAN_MODE, _U32.pack(_VEPA))),
            ),
        )
    )


def encode_flags(index: int, *, up: bool) -> bytes:
    """The payload of RTM_NEWLINK that sets an interface up or down."""
    return _IFINFO.pack(0, 0, index, _IFF_UP if up else 0, _IFF_UP)


class MacvlanSocket:
    """Of the network namespace in which it was made. Each method raises KernelError."""

    def __init__(self, netlink: NetlinkSocket | None = None) -> None:
        self._netlink = netlink or NetlinkSocket(ROUTE)

    def create(self, name: str, *, mac: bytes, parent: int) -> None:
        """``parent``: the index of the interface below."""
        self._change(f"create {name}", _NEWLINK, CREATE | EXCL, encode_macvlan(name, mac, parent))

    def set_up(self, name: str, index: int, *, up: bool) -> None:
        self._change(f"set {name} {'up' if up else 'down'}", _NEWLINK, 0, encode_flags(index, up=up))

    def delete(self, name: str, index: int) -> None:
        """One that is gone already was deleted."""
        self._change(f"delete {name}", _DELLINK, 0, _IFINFO.pack(0, 0, index, 0, 0), gone=errno.ENODEV)

    def _change(self, what: str, kind: int, flags: int, payload: bytes, *, gone: int = 0) -> None:
        try:
            failures = self._netlink.batch([(kind, flags, payload)])
        except NetlinkError as error:
            raise KernelError(what, error.errno, error.text) from None
        for _, code, text in failures:
            if code != gone:
                hint = text or (NO_CAPABILITY if code == errno.EPERM else "")
                if code == errno.EOPNOTSUPP:
                    hint = "this kernel has no macvlan: load the module, or set vmac = false"
                raise KernelError(what, code, hint)
