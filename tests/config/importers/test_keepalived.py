"""keepalived.conf to TOML: each keyword's meaning, and what is said about the rest."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvsha.checker.combine import Needs
from lvsha.checker.pool import OnFailure
from lvsha.checker.settings import CheckKind, HttpOptions, Initial
from lvsha.config.importers.convert import detect, to_toml, verified
from lvsha.config.importers.keepalived import convert_keepalived
from lvsha.config.importers.keepalived_keywords import CARRIED, REASONS, known
from lvsha.config.importers.report import Imported, Reader
from lvsha.config.load import loads
from lvsha.config.settings import Settings
from lvsha.core.instant import MILLISECOND, SECOND

PAIR = """
global_defs { router_id LB1
    lvs_sync_daemon eth1 VI_1 id 7 maxlen 1400 port 8849 ttl 2 group 224.0.0.99
    lvs_timeouts tcp 900 tcpfin 30 udp 60
}
vrrp_instance VI_1 {
    state MASTER
    interface eth0
    virtual_router_id 51
    priority 150
    advert_int 2
    authentication { auth_type PASS
        auth_pass secret }
    virtual_ipaddress { 10.0.0.10/24 dev eth0 label eth0:1
        10.0.0.11
    }
    virtual_ipaddress_excluded { fd00::10/64 }
    preempt_delay 30
}
virtual_server 10.0.0.10 443 {
    delay_loop 6
    lb_algo sh
    lb_kind DR
    flag-1
    sh-port
    persistence_timeout
    persistence_granularity 255.255.255.0
    protocol TCP
    quorum 2
    hysteresis 1
    alpha
    virtualhost www.example.com
    sorry_server 10.0.0.99 443
    real_server 10.0.0.21 443 {
        weight 3
        uthreshold 100
        lthreshold 50
        inhibit_on_failure
        SSL_GET {
            url { path /a
                status_code 200-204 301
                digest 9b3a0c85a887a256d6939da88aabd8cd
                regex "ok"
            }
            http_protocol 1.1
            connect_timeout 3
            retry 3
            delay_before_retry 2
        }
    }
    real_server 10.0.0.22 443 { TCP_CHECK { connect_port 8443 }
    }
}
"""


def imported(text: str, **reader: Any) -> Imported:
    return convert_keepalived("k.conf", text, Reader(**reader))


def settings(text: str, **reader: Any) -> Settings:
    return loads(to_toml(imported(text, **reader)), node="director")


def said(text: str) -> list[str]:
    result = imported(text)
    return [
        f"{r.place.line} {r.fate} {r.keyword}: {r.message}"
        for r in verified(result, to_toml(result), "k.conf")
    ]


def test_a_router_means_what_it_meant() -> None:
    (router,) = settings(PAIR).routers

    assert (router.name, router.interface, router.vrid, router.version) == ("VI_1", "eth0", 51, 2)
    assert (router.priority, router.advert_interval) == (150, 2 * SECOND)
    assert [str(each) for each in router.addresses] == ["10.0.0.10/24", "10.0.0.11/32"]
    assert [str(each) for each in router.excluded_addresses] == ["fd00::10/64"]
    assert router.password == "secret"
    assert router.preempts
    assert router.preempt_delay == 30 * SECOND


def test_the_sync_daemon_and_the_time_outs_come_along() -> None:
    result = settings(PAIR)

    assert result.sync is not None
    assert (result.sync.interface, result.sync.syncid, result.sync.maxlen) == ("eth1", 7, 1400)
    assert (result.sync.port, result.sync.ttl, str(result.sync.group)) == (8849, 2, "224.0.0.99")
    assert result.timeouts is not None
    assert (result.timeouts.tcp_s, result.timeouts.tcp_fin_s, result.timeouts.udp_s) == (900, 30, 60)


def test_a_service_means_what_it_meant() -> None:
    (service,) = settings(PAIR).services
    first, second = service.realservers

    assert str(service.service.key.address) == "10.0.0.10"
    assert (service.service.scheduler, service.service.persistence_timeout_s) == ("sh", 360)
    assert (service.pool.quorum, service.pool.hysteresis) == (2, 1)
    assert service.pool.on_failure is OnFailure.REMOVE
    assert service.pool.members[0].on_failure is OnFailure.WEIGHT_ZERO
    assert (first.destination.weight, first.destination.upper_threshold) == (3, 100)
    assert service.sorry is not None
    assert str(service.sorry.address) == "10.0.0.99"
    assert first.check is not None
    assert second.check is not None
    assert isinstance(first.check.options, HttpOptions)
    assert first.check.kind is CheckKind.HTTPS
    assert (first.check.interval, first.check.timeout) == (6 * SECOND, 3 * SECOND)
    assert (first.check.fast_interval, first.check.fall, first.check.rise) == (2 * SECOND, 4, 1)
    assert first.check.initial is Initial.DOWN  # alpha
    assert first.check.options.statuses == ((200, 204), (301, 301))
    assert first.check.options.host == "www.example.com"
    assert not first.check.options.tls.verify
    assert (second.check.kind, second.check.port, second.check.fall) == (CheckKind.TCP, 8443, 2)


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("advert_int 0.5\nversion 3", "advert_interval", 500 * MILLISECOND),
        ("nopreempt", "preempts", False),
        ("priority 255", "priority", 255),
        ("mcast_src_ip 10.0.0.1", "source_address", "10.0.0.1"),
        (
            "unicast_peer { 10.0.0.2\n10.0.0.3 }\nunicast_src_ip 10.0.0.1",
            "unicast_peers",
            ["10.0.0.2", "10.0.0.3"],
        ),
        ("garp_master_repeat 2", "garp.repeat", 2),
        ("garp_master_refresh 0", "garp.refresh", 0),
    ],
)
def test_router_keywords(line: str, key: str, value: Any) -> None:
    inside = f"interface eth0\nvirtual_router_id 1\n{line}\nvirtual_ipaddress {{ 10.0.0.9 }}"
    text = f"vrrp_instance A {{\n{inside}\n}}"
    found: Any = settings(text).routers[0]
    for name in key.split("."):
        found = getattr(found, name)

    assert ([str(each) for each in found] if isinstance(value, list) else type(value)(found)) == value


def test_groups_and_trackers() -> None:
    text = """
