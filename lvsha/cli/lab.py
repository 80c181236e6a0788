"""``lvsha lab``: real directors on a real IPVS kernel, on this machine."""

import argparse
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from lvsha.cli.parser import Parser
from lvsha.core.errors import LvshaError

SUMMARY = "real directors on a real IPVS kernel, on this machine"

_EPILOG = """\
examples:
  lvsha lab demo                                     the main job, beside keepalived
  lvsha lab run crash --advert 1 --json result.json  one scenario, once
  lvsha lab compare crash planned --runs 5           medians, lvsha beside keepalived
  lvsha lab exec -- ip netns exec lb1 ip address     a command in the topology
  lvsha lab exec --bare -- ipvsadm -Ln               a command on the kernel alone
  lvsha lab shell                                    look around in a running pair

The kernel is this machine's if it has ip_vs, else user-mode Linux (apt-get install user-mode-linux).
Nothing is changed on this machine; what failed runs leave to look into is in ./artifacts/.
Exit status: 0 good, 1 a connection died or something else is not as it should be, 2 wrong usage.
"""


def _parser() -> argparse.ArgumentParser:
    from lvsha.lab import scenario

    parser = Parser(
        prog="lvsha lab",
        description="Real directors on a real IPVS kernel, on this machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = "scenarios:\n" + "\n".join(
        f"  {name:<18} {scenario.summary(name)}" for name in scenario.names()
    )
    example = "\n\nexample: "

    run = _add(
        verbs, "run", "play one scenario", listing + example + "lvsha lab run crash --method nat --json -"
    )
    run.add_argument("scenario", choices=scenario.names(), metavar="SCENARIO")
    run.add_argument("--director", choices=("lvsha", "keepalived"), default="lvsha")
    _add_run_options(run)
    _add_json(run, "the result")

    compare = _add(
        verbs,
        "compare",
        "play scenarios with lvsha and with keepalived in one guest; medians side by side",
        listing + "\n\nA scenario may carry settings of its own: crash,advert=1,method=nat"
        "\n\nexample: lvsha lab compare crash crash,advert=1 planned --runs 5 --markdown takeover.md",
    )
    compare.add_argument(
        "cells", nargs="+", type=_checked(_cell), metavar="SCENARIO", help="NAME[,SETTING=VALUE...]"
    )
    compare.add_argument("--runs", type=_positive, default=5, help="of each with each (%(default)s)")
    compare.add_argument(
        "--director", choices=("both", "lvsha", "keepalived"), default="both", help="whose runs (both)"
    )
    compare.add_argument("--markdown", metavar="FILE", help="write the table as Markdown; - is stdout")
    compare.add_argument("--story", action="store_true", help="tell every run step by step")
    _add_run_options(compare)
    _add_json(compare, "all results and their medians")

    demo = _add(
        verbs, "demo", "the main job, told step by step, beside keepalived", "example: lvsha lab demo"
    )
    demo.add_argument("--method", choices=("dr", "nat", "tun"), default="dr")
    _add_json(demo, "both results")

    shell = _add(
        verbs, "shell", "a shell in a running topology", "example: lvsha lab shell --director keepalived"
    )
    shell.add_argument("--director", choices=("lvsha", "keepalived"), default="lvsha")
    _add_run_options(shell)

    execute = _add(
        verbs,
        "exec",
        "run a command inside a fresh guest",
        "example: lvsha lab exec --bare -- sh -c 'ipvsadm -A -t 10.0.0.1:80 && ipvsadm -Ln'",
    )
    execute.add_argument("--bare", action="store_true", help="modules only, no topology")
    execute.add_argument(
        "--pair", choices=("lvsha", "keepalived"), help="with running directors and realservers"
    )
    _add_run_options(execute)
    execute.add_argument("command", nargs="+", metavar="CMD", help="after --")

    for each in (run, compare, demo, shell, execute):
        each.add_argument(
            "--kernel", choices=("auto", "host", "uml"), default="auto", help="whose IPVS (auto)"
        )
        each.add_argument("--limit", type=float, metavar="S", help="end the guest after so many seconds")
        each.add_argument("--memory", default="1G", help="of a user-mode guest (%(default)s)")
    return parser


