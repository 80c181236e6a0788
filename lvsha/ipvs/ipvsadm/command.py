"""One command of ipvsadm: from words to numbers that the kernel takes, or to a complaint.

The order of the complaints is ipvsadm's: a word is judged where it stands, then
what is left over, then the scheduler flags, then what does not go together.
"""

from _collections_abc import Sequence

from lvsha.ipvs.ipvsadm import words
from lvsha.ipvs.ipvsadm.errors import UsageError
from lvsha.ipvs.ipvsadm.grammar import Words
from lvsha.ipvs.ipvsadm.names import (
    AF_INET,
    AF_INET6,
    SCTP,
    TCP,
    UDP,
    Names,
    number,
    parse_endpoint,
    parse_netmask,
)

_SERVICES = {"tcp-service": TCP, "udp-service": UDP, "sctp-service": SCTP}
_FULL = {AF_INET: 0xFFFFFFFF, AF_INET6: 128}
PERSISTENT, ONE_PACKET = 0x01, 0x04
MASQ, TUNNEL, DROUTE = 0, 2, 3
_GROUPS_4, _GROUPS_6 = range(224, 240), (0xFF,)
"""First bytes of multicast addresses."""


class Command:
    """What one command line says. (A plain class: dataclasses take longer to import than a list to print.)"""

    __slots__ = (
        "address",
        "daemon",
        "family",
        "flags",
        "fwmark",
        "given",
        "group",
        "interface",
        "lower",
        "maxlen",
        "mcast_port",
        "method",
        "netmask",
        "pe",
        "port",
        "protocol",
        "scheduler",
        "server",
        "server_family",
        "server_port",
        "syncid",
        "timeout",
        "timeouts",
        "ttl",
        "tun_flags",
        "tun_port",
        "tun_type",
        "upper",
        "verb",
        "weight",
    )

    def __init__(self, verb: str) -> None:
        self.verb = verb
        """A long name of ``words.COMMANDS``."""
        self.given: set[str] = set()
        """Names of ``words.OPTIONS``: which were on the line."""
        self.family = AF_INET
        self.protocol = 0
        self.address = b""
        self.port = 0
        self.fwmark = 0
        self.scheduler = words.DEFAULT_SCHEDULER
        self.flags = 0
        self.timeout = 0
        self.netmask = _FULL[AF_INET]
        self.pe = ""
        self.server_family = AF_INET
        self.server = b""
        self.server_port = 0
        self.method = DROUTE
        self.weight = 1
        self.upper = 0
        self.lower = 0
        self.tun_type = 0
        self.tun_port = 0
        self.tun_flags = 0
        self.daemon = ""
        """``master`` or ``backup``."""
        self.interface = ""
        self.syncid = 0
        self.maxlen: int | None = None
        self.group: bytes | None = None
        self.mcast_port: int | None = None
        self.ttl: int | None = None
        self.timeouts = (0, 0, 0)

    def has(self, option: str) -> bool:
        return option in self.given


def parse(
    arguments: Sequence[str], names: Names, *, program: str = "ipvsadm", nested: bool = False
) -> Command:
    """The command of a command line; no words at all are ``-L``.

    Args:
        program: the name by which we were called, for one message.
        nested: a line of ``-R``, in which another ``-R`` is no command.

    Raises:
        UsageError: what ipvsadm would print.
    """
    if not arguments:
        return Command("list")
    reader = Words(arguments)
    lost = UsageError(f"Try `{program} -h' or '{program} --help' for more information.", 255)
    try:
        first = reader.next()
    except UsageError:
        raise lost from None
    if first is None or first[0] not in words.IS_COMMAND:
        raise lost
    command = Command(first[0])
    if command.verb in ("help", "version"):
        return command
    if command.verb in ("start-daemon", "stop-daemon"):
        command.daemon = first[1] or ""
        if command.daemon not in ("master", "backup"):
            name = "start-daemon parameter" if command.verb == "start-daemon" else "start_daemon"
            raise UsageError(f"illegal {name} specified")
    _Options(command, names).read(reader)
    if nested and command.verb == "restore":
        raise lost
    return command


