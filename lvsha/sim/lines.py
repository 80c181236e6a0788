"""Outputs as lines that a human reviews: of transcripts, failures, replays."""

from dataclasses import fields

from lvsha.core.instant import Instant, to_seconds
from lvsha.core.machine import Output


def line(now: Instant, node: str, output: Output) -> str:
    """One line of a transcript: ``3.609 b became_master reason=master_down after=3.609s``."""
    parts = [f"{to_seconds(now):.3f}", node, _snake(type(output).__name__)]
    for each in fields(output):  # type: ignore[arg-type]  # every output is a dataclass
        value = getattr(output, each.name)
        if each.name == "router" or (each.name == "again" and not value):
            continue
        if each.name in ("after", "again", "late", "lease", "advert_interval"):
            value = f"{to_seconds(value):g}s"
        elif isinstance(value, tuple):
            value = ",".join(map(str, value)) or "none"
        elif isinstance(value, bytes):
            value = value.hex(":")
        elif isinstance(value, str) and (" " in value or not value):
            value = f'"{value}"'
        parts.append(f"{each.name}={value}")
    return " ".join(parts)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
