"""The virtual router's state machine. In progress: signatures only."""

from enum import StrEnum

from lvsha.core.addr import Address
from lvsha.core.instant import Instant
from lvsha.core.machine import Action, Output
from lvsha.vrrp.settings import Prefix, RouterSettings
from lvsha.wire.vrrp import Advertisement


class State(StrEnum):
    """As operators say it; RFC 9568 says Initialize, Backup and Active."""

    INIT = "INIT"
    BACKUP = "BACKUP"
    MASTER = "MASTER"
    FAULT = "FAULT"


class VirtualRouter:
    state: State
    since: Instant
    priority: int
    """Effective, after tracking."""
    deadline: Instant | None
    master_address: Address | None
    master_priority: int | None
    master_advert_interval: int
    """Nanoseconds; as heard, before that our own."""
    holds_addresses: bool
    """We believe them to be bound: MASTER, adopting or releasing."""

    def __init__(self, settings: RouterSettings) -> None:
        self.settings = settings

    def start(self, now: Instant, *, held: bool = False, was_master: bool = False) -> list[Output]:
        raise NotImplementedError

    def receive(self, advert: Advertisement, source: Address, now: Instant) -> list[Output]:
        raise NotImplementedError

    def on_deadline(self, now: Instant) -> list[Output]:
        raise NotImplementedError

    def on_action_failed(self, action: Action, errno: int, now: Instant) -> list[Output]:
        raise NotImplementedError

    def set_interface(self, usable: bool, primary: Address | None, now: Instant) -> list[Output]:
        raise NotImplementedError

    def set_priority(self, priority: int, now: Instant) -> list[Output]:
        raise NotImplementedError

    def set_bound(self, bound: frozenset[Prefix], now: Instant) -> list[Output]:
        """What the kernel holds of our addresses, whenever it may have changed."""
        raise NotImplementedError

    def release(self, now: Instant) -> list[Output]:
        raise NotImplementedError

    def resume(self, now: Instant) -> list[Output]:
        raise NotImplementedError

    def shutdown(self, now: Instant) -> list[Output]:
        """Leave at once: priority 0, addresses off."""
        raise NotImplementedError

    def reconfigure(self, settings: RouterSettings, now: Instant) -> list[Output]:
        raise NotImplementedError

    def advertisement(self, priority: int) -> Advertisement:
        """The record that ``SendAdvertisement(priority)`` stands for."""
        raise NotImplementedError
