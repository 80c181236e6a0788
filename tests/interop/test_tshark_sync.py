"""The dissector proto/wireshark/lvsha.lua shows in tshark what the codec reads; the stock one does not."""

from pathlib import Path

import pytest

from tests.interop.sync_dissection import SCRIPT, corpus, dissect, expected, score

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    return corpus(tmp_path_factory.mktemp("corpus"))


def test_each_entry_and_verdict_is_the_codecs(messages: tuple[Path, list[bytes]]) -> None:
    path, datagrams = messages
    found = dissect(path, script=SCRIPT)

    assert len(found) == len(datagrams)
    for data, said in zip(datagrams, found, strict=True):
        wanted = expected(data)
        shown = said.entries[: len(wanted.entries)]
        assert shown == wanted.entries, data.hex()
        assert said.verdicts[: len(wanted.verdicts)] == wanted.verdicts, data.hex()
        assert wanted.problems <= said.problems, data.hex()


def test_the_stock_dissector_misreads_them(messages: tuple[Path, list[bytes]]) -> None:
    """When this fails, Wireshark has got better: measure again (tests.interop.sync_dissection)."""
    stock = score(*messages, None)

    assert stock.share < 0.95
    assert stock.whole_entries < stock.entries / 2
