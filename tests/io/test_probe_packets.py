"""Packets as IPVS sends them, read by somebody else; and which answers are taken for answers."""

from ipaddress import ip_address

import pytest
from scapy.compat import raw
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import GRE
from scapy.packet import Packet

from lvsha.io import probe_packets as packets
from lvsha.io.forward_probe import Answer, Path, read_answer
from lvsha.ipvs.model import TunnelType

VIP4, VIP6 = ip_address("10.0.0.10"), ip_address("fd00::10")
OWN4, OWN6 = ip_address("10.0.0.1"), ip_address("fd00::1")
REAL4, REAL6 = ip_address("10.0.0.11"), ip_address("fd00::11")


def read(data: bytes) -> Packet:
    return IP(data) if data[0] >> 4 == 4 else IPv6(data)


def checked(packet: Packet) -> bytes:
    """With every checksum and length worked out by scapy."""
    fresh = packet.copy()
    layer = fresh
    while layer:
        for name in ("chksum", "cksum", "len", "plen"):
            if name in layer.fields and not (name == "chksum" and isinstance(layer, GRE)):
                del layer.fields[name]
        layer = layer.payload
    return bytes(raw(fresh))


@pytest.mark.parametrize(("own", "vip"), [(OWN4, VIP4), (OWN6, VIP6)], ids=["ipv4", "ipv6"])
def test_a_segment_and_an_echo(own: object, vip: object) -> None:
    source, address = ip_address(str(own)), ip_address(str(vip))
    segment = packets.tcp(source, address, 80, packets.SYN, 7)
    echo = packets.echo(source, address, 1400)

    seen = read(segment)
    assert (seen.src, seen.dst, seen[TCP].dport, str(seen[TCP].flags)) == (str(source), str(address), 80, "S")
    assert checked(seen) == segment
    assert len(echo) == 1400
    assert checked(read(echo)) == echo
    assert read(echo).haslayer(ICMPv6EchoRequest if source.version == 6 else ICMP)


@pytest.mark.parametrize("inner", [4, 6])
@pytest.mark.parametrize(("outer", "real"), [(OWN4, REAL4), (OWN6, REAL6)], ids=["over ipv4", "over ipv6"])
@pytest.mark.parametrize("tunnel", TunnelType)
def test_wrapped(tunnel: TunnelType, outer: object, real: object, inner: int) -> None:
    source, realserver = ip_address(str(outer)), ip_address(str(real))
    bare = packets.echo(*((OWN4, VIP4) if inner == 4 else (OWN6, VIP6)), 100)

    whole = packets.wrapped(bare, source, realserver, tunnel, 6080)

    seen = read(whole)
    assert seen.dst == str(realserver)
    assert whole.endswith(bare)
    assert len(whole) - len(bare) == packets.overhead(tunnel, source.version)
    if tunnel is TunnelType.GRE:
        assert seen[GRE].proto == packets.ETHERTYPES[inner]
    elif tunnel is TunnelType.GUE:
        assert seen[UDP].dport == 6080
        assert raw(seen[UDP].payload)[:2] == bytes((0, {4: 4, 6: 41}[inner]))
        assert (seen[UDP].chksum == 0) is (source.version == 4)
        if source.version == 6:
            assert checked(seen) == whole


def path(**changes: object) -> Path:
    values: dict[str, object] = {"source": OWN6, "realserver": REAL6}
    return Path(**(values | changes))  # type: ignore[arg-type]


def test_an_answer_from_the_virtual_address_and_no_other() -> None:
    def answer(source: object, flags: str, to: int = packets.PORT) -> Answer | None:
        segment = IPv6(src=str(source), dst=str(OWN6)) / TCP(sport=80, dport=to, flags=flags)
        return read_answer(path(), VIP6, raw(segment))

    assert answer(VIP6, "SA") is Answer.ACCEPTED
    assert answer(VIP6, "RA") is Answer.RESET
    assert answer(REAL6, "SA") is None
    assert answer(VIP6, "SA", 1) is None


def test_an_echo_comes_back() -> None:
    reply = IPv6(src=str(VIP6), dst=str(OWN6)) / ICMPv6EchoReply(id=packets.PORT, seq=1)

    assert read_answer(path(), VIP6, raw(reply)) is Answer.ACCEPTED
    assert read_answer(path(), REAL6, raw(reply)) is None


def test_a_refusal_is_about_our_packet() -> None:
    """The tunnel's packet is refused in the outer family; one of somebody else's is not ours."""
    outside = path(outer=OWN4, realserver=REAL4)
    error = IP(src=str(REAL4), dst=str(OWN4)) / ICMP(type=3, code=2)
    ours = raw(error / IP(src=str(OWN4), dst=str(REAL4), proto=41) / b"12345678")
    theirs = raw(error / IP(src=str(OWN4), dst="10.0.0.12", proto=41) / b"12345678")
    inside = raw(
        IPv6(src=str(REAL6), dst=str(OWN6))
        / ICMPv6DestUnreach(code=4)
        / IPv6(src=str(OWN6), dst=str(VIP6), nh=6)
    )

    assert read_answer(outside, VIP6, ours) is Answer.UNREACHABLE
    assert read_answer(outside, VIP6, theirs) is None
    assert read_answer(path(), VIP6, inside) is Answer.UNREACHABLE


@pytest.mark.parametrize("data", [b"", b"\x60", bytes(39), bytes([0x60]) + bytes(60), b"\x45" + bytes(19)])
def test_other_bytes_are_no_answer(data: bytes) -> None:
    assert read_answer(path(), VIP6, data) is None
