"""``lvsha config convert``: what people run today, as a configuration of lvsha, and back."""

import argparse
import glob
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from lvsha.cli.config_file import load, read
from lvsha.config.importers.convert import FORMATS, detect, to_toml, verified
from lvsha.config.importers.report import Imported, Reader, Remark
from lvsha.core.errors import LvshaError

EXAMPLE = "lvsha config convert /etc/keepalived/keepalived.conf > lvsha.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="- is stdin")
    parser.add_argument(
        "--from",
        dest="source",
        choices=("auto", *FORMATS),
        default="auto",
        help="what FILE is (default: auto, by its words)",
    )
    parser.add_argument("--to", choices=("lvsha", "keepalived", "ipvsadm"), default="lvsha")
    parser.add_argument("-o", "--output", metavar="NEW", help="write it there instead of stdout")
    parser.add_argument(
        "-i", "--config-id", metavar="ID", help="keepalived's @ID lines (default: this host's name)"
    )
    parser.add_argument("--node", help="--to: which of [directors]; default: by host name or own address")
    parser.add_argument("--json", action="store_true", help="file and report as one object")


def reader(config_id: str | None) -> Reader:
    """One that reads included files from this machine's disk."""
    return Reader(
        _find,
        config_id=os.uname().nodename.partition(".")[0] if config_id is None else config_id,
        environment=os.environ,
    )


def _find(pattern: str, including: str) -> Iterable[tuple[str, str]]:
    base = Path(including).parent
    for name in sorted(glob.glob(str(base / pattern))):
        if Path(name).is_file():
            yield name, read(name)


def imported(name: str, source: str = "auto", config_id: str | None = None) -> Imported:
    """A foreign configuration file, converted.

    Raises:
        LvshaError: it cannot be read, or nobody knows what it is.
    """
    text = read(name)
    kind = detect(text) if source == "auto" else source
    if kind is None:
        raise LvshaError(f"{name}: cannot tell what this is; say --from {'|'.join(FORMATS)}")
    return converted(name, text, kind, config_id)


def converted(name: str, text: str, kind: str, config_id: str | None = None) -> Imported:
    """What such a file says, of one of ``FORMATS``.

    Raises:
        LvshaError: a file that it includes cannot be read.
    """
    return FORMATS[kind](name, text, reader(config_id))


def main(arguments: argparse.Namespace) -> int:
    if arguments.to != "lvsha":
        return _back(arguments)
    result = imported(arguments.file, arguments.source, arguments.config_id)
    text = to_toml(result)
    remarks = verified(result, text, arguments.file)
    is_whole = not any(remark.matters for remark in remarks)
    if arguments.json:
        print(json.dumps(_as_json(result, text, remarks, ok=is_whole), indent=2))
        return 0 if is_whole else 1
    _write(arguments.output, text)
    for remark in remarks:
        mark = "!" if remark.matters else " "
        print(f"{mark} {remark.place}: {remark.fate}: {remark.keyword}: {remark.message}", file=sys.stderr)
    print(_summary(result, remarks), file=sys.stderr)
    return 0 if is_whole else 1


def _summary(result: Imported, remarks: tuple[Remark, ...]) -> str:
    matter = sum(remark.matters for remark in remarks)
    return (
        f"{result.format}: {result.carried} of {result.statements} statements carried over,"
        f" {len(remarks)} remarks" + (f"; {matter} matter, marked with !: look at each" if matter else "")
    )


def _as_json(result: Imported, text: str, remarks: tuple[Remark, ...], *, ok: bool) -> dict[str, object]:
    return {
        "format": result.format,
        "ok": ok,
        "statements": result.statements,
        "carried": result.carried,
        "remarks": [
            {
                "fate": remark.fate.value,
                "file": remark.place.file,
                "line": remark.place.line,
                "keyword": remark.keyword,
                "message": remark.message,
                "matters": remark.matters,
            }
            for remark in remarks
        ],
        "toml": text,
    }


def _back(arguments: argparse.Namespace) -> int:
    from lvsha.config.exporters.ipvsadm import to_ipvsadm
    from lvsha.config.exporters.keepalived import to_keepalived

    settings, _ = load(arguments.file, arguments.node)
    text, lost = (to_keepalived if arguments.to == "keepalived" else to_ipvsadm)(settings)
    if arguments.json:
        print(json.dumps({"format": arguments.to, "ok": not lost, "lost": lost, "text": text}, indent=2))
        return 1 if lost else 0
    _write(arguments.output, text)
    for line in lost:
        print(f"! {line}", file=sys.stderr)
    return 1 if lost else 0


def _write(name: str | None, text: str) -> None:
    if name is None:
        sys.stdout.write(text)
        return
    try:
        Path(name).write_text(text)
    except OSError as error:
        raise LvshaError(f"{name}: {error.strerror}") from None
