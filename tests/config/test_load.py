"""What a text means: defaults, values by director, shorthands, and who we are."""

from ipaddress import IPv4Address, IPv4Interface, IPv6Address

import pytest

from lvsha.checker.pool import OnFailure
from lvsha.checker.settings import (
    CheckKind,
    CheckSettings,
    DnsOptions,
    HttpOptions,
    TcpOptions,
    TlsOptions,
)
from lvsha.config.load import loads
from lvsha.config.settings import Settings
from lvsha.core.addr import AF_INET6
from lvsha.core.errors import ConfigErrors
from lvsha.core.instant import MILLISECOND, SECOND
from lvsha.ipvs.model import (
    ForwardingMethod,
    Protocol,
    ServiceFlags,
    ServiceKey,
    Timeouts,
    TunnelFlags,
    TunnelType,
)
from tests.config.problem_cases import BASE, DIRECTORS, SERVICE, VRRP


def load(text: str, node: str = "lb1") -> Settings:
    return loads(text, "lvsha.toml", node)


def check_of(text: str, place: int = 0) -> CheckSettings:
    check = load(BASE + text).services[0].realservers[place].check
    assert check is not None
    return check


# --- who we are ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "hostname", "addresses", "expected"),
    [
        ("lb2", "lb1", (), "lb2"),
        (None, "lb2", (), "lb2"),
        (None, "lb2.example.com", (), "lb2"),
        (None, "LB2", (), "lb2"),
        (None, "elsewhere", (IPv4Address("10.0.0.2"),), "lb2"),
        (None, "lb1", (IPv4Address("10.0.0.2"),), "lb1"),
    ],
)
def test_a_director_is_known_by_name_then_host_name_then_address(
    node: str | None, hostname: str, addresses: tuple[IPv4Address, ...], expected: str
) -> None:
    settings = loads(BASE, "lvsha.toml", node, hostname=hostname, local_addresses=addresses)

    assert settings.node == expected
    assert [peer.name for peer in settings.peers] == [{"lb1": "lb2", "lb2": "lb1"}[expected]]


def test_directors_may_have_full_names() -> None:
    text = BASE.replace("lb1 =", '"lb1.example.com" =').replace("lb2 =", '"lb2.example.com" =')

    assert loads(text, hostname="lb2").node == "lb2.example.com"


def test_a_host_that_is_none_of_them_is_told_what_to_say() -> None:
    with pytest.raises(ConfigErrors) as refusal:
        loads(BASE, "lvsha.toml", hostname="web7", local_addresses=(IPv4Address("10.0.0.7"),))

    assert '"web7", is none of lb1, lb2' in str(refusal.value)
    assert "--node lb1" in str(refusal.value)


def test_a_node_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigErrors) as refusal:
        loads(BASE, "lvsha.toml", "lb3")

    assert 'no director is called "lb3" (did you mean "lb' in str(refusal.value)


def test_a_file_without_directors_is_for_one_that_stands_alone() -> None:
    settings = loads(VRRP + SERVICE, hostname="solo.example.com")

    assert settings.node == "solo"
    assert settings.peers == ()
    assert settings.routers[0].priority == 100


# --- virtual routers ----------------------------------------------------------------------------------


def test_a_virtual_router_needs_three_words() -> None:
    (router,) = load(BASE).routers

    assert (router.name, router.interface, router.vrid, router.family) == ("eth0-51", "eth0", 51, 4)
    assert router.addresses == (IPv4Interface("10.0.0.10/24"),)
    assert (router.version, router.advert_interval) == (3, 100 * MILLISECOND)
    assert router.unicast_peers == ()


def test_a_returning_director_does_not_preempt_unless_told() -> None:
    assert load(BASE).routers[0].preempts is False
    assert load(BASE + "preempt = true\n").routers[0].preempts is True


def test_the_owner_of_an_address_preempts() -> None:
    text = BASE + "priority = { lb1 = 255, lb2 = 100 }\n"

    assert load(text, "lb1").routers[0].preempts is True
    assert load(text, "lb2").routers[0].preempts is False


def test_the_owner_may_advertise_its_own_address() -> None:
    text = BASE.replace("10.0.0.10/24", "10.0.0.1/24") + "priority = { lb1 = 255, lb2 = 100 }\n"

    with pytest.raises(ConfigErrors, match="lb1's own address"):
        load(text, "lb2")  # lb2 is not its owner
    assert load(text.replace('address = "10.0.0.1", ', ""), "lb1").routers[0].is_owner


def test_version_2_advertises_once_a_second() -> None:
    assert load(BASE + "version = 2\n").routers[0].advert_interval == SECOND


