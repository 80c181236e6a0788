"""What a realserver needs, by forwarding method; and that it can be taken back."""

import json
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from lvsha.config.load import loads
from lvsha.config.settings import Settings
from lvsha.core.errors import LvshaError
from lvsha.realserver.apply import apply, cuts_session, own_session, undo, undo_cuts_session
from lvsha.realserver.director import make_director_plan
from lvsha.realserver.model import Machine, Plan
from lvsha.realserver.plan import make_plan
from lvsha.realserver.text import as_interfaces, as_networkd, as_sysctl

OWN = ip_address("10.0.0.11")


def settings(service: str, vrrp: str = '["10.0.0.10/24"]') -> Settings:
    return loads(
        f'[[vrrp]]\ninterface = "eth0"\nvrid = 51\naddresses = {vrrp}\n[[service]]\n{service}\n',
        node="director",
    )


def machine(**changes: object) -> Machine:
    values: dict[str, object] = {
        "addresses": {OWN: "eth0", ip_address("127.0.0.1"): "lo"},
        "sysctls": {
            f"net.ipv4.conf.{place}.{name}": "0"
            for place in ("all", "lo", "eth0", "tunl0")
            for name in ("arp_ignore", "arp_announce", "rp_filter")
        },
        "gateways": {4: ip_address("10.0.0.1")},
        "links": {"eth0": 1500, "lo": 65536},
        "networks": {OWN: ip_network("10.0.0.0/24")},
        "on_link": {(ip_network("10.0.0.0/24"), "eth0")},
    }
    return Machine(**(values | changes))  # type: ignore[arg-type]


DR = 'address = "10.0.0.10:80"\nrealservers = ["10.0.0.11", "10.0.0.12"]'
DR6 = 'address = "[fd00::10]:80"\nrealservers = ["fd00::11"]'
TUN = 'address = "10.0.0.10:80"\nmethod = "tun"\nrealservers = ["10.0.0.11"]'
GUE = TUN + '\ntunnel = { type = "gue", port = 6080 }'
NAT = 'address = "192.0.2.10:80"\nmethod = "nat"\nrealservers = ["10.0.0.11:8080"]'


def words(plan: Plan) -> list[str]:
    return [" ".join(step.command) for step in plan.steps if not step.is_done]


def test_direct_routing_is_silent_before_it_has_the_address() -> None:
    commands = words(make_plan(settings(DR), machine()))

    assert commands[-1] == "ip -4 address replace 10.0.0.10/32 dev lo scope host"
    assert set(commands[:-1]) == {
        f"sysctl -q -w net.ipv4.conf.{place}.{name}={value}"
        for place in ("all", "lo", "eth0")
        for name, value in (("arp_ignore", 1), ("arp_announce", 2))
    }


def test_ipv6_needs_the_address_alone() -> None:
    plan = make_plan(settings(DR6, '["fd00::10/64"]'), machine(addresses={ip_address("fd00::11"): "eth0"}))

    assert words(plan) == ["ip -6 address replace fd00::10/128 dev lo nodad"]


def test_a_tunnel_is_opened_before_the_address() -> None:
    before = dict(machine().sysctls) | {
        "net.ipv4.conf.all.rp_filter": "1",
        "net.ipv4.conf.tunl0.rp_filter": "2",
    }

    commands = words(make_plan(settings(TUN), machine(sysctls=before)))

    assert commands[:5] == [
        "modprobe ipip",
        "ip link set tunl0 up",
        "sysctl -q -w net.ipv4.conf.eth0.rp_filter=1",  # strict by itself, before `all` lets go
        "sysctl -q -w net.ipv4.conf.all.rp_filter=0",
        "sysctl -q -w net.ipv4.conf.tunl0.rp_filter=0",
    ]
    assert commands[-1] == "ip -4 address replace 10.0.0.10/32 dev lo scope host"


def test_gue_has_its_port() -> None:
    assert "ip fou add port 6080 gue" in words(make_plan(settings(GUE), machine()))


