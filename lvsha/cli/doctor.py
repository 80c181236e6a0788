"""``lvsha doctor``: what is wrong with this set-up, how that is seen, what to do."""

import argparse
import json
import socket
import sys
import time
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING

from lvsha.cli.parser import Parser
from lvsha.core.addr import Address, parse_endpoint
from lvsha.core.errors import ConfigErrors, LvshaError

if TYPE_CHECKING:
    from lvsha.config.settings import Settings
    from lvsha.doctor.facts import ExpectedRouter, Facts, VirtualService
    from lvsha.doctor.gather import Order
    from lvsha.doctor.report import Unreachable

SUMMARY = "find the faults that LVS set-ups have; it only looks"

_ROLES = ("auto", "director", "realserver", "client")
_METHODS = ("dr", "nat", "tun")
_MAX_LISTEN_S = 600.0


def _parser() -> argparse.ArgumentParser:
    from lvsha.cli.client import DEFAULT_RUN_DIR
    from lvsha.doctor.transport import SHELL

    parser = Parser(
        prog="lvsha doctor",
        description="Looks at this machine, or at several by ssh, and says what is wrong. It changes nothing:"
        " it reads settings and tables, listens, and sends ARP probes and single UDP datagrams."
        " Exit 0: nothing found; 1: findings, or a machine that did not answer.",
        epilog="example: lvsha doctor --host root@lb1 --host root@lb2 --host root@web1 --listen 5",
    )
    what = parser.add_argument_group("what to look at")
    what.add_argument("--role", choices=_ROLES, default="auto", help="of this machine (auto: by its tables)")
    what.add_argument(
        "--vip",
        metavar="ADDRESS[:PORT]",
        action="append",
        default=[],
        type=_vip,
        help="a virtual address; on a realserver or client that is asked alone",
    )
    what.add_argument(
        "--method", choices=_METHODS, help="how the --vip is forwarded, on a realserver asked alone"
    )
    what.add_argument(
        "--client", metavar="ADDRESS", action="append", default=[], type=_address, help="who uses it"
    )
    what.add_argument("-f", "--file", help="the directors' configuration: what should be there")
    what.add_argument(
        "--listen", metavar="SECONDS", type=_seconds, default=4.0, help="for VRRP and sync (4); 0: not at all"
    )
    hosts = parser.add_argument_group("other machines")
    hosts.add_argument(
        "--host", metavar="USER@HOST", action="append", default=[], help="look there too; alone: only there"
    )
    hosts.add_argument("--here", action="store_true", help="with --host: this machine as well")
    hosts.add_argument("--ssh", default=SHELL, metavar="COMMAND", help=f"({SHELL})")
    hosts.add_argument("--program", default="lvsha", help="lvsha's name there (lvsha)")
    out = parser.add_argument_group("what to print")
    out.add_argument("--json", action="store_true", help="findings for programs")
    out.add_argument("--facts", action="store_true", help="only what was seen, as JSON, and no findings")
    out.add_argument("--list", action="store_true", help="every finding there is")
    out.add_argument("--explain", metavar="ID", help="one finding: why it hurts, what to do")
    parser.add_argument("--name", help=argparse.SUPPRESS)
    parser.add_argument("--run-dir", default=DEFAULT_RUN_DIR, help="the agent's [agent] run_dir")
    return parser


def _vip(text: str) -> tuple[Address, int]:
    try:
        return parse_endpoint(text) if "." in text or text.startswith("[") else (ip_address(text), 0)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}: write 10.0.0.10:80") from None