class _Options:
    """What follows the command."""

    def __init__(self, command: Command, names: Names) -> None:
        self._command = command
        self._names = names
        self._flags: str | None = None
        self._tun_type = "ipip"

    def read(self, reader: Words) -> None:
        command = self._command
        while (option := reader.next()) is not None:
            name, argument = option
            if name in words.IS_COMMAND:
                raise UsageError(f"invalid option `{reader.last}'")
            if name == "sort":
                continue
            if name == "ipv6":
                self._ipv6()
                continue
            meaning = words.MEANS.get(name, name)
            if meaning in command.given:
                raise UsageError(f"multiple '{meaning}' options specified")
            command.given.add(meaning)
            self._take(name, argument or "", argument is not None)
        left = reader.left()
        if command.verb == "set":
            left = self._timeouts(left)
        if left:
            raise UsageError(f"unexpected argument {left[0]}")
        if self._flags is not None:
            command.flags |= scheduler_flags(self._flags, command.scheduler)
        self._check_together()
        self._check_service()
        self._check_server()

    def _ipv6(self) -> None:
        command = self._command
        if not command.fwmark:
            raise UsageError("-6 used before -f\n")
        command.family = AF_INET6
        command.netmask = _FULL[AF_INET6]

    def _take(self, name: str, argument: str, there: bool) -> None:
        command = self._command
        if name in _SERVICES:
            self._service(_SERVICES[name], argument)
        elif name in words.METHODS:
            command.method = words.METHODS[name]
        elif name in words.TUNNEL_SUMS:
            command.tun_flags = words.TUNNEL_SUMS[name]
        elif name in _TAKERS:
            _TAKERS[name](self, argument)
        elif name == "persistent":
            command.flags |= PERSISTENT
            command.timeout = self._timeout(argument, 1) if there else words.DEFAULT_PERSISTENCE_S
        elif name == "ops":
            command.flags |= ONE_PACKET

    def _service(self, protocol: int, text: str) -> None:
        command = self._command
        command.protocol = protocol
        try:
            command.family, command.address, port = parse_endpoint(text, protocol, self._names)
        except ValueError:
            raise UsageError("illegal virtual server address[:port] specified") from None
        command.port = port or 0
        if command.family == AF_INET6:
            command.netmask = _FULL[AF_INET6]

    def _fwmark(self, text: str) -> None:
        mark = number(text, 1, 0xFFFFFFFF)
        if mark is None:
            raise UsageError(f"invalid fwmark value `{text}' specified")
        self._command.fwmark = mark
        self._command.protocol = TCP

    def _scheduler(self, text: str) -> None:
        self._command.scheduler = text[:15] or words.DEFAULT_SCHEDULER

    def _pe(self, text: str) -> None:
        self._command.pe = text[:15]

    def _netmask(self, text: str) -> None:
        self._command.netmask = parse_netmask(text, self._command.family, self._names)

    def _remember_flags(self, text: str) -> None:
        self._flags = text

    def _timeout(self, text: str, lowest: int) -> int:
        seconds = number(text, lowest, words.LONGEST_TIMEOUT_S)
        if seconds is None:
            raise UsageError(f"invalid timeout value `{text}' specified")
        return seconds

    def _timeouts(self, left: list[str]) -> list[str]:
        if len(left) < 3:
            raise UsageError("--set option requires 3 timeout values")
        tcp, fin, udp = [self._timeout(text, 0) for text in left[:3]]
        self._command.timeouts = (tcp, fin, udp)
        return left[3:]

    def _server(self, text: str) -> None:
        command = self._command
        try:
            family, address, port = parse_endpoint(text, command.protocol, self._names)
        except ValueError:
            raise UsageError("illegal real server address[:port] specified") from None
        command.server_family, command.server = family, address
        # The service's port, if the service was named before.
        command.server_port = command.port if port is None else port

    def _tunnel(self, text: str) -> None:
        if text not in words.TUNNEL_TYPES:
            raise UsageError("illegal tunnel type specified")
        self._tun_type = text
        self._command.tun_type = words.TUNNEL_TYPES[text]

    def _tunnel_port(self, text: str) -> None:
        self._command.tun_port = _ranged(text, 1, 65535, "tunnel port")

    def _weight(self, text: str) -> None:
        self._command.weight = _ranged(text, 0, words.LARGEST, "weight")

    def _upper(self, text: str) -> None:
        self._command.upper = _ranged(text, 0, words.LARGEST, "u_threshold")

    def _lower(self, text: str) -> None:
        self._command.lower = _ranged(text, 0, words.LARGEST, "l_threshold")

    def _interface(self, text: str) -> None:
        self._command.interface = text[:15]

    def _syncid(self, text: str) -> None:
        self._command.syncid = _ranged(text, 0, 255, "syncid")

    def _maxlen(self, text: str) -> None:
        self._command.maxlen = _ranged(text, 1, words.LARGEST_MAXLEN, "sync-maxlen")

    def _mcast_port(self, text: str) -> None:
        self._command.mcast_port = _ranged(text, 1, 65535, "mcast-port")

    def _ttl(self, text: str) -> None:
        self._command.ttl = _ranged(text, 1, 255, "mcast-ttl")

    def _group(self, text: str) -> None:
        six = ":" in text
        packed = self._names.ip6(text) if six else self._names.ip4(text)
        if packed is None or packed[0] not in (_GROUPS_6 if six else _GROUPS_4):
            raise UsageError(f"invalid IPv{6 if six else 4} mcast-group `{text}'")
        self._command.group = packed

    def _check_together(self) -> None:
        command = self._command
        called = words.CALLED.get(command.verb, command.verb)
        _check(called, "command", words.OPTIONS, words.LEGAL[command.verb], command.given)
        of_services = ("stats", "rate", "thresholds", "persistent-conn")
        clashing = [name for name in of_services if command.has(name)]
        if command.has("connection"):
            clashing = [name for name in clashing if name != "persistent-conn"]
        if clashing and any(command.has(name) for name in ("connection", "timeout", "daemon")):
            raise UsageError("options conflicts in the list command")

    def _check_service(self) -> None:
        command = self._command
        if command.verb not in ("add-service", "edit-service"):
            return
        if not command.fwmark and not command.port and not command.flags & PERSISTENT:
            raise UsageError("Zero port specified for non-persistent service")
        if command.flags & ONE_PACKET and not command.fwmark and command.protocol != UDP:
            raise UsageError("One-Packet Scheduling is only for UDP virtual services")

    def _check_server(self) -> None:
        command = self._command
        if command.verb not in ("add-server", "edit-server"):
            return
        tunnelled = command.method == TUNNEL
        if command.server_family != command.family and not tunnelled:
            raise UsageError("Different address family is allowed only for tunneling servers")
        given = {name for name in ("tun-type", *words.TUNNEL_OPTIONS) if command.has(name)}
        if tunnelled:
            legal = words.TUNNEL_LEGAL[self._tun_type]
            _check(self._tun_type, "tunnel type", words.TUNNEL_OPTIONS, legal, given)
        elif given:
            raise UsageError("Tunnel options conflict with forward method")
        if command.method != MASQ and not command.fwmark:
            # Only a NAT sends to another port.
            command.server_port = command.port


