"""ldirectord.cf, saved ipvsadm rules and lvs.conf to TOML."""

from typing import Any

import pytest

from lvsha.checker.pool import OnFailure
from lvsha.checker.settings import RadiusOptions, SipOptions
from lvsha.config.exporters.ipvsadm import to_ipvsadm
from lvsha.config.exporters.keepalived import to_keepalived
from lvsha.config.importers.convert import FORMATS, to_toml, verified
from lvsha.config.importers.report import Imported, Reader
from lvsha.config.load import loads
from lvsha.config.settings import Settings
from lvsha.core.instant import SECOND

LDIRECTORD = """\
# Global
checktimeout = 3
checkinterval=2
quiescent=yes
emailalert="root"
virtual=192.168.6.240:80
        real=192.168.6.2->192.168.6.4:80 gate 5
        real=192.168.6.9:80 gate 2 u:100 l:50 "other.html", "other"
        fallback=127.0.0.1:80 gate
        service=http
        request="index.html"
        receive="Test Page"
        virtualhost=www.example.com
        scheduler=rr
        persistent=600
        netmask=255.255.255.0
        protocol=tcp
virtual=7
        real=192.168.7.2 masq
        checktype=connect
        checkport=8080
        quiescent=no
        failurecount=3
virtual6=[fd00::240]:25
        real6=[fd00::2]:25 gate
"""

RULES = """\
-A -t 10.0.0.10:80 -s wlc -p 600 -M 255.255.255.0
-a -t 10.0.0.10:80 -r 10.0.0.21:8080 -m -w 3 -x 10 -y 5
-a -t 10.0.0.10:80 -r 10.0.0.22:80 -m -w 0
-A -u 10.0.0.10:53 -s sh -o -b sh-fallback,sh-port
-a -u 10.0.0.10:53 -r 10.0.0.21:53 -g -w 1
-A -f 5 -6 -s rr
-a -f 5 -6 -r [fd00::1]:0 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
"""

LVS_CONF = """\
LVS_TYPE=VS_DR
INITIAL_STATE=on
VIP=eth0:110 192.168.1.110 255.255.255.255 192.168.1.110
DIP=eth0 192.168.1.9 192.168.1.0 255.255.255.0 192.168.1.255
DIRECTOR_DEFAULT_GW=192.168.1.254
SERVICE=t telnet rr 192.168.1.7,2 192.168.1.8
SERVICE=u 53 wlc 192.168.1.7
SERVER_NET_DEVICE=eth0
SERVER_DEFAULT_GW=192.168.1.254
"""


def imported(kind: str, text: str) -> Imported:
    return FORMATS[kind]("old", text, Reader())


def settings(kind: str, text: str) -> Settings:
    return loads(to_toml(imported(kind, text)), node="director")


def test_ldirectord() -> None:
    web, mark, mail = settings("ldirectord", LDIRECTORD).services

    assert [str(each.destination.address) for each in web.realservers] == [
        *(f"192.168.6.{n}" for n in (2, 3, 4, 9))
    ]
    assert web.pool.on_failure is OnFailure.WEIGHT_ZERO
    assert mark.pool.on_failure is OnFailure.REMOVE
    assert (web.service.scheduler, web.service.persistence_timeout_s) == ("rr", 600)
    assert web.sorry is not None
    first, last = web.realservers[0].check, web.realservers[3].check
    assert first is not None
    assert last is not None
    options: Any = first.options
    other: Any = last.options
    assert (options.path, options.body_regex, options.host) == ("/index.html", "Test Page", "www.example.com")
    assert (other.path, other.body_regex) == ("/other.html", "other")
    assert (first.interval, first.timeout) == (2 * SECOND, 30 * SECOND)
    assert mark.service.key.fwmark == 7
    check = mark.realservers[0].check
    assert check is not None
    assert (str(check.kind), check.port, check.fall, check.timeout) == ("tcp", 8080, 3, 3 * SECOND)
    mail_check = mail.realservers[0].check
    assert mail_check is not None
    assert str(mail_check.kind) == "smtp"  # by its port


@pytest.mark.parametrize(
    ("service", "kind"),
    [
        *(("ftp", "ftp"), ("imap", "imap"), ("imaps", "imap"), ("pop", "pop"), ("pops", "pop")),
        *(("sip", "sip"), ("mysql", "mysql"), ("pgsql", "postgresql"), ("dns", "dns"), ("simpletcp", "tcp")),
        *(("ldap", "ldap"), ("ldaps", "ldap"), ("nntp", "nntp"), ("radius", "ping"), ("submission", "smtp")),
        ("http_proxy", "http-proxy"),
        *(("https", "https"), ("none", "tcp")),
    ],
)
def test_every_service_of_ldirectord_has_a_check(service: str, kind: str) -> None:
    text = f"virtual=10.0.0.1:9999\n real=10.0.0.2:9999 gate\n service={service}\n"
    check = settings("ldirectord", text).services[0].realservers[0].check

    assert check is not None
    assert str(check.kind) == kind


