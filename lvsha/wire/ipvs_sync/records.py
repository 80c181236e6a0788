"""One connection and one message, as they travel."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple, Self

from lvsha.core.addr import Address
from lvsha.core.errors import DecodeError, DropReason
from lvsha.wire.ipvs_sync import options as tlv
from lvsha.wire.ipvs_sync.names import FORWARDING_MASK, ConnFlag, state_name
from lvsha.wire.ipvs_sync.options import SequenceData

TYPE_INET6: Final = 0x01
"""Bit 0 of ``type``; the one bit that a receiver looks at before it insists on 0."""


class SyncConn(NamedTuple):
    """One entry, in wire units and with the field names of ``struct ip_vs_sync_v4`` and ``_v6``.

    A tuple and not a dataclass, and addresses as their bytes: a resync carries a
    million of these (measured: 2.4 M/s as this, 0.6 M/s as a frozen dataclass).
    ``client``, ``virtual`` and ``destination`` give addresses as objects.
    """

    type: int
    """0: IPv4. Bit 0: IPv6."""
    protocol: int
    flags: int
    """``ConnFlag`` and, in the low three bits, ``ForwardingMethod``."""
    state: int
    """Of the protocol; of a template, ``TemplateState``."""
    cport: int
    vport: int
    dport: int
    fwmark: int
    """0 in v0, which cannot say it."""
    timeout: int
    """Seconds: the state's whole time-out, not what is left. 0, and so always in v0: the receiver's own."""
    caddr: bytes
    """Four or sixteen bytes."""
    vaddr: bytes
    """In a fwmark template, the mark in the first four bytes."""
    daddr: bytes
    options: bytes = b""
    """The v1 options as they stand on the wire. A v0 entry's sequence data is kept in this form too."""

    @classmethod
    def build(
        cls,
        *,
        protocol: int,
        client: tuple[Address, int],
        virtual: tuple[Address, int],
        destination: tuple[Address, int],
        state: int,
        flags: int,
        timeout: int,
        fwmark: int = 0,
        sequence: SequenceData | None = None,
        pe_name: bytes = b"",
        pe_data: bytes = b"",
    ) -> Self:
        """An entry from ``(address, port)`` pairs, all three of one family."""
        caddr, vaddr, daddr = (endpoint[0].packed for endpoint in (client, virtual, destination))
        if not len(caddr) == len(vaddr) == len(daddr):
            raise ValueError("client, virtual and destination must be of one address family")
        return cls(
            type=TYPE_INET6 if len(caddr) == 16 else 0,
            protocol=protocol,
            flags=flags,
            state=state,
            cport=client[1],
            vport=virtual[1],
            dport=destination[1],
            fwmark=fwmark,
            timeout=timeout,
            caddr=caddr,
            vaddr=vaddr,
            daddr=daddr,
            options=tlv.encode_options(sequence=sequence, pe_name=pe_name, pe_data=pe_data),
        )

    @property
    def is_inet6(self) -> bool:
        return len(self.caddr) == 16

    @property
    def client(self) -> Address:
        return _address(self.caddr)

    @property
    def virtual(self) -> Address:
        return _address(self.vaddr)

    @property
    def destination(self) -> Address:
        return _address(self.daddr)

    @property
    def is_template(self) -> bool:
        return bool(self.flags & ConnFlag.TEMPLATE)

    @property
    def is_inactive(self) -> bool:
        return bool(self.flags & ConnFlag.INACTIVE)

    @property
    def forwarding_method(self) -> int:
        return self.flags & FORWARDING_MASK

    @property
    def state_name(self) -> str:
        return state_name(self.protocol, self.state, template=self.is_template)

    @property
    def sequence(self) -> SequenceData | None:
        return tlv.sequence_of(self.options)

    @property
    def pe_name(self) -> bytes:
        """``b"sip"``; empty when the entry has none."""
        return tlv.first_option(self.options, tlv.PE_NAME) or b""

    @property
    def pe_data(self) -> bytes:
        """What the persistence engine keeps (SIP: the Call-ID); empty when the entry has none."""
        return tlv.first_option(self.options, tlv.PE_DATA) or b""


class Loses(StrEnum):
    """What a problem costs at the receiver."""

    MESSAGE = "message"
    """Nothing of the datagram is taken."""
    REST = "rest"
    """This entry and all after it are lost; those before it stay."""
    ENTRY = "entry"
    """This entry only."""
    NOTHING = "nothing"
    """The receiver does not even notice; a sender that does this is still odd."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a message, and what the receiver does about it."""

    reason: DropReason
    loses: Loses
    offset: int
    """Bytes from the start of the message."""
    detail: str = ""
    entry: int | None = None
    """0-based; None: the message as a whole."""
    conn: SyncConn | None = None
    """What could be read of the entry although it is not installed."""

    def __str__(self) -> str:
        place = "message" if self.entry is None else f"entry {self.entry}"
        return f"{place} at byte {self.offset}: {self.reason}{f' ({self.detail})' if self.detail else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncMessage:
    """One datagram. ``entries`` is exactly what the receiver it was decoded for installs."""

    version: int
    syncid: int
    entries: tuple[SyncConn, ...]
    problems: tuple[Problem, ...] = ()
    """In the order of their offsets. Empty for whatever a sound kernel sends."""

    @property
    def lost(self) -> int:
        """How many entries can be told apart and are not installed; at least 1 if anything is lost."""
        losses = [problem for problem in self.problems if problem.loses is not Loses.NOTHING]
        return sum(problem.entry is not None for problem in losses) or min(1, len(losses))

    def require_clean(self) -> "SyncMessage":
        """This message, if nothing of it is lost.

        Raises:
            DecodeError: the first problem that loses something.
        """
        for problem in self.problems:
            if problem.loses is not Loses.NOTHING:
                raise DecodeError(problem.reason, problem.detail, offset=problem.offset)
        return self


def _address(packed: bytes) -> Address:
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
