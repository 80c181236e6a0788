"""Strict decoding and the ledger hold exactly what a real kernel's backup daemon installs."""

import os
import random

import pytest

from lvsha.wire.ipvs_sync.receiver import Receiver
from tests.conformance.ipvs_sync_vectors import Vector, load_vectors
from tests.conformance.sync_mutations import mutated
from tests.kernel.kernel_sync_rig import GUEST_ENGINES, backup_kernel, differences, expected_rows

pytestmark = pytest.mark.kernel

MUTATIONS = int(os.environ.get("LVSHA_MUTATIONS", "4000"))
"""``tests/bench/bench_sync_agreement.py`` plays any number."""
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
