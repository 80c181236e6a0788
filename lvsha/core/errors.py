"""Errors, by whose mistake it is.

=========================  =================  ==========================================
whose data                 raise              then
=========================  =================  ==========================================
a peer's bytes             ``DecodeError``    dropped, counted by reason, never fatal
a peer's credentials       ``AuthError``      as above, rate-limited log
the operator's text        ``ConfigErrors``   refused whole, the old one runs on
the kernel's answer        ``KernelError``    an input to the machine that asked
a caller misusing us       ``StateError``     a bug: fix the caller
ourselves                  ``assert``         crash loudly, adopt at restart
=========================  =================  ==========================================
"""

import errno as errno_module
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class LvshaError(Exception):
    """Everything that lvsha raises on purpose, but for failed assertions."""


class DropReason(StrEnum):
    """Why a peer's bytes were refused. Every member is produced by a vector in ``proto/vectors``."""

    # Any decoder
    TRUNCATED = "truncated"
    """Fewer bytes than the fixed part of the record needs."""
    TRAILING_BYTES = "trailing_bytes"
    """More bytes than the record says it has."""
    BAD_CHECKSUM = "bad_checksum"
    BAD_VERSION = "bad_version"

    # VRRP, RFC 9568 section 7.1 and RFC 3768 section 7.1
    BAD_TTL = "bad_ttl"
    BAD_TYPE = "bad_type"
    BAD_AUTH_TYPE = "bad_auth_type"
    AUTH_FAILED = "auth_failed"
    NO_ADDRESSES = "no_addresses"
    BAD_INTERVAL = "bad_interval"
    UNKNOWN_VRID = "unknown_vrid"
    WE_ARE_OWNER = "we_are_owner"
    INTERVAL_MISMATCH = "interval_mismatch"
    ADDRESS_MISMATCH = "address_mismatch"
    UNKNOWN_PEER = "unknown_peer"
    OWN_PACKET = "own_packet"

    # Authenticated adverts, proto/lvsha_vrrp_auth.md; and AUTH_FAILED, UNKNOWN_KEY, REPLAYED
    UNAUTHENTICATED = "unauthenticated"
    STALE = "stale"
    """Older than a minute, and nothing newer was ever heard of its sender."""

    # IPVS synchronisation, kernel-sync section 1.8
    BAD_MESSAGE_SIZE = "bad_message_size"
    """The size field differs from the datagram's length."""
    SYNCID_MISMATCH = "syncid_mismatch"
    ENTRY_TRUNCATED = "entry_truncated"
    ENTRY_OVERRUN = "entry_overrun"
    BAD_ENTRY_VERSION = "bad_entry_version"
    BAD_ENTRY_TYPE = "bad_entry_type"
    ENTRY_TOO_SMALL = "entry_too_small"
    OPTION_TRUNCATED = "option_truncated"
    BAD_OPTION_LENGTH = "bad_option_length"
    BAD_SEQUENCE_OPTION = "bad_sequence_option"
    BAD_PE_DATA = "bad_pe_data"
    BAD_PE_NAME = "bad_pe_name"
    UNKNOWN_OPTION = "unknown_option"
    UNKNOWN_PROTOCOL = "unknown_protocol"
    BAD_STATE = "bad_state"
    PE_INCOMPLETE = "pe_incomplete"
    """Persistence-engine data without a name, or an engine that is not loaded."""
    NO_INET6 = "no_inet6"
    """An IPv6 entry, and a receiver whose kernel was built without IPv6."""
    AFTER_BAD_ENTRY = "after_bad_entry"
    """Sound, but an earlier entry made the receiver drop the rest of the message."""
    NEVER_HASHED = "never_hashed"
    """A v0 entry marked one-packet: it can update or end a row, but nothing finds the one made of it."""

    # The relay, proto/lvsha_relay_v1.md
    BAD_MAGIC = "bad_magic"
    WRONG_RECEIVER = "wrong_receiver"
    UNKNOWN_KEY = "unknown_key"
    """Sealed with a key that the key file does not have."""
    REPLAYED = "replayed"
    """This sequence was taken already, or lies before the window."""
    UNKNOWN_EPOCH = "unknown_epoch"
    """Authentic, of a life of the peer that has not answered a challenge."""
    STALE_EPOCH = "stale_epoch"
    """Authentic, and meant for an earlier life of ours."""
    BAD_ECHO = "bad_echo"
    """A WELCOME that answers no outstanding challenge."""
    FLOODED = "flooded"
    """More tries at unknown epochs than the budget allows; not even opened."""
    WINDOW_FULL = "window_full"
    """The peer sends on though 256 of its frames wait to be installed."""
    BAD_RESERVED = "bad_reserved"
    BAD_COUNT = "bad_count"
    BAD_RANGE = "bad_range"
    BAD_GENERATION = "bad_generation"


class DecodeError(LvshaError):
    """A peer's bytes are not a valid record. Nothing else may leave a decoder."""

    def __init__(self, reason: DropReason, detail: str = "", *, offset: int | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
        self.offset = offset
        """Bytes from the start of the datagram to what was wrong, where it is known."""


class AuthError(LvshaError):
    """A peer's credentials do not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigProblem:
    """One thing wrong with a configuration."""

    path: str
    """Where in the settings: ``service[0].realserver[2].port``."""
    message: str
    """What is wrong, in a sentence."""
    line: int | None = None
    """1-based line of the file, where it is known."""
    suggestion: str | None = None
    """What to write instead."""

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line is not None else ""
        hint = f" ({self.suggestion})" if self.suggestion else ""
        return f"{place}{self.path}: {self.message}{hint}"


class ConfigErrors(LvshaError):
    """The operator's text is refused; ``problems`` holds every one found."""

    def __init__(self, source: str, problems: Sequence[ConfigProblem]) -> None:
        assert problems, "a refusal names at least one problem"
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))
        self.source = source
        self.problems = tuple(problems)


class KernelError(LvshaError):
    """The kernel refused a request."""

    def __init__(self, operation: str, errno: int, extack: str = "") -> None:
        name = errno_module.errorcode.get(errno, str(errno))
        super().__init__(f"{operation}: {name} ({extack})" if extack else f"{operation}: {name}")
        self.operation = operation
        self.errno = errno
        self.extack = extack


class StateError(LvshaError):
    """A caller used us wrongly: fix the caller."""
