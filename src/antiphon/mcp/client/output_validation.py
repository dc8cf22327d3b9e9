"""Validation of a tool's structured output against the schema that its server wrote.

Neither is trusted, so the work is bounded: no regular expression is matched, nothing is fetched,
and each part of the output is judged at most once by each part of the schema, however references
lead. The result of a keyword that is not supported is unknown; an output is refused only if it is
certainly invalid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote

import msgspec

from antiphon.mcp.metadata import clean_line
from antiphon.tools.argument_check import Budget, TooCostly
from antiphon.types.json_values import is_list, is_object

STEPS = 200_000
"""Budget of comparisons between a part of an output and a part of a schema:

some tenths of a second.
"""
DEEPEST = 100
"""Depth of nested schemas, references included."""


class OutputPath(NamedTuple):
    """Path to a part of an output, as a linked list from the innermost name or index."""

    within: OutputPath | None
    name: str | int

    def __str__(self) -> str:
        names: list[str] = []
        place: OutputPath | None = self
        while place is not None:
            names.append(clean_line(str(place.name)[:_LONGEST_NAME], _LONGEST_NAME))
            place = place.within
        return "/".join(reversed(names))


class Violation(NamedTuple):
    """Violation that makes an output certainly invalid."""

    place: OutputPath | None
    message: str

    def __str__(self) -> str:
        return f"{self.place or 'the output'} {self.message}"


Verdict = Violation | Literal["valid", "unknown"]


def find_violation(output: Any, schema: Mapping[str, Any], steps: int = STEPS) -> str | None:
    """Return how the structured output violates the schema, None if it does not.

    `schema` is a JSON Schema of draft 7 or 2020-12. Raises `TooCostly` if `steps` do not suffice.
    """
    try:
        verdict = _Validation(schema, Budget(steps)).judge(output, schema, None)
    except (OverflowError, RecursionError) as error:  # numbers that no float holds, for one
        raise TooCostly(str(error)) from error
    return str(verdict) if isinstance(verdict, Violation) else None


class _Validation:
    """Validation of one output; `judge` is called for each of its parts."""

    def __init__(self, root: Mapping[str, Any], budget: Budget) -> None:
        self._root = root
        self._budget = budget
        self._verdicts: dict[tuple[int, int], Verdict] = {}
        self._targets: dict[str, Any] = {}
        self._depth = 0
        self._alone = any(old in str(root.get("$schema", ""))[:100] for old in _REFERENCE_ALONE)

    def judge(self, value: Any, schema: Any, place: OutputPath | None) -> Verdict:
        """Return whether the value follows the schema."""
        if isinstance(schema, bool):
            return "valid" if schema else Violation(place, "must not be there")
        if not is_object(schema):
            return "unknown"
        key = (id(value), id(schema))
        if key in self._verdicts:
            return self._verdicts[key]
        self._budget.spend(1 + len(schema))
        self._verdicts[key] = "unknown"  # for a reference that leads back here
        self._depth += 1
        if self._depth > DEEPEST:
            raise TooCostly("it is nested too deeply")
        verdict = _all(self._judge_keywords(value, schema, place))
        self._depth -= 1
        self._verdicts[key] = verdict
        return verdict

    def _judge_keywords(
        self, value: Any, schema: dict[str, Any], place: OutputPath | None
    ) -> Iterator[Verdict]:
        for word in ("$ref", "$dynamicRef"):
            if word in schema:
                yield self._judge_reference(value, schema[word], place)
                if self._alone:
                    return
        if any(word in schema for word in _UNKNOWN):
            yield "unknown"
        yield from self._judge_value(value, schema, place)
        yield from self._judge_combinators(value, schema, place)
        if is_object(value):
            yield from self._judge_object(value, schema, place)
        elif is_list(value):
            yield from self._judge_list(value, schema, place)

    def _judge_reference(self, value: Any, reference: Any, place: OutputPath | None) -> Verdict:
        if not isinstance(reference, str) or not reference.startswith("#"):
            return "unknown"
        if reference not in self._targets:
            self._targets[reference] = self._target(reference[1:])
        return self.judge(value, self._targets[reference], place)

    def _target(self, pointer: str) -> Any:
        """Resolve a JSON Pointer or an anchor of the schema; None if it leads nowhere."""
        if pointer and not pointer.startswith("/"):
            return self._find_anchor(pointer)
        found: Any = self._root
        for step in pointer.split("/")[1:]:
            self._budget.spend(1)
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            if is_object(found):
                found = found.get(name)
            elif is_list(found) and name.isascii() and name.isdigit():
                found = found[int(name[:9])] if int(name[:9]) < len(found) else None
            else:
                return None
        return found

    def _find_anchor(self, name: str) -> Any:
        waiting: list[Any] = [self._root]
        while waiting:
            self._budget.spend(1)
            each = waiting.pop()
            if is_object(each):
                if name in (each.get("$anchor"), each.get("$dynamicAnchor")):
                    return each
                waiting.extend(each.values())
            elif is_list(each):
                waiting.extend(each)
        return None

    def _judge_value(
        self, value: Any, schema: dict[str, Any], place: OutputPath | None
    ) -> Iterator[Verdict]:
        """Judge by the keywords about the value itself."""
        if "type" in schema:
            yield _judge_type(value, schema["type"], place)
        if "const" in schema:
            yield self._judge_enum(value, [schema["const"]], place)
        if is_list(choices := schema.get("enum")):
            yield self._judge_enum(value, choices, place)
        for word, (applies, measure, fits, wanted) in _BOUNDS.items():
            bound = schema.get(word)
            if bound is not None and applies(value):
                if not _is_number(bound):
                    yield "unknown"
                elif not fits(measure(value), bound):
                    yield Violation(place, f"{wanted} {bound if abs(bound) < _LARGE else 'wanted'}")
        if schema.get("uniqueItems") is True and is_list(value):
            self._budget.spend(_weight(value))
            different = {msgspec.json.encode(each, order="sorted") for each in value}
            if len(different) < len(value):
                yield Violation(place, "has an item twice")

    def _judge_enum(self, value: Any, choices: list[Any], place: OutputPath | None) -> Verdict:
        for choice in choices:
            self._budget.spend(
                1 + (_weight(choice) if isinstance(choice, str | list | dict) else 0)
            )
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                return "valid"
        return Violation(place, "is none of the values that there are")

    def _judge_combinators(
        self, value: Any, schema: dict[str, Any], place: OutputPath | None
    ) -> Iterator[Verdict]:
        """Judge by the keywords that combine schemas."""
        for each in _list_of(schema, "allOf"):
            yield self.judge(value, each, place)
        if choices := _list_of(schema, "anyOf"):
            yield _any(self.judge(value, each, place) for each in choices)
        if choices := _list_of(schema, "oneOf"):
            yield _one((self.judge(value, each, place) for each in choices), place)
        if "not" in schema:
            verdict = self.judge(value, schema["not"], place)
            if verdict == "valid":
                yield Violation(place, "is what it must not be")
            elif verdict == "unknown":
                yield "unknown"
        if "if" in schema:
            verdict = self.judge(value, schema["if"], place)
            if verdict == "unknown":
                yield "unknown"
            else:
                then = schema.get("then" if verdict == "valid" else "else", True)
                yield self.judge(value, then, place)

    def _judge_object(
        self, value: dict[str, Any], schema: dict[str, Any], place: OutputPath | None
    ) -> Iterator[Verdict]:
        for name in _list_of(schema, "required"):
            self._budget.spend(1)
            if isinstance(name, str) and name not in value:
                yield Violation(OutputPath(place, name), "is missing")
        known = _object_of(schema, "properties")
        self._budget.spend(len(known))
        for name in known.keys() & value.keys():
            yield self.judge(value[name], known[name], OutputPath(place, name))
        others = schema.get("additionalProperties", True)
        if others is not True and "patternProperties" not in schema:
            for name in value.keys() - known.keys():
                yield self.judge(value[name], others, OutputPath(place, name))
        names = schema.get("propertyNames", True)
        if names is not True:
            for name in value:
                yield self.judge(name, names, OutputPath(place, name))
        for name, needed in _object_of(schema, "dependentRequired").items():
            if name in value and is_list(needed):
                yield from self._judge_object(value, {"required": needed}, place)
        for name, each in _object_of(schema, "dependentSchemas").items():
            if name in value:
                yield self.judge(value, each, place)

    def _judge_list(
        self, value: list[Any], schema: dict[str, Any], place: OutputPath | None
    ) -> Iterator[Verdict]:
        first, rest = _list_of(schema, "prefixItems"), schema.get("items", True)
        if is_list(rest):  # as drafts before 2020-12 have it
            first, rest = rest, schema.get("additionalItems", True)
        for number, (item, each) in enumerate(zip(value, first, strict=False)):
            yield self.judge(item, each, OutputPath(place, number))
        if rest is not True:
            for number in range(len(first), len(value)):
                yield self.judge(value[number], rest, OutputPath(place, number))
        if "contains" in schema:
            wanted = schema["contains"]
            yield _judge_contains(
                [self.judge(item, wanted, place) for item in value], schema, place
            )


def _all(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the first violation, else `unknown` if any verdict is."""
    found: Verdict = "valid"
    for verdict in verdicts:
        if isinstance(verdict, Violation):
            return verdict
        if verdict == "unknown":
            found = "unknown"
    return found


