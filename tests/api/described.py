"""Requests made of the OpenAPI document, sound and unsound, and what the document says of answers."""

import json
import math
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from lvsha.api.openapi import document

DOCUMENT = document()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]

PASSED_ON = {"/v1/peer"}
"""Their body holds a question to somebody else; which questions there are, no schema of theirs says."""

NAMES = ("web", "api", "rs11", "web/rs12", "10.0.0.11", "10.0.0.11:80", "eth0-51", "10.0.0.100", "oncall")
TEXT = st.one_of(st.sampled_from(NAMES), st.text(max_size=20))

JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
"""Any JSON, and what Python's writer makes of NaN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    described: dict[str, Any]

    @property
    def body(self) -> dict[str, Any] | None:
        """The schema of what it takes."""
        if "requestBody" not in self.described:
            return None
        return dict(self.described["requestBody"]["content"]["application/json"]["schema"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    operation: Operation
    target: str
    """Path and query, quoted."""
    body: bytes | None
    is_sound: bool
    """The document allows it."""


OPERATIONS = tuple(
    Operation(method=method.upper(), path=path, described=described)
    for path, methods in DOCUMENT["paths"].items()
    for method, described in methods.items()
)


def values(schema: dict[str, Any]) -> SearchStrategy[Any]:
    """What a schema allows; of the words that Pydantic's schemas of our bodies use."""
    if "$ref" in schema:
        return values(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return st.one_of(*map(values, schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "array":
            return st.lists(values(schema["items"]), max_size=3)
        case "object":
            if schema.get("additionalProperties") is not False:
                return st.dictionaries(TEXT, JUNK, max_size=3)
            needed = set(schema.get("required", ()))
            parts = {name: values(part) for name, part in schema.get("properties", {}).items()}
            return st.fixed_dictionaries(
                {name: part for name, part in parts.items() if name in needed},
                optional={name: part for name, part in parts.items() if name not in needed},
            )
        case "string":
            low, high = schema.get("minLength", 0), schema.get("maxLength", 40)
            if "pattern" in schema:
                return st.from_regex(schema["pattern"]).filter(lambda text: low <= len(text) <= high)
            names = [name for name in NAMES if low <= len(name) <= high]
            return st.one_of(st.sampled_from(names), st.text(min_size=low, max_size=min(high, 40)))
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            low, high = schema.get("exclusiveMinimum"), schema.get("maximum")
            return st.floats(low, high, exclude_min=low is not None, allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    raise AssertionError(f"a word of the schema that this does not know: {schema}")


@st.composite
def unsound(draw: st.DrawFn, schema: dict[str, Any]) -> bytes:
    """Bytes that are no JSON, another shape, a key too much, a value of another type."""
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return draw(st.binary(min_size=1, max_size=40))
    if kind == 1:
        return json.dumps(draw(JUNK)).encode(errors="surrogatepass")
    sound = draw(values(schema))
    if kind == 2 or not sound:
        return json.dumps({**sound, draw(TEXT): draw(JUNK)}).encode(errors="surrogatepass")
    name = draw(st.sampled_from(sorted(sound)))
    return json.dumps({**sound, name: draw(JUNK)}).encode(errors="surrogatepass")


def requests(operation: Operation) -> SearchStrategy[Request]:
    """Sound ones and others."""
    return st.booleans().flatmap(lambda is_sound: _requests(operation, is_sound))


@st.composite
def _requests(draw: st.DrawFn, operation: Operation, is_sound: bool) -> Request:
    path, query = operation.path, []
    for parameter in operation.described.get("parameters", ()):
        kind, is_needed = parameter["schema"]["type"], parameter["required"]
        numbers = st.floats(-1e14, 1e14).map(repr) if kind == "number" else st.integers(0, 10**9).map(str)
        sound = TEXT if kind == "string" else numbers
        text = draw(sound if is_sound else st.one_of(TEXT, st.floats().map(repr)))
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(text or "x", safe=""))
        elif is_needed and is_sound:
            query.append((parameter["name"], text or "x"))
        elif draw(st.booleans()):
            query.append((parameter["name"], text))
    if not is_sound and draw(st.booleans()):
        query.append((draw(TEXT), draw(TEXT)))
    body = None
    if operation.body is not None:
        made = values(operation.body).map(lambda value: json.dumps(value).encode())
        body = draw(made if is_sound else unsound(operation.body))
    target = path + (f"?{urlencode(query, errors='replace')}" if query else "")
    return Request(operation=operation, target=target, body=body, is_sound=is_sound)


def faults(request: Request, status: int, media: str, body: bytes) -> list[str]:
    """What of an answer is not as described."""
    described = request.operation.described["responses"]
    found = []
    if str(status) not in described:
        return [f"the status {status} is not described: {body[:300]!r}"]
    if status == 400 and request.is_sound and request.operation.path not in PASSED_ON:
        found.append(f"the document allows what is refused: {body[:300]!r}")
    wanted = described[str(status)].get("content", {})
    if wanted and media not in wanted:
        found.append(f"{media} is not {' or '.join(wanted)}")
    if media == "application/json":
        answer = json.loads(body)
        schema = wanted.get(media, {}).get("schema", {})
        if schema.get("$ref", "").endswith("/Error") and not isinstance(answer.get("error"), str):
            found.append(f"no sentence under `error`: {body[:300]!r}")
        if any(isinstance(value, float) and not math.isfinite(value) for value in _leaves(answer)):
            found.append(f"no JSON: {body[:300]!r}")
    return found


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [value]
