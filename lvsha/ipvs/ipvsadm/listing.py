"""What ``ipvsadm -L`` prints, line by line: services and their destinations, daemons, time-outs."""

from _collections_abc import Callable, Iterable, Iterator, Sequence

from lvsha.ipvs.ipvsadm.names import AF_INET, AF_INET6, SCTP, TCP, UDP, Texts
from lvsha.ipvs.ipvsadm.order import destination_order, service_key, sort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lvsha.ipvs.ipvsadm.names import Names
    from lvsha.wire.genl_ipvs import DestinationRow, ServiceRow

PROTOCOL_WORDS = {TCP: "TCP", UDP: "UDP", SCTP: "SCTP"}
METHOD_WORDS = ("Masq", "Local", "Tunnel", "Route", "Bypass")
TUNNEL_WORDS = ("ipip", "gue", "gre")
_SUM_WORDS = {0: "-c", 1: "+c", 2: "r+c"}
PERSISTENT, ONE_PACKET = 0x01, 0x04
_FLAG_BITS = (0x08, 0x10, 0x20)
_FLAG_WORDS = {"sh": ("sh-fallback", "sh-port"), "mh": ("mh-fallback", "mh-port")}
_ALL_FLAG_WORDS = ("flag-1", "flag-2", "flag-3")

Destinations = Callable[["ServiceRow"], "Sequence[DestinationRow]"]
"""Asks for the destinations of a service."""


def as_signed(number: int) -> int:
    """ipvsadm prints some unsigned numbers of 32 bits as if they were signed."""
    return number - (1 << 32) if number >= 1 << 31 else number


def flag_names(row: "ServiceRow") -> str:
    """``sh-fallback,sh-port``; a third flag of sh and mh has no name and is left out, as by ipvsadm."""
    names = _FLAG_WORDS.get(row.scheduler, _ALL_FLAG_WORDS)
    return ",".join(name for bit, name in zip(_FLAG_BITS, names, strict=False) if row.flags & bit)


def has_flags(row: "ServiceRow") -> bool:
    return bool(row.flags & sum(_FLAG_BITS))


def netmask_text(row: "ServiceRow") -> str:
    """``255.255.255.0`` or ``64``; empty for the whole address."""
    if row.family == AF_INET6:
        return "" if row.netmask == 128 else str(row.netmask)
    return "" if row.netmask == 0xFFFFFFFF else ".".join(map(str, row.netmask.to_bytes(4, "big")))


def large(value: int) -> str:
    """A counter in nine columns: thousands from 100,000,000 on, millions from 1,000,000,000 on, and so on."""
    if value < 100_000_000:
        return f"{value:9}"
    if value < 1_000_000_000:
        return f"{value // 1000:8}K"
    if value < 100_000_000_000:
        return f"{value // 1_000_000:8}M"
    if value < 100_000_000_000_000:
        return f"{value // 1_000_000_000:8}G"
    return f"{value // 1_000_000_000_000:8}T"


def exact(value: int) -> str:
    return f" {value:8}"


HEADING = "Prot LocalAddress:Port Scheduler Flags"
_DETAIL_HEADING = "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn"
_TUNNEL_HEADING = "  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn"
_SHORT = "  -> RemoteAddress:Port"


