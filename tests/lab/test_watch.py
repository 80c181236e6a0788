"""What the witness reads out of the kernel's own words."""

import json
import struct
from ipaddress import ip_address

import pytest

from lvsha.lab import watch

TABLE = b"""\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A00000A:1F40 rr
  -> 0A00000C:1F40      Route   0      0          3
  -> 0A00000B:1F40      Route   1      50         0
UDP  [fd00:0000:0000:0000:0000:0000:0000:000a]:1F40 rr
  -> [fd00:0000:0000:0000:0000:0000:0000:0011]:1F40      Tunnel  1      0          0
FWM  00000005 wlc
  -> 0A00000B:0000      Route   2      0          0
"""


def test_weights_are_keyed_by_service_and_destination() -> None:
    assert watch.weights(TABLE) == {
        "10.0.0.10:8000/TCP>10.0.0.12:8000": 0,
        "10.0.0.10:8000/TCP>10.0.0.11:8000": 1,
        "[fd00::a]:8000/UDP>[fd00::11]:8000": 1,
        "00000005/FWM>10.0.0.11:0": 2,
    }


def test_an_empty_table_has_no_weights() -> None:
    assert watch.weights(b"\n".join(TABLE.split(b"\n")[:3])) == {}


def attribute(kind: int, data: bytes) -> bytes:
    return (struct.pack("=HH", 4 + len(data), kind) + data).ljust((4 + len(data) + 3) & ~3, b"\0")


def notification(kind: int, *attributes: bytes) -> bytes:
    body = struct.pack("=BBBBI", 2, 24, 0, 0, 7) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def events(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str, str]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [(line["event"], line["director"], line["address"]) for line in lines]


def test_addresses_that_come_and_go_are_told_with_their_director(capsys: pytest.CaptureFixture[str]) -> None:
    """Two notifications in one datagram; IFA_LOCAL is the address, IFA_ADDRESS may be the other end's."""
    vip, other = ip_address("10.0.0.10").packed, ip_address("10.9.9.9").packed
    data = notification(watch.RTM_NEWADDR, attribute(1, other), attribute(2, vip))
    data += notification(watch.RTM_DELADDR, attribute(1, vip), attribute(2, vip))

    watch.on_addresses("lb1", data, {"10.0.0.10"})

    assert events(capsys) == [("bound", "lb1", "10.0.0.10"), ("unbound", "lb1", "10.0.0.10")]


def test_ipv6_has_no_local_attribute(capsys: pytest.CaptureFixture[str]) -> None:
    data = notification(watch.RTM_NEWADDR, attribute(1, ip_address("fd00::a").packed))

    watch.on_addresses("lb2", data, {"fd00::a"})

    assert events(capsys) == [("bound", "lb2", "fd00::a")]


def test_other_addresses_are_nobodys_business(capsys: pytest.CaptureFixture[str]) -> None:
    data = notification(watch.RTM_NEWADDR, attribute(2, ip_address("10.0.0.1").packed))

    watch.on_addresses("lb1", data, {"10.0.0.10"})

    assert events(capsys) == []


def run_filter(packet: bytes) -> int:
    """The kernel's classic packet filter, as far as ours uses it."""
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, value = watch.VRRP_FILTER[at]
        at += 1
        if code == 0x28:
            accumulator = int.from_bytes(packet[value : value + 2], "big")
        elif code == 0x30:
            accumulator = packet[value]
        elif code == 0x15:
            at += if_true if accumulator == value else if_false
        else:
            return value


@pytest.mark.parametrize(
    ("ethertype", "offset", "protocol", "passes"),
    [
        (0x0800, 23, 112, True),
        (0x0800, 23, 17, False),
        (0x86DD, 20, 112, True),
        (0x86DD, 20, 58, False),
        (0x0806, 23, 112, False),
    ],
)
def test_the_filter_passes_vrrp_of_both_families_alone(
    ethertype: int, offset: int, protocol: int, passes: bool
) -> None:
    packet = bytearray(64)
    packet[12:14] = ethertype.to_bytes(2, "big")
    packet[offset] = protocol

    assert bool(run_filter(bytes(packet))) is passes


def test_an_advert_is_told_by_source_and_priority(capsys: pytest.CaptureFixture[str]) -> None:
    header = bytes([0x45, *bytes(8), 112, 0, 0]) + ip_address("10.0.0.1").packed + bytes(4)
    frame = bytes(12) + b"\x08\x00" + header + bytes([0x31, 51, 200, 1])

    watch.on_advert(frame)

    line = json.loads(capsys.readouterr().out)
    assert (line["source"], line["vrid"], line["priority"]) == ("10.0.0.1", 51, 200)


def request(kind: int, command: int) -> bytes:
    """A generic netlink message: header, then command, version and two spare bytes."""
    return struct.pack("=IHHII", 20, kind, 5, 1, 0) + bytes([command, 1, 0, 0])


def test_requests_that_write_to_the_ipvs_are_counted_and_questions_are_not() -> None:
    new_destination, get_service, flush = 5, 4, 17
    data = request(28, new_destination) + request(28, get_service) + request(28, flush)

    assert watch.writes(watch.NETLINK_GENERIC, data, ipvs_family=28) == 2


def test_other_families_and_other_protocols_are_not_the_ipvs() -> None:
    new_service = request(29, 1)

    assert watch.writes(watch.NETLINK_GENERIC, new_service, ipvs_family=28) == 0
    assert watch.writes(0, new_service, ipvs_family=29) == 0
    assert watch.writes(watch.NETLINK_GENERIC, new_service[:18], ipvs_family=29) == 0
