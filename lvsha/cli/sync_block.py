"""``lvsha sync decode --json`` a block of a capture at a time, with NumPy.

Plain messages, nearly all of a kernel's, become columns and those become lines; every
other frame goes through ``Decoder`` as it would without this, in its place.
"""

import argparse
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lvsha.cli.paste import Paste, Picked, Table
from lvsha.cli.sync_decoder import Decoder, Sink
from lvsha.cli.sync_format import NO_OPTIONS, address_text, flags_json, sender_json, state_json
from lvsha.cli.sync_options import wanted_ports
from lvsha.io.capture import RECORD_SIZE, Frame, pcap_records
from lvsha.wire.datagram_columns import Datagrams, Marks, Numbers, plain_datagrams, rows_at
from lvsha.wire.ipvs_sync.columns import Columns, plain_messages
from lvsha.wire.ipvs_sync.names import DEFAULT_PORT, FORWARDING_MASK, ConnFlag
from lvsha.wire.ipvs_sync.v1 import HEADER_SIZE

_FLAGS: Final = int(
    FORWARDING_MASK
    | ConnFlag.SYNC
    | ConnFlag.NOOUTPUT
    | ConnFlag.INACTIVE
    | ConnFlag.NO_CPORT
    | ConnFlag.TEMPLATE
    | ConnFlag.NFCT
)
"""The flags of an entry without options."""
_MARKS: Final = 1 << 16
_SECONDS: Final = 1 << 20
_TEMPLATE: Final = 1 << 16
_NOBODY: Final = -1


class JsonColumns:
    """Columns as JSON lines: the bytes that ``JsonLines`` would write."""

    def __init__(self) -> None:
        self._paste = Paste()
        self._states = Table(
            2 * _TEMPLATE,
            96,
            lambda number: state_json(0, number >> 8 & 0xFF, number & 0xFF, template=number >= _TEMPLATE),
        )
        self._flags = Table(_FLAGS + 1, 112, lambda number: f',{flags_json(number)},"caddr":"')
        self._high = Table(1 << 16, 8, lambda number: f"{number >> 8}.{number & 0xFF}.")
        self._low = Table(1 << 16, 8, lambda number: f"{number >> 8}.{number & 0xFF}")
        self._cports = Table(1 << 16, 16, lambda number: f'","cport":{number}')
        self._vports = Table(1 << 16, 16, lambda number: f',"vport":{number}')
        self._dports = Table(1 << 16, 16, lambda number: f',"dport":{number}')
        self._marks = Table(_MARKS, 16, lambda number: f',"fwmark":{number}')
        self._timeouts = Table(_SECONDS, 32, lambda number: f',"timeout":{number},"vaddr":"')

    @staticmethod
    def takes(columns: Columns) -> Marks:
        """Which entries have numbers that the tables hold."""
        marks: Marks = (
            (columns.flags & ~_FLAGS == 0)
            & (columns.state < 256)
            & (columns.fwmark < _MARKS)
            & (columns.timeout < _SECONDS)
        )
        return marks

    def lines(
        self, origins: NDArray[np.bytes_], origin: Numbers, columns: Columns
    ) -> tuple[memoryview, Numbers]:
        """The lines, good until the next call, and where each begins and the last ends.

        ``origin``: which of ``origins`` each entry has.
        """
        states = columns.state | columns.protocol << 8
        states += (columns.flags & ConnFlag.TEMPLATE != 0) * _TEMPLATE
        lengths = np.char.str_len(origins).astype(np.uint8)
        high, low = self._high.pick, self._low.pick
        return self._paste(
            (
                Picked(origins, origin, lengths.take(origin)),
                self._states.pick(states),
                self._flags.pick(columns.flags),
                high(columns.caddr[0]),
                low(columns.caddr[1]),
                self._cports.pick(columns.cport),
                self._vports.pick(columns.vport),
                self._dports.pick(columns.dport),
                self._marks.pick(columns.fwmark),
                self._timeouts.pick(columns.timeout),
                high(columns.vaddr[0]),
                low(columns.vaddr[1]),
                b'","daddr":"',
                high(columns.daddr[0]),
                low(columns.daddr[1]),
                f'",{NO_OPTIONS}}}\n'.encode(),
            ),
            len(origin),
        )