vrrp_script alive { script "/bin/pidof 'a b'"
    interval 2
    weight -20
    fall 3
}
vrrp_track_process web { process /usr/sbin/nginx }
vrrp_sync_group both { group { A
        B }
    track_interface { eth9 }
}
vrrp_instance A {
    interface eth0
    virtual_router_id 1
    virtual_ipaddress { 10.0.0.1 }
    track_script { alive
        alive weight 7 }
    track_process { web weight 0 }
}
vrrp_instance B {
    interface eth1
    virtual_router_id 2
    virtual_ipaddress { 10.1.0.1 }
    track_interface { eth2 weight 20 }
}
"""
    first, second = imported(text).blocks[:2]
    script = {"script": ["/bin/pidof", "a b"], "fall": 3, "rise": 1, "interval": "2s", "timeout": "2s"}

    assert first.table["group"] == second.table["group"] == "both"
    assert first.table["track"] == [
        script | {"weight": -20},
        script | {"weight": 7},
        {"process": "nginx"},
        {"interface": "eth9"},
    ]
    assert second.table["track"] == [{"interface": "eth2", "weight": 20}, {"interface": "eth9"}]
    assert [router.name for router in settings(text).routers] == ["A", "B"]


def _service(inside: str, head: str = "10.0.0.10 80", server: str = "10.0.0.21 80") -> str:
    return f"virtual_server {head} {{\nprotocol TCP\n{inside}\nreal_server {server} {{\nweight 1\n}}\n}}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (_service("lvs_method NAT", server="10.0.0.21 8080"), ("MASQ", 8080)),
        (_service("lvs_method DR", server="10.0.0.21 8080"), ("DROUTE", 80)),
        (_service("lvs_method TUN type gue port 6080 csum"), ("TUNNEL", 80)),
        (_service("", server="10.0.0.21"), ("MASQ", 80)),
    ],
)
def test_ports_and_methods(text: str, expected: tuple[str, int]) -> None:
    destination = settings(text).services[0].realservers[0].destination

    assert (destination.method.name, destination.port or 80) == expected


def test_a_group_becomes_a_service_of_many_addresses_and_one_for_each_mark() -> None:
    text = """
