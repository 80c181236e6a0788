"""Facts in, findings out: a sound DR set-up says nothing, and each change to its facts one thing."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest

from lvsha.doctor.diagnose import diagnose
from lvsha.doctor.facts import (
    AgentView,
    ArpAnswers,
    ExpectedRouter,
    Facts,
    HeardAdvert,
    HeardSync,
    Link,
    Listener,
    Neighbour,
    OwnAddress,
    Probe,
    Route,
    Server,
    VirtualService,
)
from lvsha.doctor.transport import from_json, to_json
from lvsha.ipvs.model import Daemon, DaemonRole, ForwardingMethod, Timeouts, TunnelType

NET = IPv4Network("10.0.0.0/24")
VIP = IPv4Address("10.0.0.10")
GROUP = IPv4Address("224.0.0.81")
LB1, LB2, RS1, CLIENT = (IPv4Address(f"10.0.0.{n}") for n in (1, 2, 11, 100))
DR = Server(address=RS1, port=80, method=ForwardingMethod.DROUTE)
WEB = VirtualService(protocol=6, address=VIP, port=80, scheduler="wlc", servers=(DR,))
ROUTER = ExpectedRouter(interface="eth0", vrid=51, version=3, interval_cs=10, addresses=(VIP,))
BUSY = replace(DR, active=60_000)
FTP = replace(WEB, port=21, servers=(replace(DR, port=21),))


def mac(address: IPv4Address) -> str:
    return f"02:00:00:00:00:{address.packed[3]:02x}"


def machine(name: str, address: IPv4Address, *more: OwnAddress) -> Facts:
    own = OwnAddress(interface="eth0", address=address, prefix_length=24)
    return Facts(
        host=name,
        kernel=(6, 1),
        links=(Link(name="lo", mtu=65536), Link(name="eth0", mac=mac(address))),
        addresses=(own, *more),
        routes=(
            Route(network=NET, interface="eth0"),
            Route(network=IPv4Network("0.0.0.0/0"), interface="eth0", gateway=IPv4Address("10.0.0.254")),
        ),
        listeners=(),
        listened_s=4.0,
    )


def director(name: str, address: IPv4Address, *more: OwnAddress) -> Facts:
    daemons = tuple(
        Daemon(role=role, interface="eth0", syncid=51, maxlen=1472, group=GROUP, port=8848, ttl=1)
        for role in DaemonRole
    )
    return replace(
        machine(name, address, *more),
        has_ip_vs=True,
        services=(WEB,),
        daemons=daemons,
        timeouts=Timeouts(tcp_s=900, tcp_fin_s=120, udp_s=300),
    )


def heard(source: IPv4Address, **more: object) -> HeardAdvert:
    advert = HeardAdvert(
        interface="eth0",
        source=source,
        is_own=False,
        is_multicast=True,
        ttl=255,
        version=3,
        vrid=51,
        interval_cs=10,
        addresses=(VIP,),
        priority=100,
        count=9,
        last=20,
    )
    return replace(advert, **more)  # type: ignore[arg-type]  # the names are the fields'


def sync(source: IPv4Address, **more: object) -> HeardSync:
    message = HeardSync(
        interface="eth0",
        source=source,
        is_own=False,
        group=GROUP,
        port=8848,
        syncid=51,
        version=1,
        longest=500,
        count=9,
    )
    return replace(message, **more)  # type: ignore[arg-type]


def sound() -> dict[str, Facts]:
    lb1 = director("lb1", LB1, OwnAddress(interface="eth0", address=VIP, prefix_length=24))
    lb2 = director("lb2", LB2)
    rs1 = machine("rs1", RS1, OwnAddress(interface="lo", address=VIP, prefix_length=32, is_host_scope=True))
    return {
        "lb1": replace(
            lb1,
            adverts=(heard(LB1, is_own=True),),
            sync=(sync(LB1, is_own=True),),
            clients=(CLIENT,),
            arp=(ArpAnswers(interface="eth0", address=VIP, macs=()),),
        ),
        "lb2": replace(
            lb2,
            adverts=(heard(LB1),),
            sync=(sync(LB1),),
            arp=(ArpAnswers(interface="eth0", address=VIP, macs=(mac(LB1),)),),
        ),
        "rs1": replace(
            rs1,
            listeners=(Listener(protocol=6, address=IPv4Address(0), port=80),),
            sysctls=(("net.ipv4.conf.all.arp_ignore", "1"), ("net.ipv4.conf.all.arp_announce", "2")),
        ),
        "client": replace(
            machine("client", CLIENT),
            neighbours=(Neighbour(interface="eth0", address=VIP, mac=mac(LB1)),),
        ),
    }


def found(hosts: dict[str, Facts]) -> list[str]:
    return sorted(f"{finding.kind.id} {finding.host}" for finding in diagnose(list(hosts.values())))


def test_a_sound_set_up_says_nothing_together_and_alone() -> None:
    hosts = sound()

    assert found(hosts) == []
    for name, facts in hosts.items():
        assert found({name: facts}) == []


def test_facts_travel() -> None:
    for facts in sound().values():
        assert from_json(to_json(facts)) == facts


def with_sysctl(facts: Facts, name: str, value: str) -> Facts:
    return replace(facts, sysctls=(*facts.sysctls, (name, value)))


def with_server(facts: Facts, **more: object) -> Facts:
    server = replace(DR, **more)  # type: ignore[arg-type]
    return replace(facts, services=(replace(WEB, servers=(server,)),))


def vs(name: str, value: str) -> Callable[[Facts], Facts]:
    return lambda facts: with_sysctl(facts, f"net.ipv4.vs.{name}", value)


def other_daemon(role: DaemonRole, **more: object) -> Callable[[Facts], Facts]:
    def change(facts: Facts) -> Facts:
        daemons = (replace(d, **more) if d.role is role else d for d in facts.daemons)  # type: ignore[arg-type]
        return replace(facts, daemons=tuple(daemons))

    return change


ONE = [
    # where, what is different there, what is said of it
    ("rs1", lambda f: replace(f, addresses=f.addresses[:1]), ["vip-missing-on-lo rs1"]),
    ("rs1", lambda f: replace(f, listeners=()), ["service-not-bound rs1"]),
    (
        "rs1",
        lambda f: replace(f, listeners=(Listener(protocol=6, address=RS1, port=80),)),
        ["service-not-bound rs1"],
    ),
    ("rs1", lambda f: replace(f, listeners=None), []),
    ("rs1", lambda f: replace(f, sysctls=f.sysctls[:1]), ["realserver-announces-vip rs1"]),
    (
        "lb2",
        lambda f: replace(f, arp=(replace(f.arp[0], macs=(mac(LB1), mac(RS1))),)),
        ["realserver-answers-arp rs1"],
    ),
    (
        "lb2",
        lambda f: replace(f, arp=(replace(f.arp[0], macs=(mac(LB1), "02:00:00:00:00:99")),)),
        ["address-conflict lb2"],
    ),
    (
        "client",
        lambda f: replace(f, neighbours=(Neighbour(interface="eth0", address=VIP, mac=mac(LB2)),)),
        ["garp-not-taken client"],
    ),
    ("lb1", lambda f: with_server(f, weight=0), ["all-weights-zero lb1"]),
    ("lb1", lambda f: replace(f, services=(replace(WEB, servers=()),)), ["no-destinations lb1"]),
    ("lb1", lambda f: with_server(f, port=81), ["wrong-port lb1"]),
    ("lb1", lambda f: replace(f, agent=AgentView(quorum_lost=("web",))), ["quorum-lost lb1"]),
    ("lb1", lambda f: replace(f, has_ip_vs=False), ["no-ip-vs-module lb1"]),
    ("lb1", lambda f: replace(f, missing_modules=("ip_vs_x",)), ["module-missing lb1"]),
    ("lb1", vs("conntrack", "1"), ["conntrack-clash lb1"]),
    (
        "lb1",
        lambda f: replace(
            f, sysctls=(("net.netfilter.nf_conntrack_max", "100"), ("net.netfilter.nf_conntrack_count", "96"))
        ),
        ["conntrack-clash lb1"],
    ),
    ("lb2", vs("expire_nodest_conn", "1"), ["expire-nodest-conn lb2"]),
    ("lb1", vs("backup_only", "1"), ["backup-only lb1"]),
    ("lb2", vs("backup_only", "1"), []),  # it has no address, and nothing comes
    ("lb2", lambda f: replace(f, timeouts=Timeouts(tcp_s=1)), ["timeouts-differ lb2"]),
    ("lb1", lambda f: replace(f, services=(replace(WEB, servers=(BUSY,)),)), ["old-kernel lb1"]),
    ("lb1", lambda f: replace(f, kernel=(6, 14), services=(replace(WEB, servers=(BUSY,)),)), []),
    (
        "lb1",
        lambda f: replace(vs("conntrack", "1")(f), kernel=(5, 8)),
        ["conntrack-clash lb1", "old-kernel lb1"],
    ),
    ("lb2", other_daemon(DaemonRole.BACKUP, syncid=52), ["sync-syncid lb2"]),
    ("lb2", other_daemon(DaemonRole.BACKUP, syncid=0), []),
    ("lb2", other_daemon(DaemonRole.BACKUP, port=8900), ["sync-group lb2"]),
    ("lb2", other_daemon(DaemonRole.BACKUP, maxlen=1000), ["sync-maxlen lb2"]),
    ("lb2", other_daemon(DaemonRole.BACKUP, interface="eth7"), ["sync-interface lb2"]),
    ("lb1", vs("sync_version", "0"), ["sync-version lb1"]),
    ("lb2", lambda f: replace(f, daemons=f.daemons[:1]), ["sync-daemon-missing lb2"]),
    ("lb2", lambda f: replace(f, sync=()), ["sync-one-way lb2"]),
    ("lb2", lambda f: replace(f, sync=(), listened_s=0.0, adverts=()), []),  # it did not listen
    ("lb2", lambda f: replace(f, sync=(), adverts=()), ["multicast-lost lb2"]),
    ("client", lambda f: replace(f, adverts=(heard(LB1), heard(LB2))), ["two-masters client"]),
    (
        "client",
        lambda f: replace(f, adverts=(heard(LB1), heard(LB2, addresses=(CLIENT,)))),
        ["vrid-clash client"],
    ),
    ("client", lambda f: replace(f, adverts=(heard(LB1), heard(LB2, vrid=52))), ["other-vrid client"]),
    (
        "client",
        lambda f: replace(f, adverts=(heard(LB1), heard(LB2, version=2))),
        ["other-version client", "two-masters client"],
    ),
    (
        "client",
        lambda f: replace(f, adverts=(heard(LB1, version=2), heard(LB2, version=2, auth_group=1))),
        ["other-password client", "two-masters client"],
    ),
    ("client", lambda f: replace(f, adverts=(heard(LB1, ttl=64),)), ["vrrp-ttl client"]),
    ("client", lambda f: replace(f, adverts=(heard(LB1, last=8), heard(LB2, first=9))), []),  # a takeover
    ("client", lambda f: replace(f, adverts=(heard(LB1), heard(LB2, priority=0))), []),  # it says goodbye
    ("lb2", lambda f: replace(f, routers=(ROUTER,)), []),
    ("lb2", lambda f: replace(f, routers=(replace(ROUTER, interval_cs=100),)), ["other-interval lb2"]),
    ("lb2", lambda f: replace(f, routers=(replace(ROUTER, version=2),)), ["other-version lb2"]),
    ("lb2", lambda f: replace(f, routers=(replace(ROUTER, vrid=9),)), ["other-vrid lb2"]),
    ("lb2", lambda f: replace(f, routers=(replace(ROUTER, addresses=(CLIENT,)),)), ["vrid-clash lb2"]),
    (
        "lb2",
        lambda f: replace(
            f, iptables="*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p udp -m udp --dport 8848 -j DROP\nCOMMIT"
        ),
        ["sync-firewall lb2"],
    ),
    (
        "lb2",
        lambda f: replace(f, iptables="*filter\n:INPUT DROP [0:0]\nCOMMIT"),
        ["firewall-drops lb2", "sync-firewall lb2"],
    ),
    ("lb2", lambda f: replace(f, nft="of another version"), []),
    (
        "lb1",
        lambda f: replace(f, services=(*f.services, FTP)),
        ["ftp-not-helped lb1", "service-not-bound rs1"],
    ),
    (
        "rs1",
        lambda f: replace(
            f,
            links=(*f.links, Link(name="eth1", mac="02:00:00:00:01:11")),
            routes=(*f.routes, Route(network=IPv4Network("10.0.0.100/32"), interface="eth1")),
            sysctls=(*f.sysctls, ("net.ipv4.conf.all.rp_filter", "1")),
        ),
        ["rp-filter rs1"],
    ),
]


@pytest.mark.parametrize(("host", "change", "expected"), ONE, ids=lambda each: str(each)[:40])
def test_one_change(host: str, change: Callable[[Facts], Facts], expected: list[str]) -> None:
    hosts = sound()
    hosts[host] = change(hosts[host])

    assert found(hosts) == expected


def nat() -> dict[str, Facts]:
    """The same in one network by NAT; answers come back through the director's own address."""
    hosts = sound()
    for name in ("lb1", "lb2"):
        services = (replace(WEB, servers=(replace(DR, method=ForwardingMethod.MASQ),)),)
        hosts[name] = with_sysctl(replace(hosts[name], services=services), "net.ipv4.ip_forward", "1")
    hosts["rs1"] = replace(
        hosts["rs1"],
        addresses=hosts["rs1"].addresses[:1],
        routes=(
            Route(network=IPv4Network("10.0.0.1/32"), interface="eth0"),
            Route(network=IPv4Network("0.0.0.0/0"), interface="eth0", gateway=LB1),
        ),
    )
    return hosts


