"""Any of the known formats to a file of lvsha's own, with a report."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from lvsha.config.importers.ipvsadm_rules import convert_ipvsadm
from lvsha.config.importers.keepalived import convert_keepalived
from lvsha.config.importers.ldirectord import convert_ldirectord
from lvsha.config.importers.lvs_conf import convert_lvs_conf
from lvsha.config.importers.report import Fate, Imported, Place, Reader, Remark
from lvsha.config.load import check
from lvsha.config.show import block_text
from lvsha.core.errors import ConfigErrors

FORMATS: Final[Mapping[str, Callable[[str, str, Reader], Imported]]] = {
    "keepalived": convert_keepalived,
    "ldirectord": convert_ldirectord,
    "ipvsadm": convert_ipvsadm,
    "lvs-conf": convert_lvs_conf,
}

_SIGNS: Final = (
    ("lvs-conf", re.compile(r"^\s*(LVS_TYPE|SERVICE)\s*=", re.MULTILINE)),
    ("ipvsadm", re.compile(r"^\s*(ipvsadm\s+)?(-A|--add-service)\s", re.MULTILINE)),
    ("ldirectord", re.compile(r"^\s*virtual6?\s*=", re.MULTILINE)),
    (
        "keepalived",
        re.compile(
            r"^\s*(@\S+\s+)?(global_defs|vrrp_\w+|virtual_server\w*|include\w?|static_\w+|\$\w+=|net_namespace\w*)",
            re.MULTILINE,
        ),
    ),
)


def detect(text: str) -> str | None:
    """The format of a file by its words."""
    return next((name for name, sign in _SIGNS if sign.search(text)), None)


def to_toml(imported: Imported) -> str:
    """The new file, each part with the place that it comes from."""
    parts = [
        f"# Made by `lvsha config convert` from {imported.format}. Look at the report before you use it.\n"
    ]
    for block in imported.blocks:
        lines = [f"# {block.place}"] if block.place is not None else []
        lines += [f"# {note}" for note in block.notes]
        header = f"[[{block.header}]]" if block.many else f"[{block.header}]"
        parts.append("\n".join([*lines, block_text(header, block.table)]))
    return "\n".join(parts)


def verified(imported: Imported, text: str, name: str) -> tuple[Remark, ...]:
    """The remarks, and those of lvsha's own check on the new file."""
    place = Place(file=name, line=1)
    try:
        warnings = check(text, name)
    except ConfigErrors as refusal:
        found = [
            Remark(
                fate=Fate.SUSPICIOUS,
                place=place if problem.line is None else _place(text, problem.line, place),
                keyword=problem.path,
                message=f"{problem.message}{f' ({problem.suggestion})' if problem.suggestion else ''}:"
                " lvsha refuses this part, change it by hand",
                matters=True,
            )
            for problem in refusal.problems
        ]
    else:
        found = [
            Remark(
                fate=Fate.SUSPICIOUS,
                place=place if problem.line is None else _place(text, problem.line, place),
                keyword=problem.path,
                message=f"{problem.message}{f' ({problem.suggestion})' if problem.suggestion else ''}",
            )
            for problem in warnings
        ]
    return (*imported.remarks, *found)


def _place(text: str, line: int, default: Place) -> Place:
    """Where the part of the new file came from: the last ``# file:line`` above it."""
    for above in reversed(text.splitlines()[:line]):
        if match := re.fullmatch(r"# (.+):(\d+)", above):
            return Place(file=match[1], line=int(match[2]))
        if above.startswith("[") and not above.startswith("[["):
            continue
    return default
