"""The generic netlink family "IPVS": requests out of numbers, numbers out of answers.

Nothing here knows our records (``lvsha.io.ipvs_codec`` does), and nothing here
takes long to import: the command line lists 5,000 realservers with this module
in less time than a C program needs to open its sockets.

Byte order, the trap of this family: addresses, the ports of services and
destinations, the tunnel's port, an IPv4 netmask and an IPv4 group are in network
order. Everything else is in the machine's own, the port of a sync daemon and an
IPv6 netmask (a prefix length) included.

Source: ``include/uapi/linux/ip_vs.h``.
"""

from _collections_abc import Sequence
from struct import Struct

from lvsha.wire.netlink import Layouts, Leaf, attribute, attribute_map, nest, string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FAMILY = "IPVS"
VERSION = 1

NEW_SERVICE, SET_SERVICE, DEL_SERVICE, GET_SERVICE = 1, 2, 3, 4
NEW_DEST, SET_DEST, DEL_DEST, GET_DEST = 5, 6, 7, 8
NEW_DAEMON, DEL_DAEMON, GET_DAEMON = 9, 10, 11
SET_CONFIG, GET_CONFIG = 12, 13
SET_INFO, GET_INFO = 14, 15
ZERO, FLUSH = 16, 17

_SERVICE, _DEST, _DAEMON, _TIMEOUT_TCP = 1, 2, 3, 4

PERSISTENT = 0x01
HASHED = 0x02
"""Set by the kernel in every service that it lists."""

STATE_MASTER = 1
STATE_BACKUP = 2

_GENL = Struct("=BBH")
_U8, _U16, _U32, _BE16, _BE32 = Struct("=B"), Struct("=H"), Struct("=I"), Struct("!H"), Struct("!I")

# Controller: how a family's name becomes the type of its messages.
CONTROLLER = 0x10
_GET_FAMILY = 3
_FAMILY_ID, _FAMILY_NAME = 1, 2


def command(number: int, *parts: bytes, version: int = VERSION) -> bytes:
    """The payload of one request: the generic header and top-level attributes."""
    return _GENL.pack(number, version, 0) + b"".join(parts)


def family_request(name: str = FAMILY) -> bytes:
    """Payload of a message to ``CONTROLLER`` that asks for a family's number."""
    return command(_GET_FAMILY, string(_FAMILY_NAME, name), version=2)


def family_number(payload: bytes) -> int:
    """The message type of the family, out of the controller's answer."""
    return _u16(attribute_map(payload, _GENL.size, len(payload)).get(_FAMILY_ID, b""))


def _u16(value: bytes) -> int:
    return int(_U16.unpack(value)[0]) if len(value) == 2 else 0


def _u32(value: bytes) -> int:
    return int(_U32.unpack(value)[0]) if len(value) == 4 else 0


# -- services -----------------------------------------------------------------

_SVC_AF, _SVC_PROTOCOL, _SVC_ADDR, _SVC_PORT, _SVC_FWMARK = 1, 2, 3, 4, 5
_SVC_SCHED, _SVC_FLAGS, _SVC_TIMEOUT, _SVC_NETMASK, _SVC_PE = 6, 7, 8, 9, 11
_FLAGS = Struct("=II")


def _identity(family: int, protocol: int, address: bytes, port: int, fwmark: int) -> bytes:
    if fwmark:
        return attribute(_SVC_AF, _U16.pack(family)) + attribute(_SVC_FWMARK, _U32.pack(fwmark))
    return b"".join(
        (
            attribute(_SVC_AF, _U16.pack(family)),
            attribute(_SVC_PROTOCOL, _U16.pack(protocol)),
            attribute(_SVC_ADDR, address),
            attribute(_SVC_PORT, _BE16.pack(port)),
        )
    )


def service_identity(*, family: int, protocol: int, address: bytes, port: int, fwmark: int) -> bytes:
    """The attribute that names a service: by its mark, or by protocol, address and port."""
    return nest(_SERVICE, _identity(family, protocol, address, port, fwmark))


def service_attributes(
    *,
    family: int,
    protocol: int,
    address: bytes,
    port: int,
    fwmark: int,
    scheduler: str,
    flags: int,
    flags_mask: int,
    timeout_s: int,
    netmask: int,
    pe_name: str | None,
) -> bytes:
    """The attribute of NEW_SERVICE and SET_SERVICE.

    Args:
        flags, flags_mask: which flags to set; the rest stays. The kernel takes
            them all from us: HASHED must not be in the mask.
        netmask: IPv4: the mask as a number; IPv6: the prefix length. Never optional
            to the kernel, even for a service that is not persistent.
    """
    pack = _BE32.pack if family == 2 else _U32.pack
    parts = [
        _identity(family, protocol, address, port, fwmark),
        string(_SVC_SCHED, scheduler),
        attribute(_SVC_FLAGS, _FLAGS.pack(flags, flags_mask)),
        attribute(_SVC_TIMEOUT, _U32.pack(timeout_s)),
        attribute(_SVC_NETMASK, pack(netmask)),
    ]
    if pe_name:
        parts.append(string(_SVC_PE, pe_name))
    return nest(_SERVICE, *parts)


