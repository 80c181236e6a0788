"""What moves with a role, and what decides about it: hooks, routes, rules, trackers, delays."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from lvsha.config.exporters.keepalived import to_keepalived
from lvsha.config.importers.convert import to_toml
from lvsha.config.importers.keepalived import convert_keepalived
from lvsha.config.importers.report import Imported, Reader
from lvsha.config.load import loads
from lvsha.core.instant import MILLISECOND, SECOND
from lvsha.vrrp.settings import Authentication, RouterSettings


def imported(inside: str, outside: str = "") -> Imported:
    text = f"""{outside}
vrrp_instance A {{
    interface eth0
    virtual_router_id 1
    virtual_ipaddress {{ 10.0.0.9/24 }}
{inside}
}}
vrrp_instance B {{
    interface eth1
    virtual_router_id 2
    virtual_ipaddress {{ 10.1.0.9/24 }}
}}
"""
    return convert_keepalived("k.conf", text, Reader())


def routers(inside: str, outside: str = "") -> tuple[RouterSettings, ...]:
    return loads(to_toml(imported(inside, outside)), node="director").routers


def said(result: Imported) -> list[str]:
    return [
        f"{remark.fate} {remark.keyword}: {remark.message}" for remark in result.remarks if remark.matters
    ]


def told(router: RouterSettings, state: str) -> str:
    """What the hook says when it is run as directord does."""
    command = [*router.hook, router.name, state]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_virtual_macs_silence_and_the_pause_after_a_boot_are_carried() -> None:
    one, other = routers(
        "use_vmac vrrp.9 00:11:22:33:44:55\n no_accept", "global_defs {\n vrrp_delay_after_boot 20\n}"
    )

    assert (one.vmac_interface, one.accept, one.boot_delay) == ("vrrp.9", False, 20 * SECOND)
    assert (other.vmac_interface, other.accept) == (None, True)
    assert routers("use_vmac")[0].vmac_interface == "vrrp.1"


def test_notify_alone_is_the_hook() -> None:
    router, other = routers('notify "/usr/local/bin/x -v" root')

    assert router.hook == ("/usr/local/bin/x", "-v", "INSTANCE")
    assert (router.hook_timeout, router.hook_repeat) == (60 * SECOND, 0)
    assert other.hook == ()


def test_scripts_of_states_and_of_the_group_are_one_hook_that_chooses() -> None:
    router, other = routers(
        'notify_master "/bin/echo up \'two words\'"\nnotify_backup /bin/true\nnotify "/bin/echo i"',
        'vrrp_sync_group G { group { A\nB }\nnotify_fault "/bin/echo lost"\nnotify "/bin/echo g" }',
    )

    assert told(router, "MASTER").splitlines() == ["up two words", "i INSTANCE A MASTER", "g GROUP G MASTER"]
    assert told(router, "FAULT").splitlines() == ["i INSTANCE A FAULT", "lost", "g GROUP G FAULT"]
    assert told(router, "BACKUP").splitlines() == ["i INSTANCE A BACKUP", "g GROUP G BACKUP"]
    assert other.hook == ()


@pytest.mark.parametrize("word", ["notify_stop", "notify_fifo", "notify_master_rx_lower_pri", "quorum_up"])
def test_other_scripts_say_what_to_do(word: str) -> None:
    (line,) = said(imported(f"{word} /bin/x"))

    assert line.startswith(f"not-carried {word}: ")
    assert any(remedy in line for remedy in ("ExecStopPost", "lvsha events --follow", "hook_repeat"))


def test_routes_move_with_the_addresses() -> None:
    router, _ = routers("""virtual_routes {
        src 10.0.0.9 to 192.168.1.0/24 via 10.0.0.254 dev eth5 no_track
        default gw 10.0.0.1 table 100
        192.168.2.0/24 dev eth2 metric 7
        2001:db8::/32 via inet6 fe80::1
    }""")
    first, default, third, ipv6 = router.routes

    assert (str(first.to), str(first.via), first.interface) == ("192.168.1.0/24", "10.0.0.254", "eth5")
    assert str(first.source) == "10.0.0.9"
    assert (str(default.to), default.table, default.interface) == ("0.0.0.0/0", 100, "eth0")
    assert (third.via, third.interface, third.metric) == (None, "eth2", 7)
    assert (str(ipv6.to), str(ipv6.via)) == ("2001:db8::/32", "fe80::1")


def test_rules_get_the_preference_that_keepalived_would_give() -> None:
    router, _ = routers(
        """virtual_rules {
        from 192.168.2.0/24 table 1
        to 192.168.3.0/24 from all table main preference 99
        fwmark 0x10 table 2
    }""",
        "static_rules { from 10.9.0.0/16 table 3 }",
    )

    assert [(rule.priority, rule.table, rule.fwmark) for rule in router.rules] == [
        (16383, 1, None),
        (99, 254, None),
        (16382, 2, 16),
    ]
    assert str(router.rules[1].to) == "192.168.3.0/24"


@pytest.mark.parametrize(
    ("block", "why"),
    [
        ("virtual_routes { blackhole 192.168.1.0/24 }", "there are no blackhole routes"),
        ("virtual_routes { 192.168.1.0/24 via 10.0.0.1 or 10.0.0.2 }", "one gateway"),
        ("virtual_routes { 192.168.1.0/24 dev eth0 scope link }", "a route has no scope here"),
        ("virtual_routes { 192.168.1.1/24 dev eth0 }", "has host bits set"),
        ("virtual_routes { via }", "a value is missing"),
        ("virtual_rules { from 192.168.100./24 table 1 }", "does not appear to be"),
        ("virtual_rules { from 10.0.0.0/8 table lan }", "write its number"),
        ("virtual_rules { from 10.0.0.0/8 iif eth0 table 3 }", "a rule has no iif here"),
        ("virtual_rules { table 3 }", "matches every packet"),
        ("virtual_rules { from 10.0.0.0/8 table 3 preference 70000 }", "is not between"),
    ],
)
def test_a_route_that_cannot_be_had_is_left_out_whole(block: str, why: str) -> None:
    result = imported(block)
    (line,) = said(result)

    assert why in line
    assert not {"routes", "rules"} & result.blocks[0].table.keys()


def test_a_route_without_a_device_is_on_the_routers() -> None:
    (remark,) = imported("virtual_routes { 192.168.1.0/24 via 172.16.0.1 }").remarks

    assert "names no device: the virtual router's is taken" in remark.message


def test_authentication_is_off_until_all_directors_are_lvsha() -> None:
    text = to_toml(imported("")) + '\n[sync.relay]\nkey_file = "/etc/lvsha/relay.key"\n'

    assert {router.authentication for router in loads(text, node="director").routers} == {Authentication.NONE}


def test_link_delays() -> None:
    result = imported("", "interface_up_down_delays {\neth0 0.5 2\neth7 1\n}")
    router, other = loads(to_toml(result), node="director").routers

    assert (router.link_down_delay, router.link_up_delay) == (500 * MILLISECOND, 2 * SECOND)
    assert (other.link_down_delay, other.link_up_delay) == (0, 0)
    assert ["no vrrp_instance is on eth7" in line for line in said(result)] == [True]


def _track(inside: str, outside: str) -> dict[str, Any]:
    (track,) = imported(inside, outside).blocks[0].table["track"]
    assert isinstance(track, dict)
    return track


@pytest.mark.parametrize(
    ("content", "is_up"),
    [("0", True), ("0\n", True), ("", True), (None, True), ("1", False), ("-5\n", False)],
)
def test_a_track_file_of_weight_0_is_a_fault_by_its_number(
    content: str | None, is_up: bool, tmp_path: Path
) -> None:
    path = tmp_path / "f"
    if content is not None:
        path.write_text(content)
    track = _track("track_file { f }", f'track_file f {{ file "{path}"\nweight 0 }}')

    assert "weight" not in track
    assert (subprocess.run(track["script"], stderr=subprocess.DEVNULL).returncode == 0) == is_up


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (("10", ""), ("file", 10)),
        (("-10", ""), ("script", -10)),
        (("10 reverse", ""), ("script", -10)),
        (("1", "weight 0 reverse"), ("file", None)),
        (("1", "weight -7"), ("script", -7)),
    ],
)
def test_weights_of_a_track_file(weights: tuple[str, str], expected: tuple[str, int | None]) -> None:
    result = _track(
        f"track_file {{ f {weights[1]} }}", f"vrrp_track_file f {{ file /f\nweight {weights[0]} }}"
    )

    assert (next(key for key in ("file", "script") if key in result), result.get("weight")) == expected


@pytest.mark.parametrize(
    ("command", "line", "up_when", "weight"),
    [
        ("/bin/true", "s weight 10 reverse", False, -10),
        ("/bin/false", "s weight -10 reverse", True, 10),
        ("/bin/true", "s weight 0 reverse", False, None),
        ("/bin/true", "s weight 3", True, 3),
    ],
)
def test_scripts_in_reverse(command: str, line: str, up_when: bool, weight: int | None) -> None:
    track = _track(f"track_script {{ {line} }}", f"vrrp_script s {{ script {command} }}")

    assert (subprocess.run(track["script"]).returncode == 0) is up_when
    assert track.get("weight") == weight


def test_process_delays_and_what_is_not_reversed() -> None:
    outside = "vrrp_track_process p { process nginx\nterminate_delay 1.5\nfork_delay 0.2\nquorum 1 }"

    assert _track("track_process { p }", outside) == {"process": "nginx", "fall": 3, "rise": 2}
    (line,) = said(imported("track_interface { eth3 weight 5 reverse }"))
    assert "only scripts are tracked in reverse" in line


def _checks(checker: str) -> list[dict[str, Any]]:
    text = f"""SSL {{ certificate /c.pem\nkey /k.pem }}
