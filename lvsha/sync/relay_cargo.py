"""What goes into one ENTRIES frame: the newest versions of the keys that wait longest.

Source: ``proto/lvsha_relay_v1.md`` sections 6 and 7.
"""

from typing import NamedTuple

from lvsha.core.instant import MILLISECOND, Instant
from lvsha.sync.key_queue import Waiting
from lvsha.sync.relay_window import SendWindow
from lvsha.sync.store import Store
from lvsha.wire.ipvs_sync.v1 import INET_SIZE
from lvsha.wire.relay import MAX_RECORDS, RECORD_SIZE, pack_record


class Cargo(NamedTuple):
    """One frame's load."""

    records: list[bytes]
    keys: list[bytes]
    """Of the records."""
    gone: list[bytes]
    """Keys of rows that ended while they waited: nothing is sent of them."""
    since: Instant
    """The oldest change in it."""
    swept: list[bytes]
    """Keys that a walk over the table has met: of records here, or waiting as changes already."""


def load(
    store: Store,
    waiting: Waiting,
    room: int,
    now: Instant,
    *,
    flying: SendWindow | None = None,
    bulk: bool = True,
) -> Cargo:
    """Take keys from the queue, changes first, until ``room`` bytes are full or nothing waits.

    Rows of a walk come last, as far as its budget goes; not those that are ``flying``. Without ``bulk``
    changes only.
    """
    records: list[bytes] = []
    keys: list[bytes] = []
    gone: list[bytes] = []
    swept: list[bytes] = []
    oldest = now
    get, tombstone = store.get, store.tombstone
    for queue in (waiting.fresh, waiting.bulk) if bulk else (waiting.fresh,):
        while room >= RECORD_SIZE + INET_SIZE and len(records) < MAX_RECORDS:
            taken = queue.take()
            if taken is None:
                break
            key, since = taken
            held = get(key)
            if held is not None:
                left = (held.expires - now) // MILLISECOND
                if left <= 0:
                    waiting.missing.discard(key)
                    gone.append(key)
                    continue
                record = pack_record(held.generation, held.origin, left, held.entry)
            elif (buried := tombstone(key)) is not None:
                record = pack_record(buried.generation, buried.origin, 0, buried.entry)
            else:
                gone.append(key)
                continue
            if len(record) > room:
                if records:
                    queue.add(key, since)
                    return Cargo(records, keys, gone, oldest, swept)
                # Persistence data longer than a frame: it goes alone, as long as it is.
                room = len(record)
            room -= len(record)
            records.append(record)
            keys.append(key)
            if since < oldest:
                oldest = since
    here = frozenset(keys)
    while bulk and waiting.sweeps and room >= RECORD_SIZE + INET_SIZE and len(records) < MAX_RECORDS:
        sweep = waiting.sweeps[0]
        row = sweep.take()
        if row is None:
            if not sweep.is_over:
                break
            waiting.sweeps.popleft()
            continue
        key, left = row.key, (row.expires - now) // MILLISECOND
        if left <= 0:
            continue
        if sweep.marks:
            waiting.missing.add(key)
        swept.append(key)
        if key in waiting.fresh or key in here or (flying is not None and key in flying):
            continue
        record = pack_record(row.generation, row.origin, left, row.entry)
        if len(record) > room:
            waiting.bulk.add(key, sweep.began)
            break
        waiting.bulk.discard(key)
        room -= len(record)
        records.append(record)
        keys.append(key)
        if sweep.began < oldest:
            oldest = sweep.began
    return Cargo(records, keys, gone, oldest, swept)