def _any(verdicts: Iterable[Verdict]) -> Verdict:
    found: Verdict | None = None
    for verdict in verdicts:
        if verdict == "valid":
            return "valid"
        if verdict == "unknown" or found is None:
            found = verdict
    return found or "valid"


def _one(verdicts: Iterable[Verdict], place: OutputPath | None) -> Verdict:
    found = list(verdicts)
    valid = found.count("valid")
    if valid > 1:
        return Violation(place, "follows more than one of the schemas of which it may follow one")
    if "unknown" in found:
        return "unknown"
    return "valid" if valid else found[0]


def _judge_contains(
    verdicts: Sequence[Verdict], schema: dict[str, Any], place: OutputPath | None
) -> Verdict:
    """Judge the number of items that match `contains`."""
    least, most = schema.get("minContains", 1), schema.get("maxContains")
    valid, unknown = verdicts.count("valid"), verdicts.count("unknown")
    if not _is_number(least) or not (most is None or _is_number(most)):
        return "unknown"
    if valid + unknown < least:
        return Violation(place, "has too few items of a kind")
    if most is not None and valid > most:
        return Violation(place, "has too many items of a kind")
    return "unknown" if unknown else "valid"


def _judge_type(value: Any, wanted: Any, place: OutputPath | None) -> Verdict:
    names: list[Any] = wanted if is_list(wanted) else [wanted]
    for name in names:
        if not isinstance(name, str) or name not in _TYPES:
            return "unknown"
        if _TYPES[name](value):
            return "valid"
    return Violation(place, f"is not of type {' or '.join(names[: len(_TYPES)])}")


