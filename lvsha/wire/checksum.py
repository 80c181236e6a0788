"""The Internet checksum, RFC 1071, and the pseudo headers that go before it."""

from ipaddress import IPv4Address, IPv6Address

from lvsha.core.addr import Address


def internet_checksum(data: bytes) -> int:
    """The checksum to write into a field that is zero in ``data``.

    A one's complement sum of 16-bit words is the number that the bytes spell,
    modulo 65535; only "nothing but zeros" and "adds up to 65535" need telling
    apart. Python divides one long integer faster than it adds many short ones.
    """
    if len(data) % 2:
        data += b"\0"
    number = int.from_bytes(data, "big")
    if number == 0:
        return 0xFFFF
    return (0xFFFF - number % 0xFFFF) % 0xFFFF


def checksum_holds(data: bytes) -> bool:
    """Whether ``data``, its checksum field included, adds up to minus zero."""
    if len(data) % 2:
        data += b"\0"
    number = int.from_bytes(data, "big")
    return number != 0 and number % 0xFFFF == 0


def pseudo_header(*, source: Address, destination: Address, protocol: int, length: int) -> bytes:
    """What a checksum covers besides the message: RFC 9293 section 3.1 (IPv4), RFC 8200 section 8.1 (IPv6).

    Raises:
        ValueError: the addresses are of two families.
    """
    if isinstance(source, IPv4Address) and isinstance(destination, IPv4Address):
        return source.packed + destination.packed + bytes((0, protocol)) + length.to_bytes(2, "big")
    if isinstance(source, IPv6Address) and isinstance(destination, IPv6Address):
        return source.packed + destination.packed + length.to_bytes(4, "big") + bytes((0, 0, 0, protocol))
    raise ValueError(f"{source} and {destination} are of two families")
