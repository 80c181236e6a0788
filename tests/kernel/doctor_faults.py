"""Every fault that the doctor knows, how it is made in the rig, and what has to be said of it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from lvsha.cli.client import ask_status
from lvsha.core.errors import LvshaError
from lvsha.doctor.diagnose import diagnose
from lvsha.doctor.facts import VirtualService
from lvsha.doctor.gather import Order, gather
from lvsha.ipvs.model import (
    AddDestination,
    Daemon,
    DaemonRole,
    EditDestination,
    TunnelFlags,
    TunnelType,
)
from lvsha.lab.netns import run
from tests.kernel.doctor_rig import ADVERT, FTP, MAIN, SECOND, SYNCID, VIP, Rig, messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to be wrong."""

    name: str
    finds: str
    """The finding that has to be there."""
    rig: str
    inject: Callable[[Rig], object]
    with_it: frozenset[str] = frozenset()
    """Findings that may come with it: what it causes."""
    listen_s: float = 0.0
    with_traffic: bool = False
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    group: str = ""
    """Faults of one group do not touch each other: the tests inject them all at once."""


FAULTS: list[Fault] = []


def fault(
    finds: str, rig: str, *with_it: str, name: str = "", **more: Any
) -> Callable[[Callable[[Rig], object]], Callable[[Rig], object]]:
    def add(inject: Callable[[Rig], object]) -> Callable[[Rig], object]:
        title = name or inject.__name__.strip("_").replace("_", " ")
        FAULTS.append(
            Fault(name=title, finds=finds, rig=rig, inject=inject, with_it=frozenset(with_it), **more)
        )
        return inject

    return add


# --- DR -----------------------------------------------------------------------------------------------


@fault("realserver-answers-arp", "dr", "realserver-announces-vip", group="a")
def _arp_ignore_is_off(rig: Rig) -> None:
    rig.sysctl("rs1", "net/ipv4/conf/all/arp_ignore", "0")


@fault("realserver-announces-vip", "dr")
def _arp_announce_is_off(rig: Rig) -> None:
    rig.sysctl("rs1", "net/ipv4/conf/all/arp_announce", "0")


@fault("vip-missing-on-lo", "dr", group="b")
def _no_address_on_lo(rig: Rig) -> None:
    rig.ip("rs1", f"address del {VIP}/32 dev lo", f"address add {VIP}/32 dev lo")


@fault("service-not-bound", "dr", group="a")
def _bound_to_its_own_address_only(rig: Rig) -> None:
    rig.listen("rs1", 8000, "10.0.0.11")
    rig.undo.callback(rig.listen, "rs1", 8000)


@fault("service-not-bound", "dr", group="b")
def _service_not_running(rig: Rig) -> None:
    rig.listeners.pop(("rs2", 8000)).close()
    rig.undo.callback(rig.listen, "rs2", 8000)


@fault("wrong-port", "dr", group="b")
def _another_port_without_nat(rig: Rig) -> None:
    rig.add_service(SECOND, rig.destination("rs1", 8000))


@fault("all-weights-zero", "dr", group="a")
def _every_weight_is_zero(rig: Rig) -> None:
    for server in ("rs1", "rs2"):
        rig.edit("lb1", rig.destination(server, weight=0))


@fault("no-destinations", "dr")
def _no_realserver_left(rig: Rig) -> None:
    rig.remove_destinations("lb1")


@fault("persistence-pinning", "dr")
def _a_drained_realserver_of_a_persistent_service(rig: Rig) -> None:
    both = [rig.destination(server, 8001) for server in ("rs1", "rs2")]
    rig.add_service(SECOND, *both, persistence_timeout_s=300)
    rig.connect(8001)
    for each in both:  # whichever has the template: one of them keeps its weight otherwise
        rig.ipvs("lb1", EditDestination(SECOND, replace(each, weight=0)))
    rig.ipvs("lb1", AddDestination(SECOND, replace(both[0], address=IPv4Address("10.0.0.13"))))


