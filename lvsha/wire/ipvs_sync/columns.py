"""The plain messages among many, as NumPy columns: fifty million entries a second.

A message is plain if it is IPv4, without options, and its receiver installs all of
it: nearly all that a kernel's master sends. The rules are those of ``decode_message``,
read a column at a time; whatever breaks one is left to it, whole, with its reasons.
NumPy is the extra ``fast``; nothing that runs all day imports this.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lvsha.wire.datagram_columns import Marks, Numbers, pairs, rows_at
from lvsha.wire.ipvs_sync import v0, v1
from lvsha.wire.ipvs_sync.names import SEQ_MASK, STATE_COUNT, ConnFlag

Words = NDArray[np.uint16]

_MAY_BE: Final = np.zeros(1 << 16, np.bool_)
"""By protocol and state: whether the kernel knows that state of that protocol."""
for _protocol, _count in STATE_COUNT.items():
    _MAY_BE[_protocol << 8 : (_protocol << 8) + _count] = True


class Columns(NamedTuple):
    """One number of each column belongs to one entry. Addresses have a row of high words and one of low."""

    message: Numbers
    """Which of the messages it is in; they are in order."""
    protocol: Numbers
    flags: Numbers
    state: Numbers
    cport: Words
    vport: Words
    dport: Words
    fwmark: Numbers
    timeout: Numbers
    caddr: Words
    vaddr: Words
    daddr: Words

    def messages(self) -> tuple[Numbers, Numbers]:
        """The first entry of each message, and how many it has."""
        first = np.flatnonzero(np.diff(self.message, prepend=-1))
        return first, np.diff(first, append=len(self.message))

    def of_whole_messages(self, good: Marks) -> "Columns":
        """Without the messages that have an entry which is not good."""
        if good.all():
            return self
        first, count = self.messages()
        wanted = np.repeat(np.logical_and.reduceat(good, first), count)
        return Columns._make(column[..., wanted] for column in self)


def plain_messages(
    data: NDArray[np.uint8], starts: Numbers, sizes: Numbers, *, maxlen: int
) -> dict[int, Columns]:
    """By version, the entries of those messages that are plain to a receiver with this ``sync_maxlen``.

    ``starts`` and ``sizes`` say where the messages lie in ``data``, none under eight bytes. A message of
    which no entry is in the answer is not plain.
    """
    heads = rows_at(data, starts, v1.HEADER_SIZE)
    whole = (pairs(heads, 2) == sizes) & (sizes <= maxlen)
    is_v1 = (heads[:, 0] == 0) & (heads[:, 5] == 1) & (pairs(heads, 6) == 0)
    found = {}
    for version, marks, counts, header, entry, read in (
        (1, is_v1, heads[:, 4], v1.HEADER_SIZE, v1.INET_SIZE, _read_v1),
        (0, ~is_v1, heads[:, 0], v0.HEADER_SIZE, v0.ENTRY_SIZE, _read_v0),
    ):
        count = counts.astype(np.intp)
        message = np.flatnonzero(whole & marks & (count > 0) & (sizes == header + entry * count))
        if len(message):
            count = count[message]
            first = np.cumsum(count) - count
            # The n-th entry of all is so many entries behind the first of its message.
            offsets = np.repeat(starts[message] + header - entry * first, count)
            offsets += entry * np.arange(len(offsets))
            words = rows_at(data, offsets, entry).view(">u2").T.astype(np.uint16)
            columns, good = read(np.repeat(message, count), words)
            found[version] = columns.of_whole_messages(good)
    return found


def _wide(high: Words, low: Words) -> Numbers:
    return (high.astype(np.intp) << 16) | low


def _read_v1(message: Numbers, words: Words) -> tuple[Columns, Marks]:
    protocol, state, flags = words[0].astype(np.intp), words[4].astype(np.intp), _wide(words[2], words[3])
    good = (words[0] < 256) & (words[1] == v1.INET_SIZE) & _has_state(protocol, state, flags)
    columns = Columns(
        message=message,
        protocol=protocol,
        flags=flags,
        state=state,
        cport=words[5],
        vport=words[6],
        dport=words[7],
        fwmark=_wide(words[8], words[9]),
        timeout=_wide(words[10], words[11]),
        caddr=words[12:14],
        vaddr=words[14:16],
        daddr=words[16:18],
    )
    return columns, good


def _read_v0(message: Numbers, words: Words) -> tuple[Columns, Marks]:
    protocol, state, flags = words[0].astype(np.intp), words[11].astype(np.intp), words[10].astype(np.intp)
    good = (words[0] < 256) & (flags & (SEQ_MASK | ConnFlag.ONE_PACKET) == 0)
    good &= _has_state(protocol, state, flags)
    zeros = np.zeros(len(message), np.intp)
    columns = Columns(
        message=message,
        protocol=protocol,
        flags=flags,
        state=state,
        cport=words[1],
        vport=words[2],
        dport=words[3],
        fwmark=zeros,
        timeout=zeros,
        caddr=words[4:6],
        vaddr=words[6:8],
        daddr=words[8:10],
    )
    return columns, good


def _has_state(protocol: Numbers, state: Numbers, flags: Numbers) -> Marks:
    known = _MAY_BE.take((protocol << 8) | state, mode="clip") & (state < 256)
    marks: Marks = known | (flags & ConnFlag.TEMPLATE != 0)
    return marks
