"""Answers of a requested type: the schema for the model, validation, and requests to correct.

This module decides and does no I/O; both clients send its requests.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Generic, TypeVar, cast

import msgspec

from antiphon.api.operations import Content, Options
from antiphon.client.result import Result
from antiphon.tools import pydantic_types
from antiphon.tools.schemas import adapt_type, type_schema
from antiphon.types.enum_values import add_enum_values
from antiphon.types.errors import BadSettings, InvalidAnswer, InvalidRequest, UnsupportedByProvider
from antiphon.types.json_values import is_list, is_object
from antiphon.types.messages import Text
from antiphon.types.runs import Sampling
from antiphon.types.terminal_safe import clean

T = TypeVar("T")

CORRECTIONS = 2
"""Times that a model is asked to correct its answer."""
MAX_ERROR = 500  # characters of an error that the model reads
_WRAPPER = "value"
_FENCED = re.compile(r"\s*```[A-Za-z]*\s*\n(.*?)\n?```\s*", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STRICT_KEYWORDS = frozenset(
    {
        *("type", "properties", "required", "additionalProperties", "items", "enum", "const"),
        *("anyOf", "description", "$ref", "$defs", "pattern", "format", "minimum", "maximum"),
        *("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems"),
    }
)
"""Keywords that OpenAI's strict schemas may hold (developers.openai.com, Structured Outputs)."""
_LEFT_OUT = frozenset({"title", "default", "discriminator"})  # notes, which strict schemas forbid


class UnfitType(BadSettings, TypeError):
    """The type cannot be the type of an answer."""


