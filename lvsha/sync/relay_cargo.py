"""What goes into one ENTRIES frame: the newest versions of the keys that wait longest.

Source: ``proto/lvsha_relay_v1.md`` sections 6 and 7.
"""

from typing import NamedTuple

from lvsha.core.instant import MILLISECOND, Instant
from lvsha.sync.key_queue import Waiting
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


def load(store: Store, waiting: Waiting, room: int, now: Instant) -> Cargo:
    """Take keys from the queue, changes first, until ``room`` bytes are full or nothing waits."""
    records: list[bytes] = []
    keys: list[bytes] = []
    gone: list[bytes] = []
    oldest = now
    get, tombstone = store.get, store.tombstone
    for queue in (waiting.fresh, waiting.bulk):
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
                    return Cargo(records, keys, gone, oldest)
                # Persistence data longer than a frame: it goes alone, as long as it is.
                room = len(record)
            room -= len(record)
            records.append(record)
            keys.append(key)
            if since < oldest:
                oldest = since
    return Cargo(records, keys, gone, oldest)