@fault("persistence-pinning", "dr")
def _all_clients_behind_one_address(rig: Rig) -> None:
    both = [rig.destination(server, 8001) for server in ("rs1", "rs2")]
    rig.add_service(SECOND, *both, persistence_timeout_s=300)
    for _ in range(25):
        rig.connect(8001)


@fault("ftp-not-helped", "dr", group="b")
def _ftp_without_persistence(rig: Rig) -> None:
    rig.add_service(FTP, rig.destination("rs1", 21), rig.destination("rs2", 21))


@fault("firewall-drops", "dr", group="a")
def _the_director_drops_the_service(rig: Rig) -> None:
    rule = "INPUT -p tcp -m tcp --dport 8000 -j DROP"
    rig.inside("lb1", f"iptables-legacy -A {rule}", f"iptables-legacy -D {rule}")


@fault("firewall-drops", "dr")
def _the_realserver_accepts_ssh_only(rig: Rig) -> None:
    rig.inside("rs1", "iptables-legacy -P INPUT DROP", "iptables-legacy -P INPUT ACCEPT")
    rule = "INPUT -p tcp -m tcp --dport 22 -j ACCEPT"
    rig.inside("rs1", f"iptables-legacy -A {rule}", f"iptables-legacy -D {rule}")


@fault("firewall-drops", "dr", listen_s=1.5)
def _the_backup_drops_vrrp(rig: Rig) -> None:
    rule = "INPUT -p 112 -j DROP"
    rig.inside("lb2", f"iptables-legacy -A {rule}", f"iptables-legacy -D {rule}")


@fault("address-conflict", "dr", group="b")
def _both_directors_hold_the_address(rig: Rig) -> None:
    rig.ip("lb2", f"address add {VIP}/24 dev eth0", f"address del {VIP}/24 dev eth0")


@fault("address-conflict", "dr")
def _a_stranger_has_the_address(rig: Rig) -> None:
    rig.ip("client", f"address add {VIP}/32 dev eth0", f"address del {VIP}/32 dev eth0")


@fault("no-vip-holder", "dr")
def _nobody_has_the_address(rig: Rig) -> None:
    rig.ip("lb1", f"address del {VIP}/24 dev eth0", f"address add {VIP}/24 dev eth0")


@fault("garp-not-taken", "dr", group="a")
def _a_client_believes_in_the_old_director(rig: Rig) -> None:
    old = _mac(rig, "lb2")
    rig.ip(
        "client",
        f"neigh replace {VIP} lladdr {old} dev eth0 nud permanent",
        f"neigh del {VIP} lladdr {old} dev eth0",
    )


def _mac(rig: Rig, name: str) -> str:
    return rig.spaces[name].run(["ip", "-o", "link", "show", "eth0"]).split("link/ether ")[1].split()[0]


@fault("conntrack-clash", "dr", group="b")
def _conntrack_with_sync(rig: Rig) -> None:
    rig.sysctl("lb1", "net/ipv4/vs/conntrack", "1")


@fault("expire-nodest-conn", "dr", group="b")
def _connections_end_with_their_realserver(rig: Rig) -> None:
    rig.sysctl("lb2", "net/ipv4/vs/expire_nodest_conn", "1")


@fault("backup-only", "dr")
def _an_active_director_is_backup_only(rig: Rig) -> None:
    rig.sysctl("lb1", "net/ipv4/vs/backup_only", "1")


@fault("timeouts-differ", "dr", group="a")
def _other_time_outs(rig: Rig) -> None:
    rig.inside("lb2", "ipvsadm --set 100 20 30", "ipvsadm --set 900 120 300")


@fault(
    "module-missing",
    "dr",
    orders={"lb1": {"expected": (VirtualService(protocol=6, address=VIP, port=8000, scheduler="twos"),)}},
)
def _a_scheduler_that_this_kernel_lacks(rig: Rig) -> None:
    pass  # it is in the configuration file only