def _address(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _MAX_LISTEN_S:
        raise argparse.ArgumentTypeError(f"{text!r}: seconds, 0 to {_MAX_LISTEN_S:.0f}")
    return value


def main(argv: list[str]) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.list or arguments.explain:
        return _catalogue(arguments)
    if arguments.method and not arguments.vip:
        parser.error("--method needs a --vip")
    try:
        order = _order(arguments)
    except ConfigErrors as refusal:
        from lvsha.cli.config_file import problem_lines

        print(*problem_lines(refusal.source, refusal.problems), sep="\n", file=sys.stderr)
        return 1
    except LvshaError as error:
        print(f"lvsha doctor: {error}", file=sys.stderr)
        return 1
    if arguments.facts:
        from lvsha.doctor.gather import gather
        from lvsha.doctor.transport import to_json

        print(to_json(gather(order)))
        return 0
    hosts, unreachable = _look(arguments, order)
    return _say(arguments, hosts, unreachable)


def _catalogue(arguments: argparse.Namespace) -> int:
    from lvsha.doctor.catalogue import ALL, BY_ID
    from lvsha.doctor.report import explanation, listing

    if arguments.explain:
        if (kind := BY_ID.get(arguments.explain)) is None:
            print(
                f"lvsha doctor: no finding {arguments.explain!r}: `lvsha doctor --list` names them",
                file=sys.stderr,
            )
            return 2
        kinds, lines = [kind], explanation(kind)
    else:
        kinds, lines = list(ALL), listing()
    if arguments.json:
        keys = ("id", "title", "why", "remedy", "page")
        print(
            json.dumps(
                [
                    {**{key: getattr(each, key) for key in keys}, "severity": each.severity.value}
                    for each in kinds
                ],
                indent=2,
            )
        )
    else:
        print("\n".join(lines))
    return 0


def _order(arguments: argparse.Namespace) -> "Order":
    from lvsha.cli.client import ask_status
    from lvsha.doctor.gather import Order

    settings = _settings(arguments.file) if arguments.file else None
    return Order(
        host=arguments.name or socket.gethostname(),
        role=arguments.role,
        vips=tuple(dict.fromkeys(address for address, _ in arguments.vip)),
        clients=tuple(arguments.client),
        expected=_expected(arguments, settings),
        routers=_routers(settings) if settings else (),
        listen_s=arguments.listen,
        status=lambda: ask_status(arguments.run_dir),
    )


def _settings(name: str) -> "Settings":
    """For whichever director of the file; realservers and clients ask as well."""
    from lvsha.cli.config_file import load, load_for_any

    try:
        return load(name)[0]
    except ConfigErrors:
        return load_for_any(name)


def _expected(arguments: argparse.Namespace, settings: "Settings | None") -> "tuple[VirtualService, ...]":
    """The services of the file, and the one of ``--vip`` and ``--method``."""
    from lvsha.doctor.facts import Server, VirtualService
    from lvsha.doctor.gather import virtual_service
    from lvsha.ipvs.model import DestinationState, ForwardingMethod, ServiceState

    found = []
    for service in settings.services if settings else ():
        state = ServiceState(
            service=service.service,
            destinations={
                each.destination.key: DestinationState(destination=each.destination)
                for each in service.realservers
            },
        )
        found.append(virtual_service(state))
    if arguments.method:
        methods = {
            "dr": ForwardingMethod.DROUTE,
            "nat": ForwardingMethod.MASQ,
            "tun": ForwardingMethod.TUNNEL,
        }
        for address, port in arguments.vip:
            me = Server(address=IPv4Address(0), port=port, method=methods[arguments.method])
            found.append(VirtualService(protocol=6, address=address, port=port, servers=(me,)))
    return tuple(found)


def _routers(settings: "Settings") -> "tuple[ExpectedRouter, ...]":
    from lvsha.doctor.facts import ExpectedRouter

    return tuple(
        ExpectedRouter(
            interface=router.interface,
            vrid=router.vrid,
            version=router.version,
            interval_cs=router.advert_interval // 10_000_000,
            addresses=tuple(prefix.ip for prefix in router.addresses),
            peers=router.unicast_peers,
        )
        for router in settings.routers
        if router.family == 4
    )


def _look(arguments: argparse.Namespace, order: "Order") -> "tuple[list[Facts], list[Unreachable]]":
    """This machine, and all others at the same time."""
    from lvsha.doctor import transport
    from lvsha.doctor.gather import gather
    from lvsha.doctor.report import Unreachable

    unreachable = []
    remotes = []
    passed = [f"--listen={order.listen_s:g}", *(f"--client={client}" for client in order.clients)]
    for address, port in arguments.vip:
        host = f"[{address}]" if address.version == 6 else str(address)
        passed.append(f"--vip={host}:{port}")
    end = time.monotonic() + order.listen_s + transport.GRACE_S
    for host in dict.fromkeys(arguments.host):
        try:
            remotes.append(transport.ask(host, passed, shell=arguments.ssh, program=arguments.program))
        except LvshaError as error:
            unreachable.append(Unreachable(host=host, why=str(error)))
    found = [gather(order)] if arguments.here or not arguments.host else []
    for remote in remotes:
        try:
            found.append(transport.answer(remote, max(0.0, end - time.monotonic())))
        except LvshaError as error:
            unreachable.append(Unreachable(host=remote.host, why=str(error)))
    if found and arguments.host and arguments.file:
        # The file is here only; services concern nobody in particular, routers every director.
        found = [replace(facts, routers=order.routers) for facts in found]
        found[0] = replace(found[0], expected=order.expected)
    return found, unreachable


def _say(arguments: argparse.Namespace, hosts: "list[Facts]", unreachable: "list[Unreachable]") -> int:
    from lvsha.doctor.diagnose import diagnose
    from lvsha.doctor.report import as_json, as_text

    findings = diagnose(hosts)
    if arguments.json:
        print(json.dumps(as_json(findings, hosts, unreachable), indent=2))
    elif hosts:
        print("\n".join(as_text(findings, hosts)))
    for each in unreachable:
        print(f"lvsha doctor: {each.host}: {each.why}", file=sys.stderr)
    return 1 if findings or unreachable else 0