NAT_ONE = [
    ("lb1", lambda f: f, []),
    ("lb1", lambda f: replace(f, sysctls=()), ["no-ip-forward lb1"]),
    (
        "lb1",
        lambda f: with_sysctl(f, "net.ipv4.conf.eth0.send_redirects", "1"),
        ["icmp-redirects lb1"],
    ),
    (
        "rs1",
        lambda f: replace(f, routes=(*f.routes, Route(network=NET, interface="eth0"))),
        ["direct-route-to-client rs1"],
    ),
    ("rs1", lambda f: replace(f, routes=f.routes[:1]), ["wrong-default-gateway rs1"]),
    ("rs1", lambda f: replace(f, redirected=((CLIENT, CLIENT),)), ["redirected-route rs1"]),
]


@pytest.mark.parametrize(("host", "change", "expected"), NAT_ONE)
def test_one_change_with_nat(host: str, change: Callable[[Facts], Facts], expected: list[str]) -> None:
    hosts = nat()
    hosts[host] = change(hosts[host])

    assert found(hosts) == expected


def tunnel(kind: TunnelType) -> dict[str, Facts]:
    hosts = sound()
    server = replace(DR, method=ForwardingMethod.TUNNEL, tun_type=kind, tun_port=5555)
    for name in ("lb1", "lb2"):
        hosts[name] = replace(hosts[name], services=(replace(WEB, servers=(server,)),))
    device = Link(name="gre1", kind="gre") if kind is TunnelType.GRE else Link(name="tunl0", kind="ipip")
    hosts["rs1"] = replace(hosts["rs1"], links=(*hosts["rs1"].links, device), fou_ports=(5555,))
    return hosts


