"""Base of every operation of the API, and its form in HTTP.

The fields of an operation travel in the path where the route names them, in the query of a GET or
of an upload, and in the JSON body of everything else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, ClassVar, Generic, TypeVar, cast

import msgspec
from msgspec import Meta

from antiphon.types.enum_values import INVALID_ENUM, add_enum_values
from antiphon.types.errors import InvalidRequest
from antiphon.types.json_values import is_object, list_or_empty

A_co = TypeVar("A_co", covariant=True)
T = TypeVar("T")

Name = Annotated[str, Meta(max_length=256)]
Id = Annotated[str, Meta(max_length=128)]
Limit = Annotated[int, Meta(ge=1, le=100)]


class Listed(msgspec.Struct, Generic[A_co], frozen=True):
    """A page of a list; ask again with `after=next` while `has_more`."""

    data: Sequence[A_co]
    has_more: bool
    next: str | None = None


class Deleted(msgspec.Struct, frozen=True):
    """A deleted object."""

    id: str
    deleted: bool = True


class Operation(msgspec.Struct, Generic[A_co], frozen=True, forbid_unknown_fields=True):
    """A request of the API. `answer` is the type of the response; a stream returns events.

    `http_status` is the status of success. If `creates`, an `Idempotency-Key` is honoured. `scope`
    is the scope that a key needs; by default `read` for a GET and `write` for everything else. If
    the response is a file, `file` is its media type; if the body is one, `upload` is, and the
    fields travel in the query.
    """

    route: ClassVar[str]
    answer: ClassVar[Any]
    http_status: ClassVar[int] = 200
    creates: ClassVar[bool] = False
    streams: ClassVar[bool] = False
    file: ClassVar[str | None] = None
    upload: ClassVar[str | None] = None
    scope: ClassVar[str | None] = None


def field_values(operation: Operation[Any]) -> dict[str, Any]:
    """Return the operation's fields by name."""
    return {name: getattr(operation, name) for name in operation.__struct_fields__}


def select_given_fields(operation: Operation[Any], *, but: str) -> dict[str, Any]:
    """Return the fields that were set, except `but`."""
    return {
        name: value
        for name, value in field_values(operation).items()
        if name != but and value is not msgspec.UNSET
    }


def path_fields(operation: type[Operation[Any]]) -> tuple[str, ...]:
    """Return the fields in the route, in order."""
    return tuple(piece[1:-1] for piece in operation.route.split("/") if piece.startswith("{"))


def to_http(operation: Operation[Any]) -> tuple[str, str, dict[str, str], bytes | None]:
    """Return the operation as HTTP: method, path, query, JSON body (None for GET and DELETE).

    A field of the body that has its default is left out, so that a server of an earlier version,
    which does not know it, accepts the request.
    """
    method, template = operation.route.split(" ")
    fields = msgspec.to_builtins(operation)
    path_values = {name: fields.pop(name) for name in path_fields(type(operation))}
    path = "/".join(
        _quote(str(path_values[piece[1:-1]])) if piece.startswith("{") else piece
        for piece in template.split("/")
    )
    if method in ("GET", "DELETE") or operation.upload:
        return method, path, _to_query(fields), None
    defaults = _defaults(type(operation))
    given = {
        name: value
        for name, value in fields.items()
        if name not in defaults or not _is_same(getattr(operation, name), defaults[name])
    }
    return method, path, {}, msgspec.json.encode(given)


@cache
def _defaults(operation: type[Operation[Any]]) -> Mapping[str, Any]:
    return {
        field.name: field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        for field in msgspec.structs.fields(operation)
        if not field.required
    }


def _is_same(value: object, default: object) -> bool:
    """Return whether both are equal and of one type: a server accepts no 0 for False."""
    return type(value) is type(default) and value == default


