"""What trace says of captures from a real kernel: set-ups that work, and each of them broken."""

import tomllib

import pytest

from lvsha.io.capture import Frame
from lvsha.trace.conversation import Method, Outcome
from lvsha.trace.gather import Limits
from lvsha.trace.hosts import Role
from lvsha.trace.packet import endpoint_text
from lvsha.trace.story import sentence, tell
from tests.trace.stories import CAPTURES, files, frames, told, told_of

WELL = {
    "dr": (Method.DR, "", "10.0.0.11:80"),
    "dr-udp": (Method.DR, "", "10.0.0.11:53"),
    "dr-ipv6": (Method.DR, "", "[fd00::11]:80"),
    "dr-routed": (Method.DR, "", "10.0.0.11:80"),
    "nat-two-networks": (Method.NAT, "", "10.1.0.11:8080"),
    "nat-one-network": (Method.NAT, "", "10.0.0.11:80"),
    "tun-ipip": (Method.TUNNEL, "ipip", "10.0.0.11:80"),
    "tun-gre": (Method.TUNNEL, "gre", "10.0.0.11:80"),
    "tun-gue": (Method.TUNNEL, "gue", "10.0.0.11:80"),
    "tun-ipv6": (Method.TUNNEL, "ip6ip6", "[fd00::11]:80"),
}
BROKEN = {
    "dr-gateway-is-director": {"answers-through-director"},
    "dr-no-service": {"no-virtual-service"},
    "dr-realserver-answers-arp": {"realserver-answers-arp"},
    "dr-service-closed": {"service-not-bound"},
    "dr-vip-missing": {"vip-missing-on-lo"},
    "dr-weight-zero": {"all-weights-zero"},
    "dr-wrong-port": {"service-not-bound"},
    "nat-no-forward": {"no-ip-forward"},
    "nat-one-network-direct": {"direct-route-to-client"},
    "nat-one-network-redirect": {"icmp-redirects", "redirected-route"},
    "nat-wrong-gateway": {"wrong-default-gateway"},
    "nat-wrong-port": {"service-not-bound"},
    "nobody-has-the-vip": {"no-vip-holder"},
    "tun-gue-port-closed": {"fou-port-closed"},
    "tun-mtu": {"tunnel-mtu"},
    "tun-no-device": {"tunnel-device-down"},
    "tun-source-is-vip": {"tunnel-source-is-vip"},
}


def test_every_case_that_was_recorded_is_looked_at() -> None:
    recorded = {path.stem for path in CAPTURES.glob("*.toml")}

    assert recorded == WELL.keys() | BROKEN.keys()


def test_captures_say_how_they_were_made_and_are_small() -> None:
    for path in CAPTURES.glob("*.toml"):
        document = tomllib.loads(path.read_text())
        counts = {file.name.split(".")[1]: len(frames(file)) for file in files(path.stem)}
        assert document["frames"] == counts, path.name
        assert document["what"]
        assert document["kernel"].startswith("Linux ")
    assert all(path.stat().st_size < 20_000 for path in CAPTURES.iterdir())


@pytest.mark.parametrize("case", WELL)
def test_a_set_up_that_works_is_understood_and_nothing_is_found(case: str) -> None:
    method, tunnel, realserver = WELL[case]

    explanation = told(case)

    assert explanation.findings == []
    assert explanation.is_well
    (talk,) = explanation.talks
    assert (talk.method, talk.tunnel) == (method, tunnel)
    assert talk.realserver is not None
    assert endpoint_text(talk.realserver) == realserver
    assert talk.outcome is (Outcome.ANSWERED if case == "dr-udp" else Outcome.CLOSED)
    assert [talk.client_host, talk.director_host, talk.server_host] == [
        next(host for host in explanation.hosts.all() if host.role is role)
        for role in (Role.CLIENT, Role.DIRECTOR, Role.REALSERVER)
    ]


@pytest.mark.parametrize("case", BROKEN)
def test_a_fault_is_found_and_no_other(case: str) -> None:
    explanation = told(case)

    assert {finding.id for finding in explanation.findings} == BROKEN[case]
    assert not explanation.is_well


@pytest.mark.parametrize("case", WELL)
@pytest.mark.parametrize("where", ["client", "lb", "rs"])
def test_nothing_is_found_from_one_place_alone_either(case: str, where: str) -> None:
    explanation = told(case, where)

    assert explanation.findings == []
    assert explanation.is_well


