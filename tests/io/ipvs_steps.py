"""Everything an ``IpvsSocket`` can ask, step by step, and what a kernel answers.

Played from ``proto/netlink/ipvs.json`` by the unit tests, and against a real
kernel by the kernel tests, which also record the file.
"""

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address

from lvsha.core.addr import AF_INET6
from lvsha.core.errors import KernelError
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.ipvs.model import (
    AddDestination,
    AddService,
    Daemon,
    DaemonRole,
    Destination,
    EditDestination,
    EditService,
    ForwardingMethod,
    Info,
    Operation,
    Protocol,
    RemoveDestination,
    RemoveService,
    Service,
    ServiceFlags,
    ServiceKey,
    ServiceState,
    Timeouts,
    TunnelFlags,
    TunnelType,
)

WEB = ServiceKey.of(Protocol.TCP, ip_address("10.9.0.100"), 80)
DNS6 = ServiceKey.of(Protocol.UDP, ip_address("fd00:9::100"), 53)
DNS6_STICKY = replace(DNS6, port=54)
SCTP = ServiceKey.of(Protocol.SCTP, ip_address("10.9.0.100"), 0)
MARK = ServiceKey.of_fwmark(5)
MARK6 = ServiceKey.of_fwmark(7, AF_INET6)
SIP = ServiceKey.of(Protocol.UDP, ip_address("10.9.0.100"), 5060)
MISSING = replace(WEB, port=1)

SERVICES = (
    Service(key=WEB, scheduler="wrr", persistence_timeout_s=300, netmask=0xFFFFFF00),
    Service(
        key=DNS6,
        scheduler="mh",
        flags=ServiceFlags.SCHED_1 | ServiceFlags.SCHED_2 | ServiceFlags.ONE_PACKET,
    ),
    Service(key=DNS6_STICKY, scheduler="rr", persistence_timeout_s=60, netmask=64),
    Service(key=SCTP, scheduler="rr", persistence_timeout_s=60),
    Service(key=MARK, scheduler="none"),
    Service(key=MARK6, scheduler="sh", flags=ServiceFlags.SCHED_1),
    Service(key=SIP, scheduler="rr", persistence_timeout_s=300, pe_name="sip"),
)

MASQ = Destination(
    address=ip_address("10.9.0.50"),
    port=8080,
    method=ForwardingMethod.MASQ,
    weight=3,
    upper_threshold=100,
    lower_threshold=80,
)
DRAINED = Destination(address=ip_address("10.9.0.51"), port=80, weight=0)
GUE = Destination(
    address=ip_address("10.9.0.52"),
    port=80,
    method=ForwardingMethod.TUNNEL,
    tun_type=TunnelType.GUE,
    tun_port=6080,
    tun_flags=TunnelFlags.REMCSUM,
)
GRE = Destination(
    address=ip_address("10.9.0.53"),
    port=80,
    method=ForwardingMethod.TUNNEL,
    weight=2147483647,
    tun_type=TunnelType.GRE,
    tun_flags=TunnelFlags.CSUM,
)
OTHER_FAMILY = Destination(address=ip_address("fd00:9::54"), port=80, method=ForwardingMethod.TUNNEL)
WEB_DESTINATIONS = (MASQ, DRAINED, GUE, GRE, OTHER_FAMILY)

EDITED_SIP = Service(key=SIP, scheduler="wlc")
EDITED_GUE = Destination(address=GUE.address, port=80)

SAVED = """\
-A -t 10.9.0.100:80 -s wrr -p 300 -M 255.255.255.0
-a -t 10.9.0.100:80 -r 10.9.0.50:8080 -m -w 3
-a -t 10.9.0.100:80 -r 10.9.0.51:80 -g -w 0
-a -t 10.9.0.100:80 -r 10.9.0.52:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
-a -t 10.9.0.100:80 -r 10.9.0.53:80 -i -w 2147483647 --tun-type gre --tun-csum
-a -t 10.9.0.100:80 -r [fd00:9::54]:80 -i -w 1 --tun-type ipip
-A -u [fd00:9::100]:53 -s mh -o -b mh-fallback,mh-port
-A -u [fd00:9::100]:54 -s rr -p 60 -M 64
-A --sctp-service 10.9.0.100:0 -s rr -p 60
-A -f 5 -s none
-a -f 5 -r 10.9.0.50:0 -g -w 1
-A -f 7 -6 -s sh -b sh-fallback
-A -u 10.9.0.100:5060 -s rr -p 300 --pe sip
"""
"""What was filled in, in ipvsadm's words (order apart). It forgets thresholds."""


