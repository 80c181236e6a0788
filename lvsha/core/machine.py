"""The shape of every machine.

A machine takes records and ``now`` and returns what follows, in order. It never
awaits, logs, reads a clock, rolls a die or opens anything. Outputs come in two
tenses: *imperative* records are actions that the shell must carry out
(``SendAdvertisement``), *past* records are events that happened
(``BecameMaster``). An action that fails comes back as an input.

The driver may call ``on_deadline`` late, never early: it passes
``max(deadline, clock)``.
"""

from typing import Protocol

from lvsha.core.instant import Instant


class Output:
    """What a machine returns: an ``Action`` or an ``Event``."""

    __slots__ = ()


class Action(Output):
    """Imperative: the shell must do it."""

    __slots__ = ()


class Event(Output):
    """Past: it happened. ``agent/journal.py`` turns it into a log line of stable name."""

    __slots__ = ()


class Machine(Protocol):
    """What a driver needs to know of a machine."""

    @property
    def deadline(self) -> Instant | None:
        """When ``on_deadline`` wants to be called; None: only on input."""

    def on_deadline(self, now: Instant) -> list[Output]:
        """The deadline has passed."""