def test_nat_answers_through_the_director() -> None:
    inner = settings(NAT, '["192.0.2.10/24", "10.0.0.254/24"]')

    plan = make_plan(inner, machine())

    assert words(plan) == ["ip -4 route replace default via 10.0.0.254"]
    assert plan.steps[0].undo == ("ip", "-4", "route", "replace", "default", "via", "10.0.0.1")
    assert any("clients in the network of 10.0.0.11" in note for note in plan.notes)


def test_nat_without_an_inner_address_is_said() -> None:
    plan = make_plan(settings(NAT, '["192.0.2.10/24"]'), machine())

    assert not plan.steps
    assert "no [[vrrp]] has an address that could be its gateway" in plan.notes[0]


def test_a_prepared_machine_needs_nothing() -> None:
    ready = machine(
        addresses={OWN: "eth0", ip_address("10.0.0.10"): "lo"},
        sysctls={
            f"net.ipv4.conf.{place}.{name}": value
            for place in ("all", "lo", "eth0")
            for name, value in (("arp_ignore", "1"), ("arp_announce", "2"))
        },
    )

    assert words(make_plan(settings(DR), ready)) == []


def test_a_stranger_has_no_role() -> None:
    assert make_plan(settings(DR), machine(addresses={ip_address("10.0.0.99"): "eth0"})).roles == ()


class Recorder:
    """Takes commands instead of a kernel; fails at one."""

    def __init__(self, fails_at: int = -1) -> None:
        self.commands: list[str] = []
        self._fails_at = fails_at

    def __call__(self, command: tuple[str, ...]) -> None:
        if len(self.commands) == self._fails_at:
            self._fails_at = -1
            raise LvshaError("no")
        self.commands.append(" ".join(command))


def test_undo_goes_backwards_and_survives_two_applications(tmp_path: Path) -> None:
    state = tmp_path / "state" / "realserver.json"
    plan = make_plan(settings(DR), machine())
    done, taken_back = Recorder(), Recorder()

    apply(plan.steps, state, done)
    apply((), state, done)
    steps, failures = undo(state, taken_back)

    assert done.commands == [" ".join(step.command) for step in plan.steps]
    assert taken_back.commands == [" ".join(step.undo or ()) for step in reversed(plan.steps)]
    assert len(steps) == 7
    assert not failures
    assert not state.exists()


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    state = tmp_path / "realserver.json"
    recorder = Recorder(fails_at=2)
    plan = make_plan(settings(DR), machine())

    with pytest.raises(LvshaError, match="no"):
        apply(plan.steps, state, recorder)

    assert recorder.commands[2:] == [" ".join(step.undo or ()) for step in (plan.steps[1], plan.steps[0])]
    assert not state.exists()


ONE_NETWORK = NAT.replace("192.0.2.10", "10.0.0.10")
INNER = '["10.0.0.10/24", "10.0.0.254/24"]'


def test_in_one_network_only_directors_stay_on_the_link() -> None:
    plan = make_plan(settings(ONE_NETWORK, INNER), machine())

    assert words(plan) == [
        "sysctl -q -w net.ipv4.conf.all.accept_redirects=0",
        "sysctl -q -w net.ipv4.conf.eth0.accept_redirects=0",
        "ip -4 route replace 10.0.0.254/32 dev eth0",
        "ip -4 route replace default via 10.0.0.254",
        "ip -4 route del 10.0.0.0/24 dev eth0",
    ]
    assert (
        " ".join(plan.steps[-1].undo or ())
        == "ip -4 route replace 10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.11"
    )


