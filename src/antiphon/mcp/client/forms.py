"""Forms that MCP servers want filled in: parsed from a flat JSON Schema, with values validated.

Every text of a form is cleaned.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeGuard, cast

import msgspec

from antiphon.mcp.metadata import LONGEST_WORD, clean_line, clean_text
from antiphon.types.errors import InvalidRequest
from antiphon.types.json_values import is_list, is_object

Kind = Literal["text", "number", "integer", "boolean", "choice", "choices"]
Value = str | int | float | bool | list[str]

MOST_FIELDS = 50
MOST_OPTIONS = 200


class Option(msgspec.Struct, frozen=True):
    """One value of a choice, and its label."""

    value: str
    label: str


class FormField(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a form.

    `least` and `most` bound a number, the length of a text, or the number of `choices`. `format` is
    a hint (email, uri, date, date-time). `secret` is set if it looks like a password or key, which
    MCP forbids servers to request in a form: warn the person.
    """

    name: str
    kind: Kind
    title: str = ""
    description: str = ""
    required: bool = False
    default: Any = None
    options: tuple[Option, ...] = ()
    least: float | None = None
    most: float | None = None
    format: str = ""
    secret: bool = False

    def parse(self, line: str) -> Value | None:
        """Parse a typed line; an empty line is the default, or None.

        A choice is typed as its value, its label or its number from 1; several are separated by
        commas. Raises `InvalidRequest`, whose message says what is valid.
        """
        typed = line.strip()
        if not typed:
            if self.default is None and self.required:
                raise self._invalid("is needed")
            return cast(Value | None, self.default)
        return self.validate(self._parse_text(typed))

    def validate(self, value: Any) -> Value:
        """Return the value if it is valid. Raises `InvalidRequest`."""
        match self.kind:
            case "text":
                return self._text(value)
            case "number" | "integer":
                return self._number(value)
            case "boolean":
                if not isinstance(value, bool):
                    raise self._invalid("is yes or no")
                return value
            case "choice":
                if value not in [option.value for option in self.options]:
                    raise self._invalid(f"is one of {self._labels()}")
                return str(value)
            case "choices":
                return self._choices(value)

    def _parse_text(self, typed: str) -> Any:
        match self.kind:
            case "text":
                return typed
            case "number" | "integer":
                try:
                    return int(typed) if self.kind == "integer" else float(typed)
                except ValueError:
                    raise self._invalid("is a number") from None
            case "boolean":
                return {**dict.fromkeys(_YES, True), **dict.fromkeys(_NO, False)}.get(
                    typed.lower(), typed
                )
            case "choice":
                return self._option(typed)
            case "choices":
                return [self._option(each.strip()) for each in typed.split(",") if each.strip()]

    def _option(self, typed: str) -> str:
        for option in self.options:
            if typed in {option.value, option.label}:
                return option.value
        if typed.isascii() and typed.isdigit() and 0 < int(typed[:6]) <= len(self.options):
            return self.options[int(typed) - 1].value
        return typed

    def _text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise self._invalid("is text")
        if self.least is not None and len(value) < self.least:
            raise self._invalid(f"has at least {self.least:g} characters")
        if self.most is not None and len(value) > self.most:
            raise self._invalid(f"has at most {self.most:g} characters")
        shape = _FORMATS.get(self.format)
        if shape is not None and not shape.fullmatch(value):
            raise self._invalid(f"is written as {self.format} is")
        return value

    def _number(self, value: Any) -> int | float:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise self._invalid("is a number")
        if self.kind == "integer" and value != int(value):
            raise self._invalid("is a whole number")
        if self.least is not None and value < self.least:
            raise self._invalid(f"is at least {self.least:g}")
        if self.most is not None and value > self.most:
            raise self._invalid(f"is at most {self.most:g}")
        return int(value) if self.kind == "integer" else value

    def _choices(self, value: Any) -> list[str]:
        known = [option.value for option in self.options]
        if (
            not is_list(value)
            or len(value) > MOST_OPTIONS
            or any(each not in known for each in value)
        ):
            raise self._invalid(f"is some of {self._labels()}")
        if self.least is not None and len(value) < self.least:
            raise self._invalid(f"is at least {self.least:g} of them")
        if self.most is not None and len(value) > self.most:
            raise self._invalid(f"is at most {self.most:g} of them")
        return list(value)

    def _labels(self) -> str:
        return ", ".join(option.label for option in self.options[:20])

    def _invalid(self, wanted: str) -> InvalidRequest:
        return InvalidRequest(f"{self.title or self.name} {wanted}.", field=self.name)


