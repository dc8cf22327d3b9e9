"""The arguments of a call as a person reads them before they decide, and as they edit them.

Nothing is lost and nothing hides: numbers stand as the model wrote them, a name that is given twice
is there twice, what acts on a terminal or is not seen is spelled out, and many blanks are counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from antiphon.clean import clean
from antiphon.errors import InvalidRequest
from antiphon.terminal.spans import Line, Span
from antiphon.tools.mcp.metadata import is_list

MOST_BLANKS = 20
"""In a row; of more, the person is told how many there are."""

_BLANKS = re.compile(
    rf"[\s\u2800]{{{MOST_BLANKS + 1},}}"
)  # the braille blank is a blank to the eye
_STEP = "  "

Quoted = Callable[[str], Iterator[Span]]
Printable = Callable[[str], str]


class _Object(msgspec.Struct, frozen=True):
    """A JSON object with all the names that were written."""

    pairs: list[tuple[str, Any]]


class _Number(msgspec.Struct, frozen=True):
    """A number as it was written."""

    written: str


def shown(arguments: str) -> list[Line]:
    """The arguments laid out, line by line; what is no JSON stands as it came."""
    try:
        return _lines(_laid_out(_parsed(arguments), "\n", _displayed))
    except (ValueError, RecursionError):
        said = Span("These are no JSON:", "warning")
        return [(said,), *_lines(_counted(arguments, lambda text: clean(text, "approval")))]


def editable(arguments: str) -> str:
    """The arguments laid out for a line editor, as JSON in which all that is odd is escaped."""
    try:
        spans = _laid_out(_parsed(arguments), "\n", _escaped)
        return "".join(span.text for span in spans)
    except (ValueError, RecursionError):
        return arguments


def compact(typed: str) -> str:
    """One JSON object on one line, for what a person typed. Raises `InvalidRequest`."""
    try:
        value = _parsed(typed)
        if isinstance(value, _Object):
            return "".join(span.text for span in _laid_out(value, "", _escaped))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"This is no JSON: {error}.") from error
    raise InvalidRequest("Arguments are one JSON object, in braces.")


def paragraph(text: str, style: str = "") -> list[Line]:
    """Foreign words of any length, with nothing hidden in them."""
    counted = _counted(text, lambda part: clean(part, "approval"))
    return _lines(span if span.style else Span(span.text, style) for span in counted)


def _parsed(text: str) -> Any:
    """Raises `ValueError`, or `RecursionError` where it is too deep."""
    return json.loads(
        text or "{}",
        object_pairs_hook=_Object,
        parse_int=_Number,
        parse_float=_Number,
        parse_constant=_no_constant,
    )


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _laid_out(value: Any, margin: str, quoted: Quoted) -> Iterator[Span]:
    """Its text; `margin` is what begins a line there, nothing where all stands on one."""
    inner = margin and margin + _STEP
    between = "," if margin else ", "
    match value:
        case _Object(pairs) if pairs:
            yield Span("{")
            for number, (name, part) in enumerate(pairs):
                yield Span(f"{between if number else ''}{inner}")
                yield from quoted(name)
                yield Span(": ")
                yield from _laid_out(part, inner, quoted)
            yield Span(f"{margin}}}")
        case _Object():
            yield Span("{}")
        case [_, *_]:
            yield Span("[")
            for number, part in enumerate(_parts(value)):
                yield Span(f"{between if number else ''}{inner}")
                yield from _laid_out(part, inner, quoted)
            yield Span(f"{margin}]")
        case str():
            yield from quoted(value)
        case _Number(written):
            yield Span(written)
        case _:
            yield Span(json.dumps(value))


def _parts(value: Any) -> list[Any]:
    return value if is_list(value) else []


def _displayed(text: str) -> Iterator[Span]:
    """A string as it is looked at."""
    yield Span('"')
    yield from _counted(text, lambda part: clean(_inside(part), "approval"))
    yield Span('"')


def _escaped(text: str) -> Iterator[Span]:
    """A string as it is edited: it reads back as the same."""
    yield Span(f'"{"".join(map(_spelled, text))}"')


def _spelled(character: str) -> str:
    if clean(character, "approval") == character and character not in '"\\\n\t':
        return character
    return json.dumps(character)[1:-1]


def _inside(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _counted(text: str, printable: Printable) -> Iterator[Span]:
    """The printable text, with many blanks counted instead of shown."""
    at = 0
    for blanks in _BLANKS.finditer(text):
        yield Span(printable(text[at : blanks.start()]))
        yield Span(f"[{len(blanks[0])} blanks]", "warning")
        at = blanks.end()
    yield Span(printable(text[at:]))


def _lines(spans: Iterable[Span]) -> list[Line]:
    lines: list[list[Span]] = [[]]
    for span in spans:
        first, *rest = span.text.split("\n")
        lines[-1].append(span._replace(text=first))
        lines += ([span._replace(text=part)] for part in rest)
    return [tuple(span for span in line if span.text) for line in lines]
