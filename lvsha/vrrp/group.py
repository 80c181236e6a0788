"""Virtual routers that lead or follow together: a firewall's inside and outside.

1. A fault of one member is a fault of all: the shell asks ``fault``.
2. A member takes over only when no other member hears a MASTER. Without that, a cut on
   one network would put the two sides of the group on two directors.

A member that hears a better MASTER gives way at once, as every router does; the others
hear the same one on their own networks.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from lvsha.vrrp.transitions import State


class Member(Protocol):
    """What of a ``VirtualRouter`` counts here."""

    @property
    def state(self) -> State: ...

    @property
    def waits_for_group(self) -> bool:
        """Its own silence is over."""


def may_take_over(others: Iterable[Member]) -> bool:
    """Rule 2, asked by a member whose MASTER is silent."""
    return all(other.state is not State.BACKUP or other.waits_for_group for other in others)


def fault(name: str, members: Sequence[str], own_faults: Mapping[str, str]) -> str:
    """Rule 1: why ``name`` cannot work although nothing is wrong with itself; empty when it can."""
    for member in members:
        problem = own_faults.get(member)
        if member != name and problem:
            return f"{member} of its group cannot work: {problem}"
    return ""