@pytest.mark.parametrize(
    ("given", "lb1", "lb2"),
    [
        ("", 200, 100),
        ("priority = { lb1 = 20 }\n", 20, 100),
        ("priority = { lb1 = 20, lb2 = 30 }\n", 20, 30),
    ],
)
def test_a_priority_is_the_routers_then_the_directors(given: str, lb1: int, lb2: int) -> None:
    assert load(BASE + given, "lb1").routers[0].priority == lb1
    assert load(BASE + given, "lb2").routers[0].priority == lb2


def test_values_differ_by_director() -> None:
    text = BASE.replace('"eth0"', '{ lb1 = "eth0", lb2 = "ens3" }')
    text += 'preempt = { lb1 = true }\nsource_address = { lb1 = "10.0.0.1", lb2 = "10.0.0.2" }\n'

    one, other = load(text, "lb1").routers[0], load(text, "lb2").routers[0]

    assert (one.interface, one.preempts, str(one.source_address)) == ("eth0", True, "10.0.0.1")
    assert (other.interface, other.preempts, str(other.source_address)) == ("ens3", False, "10.0.0.2")
    assert (one.name, other.name) == ("eth0-51", "ens3-51")


def test_unicast_goes_to_the_other_directors() -> None:
    router = load(BASE + "unicast = true\n", "lb2").routers[0]

    assert router.unicast_peers == (IPv4Address("10.0.0.1"),)
    assert router.source_address == IPv4Address("10.0.0.2")


def test_one_list_of_unicast_peers_serves_all_directors() -> None:
    text = BASE + 'unicast_peers = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]\n'

    assert [str(peer) for peer in load(text, "lb1").routers[0].unicast_peers] == ["10.0.0.2", "10.0.0.3"]
    assert [str(peer) for peer in load(text, "lb2").routers[0].unicast_peers] == ["10.0.0.1", "10.0.0.3"]


def test_defaults_hold_for_routers_without_their_own() -> None:
    text = '[defaults.vrrp]\nadvert_interval = "1s"\npreempt_delay = 5\npreempt = true\n' + BASE
    text += VRRP.replace("51", "52").replace("10.0.0.10", "10.0.0.20") + 'advert_interval = "20s"\n'

    first, second = load(text).routers

    assert (first.advert_interval, second.advert_interval) == (SECOND, 20 * SECOND)
    assert (first.preempt_delay, second.preempt_delay) == (5 * SECOND, 5 * SECOND)


# --- services -----------------------------------------------------------------------------------------


def test_a_service_in_its_shortest_form() -> None:
    (service,) = load(BASE + SERVICE).services

    assert service.name == "tcp/10.0.0.10:80"
    assert service.service.key == ServiceKey.of(Protocol.TCP, IPv4Address("10.0.0.10"), 80)
    assert service.service.scheduler == "wlc"
    assert [str(realserver.destination) for realserver in service.realservers] == [
        "10.0.0.11:80",
        "10.0.0.12:80",
    ]
    assert all(realserver.destination.method is ForwardingMethod.DROUTE for realserver in service.realservers)
    assert [member.name for member in service.pool.members] == ["10.0.0.11:80", "10.0.0.12:80"]
    assert service.pool.on_failure is OnFailure.WEIGHT_ZERO
    assert service.pool.has_sorry is False


def test_several_addresses_and_protocols_are_several_services_with_the_same_realservers() -> None:
    text = SERVICE.replace('"10.0.0.10:80"', '["10.0.0.10:53", "10.0.0.10:54"]\nname = "dns"')
    services = load(BASE + text + 'protocol = ["udp", "tcp"]\n').services

    assert [service.name for service in services] == [
        "dns/udp/10.0.0.10:53",
        "dns/tcp/10.0.0.10:53",
        "dns/udp/10.0.0.10:54",
        "dns/tcp/10.0.0.10:54",
    ]
    assert [service.realservers[0].destination.port for service in services] == [53, 53, 54, 54]


def test_a_firewall_mark_keeps_the_clients_port() -> None:
    text = '[[service]]\nfwmark = 5\nfamily = 6\ncheck = { type = "tcp", port = 443 }\n'
    text += 'realservers = ["fd00::1"]\n'
    (service,) = load(BASE + text).services

    assert service.name == "fwmark/5/6"
    assert service.service.key == ServiceKey.of_fwmark(5, AF_INET6)
    assert service.realservers[0].destination.port == 0
    assert service.realservers[0].check == CheckSettings(
        kind=CheckKind.TCP, address=IPv6Address("fd00::1"), port=443, options=TcpOptions()
    )


def test_every_port_at_once_needs_persistence() -> None:
    text = SERVICE.replace(":80", "").replace('"tcp"', '{ type = "tcp", port = 80 }')
    (service,) = load(BASE + text + 'persistence_timeout = "5m"\npersistence_netmask = 24\n').services

    assert service.service.key.port == 0
    assert service.service.persistence_timeout_s == 300
    assert service.service.netmask == 0xFFFFFF00