def test_sip_is_asked_over_what_its_service_speaks() -> None:
    text = "virtual=10.0.0.1:5060\n real=10.0.0.2:5060 gate\n service=sip\n protocol={}\n"
    checks = [
        settings("ldirectord", text.format(protocol)).services[0].realservers[0].check
        for protocol in ("udp", "tcp")
    ]

    assert [
        check.options.transport for check in checks if check and isinstance(check.options, SipOptions)
    ] == [
        "udp",
        "tcp",
    ]


@pytest.mark.parametrize(("service", "plain"), [("http", 4), ("dns", 0)])
def test_connects_between_negotiations_of_ldirectord(service: str, plain: int) -> None:
    text = f"virtual=10.0.0.1:9999\n real=10.0.0.2:9999 gate\n service={service}\n checktype=4\n"
    check = settings("ldirectord", text).services[0].realservers[0].check

    assert check is not None
    assert (str(check.kind), check.plain_connects) == (service, plain)


def test_maintenance_directory_of_ldirectord_is_kept() -> None:
    agent = settings(
        "ldirectord", f"maintenancedir = /etc/ha.d/maintenance\ncleanstop = no\n{LDIRECTORD}"
    ).agent

    assert str(agent.maintenance_dir) == "/etc/ha.d/maintenance"
    assert str(agent.on_stop) == "keep"


def test_radius_of_ldirectord_asks_as_its_user() -> None:
    text = (
        "virtual=10.0.0.1:1812\n real=10.0.0.2:1812 masq\n service=radius\n protocol=udp\n"
        ' secret="s"\n login="joe"\n passwd="p"\n'
    )
    check = settings("ldirectord", text).services[0].realservers[0].check

    assert check is not None
    assert check.options == RadiusOptions(secret="s", username="joe", password="p")


def test_ipvsadm_there_and_back() -> None:
    text, lost = to_ipvsadm(settings("ipvsadm", RULES))

    assert text.splitlines() == [line.replace("[fd00::1]:0", "[fd00::1]:0") for line in RULES.splitlines()]
    assert lost == ()


def test_lvs_conf() -> None:
    result = settings("lvs-conf", LVS_CONF)
    telnet, dns = result.services

    assert str(result.routers[0].addresses[0]) == "192.168.1.110/32"
    assert (telnet.service.key.port, telnet.service.scheduler) == (23, "rr")
    assert [each.destination.weight for each in telnet.realservers] == [2, 1]
    assert (dns.service.key.port, dns.service.key.protocol) == (53, 17)


@pytest.mark.parametrize(
    ("kind", "text", "keyword", "word"),
    [
        ("ldirectord", "virtual=www.example.com:80\n", "virtual", "resolves no names"),
        ("ldirectord", "virtual=10.0.0.1:80\n real=10.0.0.2 gate\n chektype=ping\n", "chektype", "unknown"),
        ("ldirectord", "virtual=10.0.0.1:80\n real=10.0.0.2 fast\n", "real", "gate|masq|ipip"),
        (
            "ldirectord",
            "virtual=10.0.0.1:80\n checktype=external\n real=10.0.0.2 gate\n",
            "checkcommand",
            "missing",
        ),
        ("ldirectord", "execute=other.cf\nvirtual=10.0.0.1:80\n", "execute", "convert that file too"),
        ("ipvsadm", "-a -t 10.0.0.1:80 -r 10.0.0.2:80\n", "-a", "was not added before"),
        ("ipvsadm", "-A -t 10.0.0.1:80 --what\n", "-A", "--what"),
        ("ipvsadm", "-Z\n", "-Z", "is not -A or -a"),
        ("lvs-conf", "LVS_TYPE=VS_XX\n", "LVS_TYPE", "VS_XX"),
        ("lvs-conf", "SERVICE=t http rr 10.0.0.1\n", "SERVICE", "no VIP"),
    ],
)
def test_what_needs_a_look_is_said(kind: str, text: str, keyword: str, word: str) -> None:
    result = imported(kind, text)
    found = [remark for remark in result.remarks if remark.keyword == keyword and word in remark.message]

    assert found, result.remarks
    assert found[0].matters
    verified(result, to_toml(result), "old")


def test_keepalived_and_back_means_the_same() -> None:
    before = settings("keepalived", KEEPALIVED)
    text, lost = to_keepalived(before)

    assert settings("keepalived", text) == before
    assert lost == ()


KEEPALIVED = """
vrrp_instance A {
    interface eth0
    virtual_router_id 9
    priority 120
    nopreempt
    virtual_ipaddress { 10.0.0.10/24 }
    unicast_src_ip 10.0.0.1
    unicast_peer { 10.0.0.2 }
}
virtual_server 10.0.0.10 80 {
    protocol TCP
    lvs_sched mh
    mh-fallback
    lvs_method TUN type gue port 6080
    delay_loop 2
    quorum 2
    real_server 10.0.0.21 80 { HTTP_GET { url { path /x } } }
    real_server 10.0.0.22 80 { HTTP_GET { url { path /x } } }
}
"""