@fault("old-kernel", "dr-full")
def _a_large_table_on_an_old_kernel(rig: Rig) -> None:
    with rig.spaces["lb2"].entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.0.0.2"))
        for number, message in enumerate(messages(60_000)):
            sender.sendto(message, ("224.0.0.81", 8848))
            if number % 20 == 0:
                time.sleep(0.01)
    time.sleep(0.5)


# --- synchronisation ----------------------------------------------------------------------------------

_BACKUP = Daemon(role=DaemonRole.BACKUP, interface="eth0", syncid=SYNCID)


@fault("sync-syncid", "dr", group="a")
def _another_syncid(rig: Rig) -> None:
    rig.other_backup("lb2", replace(_BACKUP, syncid=52))


@fault("sync-group", "dr")
def _another_group(rig: Rig) -> None:
    rig.other_backup("lb2", replace(_BACKUP, group=IPv4Address("224.0.0.82")))


@fault("sync-group", "dr")
def _another_port(rig: Rig) -> None:
    rig.other_backup("lb2", replace(_BACKUP, port=8900))


@fault("sync-interface", "dr")
def _a_backup_in_another_network(rig: Rig) -> None:
    rig.ip(
        "lb2",
        "link add sync0 type veth peer name sync1;link set sync0 up;link set sync1 up;"
        "address add 192.168.9.1/24 dev sync0",
        "link del sync0",
    )
    rig.other_backup("lb2", replace(_BACKUP, interface="sync0"))


@fault("sync-interface", "dr", group="b")
def _the_interface_of_a_daemon_is_gone(rig: Rig) -> None:
    rig.ip("lb2", "link add sync0 type veth peer name sync1;link set sync0 up;link set sync1 up")
    rig.other_backup("lb2", replace(_BACKUP, interface="sync0"))
    rig.ip("lb2", "link del sync0")


@fault("sync-version", "dr", group="b")
def _the_old_format(rig: Rig) -> None:
    rig.sysctl("lb1", "net/ipv4/vs/sync_version", "0")


@fault("sync-maxlen", "dr")
def _a_backup_that_takes_less(rig: Rig) -> None:
    rig.other_backup("lb2", replace(_BACKUP, maxlen=576))


@fault("sync-firewall", "dr", group="b")
def _the_backup_drops_sync(rig: Rig) -> None:
    rule = "INPUT -p udp -m udp --dport 8848 -j DROP"
    rig.inside("lb2", f"iptables-legacy -A {rule}", f"iptables-legacy -D {rule}")


@fault("sync-daemon-missing", "dr")
def _no_backup_daemon(rig: Rig) -> None:
    rig.stop_daemon("lb2", DaemonRole.BACKUP)
    rig.undo.callback(rig.start_daemon, "lb2", _BACKUP)


@fault("sync-one-way", "dr", listen_s=5.0, with_traffic=True)
def _the_switch_eats_sync(rig: Rig) -> None:
    port = "lb2-eth0"
    bands = "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"
    rig.here(
        f"tc qdisc add dev {port} root handle 1: prio bands 4 priomap {bands}",
        f"tc qdisc del dev {port} root",
    )
    run(f"tc qdisc add dev {port} parent 1:4 netem loss 100%".split())
    match = "match ip protocol 17 0xff match ip dport 8848 0xffff"
    run(f"tc filter add dev {port} parent 1:0 protocol ip u32 {match} flowid 1:4".split())


@fault("multicast-lost", "dr", listen_s=1.5)
def _the_switch_floods_no_multicast(rig: Rig) -> None:
    rig.here("bridge link set dev lb2-eth0 mcast_flood off", "bridge link set dev lb2-eth0 mcast_flood on")


# --- VRRP ---------------------------------------------------------------------------------------------


def _advertise(rig: Rig, name: str, ttl: int = 255, **more: Any) -> None:
    rig.beacon(name, replace(ADVERT, **more), ttl)
    rig.undo.callback(rig.silence, name)


@fault("two-masters", "dr", listen_s=1.5, group="a")
def _both_directors_advertise(rig: Rig) -> None:
    _advertise(rig, "lb2", priority=90)


