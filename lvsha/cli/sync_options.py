"""Options that several ``lvsha sync`` commands share: ports, and which entries are wanted."""

import argparse
import ipaddress
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from lvsha.core.addr import Address, parse_endpoint
from lvsha.wire.ipvs_sync.names import DEFAULT_PORT, ConnFlag, Protocol, state_name
from lvsha.wire.ipvs_sync.records import SyncConn

EntryTest = Callable[[SyncConn], bool]
MessageTest = Callable[[int, int, str, int], bool]
"""Of version, syncid, source and port."""

MAX_SYNC_PORTS: Final = 64
"""A master with ``sync_ports`` n sends to the n ports from its own on; the kernel's limit."""
DEFAULT_PORTS: Final = frozenset(range(DEFAULT_PORT, DEFAULT_PORT + MAX_SYNC_PORTS))


def port_range(text: str) -> frozenset[int]:
    """``8848`` or ``8848-8851``."""
    first, _, last = text.partition("-")
    try:
        ports = range(int(first), int(last or first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a port nor a range such as 8848-8851"
        ) from None
    if not ports or ports[0] < 1 or ports[-1] > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not within 1-65535")
    return frozenset(ports)


def endpoint_or_address(text: str) -> tuple[Address, int | None]:
    """``10.0.0.1``, ``10.0.0.1:80``, ``[fd00::1]:80``."""
    try:
        address, port = parse_endpoint(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    has_port = text.rpartition("]")[2].startswith(":") if text.startswith("[") else text.count(":") == 1
    return address, port if has_port else None


def add_port_option(parser: argparse.ArgumentParser) -> None:
    """``--port``, which may be repeated."""
    parser.add_argument(
        "--port",
        action="append",
        type=port_range,
        metavar="PORT[-PORT]",
        help=f"UDP port of the sync daemons, may be given several times (default: {DEFAULT_PORT} and, to "
        f"multicast groups, the {MAX_SYNC_PORTS - 1} after it, for sync_ports)",
    )


def wanted_ports(options: argparse.Namespace) -> frozenset[int]:
    """What ``--port`` asks for."""
    chosen: list[frozenset[int]] = options.port or [DEFAULT_PORTS]
    return frozenset().union(*chosen)


def nothing_found(options: argparse.Namespace) -> str:
    """What to say of a capture without any sync message."""
    ports = sorted(wanted_ports(options))
    span = f"{ports[0]}-{ports[-1]}" if len(ports) > 1 else str(ports[0])
    return f"no sync message found (UDP ports {span}); --port names others"


def is_sync_destination(options: argparse.Namespace, destination: bytes, port: int) -> bool:
    """Whether a datagram to one of the ports can be a sync message: a guess for the ports nobody named."""
    if options.port or port == DEFAULT_PORT:
        return True
    return destination[0] >> 4 == 0xE if len(destination) == 4 else destination[0] == 0xFF


def add_filter_options(
    parser: argparse.ArgumentParser, *, syncid: str = "--syncid", of_messages: bool = False
) -> None:
    """``--vip``, ``--rs`` and their like.

    ``syncid``: the name of that one, if it is taken; ``of_messages``: see ``message_test``.
    """
    fields = (*_FIELDS, *(_MESSAGE_FIELDS if of_messages else ()))
    group = parser.add_argument_group("which entries (all of these must hold)")
    group.add_argument("--vip", type=endpoint_or_address, metavar="ADDR[:PORT]", help="virtual address")
    group.add_argument("--rs", type=endpoint_or_address, metavar="ADDR[:PORT]", help="realserver")
    group.add_argument("--client", type=endpoint_or_address, metavar="ADDR[:PORT]", help="client")
    group.add_argument(
        "--follow",
        type=endpoint_or_address,
        metavar="CIP:PORT",
        help="one client connection, with the templates of its client",
    )
    group.add_argument(syncid, type=int, metavar="N", help="messages of this syncid")
    group.add_argument(
        "--state", type=str.upper, metavar="NAME", help="as /proc/net/ip_vs_conn names it, or its number"
    )
    group.add_argument(
        "--protocol", type=_protocol, metavar="NAME", help="TCP, UDP, SCTP, AH, ESP, IP (fwmark templates)"
    )
    group.add_argument("--fwmark", type=lambda text: int(text, 0), metavar="N")
    group.add_argument("--template", action="store_true", help="persistence templates only")
    group.add_argument("--errors", action="store_true", help="only what a receiver does not install")
    group.add_argument(
        "--where",
        action="append",
        type=partial(_where, fields),
        default=[],
        metavar="FIELD=VALUE",
        help=f"any field: {', '.join(fields)}",
    )


_FIELDS: Final[dict[str, Callable[[SyncConn], str]]] = {
    "type": lambda conn: str(conn.type),
    "protocol": lambda conn: str(conn.protocol),
    "caddr": lambda conn: str(conn.client),
    "cport": lambda conn: str(conn.cport),
    "vaddr": lambda conn: str(conn.virtual),
    "vport": lambda conn: str(conn.vport),
    "daddr": lambda conn: str(conn.destination),
    "dport": lambda conn: str(conn.dport),
    "fwmark": lambda conn: str(conn.fwmark),
    "state": lambda conn: str(conn.state),
    "flags": lambda conn: str(conn.flags),
    "timeout": lambda conn: str(conn.timeout),
    "pe_name": lambda conn: conn.pe_name.decode("utf-8", "backslashreplace"),
    "pe_data": lambda conn: conn.pe_data.decode("utf-8", "backslashreplace"),
}

_MESSAGE_FIELDS: Final = ("version", "syncid", "source", "port")
_ADDRESSES: Final = ("caddr", "vaddr", "daddr", "source")


def _protocol(text: str) -> int:
    if text.isdigit():
        return int(text)
    try:
        return Protocol[text.upper()].value
    except KeyError:
        raise argparse.ArgumentTypeError(
            f"no protocol {text!r}; IPVS has {', '.join(Protocol.__members__)}"
        ) from None


def _where(fields: Sequence[str], text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if name not in fields or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIELD=VALUE with a field of {', '.join(fields)}")
    if name in _ADDRESSES:
        try:
            value = str(ipaddress.ip_address(value))
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    elif name not in ("pe_name", "pe_data"):
        try:
            value = str(int(value, 0))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{name} is a number, {value!r} is none") from None
    return name, value


def entry_test(options: argparse.Namespace) -> EntryTest | None:
    """Whether an entry passes the filters; None: all do. ``--syncid`` and ``--errors`` are the caller's."""
    tests: list[EntryTest] = []
    if options.vip:
        tests.append(_endpoint_test(options.vip, 10, 5))
    if options.rs:
        tests.append(_endpoint_test(options.rs, 11, 6))
    if options.client:
        tests.append(_endpoint_test(options.client, 9, 4))
    if options.follow:
        tests.append(_follow_test(options.follow))
    if options.state:
        tests.append(_state_test(options.state))
    if options.protocol is not None:
        tests.append(lambda conn: conn.protocol == options.protocol)
    if options.fwmark is not None:
        tests.append(lambda conn: conn.fwmark == options.fwmark)
    if options.template:
        tests.append(lambda conn: bool(conn.flags & ConnFlag.TEMPLATE))
    for name, value in options.where:
        if name in _FIELDS:
            tests.append(_field_test(_FIELDS[name], value))
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    return lambda conn: all(test(conn) for test in tests)


def message_test(options: argparse.Namespace) -> MessageTest | None:
    """Whether a message passes ``--syncid`` and what ``--where`` says of messages; None: all do."""
    wanted = [
        (_MESSAGE_FIELDS.index(name), value) for name, value in options.where if name in _MESSAGE_FIELDS
    ]
    if options.syncid is not None:
        wanted.append((_MESSAGE_FIELDS.index("syncid"), str(options.syncid)))
    if not wanted:
        return None
    return lambda *message: all(str(message[place]) == value for place, value in wanted)


def _field_test(read: Callable[[SyncConn], str], value: str) -> EntryTest:
    return lambda conn: read(conn) == value


def _endpoint_test(wanted: tuple[Address, int | None], address_at: int, port_at: int) -> EntryTest:
    packed, port = wanted[0].packed, wanted[1]
    if port is None:
        return lambda conn: conn[address_at] == packed
    return lambda conn: conn[address_at] == packed and conn[port_at] == port


def _follow_test(wanted: tuple[Address, int | None]) -> EntryTest:
    packed, port = wanted[0].packed, wanted[1]
    return lambda conn: conn.caddr == packed and (port is None or conn.cport in (port, 0))


def _state_test(wanted: str) -> EntryTest:
    if wanted.isdigit():
        return lambda conn: conn.state == int(wanted)
    return lambda conn: (
        state_name(conn.protocol, conn.state, template=bool(conn.flags & ConnFlag.TEMPLATE)) == wanted
    )
