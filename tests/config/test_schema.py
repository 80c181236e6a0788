"""The schema describes itself, and nothing of the engines is out of its reach."""

import json
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import BaseModel

from lvsha.checker.pool import PoolMember, PoolSettings
from lvsha.checker.settings import OPTIONS_OF_KIND, CheckKind, CheckSettings, TlsOptions
from lvsha.config import schema
from lvsha.config.checks import OPTION_KEYS
from lvsha.config.findings import OTHER_WORDS
from lvsha.config.reference import TABLES, markdown
from lvsha.ipvs.model import Destination
from lvsha.sync.settings import SyncSettings
from lvsha.vrrp.settings import GarpSettings, RouterSettings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "config.md"
KEYS_OF_FIELDS = {name: key for key, name in OPTION_KEYS.items()}


def test_the_committed_reference_page_is_current() -> None:
    assert PAGE.read_text() == markdown() + "\n", (
        "run: lvsha config schema --markdown > docs/reference/config.md"
    )


def test_every_key_has_a_description() -> None:
    for _, model in TABLES:
        for key, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{key}"


def test_the_json_schema_knows_every_key() -> None:
    text = json.dumps(schema.json_schema())

    for _, model in TABLES:
        for key in model.model_fields:
            assert f'"{key}": {{' in text


def test_the_json_schema_refuses_unknown_keys() -> None:
    document = schema.json_schema()

    assert document["additionalProperties"] is False
    for name, table in document["$defs"].items():
        if table["type"] == "object":
            assert table["additionalProperties"] is False, name


@pytest.mark.parametrize("kind", CheckKind)
def test_every_option_of_a_check_type_can_be_written(kind: CheckKind) -> None:
    options = OPTIONS_OF_KIND[kind]
    for field in fields(options) if options is not None else ():
        key = KEYS_OF_FIELDS.get(field.name, field.name)
        if key == "tls" and kind in (CheckKind.HTTP, CheckKind.HTTP_PROXY):
            continue  # that is what https is
        if (kind, key) == (CheckKind.HTTP_PROXY, "redirects"):
            continue  # they lead elsewhere
        assert key in schema.Check.model_fields, f"{kind}: {field.name}"
        assert kind in schema.check_types_of(key), f"{kind}: {key}"


@pytest.mark.parametrize("key", schema.Check.model_fields)
def test_no_key_of_a_check_is_for_a_type_that_has_no_such_option(key: str) -> None:
    for kind in schema.check_types_of(key):
        options = OPTIONS_OF_KIND[CheckKind(kind)]
        names = (
            {KEYS_OF_FIELDS.get(field.name, field.name) for field in fields(options)} if options else set()
        )
        assert key in names or (key in ("username", "password") and kind in schema.HTTP_TYPES), kind


@pytest.mark.parametrize(
    ("record", "model", "renamed"),
    [
        (
            CheckSettings,
            schema.Check,
            {"kind": "type", "options": "type", "through_path": "through", "bind_port_count": "through"},
        ),
        (TlsOptions, schema.Tls, {}),
        (RouterSettings, schema.Vrrp, {"preempts": "preempt", "family": "addresses"}),
        (GarpSettings, schema.Garp, {}),
        (SyncSettings, schema.Sync, {"sysctls": "enabled", "backup_maxlen": "transport"}),
        (PoolSettings, schema.Service, {"members": "realservers", "has_sorry": "sorry"}),
        (PoolMember, schema.RealServer, {}),
        (Destination, schema.RealServer, {"tun_type": "tunnel", "tun_port": "tunnel", "tun_flags": "tunnel"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_field_of_an_engines_record_can_be_written(
    record: type, model: type[BaseModel], renamed: dict[str, str]
) -> None:
    for field in fields(record):
        assert renamed.get(field.name, field.name) in model.model_fields, field.name


def test_defaults_are_those_of_the_engines() -> None:
    """A default is written twice: beside the engine, and here with its description."""
    for record, model in (
        (CheckSettings, schema.Check),
        (GarpSettings, schema.Garp),
        (SyncSettings, schema.Sync),
    ):
        for field in fields(record):
            if field.name in model.model_fields and isinstance(field.default, int | str):
                written = model.model_fields[field.name].default
                assert (written or field.default) == field.default, f"{record.__name__}.{field.name}"


def test_words_of_other_tools_lead_to_words_of_ours() -> None:
    known = {key for _, model in TABLES for key in model.model_fields}
    known |= set(schema.Document.model_fields)
    for field in (schema.Check.model_fields["type"], schema.Service.model_fields["method"]):
        known |= {
            word.strip("'") for word in str(field.annotation).partition("[")[2].split("]")[0].split(", ")
        }
    known |= {"weight-zero"}

    assert set(OTHER_WORDS.values()) <= known
    assert not set(OTHER_WORDS) & set(schema.Document.model_fields)
