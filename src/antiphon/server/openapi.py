"""The OpenAPI 3.1 document, generated from the table of operations."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import msgspec

import antiphon
from antiphon.api import problems
from antiphon.api.operations import OPERATIONS, Follow, Operation, Process, path_fields
from antiphon.engine import sanitize
from antiphon.types import errors
from antiphon.types.errors import AntiphonError
from antiphon.types.events import Event
from antiphon.types.messages import Upload

Json = dict[str, Any]

LARGEST = 2**63 - 1024
"""The largest number below 2**63 that a 64-bit float holds."""

_TYPES: dict[type[Any], str] = {str: "string", int: "integer", bool: "boolean", type(None): "null"}
_REFERENCE = "#/components/schemas/{name}"
_JSON, _PROBLEM, _SSE = "application/json", "application/problem+json", "text/event-stream"


@cache
def build_document() -> bytes:
    """Return the document as JSON; it is the same for every start of one version."""
    answers = [call.answer for call in OPERATIONS if call.answer is not None]
    # Events are separate: a discriminated union consists of components and has no name itself.
    _, schemas = msgspec.json.schema_components(
        [*OPERATIONS, *answers, Upload, Event], ref_template=_REFERENCE
    )
    (event,), _ = msgspec.json.schema_components([Event], ref_template=_REFERENCE)
    calls = {kind.__name__: schemas.pop(kind.__name__) for kind in OPERATIONS}
    paths: Json = {}
    for kind in OPERATIONS:
        method, path = kind.route.split(" ")
        fields = _add_bounds(calls[kind.__name__])
        paths.setdefault(path, {})[method.lower()] = _operation(kind, method, fields)
    _add_files(paths)
    _add_probes(paths)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Antiphon",
                "version": antiphon.__version__,
                "description": "A self-hosted assistant runtime in which tools run where your "
                "code lives.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "security": [{"key": []}],
            "paths": paths,
            "components": {
                "schemas": {
                    **_with_clean_descriptions(schemas),
                    "Event": event,
                    "Problem": _problem_schema(),
                },
                "responses": _error_components(),
                "securitySchemes": {
                    "key": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "A key of `antiphon keys create`. A server on loopback "
                        "without any key needs none. With a key of scope `admin`, the header "
                        "`Antiphon-Owner` sets the owner of the request.",
                    }
                },
            },
        },
        order="deterministic",
    )


def _operation(kind: type[Operation[Any]], method: str, schema: Json) -> Json:
    """Describe one operation; fields in its path are not in its body."""
    in_path = path_fields(kind)
    fields: Json = schema.get("properties", {})
    required = set(schema.get("required", ()))
    summary, _, rest = inspect.cleandoc(kind.__doc__ or "").partition("\n")
    parameters = [_parameter(name, fields[name], "path", needed=True) for name in in_path]
    operation: Json = {
        "operationId": re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower(),
        "tags": [kind.route.split("/")[2]],
        "summary": summary.rstrip(".;"),
        "parameters": parameters,
        "responses": _describe_responses(kind),
    }
    if rest.strip():
        operation["description"] = rest.strip()
    if kind.upload:
        operation["requestBody"] = {"required": True, "content": {kind.upload: {"schema": {}}}}
    if method in ("GET", "DELETE") or kind.upload:
        parameters += [
            _parameter(name, field, "query", needed=name in required)
            for name, field in fields.items()
            if name not in in_path
        ]
    elif body := {name: field for name, field in fields.items() if name not in in_path}:
        needed = sorted(required - set(in_path))
        operation["requestBody"] = {
            "required": bool(needed),
            "content": {_JSON: {"schema": _object_schema(body, needed)}},
        }
    if kind.creates:
        parameters.append(_IDEMPOTENCY_KEY)
    if kind is Follow:
        parameters.append(_LAST_EVENT_ID)
    return operation


def _describe_responses(kind: type[Operation[Any]]) -> Json:
    answers: Json = {}
    if kind.streams:
        answers["200"] = {
            "description": "Numbered events, each as one line of JSON; comments are keep-alives. "
            "The stream of a turn ends with `turn.ended`.",
            "content": {
                _SSE: {
                    "schema": {
                        "type": "string",
                        "contentMediaType": _SSE,
                        "contentSchema": {"$ref": _REFERENCE.format(name="Event")},
                    }
                }
            },
        }
    if kind.file:
        answers["200"] = {"description": "The file.", "content": {kind.file: {"schema": {}}}}
    if kind is Process:
        answers["202"] = _success_response(kind.answer, "With `background`: the run.")
    elif kind.answer is not None:
        answers[str(kind.http_status)] = _success_response(kind.answer, "Done.")
        if kind.http_status == 202:
            answers["200"] = _success_response(kind.answer, "The run had ended; nothing changed.")
    return {**answers, **_error_responses(kind)}


def _success_response(answer: Any, description: str) -> Json:
    (schema,), _ = msgspec.json.schema_components([answer], ref_template=_REFERENCE)
    return {"description": description, "content": {_JSON: {"schema": schema}}}


def _error_responses(kind: type[Operation[Any]]) -> Json:
    statuses = {400, 401, 403, 404, 408, 413, 422, 429, 500, 503}
    if not kind.route.startswith("GET"):
        statuses |= {409, 415}
    if kind is Follow:
        statuses.add(410)
    if kind.route == "GET /v1/models":
        statuses.add(502)
    return _response_references(statuses)


def _response_references(statuses: set[int]) -> Json:
    return {
        str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)
    }


def _error_components() -> Json:
    """Describe one response for each status of the table of errors."""
    kinds: dict[int, list[type[AntiphonError]]] = {}
    for kind, (status, _) in problems.STATUS.items():
        kinds.setdefault(status, []).append(kind)
    return {str(status): _error_component(status, kinds[status]) for status in sorted(kinds)}


def _error_component(status: int, kinds: list[type[AntiphonError]]) -> Json:
    response: Json = {
        "description": "; ".join(dict.fromkeys(problems.STATUS[kind][1] for kind in kinds)) + ".",
        "content": {_PROBLEM: {"schema": {"$ref": _REFERENCE.format(name="Problem")}}},
    }
    if any(issubclass(kind, errors.TryAgain) for kind in kinds):
        seconds = {"type": "integer", "minimum": 1}
        response["headers"] = {"Retry-After": {"description": "In seconds.", "schema": seconds}}
    return response


def _problem_schema() -> Json:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "A problem document (RFC 9457). Other members depend on the code, such as "
        "`run_id` and `retry_after`.",
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": text,
            "status": {"type": "integer"},
            "code": {"type": "string", "enum": sorted(_codes(AntiphonError))},
            "detail": text,
            "expected": {**text, "description": "What was wanted."},
            "received": {**text, "description": "What came."},
            "hint": {**text, "description": "What to do."},
            "where": {**text, "description": "The place in the request."},
        },
        "required": ["type", "title", "status", "code", "detail"],
    }


def _codes(kind: type[AntiphonError]) -> set[str]:
    return {kind.code}.union(*map(_codes, kind.__subclasses__()))


def _add_files(paths: Json) -> None:
    upload: Json = {
        "operationId": "upload_file",
        "tags": ["files"],
        "summary": "Upload a file, by form or as raw body",
        "parameters": [
            _parameter(
                "name",
                {"type": "string", "minLength": 1, "maxLength": sanitize.MAX_NAME},
                "query",
                needed=False,
            ),
            _parameter(
                "purpose",
                {"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"},
                "query",
                needed=False,
            ),
            _IDEMPOTENCY_KEY,
        ],
        "requestBody": {
            "required": False,  # an empty file is valid
            "content": {
                "multipart/form-data": {
                    "schema": _object_schema(
                        {"file": {"type": "string", "contentMediaType": _BYTES}}, ["file"]
                    )
                },
                _BYTES: {"schema": {}},
            },
        },
        "responses": {
            "201": _success_response(Upload, "The stored file."),
            **_response_references({400, 401, 403, 408, 409, 413, 415, 422, 429, 500, 503}),
        },
    }
    paths["/v1/files"]["post"] = upload
    identity = {"type": "string", "maxLength": 128}
    paths["/v1/files/{file_id}/content"] = {
        "get": {
            "operationId": "download_file",
            "tags": ["files"],
            "summary": "Download the bytes of a file, as an attachment",
            "parameters": [_parameter("file_id", identity, "path", needed=True)],
            "responses": {
                "200": {"description": "The file.", "content": {"*/*": {"schema": {}}}},
                **_response_references({400, 401, 403, 404, 413, 429, 500, 503}),
            },
        }
    }


def _add_probes(paths: Json) -> None:
    for path, summary, media_type, refusals in _PROBES:
        paths[path] = {
            "get": {
                "operationId": path.strip("/"),
                "tags": ["server"],
                "summary": summary,
                "security": [{"key": []}] if path == "/metrics" else [],
                "responses": {
                    "200": {"description": summary + ".", "content": {media_type: {"schema": {}}}},
                    **_response_references(refusals),
                },
            }
        }


_BYTES = "application/octet-stream"
_PROBES = (
    ("/healthz", "Check that the process is alive", _JSON, {403}),
    ("/readyz", "Check that the process can serve requests", _JSON, {403, 503}),
    ("/metrics", "Get metrics for Prometheus", "text/plain", {401, 403, 503}),
)


def _parameter(name: str, schema: Json, place: str, *, needed: bool) -> Json:
    schema = _query_schema(schema)
    parameter = {"name": name, "in": place, "required": needed, "schema": schema}
    pairs = {"style": "deepObject", "explode": True} if schema.get("type") == "object" else {}
    return parameter | pairs


def _query_schema(schema: Json) -> Json:
    """Return the schema of a query field without null, which a query cannot express."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if rest.get("default", ...) is None:
        del rest["default"]
    if "enum" in rest:
        rest["enum"] = [word for word in rest["enum"] if word is not None]
    match kinds:
        case []:
            return rest
        case [kind]:
            return {**rest, **kind}
        case _:
            return {**rest, "anyOf": kinds}


