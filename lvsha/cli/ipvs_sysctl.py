"""``lvsha ipvs sysctl``: the kernel's IPVS settings, what they are, and what we would set."""

import argparse
import difflib
import json
import sys
import textwrap
from typing import Any

from lvsha.cli.parser import Parser
from lvsha.core.errors import KernelError
from lvsha.io.sysctl import read_sysctl
from lvsha.ipvs.sysctls import BY_NAME, SETTINGS, Setting

PREFIX = "net.ipv4.vs."
_EPILOG = """\
A value that differs from our advice is marked *. `[ipvs.sysctl]` in lvsha.toml sets these while a
director runs, and puts back what was there. Exit status: 0, 1 no such setting here, 2 wrong usage.

example: lvsha ipvs sysctl drop_entry expire_nodest_conn
"""


def main(argv: list[str]) -> int:
    parser = Parser(
        prog="lvsha ipvs sysctl",
        description="The kernel's IPVS settings: what each does, its value here, and our advice.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="explain these; none: all, a line each")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    names = [name.removeprefix(PREFIX) for name in options.names]
    for name in names:
        if name not in BY_NAME:
            near = difflib.get_close_matches(name, BY_NAME, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; `lvsha ipvs sysctl` lists them"
            print(f"lvsha ipvs sysctl: there is no setting {name!r}{hint}", file=sys.stderr)
            return 1
    chosen = [BY_NAME[name] for name in names] or list(SETTINGS)
    values = {setting.name: _value(setting) for setting in chosen}
    if options.json:
        print(json.dumps([as_json(setting, values[setting.name]) for setting in chosen]))
    elif names:
        for setting in chosen:
            print("\n".join(explanation(setting, values[setting.name])))
    else:
        print("\n".join(table(chosen, values)))
    return 0


def _value(setting: Setting) -> str | None:
    """None: this kernel has none of it."""
    try:
        return read_sysctl(PREFIX + setting.name)
    except KernelError:
        return None


def differs(setting: Setting, value: str | None) -> bool:
    return bool(setting.advice) and value is not None and value.split() != setting.advice.split()


def as_json(setting: Setting, value: str | None) -> dict[str, Any]:
    return {
        "name": PREFIX + setting.name,
        "value": value,
        "default": setting.default or None,
        "advice": setting.advice or None,
        "differs": differs(setting, value),
        "does": setting.does,
        "why": setting.why or None,
    }


def table(settings: list[Setting], values: dict[str, str | None]) -> list[str]:
    """One line each."""
    lines = [f"{'NAME':<26} {'VALUE':>12} {'DEFAULT':>8} {'ADVICE':>8}  DOES"]
    for setting in settings:
        value = values[setting.name]
        mark = "*" if differs(setting, value) else " "
        shown = "-" if value is None else value
        does = textwrap.shorten(setting.does, 70, placeholder=" ...")
        lines.append(f"{setting.name:<26} {shown:>11}{mark} {setting.default:>8} {setting.advice:>8}  {does}")
    return lines


def explanation(setting: Setting, value: str | None) -> list[str]:
    """A paragraph."""
    here = "this kernel does not have it (is ip_vs loaded?)" if value is None else f"is {value} here"
    default = f", the kernel's default is {setting.default}" if setting.default else ""
    lines = [
        f"{PREFIX}{setting.name} {here}{default}",
        *textwrap.wrap(setting.does, 96, initial_indent="  ", subsequent_indent="  "),
    ]
    if setting.advice or setting.why:
        text = " ".join(
            filter(None, (f"We would set {setting.advice}." if setting.advice else "", setting.why))
        )
        lines += textwrap.wrap(text, 96, initial_indent="  ", subsequent_indent="  ")
    return lines