virtual_server 10.0.0.1 443 {{\nprotocol TCP\nreal_server 10.0.0.2 443 {{\n{checker}\n}}\n}}"""
    result = convert_keepalived("k.conf", text, Reader())
    loads(to_toml(result), node="director")
    (service,) = [block for block in result.blocks if block.header == "service"]
    checks = service.table["checks"]
    assert isinstance(checks, list)
    return checks


def test_each_url_is_a_check() -> None:
    first, second = _checks("""SSL_GET {
        url { path /a\nstatus_code 200\nvirtualhost a.example }
        url { path /b\nregex ok }
        connect_timeout 3
        retry 2
    }""")

    assert (first["path"], first["host"], first["status"]) == ("/a", "a.example", [200])
    assert (second["path"], second["body_regex"], second.get("host")) == ("/b", "ok", None)
    assert {each["timeout"] for each in (first, second)} == {"3s"}
    assert {each["fall"] for each in (first, second)} == {3}
    assert {each["tls"]["certificate_file"] for each in (first, second)} == {"/c.pem"}


def test_each_host_is_a_check() -> None:
    first, second = _checks("""SMTP_CHECK {
        helo_name me
        host { connect_ip 10.0.0.2 }
        host { connect_ip 10.0.0.3\nconnect_port 587\nbindto 10.0.0.9 }
    }""")

    assert (first["address"], first["helo_name"], first.get("port")) == ("10.0.0.2", "me", None)
    assert (second["address"], second["port"], second["bind_address"]) == ("10.0.0.3", 587, "10.0.0.9")


def test_every_statement_counts_once() -> None:
    text = """virtual_server 10.0.0.1 80 {
    protocol TCP
    quorum_up /bin/x
    real_server 10.0.0.2 80 {
        HTTP_GET {
            url { path /a }
            url { path /b }
        }
    }
}"""
    result = convert_keepalived("k.conf", text, Reader())

    assert (result.carried, result.statements) == (8, 9)


def test_the_way_back_has_what_moves_and_says_what_it_has_not() -> None:
    inside = """
    virtual_routes { 192.168.1.0/24 via 10.0.0.1 dev eth5 table 9 }
    virtual_rules { from 10.9.0.0/16 fwmark 3 table 9 preference 77 }
    track_interface { eth5 weight -9 }
    track_script { s weight 4 }
    notify /bin/x"""
    outside = """
vrrp_script s { script "/bin/echo 'a b'"\ninterval 2 }
vrrp_sync_group G { group { A\nB } }
interface_up_down_delays { eth0 0.5 2 }
"""
    first = loads(to_toml(imported(inside, outside)), node="director")
    text, lost = to_keepalived(first)
    second = loads(to_toml(convert_keepalived("back", text, Reader())), node="director")

    assert lost == ("vrrp A: keepalived has no hook: write notify scripts",)
    for name in ("routes", "rules", "track", "group", "link_down_delay", "link_up_delay", "garp"):
        assert getattr(second.routers[0], name) == getattr(first.routers[0], name), name