def _add(verbs: Any, name: str, summary: str, epilog: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _add_json(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--json", metavar="FILE", help=f"write {what} as JSON; - is stdout, the story goes to stderr"
    )


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    from lvsha.lab.options import OPTIONS
    from lvsha.lab.settings import RunSettings

    fields = RunSettings.__dataclass_fields__
    group = parser.add_argument_group("the run")
    for option in OPTIONS:
        default = fields[option.field].default
        group.add_argument(
            f"--{option.name}",
            dest=option.field,
            default=default,
            metavar=option.metavar,
            type=_checked(option.value),
            help=f"{option.help} ({default})",
        )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


def _checked(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """The same for argparse, which prints only its own kind of error in full."""

    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except LvshaError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed


def _cell(text: str) -> Any:
    from lvsha.lab.options import parse_cell
    from lvsha.lab.scenario import names

    return parse_cell(text, names())


def main(argv: list[str]) -> int:
    signal.signal(signal.SIGTERM, _leave)
    arguments = _parser().parse_args(argv)
    handlers = {"run": _run, "compare": _compare, "demo": _demo, "shell": _shell, "exec": _exec}
    try:
        return handlers[arguments.verb](arguments)
    except LvshaError as error:
        print(f"lvsha lab: {error}", file=sys.stderr)
        return 1


def _leave(*_: object) -> NoReturn:
    """SIGTERM ends us like an exception does, so that the guest goes with us."""
    raise SystemExit(143)


def _settings(
    arguments: argparse.Namespace, scenario: str, director: str, own: dict[str, Any] | None = None
) -> Any:
    from lvsha.lab.settings import RunSettings

    fields = RunSettings.__dataclass_fields__
    given = {name: value for name, value in vars(arguments).items() if name in fields}
    return RunSettings.from_json(given | (own or {}) | {"scenario": scenario, "director": director})


def _guest(arguments: argparse.Namespace, orders: Any, limit_s: float, **options: Any) -> tuple[int, Any]:
    from lvsha.lab.guest import choose_kernel
    from lvsha.lab.play import send

    kernel = choose_kernel(arguments.kernel)
    if "-" in (getattr(arguments, "json", None), getattr(arguments, "markdown", None)):
        options["narrate_to"] = sys.stderr.buffer
    limit_s = arguments.limit if arguments.limit is not None else limit_s
    return send(orders, kernel, limit_s=limit_s, memory=arguments.memory, **options)


_BOOT_LIMIT_S = 60.0
_RUN_LIMIT_S = 120.0


def _run(arguments: argparse.Namespace) -> int:
    from lvsha.lab.play import Orders

    _needs_director(arguments.director)
    settings = _settings(arguments, arguments.scenario, arguments.director)
    status, results = _guest(arguments, Orders(runs=(settings,)), _BOOT_LIMIT_S + _RUN_LIMIT_S)
    if not results:
        return status or 1
    result = results[0]
    if result.get("artifacts"):
        _say(arguments, f"\nWhat it left to look into: {result['artifacts']}")
    _write_json(arguments, result)
    return 0 if result["ok"] else 1


def _compare(arguments: argparse.Namespace) -> int:
    from lvsha.lab.play import Orders
    from lvsha.lab.report import comparison, markdown, summarize

    directors = ("lvsha", "keepalived") if arguments.director == "both" else (arguments.director,)
    for director in directors:
        _needs_director(director)
    runs = [
        _settings(arguments, scenario, director, own)
        for scenario, own in arguments.cells
        for _ in range(arguments.runs)
        for director in directors
    ]
    limit_s = _BOOT_LIMIT_S + _RUN_LIMIT_S * len(runs)
    orders = Orders(runs=tuple(runs), quiet=not arguments.story)
    status, results = _guest(arguments, orders, limit_s, keep_what_there_is=True)
    if not results:
        return status or 1
    summaries = summarize(results)
    _say(arguments, "", *comparison(summaries))
    where = f"Both in the same guest ({results[0]['kernel']}, Linux {results[0]['kernel_release']})."
    _say(arguments, "", where)
    _write(arguments.markdown, "\n".join(markdown(summaries)) + "\n")
    _write_json(arguments, {"runs": results, "summary": summaries})
    complete = len(results) == len(runs)
    ours_ok = all(result["ok"] for result in results if result["director"] == "lvsha")
    return 0 if complete and ours_ok else 1


def _demo(arguments: argparse.Namespace) -> int:
    from lvsha.lab.play import Orders
    from lvsha.lab.report import demo_table
    from lvsha.lab.settings import DirectorKind, RunSettings
    from lvsha.lab.topology import Method

    began = time.monotonic()
    kinds = [DirectorKind.LVSHA]
    if shutil.which("keepalived"):
        kinds.append(DirectorKind.KEEPALIVED)
    runs = tuple(
        RunSettings(scenario="demo", director=kind, method=Method(arguments.method), crash_after_s=0.3)
        for kind in kinds
    )
    status, results = _guest(arguments, Orders(runs=runs), 120.0)
    if not results:
        return status or 1
    _say(arguments, "", *demo_table(results))
    if len(kinds) == 1:
        _say(arguments, "", "keepalived is not installed, so there is nothing to compare with.")
    ours = results[0]
    verdict = (
        "No connection died that a director could save."
        if ours["ok"]
        else f"NOT as it should be: {ours['verdict']} (see {ours.get('artifacts')})"
    )
    _say(arguments, "", f"{verdict} It took {time.monotonic() - began:.0f} s.")
    _write_json(arguments, {"runs": results})
    return 0 if ours["ok"] else 1


def _shell(arguments: argparse.Namespace) -> int:
    from lvsha.lab.play import Orders

    if not sys.stdin.isatty():
        print(
            "lvsha lab: a shell needs a terminal; use `lvsha lab exec --pair lvsha -- CMD`", file=sys.stderr
        )
        return 2
    _needs_director(arguments.director)
    settings = _settings(arguments, "shell", arguments.director)
    orders = Orders(topology=settings, pair=True)
    status, _ = _guest(arguments, orders, 24 * 3600.0, interactive=True)
    return status


def _exec(arguments: argparse.Namespace) -> int:
    from lvsha.lab.guest import GuestRequest, choose_kernel, run_in_guest
    from lvsha.lab.play import Orders

    limit_s = arguments.limit if arguments.limit is not None else 24 * 3600.0
    if arguments.bare:
        request = GuestRequest(argv=tuple(arguments.command), limit_s=limit_s, memory=arguments.memory)
        return run_in_guest(request, choose_kernel(arguments.kernel))
    director = arguments.pair or "lvsha"
    settings = _settings(arguments, "exec", director)
    orders = Orders(topology=settings, pair=arguments.pair is not None, command=tuple(arguments.command))
    status, _ = _guest(arguments, orders, limit_s)
    return status


def _needs_director(director: str) -> None:
    from lvsha.lab.errors import LabError

    if director == "keepalived" and shutil.which("keepalived") is None:
        raise LabError("keepalived is not installed: apt-get install keepalived")


def _say(arguments: argparse.Namespace, *lines: str) -> None:
    data_on_stdout = "-" in (arguments.json, getattr(arguments, "markdown", None))
    stream = sys.stderr if data_on_stdout else sys.stdout
    for line in lines:
        print(line, file=stream, flush=True)


def _write_json(arguments: argparse.Namespace, document: object) -> None:
    _write(arguments.json, json.dumps(document, indent=2) + "\n")


def _write(target: str | None, text: str) -> None:
    if target == "-":
        sys.stdout.write(text)
    elif target is not None:
        with open(target, "w") as file:
            file.write(text)
