"""What one probe found."""

from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """Why a probe ended as it did. The values are stable: they appear in events and JSON."""

    OK = "ok"

    # The realserver's fault, or the network's
    TIMEOUT = "timeout"
    """No verdict within the check's time-out; the detail says in which phase."""
    REFUSED = "refused"
    RESET = "reset"
    UNREACHABLE = "unreachable"
    """An ICMP error, or the neighbour did not answer."""
    CLOSED = "closed"
    """The connection ended before the answer did."""
    BAD_RESPONSE = "bad_response"
    """The answer is not in the protocol."""
    BAD_STATUS = "bad_status"
    BODY_MISMATCH = "body_mismatch"
    DIGEST_MISMATCH = "digest_mismatch"
    TOO_LONG = "too_long"
    """The answer passed a bound."""
    TLS_FAILED = "tls_failed"
    CERTIFICATE_INVALID = "certificate_invalid"
    NONZERO_EXIT = "nonzero_exit"
    TOLD_DOWN = "told_down"
    """The realserver, or the operator's file, says that it is down."""

    UNRESOLVABLE = "unresolvable"
    """A name without an address. Only ``lvsha check run`` asks for names: a director is told addresses."""

    # Ours: the realserver may be well, but we cannot know
    BIND_FAILED = "bind_failed"
    NO_DESCRIPTORS = "no_descriptors"
    NO_ROUTE = "no_route"
    NOT_PERMITTED = "not_permitted"
    NO_PORTS = "no_ports"
    """No local port is left for a connection to the target."""
    MISCONFIGURED = "misconfigured"
    """A file the check needs is missing or wrong."""
    INTERNAL = "internal"
    """An operating system error without a name here."""


class Timings(NamedTuple):
    """How long each phase took, in nanoseconds from the start of the probe; None: not reached."""

    total: int = 0
    connected: int | None = None
    tls: int | None = None
    first_byte: int | None = None


class ProbeResult(NamedTuple):
    """One probe's verdict and its evidence.

    Two of these are made per probe, thousands a second: as frozen dataclasses they
    cost 1.7 us of a check's 20, as tuples 0.6.
    """

    ok: bool
    reason: Reason = Reason.OK
    detail: str = ""
    """What was expected and what came, at most ``DETAIL_LIMIT`` characters."""
    timings: Timings = Timings()
    ours: bool = False
    """The check could not be made because of us: bind, descriptors, route, permission."""
    lag: int = 0
    """By how much the loop that measured this was late while it did, in nanoseconds."""
    weight: int | None = None
    """A weight that the check itself gives (exec with ``weight_from_exit``); None: the configured one."""
    percent: int | None = None
    """A share of the configured weight that the realserver asks for (agent, file); None: all."""
    warning: str = ""
    """Something to tell although the check passed: a certificate that soon ends."""


DETAIL_LIMIT = 200


def bounded_detail(text: str) -> str:
    """``text`` in one printable line of at most ``DETAIL_LIMIT`` characters."""
    line = "".join(c if c.isprintable() else "." for c in text[: DETAIL_LIMIT + 1])
    return line if len(line) <= DETAIL_LIMIT else line[: DETAIL_LIMIT - 3] + "..."