def probe(size: int, outcome: str, port: int = 33434) -> Probe:
    return Probe(target=RS1, port=port, size=size, ttl=64, outcome=outcome)


TUNNELS = [
    (TunnelType.IPIP, "rs1", lambda f: f, []),
    (TunnelType.GRE, "rs1", lambda f: f, []),
    (TunnelType.GUE, "rs1", lambda f: f, []),
    (TunnelType.IPIP, "rs1", lambda f: replace(f, links=f.links[:2]), ["tunnel-device-down rs1"]),
    (TunnelType.GUE, "rs1", lambda f: replace(f, fou_ports=()), ["fou-port-closed rs1"]),
    (
        TunnelType.GRE,
        "rs1",
        lambda f: replace(f, links=(*f.links[:2], replace(f.links[2], checks_sums=True))),
        ["tunnel-checksum rs1"],
    ),
    (
        TunnelType.IPIP,
        "rs1",
        lambda f: with_sysctl(f, "net.ipv4.conf.tunl0.rp_filter", "1"),
        ["rp-filter rs1"],
    ),
    (
        TunnelType.IPIP,
        "rs1",
        lambda f: with_sysctl(f, "net.ipv4.conf.tunl0.rp_filter", "2"),
        ["rp-filter rs1"],
    ),
    (
        TunnelType.IPIP,
        "lb1",
        lambda f: replace(f, probes=(probe(64, "arrived"), probe(1500, "silence"))),
        ["tunnel-mtu lb1"],
    ),
    (TunnelType.IPIP, "lb1", lambda f: replace(f, probes=(probe(64, "silence"), probe(1500, "silence"))), []),
]


