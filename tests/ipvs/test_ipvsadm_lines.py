"""Records as ipvsadm's words, lines tried before they are carried out, JSON, and top."""

import json
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.core.addr import AF_INET, AF_INET6, Address
from lvsha.core.instant import SECOND, Instant
from lvsha.ipvs.as_json import daemons_json, table_json, timeouts_json
from lvsha.ipvs.ipvsadm.command import parse
from lvsha.ipvs.ipvsadm.lines import (
    destination_of,
    destination_words,
    key_of,
    operation_words,
    service_of,
    service_words,
)
from lvsha.ipvs.ipvsadm.names import Names
from lvsha.ipvs.model import (
    Daemon,
    DaemonRole,
    Destination,
    DestinationState,
    ForwardingMethod,
    Info,
    Service,
    ServiceFlags,
    ServiceKey,
    ServiceState,
    Stats,
    Table,
    Timeouts,
    TunnelFlags,
    TunnelType,
)
from lvsha.ipvs.plan import plan
from lvsha.ipvs.rehearsal import Rehearsal, rehearse, wanted_of
from lvsha.ipvs.top import KEPT, Top, bars, screen, short


class Ipv6Names(Names):
    def loose_ip4(self, text: str) -> bytes | None:
        return self.ip4(text)

    def ip6(self, text: str) -> bytes | None:
        try:
            return IPv6Address(text).packed
        except ValueError:
            return None


NAMES = Ipv6Names()
ADDRESSES = st.one_of(
    st.builds(IPv4Address, st.integers(1, 2**32 - 1)), st.builds(IPv6Address, st.integers(1, 2**128 - 1))
)
PORTS = st.integers(1, 65535)


@st.composite
def services(draw: st.DrawFn) -> Service:
    if draw(st.booleans()):
        key = ServiceKey.of_fwmark(
            draw(st.integers(1, 2**32 - 1)), draw(st.sampled_from((AF_INET, AF_INET6)))
        )
    else:
        key = ServiceKey.of(draw(st.sampled_from((6, 17, 132))), draw(ADDRESSES), draw(PORTS))
    flags = ServiceFlags(draw(st.sampled_from((0, 0x08, 0x10, 0x18, 0x20, 0x38))))
    if key.fwmark or key.protocol == 17:
        flags |= draw(st.sampled_from((ServiceFlags.NONE, ServiceFlags.ONE_PACKET)))
    masks = st.integers(1, 127) if key.family == AF_INET6 else st.integers(0, 2**32 - 2)
    return Service(
        key=key,
        scheduler=draw(st.sampled_from(("rr", "wlc", "sh", "mh"))),
        flags=flags,
        persistence_timeout_s=draw(st.none() | st.integers(1, 2678400)),
        netmask=draw(st.none() | masks),
        pe_name=draw(st.sampled_from((None, "sip"))),
    )


@given(services())
def test_a_service_is_read_as_it_was_written(service: Service) -> None:
    assert service_of(parse(["-A", *service_words(service).split()], NAMES)) == service


@given(services(), st.data())
def test_a_destination_is_read_as_it_was_written(service: Service, data: st.DataObject) -> None:
    method = data.draw(
        st.sampled_from((ForwardingMethod.MASQ, ForwardingMethod.TUNNEL, ForwardingMethod.DROUTE))
    )
    key = service.key
    same = IPv6Address if key.family == AF_INET6 else IPv4Address
    address: Address = same(data.draw(st.integers(1, 2**32 - 1)))
    free = method is ForwardingMethod.MASQ or key.fwmark
    kind, sums = TunnelType.IPIP, TunnelFlags.NOCSUM
    if method is ForwardingMethod.TUNNEL:
        kind = data.draw(st.sampled_from(TunnelType))
        sums = TunnelFlags(data.draw(st.integers(0, (1, 3, 2)[kind] - 1)))
    upper = data.draw(st.integers(0, 2**31 - 1))
    destination = Destination(
        address=address,
        port=data.draw(PORTS) if free else key.port,
        method=method,
        weight=data.draw(st.integers(0, 2**31 - 1)),
        upper_threshold=upper,
        lower_threshold=data.draw(st.integers(0, upper)),
        tun_type=kind,
        tun_port=data.draw(PORTS) if kind is TunnelType.GUE else 0,
        tun_flags=sums,
    )

    command = parse(["-a", *destination_words(key, destination).split()], NAMES)

    assert (key_of(command), destination_of(command)) == (key, destination)


WEB = ServiceKey.of(6, ip_address("192.0.2.1"), 80)


def table(*servers: str) -> Table:
    destinations = {}
    for number, text in enumerate(servers, start=1):
        destination = Destination(address=ip_address(text), port=80, method=ForwardingMethod.MASQ)
        stats = Stats(number, 10 * number, 0, 1000 * number, 0)
        destinations[destination.key] = DestinationState(destination=destination, active=number, stats=stats)
    state = ServiceState(service=Service(key=WEB), stats=Stats(1, 30, 0, 3000, 0), destinations=destinations)
    return {WEB: state}


def tried(*lines: str, before: Table | None = None) -> Rehearsal:
    return rehearse(lines, before if before is not None else {}, NAMES)


def planned(rehearsal: Rehearsal, before: Table) -> list[str]:
    operations = plan(rehearsal.after, before, exclusive=True, owned=frozenset())
    return [operation_words(operation) for operation in operations]