@pytest.mark.parametrize("netmask", ["24", '"24"', '"/24"', '"255.255.255.0"'])
def test_a_netmask_may_be_written_in_every_way(netmask: str) -> None:
    text = SERVICE + f"persistence_timeout = 60\npersistence_netmask = {netmask}\n"

    assert load(BASE + text).services[0].service.netmask == 0xFFFFFF00


@pytest.mark.parametrize("scheduler", ["sh", "mh"])
def test_hashing_schedulers_always_fall_back_from_a_realserver_of_weight_0(scheduler: str) -> None:
    text = SERVICE + f'scheduler = "{scheduler}"\nscheduler_flags = ["{scheduler}-port"]\n'

    assert load(BASE + text).services[0].service.flags == ServiceFlags.SCHED_1 | ServiceFlags.SCHED_2


def test_one_packet_and_the_sip_engine() -> None:
    text = (
        SERVICE
        + 'protocol = "udp"\none_packet = true\npersistence_timeout = 60\npersistence_engine = "sip"\n'
    )
    service = load(BASE + text).services[0].service

    assert service.flags == ServiceFlags.ONE_PACKET
    assert service.pe_name == "sip"


def test_a_realserver_may_differ_from_its_service() -> None:
    text = SERVICE.replace(
        '"10.0.0.12"]',
        '{ address = "10.0.0.12", port = 8080, method = "nat", weight = 3, name = "big", upper_threshold = 9,'
        ' lower_threshold = 5, on_failure = "remove" }]',
    )
    service = load(BASE + text).services[0]
    realserver = service.realservers[1]

    assert realserver.name == "big"
    assert (realserver.destination.port, realserver.destination.weight) == (8080, 3)
    assert realserver.destination.method is ForwardingMethod.MASQ
    assert (realserver.destination.upper_threshold, realserver.destination.lower_threshold) == (9, 5)
    assert service.pool.members[1].on_failure is OnFailure.REMOVE
    assert service.pool.members[0].on_failure is None


def test_tunnels() -> None:
    text = SERVICE.replace(
        '"10.0.0.12"]',
        '{ address = "10.0.0.12", tunnel = { type = "gue", port = 6080, checksum = "remcsum" } }]',
    )
    plain, gue = load(BASE + text + 'method = "tun"\n').services[0].realservers

    assert plain.destination.method is ForwardingMethod.TUNNEL
    assert (plain.destination.tun_type, plain.destination.tun_port) == (TunnelType.IPIP, 0)
    assert (gue.destination.tun_type, gue.destination.tun_port) == (TunnelType.GUE, 6080)
    assert gue.destination.tun_flags is TunnelFlags.REMCSUM


def test_a_tunnel_may_lead_to_another_family_without_sync() -> None:
    text = SERVICE.replace('"10.0.0.12"', '"fd00::12"') + 'method = "tun"\n[sync]\nenabled = false\n'

    assert load(BASE + text).services[0].realservers[1].destination.address == IPv6Address("fd00::12")


def test_a_sorry_server() -> None:
    service = load(BASE + SERVICE + 'sorry = { address = "10.0.0.99", method = "tun" }\n').services[0]

    assert service.sorry is not None
    assert (str(service.sorry), service.sorry.method) == ("10.0.0.99:80", ForwardingMethod.TUNNEL)
    assert service.pool.has_sorry


def test_defaults_hold_for_services_without_their_own() -> None:
    text = '[defaults.service]\nmethod = "nat"\nscheduler = "rr"\nslow_start = "9s"\n' + BASE + SERVICE
    text += SERVICE.replace(":80", ":81") + 'scheduler = "lc"\n'

    first, second = load(text).services

    assert (first.service.scheduler, second.service.scheduler) == ("rr", "lc")
    assert second.pool.slow_start == 9 * SECOND
    assert second.realservers[0].destination.method is ForwardingMethod.MASQ


# --- checks -------------------------------------------------------------------------------------------


def test_a_tcp_service_is_checked_by_connecting_when_nothing_is_said() -> None:
    check = check_of(SERVICE.replace('check = "tcp"\n', ""))

    assert (check.kind, str(check.address), check.port) == (CheckKind.TCP, "10.0.0.11", 80)


def test_a_check_that_is_on_is_no_check() -> None:
    assert load(BASE + SERVICE.replace('"tcp"', '"on"')).services[0].realservers[0].check is None


