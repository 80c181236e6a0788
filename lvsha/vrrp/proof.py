"""Has the network really followed? Evidence from neighbours, instead of hope.

A gratuitous ARP is a shout into a room: nobody says "heard". So a new MASTER asks its
neighbours, above all the gateway, a question of its own *from the virtual address*: an
ARP request, or a Neighbor Solicitation with our link-layer address. Whoever answers has
read where the address is now (RFC 826: a receiver that knows the sender's address
merges it before it answers; RFC 4861 section 7.2.3), its answer came to our hardware
address, and the switches between us have carried both. That is done for each virtual
address and each neighbour until it is answered.

It also asks once who has the address, from nobody (an ARP probe): a former MASTER that
is frozen, its kernel still answering, betrays itself to ``vrrp.conflict``.

Rounds come after ``FIRST``, then each after twice the time, ``SLOWEST`` at most, and a
round only repeats what nobody has answered. What has not been answered after ``PATIENCE``
is an alarm, once per takeover. Never a storm: ``BURST`` questions in ``PACE``, whatever
is begun and however often.
"""

from dataclasses import dataclass, field

from lvsha.core.addr import Address
from lvsha.core.instant import MILLISECOND, SECOND, Instant, after, earliest
from lvsha.core.machine import Output
from lvsha.vrrp.outputs import AskNeighbor, TakeoverProved, TakeoverUnproved

FIRST = 250 * MILLISECOND
SLOWEST = 60 * SECOND
PATIENCE = 3 * SECOND
BURST = 32
PACE = 10 * MILLISECOND

_Question = tuple[Address, Address]
"""A virtual address, and the neighbour who is asked."""


@dataclass(slots=True)
class _Case:
    """One takeover."""

    interface: str
    began: Instant
    neighbors: tuple[Address, ...]
    open: dict[_Question, None]
    """Not answered yet."""
    again: Instant
    """When the next round begins."""
    queue: list[_Question] = field(default_factory=list)
    """Still to be asked in this round, the last one first."""
    pause: int = FIRST
    asked: int = 0
    is_reported: bool = False


class TakeoverProof:
    """One per process; a case per virtual router."""

    def __init__(self) -> None:
        self._cases: dict[str, _Case] = {}
        self._not_before = Instant(0)

    def begin(
        self,
        *,
        router: str,
        interface: str,
        addresses: tuple[Address, ...],
        neighbors: tuple[Address, ...],
        predecessor_left: bool,
        now: Instant,
    ) -> list[Output]:
        """A takeover; who is asked answers to ``heard``. Without neighbours nothing can be proved, or not.

        ``predecessor_left``: it said so. It is not frozen, and keeps the address for a moment on purpose.
        """
        self._cases.pop(router, None)
        outputs: list[Output] = []
        if not predecessor_left:
            outputs += [AskNeighbor(interface, None, address) for address in addresses[:1]]
        questions = {
            (address, neighbor): None
            for neighbor in neighbors
            for address in addresses
            if address.version == neighbor.version and address.is_link_local == neighbor.is_link_local
        }
        if questions:
            asked = tuple(dict.fromkeys(neighbor for _, neighbor in questions))
            case = self._cases[router] = _Case(interface, now, asked, questions, now)
            self._start_round(case, now)
        return outputs

    def stop(self, router: str) -> None:
        """It is MASTER no more."""
        self._cases.pop(router, None)

    def heard(self, *, interface: str, neighbor: Address, address: Address, now: Instant) -> list[Output]:
        """``neighbor`` has answered to ``address``, which came to us."""
        outputs: list[Output] = []
        for router, case in list(self._cases.items()):
            if case.interface == interface and (address, neighbor) in case.open:
                del case.open[address, neighbor]
                if not case.open:
                    del self._cases[router]
                    outputs.append(TakeoverProved(router, case.neighbors, now - case.began, case.asked))
        return outputs

    @property
    def deadline(self) -> Instant | None:
        return earliest(*(self._due(case) for case in self._cases.values())) if self._cases else None

    def on_deadline(self, now: Instant) -> list[Output]:
        """One burst of questions, and what has to be told."""
        outputs: list[Output] = []
        left = BURST if now >= self._not_before else 0
        for router, case in self._cases.items():
            if not case.is_reported and now - case.began >= PATIENCE:
                case.is_reported = True
                silent = tuple(dict.fromkeys(neighbor for _, neighbor in case.open))
                addresses = len({address for address, _ in case.open})
                outputs.append(TakeoverUnproved(router, silent, addresses, case.asked))
            if now >= case.again and not case.queue:
                self._start_round(case, now)
            while case.queue and left:
                address, neighbor = question = case.queue.pop()
                if question in case.open:
                    outputs.append(AskNeighbor(case.interface, address, neighbor))
                    case.asked += 1
                    left -= 1
        if left < BURST and now >= self._not_before:
            self._not_before = after(now, PACE)
        return outputs

    def _start_round(self, case: _Case, now: Instant) -> None:
        case.queue = list(reversed(case.open))
        case.again = after(now, case.pause)
        case.pause = min(2 * case.pause, SLOWEST)

    def _due(self, case: _Case) -> Instant:
        ask = self._not_before if case.queue else case.again
        return ask if case.is_reported else min(ask, after(case.began, PATIENCE))