@fault("vrid-clash", "dr", listen_s=1.5)
def _another_cluster_has_our_vrid(rig: Rig) -> None:
    _advertise(rig, "client", addresses=(IPv4Address("10.0.0.77"),))


@fault("other-vrid", "dr", listen_s=1.5)
def _the_peer_has_another_vrid(rig: Rig) -> None:
    _advertise(rig, "lb2", vrid=52)


@fault("other-version", "dr", "two-masters", listen_s=1.5)
def _the_peer_speaks_version_2(rig: Rig) -> None:
    _advertise(rig, "lb2", version=2, max_advertise_interval_cs=0, advertisement_interval_s=1)


def _version_2(rig: Rig, **more: Any) -> None:
    """The sound director speaks the old version for a while."""
    old = replace(ADVERT, version=2, max_advertise_interval_cs=0, advertisement_interval_s=1)
    rig.beacon("lb1", old)
    rig.undo.callback(rig.beacon, "lb1", ADVERT)
    _advertise(rig, "lb2", version=2, max_advertise_interval_cs=0, **more)


@fault("other-interval", "dr", "two-masters", listen_s=1.5)
def _the_peer_has_another_interval(rig: Rig) -> None:
    _version_2(rig, advertisement_interval_s=2)


@fault("other-password", "dr", "two-masters", listen_s=1.5)
def _the_peer_has_a_password(rig: Rig) -> None:
    _version_2(rig, advertisement_interval_s=1, auth_type=1, auth_data=b"secret")


@fault("vrrp-ttl", "dr", "two-masters", listen_s=1.5)
def _adverts_through_a_router(rig: Rig) -> None:
    _advertise(rig, "lb2", ttl=64)


# --- NAT ----------------------------------------------------------------------------------------------


@fault("no-ip-forward", "nat", group="a")
def _no_forwarding(rig: Rig) -> None:
    # A change of ip_forward resets what it implies.
    for name in ("all", "default", "eth0", "eth1"):
        rig.sysctl("lb1", f"net/ipv4/conf/{name}/send_redirects", "0")
    rig.sysctl("lb1", "net/ipv4/ip_forward", "0")


@fault("wrong-default-gateway", "nat", group="a")
def _another_default_gateway(rig: Rig) -> None:
    rig.ip("rs1", "route replace default via 10.1.0.12", "route replace default via 10.1.0.254")


@fault("wrong-default-gateway", "nat")
def _no_default_gateway(rig: Rig) -> None:
    rig.ip("rs1", "route del default", "route add default via 10.1.0.254")


@fault("ftp-not-helped", "nat")
def _ftp_by_nat_without_conntrack(rig: Rig) -> None:
    rig.add_service(FTP, rig.destination("rs1", 21))


@fault("firewall-drops", "nat", group="a")
def _a_realserver_rejects_the_service(rig: Rig) -> None:
    rule = "INPUT -d 10.1.0.11/32 -p tcp -m multiport --dports 80,8000 -j DROP"
    rig.inside("rs1", f"iptables-legacy -A {rule}", f"iptables-legacy -D {rule}")


@fault("direct-route-to-client", "nat-one", group="a")
def _the_route_to_the_local_network_is_there(rig: Rig) -> None:
    rig.ip("rs1", "route add 10.0.0.0/24 dev eth0", "route del 10.0.0.0/24 dev eth0")


@fault("wrong-default-gateway", "nat-one")
def _a_gateway_that_is_no_director(rig: Rig) -> None:
    rig.ip("rs1", "route add 10.0.0.12 dev eth0", "route del 10.0.0.12 dev eth0")
    rig.ip("rs1", "route replace default via 10.0.0.12", "route replace default via 10.0.0.1")


@fault("icmp-redirects", "nat-one", "redirected-route", group="a")
def _redirects_are_on(rig: Rig) -> None:
    rig.sysctl("lb1", "net/ipv4/conf/all/send_redirects", "1")