class TypedAnswer(Generic[T]):
    """Requests and validation of one answer of this type; `value` is the validated answer.

    The schema is sent as the response format. If the provider refuses schemas, a JSON object is
    requested, and the schema is part of the message; if it refuses that too, only the message has
    it. If an answer does not fit, the model reads the error and the schema and answers again, at
    most twice.

    Raises `UnfitType` for a type that JSON cannot express.
    """

    def __init__(self, kind: Any, text: Content, options: Options) -> None:
        if options.get("sampling", Sampling()).response_format is not None:
            raise InvalidRequest(
                "The type of the answer makes its response_format.",
                expected="output_type or sampling.response_format",
                received="both",
            )
        try:
            adapted = adapt_type(kind)
            schema = type_schema(adapted)
        except Exception as error:  # annotations and pydantic raise errors of many classes
            raise UnfitType(
                f"A model cannot answer with {_name(kind)}, which JSON cannot express.",
                expected="a dataclass, TypedDict, pydantic model,"
                " msgspec Struct, Enum, Literal, list, dict, str, int, float or bool",
                hint=f"{type(error).__name__}: {error}",
            ) from error
        self.value: T
        self._kind = adapted
        self._title = _name(kind)
        self._wrapped = schema.get("type") != "object"
        self._value_schema = schema
        self._schema = _wrap(schema) if self._wrapped else schema
        self._formats = [_schema_format(self._title, self._schema), {"type": "json_object"}, None]
        self._text = text
        self._options = options.copy()
        self._corrections = 0

    def request(self) -> tuple[Content, Options]:
        """Return the content and the options of the next request."""
        response_format = self._formats[0]
        by_schema = response_format is not None and "json_schema" in response_format
        text = self._text
        if not by_schema:
            more = f"\n\n{self._instruction}"
            text = text + more if isinstance(text, str) else (*text, Text(more))
        options = self._options.copy()
        sampling = options.get("sampling", Sampling())
        options["sampling"] = msgspec.structs.replace(sampling, response_format=response_format)
        return text, options

    def key(self, idempotency_key: str | None) -> str | None:
        """Return the idempotency key of the next request: each correction has its own."""
        if idempotency_key is None or not self._corrections:
            return idempotency_key
        named = f"{idempotency_key} {self._corrections}".encode()
        return f"correction-{blake2b(named, digest_size=32).hexdigest()}"

    def unwrap_for(self, on_partial: Callable[[Any], object]) -> Callable[[Any], object]:
        """Return a callback that passes values on without the wrapper of the schema."""

        def call(value: Any) -> None:
            if not self._wrapped or not is_object(value):
                on_partial(value)
            elif _WRAPPER in value:
                on_partial(value[_WRAPPER])

        return call

    def handle_refusal(self, refusal: UnsupportedByProvider) -> None:
        """Use the next format. Raises the refusal if it is not about the response format."""
        lacking = map(str, refusal.details.get("settings", ()))
        if len(self._formats) == 1 or not any(
            name.partition(".")[0] == "response_format" for name in lacking
        ):
            raise refusal
        del self._formats[0]

    def accept(self, result: Result[str]) -> bool:
        """Read the answer into `value`; return False if the model is to correct it.

        Raises `InvalidAnswer` if it has corrected it often enough.
        """
        try:
            self.value = self._parse(result.text)
        except Exception as error:  # noqa: BLE001 - validators are others' code
            reason = clean(str(error) or type(error).__name__)
        else:
            return True
        if self._corrections == CORRECTIONS:
            raise InvalidAnswer(
                f"The answer is no {self._title}: {reason}",
                hint="Another model, or a simpler type, may help.",
                run_id=result.run_id,
                thread_id=result.thread_id,
                run_status=result.status.value,
                text=result.text,
            )
        self._corrections += 1
        self._text = (
            f"Your answer does not fit: {reason[:MAX_ERROR]}. Answer again. {self._instruction}"
        )
        self._options["thread_id"] = result.thread_id
        return False

    @property
    def _instruction(self) -> str:
        schema = msgspec.json.encode(self._schema).decode()
        return f"Answer with JSON alone, which fits this JSON Schema: {schema}"

    def _parse(self, text: str) -> T:
        """Return the value of this text. Raises `ValueError`."""
        fenced = _FENCED.fullmatch(text)
        try:
            value = msgspec.json.decode(fenced[1] if fenced else text)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ValueError(f"it is no JSON ({error})") from error
        if self._wrapped and is_object(value) and list(value) == [_WRAPPER]:
            value = value[_WRAPPER]
        with suppress(msgspec.ValidationError):
            return cast("T", pydantic_types.convert(value, self._kind))
        try:
            return cast("T", pydantic_types.convert(value, self._kind, strict=False))
        except msgspec.ValidationError as error:
            raise ValueError(add_enum_values(str(error), self._value_schema)) from error


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _wrap(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with one value of this schema: models answer with objects."""
    definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    wrapped = {key: value for key, value in schema.items() if key != "$defs"}
    return {
        "type": "object",
        "properties": {_WRAPPER: wrapped},
        "required": [_WRAPPER],
        "additionalProperties": False,
        **definitions,
    }


def _schema_format(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    try:
        wanted, strict = _make_strict(schema), True
    except _CannotBeStrict:
        wanted, strict = schema, False
    name = name if _NAME.fullmatch(name) else "answer"
    described = {"name": name, "schema": wanted, "strict": strict}
    return {"type": "json_schema", "json_schema": described}


class _CannotBeStrict(Exception):
    """An object of any keys, or a keyword that strict schemas may not hold."""


def _make_strict(schema: Any) -> Any:
    """Return the schema with closed objects whose fields are all required."""
    if is_list(schema):
        return [_make_strict(each) for each in schema]
    if not is_object(schema):
        return schema
    kept = {key: value for key, value in schema.items() if key not in _LEFT_OUT}
    if not kept.keys() <= _STRICT_KEYWORDS:
        raise _CannotBeStrict
    for key in ("properties", "$defs"):
        if key in kept:
            kept[key] = {name: _make_strict(each) for name, each in kept[key].items()}
    for key in ("items", "anyOf"):
        if key in kept:
            kept[key] = _make_strict(kept[key])
    if kept.get("type") == "object":
        if kept.get("additionalProperties", False) is not False or "properties" not in kept:
            raise _CannotBeStrict
        kept |= {"required": list(kept["properties"]), "additionalProperties": False}
    return kept
