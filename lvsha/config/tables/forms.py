"""Values and tables that may be written in more than one form."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, GetCoreSchemaHandler, GetJsonSchemaHandler, Tag
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

T = TypeVar("T")

EACH = "<each>"
ONE = "<one>"
"""Tags of ``PerDirector``'s two forms; they turn up in pydantic's paths and are taken out again."""


def _form(value: object) -> str:
    return EACH if isinstance(value, dict) else ONE


PerDirector = Annotated[
    Annotated[T, Tag(ONE)] | Annotated[dict[str, T], Tag(EACH)],
    Discriminator(_form),
]
"""One value for all directors, or a table of values by director."""


class Shorthand:
    """A table that may be written as the text of one of its keys: ``check = "tcp"``."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def expand(value: object) -> object:
            return {self.key: value} if isinstance(value, str) else value

        return core_schema.no_info_before_validator_function(expand, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "title": self.key}, handler(schema)]}


class Several:
    """A list that may be written as its only element: ``protocol = "tcp"``."""

    @staticmethod
    def __get_pydantic_core_schema__(source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def expand(value: object) -> object:
            return value if isinstance(value, list) else [value]

        return core_schema.no_info_before_validator_function(expand, handler(source))

    @staticmethod
    def __get_pydantic_json_schema__(schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        inner = handler(schema)
        return {"anyOf": [inner["items"], inner]}


def _truth_or_table(value: object) -> object:
    return {} if value is True else None if value is False else value


class TruthOrTable:
    """A table whose defaults may be written as ``true``, and its absence as ``false``."""

    @staticmethod
    def __get_pydantic_core_schema__(source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_truth_or_table, handler(source))

    @staticmethod
    def __get_pydantic_json_schema__(schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        inner = handler(schema)
        tables = [form for form in inner.get("anyOf", [inner]) if form.get("type") != "null"]
        return {"anyOf": [{"type": "boolean"}, *tables]}


class Table(BaseModel):
    """Unknown keys are refused, types are not guessed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _word_or_number(value: object) -> str:
    return "<word>" if isinstance(value, str) else "<number>"
