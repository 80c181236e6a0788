"""IP addresses as everything here passes them: the standard library's objects."""

from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address

AF_INET = 2
AF_INET6 = 10
"""Linux's numbers, written out so that machines need not import ``socket``."""


def address_family(address: Address) -> int:
    """``AF_INET`` or ``AF_INET6``."""
    return AF_INET if address.version == 4 else AF_INET6


def endpoint_text(address: Address, port: int) -> str:
    """``10.0.0.1:80`` or ``[fd00::1]:80``, as ipvsadm writes it."""
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"


def parse_endpoint(text: str) -> tuple[Address, int]:
    """The inverse of ``endpoint_text``; a missing port is 0.

    Raises:
        ValueError: not an address, or a port outside 0-65535.
    """
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is not [address]:port")
        port_text = rest[1:]
    elif text.count(":") == 1:
        host, _, port_text = text.partition(":")
    else:
        host, port_text = text, ""
    port = int(port_text) if port_text else 0
    if not 0 <= port <= 65535:
        raise ValueError(f"port {port} is outside 0-65535")
    return ip_address(host), port