def failures(ipvs: IpvsSocket, operations: Iterable[Operation]) -> list[tuple[str, str]]:
    return [(str(operation), errno.errorcode[error.errno]) for operation, error in ipvs.apply(operations)]


def refusal(call: Callable[[], object]) -> str:
    try:
        result = call()
    except KernelError as error:
        return errno.errorcode[error.errno]
    return f"done: {result}"


def in_order(states: Iterable[ServiceState]) -> list[Service]:
    return sorted((state.service for state in states), key=lambda service: str(service.key))


BACKUP = Daemon(
    role=DaemonRole.BACKUP,
    interface="dummy0",
    syncid=3,
    maxlen=1500,
    group=ip_address("224.0.0.99"),
    port=9000,
    ttl=4,
)
MASTER = Daemon(role=DaemonRole.MASTER, interface="dummy0", syncid=255, group=ip_address("ff02::81"))

ERRORS: tuple[tuple[Operation, str], ...] = (
    (AddService(Service(key=WEB)), "EEXIST"),
    (AddService(Service(key=MARK, scheduler="xyz")), "ENOENT"),
    (AddService(Service(key=MARK, pe_name="xyz", persistence_timeout_s=1)), "ENOENT"),
    (RemoveService(MARK), "ESRCH"),
    (EditService(Service(key=MARK)), "ESRCH"),
    (AddDestination(WEB, MASQ), "EEXIST"),
    (EditDestination(WEB, replace(MASQ, port=1)), "ENOENT"),
    (RemoveDestination(WEB, (MASQ.address, 1)), "ENOENT"),
    (AddDestination(MARK, MASQ), "ESRCH"),
    (EditDestination(MARK, MASQ), "ESRCH"),
    (RemoveDestination(MARK, MASQ.key), "ESRCH"),
    (AddDestination(WEB, Destination(address=ip_address("224.0.0.1"), port=1)), "EINVAL"),
    (AddDestination(WEB, Destination(address=ip_address("fd00::1"), port=1)), "EINVAL"),
    (AddDestination(WEB, replace(MASQ, port=1, weight=-1)), "ERANGE"),
    (AddDestination(WEB, replace(MASQ, port=1, lower_threshold=101)), "ERANGE"),
    (AddDestination(WEB, replace(GUE, port=1, tun_port=0)), "EINVAL"),
    (AddService(Service(key=replace(DNS6, port=55), netmask=129)), "EINVAL"),
    (AddService(Service(key=replace(WEB, family=3))), "EAFNOSUPPORT"),
)
SURVIVOR = replace(MASQ, port=9999)
"""Added at the end of the batch of errors."""


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    run: Callable[[IpvsSocket], object]
    answer: object


def _fill() -> tuple[Operation, ...]:
    destinations: dict[ServiceKey, tuple[Destination, ...]] = {
        WEB: WEB_DESTINATIONS,
        MARK: (Destination(address=MASQ.address, port=0),),
    }
    operations: list[Operation] = []
    for service in SERVICES:
        operations.append(AddService(service))
        operations += [AddDestination(service.key, each) for each in destinations.get(service.key, ())]
    return tuple(operations)


EDITS: tuple[Operation, ...] = (
    EditService(EDITED_SIP),
    EditDestination(WEB, EDITED_GUE),
    RemoveDestination(WEB, DRAINED.key),
    RemoveService(MARK),
)

FILLED = "list all services"
"""The step after which the kernel holds ``SAVED``."""

