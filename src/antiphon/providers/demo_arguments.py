"""Arguments for the demo model's tool calls, filled from the user's message."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec

from antiphon.types.json_values import is_object, list_or_empty, object_or_empty
from antiphon.types.messages import ToolSpec

MAX_ARGUMENTS = 10_000  # characters and values in one call: a schema may refer to itself


class ArgumentFiller:
    """Fills parameters with the question's quotations, codes such as LAX, names, numbers, dates.

    Values of a kind are used in order, then from the first again: two calls of one tool get
    different arguments if the question has enough values.
    """

    def __init__(self, question: str) -> None:
        self._question = question
        self._lower = question.lower()
        self._found: dict[str, list[str]] = {
            kind: [found[found.lastindex or 0] for found in pattern.finditer(question)]
            for kind, pattern in _KINDS.items()
        }
        self._dealt: Counter[str] = Counter()
        self._left = 0

    @property
    def quotations(self) -> list[str]:
        """The quotations of the question, in order."""
        return self._found["quotation"]

    def arguments(self, spec: ToolSpec) -> dict[str, Any]:
        """Return an object that fits the tool's schema, with only its required properties.

        The object is partial for an invalid schema, or one that exceeds `MAX_ARGUMENTS`.
        """
        self._left = MAX_ARGUMENTS
        filled = self._value(spec.parameters, "", spec.parameters, 0)
        return filled if is_object(filled) else {}

    def _value(self, schema: Any, name: str, root: dict[str, Any], depth: int) -> Any:
        self._left -= 1 + len(name)
        if not is_object(schema) or depth > _MAX_DEPTH or self._left < 0:
            return None
        for _ in range(_MAX_STEPS):
            given = next((schema[key] for key in ("const", "default") if key in schema), None)
            if given is not None:
                return self._charge(given)
            inner = _resolve(schema, root)
            if inner is None:
                break
            schema = inner
        if choices := list_or_empty(schema.get("enum")):
            choices = choices[:_MAX_CHOICES]
            return self._charge(next(filter(self._mentions, choices), choices[0]))
        match _type(schema):
            case "object":
                properties = object_or_empty(schema.get("properties"))
                return {
                    wanted: self._value(properties.get(wanted, {}), wanted, root, depth + 1)
                    for wanted in list_or_empty(schema.get("required"))
                    if isinstance(wanted, str)
                }
            case "array":
                count = _number(schema.get("minItems"), 1)
                items = schema.get("items", {})
                return [
                    self._value(items, name, root, depth + 1)
                    for _ in range(int(min(max(1, count), _MAX_ITEMS)))
                ]
            case kind:
                return self._plain(kind, schema, name)

    def _charge(self, given: Any) -> Any:
        """Return a value of the schema, or None if the limit is exceeded."""
        self._left -= len(_encode(given))
        return given if self._left >= 0 else None

    def _plain(self, kind: str, schema: dict[str, Any], name: str) -> Any:
        match kind:
            case "integer" | "number":
                return self._number(schema, kind)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                text = self._string(schema, name)
                self._left -= len(text)
                return text

    def _mentions(self, value: Any) -> bool:
        """Return whether the question contains this word or number."""
        if isinstance(value, str):
            return len(value) <= _MAX_CHARACTERS and value.lower() in self._lower
        return isinstance(value, int | float) and str(value).lower() in self._lower

    def _number(self, schema: dict[str, Any], kind: str) -> float:
        found = self._next("number")
        number = float(found) if found else _number(schema.get("minimum"), 1.0)
        number = max(number, _number(schema.get("minimum"), number))
        number = float(min(number, _number(schema.get("maximum"), number)))
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
                limit = max(0, _number(schema.get("maxLength"), _MAX_CHARACTERS))
                return (found or self._question)[: int(min(limit, _MAX_CHARACTERS))]

    def _next(self, kind: str) -> str | None:
        found = self._found[kind]
        if not found:
            return None
        self._dealt[kind] += 1
        return found[(self._dealt[kind] - 1) % len(found)]


def _resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any] | None:
    """Return the target of a local reference, or the first alternative other than null."""
    reference = schema.get("$ref")
    if isinstance(reference, str):
        target: Any = root
        for step in reference.removeprefix("#").split("/", _MAX_STEPS)[1:]:
            target = target.get(step) if is_object(target) else None
        return object_or_empty(target)
    for several in ("anyOf", "oneOf", "allOf"):
        for choice in list_or_empty(schema.get(several))[:_MAX_CHOICES]:
            if is_object(choice) and choice.get("type") != "null":
                return choice
    return None


def _type(schema: dict[str, Any]) -> str:
    kind: Any = schema.get("type", "object" if "properties" in schema else "string")
    kinds = [kind, *list_or_empty(kind)[:_MAX_CHOICES]]
    named = next((name for name in kinds if isinstance(name, str) and name != "null"), None)
    return named or ("null" if "null" in kinds else "string")


def _number(value: Any, otherwise: float) -> float:
    """Return a number of the schema, or `otherwise` if a float cannot hold it exactly."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) <= _MAX_NUMBER else otherwise


_encode = msgspec.json.Encoder().encode
_KINDS = {
    "quotation": re.compile(r"""["“”]([^"“”]+)["“”]|(?<!\w)'([^'\n]+)'(?!\w)"""),
    "code": re.compile(r"\b[A-Z]{3}\b"),
    "name": re.compile(r"(?<=\w[ ,-])(?![A-Z]{3}\b)[A-Z][\w'-]+(?: [A-Z][\w'-]+)*"),
    "number": re.compile(r"(?<![\w.-])-?\d{1,15}(?:\.\d{1,15})?(?![\w-])"),
    "date": re.compile(r"\b\d{4}-\d{2}-\d{2}\b"),
}
_WHOLE = frozenset({"expression", "input", "message", "prompt", "query", "question", "text"})
_PLACES = frozenset({"city", "country", "location", "place", "region", "town"})
_MAX_DEPTH = 8  # a schema may refer to itself
_MAX_ITEMS = 8
_MAX_STEPS = 8  # references and alternatives to follow
_MAX_CHOICES = 100
_MAX_CHARACTERS = 1_000
_MAX_NUMBER = 2**53
