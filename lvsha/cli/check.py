"""``lvsha check``: ask a realserver by hand as a director would, and see what it costs."""

import argparse
import asyncio
import json
import re
import socket
import sys
import threading
import time
import tomllib
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from lvsha.checker.explain import explain, secrets_of
from lvsha.checker.result import ProbeResult, Reason
from lvsha.checker.settings import TLS_KINDS, CheckKind, CheckSettings
from lvsha.cli.parser import Parser
from lvsha.config.schema import HTTP_TYPES
from lvsha.core.addr import Address
from lvsha.core.errors import ConfigErrors, LvshaError
from lvsha.core.instant import to_seconds
from lvsha.io.probes.recorder import Heard, Recorder

SUMMARY = "ask a realserver by hand as a director would, and see what checks cost"

DEFAULT_PORTS = {
    "http": 80,
    "https": 443,
    "http-proxy": 3128,
    "smtp": 25,
    "dns": 53,
    "redis": 6379,
    "ftp": 21,
    "imap": 143,
    "imaps": 993,
    "pop": 110,
    "pops": 995,
    "nntp": 119,
    "sip": 5060,
    "mysql": 3306,
    "postgresql": 5432,
    "ldap": 389,
    "ldaps": 636,
    "radius": 1812,
    "grpc": 50051,
}
_SPEC = re.compile(r"([a-z-]+)://(\[[0-9A-Fa-f:.%a-z0-9]+\]|[^/:?\[\]]+)(?::([0-9]+))?(/.*)?", re.DOTALL)
_RESOLVE_S = 10.0
_SHOWN = 400
"""Bytes of an entry that people are shown; ``--json`` has 4,096."""

Json = dict[str, Any]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="lvsha check",
        description="Health checks by hand. Exit 0: up; 1: down, or a refusal; 2: wrong usage.",
        epilog="example: lvsha check run http://10.0.0.11/health status=200 body_regex=ok",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="run|bench")
    run = verbs.add_parser(
        "run",
        help="one check, once, explained",
        description=(
            "Run one check once and explain it: what was asked, how long each phase took, what was "
            "expected, what came, the verdict."
        ),
        epilog=(
            "examples: lvsha check run https://www.example.com/ tls.expiry_warning=14d; "
            "lvsha check run tcp://10.0.0.11:25 expect=220; lvsha check run -f lvsha.toml web/10.0.0.11:80"
        ),
    )
    run.add_argument(
        "spec",
        metavar="SPEC",
        help="TYPE://HOST[:PORT][/PATH], or with -f SERVICE/REALSERVER",
    )
    run.add_argument(
        "options",
        metavar="KEY=VALUE",
        nargs="*",
        help="any key of `check` in the file: timeout=2s status=200 tls.verify=false",
    )
    run.add_argument("-f", "--file", help="take the check from this configuration")
    run.add_argument("--node", help="which of its [directors] we are")
    run.add_argument(
        "-4", dest="family", action="store_const", const=4, help="names have IPv4 addresses only"
    )
    run.add_argument(
        "-6", dest="family", action="store_const", const=6, help="names have IPv6 addresses only"
    )
    run.add_argument("--json", action="store_true", help="one JSON object a check")
    bench = verbs.add_parser(
        "bench",
        help="what checks cost on this machine",
        description=(
            "Check many addresses of 127/8 for a while, with a small server of our own behind them (or "
            "--at another place), and say what it costs per check, how late the loop was and how much "
            "memory it took. Nothing but loopback traffic is made without --at."
        ),
        epilog="example: lvsha check bench --type http --targets 2000 --interval 1 --seconds 10",
    )
    bench.add_argument("--type", choices=("http", "tcp", "ping"), default="http")
    bench.add_argument("--targets", type=int, default=2000, help="how many (2000)")
    bench.add_argument("--interval", type=float, default=1.0, metavar="S", help="of each, seconds (1)")
    bench.add_argument("--seconds", type=float, default=10.0, metavar="S", help="of measuring (10)")
    bench.add_argument(
        "--workers", type=int, default=0, help="processes; 0: in the loop itself, as a default"
    )
    bench.add_argument("--services", type=int, default=1, help="that each realserver is in (1)")
    bench.add_argument("--port", type=int, help="somebody else serves 127/8 at this port")
    bench.add_argument("--at", metavar="ADDRESS:PORT", help="all checks go there instead")
    bench.add_argument("--json", action="store_true", help="one JSON object")
    return parser