@pytest.mark.parametrize(("kind", "host", "change", "expected"), TUNNELS)
def test_one_change_with_tunnels(
    kind: TunnelType, host: str, change: Callable[[Facts], Facts], expected: list[str]
) -> None:
    hosts = tunnel(kind)
    hosts[host] = change(hosts[host])

    assert found(hosts) == expected


# --- one machine alone --------------------------------------------------------------------------------


def test_a_backup_alone_hears_that_its_peer_has_another_syncid() -> None:
    lb2 = replace(sound()["lb2"], sync=(sync(LB1, syncid=7),))

    assert found({"lb2": lb2}) == ["sync-syncid lb2"]


def test_a_backup_alone_hears_that_messages_are_too_long() -> None:
    lb2 = replace(sound()["lb2"], sync=(sync(LB1, longest=1473),))

    assert found({"lb2": lb2}) == ["sync-maxlen lb2"]


def test_a_director_alone_finds_a_closed_gue_port() -> None:
    lb1 = tunnel(TunnelType.GUE)["lb1"]
    lb1 = replace(lb1, probes=(probe(64, "arrived", 5555),))

    assert found({"lb1": lb1}) == ["fou-port-closed lb1"]


def test_a_realserver_alone_is_told_what_it_serves() -> None:
    here = Server(address=IPv4Address(0), port=80, method=ForwardingMethod.DROUTE)
    told = VirtualService(protocol=6, address=VIP, port=80, servers=(here,))
    rs1 = replace(sound()["rs1"], expected=(told,))

    assert found({"rs1": rs1}) == []
    assert found({"rs1": replace(rs1, sysctls=())}) == ["realserver-answers-arp rs1"]
    assert found({"rs1": replace(rs1, addresses=rs1.addresses[:1])}) == ["vip-missing-on-lo rs1"]