@fault("redirected-route", "nat-one", "icmp-redirects")
def _a_redirect_was_believed(rig: Rig) -> None:
    rig.sysctl("lb1", "net/ipv4/conf/all/send_redirects", "1")
    for name in ("rs1", "rs2"):
        rig.undo.callback(rig.ip, name, "route flush cache")
    for _ in range(3):  # the first redirect only makes the realserver ask for the client's MAC
        with suppress(OSError), rig.spaces["client"].entered():  # that is what the redirect does
            connection = socket.create_connection((str(VIP), 8000), 1.0)
            for _ in range(2):
                connection.sendall(b"x")
                time.sleep(0.15)
            connection.close()


# --- tunnels ------------------------------------------------------------------------------------------


@fault("rp-filter", "tun", group="a")
def _reverse_path_filter_on_the_tunnel(rig: Rig) -> None:
    rig.sysctl("rs1", "net/ipv4/conf/tunl0/rp_filter", "1")


@fault("tunnel-device-down", "tun")
def _the_tunnel_is_down(rig: Rig) -> None:
    rig.ip("rs1", "link set tunl0 down", "link set tunl0 up")


@fault("tunnel-mtu", "tun", group="b")
def _a_narrow_switch(rig: Rig) -> None:
    rig.here("ip link set rs1-eth0 mtu 1400", "ip link set rs1-eth0 mtu 1500")


@fault("firewall-drops", "tun")
def _the_realserver_drops_ipip(rig: Rig) -> None:
    rig.inside("rs1", "iptables-legacy -A INPUT -p 4 -j DROP", "iptables-legacy -D INPUT -p 4 -j DROP")


def _gue(rig: Rig) -> None:
    for director in ("lb1", "lb2"):
        rig.edit(director, rig.destination("rs1", tun_type=TunnelType.GUE, tun_port=5555))


def gue_is_sound(rig: Rig) -> None:
    """A sound variant: GUE to rs1."""
    rig.ip("rs1", "fou add port 5555 gue", "fou del port 5555")
    _gue(rig)


@fault("fou-port-closed", "tun", group="a")
def _nobody_takes_gue(rig: Rig) -> None:
    _gue(rig)


def gre_is_sound(rig: Rig) -> None:
    """A sound variant: GRE to rs1."""
    _gre(rig, "")


def _gre(rig: Rig, flags: str) -> None:
    rig.ip(
        "rs1",
        f"link add lvs-gre type gre local any remote any {flags};link set lvs-gre up",
        "link del lvs-gre",
    )
    for director in ("lb1", "lb2"):
        rig.edit(director, rig.destination("rs1", tun_type=TunnelType.GRE))


@fault("tunnel-checksum", "tun", group="b")
def _the_receiver_wants_checksums(rig: Rig) -> None:
    _gre(rig, "icsum")


@fault("tunnel-checksum", "tun")
def _the_director_sends_checksums(rig: Rig) -> None:
    _gre(rig, "")
    for director in ("lb1", "lb2"):
        destination = rig.destination("rs1", tun_type=TunnelType.GRE, tun_flags=TunnelFlags.CSUM)
        rig.ipvs(director, EditDestination(MAIN, destination))


# --- with an agent ------------------------------------------------------------------------------------

_CONFIG = """
[[service]]
address = "10.0.0.10:8000"
quorum = 2
realservers = ["10.0.0.11", "10.0.0.12"]
check = { type = "tcp", interval = "300ms", timeout = "300ms" }
[agent]
run_dir = "%s"
state_dir = "%s"
"""


def _agent(rig: Rig) -> str:
    """An agent on lb1, without VRRP; returns its run_dir when it answers."""
    folder = tempfile.mkdtemp()
    file = Path(folder, "lvsha.toml")
    file.write_text(_CONFIG % (folder, folder))
    with Path(folder, "log").open("wb") as log:
        process = rig.spaces["lb1"].popen(
            [str(Path(sys.executable).with_name("lvsha")), "agent", "-f", str(file)],
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )

    def end() -> None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)

    rig.undo.callback(end)
    return folder


