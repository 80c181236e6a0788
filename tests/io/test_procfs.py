"""The tables of ``/proc/net``, as Linux 6.1 printed them."""

import sys
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.core.errors import DecodeError
from lvsha.io.conn_rows import only_handshakes
from lvsha.io.procfs import (
    ConnectionRow,
    Totals,
    UdpSocketRow,
    UdpTable,
    connections,
    parse_connections,
    parse_totals,
    parse_udp,
    udp_sockets,
)

CONN = b"""\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0A090001 9C41 0A090064 0050 0A090032 0050 ESTABLISHED     899
IP  0A02000A 0000 00000005 0000 0A03003C 0000 ASSURED         299
TCP fd00:0000:0000:0000:0000:0000:0000:0010 1388 fd00:0000:0000:0000:0000:0000:0000:0100 0050 \
fd00:0009:0000:0000:0000:0000:0000:0050 0050 ESTABLISHED     899
UDP 0A090007 0000 0A090064 13C4 0A090032 13C4 ASSURED         299 sip call-1 23@x
IP_50 0A090007 0000 0A090064 FFFF 0A090032 FFFF ERR!             2
"""
CONN_SYNC = b"""\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires
TCP 0A02000A E686 0A020064 0050 0A030032 0050 TIME_WAIT   SYNC       119
TCP 0A090002 0012 0A090064 0050 0A090032 0050 ESTABLISHED LOCAL      899
"""
UDP = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref \
pointer drops
  205: 510000E0:2290 00000000:0000 07 00000000:00000300 00:00000000 00000000     0        0 93 2 \
000000004ab319c3 17
"""
UDP6 = """\
  sl  local_address                         remote_address                        st
  205: 000002FF000000000000000081000000:2290 00000000000000000000000000000000:0000 07 00000000:00000000 \
00:00000000 00000000     0        0 93 2 000000004ab319c3 0
"""
STATS = """\
   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
       A       1F        0              3E8                0

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       0        0        0                0                0
"""


def test_every_kind_of_connection() -> None:
    established, mark, v6, sip, odd = parse_connections(CONN.splitlines(keepends=True))

    assert established == ConnectionRow(
        protocol=6,
        caddr=ip_address("10.9.0.1"),
        cport=40001,
        vaddr=ip_address("10.9.0.100"),
        vport=80,
        daddr=ip_address("10.9.0.50"),
        dport=80,
        state="ESTABLISHED",
        expires_s=899,
    )
    assert (established.is_template, established.fwmark) == (False, 0)
    assert (mark.is_template, mark.fwmark, mark.is_dead_template) == (True, 5, False)
    assert (v6.caddr, v6.daddr) == (ip_address("fd00::10"), ip_address("fd00:9::50"))
    assert (sip.protocol, sip.pe_name, sip.pe_data) == (17, "sip", b"call-1 23@x")
    assert (odd.protocol, odd.state, odd.is_dead_template) == (50, "ERR!", True)


def test_the_table_with_origins_tells_who_learned_what() -> None:
    rows = list(parse_connections(CONN_SYNC.splitlines(keepends=True)))

    assert [row.is_synced for row in rows] == [True, False]
    assert [row.expires_s for row in rows] == [119, 899]


def test_the_other_table_does_not_tell_origins() -> None:
    assert next(parse_connections(CONN.splitlines(keepends=True))).is_synced is None


def test_a_line_that_is_no_row_is_refused() -> None:
    with pytest.raises(DecodeError, match="no connection"):
        list(parse_connections([CONN.splitlines(keepends=True)[0], b"TCP 0A09 what\n"]))


def test_an_engines_data_may_hold_the_end_of_a_line() -> None:
    """A SIP Call-ID is chosen by whoever calls."""
    lines = CONN.replace(b"call-1 23@x", b"call-1\nTCP forged").splitlines(keepends=True)

    rows = list(parse_connections(lines))

    assert [row.protocol for row in rows] == [6, 0, 6, 17, 50]


@given(st.lists(st.binary(max_size=80)))
def test_any_lines_are_rows_or_refused(lines: list[bytes]) -> None:
    try:
        for row in parse_connections([CONN.splitlines(keepends=True)[0], *lines]):
            assert isinstance(row, ConnectionRow)
    except DecodeError:
        return


def test_connections_are_read_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "ip_vs_conn").write_bytes(CONN)
    (tmp_path / "ip_vs_conn_sync").write_bytes(CONN_SYNC)

    assert len(list(connections(net=tmp_path))) == 5
    assert len(list(connections(origin=True, net=tmp_path))) == 2


def test_without_ip_vs_there_are_no_connections(tmp_path: Path) -> None:
    assert list(connections(net=tmp_path)) == []


@pytest.mark.skipif(sys.byteorder != "little", reason="the sample was printed by a little-endian machine")
def test_a_udp_socket_with_what_waits_and_what_was_lost() -> None:
    row = UdpSocketRow(address=ip_address("224.0.0.81"), port=8848, rx_queue=0x300, drops=17, inode=93)
    assert list(parse_udp(UDP.splitlines())) == [row]
    (v6,) = parse_udp(UDP6.splitlines())
    assert (v6.address, v6.port) == (ip_address("ff02::81"), 8848)


def test_udp_sockets_of_both_families(tmp_path: Path) -> None:
    (tmp_path / "udp").write_text(UDP)
    (tmp_path / "udp6").write_text(UDP6)

    assert [row.port for row in udp_sockets(net=tmp_path)] == [8848, 8848]


def test_a_table_kept_open_shows_who_is_bound_to_one_address_and_port_now(tmp_path: Path) -> None:
    (tmp_path / "udp").write_text(UDP)
    (tmp_path / "udp6").write_text(UDP6)
    table, table6 = UdpTable(4, net=tmp_path), UdpTable(6, net=tmp_path)

    assert [row.drops for row in table.of(ip_address("224.0.0.81"), 8848)] == [17]
    assert table.of(ip_address("224.0.0.81"), 8849) == []
    assert len(table6.of(ip_address("ff02::81"), 8848)) == 1
    (tmp_path / "udp").write_text(UDP.replace(" 17\n", " 18\n"))
    assert [row.drops for row in table.of(ip_address("224.0.0.81"), 8848)] == [18]
    table.close()
    table6.close()


def test_our_own_kernel_prints_what_we_parse() -> None:
    assert all(0 <= row.port <= 65535 for row in udp_sockets())


def test_totals_are_hexadecimal() -> None:
    assert parse_totals(STATS.splitlines()) == Totals(
        connections=10, in_packets=31, out_packets=0, in_bytes=1000, out_bytes=0
    )


@pytest.mark.parametrize("text", ["", "a\nb\nc\n", "a\nb\n1 2 3\n"])
def test_no_totals_are_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_totals(text.splitlines())


def test_of_a_large_table_only_the_lines_of_handshakes_are_taken_apart() -> None:
    begun = (
        CONN.splitlines(keepends=True)[1].replace(b"ESTABLISHED", b"SYN_RECV   ").replace(b"9C41", b"9C42")
    )
    lines = [*CONN.splitlines(keepends=True), begun]

    rows = list(parse_connections(only_handshakes(lines)))

    assert [(row.state, row.cport) for row in rows] == [("SYN_RECV", 0x9C42)]