_TAKERS = {
    "fwmark-service": _Options._fwmark,
    "scheduler": _Options._scheduler,
    "netmask": _Options._netmask,
    "pe": _Options._pe,
    "sched-flags": _Options._remember_flags,
    "real-server": _Options._server,
    "tun-type": _Options._tunnel,
    "tun-port": _Options._tunnel_port,
    "weight": _Options._weight,
    "u-threshold": _Options._upper,
    "l-threshold": _Options._lower,
    "mcast-interface": _Options._interface,
    "syncid": _Options._syncid,
    "sync-maxlen": _Options._maxlen,
    "mcast-group": _Options._group,
    "mcast-port": _Options._mcast_port,
    "mcast-ttl": _Options._ttl,
}


def _ranged(text: str, low: int, high: int, what: str) -> int:
    value = number(text, low, high)
    if value is None:
        raise UsageError(f"illegal {what} specified")
    return value


def _check(
    subject: str,
    kind: str,
    order: Sequence[str],
    legal: tuple[frozenset[str], frozenset[str], tuple[str, ...]],
    given: set[str],
) -> None:
    """The first option, in ``order``, that must be there and is not, or may not be there and is."""
    must, may, either = legal
    before = ""
    for option in order:
        if option not in given:
            if option in must:
                raise UsageError(f"You need to supply the '{option}' option for the '{subject}' {kind}")
            continue
        if option not in must and option not in may:
            raise UsageError(f"Illegal '{option}' option with the '{subject}' {kind}")
        if option in either:
            if before:
                raise UsageError(
                    f"The option '{option}' conflicts with the '{before}' option in the '{subject}' {kind}"
                )
            before = option


def scheduler_flags(text: str, scheduler: str) -> int:
    """The bits of ``-b``; a flag of another scheduler is an error.

    Raises:
        UsageError: no such flag, or not this scheduler's.
    """
    bits = 0
    for name in text.split(","):
        if not name:
            continue
        if name not in words.FLAGS:
            raise UsageError(f"invalid scheduler flag `{name}'")
        bit, owner = words.FLAGS[name]
        if owner and owner != scheduler:
            raise UsageError(f"incompatible scheduler flag `{name}'")
        bits |= bit
    return bits
