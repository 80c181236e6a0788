"""Pydantic's errors in an operator's words.

Pydantic finds every problem at once and says where as a path; that path holds
pieces that the file does not (tags of unions, fields of a shorthand), and its
sentences speak of Python. Here the path is walked along the file's own values,
the sentence is made anew, and the key that was probably meant is looked up in
the same models.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lvsha.config.findings import Findings, did_you_mean, nearest
from lvsha.config.lines import Path
from lvsha.config.schema import SECRET_KEYS, Document

_TYPES = {
    "string_type": "has to be text in quotes",
    "int_type": "has to be a whole number",
    "int_from_float": "has to be a whole number",
    "float_type": "has to be a number",
    "bool_type": "has to be true or false, without quotes",
    "list_type": "has to be a list in [ ]",
    "dict_type": "has to be a table",
    "model_type": "has to be a table",
    "model_attributes_type": "has to be a table",
}


def value_text(value: object) -> str:
    """A value as an operator would write it, short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}..."'
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return str(value)[:60]


def locate(document: Mapping[str, Any], location: tuple[int | str, ...], *, has_new_key: bool) -> Path:
    """Pydantic's location as a path of the file.

    ``has_new_key``: the last part names a key that is not there (a missing one).
    """
    value: Any = document
    path: Path = ()
    for number, part in enumerate(location):
        is_key = isinstance(value, dict) and part in value
        if is_key or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            value = value[part]
        elif isinstance(value, dict) and has_new_key and number == len(location) - 1:
            return (*path, part)
        else:
            continue
        path = (*path, part)
    return path


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a value of this annotation can be."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Annotated:
        return _models(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [model for form in get_args(annotation) if form is not NoneType for model in _models(form)]
    return []


def _step(annotation: Any, part: int | str) -> Any:
    """The annotation of an element or key of a value with this annotation."""
    for model in _models(annotation):
        if isinstance(part, str) and part in model.model_fields:
            return model.model_fields[part].annotation
    origin = get_origin(annotation)
    if origin is Annotated:
        return _step(get_args(annotation)[0], part)
    if origin in (Union, UnionType):
        for form in get_args(annotation):
            if (found := _step(form, part)) is not None:
                return found
    if origin is list and isinstance(part, int):
        return get_args(annotation)[0]
    if origin is dict and isinstance(part, str):
        return get_args(annotation)[1]
    return None


def keys_at(path: Path) -> list[str]:
    """The keys that the table at ``path`` may have."""
    annotation: Any = Document
    for part in path:
        annotation = _step(annotation, part)
    return [key for model in _models(annotation) for key in model.model_fields]


def _home_of(key: str) -> str | None:
    """Another table that has this key, for a key in the wrong place."""
    homes = {
        "[[vrrp]]": ("vrrp", 0),
        "[[service]]": ("service", 0),
        "[sync]": ("sync",),
        "[agent]": ("agent",),
        "[ipvs]": ("ipvs",),
        "[ipvs.timeouts]": ("ipvs", "timeouts"),
        "a check": ("service", 0, "check"),
        "a realserver": ("service", 0, "realservers", 0),
    }
    for home, path in homes.items():
        if key in keys_at(path):
            return home
    return None


def _message(error: ErrorDetails, *, secret: bool) -> str:
    kind, context = error["type"], error.get("ctx", {})
    value = "the value" if secret else value_text(error["input"])
    if kind in _TYPES:
        return _TYPES[kind] if secret else f"{_TYPES[kind]}, not {value}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'|(\b\d+\b)", str(context["expected"]))
        words = [f'"{word}"' if word else number for word, number in choices]
        return f"{value} is not {' or '.join([', '.join(words[:-1]), words[-1]] if words[1:] else words)}"
    if kind == "greater_than_equal":
        return f"{value} is less than {context['ge']}"
    if kind == "less_than_equal":
        return f"{value} is more than {context['le']}"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty"
    if kind in ("too_long", "string_too_long"):
        return f"has more than {context['max_length']} {'characters' if kind[0] == 's' else 'elements'}"
    return error["msg"]


@dataclass(frozen=True, slots=True)
class Refused:
    """What of a document the schema does not take."""

    unknown: dict[Path, str | None]
    """Unknown keys, and the key of their table that was probably meant."""
    values: list[Path]
    """Everything else."""


def explain(document: Mapping[str, Any], error: ValidationError, findings: Findings) -> Refused:
    """Add every problem that pydantic found to ``findings``."""
    details = error.errors(include_url=False)
    spent: set[Path] = set()  # missing keys that a misspelt one explains
    refused = Refused({}, [])
    for detail in details:
        if detail["type"] == "extra_forbidden":
            path = locate(document, detail["loc"], has_new_key=False)
            key = str(path[-1])
            keys = keys_at(path[:-1])
            home = _home_of(key)
            # Outside of all tables the very name of a key elsewhere is no slip of the pen.
            meant = nearest(key, keys) if home is None or len(path) > 1 else None
            refused.unknown[path] = meant
            if meant is not None:
                suggestion: str | None = f'did you mean "{meant}"?'
                spent.add((*path[:-1], meant))
            elif home is not None:
                suggestion = f"it belongs to {home}"
            elif len(keys) <= 12:
                suggestion = f"known here: {', '.join(keys)}"
            else:
                suggestion = "remove it, or see lvsha config schema --markdown"
            findings.error(path, "unknown key", suggestion)
    for detail in details:
        if detail["type"] == "extra_forbidden":
            continue
        is_missing = detail["type"] == "missing"
        path = locate(document, detail["loc"], has_new_key=is_missing)
        if is_missing:
            if path not in spent:
                refused.values.append(path)
                findings.error(path, "is missing", None)
            continue
        refused.values.append(path)
        secret = any(part in SECRET_KEYS for part in path)
        suggestion = None
        if detail["type"] == "literal_error" and isinstance(detail["input"], str):
            words = re.findall(r"'([^']*)'", str(detail.get("ctx", {})["expected"]))
            suggestion = did_you_mean(detail["input"], words)
        elif detail["type"] == "int_type" and isinstance(detail["input"], str):
            if re.fullmatch("[0-9]{1,9}", detail["input"]):
                suggestion = f"write {detail['input']} without quotes"
        elif detail["type"] == "bool_type" and detail["input"] in (
            "true",
            "false",
            "yes",
            "no",
            "on",
            "off",
            0,
            1,
        ):
            is_true = detail["input"] in ("true", "yes", "on", 1)
            suggestion = f"write {'true' if is_true else 'false'}"
        findings.error(path, _message(detail, secret=secret), suggestion)
    return refused