def test_a_client_alone_asks_who_really_has_the_address() -> None:
    client = replace(sound()["client"], arp=(ArpAnswers(interface="eth0", address=VIP, macs=(mac(LB2),)),))

    assert found({"client": client}) == ["garp-not-taken client"]


def test_nobody_has_the_address() -> None:
    hosts = sound()
    del hosts["lb1"]
    hosts["lb2"] = replace(hosts["lb2"], arp=(ArpAnswers(interface="eth0", address=VIP, macs=()),))

    assert "no-vip-holder lb2" in found(hosts)


def test_a_drained_realserver_of_a_persistent_service() -> None:
    drained = replace(DR, weight=0, persistent=3)
    other = replace(DR, address=IPv4Address("10.0.0.12"))
    service = replace(WEB, persistence_s=300, servers=(drained, other))
    lb1 = replace(sound()["lb1"], services=(service,))

    assert found({"lb1": lb1}) == ["persistence-pinning lb1"]
    assert found({"lb1": vs("expire_quiescent_template", "1")(lb1)}) == []


def test_an_ipv6_address_answers_where_it_is() -> None:
    """On lo it is silent by itself; on the wire its interface answers solicitations."""
    vip, own = IPv6Address("fd00::10"), IPv6Address("fd00::11")
    service = replace(WEB, address=vip, servers=(replace(DR, address=own),))
    lb1 = replace(sound()["lb1"], services=(service,), arp=())
    rs1 = machine("rs1", RS1, OwnAddress(interface="eth0", address=own, prefix_length=64))
    listening = (Listener(protocol=6, address=IPv6Address("::"), port=80),)

    def with_vip(interface: str) -> dict[str, Facts]:
        address = OwnAddress(interface=interface, address=vip, prefix_length=128)
        return {
            "lb1": lb1,
            "rs1": replace(rs1, addresses=(*rs1.addresses, address), listeners=listening),
        }

    heard = ArpAnswers(interface="eth0", address=vip, macs=(mac(RS1),))
    asked = replace(lb1, arp=(heard,))

    assert "realserver-answers-arp rs1" not in found(with_vip("lo"))
    assert "realserver-answers-arp rs1" in found(with_vip("eth0"))
    assert "realserver-answers-arp rs1" in found(with_vip("lo") | {"lb1": asked})


def test_evidence_of_one_kind_is_one_finding() -> None:
    hosts = sound()
    services = tuple(replace(WEB, port=port, servers=(replace(DR, port=1),)) for port in range(100, 110))
    (finding,) = diagnose([replace(hosts["lb1"], services=services)])

    assert finding.kind.id == "wrong-port"
    assert finding.evidence.endswith("and 5 more")


def test_a_service_on_loopback_is_the_directors_own_business() -> None:
    hosts = sound()
    here = replace(DR, address=IPv4Address("127.0.0.1"), method=ForwardingMethod.MASQ)
    own = VirtualService(protocol=6, address=IPv4Address("127.84.0.1"), port=8848, servers=(here,))
    lo = OwnAddress(interface="lo", address=IPv4Address("127.0.0.1"), prefix_length=8)
    hosts = {name: replace(facts, addresses=(*facts.addresses, lo)) for name, facts in hosts.items()}
    hosts["lb1"] = replace(hosts["lb1"], services=(*hosts["lb1"].services, own))

    assert found(hosts) == []