def _object_schema(fields: Json, needed: list[str]) -> Json:
    schema: Json = {"type": "object", "properties": fields, "additionalProperties": False}
    return {**schema, "required": needed} if needed else schema


def _with_clean_descriptions(schemas: Json) -> Json:
    """Return the schemas with docstrings without their indentation."""
    return {
        name: {**schema, "description": inspect.cleandoc(schema["description"])}
        if "description" in schema
        else schema
        for name, schema in _add_bounds(schemas).items()
    }


def _add_bounds(node: Any) -> Any:
    """Return the same schema, in which integers have bounds, enums a type, and tuples no `items`.

    The bounds are numbers that a reader of JSON with 64-bit floats gets exactly, within int64.
    """
    if isinstance(node, list):
        return [_add_bounds(inner) for inner in cast("Sequence[Any]", node)]
    if not isinstance(node, dict):
        return node
    schema = {name: _add_bounds(inner) for name, inner in cast("Json", node).items()}
    if schema.get("type") == "integer":
        return {"minimum": -LARGEST, "maximum": LARGEST, "format": "int64", **schema}
    if isinstance(schema.get("enum"), list) and "type" not in schema:
        names = sorted({_TYPES[type(value)] for value in schema["enum"]})
        return {"type": names[0] if len(names) == 1 else names, **schema}
    if schema.get("items") is False:  # `maxItems` says the same, and generators read no `false`
        del schema["items"]
    return schema


_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Repeating the key and body returns the same response; nothing happens twice.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
_LAST_EVENT_ID: Json = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The last event that the reader has; overrides `after`.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
}
