"""What a realserver needs, by forwarding method; and that it can be taken back."""

import json
from ipaddress import ip_address
from pathlib import Path

import pytest

from lvsha.config.load import loads
from lvsha.config.settings import Settings
from lvsha.core.errors import LvshaError
from lvsha.realserver.apply import apply, cuts_session, undo
from lvsha.realserver.plan import Machine, Plan, as_interfaces, as_networkd, as_sysctl, make_plan

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
        "default_gateway": ip_address("10.0.0.1"),
        "default_interface": "eth0",
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
    commands = words(make_plan(settings(TUN), machine()))

    assert commands[:3] == [
        "modprobe ipip",
        "ip link set tunl0 up",
        "sysctl -q -w net.ipv4.conf.tunl0.rp_filter=2",
    ]
    assert commands[-1] == "ip -4 address replace 10.0.0.10/32 dev lo scope host"


def test_gue_has_its_port() -> None:
    assert "ip fou add port 6080 gue" in words(make_plan(settings(GUE), machine()))


def test_nat_answers_through_the_director() -> None:
    inner = settings(NAT, '["192.0.2.10/24", "10.0.0.254/24"]')

    plan = make_plan(inner, machine())

    assert words(plan) == ["ip -4 route replace default via 10.0.0.254"]
    assert plan.steps[0].undo == ("ip", "-4", "route", "replace", "default", "via", "10.0.0.1")
    assert any("send_redirects" in note for note in plan.notes)


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

    apply(plan, state, done)
    apply(Plan(roles=plan.roles, steps=()), state, done)
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
        apply(plan, state, recorder)

    assert recorder.commands[2:] == [" ".join(step.undo or ()) for step in (plan.steps[1], plan.steps[0])]
    assert not state.exists()


def test_the_operators_own_session_is_not_cut() -> None:
    plan = make_plan(settings(NAT, '["192.0.2.10/24", "10.0.0.254/24"]'), machine())

    def step(client: str) -> object:
        return cuts_session(plan, machine(), {"SSH_CONNECTION": f"{client} 5 10.0.0.11 22"})

    assert step("203.0.113.9") is plan.steps[0]
    assert step("10.0.0.7") is None
    assert cuts_session(plan, machine(), {}) is None


def test_other_tools_get_their_lines() -> None:
    plan = make_plan(settings(DR), machine())

    assert "    up ip -4 address replace 10.0.0.10/32 dev lo scope host\n" in as_interfaces(plan)
    assert "net.ipv4.conf.all.arp_ignore = 1\n" in as_sysctl(plan)
    assert "[Address]\nAddress=10.0.0.10/32\nScope=host\n" in as_networkd(plan)


def test_the_state_is_plain_json(tmp_path: Path) -> None:
    state = tmp_path / "realserver.json"

    apply(make_plan(settings(DR), machine()), state, Recorder())

    assert json.loads(state.read_text())[0]["what"] == "net.ipv4.conf.all.arp_ignore = 1"
