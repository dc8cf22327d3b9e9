"""Fills a tool's parameters from the words of a question, as a model would, without one."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, TypeGuard

from antiphon.messages import ToolSpec


class Filler:
    """Deals out what a question holds: quotations, codes such as LAX, names, numbers, dates.

    Each is dealt once and in order, and again from the first when all are out; so two calls of one
    tool get different arguments where the question has enough of them.
    """

    def __init__(self, question: str) -> None:
        self._question = question
        self._found: dict[str, list[str]] = {
            kind: pattern.findall(question) for kind, pattern in _KINDS.items()
        }
        self._dealt: Counter[str] = Counter()

    def arguments(self, spec: ToolSpec) -> dict[str, Any]:
        """An object that fits the tool's schema, with its required properties alone."""
        filled = self._value(spec.parameters, "", spec.parameters, 0)
        return filled if _is_object(filled) else {}

    def _value(self, schema: Any, name: str, root: dict[str, Any], depth: int) -> Any:
        if not _is_object(schema) or depth > _MAX_DEPTH:
            return None
        schema = _resolved(schema, root)
        given = next((schema[key] for key in ("const", "default") if key in schema), None)
        if given is not None:
            return given
        if schema.get("enum"):
            return self._one_of(schema["enum"])
        kind = _type(schema)
        if kind == "object":
            properties = schema.get("properties", {})
            return {
                wanted: self._value(properties.get(wanted, {}), wanted, root, depth + 1)
                for wanted in schema.get("required", ())
            }
        if kind == "array":
            count = min(max(1, schema.get("minItems", 1)), _MAX_ITEMS)
            items = schema.get("items", {})
            return [self._value(items, name, root, depth + 1) for _ in range(count)]
        return self._plain(kind, schema, name)

    def _plain(self, kind: str, schema: dict[str, Any], name: str) -> Any:
        match kind:
            case "integer" | "number":
                return self._number(schema, kind)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return self._string(schema, name)

    def _one_of(self, choices: list[Any]) -> Any:
        lower = self._question.lower()
        named = (choice for choice in choices if str(choice).lower() in lower)
        return next(named, choices[0])

    def _number(self, schema: dict[str, Any], kind: str) -> float:
        number = float(self._next("number") or schema.get("minimum", 1))
        number = min(max(number, schema.get("minimum", number)), schema.get("maximum", number))
        return int(number) if kind == "integer" or number.is_integer() else number

    def _string(self, schema: dict[str, Any], name: str) -> str:
        match schema.get("format"):
            case "date":
                return self._next("date") or "2030-01-01"
            case "date-time":
                return f"{self._next('date') or '2030-01-01'}T12:00:00Z"
            case _:
                found = self._next("quotation")
                if found is None and name not in _WHOLE:
                    first, second = ("name", "code") if name in _PLACES else ("code", "name")
                    found = self._next(first) or self._next(second)
                return (found or self._question)[: schema.get("maxLength", _MAX_LETTERS)]

    def _next(self, kind: str) -> str | None:
        found = self._found[kind]
        if not found:
            return None
        self._dealt[kind] += 1
        return found[(self._dealt[kind] - 1) % len(found)]


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """The schema behind a local reference, or the first that is not null of several."""
    reference = schema.get("$ref")
    if isinstance(reference, str):
        target: Any = root
        for step in reference.removeprefix("#/").split("/"):
            target = target.get(step) if _is_object(target) else None
        return target if _is_object(target) else {}
    for several in ("anyOf", "oneOf", "allOf"):
        choices = [one for one in schema.get(several, ()) if _is_object(one)]
        chosen = next((one for one in choices if one.get("type") != "null"), None)
        if chosen is not None:
            return {**schema, **_resolved(chosen, root)} if "$ref" in chosen else chosen
    return schema


def _type(schema: dict[str, Any]) -> str:
    kind: Any = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, str):
        return kind
    return next((one for one in kind if one != "null"), "string")


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


_KINDS = {
    "quotation": re.compile(r'["“”]([^"“”]+)["“”]'),
    "code": re.compile(r"\b[A-Z]{3}\b"),
    "name": re.compile(r"(?<=\w[ ,-])(?![A-Z]{3}\b)[A-Z][\w'-]+(?: [A-Z][\w'-]+)*"),
    "number": re.compile(r"(?<![\w.-])-?\d+(?:\.\d+)?(?![\w-])"),
    "date": re.compile(r"\b\d{4}-\d{2}-\d{2}\b"),
}
_WHOLE = frozenset({"expression", "input", "message", "prompt", "query", "question", "text"})
_PLACES = frozenset({"city", "country", "location", "place", "region", "town"})
_MAX_DEPTH = 8  # a schema may refer to itself
_MAX_ITEMS = 8
_MAX_LETTERS = 1_000