@pytest.mark.parametrize(
    ("case", "where", "id"),
    [
        ("dr-service-closed", "client", "service-not-bound"),
        ("dr-service-closed", "rs", "service-not-bound"),
        ("dr-vip-missing", "rs", "vip-missing-on-lo"),
        ("dr-no-service", "client", "no-virtual-service"),
        ("dr-realserver-answers-arp", "client", "realserver-answers-arp"),
        ("nat-one-network-direct", "client", "direct-route-to-client"),
        ("nat-one-network-direct", "rs", "direct-route-to-client"),
        ("tun-gue-port-closed", "lb", "fou-port-closed"),
        ("tun-no-device", "rs", "tunnel-device-down"),
        ("tun-mtu", "client", "path-mtu"),
        ("tun-mtu", "lb", "tunnel-mtu"),
    ],
)
def test_one_capture_is_enough_for_many_faults(case: str, where: str, id: str) -> None:
    assert id in {finding.id for finding in told(case, where).findings}


@pytest.mark.parametrize("case", ["dr", "nat-two-networks", "tun-gre"])
def test_clocks_that_are_an_hour_apart_change_nothing_but_their_offsets(case: str) -> None:
    late = {"lb": 3_600 * 10**9, "rs": -7_000 * 10**9}

    def shift(name: str, frame: Frame) -> Frame:
        by = next((ns for part, ns in late.items() if part in name), 0)
        return frame._replace(time_ns=frame.time_ns + by)

    captures = [(path.name, frames(path)) for path in files(case)]
    plain, shifted = told_of(captures), told_of(captures, shift)

    assert [sentence(event) for event in tell(shifted, 1).events] == [
        sentence(event) for event in tell(plain, 1).events
    ]
    for place in shifted.gathered.places:
        by = next((ns for part, ns in late.items() if part in place.name), 0)
        assert abs(shifted.clocks[place.index].ns - plain.clocks[place.index].ns - by) < 1000


def test_the_order_in_which_captures_are_given_does_not_matter() -> None:
    captures = [(path.name, frames(path)) for path in files("nat-two-networks")]
    one, other = told_of(captures), told_of(captures[::-1])

    assert [sentence(event) for event in tell(one, 1).events] == [
        sentence(event) for event in tell(other, 1).events
    ]


def test_the_story_of_direct_routing_in_words() -> None:
    events = [sentence(event) for event in tell(told("dr"), 1).events]

    assert events[:4] == [
        "client asks: who has 10.0.0.10?",
        "director answers client: 10.0.0.10 is at 02:00:00:00:00:01",
        "client -> director: SYN, 10.0.0.100:40001 -> 10.0.0.10:80; director -> realserver: same IP header,"
        " new destination MAC 02:00:00:00:00:0b: direct routing (DR)",
        "realserver -> client: SYN, ACK, 10.0.0.10:80 -> 10.0.0.100:40001; straight to client, not through"
        " director",
    ]


def test_the_story_of_nat_in_words() -> None:
    events = [sentence(event) for event in tell(told("nat-two-networks"), 1).events]

    assert "destination rewritten 10.0.0.10:80 -> 10.1.0.11:8080: NAT" in events[2]
    assert "source rewritten 10.1.0.11:8080 -> 10.0.0.10:80: NAT" in events[3]


def test_a_tunnel_that_wraps_too_long_packets_says_which_went_no_further() -> None:
    events = [sentence(event) for event in tell(told("tun-mtu"), 1).events]

    first = next(at for at, text in enumerate(events) if "2,800 bytes" in text)
    assert events[first].endswith("it goes no further")
    assert "fragmentation needed, MTU 1480" in events[first + 1]
    assert events[first + 2].startswith("client -> director -> realserver: ")
    assert events[first + 2].endswith("2,800 bytes")


def test_what_is_beyond_the_limits_is_counted_and_told() -> None:
    explanation = told("dr", limits=Limits(packets_at_start=3, packets_at_end=2))

    assert all(
        len(list(bucket.packets(place))) <= 5
        for bucket in explanation.gathered.buckets.values()
        for place in bucket.places
    )
    assert explanation.talks[0].left_out == (11 - 5) + (12 - 5) + (11 - 5)
    assert told("dr", limits=Limits(connections=0)).gathered.packets_not_followed == 34
