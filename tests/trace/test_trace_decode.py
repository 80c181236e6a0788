"""Headers, by hand: link layers, tags, tunnels, quotes, and what is cut or damaged."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.trace.decode import Decoder
from lvsha.trace.packet import ACK, ICMP, SYN, TCP, UDP, Endpoint, Neighbour, Packet, Wrap, flags_text
from tests.trace.stories import CAPTURES, frames

CLIENT, VIP, DIP, RIP = (bytes((10, 0, 0, host)) for host in (100, 10, 1, 11))
MACS = bytes.fromhex("020000000001"), bytes.fromhex("020000000064")
SIX = tuple(bytes.fromhex(f"fd{'00' * 14}{host:02x}") for host in (0x64, 0x0A, 0x01, 0x11))


def tcp(*, flags: int = SYN, options: bytes = b"") -> bytes:
    words = (20 + len(options)) // 4 << 4
    return struct.pack(">HHLLBBHHH", 40001, 80, 1000, 0, words, flags, 64240, 0, 0) + options


def v4(
    body: bytes, *, protocol: int = TCP, ends: tuple[bytes, bytes] = (CLIENT, VIP), fragment: int = 0
) -> bytes:
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 7, fragment, 64, protocol, 0, *ends)
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack(">H", ~total & 0xFFFF) + head[12:] + body


def v6(body: bytes, *, protocol: int = TCP, ends: tuple[bytes, bytes] = (SIX[0], SIX[1])) -> bytes:
    return struct.pack(">LHBB16s16s", 6 << 28, len(body), protocol, 64, *ends) + body


def udp(body: bytes, *, port: int = 6080) -> bytes:
    return struct.pack(">HHHH", 30000, port, 8 + len(body), 0) + body


def ether(packet: bytes, *tags: int, kind: int | None = None) -> bytes:
    kind = kind or (0x0800 if packet[0] >> 4 == 4 else 0x86DD)
    return b"".join((*MACS, *(struct.pack(">HH", tag, 5) for tag in tags), struct.pack(">H", kind), packet))


def decode(data: bytes, link: int = 1) -> Packet:
    made = Decoder().decode(link, data, 1, 1)
    assert isinstance(made, Packet)
    return made


def inside(wrap: str) -> tuple[bytes, Wrap]:
    """A client's SYN in each kind of tunnel, and what is said of its outer header."""
    packet, packet6, ends, ends6 = v4(tcp()), v6(tcp()), (DIP, RIP), (SIX[2], SIX[3])
    gre = struct.pack(">HH", 0x2000, 0x0800) + b"key!"
    made = {
        "ipip": v4(packet, protocol=4, ends=ends),
        "sit": v4(packet6, protocol=41, ends=ends),
        "ip6ip6": v6(packet6, protocol=41, ends=ends6),
        "ip4ip6": v6(packet, protocol=4, ends=ends6),
        "gre": v4(gre + packet, protocol=47, ends=ends),
        "gue": v4(udp(b"\0\x04\0\0" + packet), protocol=UDP, ends=ends),
        "fou": v4(udp(packet, port=5555), protocol=UDP, ends=ends),
    }[wrap]
    outer = ends6 if wrap.endswith("ip6") and wrap != "sit" else ends
    return made, Wrap(wrap, *outer, {"gue": 6080, "fou": 5555}.get(wrap, 0))


@pytest.mark.parametrize("kind", ["ipip", "sit", "ip6ip6", "ip4ip6", "gre", "gue", "fou"])
def test_a_tunnel_is_looked_into(kind: str) -> None:
    data, wrap = inside(kind)

    packet = decode(ether(data))

    assert packet.wraps == (wrap,)
    assert (packet.source.port, packet.destination.port, packet.flags) == (40001, 80, SYN)


def test_a_datagram_that_only_begins_like_a_tunnel_is_none() -> None:
    looks_like = bytearray(v4(tcp()))
    looks_like[11] ^= 1  # its checksum does not hold

    assert decode(ether(v4(udp(bytes(looks_like)), protocol=UDP))).wraps == ()
    assert decode(ether(v4(udp(b"\0\x04\0\0" + v4(tcp()) + b"more"), protocol=UDP))).wraps == ()


def test_gue_that_its_receiver_has_begun_to_unwrap_is_known() -> None:
    """Linux shortens the IP header in place; a packet socket there may see it so."""
    data = bytearray(inside("gue")[0])
    data[2:4] = (len(data) - 12).to_bytes(2, "big")

    assert decode(ether(bytes(data))).wraps[0].kind == "gue"


@pytest.mark.parametrize("tags", [(0x8100,), (0x88A8, 0x8100), (0x9100, 0x8100)])
def test_vlan_tags_are_skipped(tags: tuple[int, ...]) -> None:
    packet = decode(ether(v4(tcp()), *tags))

    assert packet.destination == Endpoint(VIP, 80)
    assert packet.source_mac == MACS[1]


