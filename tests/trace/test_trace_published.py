"""Flows after the published examples, built anew as packets.

Sources of the facts (no text or capture is copied): the tcpdump transcripts of an LVS-DR connection in the
LVS-HOWTO and LVS-mini-HOWTO (client's SYN to the VIP arrives at the director and leaves with the realserver's
hardware address; the realserver answers from the VIP straight to the client), and those of ARP before it
(who-has VIP is answered by the director alone).
"""

from typing import Any

import pytest

from lvsha.io.capture import ETHERNET, Frame
from lvsha.trace.conversation import Method, Outcome
from lvsha.trace.explain import Explanation
from lvsha.trace.hosts import Role
from lvsha.trace.packet import address_text, endpoint_text, mac_text
from lvsha.trace.story import sentence, tell
from tests.trace.stories import told_of

pytestmark = pytest.mark.interop

CLIENT, VIP, RIP = "192.168.1.254", "192.168.1.110", "192.168.1.12"
MAC = {"client": "00:a0:cc:55:7d:47", "director": "00:80:c8:ca:bd:ad", "realserver": "00:c0:df:e0:26:ff"}


def network(number: int, packet: Any) -> Frame:
    data = bytes(packet)
    return Frame(1_000_000_000 * 1000 + number * 300_000, ETHERNET, data, len(data))


def flow() -> list[Any]:
    from scapy.layers.inet import IP, TCP
    from scapy.layers.l2 import Ether

    def frame(source: str, target: str, ttl: int, ident: int, ends: tuple[str, str], **fields: Any) -> Any:
        ports = {"sport": 1174, "dport": 23} if ends[0] == CLIENT else {"sport": 23, "dport": 1174}
        packet = IP(src=ends[0], dst=ends[1], ttl=ttl, id=ident, flags="DF") / TCP(**ports, **fields)
        return Ether(src=MAC[source], dst=MAC[target]) / packet

    there, back = (CLIENT, VIP), (VIP, CLIENT)
    made = []
    segments: tuple[dict[str, Any], ...] = (
        {"flags": "S", "seq": 100},
        {"flags": "SA", "seq": 900, "ack": 101},
        {"flags": "A", "seq": 101, "ack": 901},
        {"flags": "PA", "seq": 901, "ack": 101},
        {"flags": "A", "seq": 101, "ack": 913},
        {"flags": "FA", "seq": 101, "ack": 913},
        {"flags": "FA", "seq": 913, "ack": 102},
        {"flags": "A", "seq": 102, "ack": 914},
    )
    for ident, fields in enumerate(segments, 1):
        if fields["seq"] < 900:
            made.append(frame("client", "director", 64, ident, there, **fields))
            made.append(frame("director", "realserver", 63, ident, there, **fields))
        else:
            packet = frame("realserver", "client", 64, ident, back, **fields)
            made.append(packet / (b"Debian login" if fields["flags"] == "PA" else b""))
    return made


def questions(*answerers: str) -> list[Any]:
    from scapy.layers.l2 import ARP, Ether

    ask = ARP(op=1, hwsrc=MAC["client"], psrc=CLIENT, hwdst="00:00:00:00:00:00", pdst=VIP)
    made = [Ether(src=MAC["client"], dst="ff:ff:ff:ff:ff:ff") / ask]
    for who in answerers:
        answer = ARP(op=2, hwsrc=MAC[who], psrc=VIP, hwdst=MAC["client"], pdst=CLIENT)
        made.append(Ether(src=MAC[who], dst=MAC["client"]) / answer)
    own = ARP(op=2, hwsrc=MAC["realserver"], psrc=RIP, hwdst=MAC["director"], pdst="192.168.1.1")
    made.append(Ether(src=MAC["realserver"], dst=MAC["director"]) / own)
    return made


def seen_at(*machines: str, packets: list[Any]) -> Explanation:
    """Each machine sees what it sends and what is sent to it or to all."""
    captures = []
    for machine in machines:
        ours = (MAC[machine], "ff:ff:ff:ff:ff:ff")
        captures.append(
            (
                f"{machine}.pcap",
                [
                    network(number, packet)
                    for number, packet in enumerate(packets)
                    if packet.dst in ours or packet.src == MAC[machine]
                ],
            )
        )
    return told_of(captures)


def test_a_flow_with_direct_routing() -> None:
    explanation = seen_at("client", "director", "realserver", packets=flow())

    (talk,) = explanation.talks
    assert talk.method is Method.DR
    assert talk.outcome is Outcome.CLOSED
    assert explanation.is_well
    assert {host.role: mac_text(min(host.macs)) for host in explanation.hosts.all()} == {
        Role(name): mac for name, mac in MAC.items()
    }
    events = [sentence(event) for event in tell(explanation, 1).events]
    assert f"same IP header, new destination MAC {MAC['realserver']}: direct routing (DR)" in events[0]
    assert "straight to client, not through director" in events[1]


def test_the_director_alone_shows_one_direction_only() -> None:
    explanation = seen_at("director", packets=flow())

    assert explanation.is_well
    assert explanation.talks[0].answers == []
    assert explanation.talks[0].method is Method.DR


def test_arp_and_a_flow_with_direct_routing() -> None:
    explanation = seen_at("client", "director", "realserver", packets=questions("director") + flow())

    director = explanation.talks[0].director_host
    assert director is not None
    assert [address_text(address) for address in director.answers_for] == [VIP]
    assert explanation.talks[0].realserver is not None
    assert endpoint_text(explanation.talks[0].realserver) == f"{RIP}:23"
    assert explanation.is_well
    assert sentence(tell(explanation, 1).events[1]) == (
        f"director answers client: {VIP} is at {MAC['director']}"
    )


def test_arp_that_a_realserver_answers_too() -> None:
    packets = questions("director", "realserver") + flow()

    explanation = seen_at("client", "director", "realserver", packets=packets)

    assert [(each.id, each.host) for each in explanation.findings] == [
        ("realserver-answers-arp", "realserver")
    ]