class Form(msgspec.Struct, frozen=True):
    """Fields of a form, in order."""

    fields: tuple[FormField, ...]

    def validate(self, values: Mapping[str, Any]) -> dict[str, Value]:
        """Return the answers, with defaults for missing ones. Raises `InvalidRequest`."""
        unknown = set(values) - {field.name for field in self.fields}
        if unknown:
            raise InvalidRequest(f"The form has no field {min(unknown)}.")
        answers: dict[str, Value] = {}
        for field in self.fields:
            value = values.get(field.name)
            if value is None:
                value = field.default
            if value is not None:
                answers[field.name] = field.validate(value)
            elif field.required:
                raise InvalidRequest(f"{field.title or field.name} is needed.", field=field.name)
        return answers


def parse_form(schema: Mapping[str, Any]) -> Form:
    """Parse the schema of a form. Raises `InvalidRequest` if it is not flat."""
    properties: Any = schema.get("properties") or {}
    if not is_object(properties) or len(properties) > MOST_FIELDS:
        raise InvalidRequest(f"A form has fields, and at most {MOST_FIELDS}.")
    required = schema.get("required")
    needed = set(required) if _is_text_list(required) else set[str]()
    return Form(tuple(_field(name, each, name in needed) for name, each in properties.items()))


_YES = ("yes", "y", "true", "on", "1")
_NO = ("no", "n", "false", "off", "0")
_FORMATS = {
    "email": re.compile(r"[^@\s]+@[^@\s]+"),
    "uri": re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+"),
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "date-time": re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)?"),
}
_SECRET = re.compile(
    r"pass(word|phrase|code)|secret|token|api.?key|private.?key|credential|\bpin\b|\bcvv\b",
    re.IGNORECASE,
)
_NUMERIC: dict[str, Kind] = {"number": "number", "integer": "integer"}


def _field(name: str, schema: Any, required: bool) -> FormField:
    if not is_object(schema):
        raise InvalidRequest("A field of the form has no schema.")
    kind, options, bounds = _parse_type(schema)
    title, description = (
        clean_line(schema.get("title")),
        clean_text(schema.get("description"), 1_000),
    )
    field = FormField(
        name=name,
        kind=kind,
        title=title or clean_line(name),
        description=description,
        required=required,
        options=options,
        least=_number(schema.get(bounds[0])),
        most=_number(schema.get(bounds[1])),
        format=clean_line(schema.get("format"), 20),
        secret=bool(_SECRET.search(f"{name} {title} {description}")),
    )
    default = schema.get("default")
    try:
        default = None if default is None else field.validate(default)
    except InvalidRequest:
        default = None
    return msgspec.structs.replace(field, default=default)


def _parse_type(schema: dict[str, Any]) -> tuple[Kind, tuple[Option, ...], tuple[str, str]]:
    """Return the kind of a field, its options, and the keywords that bound it."""
    match schema.get("type"):
        case "string" if "enum" in schema or "oneOf" in schema:
            return "choice", _options(schema, "oneOf"), ("", "")
        case "string":
            return "text", (), ("minLength", "maxLength")
        case "number" | "integer" as numeric:
            return _NUMERIC[numeric], (), ("minimum", "maximum")
        case "boolean":
            return "boolean", (), ("", "")
        case "array" if is_object(items := schema.get("items")):
            return "choices", _options(items, "anyOf"), ("minItems", "maxItems")
        case _:
            raise InvalidRequest(
                "A field of the form is neither text, number, yes or no, nor choice."
            )


def _options(schema: dict[str, Any], titled: str) -> tuple[Option, ...]:
    """Return the values of an enumeration, in any of MCP's three notations."""
    values, labels = schema.get("enum"), schema.get("enumNames")
    if values is None and is_list(each := schema.get(titled)):
        entries = [entry for entry in each if is_object(entry)]
        values, labels = [e.get("const") for e in entries], [e.get("title") for e in entries]
    if not _is_text_list(values) or not 0 < len(values) <= MOST_OPTIONS:
        raise InvalidRequest(f"A choice has from 1 to {MOST_OPTIONS} values, all of them text.")
    if not _is_text_list(labels) or len(labels) != len(values):
        labels = values
    return tuple(
        Option(value, clean_line(label, LONGEST_WORD) or clean_line(value))
        for value, label in zip(values, labels, strict=True)
    )


def _number(value: Any) -> float | None:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if numeric and abs(value) < 1e300 else None


def _is_text_list(value: Any) -> TypeGuard[list[str]]:
    return is_list(value) and all(isinstance(each, str) for each in value)