def test_any_interface_says_direction_and_sender() -> None:
    cooked = struct.pack(">HHH6s2xH", 4, 1, 6, MACS[1], 0x0800) + v4(tcp())
    cooked2 = struct.pack(">H2xLHBB6s2x", 0x0800, 3, 1, 0, 6, MACS[0]) + v4(tcp())

    first, second = decode(cooked, 113), decode(cooked2, 276)

    assert (first.source_mac, first.destination_mac, first.is_outgoing) == (MACS[1], b"", True)
    assert (second.source_mac, second.destination_mac, second.is_outgoing) == (MACS[0], b"", False)


@pytest.mark.parametrize("link", [12, 101])
def test_bare_ip_has_no_hardware_addresses(link: int) -> None:
    assert decode(v4(tcp()), link).source_mac == b""
    assert decode(v6(tcp()), link).destination == Endpoint(SIX[1], 80)


def test_ipv6_extension_headers_are_skipped() -> None:
    options = bytes((TCP, 0)) + bytes(6)

    assert decode(ether(v6(options + tcp(), protocol=0))).destination.port == 80


def test_later_fragments_get_the_ports_of_the_first() -> None:
    decoder = Decoder()
    first = decoder.decode(1, ether(v4(udp(bytes(32), port=53), protocol=UDP, fragment=0x2000)), 1, 1)
    later = decoder.decode(1, ether(v4(bytes(40), protocol=UDP, fragment=5)), 2, 2)

    assert isinstance(first, Packet)
    assert isinstance(later, Packet)
    assert later.destination == first.destination == Endpoint(VIP, 53)


def test_tcp_options_give_mss_and_time_stamp() -> None:
    options = b"\x02\x04\x05\xb4\x01\x01\x08\x0a" + struct.pack(">LL", 77, 0)

    packet = decode(ether(v4(tcp(options=options))))

    assert (packet.mss, packet.mark, packet.size) == (1460, 77, 0)


def test_an_icmp_error_quotes_the_packet_it_is_about() -> None:
    quoted = inside("ipip")[0]
    error = v4(struct.pack(">BBHHH", 3, 4, 0, 0, 1480) + quoted, protocol=ICMP, ends=(RIP, DIP))

    packet = decode(ether(error))

    assert packet.icmp is not None
    assert packet.icmp.mtu == 1480
    assert packet.icmp.quoted is not None
    assert packet.icmp.quoted.wraps[0].kind == "ipip"
    assert packet.icmp.quoted.source == Endpoint(CLIENT, 40001)
    assert flags_text(packet) == "ICMP fragmentation needed, MTU 1480"


def test_a_short_quote_gives_what_it_has() -> None:
    error = v4(struct.pack(">BBHL", 3, 3, 0, 0) + inside("ipip")[0][:28], protocol=ICMP, ends=(RIP, DIP))

    packet = decode(ether(error))

    assert packet.icmp is not None
    assert packet.icmp.quoted is not None
    assert packet.icmp.quoted.destination == Endpoint(RIP, 0)


def test_a_redirect_names_the_gateway() -> None:
    error = v4(struct.pack(">BBH4s", 5, 1, 0, CLIENT) + v4(tcp())[:28], protocol=ICMP, ends=(DIP, RIP))

    assert flags_text(decode(ether(error))) == "ICMP redirect to 10.0.0.100"


def test_arp_and_neighbour_discovery_are_the_same_to_us() -> None:
    arp = b"\0\x01\x08\0\x06\x04\0\x02" + MACS[0] + VIP + MACS[1] + CLIENT
    advert = bytes((136, 0, 0, 0)) + bytes(4) + SIX[1] + b"\x02\x01" + MACS[0]

    answers = [
        Decoder().decode(1, ether(arp, kind=0x0806), 1, 1),
        Decoder().decode(1, ether(v6(advert, protocol=58, ends=(SIX[1], SIX[0]))), 1, 1),
    ]

    for answer, address, asker in zip(answers, (VIP, SIX[1]), (CLIENT, SIX[0]), strict=True):
        assert isinstance(answer, Neighbour)
        assert (answer.is_answer, answer.sender_mac, answer.sender) == (True, MACS[0], address)
        assert answer.target == asker


@given(st.binary(max_size=200), st.sampled_from([0, 1, 12, 101, 108, 113, 276, 999]))
def test_any_bytes_are_a_packet_or_nothing(data: bytes, link: int) -> None:
    Decoder().decode(link, data, 1, 1)


def test_frames_cut_or_damaged_anywhere_raise_nothing() -> None:
    dice = random.Random(8)
    decoder = Decoder()
    for path in sorted(CAPTURES.glob("*.lb*.pcap")):
        for frame in frames(path)[:12]:
            for end in range(0, len(frame.data), 3):
                decoder.decode(frame.link, frame.data[:end], 1, 1)
            damaged = bytearray(frame.data)
            for _ in range(3):
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
            decoder.decode(frame.link, bytes(damaged), 1, 1)


def test_flags_in_words() -> None:
    assert flags_text(decode(ether(v4(tcp(flags=SYN | ACK))))) == "SYN, ACK"
    assert flags_text(decode(ether(v4(tcp(flags=ACK))))) == "ACK"
    assert flags_text(decode(ether(v4(tcp(flags=ACK) + b"hello")))) == "5 bytes"