def main(argv: list[str]) -> int:
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and (arguments.verb != "run" or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if arguments.verb == "bench":
        from lvsha.cli.check_bench import bench

        return bench(arguments)
    arguments.options += rest  # argparse takes no KEY=VALUE behind an option
    return _run(arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One check to run."""

    settings: CheckSettings
    name: str
    dns_s: float | None = None
    """How long the name took; None: it was an address."""


def _run(arguments: argparse.Namespace) -> int:
    try:
        asked = (
            _of_file(arguments.file, arguments.node, arguments.spec)
            if arguments.file is not None
            else [_of_spec(arguments.spec, arguments.options, arguments.family)]
        )
        if arguments.file is not None and arguments.options:
            raise UsageError("KEY=VALUE does not go with -f: the file says how")
    except UsageError as error:
        print(f"lvsha check run: {error}", file=sys.stderr)
        return 2
    except Unresolvable as error:
        _say_unresolvable(error, as_json=arguments.json)
        return 1
    except ConfigErrors as error:
        for problem in error.problems:
            where = re.sub(r"^service\[0\]\.realservers\[0\]\.(check\.)?", "", problem.path)
            hint = f" ({problem.suggestion})" if problem.suggestion else ""
            print(f"lvsha check run: {where}: {problem.message}{hint}", file=sys.stderr)
        return 2
    except LvshaError as error:
        print(f"lvsha check run: {error}", file=sys.stderr)
        return 1
    good = True
    for each in asked:
        recorder = Recorder()
        result = asyncio.run(_probe(each.settings, recorder))
        good = good and result.ok
        report = describe(each, result, recorder.entries)
        print(json.dumps(report) if arguments.json else render(report))
    return 0 if good else 1


async def _probe(settings: CheckSettings, recorder: Recorder) -> ProbeResult:
    from lvsha.io.probes.runner import probe_once

    if settings.kind in (CheckKind.ON, CheckKind.OFF):
        is_on = settings.kind is CheckKind.ON
        return ProbeResult(ok=is_on, reason=Reason.OK if is_on else Reason.TOLD_DOWN, detail="configured")
    return await probe_once(settings, listen=recorder.listen)


# From words to settings


class UsageError(LvshaError):
    """What was typed means nothing."""


class Unresolvable(LvshaError):
    """A name has no address."""

    def __init__(self, name: str, words: str, took_s: float) -> None:
        super().__init__(f"{name}: {words}")
        self.name = name
        self.words = words
        self.took_s = took_s


def _of_spec(spec: str, options: list[str], family: int | None) -> Asked:
    from lvsha.config.load import loads
    from lvsha.config.show import to_toml

    match = _SPEC.fullmatch(spec)
    if match is None:
        raise UsageError(f"{spec!r} is not TYPE://HOST[:PORT][/PATH]; with -f FILE it is SERVICE/REALSERVER")
    kind, host, port_text, path = match[1], match[2].strip("[]"), match[3], match[4]
    table: Json = {"type": kind}
    port = int(port_text) if port_text else DEFAULT_PORTS.get(kind)
    if port is not None:
        table["port"] = port
    if path is not None and kind in ("http", "https", "file"):
        table["path"] = path
    for option in options:
        key, separator, text = option.partition("=")
        if not separator:
            raise UsageError(f"{option!r} is not KEY=VALUE")
        _put(table, key.split("."), _value(text), whole=option)
    began = time.monotonic()
    address, is_name = _resolve(host, family)
    dns_s = time.monotonic() - began if is_name else None
    if is_name and kind in HTTP_TYPES[:2]:
        standard = DEFAULT_PORTS[kind]
        table.setdefault("host", host if port == standard else f"{host}:{port}")
    elif is_name and (kind in TLS_KINDS or table.get("starttls") or isinstance(table.get("tls"), dict)):
        tls = table.setdefault("tls", {})
        if isinstance(tls, dict):
            tls.setdefault("server_name", host)
    document = {
        "sync": {"enabled": False},
        "service": [
            {
                "fwmark": 1,
                "family": address.version,
                "realservers": [{"address": str(address), "check": table}],
            }
        ],
    }
    check = loads(to_toml(document), "SPEC", "check").services[0].realservers[0].check
    if check is None:
        check = CheckSettings(kind=CheckKind.ON, address=address)
    return Asked(settings=check, name=host, dns_s=dns_s)


def _put(table: Json, keys: list[str], value: Any, *, whole: str) -> None:
    for key in keys[:-1]:
        inner = table.setdefault(key, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{whole!r}: {key} is no table")
        table = inner
    table[keys[-1]] = value


def _value(text: str) -> Any:
    """As TOML writes it, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _resolve(host: str, family: int | None) -> tuple[Address, bool]:
    try:
        return ip_address(host), False
    except ValueError:
        pass
    found: list[str] = []
    failed: list[str] = []

    def ask() -> None:
        wanted = {4: socket.AF_INET, 6: socket.AF_INET6, None: socket.AF_UNSPEC}[family]
        try:
            answers = socket.getaddrinfo(host, None, wanted, socket.SOCK_STREAM)
            found.append(str(answers[0][4][0]))
        except (OSError, UnicodeError) as error:
            failed.append(getattr(error, "strerror", None) or str(error))

    began = time.monotonic()
    # A resolver may take minutes and cannot be told to stop; a daemon thread is left behind.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_RESOLVE_S)
    if found:
        return ip_address(found[0]), True
    words = failed[0] if failed else f"no answer within {_RESOLVE_S:g} s"
    raise Unresolvable(host, words, time.monotonic() - began)


def _of_file(name: str, node: str | None, target: str) -> list[Asked]:
    from lvsha.cli.config_file import load

    settings, _ = load(name, node)
    names = []
    for service in settings.services:
        for realserver in service.realservers:
            names.append(f"{service.name}/{realserver.name}")
            if target == names[-1]:
                if not realserver.checks:
                    raise LvshaError(f"{target} is not checked: its check is on")
                return [Asked(settings=check, name=realserver.name) for check in realserver.checks]
    import difflib

    near = difflib.get_close_matches(target, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names[:5]) or 'none'}"
    raise UsageError(f"{name} has no realserver {target!r}: {hint}")


# What is said


def _ms(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else round(nanoseconds / 1e6, 3)


def describe(asked: Asked, result: ProbeResult, entries: list[Heard]) -> Json:
    """All of it, as ``--json`` prints it."""
    settings, timings = asked.settings, result.timings
    asks, expects = explain(settings)
    first = timings.first_byte
    is_talk = timings.connected is not None
    reached = timings.tls if timings.tls is not None else timings.connected
    secrets = secrets_of(settings)
    return {
        "target": settings.target(),
        "name": asked.name,
        "asks": asks,
        "expects": expects,
        "ok": result.ok,
        "reason": str(result.reason),
        "detail": result.detail,
        "ours": result.ours,
        "warning": result.warning,
        "weight": result.weight,
        "percent": result.percent,
        "timeout_s": to_seconds(settings.timeout),
        "phases_ms": {
            "dns": None if asked.dns_s is None else round(asked.dns_s * 1000, 3),
            "connect": _ms(timings.connected),
            "tls": _ms(timings.tls - (timings.connected or 0)) if timings.tls is not None else None,
            "first_byte": _ms(first - (reached or 0)) if first is not None else None,
            "body": _ms(timings.total - first) if first is not None and is_talk else None,
            "total": _ms(timings.total),
        },
        "lag_ms": _ms(result.lag),
        "exchange": [
            {
                "at_ms": _ms(entry.at),
                "what": entry.what,
                "bytes": entry.size,
                "text": _shown(entry.data, secrets),
            }
            for entry in entries
        ],
    }


def _shown(data: bytes, secrets: tuple[bytes, ...]) -> str:
    for secret in secrets:
        data = data.replace(secret, b"********")
    text = data.decode("utf-8", "replace")
    return "".join(c if c.isprintable() or c in "\r\n\t" else f"\\x{ord(c):02x}" for c in text)


_PHASES = {
    "dns": "the name's address",
    "connect": "connection",
    "tls": "TLS handshake",
    "first_byte": "first byte of the answer",
    "body": "the rest of it",
    "total": "altogether",
}


def render(report: Json) -> str:
    """For people."""
    lines = [
        report["target"] + (f" ({report['name']})" if report["name"] not in report["target"] else ""),
        f"  asks      {report['asks']}",
        f"  expects   {report['expects']}",
    ]
    for phase, words in _PHASES.items():
        took = report["phases_ms"][phase]
        if took is not None:
            of = f" of {report['timeout_s'] * 1000:g} ms" if phase == "total" else ""
            lines.append(f"  {took:9.3f} ms  {words}{of}")
    for entry in report["exchange"]:
        if entry["what"] in ("sent", "received"):
            shown = entry["text"][:_SHOWN]
            more = f" ... {entry['bytes']} bytes" if len(entry["text"]) > len(shown) else ""
            lines.append(f"  {entry['at_ms']:9.3f} ms  {entry['what']} {entry['bytes']} bytes")
            lines += [
                f"      {'>' if entry['what'] == 'sent' else '<'} {line}" for line in shown.splitlines()
            ]
            lines += [f"      {more.strip()}"] if more else []
        elif entry["what"] != "connected":
            lines.append(f"  {entry['at_ms']:9.3f} ms  {entry['what']}")
    said = "up" if report["ok"] else "down"
    whose = ", our own failure" if report["ours"] else ""
    detail = f": {report['detail']}" if report["detail"] else ""
    lines.append(f"verdict: {said} ({report['reason']}{whose}){detail}")
    for key, words in (("weight", "weight {}"), ("percent", "{} % of its weight")):
        if report[key] is not None:
            lines.append(f"  asks for {words.format(report[key])}")
    if report["warning"]:
        lines.append(f"warning: {report['warning']}")
    return "\n".join(lines)


def _say_unresolvable(error: Unresolvable, *, as_json: bool) -> None:
    if as_json:
        report = {
            "target": error.name,
            "ok": False,
            "reason": str(Reason.UNRESOLVABLE),
            "detail": error.words,
            "ours": False,
            "phases_ms": {"dns": round(error.took_s * 1000, 3)},
        }
        print(json.dumps(report))
    else:
        print(f"{error.name}\n  {error.took_s * 1000:9.3f} ms  the name's address")
        print(f"verdict: down ({Reason.UNRESOLVABLE}): {error.words}")