virtual_server_group G {
    10.1.0.1 80
    10.1.1.3-5 81
    10.1.2.254-10.1.3.1 82
    fwmark 9
}
""" + _service("", head="group G")
    keys = [service.service.key for service in settings(text).services]

    assert [(str(key.address), key.port) for key in keys if key.address] == [
        ("10.1.0.1", 80),
        *((f"10.1.1.{n}", 81) for n in (3, 4, 5)),
        ("10.1.2.254", 82),
        ("10.1.2.255", 82),
        ("10.1.3.0", 82),
        ("10.1.3.1", 82),
    ]
    assert [key.fwmark for key in keys if not key.address] == [9]


@pytest.mark.parametrize(
    ("checker", "expected"),
    [
        (
            "TCP_CHECK { bindto 10.0.0.1\nbind_port 99\nfwmark 3 }",
            {"kind": "tcp", "bind_port": 99, "fwmark": 3},
        ),
        ("HTTP_GET { url { path / } }", {"kind": "http", "interval": 60 * SECOND, "timeout": 5 * SECOND}),
        ("PING_CHECK { }", {"kind": "ping"}),
        ("SMTP_CHECK { helo_name me }", {"kind": "smtp"}),
        ("DNS_CHECK { type A\nname example.com }", {"kind": "dns", "port": 53, "fall": 4}),
        ("UDP_CHECK { payload 0aB\nrequire_reply 1X }", {"kind": "udp"}),
        (
            "MISC_CHECK { misc_path \"/bin/x a 'b c'\"\nmisc_timeout 7 }",
            {"kind": "exec", "timeout": 7 * SECOND, "fall": 1},
        ),
    ],
)
def test_checkers(checker: str, expected: dict[str, Any]) -> None:
    text = f"virtual_server 10.0.0.10 80 {{\nprotocol TCP\nreal_server 10.0.0.21 80 {{\n{checker}\n}}\n}}"
    check = settings(text).services[0].realservers[0].check

    assert {key: getattr(check, key) for key in expected} == expected


def test_a_realserver_without_a_check_is_up() -> None:
    check = settings(_service("")).services[0].realservers[0].check

    assert check is None or check.kind is CheckKind.ON


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vrrp_instanc A {}", "1 suspicious vrrp_instanc: unknown; did you mean vrrp_instance?"),
        ("virtual_server 10.0.0.1 80 { real_server 10.0.0.2 80 { } }", "1 suspicious protocol: is missing"),
        (
            "virtual_server 10.0.0.1 80 {\nprotocol TPC\n}",
            "2 suspicious protocol: TPC is not TCP, UDP or SCTP",
        ),
        ("virtual_server group X { }", "1 suspicious virtual_server: there is no virtual_server_group X"),
        ("global_defs {\nvrrp_strict\n}", "2 suspicious vrrp_strict: makes keepalived drop every packet"),
        (
            "vrrp_instance A {\ninterface a\nvirtual_router_id 1\nvirtual_ipaddress { 10.0.0.1 }\n"
            "track_script { nothing }\n}",
            "5 suspicious nothing: there is no vrrp_script nothing",
        ),
        (
            'vrrp_script s {\nscript "</dev/tcp/127.0.0.1/80"\n}',
            "2 suspicious script: keepalived starts a program",
        ),
        ("vrrp_instance A {\npriority 300\n}", "2 suspicious priority: 300 is not between 1 and 255"),
        ("vrrp_instance A {\npriority\n}", "2 suspicious priority: its value is missing"),
        ("vrrp_instance A {\n}", "1 not-carried vrrp_instance: A has no virtual_router_id"),
        (
            "vrrp_instance A {\nvirtual_router_id 1\nvirtual_ipaddress {\n192.168.100./24\n10.0.0.1\n}\n}",
            "4 suspicious 192.168.100./24: ",
        ),
        (
            "vrrp_instance A {\ninterface a\nvirtual_router_id 1\nauthentication {\nauth_type AH\n}\n"
            "virtual_ipaddress { 10.0.0.1 }\n}",
            "1 not-carried auth_type: AH was withdrawn",
        ),
    ],
)
def test_what_needs_a_look_is_said_with_its_line(text: str, expected: str) -> None:
    assert any(line.startswith(expected) for line in said(text)), said(text)


def test_nothing_is_lost_in_silence() -> None:
    """Every keyword that is not carried over has a remark, wherever it stands."""
    for word in REASONS:
        remarks = imported(f"vrrp_instance A {{\n{word} x\n}}").remarks

        assert any(remark.keyword == word for remark in remarks), word


def test_every_keyword_has_one_fate() -> None:
    for words in CARRIED.values():
        assert not words & set(REASONS) - {"password"}
    assert len(known()) >= 360


def test_places_are_in_the_new_file() -> None:
    text = to_toml(imported(PAIR))

    assert "# k.conf:6\n" in text
    assert text.count("[[service]]") == 1


def test_detection() -> None:
    assert detect(PAIR) == "keepalived"
    assert detect("virtual=10.0.0.1:80\n") == "ldirectord"
    assert detect("-A -t 10.0.0.1:80 -s rr\n") == "ipvsadm"
    assert detect("LVS_TYPE=VS_DR\n") == "lvs-conf"
    assert detect("[[vrrp]]\n") is None


@given(st.lists(st.sampled_from([*PAIR.splitlines(), "}", "{", "vrrp_strict", "quorum x", "~SEQ(A,1,3) x"])))
def test_lines_in_any_order_never_raise(lines: list[str]) -> None:
    result = imported("\n".join(lines))

    verified(result, to_toml(result), "k.conf")


def test_several_checkers_of_a_realserver_all_have_to_pass() -> None:
    text = """virtual_server 10.0.0.1 80 {
    protocol TCP
    real_server 10.0.0.2 80 {
        TCP_CHECK { connect_timeout 2 }
        HTTP_GET { url { path /up } }
        PING_CHECK { }
    }
    real_server 10.0.0.3 80 { TCP_CHECK { connect_timeout 2 } }
}
"""
    first, second = settings(text).services[0].realservers

    assert [str(check.kind) for check in first.checks] == ["tcp", "http", "ping"]
    assert first.needs is Needs.ALL
    assert [str(check.kind) for check in second.checks] == ["tcp"]