def _weight(value: Any) -> int:
    """Return the cost of comparing a value, in steps."""
    return len(msgspec.json.encode(value)) // 16


def _list_of(schema: dict[str, Any], word: str) -> list[Any]:
    return found if is_list(found := schema.get(word)) else []


def _object_of(schema: dict[str, Any], word: str) -> dict[str, Any]:
    return found if is_object(found := schema.get(word)) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_multiple(value: Any, of: Any) -> bool:
    if isinstance(value, float) or isinstance(of, float):
        return True  # a division of floats is inexact, and a valid output must not be refused
    return of == 0 or bool(value % of == 0)


_Test = Callable[[Any], bool]
_TYPES: Mapping[str, _Test] = {
    "object": is_object,
    "array": is_list,
    "string": _is_text,
    "number": _is_number,
    "integer": lambda value: _is_number(value) and value == value // 1,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def _itself(value: Any) -> Any:
    return value


_BOUNDS: Mapping[str, tuple[_Test, Callable[[Any], Any], Callable[[Any, Any], bool], str]] = {
    "minimum": (_is_number, _itself, lambda value, bound: value >= bound, "is less than"),
    "maximum": (_is_number, _itself, lambda value, bound: value <= bound, "is more than"),
    "exclusiveMinimum": (_is_number, _itself, lambda value, bound: value > bound, "is not above"),
    "exclusiveMaximum": (_is_number, _itself, lambda value, bound: value < bound, "is not below"),
    "multipleOf": (_is_number, _itself, _is_multiple, "is no multiple of"),
    "minLength": (_is_text, len, lambda size, bound: size >= bound, "is shorter than"),
    "maxLength": (_is_text, len, lambda size, bound: size <= bound, "is longer than"),
    "minItems": (is_list, len, lambda size, bound: size >= bound, "has fewer items than"),
    "maxItems": (is_list, len, lambda size, bound: size <= bound, "has more items than"),
    "minProperties": (is_object, len, lambda size, bound: size >= bound, "has fewer names than"),
    "maxProperties": (is_object, len, lambda size, bound: size <= bound, "has more names than"),
}
_UNKNOWN = (
    *("pattern", "patternProperties", "dependencies", "unevaluatedItems", "unevaluatedProperties"),
    *("$recursiveRef", "$id"),
)
"""Keywords that are not supported: regular expressions, and annotations of other keywords."""
_REFERENCE_ALONE = ("draft-04", "draft-06", "draft-07")
"""Versions in which a `$ref` overrides its siblings."""
_LONGEST_NAME = 80
_LARGE = 1e15  # bounds from here on are not written out in errors