STEPS: tuple[Step, ...] = (
    Step("open", lambda ipvs: ipvs.open(), None),
    Step("fill", lambda ipvs: failures(ipvs, _fill()), []),
    Step(
        FILLED,
        lambda ipvs: in_order(ipvs.services()),
        sorted(SERVICES, key=lambda service: str(service.key)),
    ),
    Step(
        "list destinations",
        lambda ipvs: {state.destination for state in ipvs.destinations(WEB).values()},
        set(WEB_DESTINATIONS),
    ),
    Step("list destinations of a missing service", lambda ipvs: ipvs.destinations(MISSING), {}),
    Step("list one service", lambda ipvs: ipvs.service(MARK6).service, SERVICES[5]),
    Step("list a missing service", lambda ipvs: refusal(lambda: ipvs.service(MISSING)), "ESRCH"),
    Step("edit", lambda ipvs: failures(ipvs, EDITS), []),
    Step("list the edited service", lambda ipvs: ipvs.service(SIP).service, EDITED_SIP),
    Step(
        "list the edited destinations",
        lambda ipvs: {state.destination for state in ipvs.destinations(WEB).values()},
        {MASQ, EDITED_GUE, GRE, OTHER_FAMILY},
    ),
    Step(
        "a batch of errors",
        lambda ipvs: failures(ipvs, (*(each for each, _ in ERRORS), AddDestination(WEB, SURVIVOR))),
        [(str(operation), code) for operation, code in ERRORS],
    ),
    Step(
        "what follows an error is done",
        lambda ipvs: ipvs.destinations(WEB)[SURVIVOR.key].destination,
        SURVIVOR,
    ),
    Step("zero one", lambda ipvs: ipvs.zero(WEB), None),
    Step("zero a missing one", lambda ipvs: refusal(lambda: ipvs.zero(MARK)), "ESRCH"),
    Step("zero all", lambda ipvs: ipvs.zero(), None),
    Step("list time-outs", lambda ipvs: ipvs.timeouts(), Timeouts(tcp_s=900, tcp_fin_s=120, udp_s=300)),
    Step("set two time-outs", lambda ipvs: ipvs.set_timeouts(Timeouts(tcp_s=1000, udp_s=77)), None),
    Step(
        "a time-out of 0 stays as it was",
        lambda ipvs: ipvs.timeouts(),
        Timeouts(tcp_s=1000, tcp_fin_s=120, udp_s=77),
    ),
    Step(
        "a time-out that is too large",
        lambda ipvs: refusal(lambda: ipvs.set_timeouts(Timeouts(tcp_s=2**31))),
        "EINVAL",
    ),
    Step("information", lambda ipvs: ipvs.info(), Info(version=(1, 2, 1), table_size=4096)),
    Step(
        "a pool of two families forbids daemons",
        lambda ipvs: refusal(lambda: ipvs.start_daemon(MASTER)),
        "EINVAL",
    ),
    Step("flush", lambda ipvs: ipvs.flush(), None),
    Step("list nothing", lambda ipvs: ipvs.table(), {}),
    Step("no daemons", lambda ipvs: ipvs.daemons(), []),
    Step("start a backup", lambda ipvs: ipvs.start_daemon(BACKUP), None),
    Step("start a master", lambda ipvs: ipvs.start_daemon(MASTER), None),
    Step(
        "list daemons",
        lambda ipvs: sorted(ipvs.daemons(), key=lambda daemon: daemon.role),
        [BACKUP, replace(MASTER, maxlen=1452, port=8848, ttl=1)],
    ),
    # The kernel gives no answer to this one: the daemon's thread has not run yet.
    Step("stop the master at once", lambda ipvs: ipvs.stop_daemon(DaemonRole.MASTER), None),
    Step("start it twice", lambda ipvs: refusal(lambda: ipvs.start_daemon(BACKUP)), "EEXIST"),
    Step("stop the backup", lambda ipvs: ipvs.stop_daemon(DaemonRole.BACKUP), None),
    Step("stop none", lambda ipvs: refusal(lambda: ipvs.stop_daemon(DaemonRole.BACKUP)), "ESRCH"),
    Step(
        "a daemon on no interface",
        lambda ipvs: refusal(lambda: ipvs.start_daemon(replace(BACKUP, interface="nosuch0"))),
        "ENODEV",
    ),
    Step(
        "a master on an interface that is down",
        lambda ipvs: refusal(lambda: ipvs.start_daemon(replace(MASTER, interface="dummy1", group=None))),
        "ENETUNREACH",
    ),
    Step(
        "a group that is not multicast",
        lambda ipvs: refusal(lambda: ipvs.start_daemon(replace(BACKUP, group=ip_address("10.0.0.1")))),
        "EINVAL",
    ),
)
