"""Sync entries as text and as JSON lines.

JSON is built from pieces that repeat: a capture of a gigabyte has 27 million
entries, too many to make a dict of each for ``json.dumps``.
"""

import json
import struct
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Final

from lvsha.wire.ipvs_sync.names import ConnFlag, flag_names, protocol_name, state_name
from lvsha.wire.ipvs_sync.records import Problem, SyncConn
from lvsha.wire.ipvs_sync.v1 import INET_SIZE, inet6_pieces, inet_pieces

_CACHE_LIMIT: Final = 65_536
_DOTTED: Final = tuple(f"{number}." for number in range(256))
_LAST: Final = tuple(f'{number}","cport":' for number in range(256))


def address_text(packed: bytes) -> str:
    """``10.0.0.1`` or ``fd00::1``."""
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


def endpoint(packed: bytes, port: int) -> str:
    """``10.0.0.1:80`` or ``[fd00::1]:80``."""
    text = address_text(packed)
    return f"{text}:{port}" if len(packed) == 4 else f"[{text}]:{port}"


def time_text(time_ns: int) -> str:
    """Time of day, UTC, to the microsecond."""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%H:%M:%S") + (
        f".{time_ns % 1_000_000_000 // 1000:06d}"
    )


def bytes_text(data: bytes) -> str:
    """As text; what is none as ``\\xff``."""
    return data.decode("utf-8", "backslashreplace")


def sender_json(source: str, port: int, version: int, syncid: int) -> str:
    """What stands in a line between its time and its entry."""
    return f',"source":"{source}","port":{port},"version":{version},"syncid":{syncid},'


class Origin:
    """Where a message came from, in both forms, made once for all of its entries."""

    def __init__(self, *, time_ns: int, source: str, port: int, version: int, syncid: int) -> None:
        self._time_ns = time_ns
        self._source = source
        self._version = version
        self._syncid = syncid
        seconds, fraction = divmod(time_ns, 1_000_000_000)
        self.json = f'{{"time":{seconds}.{fraction:09d}{sender_json(source, port, version, syncid)}'

    @property
    def text(self) -> str:
        return f"{time_text(self._time_ns)}  {self._source}  id {self._syncid} v{self._version}"


