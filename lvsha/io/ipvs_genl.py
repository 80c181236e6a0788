"""The kernel's IPVS tables: dump them, change them in batches, run its sync daemons.

Calls block, for microseconds as a rule and for ``deadline_s`` at most. The
kernel offers no notifications: who wants to know what somebody else changed,
dumps and compares (``lvsha.ipvs.drift``).

Every refusal is a ``KernelError`` whose text says what to do. An error of ENOBUFS
or ETIMEDOUT means that nobody knows what the kernel did: dump again.
"""

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import TypeVar

from lvsha.core.errors import KernelError
from lvsha.io import ipvs_codec
from lvsha.io.netlink import DEADLINE_S, GENERIC, AnswersLost, NetlinkError, NetlinkSocket
from lvsha.ipvs.model import (
    AddDestination,
    AddService,
    Daemon,
    DaemonRole,
    DestinationKey,
    DestinationState,
    EditDestination,
    EditService,
    Info,
    Operation,
    RemoveDestination,
    ServiceKey,
    ServiceState,
    Table,
    Timeouts,
)
from lvsha.wire import genl_ipvs
from lvsha.wire.genl_ipvs import ServiceRow, command

T = TypeVar("T")

_PART = 50
"""Destinations listed between two looks at the clock."""

NO_MODULE = "this kernel has no IPVS loaded: run `modprobe ip_vs` (on the host, if this is a container)"
NO_CAPABILITY = (
    "IPVS needs CAP_NET_ADMIN in the initial user namespace: run as root, or give the unit "
    "AmbientCapabilities=CAP_NET_ADMIN; root inside a user namespace is not enough"
)
_LOST = "the kernel's answer was lost, its state is unknown: list the table again"


_ALWAYS: Mapping[int, str] = {
    errno.EPERM: NO_CAPABILITY,
    errno.ENOBUFS: _LOST,
    errno.ETIMEDOUT: _LOST,
    errno.EOPNOTSUPP: "this kernel does not know the command",
}


def _operation_hint(operation: Operation, code: int) -> str:
    """What an errno means for this operation, and what to do."""
    match operation, code:
        case AddService(), errno.EEXIST:
            return "it exists already: edit it instead"
        case ((AddService(service) | EditService(service)), errno.ENOENT):
            modules = f"ip_vs_{service.scheduler}"
            if service.pe_name:
                modules += f" ip_vs_pe_{service.pe_name}"
            return f"the kernel lacks the scheduler or persistence engine: run `modprobe -a {modules}`"
        case ((AddService() | EditService()), errno.EINVAL):
            return "the kernel refuses these settings: check netmask, flags and scheduler"
        case AddDestination(), errno.EEXIST:
            return "it exists already: edit it instead"
        case ((EditDestination() | RemoveDestination()), errno.ENOENT):
            return "the service has no such destination"
        case _, errno.ESRCH:
            return "there is no such service: add it first"
        case ((AddDestination() | EditDestination()), errno.ERANGE):
            return "the lower threshold is above the upper, or the weight is negative"
        case ((AddDestination() | EditDestination()), errno.EINVAL):
            return (
                "the address must be unicast and of the service's family (a tunnel destination may be of the "
                "other one while no sync daemon runs), GUE needs tun_port, and a namespace without any "
                "address refuses all: run `ip link set lo up`"
            )
    return ""


def _daemon_hint(daemon: Daemon, code: int) -> str:
    return {
        errno.EEXIST: f"a {daemon.role} daemon runs already: stop it first",
        errno.ENODEV: f"there is no interface {daemon.interface!r}",
        errno.ENETUNREACH: f"{daemon.interface} is down: run `ip link set {daemon.interface} up`",
        errno.EADDRINUSE: f"UDP port {daemon.port or 8848} is taken by another program: see `ss -ulnp`",
        errno.EINVAL: "check the group (multicast), the interface's name (15 characters) and that no service "
        "has a destination of the other family",
    }.get(code, "")


