"""Faults that the lab's captures do not have, packet by packet: direct routing, frames made by hand."""

import struct
from dataclasses import dataclass, field
from itertools import pairwise

from lvsha.io.capture import ETHERNET, Frame
from lvsha.trace.explain import Explanation
from lvsha.trace.packet import ACK, FIN, RST, SYN
from lvsha.trace.story import sentence, tell
from tests.trace.stories import told_of
from tests.trace.test_trace_decode import v4

CLIENT, VIP, DIP, RIP = (bytes((10, 0, 0, host)) for host in (100, 10, 1, 11))
MAC = {name: bytes((2, 0, 0, 0, 0, n)) for n, name in enumerate(("client", "lb", "rs", "lb2"))}
BROADCAST = b"\xff" * 6


@dataclass
class Wire:
    """Records each frame at its two ends (a broadcast everywhere)."""

    seen: dict[str, list[Frame]] = field(default_factory=lambda: {name: [] for name in MAC})
    now_ns: int = 1_000_000_000
    count: int = 0

    def put(self, source: str, target: str, packet: bytes, kind: bytes = b"\x08\x00") -> None:
        self.now_ns += 1_000_000
        mac = MAC.get(target, BROADCAST)
        data = mac + MAC[source] + kind + packet
        for name, frames in self.seen.items():
            if name in (source, target) or mac == BROADCAST:
                frames.append(Frame(self.now_ns, ETHERNET, data, len(data)))

    def segment(
        self, way: tuple[str, ...], flags: int, sequence: int, acknowledgement: int = 0, size: int = 0
    ) -> None:
        """Hop by hop; one TTL less after each."""
        self.count += 1
        is_request = way[0] == "client"
        ports = (40001, 80) if is_request else (80, 40001)
        head = struct.pack(">HHLLBBHHH", *ports, sequence, acknowledgement, 0x50, flags, 64240, 0, 0)
        packet = v4(head + bytes(size), ends=(CLIENT, VIP) if is_request else (VIP, CLIENT))
        for hop, (source, target) in enumerate(pairwise(way)):
            self.put(source, target, packet[:4] + struct.pack(">HHB", self.count, 0, 64 - hop) + packet[9:])

    def icmp(self, source: str, target: str, kind: int, code: int, about: bytes) -> None:
        body = struct.pack(">BBHL", kind, code, 0, 0) + about
        self.put(source, target, v4(body, protocol=1, ends=(DIP, CLIENT)))

    def ask(self, source: str, address: bytes, *answers: str) -> None:
        arp = b"\0\x01\x08\0\x06\x04"
        own = {"client": CLIENT, "lb": DIP, "rs": RIP}[source]
        self.put(source, "all", arp + b"\0\x01" + MAC[source] + own + bytes(6) + address, b"\x08\x06")
        for name in answers:
            self.put(name, source, arp + b"\0\x02" + MAC[name] + address + MAC[source] + own, b"\x08\x06")

    def handshake(self) -> None:
        self.segment(THERE, SYN, 0)
        self.segment(BACK, SYN | ACK, 0, 1)
        self.segment(THERE, ACK, 1, 1)

    def told(self, *at: str) -> Explanation:
        """By the captures of these machines; none: client, director and realserver."""
        return told_of((f"{name}.pcap", self.seen[name]) for name in at or ("client", "lb", "rs"))


THERE, BACK = ("client", "lb", "rs"), ("rs", "client")


def ids(explanation: Explanation) -> list[str]:
    return [finding.id for finding in explanation.findings]


def test_a_long_segment_that_never_gets_through() -> None:
    wire = Wire()
    wire.handshake()
    for _ in range(4):
        wire.segment(BACK, ACK, 1, 1, 1460)
    wire.segment(THERE, ACK, 1, 1)

    (finding,) = wire.told().findings

    assert finding.id == "path-mtu"
    assert "a segment of 1,460 bytes is sent again and again" in finding.what


def test_segments_that_are_sent_again_but_arrive_are_a_warning() -> None:
    wire = Wire()
    wire.handshake()
    for number in range(3):
        wire.segment(BACK, ACK, 1 + 100 * number, 1, 100)
        wire.segment(BACK, ACK, 1 + 100 * number, 1, 100)
        wire.segment(THERE, ACK, 1, 101 + 100 * number)

    (finding,) = wire.told().findings

    assert (finding.id, finding.severity) == ("retransmissions", "warning")
    assert finding.what.startswith("3 segments")


