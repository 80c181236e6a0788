"""The scapy layer reads and writes what the codec does."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvsha.wire.ipvs_sync.message import decode_message, encode_message
from tests.cli.sync_captures import CLOSING, MARKED, OTHER, TEMPLATE, WEB, frame, message, write_capture
from tests.conformance.ipvs_sync_vectors import Vector, load_vectors

pytestmark = pytest.mark.interop
scapy = pytest.importorskip("scapy.all", reason="scapy is in the dev extra")
layer = pytest.importorskip("lvsha.contrib.scapy")

VECTORS = [vector for vector in load_vectors() if len(vector.data) < 3_000]


def dissect(data: bytes) -> Any:
    """As UDP's payload, so that the binding is met too."""
    packet = scapy.IP() / scapy.UDP(sport=40_000, dport=8848) / scapy.Raw(data)
    return scapy.IP(bytes(packet))[scapy.UDP].payload


def rebuilt(packet: Any) -> bytes:
    """Built from its fields, not from the bytes it remembers."""
    packet.clear_cache()
    return bytes(packet)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_every_vector_comes_back(vector: Vector) -> None:
    assert rebuilt(dissect(vector.data)) == vector.data


@pytest.mark.parametrize(
    "vector", [vector for vector in VECTORS if vector.canonical], ids=lambda vector: vector.name
)
def test_fields_say_what_the_codec_says(vector: Vector) -> None:
    packet = dissect(vector.data)

    assert packet.syncid == vector.syncid
    assert len(packet.entries) == len(vector.entries)
    for entry, conn in zip(packet.entries, vector.entries, strict=True):
        assert (entry.protocol, int(entry.flags), entry.state) == (conn.protocol, conn.flags, conn.state)
        assert (entry.cport, entry.vport, entry.dport) == (conn.cport, conn.vport, conn.dport)
        assert [entry.caddr, entry.vaddr, entry.daddr] == [
            str(conn.client), str(conn.virtual), str(conn.destination)
        ]  # fmt: skip
        if vector.version:
            assert (entry.type, entry.fwmark, entry.timeout) == (conn.type, conn.fwmark, conn.timeout)
            assert b"".join(map(bytes, entry.options)) == conn.options


def test_lengths_counts_and_padding_are_filled_in() -> None:
    odd = layer.IPVSSyncEntry(
        caddr="192.0.2.1",
        options=[layer.IPVSSyncOption(kind=3, data=b"sip"), layer.IPVSSyncOption(kind=2, data=b"call")],
    )
    six = layer.IPVSSyncEntry(type=1, caddr="fd00::1", vaddr="fd00::2", daddr="fd00::3", flags="TEMPLATE")

    read = decode_message(bytes(layer.IPVSSync(syncid=7, entries=[odd, six]))).require_clean()

    assert (read.syncid, len(read.entries)) == (7, 2)
    assert (read.entries[0].pe_name, read.entries[0].pe_data) == (b"sip", b"call")
    assert read.entries[1].is_template


def test_version_0_is_built() -> None:
    entry = layer.IPVSSyncEntryV0(caddr="192.0.2.1", cport=1, flags="INACTIVE")

    read = decode_message(bytes(layer.IPVSSyncV0(syncid=7, entries=[entry] * 3))).require_clean()

    assert (read.version, len(read.entries), read.entries[0].is_inactive) == (0, 3, True)


def test_a_count_that_does_not_fit_overflows_as_the_kernels_does() -> None:
    packet = layer.IPVSSync(entries=[layer.IPVSSyncEntry()] * 295)

    assert bytes(packet)[4] == 39


def test_packets_of_a_capture_have_the_layer(tmp_path: Path) -> None:
    path = write_capture(tmp_path / "a.pcap", [frame(message(WEB, CLOSING)), frame(message(OTHER, TEMPLATE))])

    packets = scapy.rdpcap(str(path))

    assert [packet.haslayer(layer.IPVSSync) for packet in packets] == [True, True]
    assert packets[0].summary().endswith("IPVS sync v1 syncid 7, 2 entries")
    assert packets[0][layer.IPVSSync].entries[1].summary() == (
        "TCP 192.0.2.1:40002 > 10.0.0.10:80 > 10.1.0.1:8080 FIN_WAIT"
    )


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=200)
    | st.binary(max_size=120).map(lambda tail: encode_message(7, [WEB, MARKED, OTHER]) + tail)
)
def test_any_bytes_come_back(data: bytes) -> None:
    assert rebuilt(dissect(data)) == data
