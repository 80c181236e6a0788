"""``lvsha trace``: what happened to a connection between client, director and realserver."""

import argparse
import gc
import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from lvsha.cli.parser import Parser
from lvsha.core.addr import parse_endpoint
from lvsha.core.errors import LvshaError

if TYPE_CHECKING:
    from lvsha.io.capture import CaptureWriter
    from lvsha.io.packet_socket import PacketSocket
    from lvsha.trace.explain import Explanation
    from lvsha.trace.gather import Gatherer
    from lvsha.trace.packet import Endpoint

SUMMARY = "tell from captures what happened to a connection, hop by hop"

_EPILOG = """\
examples:
  lvsha trace client.pcap lb1.pcap rs1.pcap
  lvsha trace --follow 192.0.2.7:40312 --svg flow.svg director=lb1.pcap.gz
  ssh lb1 tcpdump -ni any -w - host 192.0.2.7 or arp | lvsha trace -
  lvsha trace live --client 192.0.2.7 --vip 10.0.0.10:80

Make captures with `tcpdump -ni INTERFACE -w FILE` (arp included, -e is not needed) on any of client,
director and realserver; the clocks need not agree. NAME=FILE names the machine; without it, roles come from
hardware addresses and addresses, and from file names like client.pcap, lb1-eth0.pcap, rs2.pcap.
exit status: 0 all connections went well, 1 something was found, 2 wrong usage
"""


def _parser() -> argparse.ArgumentParser:
    made = Parser(
        prog="lvsha trace",
        description="Follow connections through captures made at client, director and realserver, any of"
        " them: who forwarded what to whom, what was changed on the way, where it stops and why.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "captures",
        nargs="+",
        metavar="[NAME=]FILE",
        help="pcap or pcapng, gzip too; - for standard input; or the word live (see lvsha trace live --help)",
    )
    made.add_argument(
        "--follow",
        action="append",
        default=[],
        type=_endpoint,
        metavar="CIP[:PORT]",
        help="only connections of this client; may be given again",
    )
    made.add_argument(
        "--vip",
        action="append",
        default=[],
        type=_endpoint,
        metavar="VIP[:PORT]",
        help="only connections to this address; may be given again",
    )
    made.add_argument(
        "--connections", type=_positive, default=2000, metavar="N", help="keep at most so many (%(default)s)"
    )
    _add_output(made)
    return made


def _live_parser() -> argparse.ArgumentParser:
    made = Parser(
        prog="lvsha trace live",
        description="Capture on this machine's own interfaces, tell each packet of the client as it passes,"
        " and the whole story at the end (Ctrl-C). Needs root or CAP_NET_RAW.",
        epilog="example: lvsha trace live --client 192.0.2.7 --vip 10.0.0.10:80 --duration 30",
    )
    made.add_argument("--client", type=_endpoint, required=True, metavar="CIP[:PORT]")
    made.add_argument("--vip", type=_endpoint, required=True, metavar="VIP[:PORT]")
    made.add_argument(
        "-i",
        "--interface",
        action="append",
        default=[],
        metavar="IFACE",
        help="may be given again (default: all)",
    )
    made.add_argument("--duration", type=_seconds, metavar="S", help="stop after so many seconds")
    made.add_argument(
        "--tunnel-port",
        action="append",
        default=[],
        type=_positive,
        metavar="PORT",
        help="of GUE or FOU (default: 6080 and 5555)",
    )
    made.add_argument("--pcap", metavar="FILE", help="also write what was captured")
    _add_output(made)
    return made


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs; docs/reference/trace.md")
    parser.add_argument("--svg", metavar="FILE", help="also draw a sequence diagram")