def test_a_director_that_does_not_know_the_connection_cuts_it() -> None:
    wire = Wire()
    wire.handshake()
    wire.segment(("client", "lb2"), ACK, 1, 1, 10)
    wire.segment(("lb2", "client"), RST, 1)

    (finding,) = wire.told("client", "lb", "rs", "lb2").findings

    assert finding.id == "connection-reset"
    assert finding.what.startswith("director 2 cuts the connection with RST")


def test_a_reset_after_the_goodbye_is_no_fault() -> None:
    wire = Wire()
    wire.handshake()
    wire.segment(THERE, FIN | ACK, 1, 1)
    wire.segment(BACK, RST | ACK, 1, 2)

    assert wire.told().is_well


def test_two_directors_that_answer_arp_are_a_conflict() -> None:
    wire = Wire()
    wire.ask("client", VIP, "lb", "lb2")
    wire.handshake()

    (finding,) = wire.told().findings

    assert finding.id == "address-conflict"
    assert "02:00:00:00:00:01" in finding.evidence
    assert "02:00:00:00:00:03" in finding.evidence


def test_a_firewall_that_says_so() -> None:
    wire = Wire()
    wire.segment(("client", "lb"), SYN, 0)
    wire.icmp("lb", "client", 3, 13, wire.seen["client"][0].data[14:])

    assert ids(wire.told("client")) == ["firewall-drops"]


def test_a_realserver_that_nobody_can_reach() -> None:
    wire = Wire()
    wire.ask("client", VIP, "lb")
    for _ in range(2):
        wire.segment(("client", "lb"), SYN, 0)
        wire.ask("lb", RIP)

    (finding,) = wire.told("client", "lb").findings

    assert finding.id == "realserver-unreachable"
    assert "10.0.0.11" in finding.what


def test_silence_of_a_machine_without_a_capture_is_not_held_against_it() -> None:
    wire = Wire()
    for _ in range(2):
        wire.segment(THERE, SYN, 0)

    (heard,) = wire.told("client", "lb").findings
    (witnessed,) = wire.told("client", "lb", "rs").findings

    assert (heard.id, witnessed.id) == ("no-answer", "vip-missing-on-lo")
    assert "a capture on it would tell more" in heard.what


def test_two_connections_of_one_port_are_two() -> None:
    wire = Wire()
    for start in (0, 5_000_000):
        wire.segment(THERE, SYN, start)
        wire.segment(BACK, SYN | ACK, start, start + 1)
        wire.segment(THERE, ACK, start + 1, start + 1)
        wire.segment(THERE, FIN | ACK, start + 1, start + 1)
        wire.segment(BACK, FIN | ACK, start + 1, start + 2)

    explanation = wire.told()

    assert len(explanation.talks) == 2
    assert explanation.is_well


def test_a_takeover_shows_as_another_way_to_the_same_realserver() -> None:
    wire = Wire()
    wire.handshake()
    wire.segment(THERE, ACK, 1, 1, 10)
    wire.segment(("client", "lb2", "rs"), ACK, 11, 1, 10)
    wire.segment(BACK, ACK, 1, 21)

    explanation = wire.told("client", "lb", "rs", "lb2")

    assert explanation.is_well
    told = [sentence(event) for event in tell(explanation, 1).events]
    ways = [text for text in told if text.startswith("client -> director")]
    assert [("director 1" in text, "director 2" in text) for text in ways] == [
        (True, False),
        (True, False),
        (False, True),
    ]


def test_what_passes_beside_is_counted_and_changes_no_role() -> None:
    wire = Wire()
    wire.handshake()
    for port in range(3):
        question = struct.pack(">HHHH", 50_000 + port, 53, 8, 0)
        wire.put("rs", "lb", v4(question, protocol=17, ends=(RIP, bytes((192, 0, 2, 53)))))

    explanation = wire.told()

    assert explanation.is_well
    assert (len(explanation.talks), explanation.others) == (1, 3)
    assert [host.name for host in explanation.hosts.all()] == ["client", "director", "realserver"]
