"""``lvsha config``: check, show, compare, convert and try configurations."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from lvsha.cli import config_convert, config_push
from lvsha.cli.config_file import problem_lines
from lvsha.cli.parser import Parser
from lvsha.core.errors import ConfigErrors, ConfigProblem, LvshaError

SUMMARY = "check, show, compare, convert and try configurations"

_DEFAULT_FILE = "/etc/lvsha/lvsha.toml"
_VERBS = ("check", "show", "diff", "convert", "schema", *config_push.VERBS)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="lvsha config",
        description="Check, show and compare configurations; try one on running directors (apply, push).",
        epilog="example: lvsha config check /etc/lvsha/lvsha.toml",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="|".join(_VERBS))

    def verb(name: str, text: str, example: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=text, epilog=f"example: {example}")

    check = verb(
        "check",
        "Say everything that is wrong with a file, for all directors unless --node names one.",
        "lvsha config check --strict lvsha.toml",
    )
    check.add_argument("file", nargs="?", default=_DEFAULT_FILE, help=f"default: {_DEFAULT_FILE}; - is stdin")
    check.add_argument("--strict", action="store_true", help="warnings count as problems")
    show = verb(
        "show",
        "Print the settings in force for one director, with every default, as a file that loads again.",
        "lvsha config show --node lb2 lvsha.toml",
    )
    show.add_argument("file", nargs="?", default=_DEFAULT_FILE, help=f"default: {_DEFAULT_FILE}; - is stdin")
    show.add_argument("--secrets", action="store_true", help="print passwords instead of asterisks")
    diff = verb(
        "diff",
        "Say what a reload from OLD to NEW changes, and what that does to running traffic.",
        "lvsha config diff /etc/lvsha/lvsha.toml new.toml",
    )
    diff.add_argument(
        "old", metavar="OLD", help=f"left out: {_DEFAULT_FILE}", nargs="?", default=_DEFAULT_FILE
    )
    diff.add_argument("new", metavar="NEW")
    diff.add_argument("--exit-code", action="store_true", help="exit with 1 when there are changes")
    for each in (check, show, diff):
        each.add_argument("--node", help="which of [directors]; default: by host name or own address")
        each.add_argument("--json", action="store_true", help="for programs")
    schema = verb(
        "schema",
        "Print the JSON Schema of the file, for editors.",
        "lvsha config schema > lvsha.schema.json",
    )
    schema.add_argument("--markdown", action="store_true", help="print the reference page instead")
    convert = verb(
        "convert",
        "Read the configuration of keepalived, ldirectord, ipvsadm or the LVS configure script, and print it"
        " as lvsha's; what changes or is lost goes to stderr. Exit 1: something that matters is lost.",
        config_convert.EXAMPLE,
    )
    config_convert.add_arguments(convert)
    for name, description in config_push.VERBS.items():
        config_push.add_arguments(name, verb(name, description, config_push.EXAMPLES[name]))
    return parser


def main(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    run = {
        "check": _check,
        "show": _show,
        "diff": _diff,
        "convert": config_convert.main,
        "schema": _schema,
        **dict.fromkeys(config_push.VERBS, config_push.main),
    }[arguments.verb]
    try:
        return run(arguments)
    except ConfigErrors as refusal:
        for line in problem_lines(refusal.source, refusal.problems):
            print(line, file=sys.stderr)
        return 1
    except LvshaError as error:
        print(f"lvsha config: {error}", file=sys.stderr)
        return 1


def _as_json(problems: Sequence[ConfigProblem]) -> list[dict[str, Any]]:
    return [
        {
            "line": problem.line,
            "path": problem.path,
            "message": problem.message,
            "suggestion": problem.suggestion,
        }
        for problem in problems
    ]


def _count(warnings: Sequence[ConfigProblem]) -> str:
    return f", {len(warnings)} warning{'s' if len(warnings) > 1 else ''}" if warnings else ""


def _check(arguments: argparse.Namespace) -> int:
    from lvsha.cli.config_file import native, read
    from lvsha.config.load import check, load_with_warnings, named_files

    source = arguments.file
    errors: tuple[ConfigProblem, ...] = ()
    warnings: tuple[ConfigProblem, ...] = ()
    try:
        said = read(source)
        text, _ = native(source, said)
        if text is not said:
            source = f"{source} (as `lvsha config convert` prints it)"
        if arguments.node is None:
            warnings = check(text, source)
        else:
            _, warnings = load_with_warnings(text, source, arguments.node)
        missing = [problem for name, problem in named_files(text) if not os.path.exists(name)]
        warnings = tuple(sorted((*warnings, *missing), key=lambda problem: problem.line or 0))
    except ConfigErrors as refusal:
        errors = refusal.problems
    is_fine = not errors and not (arguments.strict and warnings)
    if arguments.json:
        print(
            json.dumps(
                {
                    "file": arguments.file,
                    "ok": is_fine,
                    "errors": _as_json(errors),
                    "warnings": _as_json(warnings),
                },
                indent=2,
            )
        )
    else:
        for line in problem_lines(source, errors):
            print(line)
        for line in problem_lines(source, warnings, prefix="warning: "):
            print(line)
        if is_fine:
            print(f"{source}: fine" + _count(warnings))
    return 0 if is_fine else 1


def _show(arguments: argparse.Namespace) -> int:
    from lvsha.cli.config_file import load
    from lvsha.config.show import document, to_json, to_toml

    settings, _ = load(arguments.file, arguments.node)
    tables = document(settings, masked=not arguments.secrets)
    if arguments.json:
        print(to_json({"node": settings.node, **tables}))
    else:
        print(f"# {arguments.file} as director {settings.node} sees it, every default written out.\n")
        print(to_toml(tables), end="")
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    from lvsha.cli.config_file import load
    from lvsha.config.diff import diff, text

    old, _ = load(arguments.old, arguments.node)
    new, _ = load(arguments.new, arguments.node)
    changes = diff(old, new)
    if arguments.json:
        keys = ("kind", "path", "field", "before", "after", "effect", "advice")
        print(json.dumps([{key: getattr(change, key) for key in keys} for change in changes], indent=2))
    else:
        print(text(changes) if changes else "no changes")
    return 1 if changes and arguments.exit_code else 0


def _schema(arguments: argparse.Namespace) -> int:
    from lvsha.config.reference import markdown
    from lvsha.config.schema import json_schema

    print(markdown() if arguments.markdown else json.dumps(json_schema(), indent=2), end="\n")
    return 0