def test_the_nearest_word_for_each_key_of_a_check_counts() -> None:
    text = """\
[[service]]
address = "10.0.0.10:80"
check = { type = "http", path = "/service", rise = 7 }
realservers = ["10.0.0.11", { address = "10.0.0.12", check = { path = "/own", port = 8080 } }]
[defaults.check]
path = "/default"
interval = "3s"
fall = 9
"""
    one, other = check_of(text, 0), check_of(text, 1)

    assert isinstance(one.options, HttpOptions)
    assert isinstance(other.options, HttpOptions)
    assert (one.options.path, one.port) == ("/service", 80)
    assert (other.options.path, other.port) == ("/own", 8080)
    assert {(check.interval, check.rise, check.fall) for check in (one, other)} == {(3 * SECOND, 7, 9)}


def test_an_inherited_option_that_another_type_does_not_have_is_left_behind() -> None:
    text = '[defaults.check]\ntype = "http"\npath = "/x"\n'
    check = load(text + BASE + SERVICE.replace('"tcp"', '"ping"')).services[0].realservers[0].check

    assert check is not None
    assert (check.kind, check.port) == (CheckKind.PING, 0)


def test_an_http_check_in_full() -> None:
    check = check_of(
        SERVICE.replace(
            'check = "tcp"',
            'check = { type = "https", host = "a.example", status = [204, "300-302"], headers = { A = "b" }, '
            'username = "me", password = "secret", '
            'tls = { server_name = "b.example", expiry_warning = "14d" } }',
        )
    )

    assert check.options == HttpOptions(
        host="a.example",
        statuses=((204, 204), (300, 302)),
        headers=(("A", "b"),),
        authorization="Basic bWU6c2VjcmV0",
        tls=TlsOptions(server_name="b.example", expiry_warning=14 * 86400 * SECOND),
    )
    assert "secret" not in repr(check)
    assert "bWU6" not in repr(check)


def test_bytes_of_a_check() -> None:
    check = check_of(SERVICE.replace('"tcp"', '{ send = "PING\\r\\n", expect = "hex:2b50", tls = true }'))

    assert check.options == TcpOptions(send=b"PING\r\n", expect=b"+P", tls=TlsOptions())


def test_a_dns_check() -> None:
    text = SERVICE.replace(
        '"tcp"', '{ type = "dns", query_name = "a.example", query_type = "A", expect = "hex:x" }'
    )

    assert check_of(text).options == DnsOptions(name="a.example", type="A", expect="hex:x")


def test_a_check_leaves_from_each_directors_own_address() -> None:
    text = BASE + SERVICE.replace('"tcp"', '{ bind_address = { lb1 = "10.0.0.1", lb2 = "10.0.0.2" } }')

    found = [load(text, node).services[0].realservers[0].check for node in ("lb1", "lb2")]

    assert [str(check.bind_address) for check in found if check is not None] == ["10.0.0.1", "10.0.0.2"]


# --- the rest -----------------------------------------------------------------------------------------


def test_sync_runs_where_the_first_router_is_under_its_number() -> None:
    sync = load(BASE).sync

    assert sync is not None
    assert (sync.interface, sync.syncid, sync.maxlen) == ("eth0", 51, 44)


def test_sync_as_told() -> None:
    sync = load(
        BASE + '[sync]\ninterface = { lb1 = "eth1", lb2 = "eth2" }\nsyncid = 7\nmaxlen = "kernel"\n'
        'group = "ff02::81"\nttl = 2\nport = 9000\nnudge_interval = 0\n[ipvs.sysctl]\nsync_retries = 1\n',
        "lb2",
    ).sync

    assert sync is not None
    assert (sync.interface, sync.syncid, sync.maxlen, sync.ttl, sync.port) == ("eth2", 7, None, 2, 9000)
    assert sync.group == IPv6Address("ff02::81")
    assert sync.nudge_interval == 0
    assert sync.sysctls == {"sync_retries": "1"}


def test_sync_may_be_switched_off() -> None:
    assert load(BASE + "[sync]\nenabled = false\n").sync is None


def test_a_lone_director_without_virtual_routers_has_no_sync() -> None:
    assert loads(SERVICE, hostname="solo").sync is None


def test_kernel_time_outs() -> None:
    assert load(BASE).timeouts is None
    assert load(BASE + '[ipvs.timeouts]\ntcp = "2h"\n').timeouts == Timeouts(tcp_s=7200)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ('"100ms"', 100 * MILLISECOND),
        ('"1.5 s"', 1500 * MILLISECOND),
        ('"2m"', 120 * SECOND),
        ("3", 3 * SECOND),
        ("0.25", 250 * MILLISECOND),
    ],
)
def test_durations(text: str, duration: int) -> None:
    assert check_of(SERVICE.replace('"tcp"', f"{{ interval = {text} }}")).interval == duration


def test_tables_may_come_in_any_order() -> None:
    assert load(SERVICE + VRRP + DIRECTORS) == load(BASE + SERVICE)
