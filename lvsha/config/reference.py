"""The reference page of the configuration, made from the schema so that it cannot lie."""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from lvsha.config import schema
from lvsha.config.schema import check_types_of
from lvsha.config.tables.values import duration_text

_HEAD = """\
# Configuration file

<!-- Made by `lvsha config schema --markdown`; change lvsha/config/schema.py instead. -->

`/etc/lvsha/lvsha.toml`, in [TOML](https://toml.io). One file serves all directors: copy it as it is.
Where the machines differ, a value may be given by director: `interface = { lb1 = "eth0", lb2 = "ens3" }`
(marked *by director* below).

Durations are text like `"100ms"`, `"1.5s"`, `"5m"`, `"2h"`, `"1d"`, or a number of seconds. Addresses are
written as they are: names are not resolved, so that a director never waits for a name server.

`lvsha config check FILE` says everything that is wrong with a file, with its line; `lvsha config show FILE`
prints it with every default; `lvsha config schema` is the JSON Schema for editors. Examples:
[docs/examples](../examples/).
"""

TABLES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("[directors]", schema.Director),
    ("[[vrrp]]", schema.Vrrp),
    ("garp", schema.Garp),
    ("track", schema.Track),
    ("paths", schema.HeartbeatPath),
    ("routes", schema.Route),
    ("rules", schema.Rule),
    ("[[service]]", schema.Service),
    ("realservers", schema.RealServer),
    ("sorry", schema.Sorry),
    ("tunnel", schema.Tunnel),
    ("check", schema.Check),
    ("tls", schema.Tls),
    ("[sync]", schema.Sync),
    ("[sync.relay]", schema.Relay),
    ("[ipvs.timeouts]", schema.Timeouts),
    ("[agent]", schema.Agent),
    ("[api]", schema.Api),
    ("[[alert]]", schema.Alert),
    ("mail", schema.Mail),
)
"""In the order of the page; ``[ipvs.sysctl]`` and ``[defaults]`` are told in words."""


def markdown() -> str:
    """The whole page."""
    json_schema = schema.json_schema()
    parts = [_HEAD]
    for header, model in TABLES:
        parts.append(f"## `{header}`\n\n{_prose(model)}\n\n" + "\n".join(_rows(model, json_schema)) + "\n")
        if header == "[[vrrp]]":
            parts.append(_defaults("vrrp", schema.VrrpDefaults))
        elif header == "[[service]]":
            parts.append(_defaults("service", schema.ServiceDefaults))
        elif header == "check":
            parts.append("`[defaults.check]` takes all of them, for every check without its own.\n")
        elif header == "[ipvs.timeouts]":
            parts.append(_sysctl())
    return "\n".join(parts)


def _prose(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _defaults(name: str, model: type[BaseModel]) -> str:
    keys = ", ".join(f"`{key}`" for key in model.model_fields)
    return f"`[defaults.{name}]` takes these of them, for every `[[{name}]]` without its own: {keys}.\n"


def _sysctl() -> str:
    names = ", ".join(f"`{name}`" for name in schema.SYSCTLS)
    description = schema.Ipvs.model_fields["sysctl"].description
    return f"## `[ipvs.sysctl]`\n\n{description}\n\nKnown: {names}.\n"


def _rows(model: type[BaseModel], json_schema: Mapping[str, Any]) -> Iterator[str]:
    properties = json_schema["$defs"][model.__name__]["properties"]
    is_check = model is schema.Check
    yield "| key | type | default |" + (" for |" if is_check else "") + " |"
    yield "|---|---|---|" + ("---|" if is_check else "") + "---|"
    for key, field in _ordered(model):
        cells = [
            f"`{key}`",
            _cell(_type(properties[key], json_schema)),
            _cell(_default(field, properties[key])),
            *([" ".join(check_types_of(key)) or "all"] if is_check else []),
            _cell(field.description or ""),
        ]
        yield "| " + " | ".join(cells) + " |"


def _ordered(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    """What is needed first, then what is the table's own, then what `[defaults]` may hold as well."""
    own = model.__annotations__
    return sorted(
        model.model_fields.items(), key=lambda item: (not item[1].is_required(), item[0] not in own)
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(field: FieldInfo, form: Mapping[str, Any]) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "**needed**"
    if value is None or isinstance(value, BaseModel) or value in ([], {}):
        return ""
    if _is_duration(form) and isinstance(value, int):
        return f'`"{duration_text(value)}"`'
    return f"`{_literal(value)}`"


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    if isinstance(value, str | Enum):
        return f'"{value}"'
    return str(value)


def _is_duration(form: Mapping[str, Any]) -> bool:
    forms = [form, *form.get("oneOf", ()), *form.get("anyOf", ())]
    return any(each.get("title") == "duration" for each in forms)


def _type(form: Mapping[str, Any], json_schema: Mapping[str, Any]) -> str:
    """A JSON Schema in a few words."""
    if "$ref" in form:
        return "table"
    if "const" in form:
        return f"`{_literal(form['const'])}`"
    if "enum" in form:
        return " ".join(f"`{_literal(value)}`" for value in form["enum"])
    if "allOf" in form:
        return _type(form["allOf"][0], json_schema)
    is_named = (
        form.get("title", "").islower() or "/" in form.get("title", "") or "IP" in form.get("title", "")
    )
    if is_named and form.get("type") != "integer":
        return str(form["title"])
    if "oneOf" in form or "anyOf" in form:
        forms = form.get("oneOf", form.get("anyOf", ()))
        words = [_type(each, json_schema) for each in forms if each.get("type") != "null"]
        if len(forms) == 2 and any(_is_each(each) for each in forms):
            return f"{words[0]}, by director"
        return " or ".join(dict.fromkeys(word for word in words if word != "by director"))
    if _is_each(form):
        return "by director"
    kind = form.get("type")
    if kind == "array":
        return f"list of {_type(form['items'], json_schema)}"
    if kind == "object":
        return "table"
    if kind == "boolean":
        return "true, false"
    if kind == "integer":
        low, high = form.get("minimum"), form.get("maximum")
        if low is None:
            return "number"
        return f"{low}-{high}" if high is not None and high < 1 << 31 else f"number from {low}"
    return "text" if kind == "string" else str(kind)


def _is_each(form: Mapping[str, Any]) -> bool:
    return form.get("type") == "object" and "additionalProperties" in form and "title" not in form
