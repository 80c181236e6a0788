"""The order of ipvsadm's lists.

It compares marks and the words of addresses by the sign of their difference in
32 bits. That is no order when two of them are 2^31 or more apart (the mark
4294967295 is before 0 and behind 1), so that what comes out depends on how the C
library sorts. Without such a distance a plain sort gives the same; with one we
sort as the GNU C library does (a merge sort of halves, as in Debian 12).
"""

from _collections_abc import Callable, Sequence

TYPE_CHECKING = False  # typing takes longer to import than this module to run
if TYPE_CHECKING:
    from lvsha.wire.genl_ipvs import DestinationRow, ServiceRow

_FAR = 1 << 31
_IPV4_REST = bytes(12)
"""What follows an IPv4 address in the kernel's sixteen bytes."""
Key = tuple[int, ...]


def _words(packed: bytes) -> Key:
    return tuple([int.from_bytes(packed[at : at + 4], "big") for at in range(0, len(packed), 4)])


def service_key(row: "ServiceRow") -> Key:
    return (row.fwmark, row.family, row.protocol, *_words(row.address.ljust(16, b"\0")), row.port)


def destination_key(row: "DestinationRow") -> Key:
    return (*_words(row[0].ljust(16, b"\0")), int.from_bytes(row[1], "big"))


def destination_order(rows: "Sequence[DestinationRow]") -> Sequence[int]:
    """The places of destinations in ipvsadm's order.

    Thousands of IPv4 destinations are sorted by their bytes: that is the same where no two are far apart.
    """
    plain = [row[0] + row[1] for row in rows]
    if all(key[4:16] == _IPV4_REST for key in plain):
        first, last = min(plain, default=b""), max(plain, default=b"")
        if int.from_bytes(last[:4], "big") - int.from_bytes(first[:4], "big") < _FAR:
            return sorted(range(len(plain)), key=plain.__getitem__)
    return sort([destination_key(row) for row in rows])


def sort(keys: Sequence[Key]) -> list[int]:
    """Their places in ipvsadm's order."""
    places = list(range(len(keys)))
    if not keys or all(max(column) - min(column) < _FAR for column in zip(*keys, strict=True)):
        places.sort(key=keys.__getitem__)
        return places
    return _merge_sort(places, lambda one, other: _compare(keys[one], keys[other]))


def _compare(one: Key, other: Key) -> int:
    for a, b in zip(one, other, strict=True):
        if a != b:
            return ((a - b + _FAR) & 0xFFFFFFFF) - _FAR
    return 0


def _merge_sort(places: list[int], compare: Callable[[int, int], int]) -> list[int]:
    if len(places) < 2:
        return places
    half = len(places) // 2
    left = _merge_sort(places[:half], compare)
    right = _merge_sort(places[half:], compare)
    merged: list[int] = []
    i = j = 0
    while i < len(left) and j < len(right):
        if compare(left[i], right[j]) <= 0:
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
    return merged + left[i:] + right[j:]
