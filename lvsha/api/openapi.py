"""The OpenAPI 3.1 document, made of the route table and the models of the bodies."""

import re
from typing import Any

from lvsha import __version__
from lvsha.api.roles import Role
from lvsha.api.routes import ROUTES, Parameter, Route

_MISTAKES = {
    "400": "The request is not understood; the body says what is wrong with it.",
    "401": "No token, or one that is not known.",
    "403": "The role does not allow it.",
    "429": "Too often; Retry-After says when again.",
}


def document() -> dict[str, Any]:
    """All of it."""
    schemas: dict[str, Any] = {
        "Error": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    }
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "lvsha", "version": __version__, "summary": "A director's API."},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {
        route.media: {"schema": {} if route.media == "application/json" else {"type": "string"}}
    }
    responses: dict[str, Any] = {
        "200": {"description": "Yes." if route.role is Role.NOBODY else "Done.", "content": content}
    }
    if route.role is Role.NOBODY and route.path != "/v1/openapi.json":
        responses["503"] = {"description": "No."}
    else:
        mistakes = dict(_MISTAKES)
        if route.refuses:
            mistakes["409"] = "Understood, and nothing has changed; the body says why."
            mistakes["503"] = "Nobody could do it now."
        if any(parameter.place == "path" for parameter in route.parameters):
            mistakes["404"] = "There is none of that name."
        error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        for code, description in sorted(mistakes.items()):
            responses[code] = {"description": description, "content": error}
    operation: dict[str, Any] = {
        "operationId": _identifier(route),
        "summary": route.summary,
        "x-role": route.role.name.lower(),
        "responses": responses,
    }
    if route.role is Role.NOBODY:
        operation["security"] = []
    if route.parameters:
        operation["parameters"] = [_parameter(parameter) for parameter in route.parameters]
    if route.body is not None:
        name = route.body.__name__
        schemas[name] = route.body.model_json_schema()
        operation["requestBody"] = {
            "required": bool(schemas[name].get("required")),
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}},
        }
    return operation


def _identifier(route: Route) -> str:
    words = re.findall(r"[a-z]+", route.path.removeprefix("/v1"))
    return "_".join((route.method.lower(), *words))


def _parameter(parameter: Parameter) -> dict[str, Any]:
    is_required = parameter.is_required or parameter.place == "path"
    schema: dict[str, Any] = {"type": parameter.schema}
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": is_required,
        "description": parameter.description,
        "schema": schema | {"minLength": 1} if is_required else schema,
    }
