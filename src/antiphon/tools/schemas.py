"""A call's arguments against the schema of a tool that is somebody else's.

Only what is certain and cheap is judged: names that are missing or not wanted, and values of a type
that no reading makes right. Servers judge the rest themselves, and some are more lenient than their
schemas, so a string passes for anything. Nothing is fetched, no reference is followed and no
expression is matched: a schema is as little to be trusted as whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeGuard

import msgspec

MOST_FAULTS = 5
STEPS = 100_000
"""Parts of a call's arguments, and values that they are compared with: a tenth of a second."""
LONGEST_NAME = 80  # of an argument, as it is told
_WHERE_IT_STANDS = "the arguments"


class TooCostly(Exception):
    """To judge a value by a schema takes more than it may."""


class Budget:
    """Bound on the cost of judging one value, in steps of some microseconds."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Take so many. Raises `TooCostly` where there are not so many left."""
        self._left -= steps
        if self._left < 0:
            raise TooCostly("it takes more steps than it may")


def fault(arguments: str, schema: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the arguments, for a model; None where nothing certainly is.

    What would take more than `STEPS` is not judged: the server does that itself.
    """
    try:
        given: Any = msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return f"The arguments are not a JSON object: {error}."
    if given is None:
        return None  # some models mean no arguments by it, and servers are sent none
    if not _is_object(given):
        return f"The arguments are not a JSON object: wanted an object, got {_kind(given)}."
    try:
        found = list(islice(_faults(given, schema, "", Budget(STEPS)), MOST_FAULTS))
    except TooCostly:
        return None
    return f"Wrong arguments: {'; '.join(found)}." if found else None


def _faults(value: Any, schema: Any, where: str, budget: Budget) -> Iterator[str]:
    """As deep as the value goes, which is not deeper than JSON may be."""
    budget.spend(1)
    if not _is_object(schema) or "$ref" in schema:
        return
    if (wanted := _types(schema.get("type"))) and not _fits(value, wanted):
        yield f"{where or _WHERE_IT_STANDS}: wanted {' or '.join(wanted)}, got {_kind(value)}"
        return
    yield from _unlisted(value, schema.get("enum"), where, budget)
    if _is_object(value):
        yield from _in_object(value, schema, where, budget)
    elif _is_list(value):
        for place, item in enumerate(value):
            yield from _faults(item, schema.get("items"), f"{where}[{place}]", budget)


def _in_object(
    value: dict[str, Any], schema: dict[str, Any], where: str, budget: Budget
) -> Iterator[str]:
    known = properties if _is_object(properties := schema.get("properties")) else {}
    for name in required if _is_list(required := schema.get("required")) else ():
        budget.spend(1)
        if isinstance(name, str) and name not in value:
            yield f"{_at(where, name)} is missing"
    closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    for name, item in value.items():
        if name in known:
            yield from _faults(item, known[name], _at(where, name), budget)
        elif closed and not _combined(schema):
            names = ", ".join(each[:LONGEST_NAME] for each in islice(known, 20)) or "none"
            yield f"{_at(where, name)} is unknown (there are: {names})"


def _unlisted(value: Any, choices: Any, where: str, budget: Budget) -> Iterator[str]:
    if not isinstance(value, str) or not _is_list(choices):
        return
    budget.spend(len(choices))
    if all(isinstance(each, str) for each in choices) and value not in choices:
        some = ", ".join(repr(each[:LONGEST_NAME]) for each in choices[:20])
        yield f"{where or _WHERE_IT_STANDS}: wanted one of {some}"


def _types(said: Any) -> Sequence[str]:
    """The types that the schema names; none where it says something that is no type."""
    names: list[Any] = said if _is_list(said) else [said]
    known = [name for name in names if isinstance(name, str) and name in _TYPES]
    return known if len(known) == len(names) else ()


def _fits(value: Any, wanted: Sequence[str]) -> bool:
    # A server may well read "3" as 3, and "[1]" as a list; or null as nothing said.
    return isinstance(value, str) or value is None or _kind(value) in _readings(wanted)


def _readings(wanted: Sequence[str]) -> set[str]:
    return {kind for name in wanted for kind in _TYPES[name]}


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
"""What a lenient server reads as each type."""

_COMBINING = ("allOf", "anyOf", "oneOf", "if", "dependentSchemas", "$ref", "$dynamicRef")


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _combined(schema: dict[str, Any]) -> bool:
    return any(word in schema for word in _COMBINING)


def _at(where: str, name: str) -> str:
    short = name[:LONGEST_NAME]
    return f"{where}.{short}" if where else short