class _Texts(dict[bytes, str]):
    """Texts that are made once for each key, and forgotten when there are too many."""

    def __init__(self, make: Callable[[bytes], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: bytes) -> str:
        if len(self) > _CACHE_LIMIT:
            self.clear()
        text = self[key] = self._make(key)
        return text


class JsonLines:
    """Entries as JSON, one object a line."""

    def __init__(self) -> None:
        self._heads = _Texts(_head_text)
        self._middles = _Texts(_middle_text)
        self._tails = _Texts(_tail_text)

    def entries(self, origin: Origin, entries: Iterable[SyncConn]) -> bytes:
        """Lines for entries that are installed."""
        return "".join([f"{origin.json}{_entry_text(conn)}}}\n" for conn in entries]).encode()

    def bare(self, conn: SyncConn) -> str:
        """An object with the connection's fields alone."""
        return f"{{{_entry_text(conn)}}}"

    def uniform(self, origin: Origin, data: bytes, stride: int) -> bytes:
        """The same for a message that ``uniform_stride`` finds uniform, several times as fast.

        What repeats is looked up as text. The client's address and port hardly ever do: they are put
        together from texts of single bytes, which stay in the processor's cache. (A table of 65,536 texts
        for two bytes at once takes a third longer.)
        """
        heads, middles, tails = self._heads, self._middles, self._tails
        if stride == INET_SIZE:
            dotted, last = _DOTTED, _LAST
            lines = [
                f"{heads[head]}{dotted[a]}{dotted[b]}{dotted[c]}{last[d]}{cport}{middles[middle]}{tails[tail]}"
                for head, cport, middle, a, b, c, d, tail in inet_pieces(data)
            ]
        else:
            lines = [
                f'{heads[head]}{address_text(caddr)}","cport":{cport}{middles[middle]}{tails[tail]}'
                for head, cport, middle, caddr, tail in inet6_pieces(data)
            ]
        return (origin.json + origin.json.join(lines)).encode()

    def problem(self, origin: Origin, problem: Problem) -> bytes:
        """A line for something that is not, with as much of the entry as could be read."""
        error = {
            "error": str(problem.reason),
            "error_text": problem.detail,
            "loses": str(problem.loses),
            "entry": problem.entry,
            "offset": problem.offset,
        }
        shown = "" if problem.conn is None else _entry_text(problem.conn) + ","
        return f"{origin.json}{shown}{_compact(error)[1:]}\n".encode()


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _head_text(head: bytes) -> str:
    """From ``type`` to the client's address."""
    kind, protocol, flags, state = struct.unpack(">BBxxLH", head)
    return f'{_state_text(kind, protocol, flags, state)},"caddr":"'


def state_json(kind: int, protocol: int, state: int, *, template: bool) -> str:
    """From ``type`` to the state's name."""
    return (
        f'"type":{kind},"protocol":{protocol},"protocol_name":"{protocol_name(protocol)}",'
        f'"state":{state},"state_name":"{state_name(protocol, state, template=template)}"'
    )


def flags_json(flags: int) -> str:
    """The flags and their names."""
    return f'"flags":{flags},"flag_names":{_compact(flag_names(flags))}'


def _middle_text(middle: bytes) -> str:
    """From the virtual port to the time-out."""
    return _numbers_text(*struct.unpack(">HHLL", middle))


def _tail_text(tail: bytes) -> str:
    """From the virtual address to the end of the line."""
    half = len(tail) // 2
    return f"{_places_text(tail[:half], tail[half:])},{NO_OPTIONS}}}\n"


def _entry_text(conn: SyncConn) -> str:
    return (
        f"{_state_text(conn.type, conn.protocol, conn.flags, conn.state)},"
        f'"caddr":"{address_text(conn.caddr)}","cport":{conn.cport}'
        f"{_numbers_text(conn.vport, conn.dport, conn.fwmark, conn.timeout)}"
        f"{_places_text(conn.vaddr, conn.daddr)},{_options(conn) if conn.options else NO_OPTIONS}"
    )


def _state_text(kind: int, protocol: int, flags: int, state: int) -> str:
    template = bool(flags & ConnFlag.TEMPLATE)
    return f"{state_json(kind, protocol, state, template=template)},{flags_json(flags)}"


def _numbers_text(vport: int, dport: int, fwmark: int, timeout: int) -> str:
    return f',"vport":{vport},"dport":{dport},"fwmark":{fwmark},"timeout":{timeout}'


def _places_text(vaddr: bytes, daddr: bytes) -> str:
    return f',"vaddr":"{address_text(vaddr)}","daddr":"{address_text(daddr)}"'


NO_OPTIONS: Final = '"seq":null,"pe_name":null,"pe_data":null'


def _options(conn: SyncConn) -> str:
    sequence = conn.sequence
    seq = None
    if sequence is not None:
        seq = {"in": sequence.in_seq._asdict(), "out": sequence.out_seq._asdict()}
    fields = {
        "seq": seq,
        "pe_name": bytes_text(conn.pe_name) if conn.pe_name else None,
        "pe_data": bytes_text(conn.pe_data) if conn.pe_data else None,
    }
    return _compact(fields)[1:-1]


class TextLines:
    """The same as a table for people; the columns are wide enough for IPv4 and grow for IPv6."""

    heading = (
        f"{'TIME (UTC)  FROM  SYNCID':<36}  {'PROTO':<5} {'CLIENT':<21} {'VIRTUAL':<21} {'SERVER':<21} "
        f"{'STATE':<11} {'TIMEOUT':>7}  FLAGS"
    )

    def entries(self, origin: Origin, entries: Iterable[SyncConn]) -> bytes:
        """Lines for entries that are installed."""
        start = f"{origin.text:<36}"
        return "".join([f"{start}  {entry_text(conn)}\n" for conn in entries]).encode()

    def problem(self, origin: Origin, problem: Problem) -> bytes:
        """A line for something that is not, marked with ``!``."""
        shown = entry_text(problem.conn) + "  " if problem.conn is not None else ""
        return f"{origin.text:<36}  {shown}! {problem}: loses {_LOSES[problem.loses]}\n".encode()


_LOSES: Final[dict[str, str]] = {
    "message": "the whole message",
    "rest": "this entry and all after it",
    "entry": "this entry",
    "nothing": "nothing",
}


def entry_text(conn: SyncConn) -> str:
    """One entry without its origin."""
    if conn.protocol == 0:
        virtual = f"fwmark {int.from_bytes(conn.vaddr[:4], 'big')}"
    else:
        virtual = endpoint(conn.vaddr, conn.vport)
    text = (
        f"{protocol_name(conn.protocol):<5} {endpoint(conn.caddr, conn.cport):<21} {virtual:<21} "
        f"{endpoint(conn.daddr, conn.dport):<21} {conn.state_name:<11} {conn.timeout:>7}  "
        f"{','.join(flag_names(conn.flags))}"
    )
    if conn.fwmark and conn.protocol:
        text += f" fwmark={conn.fwmark}"
    if conn.options:
        if conn.pe_name or conn.pe_data:
            text += f" {bytes_text(conn.pe_name)}={bytes_text(conn.pe_data)}"
        if (sequence := conn.sequence) is not None:
            text += f" seq in{tuple(sequence.in_seq)} out{tuple(sequence.out_seq)}"
    return text
