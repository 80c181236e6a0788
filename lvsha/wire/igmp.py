"""Who joins a multicast group, as IGMP tells.

::

    version 2, or 1      0  type 0x16, 0x12   1  code   2  checksum (2)   4  group
    version 3            0  type 0x22   1  -   2  checksum (2)   4  -   6  records (2)
    a record             0  type   1  words of extra data   2  sources (2)   4  group   8  sources

A record's types 4 and 5 are changes: a host begins to listen. Types 1 and 2 answer a router's question.

Source: RFC 2236 section 2, RFC 3376 section 4.2.
"""

import struct
from ipaddress import IPv4Address
from typing import Final

_OLD_REPORTS: Final = frozenset({0x12, 0x16})
_REPORT: Final = 0x22
_BEGINS: Final = frozenset({4, 5})
_COUNT = struct.Struct(">6xH")
_RECORD = struct.Struct(">BBH4s")


def joined_groups(message: bytes) -> tuple[IPv4Address, ...]:
    """The groups that the sender of this IGMP message begins to listen to; none of what is no report."""
    if len(message) < 8:
        return ()
    if message[0] in _OLD_REPORTS:
        return (IPv4Address(message[4:8]),)
    if message[0] != _REPORT:
        return ()
    groups = []
    (count,) = _COUNT.unpack_from(message)
    at = 8
    for _ in range(count):
        if at + _RECORD.size > len(message):
            break
        kind, extra, sources, group = _RECORD.unpack_from(message, at)
        if kind in _BEGINS:
            groups.append(IPv4Address(group))
        at += _RECORD.size + 4 * (sources + extra)
    return tuple(groups)
