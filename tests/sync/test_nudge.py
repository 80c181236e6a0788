"""The packets that push the kernel's part-filled sync message out."""

import struct

from lvsha.sync.nudge import NUDGE_CLIENT, NUDGE_FLOWS, NUDGE_SERVICE, nudge_packets
from lvsha.wire.checksum import checksum_holds


def test_the_packets_are_a_syn_and_a_rst_of_one_flow_after_another() -> None:
    packets = nudge_packets()

    assert len(packets) == 2 * NUDGE_FLOWS
    for flow in range(NUDGE_FLOWS):
        syn, rst = packets[2 * flow : 2 * flow + 2]
        assert (syn[33], rst[33]) == (0x02, 0x04)
        assert syn[12:24] == rst[12:24], "addresses and ports are the same"
        assert syn[12:20] == NUDGE_CLIENT[0].packed + NUDGE_SERVICE[0].packed
        assert struct.unpack("!HH", syn[20:24]) == (NUDGE_CLIENT[1] + flow, NUDGE_SERVICE[1])


def test_there_are_as_many_flows_as_wake_the_sending_thread_at_once() -> None:
    """IPVS_SYNC_WAKEUP_RATE in Linux 6.1: with fewer messages in the queue it waits 20 ms."""
    assert NUDGE_FLOWS == 8


def test_the_tcp_checksums_hold() -> None:
    for packet in nudge_packets():
        pseudo = packet[12:20] + struct.pack("!BBH", 0, 6, len(packet) - 20)
        assert checksum_holds(pseudo + packet[20:])


def test_the_length_field_is_the_packets_length() -> None:
    for packet in nudge_packets():
        assert struct.unpack("!H", packet[2:4]) == (len(packet),)
