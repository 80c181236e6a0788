"""One connection as the store holds it: an entry of the kernel's protocol, version 1, without padding.

Source: ``proto/lvsha_relay_v1.md`` section 6.
"""

import struct
from typing import Final

from lvsha.wire.ipvs_sync import options as tlv
from lvsha.wire.ipvs_sync import v1
from lvsha.wire.ipvs_sync.names import ConnFlag

# Plain numbers: an operation on an IntFlag takes a microsecond, as long as all else that is done to an entry.
_TEMPLATE: Final = int(ConnFlag.TEMPLATE) >> 8
_LOCAL_FLAGS: Final = int(ConnFlag.SYNC | ConnFlag.HASHED | ConnFlag.NFCT)
"""What an entry says about its sender and not about the connection."""
_FLAGS: Final = struct.Struct(">L")


def key_of(entry: bytes) -> bytes:
    """What makes an entry the same connection as another: see ``proto`` section 6."""
    inet6, template = entry[0] & 1, entry[6] & _TEMPLATE
    key = bytes((inet6 | template,)) + entry[1:2] + entry[10:14] + (entry[24:56] if inet6 else entry[24:32])
    if template and len(entry) > (v1.INET6_SIZE if inet6 else v1.INET_SIZE):
        options = entry[v1.INET6_SIZE if inet6 else v1.INET_SIZE :]
        key += tlv.first_option(options, tlv.PE_DATA) or b""
    return key


def normalize(entry: bytes) -> bytes:
    """Without the flags that say something about the sender's row only: as the store holds it."""
    (flags,) = _FLAGS.unpack_from(entry, 4)
    if flags & _LOCAL_FLAGS:
        return entry[:4] + _FLAGS.pack(flags & ~_LOCAL_FLAGS) + entry[8:]
    return entry


def vaddr_of(key: bytes) -> bytes:
    """The virtual address, 4 or 16 bytes; a fwmark template's: the mark, and zeros."""
    return key[22:38] if key[0] & 1 else key[10:14]


def timeout_s(entry: bytes) -> int:
    """What the entry says of its state's time-out."""
    return int.from_bytes(entry[20:24], "big")


def with_timeout(entry: bytes, timeout_s: int) -> bytes:
    """The same entry, another time-out."""
    return entry[:20] + timeout_s.to_bytes(4, "big") + entry[24:]