class Listing:
    """One way to list services; ``options`` are what the command line gave."""

    def __init__(self, options: Iterable[str], names: "Names") -> None:
        given = set(options)
        self._texts = Texts(names, numeric="numeric" in given)
        self._sorted = "nosort" not in given
        self._number = exact if "exact" in given else large
        self._first: int | None = None
        """Of the five counters to print."""
        self._destination = self._plain
        if "stats" in given:
            self._first = 0
            self._heading = (
                "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes",
                _SHORT,
            )
        elif "rate" in given:
            self._first = 5
            self._heading = (
                "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS",
                _SHORT,
            )
        elif "thresholds" in given:
            self._destination = self._thresholds
            self._heading = (
                "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn ",
                _SHORT,
            )
        elif "persistent-conn" in given:
            self._destination = self._persistent
            self._heading = (
                "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn ",
                _SHORT,
            )
        elif "tun-info" in given:
            self._destination = self._tunnel
            self._heading = (HEADING, _TUNNEL_HEADING)
        else:
            self._heading = (HEADING, _DETAIL_HEADING)

    def lines(
        self, services: "Sequence[ServiceRow]", destinations: Destinations, *, version: tuple[int, int] | None
    ) -> Iterator[str]:
        """The list; ``version``: that and the table's size above the list of all services."""
        if version is not None:
            number, size = version
            dotted = f"{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            yield f"IP Virtual Server version {dotted} (size={size})"
        yield from self._heading
        order = sort([service_key(row) for row in services]) if self._sorted else range(len(services))
        for place in order:
            row = services[place]
            yield self._service(row)
            yield from self._destinations(row, destinations(row))

    @property
    def counts(self) -> bool:
        """Whether counters are printed."""
        return self._first is not None

    def service_name(self, row: "ServiceRow") -> str:
        if row.fwmark:
            return f"FWM  {as_signed(row.fwmark)}" + (" IPv6" if row.family == AF_INET6 else "")
        endpoint = self._texts.endpoint(row.family, row.address, row.port, row.protocol)
        return f"{PROTOCOL_WORDS.get(row.protocol, 'IP'):<4} {endpoint}"

    def _service(self, row: "ServiceRow") -> str:
        name = self.service_name(row)
        if self._first is not None:
            counters: Sequence[int] = row.counters
            return f"{name:<33}" + self._five(counters)
        parts = [name, row.scheduler]
        if has_flags(row):
            parts.append(f"({flag_names(row)})")
        if row.flags & PERSISTENT:
            parts.append(f"persistent {row.timeout_s}")
            mask = netmask_text(row)
            if mask:
                parts.append(f"mask {mask}")
            if row.pe_name:
                parts.append(f"pe {row.pe_name}")
        if row.flags & ONE_PACKET:
            parts.append("ops")
        return " ".join(parts)

    def _destinations(self, service: "ServiceRow", rows: "Sequence[DestinationRow]") -> Iterator[str]:
        endpoint, protocol, family = self._texts.endpoint, service.protocol, service.family
        order = destination_order(rows) if self._sorted else range(len(rows))
        for place in order:
            row = rows[place]
            name = endpoint(row[6] or family, row[0], int.from_bytes(row[1], "big"), protocol)
            if self._first is not None:
                yield f"  -> {name:<28}" + self._five(row[13:23])
            else:
                yield self._destination(name, row)

    def _five(self, counters: Sequence[int]) -> str:
        first = self._first or 0
        return "".join([self._number(value) for value in counters[first : first + 5]])

    def _plain(self, name: str, row: "DestinationRow") -> str:
        return f"  -> {name:<28} {METHOD_WORDS[row[2] & 7]:<7} {row[3]:<6} {row[10]:<10} {row[11]:<10}"

    def _tunnel(self, name: str, row: "DestinationRow") -> str:
        method = METHOD_WORDS[row[2] & 7]
        return f"  -> {name:<28} {method:<7} {tunnel_text(row):<13} {row[3]:<6} {row[10]:<10} {row[11]:<10}"

    def _thresholds(self, name: str, row: "DestinationRow") -> str:
        return f"  -> {name:<28} {row[4]:<10} {row[5]:<10} {row[10]:<10} {row[11]:<10}"

    def _persistent(self, name: str, row: "DestinationRow") -> str:
        return f"  -> {name:<28} {row[3]:<9} {row[12]:<11} {row[10]:<10} {row[11]:<10}"


def tunnel_text(row: "DestinationRow") -> str:
    """``gue:6080:+c``, ``gre:-c``, ``ipip``; ``n/a`` of what is no tunnel."""
    if row[2] & 7 != 2:
        return "n/a"
    kind = TUNNEL_WORDS[row[7]]
    if kind == "gue":
        return f"gue:{int.from_bytes(row[8], 'big')}:{_SUM_WORDS[row[9]]}"
    return f"gre:{_SUM_WORDS[row[9]]}" if kind == "gre" else kind


def timeouts_line(tcp: int, tcp_fin: int, udp: int) -> str:
    return f"Timeout (tcp tcpfin udp): {tcp} {tcp_fin} {udp}"


DaemonRow = tuple[int, str, int, int, bytes, int, int]
"""State (1 master, 2 backup), interface, syncid, maxlen, group, port, TTL."""


def daemon_lines(rows: Sequence[DaemonRow], names: "Names") -> Iterator[str]:
    """The sync daemons that run, the master first."""
    for state, interface, syncid, maxlen, group, port, ttl in sorted(rows):
        role = "master" if state == 1 else "backup"
        family = AF_INET if len(group) == 4 else AF_INET6
        address = ".".join(map(str, group)) if family == AF_INET else names.ip6_text(group)
        yield (
            f"{role} sync daemon (mcast={interface}, syncid={syncid}, maxlen={maxlen}, "
            f"group={address}, port={port}, ttl={ttl})"
        )
