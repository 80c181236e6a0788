"""Addresses, ports and their names, as ipvsadm reads and writes them."""

from lvsha.ipvs.ipvsadm.errors import UsageError

TCP, UDP, SCTP = 6, 17, 132
PROTOCOLS = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}
AF_INET, AF_INET6 = 2, 10


class Names:
    """What the C library knows of addresses and names. This one knows no names; ``lvsha.io.names`` does."""

    def ip4(self, text: str) -> bytes | None:
        """``10.0.0.1`` in four numbers, none of them above 255."""
        parts = text.split(".")
        if len(parts) != 4 or not all(part.isascii() and part.isdigit() for part in parts):
            return None
        numbers = [int(part) for part in parts]
        return bytes(numbers) if max(numbers) <= 255 else None

    def loose_ip4(self, text: str) -> bytes | None:
        """As ``inet_aton`` reads it: ``10.1`` is 10.0.0.1, ``010.0.0.1`` is 8.0.0.1."""
        return self.ip4(text)

    def ip6(self, text: str) -> bytes | None:
        return None

    def ip6_text(self, packed: bytes) -> str:
        return packed.hex(":", 2)

    def host(self, name: str) -> bytes | None:
        """The IPv4 address of a name."""
        return None

    def port(self, name: str, protocol: str) -> int | None:
        return None

    def host_name(self, family: int, packed: bytes) -> str | None:
        return None

    def port_name(self, port: int, protocol: str) -> str | None:
        return None


def number(text: str, low: int, high: int) -> int | None:
    """A decimal number as ``strtol`` reads it: blanks and a sign before it, nothing behind it."""
    digits = text.lstrip(" \t\n\v\f\r")
    bare = digits[1:] if digits[:1] in ("+", "-") else digits
    if not (bare.isascii() and bare.isdigit()):
        return None
    value = int(digits)
    return value if low <= value <= high else None


def leading_number(text: str) -> int:
    """As ``atoi`` reads it: what is behind the digits does not matter, and no digits are 0."""
    digits = text.lstrip(" \t\n\v\f\r")
    end = 1 if digits[:1] in ("+", "-") else 0
    while end < len(digits) and digits[end] in "0123456789":
        end += 1
    try:
        return int(digits[:end])
    except ValueError:
        return 0


def parse_endpoint(text: str, protocol: int, names: Names) -> tuple[int, bytes, int | None]:
    """Family, address and port of ``host[:port]`` or ``[v6]:port``; the port None if it is not there.

    ``[host]:port`` with a host that is no IPv6 address loses its port, as ipvsadm does.

    Raises:
        ValueError: it is none.
    """
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            raise ValueError(text)
        packed = names.ip6(host)
        if packed is not None:
            return AF_INET6, packed, _port(rest[1:], protocol, names)
        return AF_INET, _host(host, names), None
    packed = names.ip6(text) if text.count(":") > 1 else None
    if packed is not None:
        return AF_INET6, packed, None
    host, colon, port = text.partition(":")
    if not colon and text.isascii() and text.isdigit():
        raise ValueError(text)  # a port without a host, although inet_aton would take it
    return AF_INET, _host(host, names), _port(port, protocol, names) if colon else None


def _host(text: str, names: Names) -> bytes:
    packed = names.loose_ip4(text) or names.host(text) if text else None
    if packed is None:
        raise ValueError(text)
    return packed


def _port(text: str, protocol: int, names: Names) -> int:
    value = number(text, 0, 65535)
    if value is None and protocol in PROTOCOLS:
        value = names.port(text, PROTOCOLS[protocol])
    if value is None:
        raise ValueError(text)
    return value


def parse_netmask(text: str, family: int, names: Names) -> int:
    """``Service.netmask``: IPv4 the mask as a number, IPv6 the prefix length.

    ``-M 24`` of an IPv4 service is the mask 0.0.0.24: ipvsadm reads it so.

    Raises:
        UsageError: it is none.
    """
    if family == AF_INET6:
        length = leading_number(text)
        if not 1 <= length <= 128:
            raise UsageError("illegal ipv6 netmask specified")
        return length
    packed = names.loose_ip4(text)
    if packed is None:
        raise UsageError("illegal virtual server persistent mask specified")
    return int.from_bytes(packed, "big")


class Texts:
    """Addresses and ports as text, with their names or (``-n``) without; each is looked up once."""

    def __init__(self, names: Names, *, numeric: bool) -> None:
        self._names = names
        self._numeric = numeric
        self._hosts: dict[tuple[int, bytes], str] = {}
        self._ports: dict[tuple[int, int], str] = {}

    def endpoint(self, family: int, packed: bytes, port: int, protocol: int) -> str:
        """``address:port``. ``packed`` may be longer than an IPv4 address."""
        if self._numeric and family != AF_INET6:
            return f"{packed[0]}.{packed[1]}.{packed[2]}.{packed[3]}:{port}"
        host = self._hosts.get((family, packed))
        if host is None:
            host = self._hosts[family, packed] = self._host(family, packed)
        return f"{host}:{port if self._numeric else self._port(port, protocol)}"

    def _host(self, family: int, packed: bytes) -> str:
        if family == AF_INET6:
            name = None if self._numeric else self._names.host_name(family, packed)
            return f"[{name or self._names.ip6_text(packed)}]"
        packed = packed[:4]
        name = None if self._numeric else self._names.host_name(family, packed)
        return name or ".".join(map(str, packed))

    def _port(self, port: int, protocol: int) -> str:
        text = self._ports.get((port, protocol))
        if text is None:
            name = self._names.port_name(port, PROTOCOLS[protocol]) if protocol in PROTOCOLS else None
            text = self._ports[port, protocol] = name or str(port)
        return text
