"""What an operator may say about the relay. Defaults carry their reason."""

from dataclasses import dataclass
from hashlib import sha256

from lvsha.core.addr import Address
from lvsha.core.instant import MILLISECOND, SECOND

RELAY_PORT = 8849
"""Beside the kernel's 8848."""
DATAGRAM_LEAST = 576
DATAGRAM_MOST = 65_507
MAX_PEERS = 16


def director_id(name: str) -> int:
    """The number of a director on the wire; not 0."""
    return int.from_bytes(sha256(name.encode()).digest()[:4], "big") or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayPeer:
    """Another director."""

    name: str
    director: int
    """``director_id(name)``."""
    address: Address
    port: int = RELAY_PORT


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """One director's end of the relay."""

    director: int
    peers: tuple[RelayPeer, ...]
    key_file: str
    address: Address | None = None
    """What the socket is bound to; None: any."""
    port: int = RELAY_PORT

    datagram: int = 1232
    """Largest UDP payload, bytes: what every IPv6 path carries (1,280 - 40 - 8)."""
    linger: int = 5 * MILLISECOND
    """How long a change waits for others to share its frame."""
    limit: int = 1_000_000
    """Rows in the store; about 400 bytes each (``tests/bench/bench_relay.py``)."""

    coverage_target: float = 1.0
    """Share of the connections that a director must hold before it may take an address back."""
    gate_deadline: int = 30 * SECOND
    """How long a director that starts waits for that, and then takes part anyway."""
    switchover_deadline: int = 10 * SECOND
    """How long a planned switchover tries to bring everything over."""
