"""The values that a JSON Schema allows at a place, for errors about a value that it does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from antiphon.types.json_values import is_list, is_object, list_or_empty, object_or_empty

MOST_NAMED = 30
INVALID_ENUM = "Invalid enum value "
"""The beginning of msgspec's message."""
_MESSAGE = re.compile(rf"({INVALID_ENUM}.+?)(?: - at `(\$.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[([^\]]*)\]")


def add_enum_values(message: str, schema: Any) -> str:
    """Return msgspec's message with the values that the schema allows there.

    A message about something else is returned as it is.
    """
    found = _MESSAGE.fullmatch(message)
    if found is None:
        return message
    values = enum_values(schema, found[2] or "$")
    if not values:
        return message
    where = f" - at `{found[2]}`" if found[2] else ""
    return f"{found[1]}, wanted {list_values(values)}{where}"


def list_values(values: list[Any]) -> str:
    """Return these values as words: `one of 'slow', 'fast'`."""
    named = ", ".join(map(repr, values[:MOST_NAMED]))
    return f"one of {named}" + (", ..." if len(values) > MOST_NAMED else "")


def enum_values(schema: Any, path: str) -> list[Any]:
    """Return the values that the schema lists at this path of msgspec; none if it lists none."""
    parts = object_or_empty(object_or_empty(schema).get("$defs"))
    places = [schema]
    for name, index in _STEP.findall(path.removeprefix("$")):
        places = [
            inner
            for place in places
            for each in _alternatives(place, parts)
            for inner in _step(each, name, index)
        ]
    values = [
        value
        for place in places
        for each in _alternatives(place, parts)
        for value in list_or_empty(each.get("enum"))
    ]
    return list(dict.fromkeys(values))


def _alternatives(schema: Any, parts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the schema, or those of its union, with references followed."""
    if not is_object(schema):
        return
    if isinstance(reference := schema.get("$ref"), str):
        yield from _alternatives(parts.get(reference.rpartition("/")[2]), parts)
    elif is_list(union := schema.get("anyOf")):
        for each in union:
            yield from _alternatives(each, parts)
    else:
        yield schema


def _step(schema: dict[str, Any], name: str, index: str) -> Iterator[Any]:
    """Yield the schemas of a field, or of the items or values."""
    if name:
        yield from (each for each in [object_or_empty(schema.get("properties")).get(name)] if each)
        return
    yield schema.get("items")
    prefix = list_or_empty(schema.get("prefixItems"))
    yield from [prefix[int(index)]] if index.isdigit() and int(index) < len(prefix) else prefix
    yield schema.get("additionalProperties")