def _to_query(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields as a query; pairs travel as `metadata[key]=value`."""
    query: dict[str, str] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            pairs = cast("dict[str, str]", value)
            query |= {f"{name}[{key}]": text for key, text in pairs.items()}
        elif value is not None:
            query[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return query


_PAIR = re.compile(r"([a-z_]+)\[(.*)\]", re.DOTALL)


def from_query(query: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a query, in which `metadata[key]=value` is a pair of `metadata`.

    This is the style `deepObject` of OpenAPI. Raises `InvalidRequest`.
    """
    fields: dict[str, Any] = {}
    for name, value in query.items():
        pair = _PAIR.fullmatch(name)
        if pair is None:
            fields[name] = value
        elif pair[1] in query:
            raise InvalidRequest(f"`{pair[1]}` is given twice.", expected="one", received="two")
        else:
            fields.setdefault(pair[1], {})[pair[2]] = value
    return fields


_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def _quote(segment: str) -> str:
    """Percent-encode a path segment; dots alone are encoded too, since they would climb."""
    if segment.strip(".") == "":
        return segment.replace(".", "%2E")
    return "".join(
        letter if letter in _UNRESERVED else "".join(f"%{byte:02X}" for byte in letter.encode())
        for letter in segment
    )


def convert(value: object, kind: type[T], *, strict: bool = True) -> T:
    """Convert decoded JSON to `kind`. Raises `InvalidRequest`."""
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise invalid_request(error, kind) from error


def invalid_request(error: msgspec.ValidationError, kind: Any = None) -> InvalidRequest:
    """Translate a validation error of msgspec: what was expected, received, and where.

    With the type that was expected, an error about an enum names its values, and one about a
    pattern has the pattern's title.
    """
    text = str(error)
    if kind is not None and text.startswith(INVALID_ENUM):
        text = add_enum_values(text, _schema(kind))
    if kind is not None and text.startswith(_OTHER_PATTERN):
        text = _name_pattern(text, _schema(kind))
    message, _, where = text.partition(" - at ")
    expected, received = _split_message(message)
    return InvalidRequest(
        f"{message} - at {where}." if where else f"{message}.",
        expected=expected,
        received=received,
        hint=_suggest_field(message, kind) if not where else None,
        # "`$.tools[0]`", or "`key` in `$.logit_bias`" where a key of an object is wrong
        **({"where": where.rpartition(" in ")[2].strip("`")} if where else {}),
    )


def _suggest_field(message: str, kind: Any) -> str | None:
    """Return a hint if an unknown field of this struct nearly has the name of one that it has."""
    unknown = _UNKNOWN_FIELD.fullmatch(message)
    names: Sequence[str] = getattr(kind, "__struct_encode_fields__", ())
    near = get_close_matches(unknown[1].strip("`"), names, n=1) if unknown else []
    return f"did you mean {near[0]}?" if near else None


_OTHER_PATTERN = "Expected `str` matching regex "
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field (.+)", re.DOTALL)


def _name_pattern(message: str, schema: Any) -> str:
    """Return the message with the title of its regular expression, if the schema has one."""
    if is_object(schema) and "pattern" in schema and "title" in schema:
        regex = f"{_OTHER_PATTERN}{schema['pattern']!r}"
        return message.replace(regex, f"Expected {schema['title']}")
    parts = schema.values() if is_object(schema) else list_or_empty(schema)
    for part in parts:
        message = _name_pattern(message, part)
    return message


_MESSAGE_PATTERNS = (
    (re.compile(r"Expected (.+), got (.+)", re.DOTALL), r"\1", r"\2"),
    (re.compile(r"Expected (.+)", re.DOTALL), r"\1", None),
    (re.compile(r"Object missing required field (.+)", re.DOTALL), r"a field \1", "none"),
    (_UNKNOWN_FIELD, "known fields", r"\1"),
    (re.compile(r"Invalid enum value (.+), wanted (one of .+)", re.DOTALL), r"\2", r"\1"),
    (re.compile(r"Invalid (?:enum )?value (.+)", re.DOTALL), "one of the documented values", r"\1"),
)


@cache
def _schema(kind: Any) -> dict[str, Any]:
    return msgspec.json.schema(kind)


def _split_message(message: str) -> tuple[str | None, str | None]:
    """Return what was expected and received, as far as the message contains it."""
    for sentence, expected, received in _MESSAGE_PATTERNS:
        if found := sentence.fullmatch(message):
            received_text = found.expand(received) if received else None
            return found.expand(expected).replace("`", ""), received_text and received_text.replace(
                "`", ""
            )
    return None, None
