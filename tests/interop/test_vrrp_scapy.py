"""scapy and tshark read what we write, and we read what scapy writes."""

import shutil
import subprocess
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvsha.core.addr import Address
from lvsha.wire.arp import ArpForm, decode_arp, gratuitous_arp
from lvsha.wire.ndisc import ALL_NODES, unsolicited_advertisement
from lvsha.wire.vrrp import (
    GROUP_IPV4,
    GROUP_IPV6,
    IP_PROTOCOL,
    Advertisement,
    ChecksumForm,
    checksum_form,
    decode_advertisement,
    encode_advertisement,
)

pytestmark = pytest.mark.interop
scapy = pytest.importorskip("scapy.all", reason="scapy is in the dev extra")
vrrp = pytest.importorskip("scapy.layers.vrrp")

SOURCE4, SOURCE6 = IPv4Address("192.0.2.1"), IPv6Address("fe80::1")
MAC = "02:00:00:00:00:01"
MAC_BYTES = bytes.fromhex(MAC.replace(":", ""))

v4_lists = st.lists(st.ip_addresses(v=4), min_size=1, max_size=8).map(tuple)
v6_lists = st.lists(st.ip_addresses(v=6), min_size=1, max_size=8).map(tuple)
byte = st.integers(0, 255)
interval_cs = st.integers(1, 4095)


def ip_packet(advert: Advertisement, **options: Any) -> bytes:
    """A whole IP packet around our bytes."""
    over_ipv6 = advert.addresses[0].version == 6
    source, group = (SOURCE6, GROUP_IPV6) if over_ipv6 else (SOURCE4, GROUP_IPV4)
    payload = encode_advertisement(advert, source=source, destination=group, **options)
    if over_ipv6:
        header = scapy.IPv6(src=str(source), dst=str(group), hlim=255, nh=IP_PROTOCOL)
    else:
        header = scapy.IP(src=str(source), dst=str(group), ttl=255, proto=IP_PROTOCOL)
    return bytes(header / scapy.Raw(payload))


def v3(addresses: tuple[Address, ...], **changes: Any) -> Advertisement:
    fields: dict[str, Any] = {
        "version": 3,
        "vrid": 51,
        "priority": 100,
        "addresses": addresses,
        "max_advertise_interval_cs": 10,
    }
    return Advertisement(**(fields | changes))


@settings(max_examples=50)
@given(byte, byte, st.one_of(v4_lists, v6_lists), interval_cs)
def test_scapy_reads_our_version_3(
    vrid: int, priority: int, addresses: tuple[Address, ...], interval: int
) -> None:
    packet = ip_packet(v3(addresses, vrid=vrid, priority=priority, max_advertise_interval_cs=interval))

    layer = (scapy.IPv6 if addresses[0].version == 6 else scapy.IP)(packet)[vrrp.VRRPv3]

    assert (layer.version, layer.type, layer.vrid, layer.priority) == (3, 1, vrid, priority)
    assert (layer.ipcount, layer.res, layer.adv) == (len(addresses), 0, interval)
    assert tuple(layer.addrlist) == tuple(map(str, addresses))


@settings(max_examples=50)
@given(byte, byte, v4_lists, st.integers(1, 255))
def test_scapy_reads_our_version_2(
    vrid: int, priority: int, addresses: tuple[Address, ...], interval: int
) -> None:
    advert = Advertisement(
        version=2, vrid=vrid, priority=priority, addresses=addresses, advertisement_interval_s=interval
    )

    layer = scapy.IP(ip_packet(advert))[vrrp.VRRP]

    assert (layer.version, layer.type, layer.vrid, layer.priority) == (2, 1, vrid, priority)
    assert (layer.ipcount, layer.authtype, layer.adv) == (len(addresses), 0, interval)
    assert tuple(layer.addrlist) == tuple(map(str, addresses))


