"""Check of a call's arguments against the schema of a server's tool.

Only what is certain and cheap is checked: missing and unknown names, and values of a type that no
lenient reading accepts. Servers validate the rest, and some accept more than their schemas say, so
a string passes for any type. Nothing is fetched, no reference followed, no expression matched:
schemas are untrusted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from antiphon.types.json_values import is_list, is_object

MOST_FAULTS = 5
STEPS = 100_000
"""Parts of the arguments, and values compared with them: a tenth of a second."""
LONGEST_NAME = 80  # of an argument, as it is told
_WHERE_IT_STANDS = "the arguments"


class TooCostly(Exception):
    """Validation would exceed its budget."""


class Budget:
    """Bound on the cost of validating one value, in steps of some microseconds."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Spend so many steps. Raises `TooCostly` if fewer are left."""
        self._left -= steps
        if self._left < 0:
            raise TooCostly("it takes more steps than it may")


def find_argument_errors(arguments: str, schema: Mapping[str, Any]) -> str | None:
    """Return the errors in the arguments, for a model; None if none is certain.

    A check that takes more than `STEPS` is left to the server.
    """
    try:
        given: Any = msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return f"The arguments are not a JSON object: {error}."
    if given is None:
        return None  # some models mean no arguments by it, and servers are sent none
    if not is_object(given):
        return f"The arguments are not a JSON object: wanted an object, got {_kind(given)}."
    try:
        found = list(islice(_errors(given, schema, "", Budget(STEPS)), MOST_FAULTS))
    except TooCostly:
        return None
    return f"Wrong arguments: {'; '.join(found)}." if found else None


def _errors(value: Any, schema: Any, where: str, budget: Budget) -> Iterator[str]:
    """Recurse as deep as the value, whose depth JSON decoding limits."""
    budget.spend(1)
    if not is_object(schema) or "$ref" in schema:
        return
    declared = schema.get("type")
    names: list[Any] = declared if is_list(declared) else [declared]
    wanted = [name for name in names if isinstance(name, str) and name in _TYPES]
    if len(wanted) < len(names):  # one of them is unknown
        wanted = []
    # A server may read "3" as 3, "[1]" as a list, and null as nothing.
    fits = isinstance(value, str) or value is None or not wanted
    if not fits and not any(_kind(value) in _TYPES[name] for name in wanted):
        yield f"{where or _WHERE_IT_STANDS}: wanted {' or '.join(wanted)}, got {_kind(value)}"
        return
    yield from _enum_errors(value, schema.get("enum"), where, budget)
    if is_object(value):
        yield from _object_errors(value, schema, where, budget)
    elif is_list(value):
        for place, item in enumerate(value):
            yield from _errors(item, schema.get("items"), f"{where}[{place}]", budget)


def _object_errors(
    value: dict[str, Any], schema: dict[str, Any], where: str, budget: Budget
) -> Iterator[str]:
    known = properties if is_object(properties := schema.get("properties")) else {}
    for name in required if is_list(required := schema.get("required")) else ():
        budget.spend(1)
        if isinstance(name, str) and name not in value:
            yield f"{_path(where, name)} is missing"
    closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    for name, item in value.items():
        if name in known:
            yield from _errors(item, known[name], _path(where, name), budget)
        elif closed and not any(word in schema for word in _COMBINING):
            names = ", ".join(each[:LONGEST_NAME] for each in islice(known, 20)) or "none"
            yield f"{_path(where, name)} is unknown (there are: {names})"


def _enum_errors(value: Any, choices: Any, where: str, budget: Budget) -> Iterator[str]:
    if not isinstance(value, str) or not is_list(choices):
        return
    budget.spend(len(choices))
    if all(isinstance(each, str) for each in choices) and value not in choices:
        some = ", ".join(repr(each[:LONGEST_NAME]) for each in choices[:20])
        yield f"{where or _WHERE_IT_STANDS}: wanted one of {some}"


def _kind(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return "integer"
    return _KINDS[type(value)]


_KINDS: dict[Any, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}
_SCALARS = ("string", "integer", "number", "boolean", "null")
_TYPES = {
    "object": ("object",),
    "array": ("array",),
    "string": _SCALARS,
    "integer": ("integer", "boolean"),
    "number": ("integer", "number", "boolean"),
    "boolean": ("boolean", "integer"),
    "null": ("null",),
}
"""Kinds of values that a lenient server accepts for each type."""

_COMBINING = ("allOf", "anyOf", "oneOf", "if", "dependentSchemas", "$ref", "$dynamicRef")


def _path(where: str, name: str) -> str:
    short = name[:LONGEST_NAME]
    return f"{where}.{short}" if where else short
