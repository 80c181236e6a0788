"""The virtual router's machine, as data: what ``vrrp.router`` does and what the diagrams are drawn from.

One row per phase and input: what is done, in order, and what follows. The rules
that the last column names are those at the top of ``vrrp.router``; the numbers
are sections of RFC 9568.
"""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """As operators say it. RFC 9568: Initialize, Backup, Active; FAULT is everybody's addition."""

    INIT = "INIT"
    BACKUP = "BACKUP"
    MASTER = "MASTER"
    FAULT = "FAULT"


class Phase(StrEnum):
    """What the table is about: the states, two of them told apart by who holds the addresses."""

    IDLE = "IDLE"
    RELEASING = "RELEASING"
    """Priority 0 is out, the addresses are still bound."""
    BACKUP = "BACKUP"
    ADOPTING = "ADOPTING"
    """Listening, the addresses still bound."""
    MASTER = "MASTER"
    FAULT = "FAULT"


STATE_OF = {
    Phase.IDLE: State.INIT,
    Phase.RELEASING: State.INIT,
    Phase.BACKUP: State.BACKUP,
    Phase.ADOPTING: State.BACKUP,
    Phase.MASTER: State.MASTER,
    Phase.FAULT: State.FAULT,
}
HOLDING = frozenset({Phase.MASTER, Phase.ADOPTING, Phase.RELEASING})


class Input(StrEnum):
    """What can happen to a router."""

    START = "start"
    START_OWNER = "start as owner"
    START_WAS_MASTER = "start, was MASTER a moment ago"
    START_HELD = "start, addresses still bound"
    START_UNUSABLE = "start, interface unusable"
    START_HELD_UNUSABLE = "start, interface unusable, addresses still bound"
    MASTER_SILENT = "silence for master_down_interval"
    ADVERT_DUE = "advert_interval passed"
    HEARD_ZERO = "advert of priority 0"
    HEARD_BETTER = "better advert"
    HEARD_SUCCESSOR = "a successor's first advert"
    HEARD_WORSE = "worse advert"
    HEARD_WHILE_MUTE = "worse advert, ours cannot be sent"
    INTERFACE_LOST = "interface lost"
    INTERFACE_BACK = "interface back"
    INTERFACE_BACK_OWNER = "interface back, owner"
    BIND_FAILED = "address not bound"
    RETRY_DUE = "time to try again"
    OVERSLEPT = "late by master_down_interval"
    RELEASE = "release"
    RELEASE_OVER = "release_deadline passed"
    RESUME = "resume"
    SHUTDOWN = "shutdown"


class Step(StrEnum):
    """What a transition does; ``VirtualRouter`` has a method of each name."""

    ADVERTISE = "send an advert"
    ADVERTISE_ZERO = "send priority 0"
    BIND = "add the addresses that are missing"
    UNBIND = "remove the addresses"
    ANNOUNCE = "announce"
    ANNOUNCE_LATER = "announce at the next refresh"
    STOP_ANNOUNCING = "stop announcing"
    FOLLOW = "follow its sender"
    BE_MODEST = "preempt nobody"
    WAIT_DOWN = "wait master_down_interval"
    WAIT_SKEW = "wait skew_time"
    WAIT_ADVERT = "wait advert_interval"
    WAIT_RELEASE = "wait for a successor, or to say it again"
    WAIT_SUCCESSOR = "wait for its second advert"
    WAIT_RETRY = "wait, longer each time"
    WAIT_NOTHING = "stop the timer"
    TELL = "tell"
    TELL_ADOPTED = "tell what was adopted"
    TELL_DUPLICATE = "tell of the second MASTER"


@dataclass(frozen=True, slots=True)
class Transition:
    phase: Phase
    on: Input
    then: Phase
    steps: tuple[Step, ...]
    source: str


p, on, do = Phase, Input, Step
take_over = (do.ADVERTISE, do.BIND, do.ANNOUNCE, do.TELL, do.WAIT_ADVERT)
resume = (do.TELL_ADOPTED, do.ADVERTISE, do.BIND, do.ANNOUNCE_LATER, do.TELL, do.WAIT_ADVERT)
listen = (do.TELL, do.WAIT_DOWN)
leave = (do.ADVERTISE_ZERO, do.STOP_ANNOUNCING, do.UNBIND, do.TELL)
yield_to = (do.STOP_ANNOUNCING, do.UNBIND, do.FOLLOW, do.TELL, do.WAIT_DOWN)
drop = (do.STOP_ANNOUNCING, do.UNBIND, do.TELL, do.WAIT_NOTHING)
rest = (do.TELL, do.WAIT_NOTHING)