def test_lines_add_to_what_is_there() -> None:
    before = table("10.1.0.1")

    found = tried("-a -t 192.0.2.1:80 -r 10.1.0.2:80 -m -w 5", "-D -f 9", before=before)

    assert [str(problem) for problem in found.problems] == ["line 2: No such service (-D -f 9)"]
    assert planned(found, before) == ["-a -t 192.0.2.1:80 -r 10.1.0.2:80 -m -w 5"]


def test_clear_and_the_same_again_changes_nothing() -> None:
    before = table("10.1.0.1", "10.1.0.2")
    saved = ["-C", "-A -t 192.0.2.1:80 -s wlc"]
    saved += [f"-a -t 192.0.2.1:80 -r 10.1.0.{n}:80 -m -w 1" for n in (2, 1)]

    found = tried(*saved, before=before)

    assert not found.problems
    assert planned(found, before) == []


def test_every_line_is_judged() -> None:
    found = tried("-A -t 192.0.2.1:80", "-A", "-A -t 192.0.2.1:80", "-q", "-L", "-A -f 5 -s rr")

    assert [problem.line for problem in found.problems] == [2, 3, 4, 5]
    assert [problem.message for problem in found.problems[1:]] == [
        "Service already exists",
        "this is no command of ipvsadm's",
        "--list cannot be taken back: leave it out, or run it by itself",
    ]
    assert len(found.after) == 2


def test_the_way_back_is_a_plan() -> None:
    before = table("10.1.0.1")

    assert plan(wanted_of(before), before, exclusive=True, owned=frozenset()) == ()
    assert planned(Rehearsal(after=wanted_of(before), problems=(), lines=0), {}) == [
        "-A -t 192.0.2.1:80 -s wlc",
        "-a -t 192.0.2.1:80 -r 10.1.0.1:80 -m -w 1",
    ]


def test_json_of_a_table_keeps_its_keys() -> None:
    """The keys are a contract."""
    shown = json.loads(json.dumps(table_json(table("10.1.0.1"), Info(version=(1, 2, 1), table_size=4096))))

    assert set(shown) == {"version", "table_size", "services"}
    service = shown["services"][0]
    assert set(service) == {
        *("family", "protocol", "address", "port", "fwmark", "scheduler", "scheduler_flags", "one_packet"),
        *("persistence_s", "netmask", "persistence_engine", "stats", "rates", "destinations"),
    }
    assert (service["protocol"], service["address"], service["port"], service["fwmark"]) == (
        "tcp",
        "192.0.2.1",
        80,
        None,
    )
    counters = {"connections", "in_packets", "out_packets", "in_bytes", "out_bytes"}
    assert set(service["stats"]) == set(service["rates"]) == counters
    assert set(service["destinations"][0]) == {
        *("address", "port", "method", "weight", "upper_threshold", "lower_threshold", "tunnel"),
        *("active", "inactive", "persistent", "stats", "rates"),
    }


def test_json_of_daemons_and_timeouts() -> None:
    daemon = Daemon(role=DaemonRole.MASTER, interface="eth0", syncid=5)

    assert daemons_json([daemon])["daemons"][0]["role"] == "master"
    assert timeouts_json(Timeouts(tcp_s=900, tcp_fin_s=120, udp_s=300)) == {
        "tcp_s": 900,
        "tcp_fin_s": 120,
        "udp_s": 300,
    }


def with_traffic(before: Table, packets: int) -> Table:
    for state in before.values():
        state.stats = state.stats._replace(in_packets=state.stats.in_packets + packets)
        for each in state.destinations.values():
            share = packets if str(each.destination.address) == "10.1.0.2" else 0
            each.stats = each.stats._replace(in_packets=each.stats.in_packets + share)
    return before


def test_top_shows_rates_between_two_readings_the_busiest_first() -> None:
    top, counters = Top(), table("10.1.0.1", "10.1.0.2")
    top.read(counters, Instant(0))

    lines = top.read(with_traffic(counters, 50), Instant(2 * SECOND))

    assert [(line.server, line.packets) for line in lines] == [
        (None, 25.0),
        ("10.1.0.2:80", 25.0),
        ("10.1.0.1:80", 0.0),
    ]
    assert lines[0].history == (0.0, 25.0)
    assert "▁█" in screen(lines)[1]


def test_top_forgets_what_is_gone_and_survives_a_zeroing() -> None:
    top, counters = Top(), table("10.1.0.1", "10.1.0.2")
    for reading in range(KEPT + 5):
        top.read(counters, Instant(reading * SECOND))
    zeroed = table("10.1.0.1")
    zeroed[WEB].stats = Stats()

    lines = top.read(zeroed, Instant(99 * SECOND))

    assert [line.packets for line in lines] == [0.0, 0.0]
    assert len(lines[0].history) == KEPT
    assert len(top._rates) == 2


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (999, "999"), (1000, "1.0k"), (4_500_000, "4.5M"), (2e9, "2.0G")]
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


def test_bars() -> None:
    assert bars([0, 0]) == "▁▁"
    assert bars([0, 50, 100]) == "▁▅█"


def test_a_screen_says_what_it_leaves_out() -> None:
    top = Top()

    assert screen(top.read(table("10.1.0.1", "10.1.0.2"), Instant(0)), height=3)[2] == "... and 2 more lines"