def _endpoint(text: str) -> "Endpoint":
    from lvsha.trace.packet import Endpoint

    try:
        address, port = parse_endpoint(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT") from None
    return Endpoint(address.packed, port)


def _positive(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= 10_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def main(argv: list[str]) -> int:
    is_live = argv[:1] == ["live"]
    arguments = _live_parser().parse_args(argv[1:]) if is_live else _parser().parse_args(argv)
    try:
        return _live(arguments) if is_live else _files(arguments)
    except LvshaError as error:
        print(f"lvsha trace: {error}", file=sys.stderr)
        return 1


def _files(arguments: argparse.Namespace) -> int:
    from lvsha.trace.explain import explain
    from lvsha.trace.files import read
    from lvsha.trace.gather import Gatherer, Limits

    if arguments.captures.count("-") > 1:
        print("lvsha trace: standard input (-) can be read once only", file=sys.stderr)
        return 2
    gathered = Gatherer(
        limits=Limits(connections=arguments.connections), follow=arguments.follow, vips=arguments.vip
    )
    # Packets are tuples without cycles: looking for some again and again doubles the time to read.
    gc.disable()
    unreadable = 0
    for word in arguments.captures:
        name, file = _named(word)
        try:
            read(gathered, file, hint=name)
        except OSError as error:
            print(f"lvsha trace: {file}: {error.strerror or error}", file=sys.stderr)
            unreadable += 1
    for place in gathered.places:
        if place.problem:
            print(f"lvsha trace: {place.name}: {place.problem}", file=sys.stderr)
    if unreadable == len(arguments.captures):
        return 2
    explanation = explain(gathered, vips=arguments.vip)
    gc.enable()
    _show(explanation, arguments)
    is_whole = not unreadable and not any(place.problem for place in gathered.places)
    return 0 if explanation.is_well and is_whole and explanation.talks else 1


def _named(word: str) -> tuple[str, str]:
    """``director=lb1.pcap``; a file whose own name has an equals sign is taken as it is."""
    import os

    name, sign, file = word.partition("=")
    if not sign or os.path.exists(word) or "/" in name:
        return "", word
    return name, file


def _show(explanation: "Explanation", arguments: argparse.Namespace) -> None:
    """Raises: LvshaError: the picture cannot be written."""
    from lvsha.trace.as_json import as_json
    from lvsha.trace.report import report

    if arguments.json:
        print(json.dumps(as_json(explanation), indent=2))
    else:
        for line in report(explanation, remedies=_remedies()):
            print(line)
    if arguments.svg:
        from lvsha.trace.svg import svg

        try:
            with open(arguments.svg, "w", encoding="utf-8") as file:
                file.write(svg(explanation))
        except OSError as error:
            raise LvshaError(f"{arguments.svg}: {error.strerror}") from None


def _remedies() -> dict[str, str]:
    from lvsha.doctor.catalogue import BY_ID
    from lvsha.trace.catalogue import REMEDIES

    return REMEDIES | {id: kind.remedy for id, kind in BY_ID.items()}


def _live(arguments: argparse.Namespace) -> int:
    from lvsha.io.capture import ETHERNET, CaptureWriter
    from lvsha.trace.explain import explain
    from lvsha.trace.gather import Gatherer
    from lvsha.trace.live import GUE_PORTS, client_filter, open_interfaces
    from lvsha.trace.packet import address_of, endpoint_text

    ports = tuple(arguments.tunnel_port) or GUE_PORTS
    program = client_filter(address_of(arguments.client.address), ports)
    gathered = Gatherer(follow=[arguments.client], vips=[arguments.vip])
    with ExitStack() as stack:
        sockets = [stack.enter_context(each) for each in open_interfaces(arguments.interface, program)]
        writer = None
        if arguments.pcap:
            try:
                file = stack.enter_context(open(arguments.pcap, "wb"))
            except OSError as error:
                raise LvshaError(f"{arguments.pcap}: {error.strerror}") from None
            writer = CaptureWriter(file, link=ETHERNET)
        names = ", ".join(each.interface for each in sockets)
        ends = f"{endpoint_text(arguments.client)} -> {endpoint_text(arguments.vip)}"
        print(f"listening on {names} for {ends}; Ctrl-C ends it", file=sys.stderr, flush=True)
        _listen(arguments, gathered, sockets, writer)
        dropped = sum(each.dropped() for each in sockets)
    if dropped:
        print(f"lvsha trace: {dropped} frames came faster than they were read", file=sys.stderr)
    explanation = explain(gathered, vips=[arguments.vip])
    if not arguments.json:
        print()
    _show(explanation, arguments)
    return 0 if explanation.is_well and explanation.talks else 1


def _listen(
    arguments: argparse.Namespace,
    gathered: "Gatherer",
    sockets: "list[PacketSocket]",
    writer: "CaptureWriter | None",
) -> None:
    import select
    import time

    from lvsha.cli.interrupt import until_stopped
    from lvsha.trace.decode import Decoder
    from lvsha.trace.live import Line, concerns

    places = {each: gathered.place(each.interface, clock=0, own_macs=[each.mac]) for each in sockets}
    decoder, line = Decoder(), Line(gathered)
    end = None if arguments.duration is None else time.monotonic() + arguments.duration
    with until_stopped():
        while end is None or time.monotonic() < end:
            left = None if end is None else max(0.0, end - time.monotonic())
            for ready in select.select(sockets, [], [], left)[0]:
                place = places[ready]
                for frame in ready.receive():
                    place.frames += 1
                    place.size += frame.length
                    made = decoder.decode(frame.link, frame.data, frame.time_ns, place.frames)
                    if made is None or not concerns(made, arguments.client, arguments.vip):
                        continue
                    if writer is not None:
                        writer.write(frame.time_ns, frame.data, frame.length)
                    if gathered.add(place, made) and not arguments.json:
                        print(line.of(place, made), flush=True)