def _stats(prefix: int) -> list[Leaf]:
    # 64-bit counters since Linux 4.1, else the old nest, where only bytes are that wide.
    old = ("I", "I", "I", "Q", "Q", "I", "I", "I", "I", "I")
    return [
        ((("Q", (prefix, 12, index)), (letter, (prefix, 10, index))), 0)
        for index, letter in enumerate(old, start=1)
    ]


def _leaf(letter: str, default: object, *path: int) -> Leaf:
    return (((letter, path),), default)


def service_layouts() -> Layouts:
    """Reads the answers of GET_SERVICE into rows for ``ServiceRow``."""
    leaves = [
        _leaf("H", 0, _SERVICE, _SVC_AF),
        _leaf("H", 0, _SERVICE, _SVC_PROTOCOL),
        _leaf("s", bytes(16), _SERVICE, _SVC_ADDR),
        _leaf("s", bytes(2), _SERVICE, _SVC_PORT),
        _leaf("I", 0, _SERVICE, _SVC_FWMARK),
        _leaf("s", b"", _SERVICE, _SVC_SCHED),
        _leaf("s", bytes(8), _SERVICE, _SVC_FLAGS),
        _leaf("I", 0, _SERVICE, _SVC_TIMEOUT),
        _leaf("s", bytes(4), _SERVICE, _SVC_NETMASK),
        _leaf("s", b"", _SERVICE, _SVC_PE),
        *_stats(_SERVICE),
    ]
    return Layouts(leaves, skip=_GENL.size)


Counters = tuple[int, int, int, int, int, int, int, int, int, int]
"""Connections, packets in and out, bytes in and out; then the same five per second."""


class ServiceRow:
    """One service as numbers."""

    __slots__ = (
        "address",
        "counters",
        "family",
        "flags",
        "fwmark",
        "netmask",
        "pe_name",
        "port",
        "protocol",
        "scheduler",
        "timeout_s",
    )

    def __init__(self, row: "Sequence[Any]") -> None:
        self.family: int = row[0]
        self.protocol: int = row[1]
        self.address: bytes = row[2] if self.family == 10 else row[2][:4]
        """4 or 16 bytes; zeros when the service is a mark."""
        self.port = int.from_bytes(row[3], "big")
        self.fwmark: int = row[4]
        self.scheduler: str = row[5].rstrip(b"\0").decode(errors="replace")
        self.flags: int = _U32.unpack_from(row[6])[0]
        self.timeout_s: int = row[7]
        self.netmask: int = (_BE32 if self.family == 2 else _U32).unpack(row[8])[0]
        """IPv4: the mask as a number; IPv6: a prefix length."""
        self.pe_name: str = row[9].rstrip(b"\0").decode(errors="replace")
        self.counters: Counters = row[10:20]  # type: ignore[assignment]  # ten leaves, as _stats lists them

    def identity(self) -> bytes:
        """The attribute that names it in a request."""
        return service_identity(
            family=self.family,
            protocol=self.protocol,
            address=self.address,
            port=self.port,
            fwmark=self.fwmark,
        )


# -- destinations -------------------------------------------------------------

_DEST_ATTRIBUTES = Struct(
    "=HH"  # the nest
    "HH16s"  # address
    "HH2s2x"  # port
    "HHI HHI HHI HHI"  # method, weight, upper and lower threshold
    "HHH2x"  # family
    "HHB3x"  # tunnel type
    "HH2s2x"  # tunnel port
    "HHH2x"  # tunnel flags
)
_DEST_IDENTITY = Struct("=HH HH16s HH2s2x HHH2x")


def destination_attributes(
    *,
    family: int,
    address: bytes,
    port: int,
    method: int,
    weight: int,
    upper_threshold: int,
    lower_threshold: int,
    tun_type: int,
    tun_port: int,
    tun_flags: int,
) -> bytes:
    """The attribute of NEW_DEST and SET_DEST; a kernel that knows no tunnel types ignores them."""
    # fmt: off
    return _DEST_ATTRIBUTES.pack(
        _DEST_ATTRIBUTES.size, _DEST,
        20, 1, address,
        6, 2, port.to_bytes(2, "big"),
        8, 3, method,
        8, 4, weight & 0xFFFFFFFF,
        8, 5, upper_threshold,
        8, 6, lower_threshold,
        6, 11, family,
        5, 13, tun_type,
        6, 14, tun_port.to_bytes(2, "big"),
        6, 15, tun_flags,
    )
    # fmt: on


_ADDRESS_AT, _PORT_AT = 8, 28
"""In the attribute of a destination: the nest and the first header; these, the address and the second."""


def destination_request(request: bytes) -> tuple[bytes, bytes, bytes]:
    """A request that ends with ``destination_attributes``, without its address (16 bytes) and port (2 bytes).

    Joined with those of another destination between the parts it is the request for that one.
    """
    at = len(request) - _DEST_ATTRIBUTES.size
    address, port = at + _ADDRESS_AT, at + _PORT_AT
    return request[:address], request[address + 16 : port], request[port + 2 :]


