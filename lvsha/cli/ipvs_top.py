"""``lvsha ipvs top``: who has the traffic."""

import argparse
import json
import shutil
import sys
import time

from lvsha.cli.parser import Parser
from lvsha.core.errors import LvshaError
from lvsha.core.instant import Instant
from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.ipvs.top import SORTS, Line, Top, screen

_CLEAR = "\x1b[H\x1b[2J"


def main(argv: list[str]) -> int:
    parser = Parser(
        prog="lvsha ipvs top",
        description="Services and their realservers by traffic, the busiest first, read again and again.",
        epilog="example: lvsha ipvs top --sort bytes --interval 5",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sort", choices=SORTS, default=SORTS[0], help="what comes first (%(default)s)")
    parser.add_argument(
        "--interval", type=float, default=2.0, metavar="S", help="between two readings (%(default)s)"
    )
    parser.add_argument("--count", type=int, metavar="N", help="show so often, then end")
    parser.add_argument("--json", action="store_true", help="one object a reading, one reading a line")
    options = parser.parse_args(argv)
    if options.interval <= 0 or (options.count is not None and options.count < 1):
        parser.error("--interval and --count must be above 0")
    try:
        _show(options)
    except LvshaError as error:
        print(f"lvsha ipvs top: {error}", file=sys.stderr)
        return 1
    return 0


def _show(options: argparse.Namespace) -> None:
    top = Top()
    with IpvsSocket() as kernel:
        top.read(kernel.table(), _now())
        shown = 0
        while options.count is None or shown < options.count:
            # Rates want two readings: the first is shown after one interval.
            time.sleep(options.interval)
            _print(top.read(kernel.table(), _now(), sort=options.sort), as_json=options.json)
            shown += 1


def _now() -> Instant:
    return Instant(time.monotonic_ns())


def _print(lines: list[Line], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"lines": [line.as_json() for line in lines]}), flush=True)
        return
    if sys.stdout.isatty():
        size = shutil.get_terminal_size()
        text = _CLEAR + "\n".join(screen(lines, height=size.lines - 1, width=size.columns))
    else:
        text = "\n".join(screen(lines))
    print(text, flush=True)