def test_a_director_forwards_before_it_stops_redirects() -> None:
    here = machine(
        addresses={ip_address("10.0.0.1"): "eth0"},
        networks={ip_address("10.0.0.1"): ip_network("10.0.0.0/24")},
        sysctls={"net.ipv4.conf.all.rp_filter": "1", "net.ipv4.conf.eth0.rp_filter": "0"},
    )

    commands = words(make_director_plan(settings(ONE_NETWORK, INNER), here))

    assert commands[:4] == [
        "sysctl -q -w net.ipv4.ip_forward=1",
        "sysctl -q -w net.ipv4.conf.all.send_redirects=0",
        "sysctl -q -w net.ipv4.conf.eth0.send_redirects=0",
        "sysctl -q -w net.ipv4.conf.eth0.rp_filter=2",
    ]
    assert "ip saddr 10.0.0.11 ip daddr != 10.0.0.0/24 masquerade" in commands[4]
    without = make_director_plan(settings(ONE_NETWORK, INNER), machine(**{**_fields(here), "has_nft": False}))
    assert any("-s 10.0.0.11 ! -d 10.0.0.0/24 -j MASQUERADE" in note for note in without.notes)
    assert len(without.steps) == 4


def _fields(of: Machine) -> dict[str, object]:
    return {"addresses": of.addresses, "networks": of.networks, "sysctls": of.sysctls}


def test_a_director_of_direct_routing_forwards_nothing() -> None:
    assert words(make_director_plan(settings(DR), machine())) == []


def test_segments_fit_into_the_tunnel_unless_the_link_has_room() -> None:
    small = words(make_plan(settings(TUN), machine()))
    jumbo = words(make_plan(settings(TUN), machine(links={"eth0": 1520})))

    assert "ip saddr 10.0.0.10 tcp flags syn tcp option maxseg size set 1440" in "".join(small)
    assert not any(command.startswith("nft") for command in jumbo)


def test_a_table_that_nft_lists_is_not_made_again() -> None:
    """As nft 1.0.6 lists it."""
    listed = """table inet lvsha-mss {
\tchain output {
\t\ttype filter hook output priority mangle; policy accept;
\t\tip saddr 10.0.0.10 tcp flags syn tcp option maxseg size set 1440
\t}
}
"""

    def tables(listed: str) -> list[str]:
        plan = make_plan(settings(TUN), machine(nft_tables={"lvsha-mss": listed}))
        return [command for command in words(plan) if command.startswith("nft")]

    assert tables(listed) == []
    assert len(tables(listed.replace("1440", "1400"))) == 1


def test_each_tunnel_has_its_receiver() -> None:
    six = {ip_address("fd00::11"): "eth0", OWN: "eth0"}
    tun6 = 'address = "[fd00::10]:80"\nmethod = "tun"\nrealservers = ["{}"]'
    cases = {
        (tun6.format("fd00::11"), ""): ["modprobe ip6_tunnel", "ip link set ip6tnl0 up"],
        (tun6.format("fd00::11"), "gre"): ["modprobe ip6_gre", "ip link set ip6gre0 up"],
        (tun6.format("10.0.0.11"), ""): ["modprobe sit", "ip link set sit0 up"],
        (TUN, "gre"): ["modprobe ip_gre", "ip link set gre0 up"],
    }
    for (service, kind), begins in cases.items():
        text = service + (f'\ntunnel = {{ type = "{kind}" }}' if kind else "") + "\n[sync]\nenabled = false"
        vrrp = '["fd00::10/64"]' if "fd00" in service else '["10.0.0.10/24"]'

        assert words(make_plan(settings(text, vrrp), machine(addresses=six)))[:2] == begins


def test_a_tunnel_that_is_there_is_not_made_again() -> None:
    ready = machine(up={"tunl0"}, links={"tunl0": 1480}, modules={"ipip", "fou"}, fou_ports={6080})

    assert not [command for command in words(make_plan(settings(GUE), ready)) if "modprobe" in command]
    assert not [command for command in words(make_plan(settings(GUE), ready)) if command.startswith("ip fou")]


def test_a_namespace_without_the_kernels_own_device_gets_one() -> None:
    commands = words(make_plan(settings(TUN), machine(modules={"ipip"})))

    assert commands[:2] == [
        "ip link add lvs-ipip type ipip local any remote any",
        "ip link set lvs-ipip up",
    ]