def destination_identity(*, family: int, address: bytes, port: int) -> bytes:
    """The attribute of DEL_DEST."""
    return _DEST_IDENTITY.pack(
        _DEST_IDENTITY.size, _DEST, 20, 1, address, 6, 2, port.to_bytes(2, "big"), 6, 11, family
    )


def destination_layouts(*, counters: bool = True) -> Layouts:
    """Reads the answers of GET_DEST into rows: the places are the ``DEST_*`` numbers."""
    leaves = [
        _leaf("s", bytes(16), _DEST, 1),
        _leaf("s", bytes(2), _DEST, 2),
        _leaf("I", 0, _DEST, 3),
        _leaf("I", 0, _DEST, 4),
        _leaf("I", 0, _DEST, 5),
        _leaf("I", 0, _DEST, 6),
        _leaf("H", 0, _DEST, 11),
        _leaf("B", 0, _DEST, 13),
        _leaf("s", bytes(2), _DEST, 14),
        _leaf("H", 0, _DEST, 15),
        _leaf("I", 0, _DEST, 7),
        _leaf("I", 0, _DEST, 8),
        _leaf("I", 0, _DEST, 9),
        *(_stats(_DEST) if counters else ()),
    ]
    return Layouts(leaves, skip=_GENL.size)


DestinationRow = tuple["Any", ...]
"""A destination as numbers: a tuple, because a table has thousands.

``row[:10]`` is what an operator writes, ``row[10:13]`` the connections (active,
inactive, persistent), ``row[13:23]`` the counters.
"""
DEST_ADDRESS, DEST_PORT, DEST_METHOD, DEST_WEIGHT, DEST_UPPER, DEST_LOWER = 0, 1, 2, 3, 4, 5
DEST_FAMILY, DEST_TUN_TYPE, DEST_TUN_PORT, DEST_TUN_FLAGS = 6, 7, 8, 9
DEST_ACTIVE, DEST_INACTIVE, DEST_PERSISTENT, DEST_COUNTERS = 10, 11, 12, 13
"""Address (16 bytes), port and tunnel port (2 bytes each) are as on the wire, in network order; the
family is 0 from a kernel before 3.18: it is the service's."""


# -- sync daemons, time-outs, information ---------------------------------------


def daemon_attributes(
    *,
    state: int,
    interface: str,
    syncid: int,
    maxlen: int | None = None,
    group: bytes | None = None,
    port: int | None = None,
    ttl: int | None = None,
) -> bytes:
    """The attribute of NEW_DAEMON; DEL_DAEMON reads only ``state``, but wants all three."""
    parts = [
        attribute(1, _U32.pack(state)),
        string(2, interface),
        attribute(3, _U32.pack(syncid)),
    ]
    if maxlen is not None:
        parts.append(attribute(4, _U16.pack(maxlen)))
    if group is not None:
        parts.append(attribute(5 if len(group) == 4 else 6, group))
    if port is not None:
        parts.append(attribute(7, _U16.pack(port)))
    if ttl is not None:
        parts.append(attribute(8, _U8.pack(ttl)))
    return nest(_DAEMON, *parts)


def daemon_row(buffer: bytes, start: int, end: int) -> tuple[int, str, int, int, bytes, int, int]:
    """State, interface, syncid, maxlen, group, port, TTL of one answer of GET_DAEMON.

    A kernel before 4.3 does not tell the last four: 0 and no bytes.
    """
    nests = attribute_map(buffer, start + _GENL.size, end)
    inner = nests.get(_DAEMON, b"")
    found = attribute_map(inner, 0, len(inner))
    return (
        _u32(found.get(1, b"")),
        found.get(2, b"").rstrip(b"\0").decode(errors="replace"),
        _u32(found.get(3, b"")),
        _u16(found.get(4, b"")),
        found.get(5) or found.get(6) or b"",
        _u16(found.get(7, b"")),
        (found.get(8) or b"\0")[0],
    )


def timeouts_attributes(tcp_s: int, tcp_fin_s: int, udp_s: int) -> bytes:
    """The attributes of SET_CONFIG; 0 leaves a time-out as it is."""
    values = (tcp_s, tcp_fin_s, udp_s)
    return b"".join(attribute(_TIMEOUT_TCP + i, _U32.pack(value)) for i, value in enumerate(values))


def timeouts_row(buffer: bytes, start: int, end: int) -> tuple[int, int, int]:
    """TCP, TCP after FIN, and UDP seconds of the answer of GET_CONFIG."""
    found = attribute_map(buffer, start + _GENL.size, end)
    return _u32(found.get(4, b"")), _u32(found.get(5, b"")), _u32(found.get(6, b""))


def info_row(buffer: bytes, start: int, end: int) -> tuple[int, int]:
    """Version (0xMMmmpp) and connection table size of the answer of GET_INFO."""
    found = attribute_map(buffer, start + _GENL.size, end)
    return _u32(found.get(1, b"")), _u32(found.get(2, b""))
