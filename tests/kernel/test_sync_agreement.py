"""Strict decoding and the ledger hold exactly what a real kernel's backup daemon installs."""

import os
import random

import pytest

from lvsha.wire.ipvs_sync.receiver import Receiver
from tests.conformance.ipvs_sync_vectors import Vector, load_vectors
from tests.kernel.kernel_sync_rig import GUEST_ENGINES, backup_kernel, differences, expected_rows

pytestmark = pytest.mark.kernel

MUTATIONS = int(os.environ.get("LVSHA_MUTATIONS", "4000"))
"""100000 for the figure in docs/reference/benchmarks.md."""
SEED = int(os.environ.get("LVSHA_SEED", "1"))
BATCH = 500

GUEST = Receiver(engines=GUEST_ENGINES)
VECTORS = load_vectors()
ABOUT_OTHER_KERNELS = {"v1.no_inet6", "v1.template_state_two_newer", "v0.sequence_big"}


def receivers() -> dict[Receiver, list[Vector]]:
    """The vectors by the receiver that they are about, as this guest can play it."""
    found: dict[Receiver, list[Vector]] = {}
    for vector in VECTORS:
        if vector.name not in ABOUT_OTHER_KERNELS:
            asked = vector.receiver
            receiver = Receiver(syncid=asked.syncid, maxlen=asked.maxlen, engines=GUEST_ENGINES)
            found.setdefault(receiver, []).append(vector)
    return found


def test_each_vector_installs_what_it_says() -> None:
    """Each gets a network of its own, so that they can share a table."""
    found: list[str] = []
    for receiver, vectors in receivers().items():
        messages = {vector.name: moved(vector.data, number) for number, vector in enumerate(vectors)}
        with backup_kernel(syncid=receiver.syncid, maxlen=receiver.maxlen) as backup:
            backup.install(messages.values())

            rows = backup.rows()

        found += differences(expected_rows(messages.values(), receiver), rows)
    assert found == []


def moved(data: bytes, number: int) -> bytes:
    """The same message about other addresses."""
    own = (0x1400 + number).to_bytes(2, "big")
    for prefix in (b"\x0a\x09", b"\x0a\x02", b"\xfd\x00\x00\x00"):
        data = data.replace(prefix, own + prefix[2:])
    return data


def test_mutated_messages_install_what_strict_decoding_says() -> None:
    """A failure names the seed and the batch; ``LVSHA_SEED`` and ``LVSHA_MUTATIONS`` choose others."""
    dice = random.Random(SEED)
    bases = [vector.data for vector in VECTORS if 8 <= len(vector.data) < 1_500]
    installed = 0
    for start in range(0, MUTATIONS, BATCH):
        messages = [mutated(dice, dice.choice(bases), start + number) for number in range(BATCH)]
        with backup_kernel() as backup:
            backup.install(messages)

            rows = backup.rows()

        found = differences(expected_rows(messages, GUEST), rows)
        if found:
            listing = "\n".join(data.hex() for data in messages)
            pytest.fail(f"seed {SEED}, batch at {start}:\n" + "\n".join(found) + f"\n{listing}")
        installed += len(rows)
    assert installed > MUTATIONS // 4, (
        "hardly anything was installed: the mutations are too rough to say much"
    )


def mutated(dice: random.Random, base: bytes, number: int) -> bytes:
    """``base`` with clients of its own and up to four things changed; mostly with a right size field."""
    own = bytes((11, number >> 16 & 255, number >> 8 & 255, number & 255))
    data = bytearray(base.replace(bytes((10, 9, 0, 1)), own).replace(bytes((10, 9, 0, 2)), own))
    for _ in range(dice.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        kind = dice.randrange(10)
        place = dice.randrange(len(data)) if data else 0
        if kind < 4 and data:
            data[place] = dice.randrange(256)
        elif kind < 6 and data:
            data[place] ^= 1 << dice.randrange(8)
        elif kind == 6 and data:
            data[place] = dice.choice((0, 1, 2, 3, 6, 17, 36, 37, 62, 72, 0x40, 0x41, 0x80, 132, 255))
        elif kind == 7 and len(data) > 4:
            del data[dice.randrange(4, len(data)) :]
        elif kind == 8:
            data += dice.randbytes(dice.choice((1, 2, 3, 4, 26, 36, 72)))
        elif data:
            data[place:place] = data[8:44]
    if len(data) >= 4 and dice.random() < 0.85:
        data[2:4] = len(data).to_bytes(2, "big")
    return bytes(data)
