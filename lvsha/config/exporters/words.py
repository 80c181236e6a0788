"""What the exporters share: words of the configuration for values of the kernel."""

from ipaddress import IPv4Address
from typing import Any, Final

from lvsha.config.services import FALLBACK, HASH_PORT
from lvsha.core.addr import AF_INET
from lvsha.ipvs.model import Service

Exported = tuple[str, tuple[str, ...]]
"""Text, and one line for each thing that is lost."""

FLAG_NAMES: Final = ((FALLBACK, "fallback"), (HASH_PORT, "port"))


def word_of(words: dict[str, Any], value: object) -> str:
    """The first word that means it."""
    return next(word for word, meaning in words.items() if meaning == value)


def netmask_text(service: Service) -> str:
    assert service.netmask is not None, "asked for where there is one"
    is_ipv4 = service.key.family == AF_INET
    return str(IPv4Address(service.netmask)) if is_ipv4 else str(service.netmask)
