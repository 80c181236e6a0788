"""A second kernel installs of each capture what the codec reads, and the same of what it writes."""

from pathlib import Path

import pytest

from lvsha.io.procfs import connections
from lvsha.wire.ipvs_sync.message import decode_message, encode_message
from lvsha.wire.ipvs_sync.receiver import Receiver
from tests.conformance.sync_captures import capture_paths, datagrams
from tests.kernel.kernel_sync_rig import GUEST_ENGINES, backup_kernel, differences, expected_rows
from tests.kernel.make_captures import KINDS, make

pytestmark = pytest.mark.kernel

GUEST = Receiver(engines=GUEST_ENGINES)


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in capture_paths()])
def test_a_kernel_installs_what_the_codec_reads_and_what_it_writes(path: Path) -> None:
    heard = datagrams(path)
    expected = expected_rows(heard, GUEST)
    assert expected

    with backup_kernel() as backup:
        backup.install(heard)
        assert differences(expected, backup.rows()) == []
        assert all(row.is_synced for row in connections(origin=True))

    with backup_kernel() as backup:
        backup.install(_written_again(data) for data in heard)
        assert differences(expected, backup.rows()) == []


def _written_again(data: bytes) -> bytes:
    message = decode_message(data, GUEST)
    return encode_message(message.syncid, message.entries, version=1 if data[0] == 0 else 0)


def test_a_capture_can_be_made_again(tmp_path: Path) -> None:
    """Live: a master daemon sends, a second kernel and the codec hear the same datagrams."""
    name = "v1_persistence_template"

    assert make(name, KINDS[name], tmp_path)

    assert len(datagrams(tmp_path / f"{name}.pcap")) == 1