def test_the_operators_own_session_is_not_cut() -> None:
    plan = make_plan(settings(ONE_NETWORK, INNER), machine())
    two = make_plan(settings(NAT, '["192.0.2.10/24", "10.0.0.254/24"]'), machine())

    def cut(plan: Plan, client: str) -> str:
        step = cuts_session(plan.steps, machine(), f"{client} 5 10.0.0.11 22")
        return "" if step is None else " ".join(step.command[3:5])

    assert cut(two, "203.0.113.9") == "replace default"
    assert cut(two, "10.0.0.7") == ""
    assert cut(two, "2001:db8::1") == ""  # an IPv4 route is no way to it
    assert cut(plan, "10.0.0.7") == "del 10.0.0.0/24"
    assert cut(plan, "10.0.0.254") == ""  # a director stays on the link
    assert cuts_session(plan.steps, machine(), "") is None


def test_taking_back_does_not_cut_the_session_either() -> None:
    plan = make_plan(settings(DR), machine())

    assert undo_cuts_session(plan.steps, machine(), "10.0.0.7 5 10.0.0.10 22") is plan.steps[-1]
    assert undo_cuts_session(plan.steps, machine(), "10.0.0.7 5 10.0.0.11 22") is None


def test_a_session_is_known_behind_sudo(tmp_path: Path) -> None:
    for process, parent, environment in (
        ("9", "8", ""),
        ("8", "7", "A=1\0"),
        ("7", "1", "SSH_CONNECTION=a 1 b 2\0"),
    ):
        (tmp_path / process).mkdir()
        (tmp_path / process / "stat").write_text(f"{process} (su do) S {parent} 0")
        (tmp_path / process / "environ").write_text(environment)

    assert own_session(tmp_path / "9", {}) == "a 1 b 2"
    (tmp_path / "7" / "environ").write_text("")
    assert own_session(tmp_path / "9", {}) == ""


def test_applying_again_leaves_one_way_back(tmp_path: Path) -> None:
    state = tmp_path / "realserver.json"
    plan = make_plan(settings(DR), machine())
    apply(plan.steps, state, Recorder())

    apply(plan.steps, state, Recorder())  # somebody has put everything back meanwhile

    assert len(json.loads(state.read_text())) == len(plan.steps)


def test_other_tools_get_their_lines() -> None:
    plan = make_plan(settings(DR), machine())

    assert "    up ip -4 address replace 10.0.0.10/32 dev lo scope host\n" in as_interfaces(plan)
    assert "net.ipv4.conf.all.arp_ignore = 1\n" in as_sysctl(plan)
    assert "[Address]\nAddress=10.0.0.10/32\nScope=host\n" in as_networkd(plan)


def test_other_tools_know_tunnels_and_routes() -> None:
    tunnel = as_networkd(make_plan(settings(GUE), machine()))
    routes = as_networkd(make_plan(settings(ONE_NETWORK, INNER), machine()))

    assert "Kind=fou\n\n[FooOverUDP]\nPort=6080\nEncapsulation=GenericUDPEncapsulation\n" in tunnel
    assert "Name=tunl0\n\n[Link]\nActivationPolicy=up\n" in tunnel
    assert "\ntable inet lvsha-mss {" in tunnel
    assert "Destination=10.0.0.254/32\nScope=link\n" in routes
    assert "Gateway=10.0.0.254\n" in routes
    assert "AddPrefixRoute=no\n" in routes
    assert "up nft 'add table inet lvsha-mss;" in as_interfaces(make_plan(settings(TUN), machine()))


def test_the_state_is_plain_json(tmp_path: Path) -> None:
    state = tmp_path / "realserver.json"

    apply(make_plan(settings(DR), machine()).steps, state, Recorder())

    assert json.loads(state.read_text())[0]["what"] == "net.ipv4.conf.all.arp_ignore = 1"