class IpvsSocket:
    """The IPVS tables of the network namespace in which it was opened."""

    def __init__(
        self,
        *,
        deadline_s: float = DEADLINE_S,
        connect: Callable[[float], NetlinkSocket] | None = None,
    ) -> None:
        """Not open yet. ``connect`` makes the socket, for tests."""
        self._deadline_s = deadline_s
        self._connect = connect or (lambda seconds: NetlinkSocket(GENERIC, deadline_s=seconds))
        self._netlink: NetlinkSocket | None = None
        self._family = 0
        self._services = genl_ipvs.service_layouts()
        self._destinations = genl_ipvs.destination_layouts()
        self._memory = ipvs_codec.DestinationMemory()

    def open(self) -> None:
        """Find the family (which loads ``ip_vs``, if we may) and try a first command.

        Raises:
            KernelError: ENOENT, no ip_vs module; EPERM, no CAP_NET_ADMIN.
        """
        if self._netlink is not None:
            return
        netlink = self._connect(self._deadline_s)
        try:
            buffer, start, end = netlink.ask(genl_ipvs.CONTROLLER, genl_ipvs.family_request())
            self._family = genl_ipvs.family_number(buffer[start:end])
            netlink.ask(self._family, command(genl_ipvs.GET_INFO))
        except NetlinkError as error:
            netlink.close()
            hint = {errno.ENOENT: NO_MODULE, errno.EPERM: NO_CAPABILITY}.get(error.errno, error.text)
            raise KernelError("open IPVS", error.errno, hint) from None
        except BaseException:
            netlink.close()
            raise
        self._netlink = netlink

    def close(self) -> None:
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    def __enter__(self) -> "IpvsSocket":
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> NetlinkSocket:
        if self._netlink is None:
            self.open()
        assert self._netlink is not None, "open() opens or raises"
        return self._netlink

    def _call(
        self, what: str, call: Callable[[NetlinkSocket], T], hint: Callable[[int], str] | None = None
    ) -> T:
        """Run ``call``, and turn the kernel's refusal into a KernelError."""
        netlink = self._opened()
        try:
            return call(netlink)
        except NetlinkError as error:
            raise self._error(what, error, hint(error.errno) if hint else "") from None

    def _error(self, what: str, error: NetlinkError, hint: str) -> KernelError:
        return KernelError(what, error.errno, error.text or hint or _ALWAYS.get(error.errno, ""))

    # -- tables -----------------------------------------------------------------

    def info(self) -> Info:
        """The kernel's IPVS version and connection table size."""
        answer = self._call(
            "ask for IPVS information", lambda n: n.ask(self._family, command(genl_ipvs.GET_INFO))
        )
        version, size = genl_ipvs.info_row(*answer)
        return Info(version=(version >> 16, version >> 8 & 255, version & 255), table_size=size)

    def services(self) -> list[ServiceState]:
        """All services in the kernel's order, without their destinations."""
        answers = self._call("list services", lambda n: n.dump(self._family, command(genl_ipvs.GET_SERVICE)))
        read = self._services.read
        return [ipvs_codec.service_of(ServiceRow(read(*answer))) for answer in answers]

    def service(self, key: ServiceKey) -> ServiceState:
        """One service, without its destinations.

        Raises:
            KernelError: ESRCH, there is none.
        """
        request = command(genl_ipvs.GET_SERVICE, ipvs_codec.encode_key(key))
        answer = self._call(
            f"list service {key}",
            lambda n: n.ask(self._family, request),
            lambda code: "there is no such service" if code == errno.ESRCH else "",
        )
        return ipvs_codec.service_of(ServiceRow(self._services.read(*answer)))

    def destinations(self, key: ServiceKey) -> dict[DestinationKey, DestinationState]:
        """The destinations of a service; none as well when there is no such service."""
        request = command(genl_ipvs.GET_DEST, ipvs_codec.encode_key(key))
        answers = self._call(f"list destinations of {key}", lambda n: n.dump(self._family, request))
        read, state_of, family = self._destinations.read, self._memory.state_of, key.family
        states = [state_of(read(*answer), family) for answer in answers]
        return {state.destination.key: state for state in states}

    def table(self) -> Table:
        """Everything. Not a snapshot: the kernel lets the table change between services."""
        table: Table = {}
        for table in self.table_in_parts():  # noqa: B007 - the last is the whole
            pass
        return table

    def table_in_parts(self) -> Iterator[Table]:
        """As ``table``, which grows; the last is the whole. Others may run between two parts, but none may
        ask through this socket before the last was taken.

        Raises:
            KernelError: it cannot be listed.
        """
        table: Table = {}
        read, state_of = self._destinations.read, self._memory.state_of
        for state in self.services():
            key = state.service.key
            destinations: dict[DestinationKey, DestinationState] = {}
            table[key] = replace(state, destinations=destinations)
            request = command(genl_ipvs.GET_DEST, ipvs_codec.encode_key(key))
            family = key.family
            try:
                for number, answer in enumerate(self._opened().each(self._family, request), 1):
                    found = state_of(read(*answer), family)
                    destinations[found.destination.key] = found
                    if number % _PART == 0:
                        yield table
            except NetlinkError as error:
                raise self._error(f"list destinations of {key}", error, "") from None
            yield table
        yield table

    def apply(self, operations: Iterable[Operation]) -> list[tuple[Operation, KernelError]]:
        """Carry out all, in order and in batches; a failure does not stop the following ones.

        Returns:
            What failed, and why.

        Raises:
            KernelError: ENOBUFS or ETIMEDOUT, the state is unknown: dump, and plan again.
        """
        todo = tuple(operations)
        if not todo:
            return []
        encode = ipvs_codec.OperationEncoder().encode
        requests = [(self._family_of(), 0, encode(operation)) for operation in todo]
        failures = self._call(f"apply {len(todo)} operations", lambda n: n.batch(requests))
        return [(todo[index], self._refusal(todo[index], code, text)) for index, code, text in failures]

    def _refusal(self, operation: Operation, code: int, text: str) -> KernelError:
        return self._error(str(operation), NetlinkError(code, text), _operation_hint(operation, code))

    def _family_of(self) -> int:
        self._opened()
        return self._family

    def zero(self, key: ServiceKey | None = None) -> None:
        """Set the counters of one service and its destinations to 0, or of all and the totals."""
        parts = () if key is None else (ipvs_codec.encode_key(key),)
        what = "zero all counters" if key is None else f"zero the counters of {key}"
        self._call(
            what,
            lambda n: n.do(self._family, command(genl_ipvs.ZERO, *parts)),
            lambda code: "there is no such service" if code == errno.ESRCH else "",
        )

    def flush(self) -> None:
        """Remove every service. Connections stay until they expire."""
        self._call("remove all services", lambda n: n.do(self._family, command(genl_ipvs.FLUSH)))

    # -- time-outs ----------------------------------------------------------------

    def timeouts(self) -> Timeouts:
        """How long idle connections are kept."""
        answer = self._call("list time-outs", lambda n: n.ask(self._family, command(genl_ipvs.GET_CONFIG)))
        tcp, tcp_fin, udp = genl_ipvs.timeouts_row(*answer)
        return Timeouts(tcp_s=tcp, tcp_fin_s=tcp_fin, udp_s=udp)

    def set_timeouts(self, timeouts: Timeouts) -> None:
        """Set those that are not 0; for connections from now on."""
        attributes = genl_ipvs.timeouts_attributes(timeouts.tcp_s, timeouts.tcp_fin_s, timeouts.udp_s)
        self._call(
            "set time-outs",
            lambda n: n.do(self._family, command(genl_ipvs.SET_CONFIG, attributes)),
            lambda code: "a time-out is too large for this kernel" if code == errno.EINVAL else "",
        )

    # -- sync daemons -------------------------------------------------------------

    def daemons(self) -> list[Daemon]:
        """The sync daemons that the kernel lists as running.

        It lists one as well whose interface is gone, and which therefore sends and hears nothing.
        """
        answers = self._call(
            "list sync daemons", lambda n: n.dump(self._family, command(genl_ipvs.GET_DAEMON))
        )
        return [ipvs_codec.daemon_of(genl_ipvs.daemon_row(*answer)) for answer in answers]

    def start_daemon(self, daemon: Daemon) -> None:
        """Start one.

        Raises:
            KernelError: EEXIST, one of this role runs; ENODEV; ENETUNREACH, a master on an
                interface that is down; EADDRINUSE; EINVAL.
        """
        request = command(genl_ipvs.NEW_DAEMON, ipvs_codec.encode_daemon(daemon))
        self._call(
            f"start the {daemon.role} sync daemon",
            lambda n: n.do(self._family, request),
            lambda code: _daemon_hint(daemon, code),
        )

    def stop_daemon(self, role: DaemonRole) -> None:
        """Stop the daemon of a role.

        The kernel stops one that was only just started without an answer; the
        list of daemons then tells whether it is gone.

        Raises:
            KernelError: ESRCH, none of this role runs; ETIMEDOUT, it still does.
        """
        request = command(genl_ipvs.DEL_DAEMON, ipvs_codec.encode_daemon_role(role))

        def stop(netlink: NetlinkSocket) -> None:
            if not netlink.do_if_answered(self._family, request) and any(
                daemon.role is role for daemon in self.daemons()
            ):
                raise AnswersLost(errno.ETIMEDOUT, "the kernel did not answer, and still lists it")

        self._call(
            f"stop the {role} sync daemon",
            stop,
            lambda code: f"no {role} daemon runs" if code == errno.ESRCH else "",
        )