@settings(max_examples=50)
@given(byte, byte, v4_lists, interval_cs)
def test_we_write_over_ipv4_what_scapy_writes(
    vrid: int, priority: int, addresses: tuple[Address, ...], interval: int
) -> None:
    theirs = bytes(
        scapy.IP(src=str(SOURCE4), dst=str(GROUP_IPV4), ttl=255)
        / vrrp.VRRPv3(vrid=vrid, priority=priority, addrlist=list(map(str, addresses)), adv=interval)
    )

    ours = ip_packet(v3(addresses, vrid=vrid, priority=priority, max_advertise_interval_cs=interval))

    assert ours[20:] == theirs[20:]


@settings(max_examples=50)
@given(byte, byte, v6_lists, interval_cs)
def test_we_read_over_ipv6_what_scapy_writes(
    vrid: int, priority: int, addresses: tuple[Address, ...], interval: int
) -> None:
    packet = bytes(
        scapy.IPv6(src=str(SOURCE6), dst=str(GROUP_IPV6), hlim=255)
        / vrrp.VRRPv3(vrid=vrid, priority=priority, addrlist=list(map(str, addresses)), adv=interval)
    )

    payload = packet[40:]

    assert decode_advertisement(payload, family=6) == v3(
        addresses, vrid=vrid, priority=priority, max_advertise_interval_cs=interval
    )
    assert checksum_form(payload, source=SOURCE6, destination=GROUP_IPV6) is ChecksumForm.PSEUDO_HEADER


@pytest.mark.parametrize("form", ArpForm)
def test_scapy_reads_our_gratuitous_arp(form: ArpForm) -> None:
    frame = scapy.Ether(gratuitous_arp(mac=MAC_BYTES, address=IPv4Address("192.0.2.10"), form=form))

    arp = frame[scapy.ARP]
    assert (frame.dst, frame.src) == ("ff:ff:ff:ff:ff:ff", MAC)
    assert arp.op == (1 if form is ArpForm.REQUEST else 2)
    assert (arp.hwsrc, arp.psrc, arp.pdst) == (MAC, "192.0.2.10", "192.0.2.10")
    assert decode_arp(bytes(arp)).is_gratuitous


def test_scapy_reads_our_neighbor_advertisement() -> None:
    address = IPv6Address("2001:db8::10")
    message = unsolicited_advertisement(mac=MAC_BYTES, address=address)

    packet = scapy.IPv6(bytes(scapy.IPv6(src=str(address), dst=str(ALL_NODES), hlim=255, nh=58) / message))

    advert = packet[scapy.ICMPv6ND_NA]
    assert (advert.R, advert.S, advert.O, advert.tgt) == (1, 0, 1, str(address))
    assert packet[scapy.ICMPv6NDOptDstLLAddr].lladdr == MAC
    recomputed = scapy.IPv6(bytes(packet))
    del recomputed[scapy.ICMPv6ND_NA].cksum
    assert bytes(recomputed) == bytes(packet)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_finds_nothing_wrong_with_our_packets(tmp_path: Path) -> None:
    """Fields by name, and its own verdict on every checksum."""
    v4, v6 = (IPv4Address("192.0.2.10"),), (IPv6Address("fe80::10"), IPv6Address("2001:db8::10"))
    v2 = Advertisement(version=2, vrid=7, priority=200, addresses=v4, advertisement_interval_s=1)
    packets = [
        scapy.Ether(src=MAC, dst="01:00:5e:00:00:12") / scapy.IP(ip_packet(v2)),
        scapy.Ether(src=MAC, dst="01:00:5e:00:00:12") / scapy.IP(ip_packet(v3(v4))),
        scapy.Ether(src=MAC, dst="33:33:00:00:00:12") / scapy.IPv6(ip_packet(v3(v6, priority=0))),
    ]
    capture = tmp_path / "ours.pcap"
    scapy.wrpcap(str(capture), packets)
    fields = ("version", "virt_rtr_id", "prio", "checksum.status", "short_adver_int", "adver_int")

    said = subprocess.run(
        ["tshark", "-r", str(capture), "-T", "fields"]
        + [part for field in fields for part in ("-e", f"vrrp.{field}")]
        + ["-e", "_ws.expert"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.splitlines()

    assert [line.split("\t")[:4] for line in said] == [
        ["2", "7", "200", "1"],
        ["3", "51", "100", "1"],
        ["3", "51", "0", "1"],
    ]
    assert [line.split("\t")[6:] for line in said] == [[""]] * 3
