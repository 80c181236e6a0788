"""What the C library knows of addresses and names, for ``lvsha.ipvs.ipvsadm``.

``_socket`` and not ``socket``: it takes a fifth of the time to import.
"""

import _socket
from _socket import AF_INET, AF_INET6

from lvsha.ipvs.ipvsadm.names import Names


class SystemNames(Names):
    """Addresses, ``/etc/hosts``, the resolver and ``/etc/services``."""

    def ip4(self, text: str) -> bytes | None:
        return _packed(AF_INET, text)

    def loose_ip4(self, text: str) -> bytes | None:
        try:
            return _socket.inet_aton(text)
        except (OSError, ValueError):
            return None

    def ip6(self, text: str) -> bytes | None:
        return _packed(AF_INET6, text) if ":" in text else None

    def ip6_text(self, packed: bytes) -> str:
        return _socket.inet_ntop(AF_INET6, packed)

    def host(self, name: str) -> bytes | None:
        try:
            return _socket.inet_aton(_socket.gethostbyname(name))
        except (OSError, ValueError):
            return None

    def port(self, name: str, protocol: str) -> int | None:
        try:
            return _socket.getservbyname(name, protocol)
        except (OSError, ValueError):
            return None

    def host_name(self, family: int, packed: bytes) -> str | None:
        try:
            return _socket.gethostbyaddr(_socket.inet_ntop(family, packed))[0]
        except OSError:
            return None

    def port_name(self, port: int, protocol: str) -> str | None:
        try:
            return _socket.getservbyport(port, protocol)
        except OSError:
            return None


def _packed(family: int, text: str) -> bytes | None:
    try:
        return _socket.inet_pton(family, text)
    except (OSError, ValueError):
        return None