class BlockDecoder:
    """Reads parts of a pcap file for a ``Decoder`` that has no filter."""

    def __init__(
        self, decoder: Decoder, form: tuple[str, int, int], options: argparse.Namespace, out: Sink
    ) -> None:
        """``form``: the file's, see ``pcap_form``."""
        self._decoder = decoder
        self._order, self._unit_ns, self._link = form
        self._write = out.write
        self._maxlen: int = options.maxlen
        self._ports = np.zeros(1 << 16, np.bool_)
        self._ports[list(wanted_ports(options))] = True
        self._guesses = not options.port
        self._formats = {version: JsonColumns() for version in (0, 1)}

    def read(self, before: bytes, block: bytes) -> None:
        """Take a block, which begins with a record. What is written is good until the next call.

        ``before``: records before it, for the fragments of what ends in it.
        """
        frames = self._frames(block)
        found = plain_datagrams(frames.data, self._link, frames.start, frames.usable)
        found = found.of(self._is_wanted(found))
        # Of each frame: whose lines it is in, and where.
        owner = np.full(len(frames.start), _NOBODY)
        begin, end = np.zeros((2, len(owner)), np.intp)
        lines = {}
        for version, columns in plain_messages(
            frames.data, found.start, found.size, maxlen=self._maxlen
        ).items():
            columns = columns.of_whole_messages(JsonColumns.takes(columns))
            first, count = columns.messages()
            messages = found.of(columns.message[first])
            if not len(first):
                continue
            lines[version], bounds = self._formats[version].lines(
                self._origins(version, messages, frames), np.repeat(np.arange(len(first)), count), columns
            )
            owner[messages.frame] = version
            begin[messages.frame] = bounds[first]
            end[messages.frame] = bounds[first + count]
            self._decoder.outcome.messages += len(first)
        if (owner == _NOBODY).any():
            self._remember(before)
        edges = [0, *(np.flatnonzero(np.diff(owner)) + 1).tolist(), len(owner)]
        for here, after in pairwise(edges):
            version = int(owner[here])
            if version == _NOBODY:
                for number in range(here, after):
                    self._decoder.read(self._frame(frames, number))
            else:
                self._write(lines[version][begin[here] : end[after - 1]])

    def _remember(self, block: bytes) -> None:
        frames = self._frames(block)
        plain = plain_datagrams(frames.data, self._link, frames.start, frames.size)
        for number in np.setdiff1d(np.arange(len(frames.start)), plain.frame).tolist():
            self._decoder.remember(self._frame(frames, number))

    def _frames(self, block: bytes) -> "_Frames":
        data = np.frombuffer(block, np.uint8)
        records = np.array(pcap_records(block, self._order), np.intp)
        heads = rows_at(data, records, RECORD_SIZE).view(f"{self._order}u4").astype(np.intp)
        seconds, fraction, captured, length = heads.T
        start = records + RECORD_SIZE
        size = np.minimum(captured, len(block) - start)
        fraction_ns = fraction * self._unit_ns
        is_whole = (size >= length) & (fraction_ns < 1_000_000_000)
        return _Frames(block, data, seconds, fraction_ns, start, size, length, np.where(is_whole, size, 0))

    def _frame(self, frames: "_Frames", number: int) -> Frame:
        start, size = int(frames.start[number]), int(frames.size[number])
        time_ns = int(frames.seconds[number]) * 1_000_000_000 + int(frames.fraction_ns[number])
        return Frame(time_ns, self._link, frames.block[start : start + size], int(frames.length[number]))

    def _is_wanted(self, found: Datagrams) -> Marks:
        """As ``is_sync_destination``, and long enough for a header."""
        wanted = self._ports[found.port] & (found.size >= HEADER_SIZE)
        if self._guesses:
            wanted &= (found.port == DEFAULT_PORT) | (found.destination[:, 0] >> 4 == 0xE)
        return wanted

    def _origins(self, version: int, messages: Datagrams, frames: "_Frames") -> NDArray[np.bytes_]:
        source = messages.source.view(">u4")[:, 0].astype(np.intp)
        syncid = frames.data[messages.start + 1]
        senders, which = np.unique(source << 24 | messages.port << 8 | syncid, return_inverse=True)
        known = [
            sender_json(
                address_text((number >> 24).to_bytes(4)), number >> 8 & 0xFFFF, version, number & 0xFF
            )
            for number in senders.tolist()
        ]
        return np.array(
            [
                f'{{"time":{seconds}.{fraction_ns:09d}{known[number]}'
                for seconds, fraction_ns, number in zip(
                    frames.seconds[messages.frame].tolist(),
                    frames.fraction_ns[messages.frame].tolist(),
                    which.tolist(),
                    strict=True,
                )
            ],
            np.bytes_,
        )


class _Frames(NamedTuple):
    """A block, and one number of each column for one of its frames."""

    block: bytes
    data: NDArray[np.uint8]
    seconds: Numbers
    fraction_ns: Numbers
    start: Numbers
    size: Numbers
    """What the capture holds."""
    length: Numbers
    """On the wire."""
    usable: Numbers
    """The size, or 0 where something is unusual."""
