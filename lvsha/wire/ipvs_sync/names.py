"""The numbers of the sync protocol, spelled as the kernel spells them."""

from enum import IntEnum, IntFlag
from itertools import chain
from typing import Final

DEFAULT_GROUP: Final = "224.0.0.81"
DEFAULT_PORT: Final = 8848
DEFAULT_MAXLEN: Final = 1472
"""UDP payload of a master whose ``sync_maxlen`` nobody set, whatever its MTU."""


class Protocol(IntEnum):
    """The protocols that IPVS balances. A template of a fwmark service carries IP, 0."""

    IP = 0
    TCP = 6
    UDP = 17
    ESP = 50
    AH = 51
    SCTP = 132


class TcpState(IntEnum):
    NONE = 0
    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT = 4
    TIME_WAIT = 5
    CLOSE = 6
    CLOSE_WAIT = 7
    LAST_ACK = 8
    LISTEN = 9
    SYNACK = 10


class SctpState(IntEnum):
    NONE = 0
    INIT1 = 1
    INIT = 2
    COOKIE_SENT = 3
    COOKIE_REPLIED = 4
    COOKIE_WAIT = 5
    COOKIE = 6
    COOKIE_ECHOED = 7
    ESTABLISHED = 8
    SHUTDOWN_SENT = 9
    SHUTDOWN_RECEIVED = 10
    SHUTDOWN_ACK_SENT = 11
    REJECTED = 12
    CLOSED = 13


class TemplateState(IntEnum):
    NONE = 0
    ASSURED = 1


class ForwardingMethod(IntEnum):
    """The low three bits of ``flags``. 5-7 have no meaning and are not refused."""

    MASQ = 0
    LOCALNODE = 1
    TUNNEL = 2
    DROUTE = 3
    BYPASS = 4


FORWARDING_MASK: Final = 0x0007


class ConnFlag(IntFlag):
    """The rest of ``flags``."""

    SYNC = 0x0020
    """The sender learned this connection by sync itself."""
    HASHED = 0x0040
    NOOUTPUT = 0x0080
    """Answers do not pass the director: set for every method but MASQ."""
    INACTIVE = 0x0100
    OUT_SEQ = 0x0200
    IN_SEQ = 0x0400
    NO_CPORT = 0x0800
    """The client's port is not known yet (FTP data)."""
    TEMPLATE = 0x1000
    """Persistence: not a connection, but the rule that sends a client's next one to the same server."""
    ONE_PACKET = 0x2000
    NFCT = 0x10000
    """The sender keeps a conntrack entry for it."""


SEQ_MASK: Final = ConnFlag.OUT_SEQ | ConnFlag.IN_SEQ
BACKUP_MASK: Final = 0x1F87
"""What a v1 receiver takes from ``flags`` when it makes a row."""
UPDATE_MASK: Final = ConnFlag.INACTIVE | SEQ_MASK
"""What it takes when it has the row already."""

STATE_COUNT: Final[dict[int, int]] = {
    Protocol.TCP: len(TcpState),
    Protocol.UDP: 1,
    Protocol.SCTP: len(SctpState),
    Protocol.AH: 1,
    Protocol.ESP: 1,
}
"""How many states the kernel knows of each protocol; a higher number is refused."""

DEFAULT_TIMEOUT_S: Final[dict[int, tuple[int, ...]]] = {
    Protocol.TCP: (2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120),
    Protocol.UDP: (300,),
    Protocol.SCTP: (2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61),
}
"""A state's time-out in a kernel whose tables nobody changed."""
DEFAULT_TEMPLATE_TIMEOUT_S: Final = 180
"""Also of AH and ESP, which have no table."""

_STATE_NAMES: Final[dict[int, tuple[str, ...]]] = {
    Protocol.TCP: tuple(state.name for state in TcpState),
    Protocol.UDP: ("UDP",),
    Protocol.SCTP: (
        "NONE", "INIT1", "INIT", "C-SENT", "C-REPLIED", "C-WAIT", "COOKIE", "C-ECHOED",
        "ESTABLISHED", "S-SENT", "S-RECEIVED", "S-ACK-SENT", "REJECTED", "CLOSED",
    ),
    # The kernel has one state for these and no name; /proc prints ERR!.
    Protocol.AH: ("NONE",),
    Protocol.ESP: ("NONE",),
}  # fmt: skip
_TEMPLATE_STATE_NAMES: Final = tuple(state.name for state in TemplateState)

_PROTOCOL_NAMES: Final[dict[int, str]] = {protocol.value: protocol.name for protocol in Protocol}


def protocol_name(protocol: int) -> str:
    """``TCP``; a number without a name as the number."""
    return _PROTOCOL_NAMES.get(protocol, str(protocol))


def state_name(protocol: int, state: int, *, template: bool = False) -> str:
    """A state as /proc/net/ip_vs_conn names it; a number without a name as ``#number``."""
    names = _TEMPLATE_STATE_NAMES if template else _STATE_NAMES.get(protocol, ())
    return names[state] if state < len(names) else f"#{state}"


def state_number(protocol: int, name: str, *, template: bool = False) -> int:
    """The inverse of ``state_name``.

    Raises:
        ValueError: that protocol has no such state.
    """
    names = _TEMPLATE_STATE_NAMES if template else _STATE_NAMES.get(protocol, ())
    if name in names:
        return names.index(name)
    if name.startswith("#") and name[1:].isdigit():
        return int(name[1:])
    raise ValueError(f"{protocol_name(protocol)} has no state {name!r}; it has {', '.join(names) or 'none'}")


def state_names() -> tuple[str, ...]:
    """All that ``state_name`` may say of a row of /proc/net/ip_vs_conn, in order."""
    return tuple(sorted({*chain(*_STATE_NAMES.values()), *_TEMPLATE_STATE_NAMES}))


def flag_names(flags: int) -> tuple[str, ...]:
    """The forwarding method first, then each flag; bits without a name as one hex number."""
    method = flags & FORWARDING_MASK
    names = [ForwardingMethod(method).name if method <= ForwardingMethod.BYPASS else f"METHOD_{method}"]
    rest = flags & ~FORWARDING_MASK
    for flag in ConnFlag:
        if rest & flag:
            names.append(flag.name or "")
            rest &= ~flag
    if rest:
        names.append(f"{rest:#x}")
    return tuple(names)


def is_active(protocol: int, state: int) -> bool:
    """Whether a connection in this state counts as active, so that INACTIVE is not set."""
    if protocol == Protocol.TCP:
        return state in (TcpState.ESTABLISHED, TcpState.SYN_SENT, TcpState.SYN_RECV, TcpState.SYNACK)
    return protocol == Protocol.SCTP and state == SctpState.ESTABLISHED


def default_timeout_s(protocol: int, state: int, *, template: bool = False) -> int:
    """What a receiver takes for a time-out of 0, and for every v0 entry."""
    table = () if template else DEFAULT_TIMEOUT_S.get(protocol, ())
    return table[state] if state < len(table) else DEFAULT_TEMPLATE_TIMEOUT_S
