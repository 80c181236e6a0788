"""Sets of connections that must be installed at the peer before something counts as done.

Source: ``proto/lvsha_relay_v1.md`` section 8.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lvsha.core.instant import Instant

BARRIERS_MOST: Final = 8


@dataclass(slots=True)
class Barrier:
    """Keys that must be installed there."""

    pending: set[bytes]
    grows: bool
    """Rows that a walk has not met yet belong to it."""
    token: int | None
    """None: it is the answer to a peer's ``asked``."""
    entries: int
    started: Instant


class Barriers:
    """Those of one peer; past ``BARRIERS_MOST`` the oldest is forgotten, and never falls."""

    def __init__(self) -> None:
        self._standing: list[Barrier] = []

    def __len__(self) -> int:
        return len(self._standing)

    def clear(self) -> None:
        self._standing.clear()

    def put(self, pending: set[bytes], token: int | None, now: Instant, *, unmet: int = 0) -> None:
        """A new one, of keys and of so many rows that a walk has not met.

        The answer to a peer's ``asked`` takes the place of the one before.
        """
        if token is None:
            self._standing = [barrier for barrier in self._standing if barrier.token is not None]
        elif len(self._standing) >= BARRIERS_MOST:
            self._standing.pop(0)
        self._standing.append(Barrier(pending, unmet > 0, token, len(pending) + unmet, now))

    def met(self, keys: Iterable[bytes]) -> None:
        """A walk has met these."""
        for barrier in self._standing:
            if barrier.grows:
                barrier.pending.update(keys)

    def walked(self) -> None:
        """There is nothing that a walk has not met; ``settle`` says what falls by it."""
        for barrier in self._standing:
            barrier.grows = False

    def settle(self, keys: Iterable[bytes]) -> list[Barrier]:
        """These keys have nothing more to wait for: the barriers that fall by it."""
        if not self._standing:
            return []
        settled = set(keys)
        for barrier in self._standing:
            barrier.pending -= settled
        fallen = [barrier for barrier in self._standing if not barrier.pending and not barrier.grows]
        if fallen:
            self._standing = [barrier for barrier in self._standing if barrier.pending or barrier.grows]
        return fallen
