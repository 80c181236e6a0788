"""What a receiver of the default kind looks at in a message: what other parsers are compared with."""

from lvsha.core.errors import DecodeError, DropReason
from lvsha.wire.ipvs_sync.message import decode_message
from lvsha.wire.ipvs_sync.records import Loses, SyncConn, SyncMessage

INSTALLED = "installed"


def looked_at(data: bytes) -> tuple[SyncMessage | None, list[tuple[SyncConn, str]]]:
    """The message, and its entries up to the one at which a receiver stops, each with the verdict on it.

    Entries that are shown to operators only, because they come after a bad one or past the count, are left
    out, and so are options after an unknown mandatory one.
    """
    try:
        message = decode_message(data)
    except DecodeError:
        return None, []
    skipped: dict[int | None, tuple[SyncConn, str]] = {}
    for problem in message.problems:
        if problem.loses in (Loses.MESSAGE, Loses.REST) or problem.reason is DropReason.TRAILING_BYTES:
            break
        if problem.loses is Loses.ENTRY:
            assert problem.conn is not None
            skipped[problem.entry] = (_without_unread_options(problem.conn), str(problem.reason))
    found: list[tuple[SyncConn, str]] = []
    installed = list(message.entries)
    while installed or len(found) in skipped:
        found.append(skipped.get(len(found)) or (installed.pop(0), INSTALLED))
    return message, found


def _without_unread_options(conn: SyncConn) -> SyncConn:
    at = 0
    while at < len(conn.options):
        kind, length = conn.options[at : at + 2]
        at += 2 + length
        if kind & 0xBF not in (1, 2, 3) and not kind & 0x40:
            break
    return conn._replace(options=conn.options[:at])