def _wait_for(folder: str, met: bool) -> None:
    for _ in range(100):
        try:
            status = ask_status(folder)
            services = status["services"]
            if (
                services
                and all(service["quorum_met"] is met and service["in_kernel"] for service in services)
                and (met or any(d["state"] == "down" for d in services[0]["destinations"]))
            ):
                return
        except LvshaError:
            pass
        time.sleep(0.2)
    raise AssertionError(Path(folder, "log").read_text()[-2000:])


_RUN_DIR: list[str] = []


@fault(
    "quorum-lost",
    "dr-agent",
    "service-not-bound",
    orders={"lb1": {"status": lambda: ask_status(_RUN_DIR[-1])}},
)
def _fewer_realservers_than_the_quorum(rig: Rig) -> None:
    folder = _agent(rig)
    _RUN_DIR.append(folder)
    _wait_for(folder, True)
    rig.listeners.pop(("rs2", 8000)).close()
    rig.undo.callback(rig.listen, "rs2", 8000)
    _wait_for(folder, False)


# --- running them -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one fault, or of one sound set-up (``fault`` is None then)."""

    rig: str
    name: str
    fault: Fault | None
    found: frozenset[str]
    evidence: tuple[str, ...]
    took_s: float

    @property
    def is_found(self) -> bool:
        return self.fault is None or self.fault.finds in self.found

    @property
    def false_alarms(self) -> frozenset[str]:
        if self.fault is None:
            return self.found
        return self.found - self.fault.with_it - {self.fault.finds}


SOUND_VARIANTS: dict[str, tuple[Callable[[Rig], object], ...]] = {"tun": (gue_is_sound, gre_is_sound)}


def run_faults(faults: Sequence[Fault], *, variants: bool = True) -> Iterator[Outcome]:
    """Each rig once: sound, sound variants, its faults one after the other, and sound again."""
    for kind in dict.fromkeys(each.rig for each in faults):
        with Rig(kind) as rig:
            with rig.traffic():
                yield _outcome(rig, "sound", None, 3.0)
            for variant in SOUND_VARIANTS.get(kind, ()) if variants else ():
                variant(rig)
                yield _outcome(rig, variant.__name__.replace("_", " "), None, 0.0)
                rig.undo.close()
            for each in faults:
                if each.rig == kind:
                    each.inject(rig)
                    with rig.traffic() if each.with_traffic else nullcontext():
                        yield _outcome(rig, each.name, each, each.listen_s)
                    rig.undo.close()
            if not kind.startswith("dr-"):  # those do not leave it as it was
                yield _outcome(rig, "sound again", None, 1.0)


def _outcome(rig: Rig, name: str, fault: Fault | None, listen_s: float) -> Outcome:
    began = time.monotonic()
    findings = rig.diagnose(listen_s, **(fault.orders if fault else {}))
    return Outcome(
        rig=rig.kind,
        name=name,
        fault=fault,
        found=frozenset(finding.kind.id for finding in findings),
        evidence=tuple(f"{finding.kind.id} on {finding.host}: {finding.evidence}" for finding in findings),
        took_s=time.monotonic() - began,
    )


NO_IP_VS = Fault(name="ip_vs is not loaded", finds="no-ip-vs-module", rig="none", inject=lambda _: None)


def without_ip_vs() -> Outcome:
    """The last thing to do in a guest: a director whose kernel has no ip_vs."""
    began = time.monotonic()
    loaded = [path.name for path in Path("/sys/module").glob("ip_vs_*")]
    subprocess.run(["modprobe", "-d", "/run/lm", "-r", *loaded, "ip_vs"], check=True)
    facts = gather(Order(host="lb1", role="director", listen_s=0.0))
    findings = diagnose([facts])
    return Outcome(
        rig="none",
        name=NO_IP_VS.name,
        fault=NO_IP_VS,
        found=frozenset(finding.kind.id for finding in findings),
        evidence=tuple(f"{finding.kind.id}: {finding.evidence}" for finding in findings),
        took_s=time.monotonic() - began,
    )
