"""The codec and what real kernels sent and installed say the same."""

from pathlib import Path

import pytest

from lvsha.core.errors import DropReason
from lvsha.wire.ipvs_sync.message import decode_message, decode_rows, encode_message
from lvsha.wire.ipvs_sync.records import Loses
from tests.conformance.sync_captures import (
    about,
    capture_paths,
    datagrams,
    installed_rows,
    udp_datagrams,
)

CAPTURES = [pytest.param(path, id=path.stem) for path in capture_paths()]
every_capture = pytest.mark.parametrize("path", CAPTURES)


@every_capture
def test_the_rows_are_those_that_the_peers_kernel_installed(path: Path) -> None:
    messages = [decode_message(data) for data in datagrams(path)]

    said = about(path)
    assert installed_rows(messages) == said["peer"]["installed"]
    assert len(messages) == said["datagrams"]
    assert sum(len(message.entries) for message in messages) == said["entries"]


@every_capture
def test_what_a_kernel_sent_encodes_to_the_same_bytes(path: Path) -> None:
    for data in datagrams(path):
        message = decode_message(data)

        if path.stem == "v1_count_overflow":
            assert {problem.loses for problem in message.problems} == {Loses.NOTHING, Loses.ENTRY}
            continue
        assert message.problems == ()
        assert encode_message(message.syncid, message.entries, version=1 if data[0] == 0 else 0) == data
        assert decode_rows(data) == list(message.entries)


def test_the_overflowed_count_is_named_and_its_entries_are_shown_as_lost() -> None:
    (path,) = (path for path in capture_paths() if path.stem == "v1_count_overflow")
    (data,) = datagrams(path)

    message = decode_message(data)

    assert (len(message.entries), data[4]) == (44, 44)
    lost = [problem for problem in message.problems if problem.conn is not None]
    assert len(lost) == 256
    assert {problem.reason for problem in message.problems} == {DropReason.TRAILING_BYTES}
    assert "overflowed" in message.problems[0].detail


def test_sync_ports_spread_the_messages_over_ports() -> None:
    (path,) = (path for path in capture_paths() if path.stem == "v1_sync_ports_4")

    assert {datagram.port for datagram in udp_datagrams(path)} == {8848, 8849, 8850, 8851}