# fmt: off
TRANSITIONS = (
    Transition(p.IDLE, on.START, p.BACKUP, listen, "6.4.1"),
    Transition(p.IDLE, on.START_OWNER, p.MASTER, take_over, "6.4.1"),
    Transition(p.IDLE, on.START_WAS_MASTER, p.MASTER, resume, "rule 3"),
    Transition(p.IDLE, on.START_HELD, p.ADOPTING, (do.TELL_ADOPTED, *listen), "rule 3"),
    Transition(p.IDLE, on.START_UNUSABLE, p.FAULT, rest, "rule 3"),
    Transition(p.IDLE, on.START_HELD_UNUSABLE, p.FAULT, drop, "rule 3"),
    Transition(p.IDLE, on.RELEASE, p.IDLE, (do.TELL,), "rule 4"),

    Transition(p.BACKUP, on.MASTER_SILENT, p.MASTER, take_over, "6.4.2"),
    Transition(p.BACKUP, on.HEARD_ZERO, p.BACKUP, (do.WAIT_SKEW,), "6.4.2"),
    Transition(p.BACKUP, on.HEARD_BETTER, p.BACKUP, (do.FOLLOW, do.WAIT_DOWN), "6.4.2"),
    Transition(p.BACKUP, on.HEARD_WORSE, p.BACKUP, (), "6.4.2"),
    Transition(p.BACKUP, on.INTERFACE_LOST, p.FAULT, rest, "rule 7"),
    Transition(p.BACKUP, on.RELEASE, p.IDLE, rest, "6.4.2"),
    Transition(p.BACKUP, on.SHUTDOWN, p.IDLE, rest, "6.4.2"),

    Transition(p.ADOPTING, on.MASTER_SILENT, p.MASTER, take_over, "6.4.2"),
    Transition(p.ADOPTING, on.HEARD_ZERO, p.ADOPTING, (do.WAIT_SKEW,), "6.4.2"),
    Transition(p.ADOPTING, on.HEARD_BETTER, p.BACKUP, yield_to, "rule 3"),
    Transition(p.ADOPTING, on.HEARD_WORSE, p.BACKUP, (do.STOP_ANNOUNCING, do.UNBIND, do.TELL), "rule 3"),
    Transition(p.ADOPTING, on.INTERFACE_LOST, p.FAULT, drop, "rule 7"),
    Transition(p.ADOPTING, on.RELEASE, p.IDLE, drop, "rule 4"),
    Transition(p.ADOPTING, on.SHUTDOWN, p.IDLE, drop, "rule 4"),

    Transition(p.MASTER, on.ADVERT_DUE, p.MASTER, (do.ADVERTISE, do.WAIT_ADVERT), "6.4.3"),
    Transition(p.MASTER, on.HEARD_ZERO, p.MASTER, (do.ADVERTISE, do.ANNOUNCE, do.WAIT_ADVERT), "6.4.3"),
    Transition(p.MASTER, on.HEARD_WORSE, p.MASTER,
               (do.ADVERTISE, do.ANNOUNCE, do.TELL_DUPLICATE, do.WAIT_ADVERT), "6.4.3, rule 5"),
    Transition(p.MASTER, on.HEARD_BETTER, p.BACKUP, (do.ADVERTISE, *yield_to), "6.4.3, rule 5"),
    Transition(p.MASTER, on.HEARD_WHILE_MUTE, p.BACKUP,
               (do.BE_MODEST, do.TELL_DUPLICATE, *yield_to), "rule 7"),
    Transition(p.MASTER, on.INTERFACE_LOST, p.FAULT, (*leave, do.WAIT_NOTHING), "rule 7"),
    Transition(p.MASTER, on.BIND_FAILED, p.FAULT, (do.BE_MODEST, *leave, do.WAIT_RETRY), "rule 7"),
    Transition(p.MASTER, on.OVERSLEPT, p.ADOPTING, (do.STOP_ANNOUNCING, *listen), "rule 6"),
    Transition(p.MASTER, on.RELEASE, p.RELEASING,
               (do.ADVERTISE_ZERO, do.STOP_ANNOUNCING, do.TELL, do.WAIT_RELEASE), "6.4.3, rule 4"),
    Transition(p.MASTER, on.SHUTDOWN, p.IDLE, (*leave, do.WAIT_NOTHING), "6.4.3"),

    Transition(p.RELEASING, on.HEARD_SUCCESSOR, p.RELEASING, (do.FOLLOW, do.WAIT_SUCCESSOR), "rule 4"),
    Transition(p.RELEASING, on.HEARD_BETTER, p.IDLE, drop, "rule 4"),
    Transition(p.RELEASING, on.ADVERT_DUE, p.RELEASING, (do.ADVERTISE_ZERO, do.WAIT_RELEASE), "rule 4"),
    Transition(p.RELEASING, on.RELEASE_OVER, p.IDLE, drop, "rule 4"),
    Transition(p.RELEASING, on.INTERFACE_LOST, p.IDLE, drop, "rule 4"),
    Transition(p.RELEASING, on.SHUTDOWN, p.IDLE, drop, "rule 4"),
    Transition(p.RELEASING, on.RESUME, p.ADOPTING, listen, "rule 3"),

    Transition(p.FAULT, on.INTERFACE_BACK, p.BACKUP, listen, "6.4.1"),
    Transition(p.FAULT, on.INTERFACE_BACK_OWNER, p.MASTER, take_over, "6.4.1"),
    Transition(p.FAULT, on.INTERFACE_LOST, p.FAULT, rest, "rule 7"),
    Transition(p.FAULT, on.RETRY_DUE, p.BACKUP, listen, "rule 7"),
    Transition(p.FAULT, on.RELEASE, p.IDLE, rest, "rule 4"),
    Transition(p.FAULT, on.SHUTDOWN, p.IDLE, rest, "rule 4"),
)
# fmt: on

TABLE = {(row.phase, row.on): row for row in TRANSITIONS}
