"""The dissector proto/wireshark/lvsha.lua shows in tshark what the codec reads; the stock one does not."""

import random
from pathlib import Path

import pytest

from lvsha.io.capture import CaptureWriter
from tests.conformance.ipvs_sync_vectors import load_vectors
from tests.conformance.sync_mutations import mutated
from tests.interop.sync_dissection import SCRIPT, corpus, dissect, expected, frame_around, score

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    return corpus(tmp_path_factory.mktemp("corpus"))


def test_each_entry_and_verdict_is_the_codecs(messages: tuple[Path, list[bytes]]) -> None:
    _compare(*messages)


def test_on_messages_that_are_nearly_right(tmp_path: Path) -> None:
    dice = random.Random(20261121)
    bases = [vector.data for vector in load_vectors() if 8 <= len(vector.data) < 700]
    messages = [mutated(dice, dice.choice(bases), number) for number in range(400)]
    messages = [data for data in messages if len(data) >= 4]
    path = tmp_path / "mutated.pcap"
    with path.open("wb") as file:
        writer = CaptureWriter(file)
        for number, data in enumerate(messages):
            writer.write(0, frame_around(data, number))

    _compare(path, messages)


def _compare(path: Path, messages: list[bytes]) -> None:
    found = dissect(path, script=SCRIPT)

    assert len(found) == len(messages)
    for data, said in zip(messages, found, strict=True):
        wanted = expected(data)
        assert said.entries[: len(wanted.entries)] == wanted.entries, data.hex()
        assert said.verdicts[: len(wanted.verdicts)] == wanted.verdicts, data.hex()
        assert said.verdicts.count("installed") == wanted.verdicts.count("installed"), data.hex()
        assert wanted.problems <= said.problems, data.hex()


def test_the_stock_dissector_misreads_them(messages: tuple[Path, list[bytes]]) -> None:
    """When this fails, Wireshark has got better: measure again (tests.interop.sync_dissection)."""
    stock = score(*messages, None)

    assert stock.share < 0.95
    assert stock.whole_entries < stock.entries / 2
