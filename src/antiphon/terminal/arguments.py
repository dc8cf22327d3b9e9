"""Show the arguments of a tool call for a decision, and as text to edit.

Nothing is lost and nothing is hidden: numbers stand as the model wrote them, a name given twice
appears twice, control and invisible characters are spelled out, and long runs of blanks are
counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from antiphon.terminal import spans
from antiphon.terminal.spans import Line, StyledText
from antiphon.types.errors import InvalidRequest
from antiphon.types.json_values import is_list
from antiphon.types.terminal_safe import clean

MOST_BLANKS = 20
"""Longest run of blanks that is shown as it is; longer runs are replaced by their length."""

_BLANKS = re.compile(
    rf"[\s\u2800]{{{MOST_BLANKS + 1},}}"
)  # the braille blank is a blank to the eye
_STEP = "  "
ROOM_FOR_WORDS = 60
"""Columns from which on a length is shown with its unit."""
DEEPEST_MARGIN = 12
"""Levels that are indented; deeper ones would fill the rows with blanks."""
LONGEST_NAME = 60
"""Characters of an argument's name in an overview; longer names are cut, with their length."""

Quoted = Callable[[str], Iterator[StyledText]]
Printable = Callable[[str], str]


class _Object(msgspec.Struct, frozen=True):
    """JSON object with all names as written, duplicates included."""

    pairs: list[tuple[str, Any]]


class _Number(msgspec.Struct, frozen=True):
    """Number as it was written."""

    written: str


def format_arguments(arguments: str) -> list[Line]:
    """Return the arguments laid out in lines; text that is not JSON is returned as it came."""
    try:
        return _split_lines(_format(_parse(arguments), "\n", _display))
    except (ValueError, RecursionError):
        warning = StyledText("These are no JSON:", "warning")
        return [
            (warning,),
            *_split_lines(_count_blanks(arguments, lambda text: clean(text, "approval"))),
        ]


class Argument(msgspec.Struct, frozen=True):
    """One argument. `lines` is name and value laid out, `length` the characters of the value."""

    name: str
    lines: list[Line]
    length: int


def parse_arguments(arguments: str) -> list[Argument]:
    """Return the arguments in the order in which they were written.

    Text that is not a JSON object becomes one argument without a name.
    """
    try:
        value = _parse(arguments)
        if isinstance(value, _Object):
            found: list[Argument] = []
            for name, part in value.pairs:
                shown = _split_lines(
                    [*_display(name), StyledText(": "), *_format(part, "\n", _display)]
                )
                length = sum(len(spans.text(row)) for row in shown)
                found.append(Argument(name, shown, len(part) if isinstance(part, str) else length))
            return found
    except (ValueError, RecursionError):
        pass
    return [Argument("", format_arguments(arguments), len(arguments))]


def overview(given: Sequence[Argument], columns: int, most: int) -> list[Line]:
    """Return all arguments in at most `most` rows of `columns` cells.

    Each argument is named, and each value is cut separately, with its length.
    """
    if len(given) > most:
        rows = [row for one in given[: most - 1] for row in _summarize(one, columns, 1)]
        names = ", ".join(short_name(one.name) for one in given[most - 1 :])
        more = f"and {len(given) - most + 1} more: {names}"
        return [*rows, spans.clip([StyledText(more, "warning")], columns, "...")]
    shares = _share_rows([len(spans.fold_all(one.lines, columns)) for one in given], most)
    return [
        row
        for one, share in zip(given, shares, strict=True)
        for row in _summarize(one, columns, share)
    ]


def names_row(given: Sequence[Argument], columns: int) -> list[Line]:
    """Return the names of all arguments in one row, as many as fit."""
    names = [short_name(one.name) for one in given if one.name]
    if not names:
        return []
    count = f"{len(names)} arguments: " if len(names) > 1 else "1 argument: "
    return [spans.clip([StyledText(count, "faint"), StyledText(", ".join(names))], columns, "...")]


def short_name(name: str) -> str:
    """Return the name of an argument on one line, cut to size, with nothing hidden in it."""
    line = clean(_json_body(name), "approval")
    if len(line) <= LONGEST_NAME:
        return line
    return f"{line[:LONGEST_NAME]}... ({len(name):,} characters)"


def _summarize(given: Argument, columns: int, most: int) -> list[Line]:
    rows = spans.fold_all(given.lines, columns)
    if len(rows) <= most:
        return rows
    words = " characters" if columns >= ROOM_FOR_WORDS else ""
    cut = StyledText(f" ... ({given.length:,}{words})", "warning")
    if len(given.name) > LONGEST_NAME:
        rows = [spans.clip([StyledText(f'"{short_name(given.name)}": ')], columns), *rows]
    if most == 1:
        return [(*spans.clip(rows[0], columns - spans.line_width([cut])), cut)]
    return [*rows[: most - 1], (cut._replace(text=cut.text.strip()),)]


def _share_rows(needs: Sequence[int], most: int) -> list[int]:
    """Divide `most` rows; arguments that need fewer leave the rest to the others."""
    shares = [0] * len(needs)
    left, waiting = most, len(needs)
    for place in sorted(range(len(needs)), key=needs.__getitem__):
        shares[place] = min(needs[place], left // waiting)
        left -= shares[place]
        waiting -= 1
    return shares


def to_editable(arguments: str) -> str:
    """Return the arguments laid out for a line editor, with unusual characters escaped."""
    try:
        spans = _format(_parse(arguments), "\n", _escape)
        return "".join(span.text for span in spans)
    except (ValueError, RecursionError):
        return arguments


def to_compact_json(typed: str) -> str:
    """Return the JSON object that a user typed on one line. Raises `InvalidRequest`."""
    try:
        value = _parse(typed)
        if isinstance(value, _Object):
            return "".join(span.text for span in _format(value, "", _escape))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"This is no JSON: {error}.") from error
    raise InvalidRequest("Arguments are one JSON object, in braces.")


def paragraph(text: str, style: str = "") -> list[Line]:
    """Return text from outside as lines, of any length, with nothing hidden in it."""
    counted = _count_blanks(text, lambda part: clean(part, "approval"))
    return _split_lines(span if span.style else StyledText(span.text, style) for span in counted)


def _parse(text: str) -> Any:
    """Parse JSON. Raises `ValueError`, or `RecursionError` if it is nested too deeply."""
    return json.loads(
        text or "{}",
        object_pairs_hook=_Object,
        parse_int=_Number,
        parse_float=_Number,
        parse_constant=_reject_constant,
    )


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _format(value: Any, margin: str, quoted: Quoted) -> Iterator[StyledText]:
    """Yield the value's text. `margin` begins each line; "" puts all of it on one line."""
    inner = margin and (margin + _STEP)[: 1 + DEEPEST_MARGIN * len(_STEP)]
    between = "," if margin else ", "
    match value:
        case _Object(pairs) if pairs:
            yield StyledText("{")
            for number, (name, part) in enumerate(pairs):
                yield StyledText(f"{between if number else ''}{inner}")
                yield from quoted(name)
                yield StyledText(": ")
                yield from _format(part, inner, quoted)
            yield StyledText(f"{margin}}}")
        case _Object():
            yield StyledText("{}")
        case [_, *_]:
            yield StyledText("[")
            for number, part in enumerate(value if is_list(value) else []):
                yield StyledText(f"{between if number else ''}{inner}")
                yield from _format(part, inner, quoted)
            yield StyledText(f"{margin}]")
        case str():
            yield from quoted(value)
        case _Number(written):
            yield StyledText(written)
        case _:
            yield StyledText(json.dumps(value))


def _display(text: str) -> Iterator[StyledText]:
    """Yield a string as it is shown."""
    yield StyledText('"')
    yield from _count_blanks(text, lambda part: clean(_json_body(part), "approval"))
    yield StyledText('"')


def _escape(text: str) -> Iterator[StyledText]:
    """Yield a string as it is edited: it parses to the same string."""
    escaped = (
        each
        if each not in '"\\\n\t' and clean(each, "approval") == each
        else json.dumps(each)[1:-1]
        for each in text
    )
    yield StyledText(f'"{"".join(escaped)}"')


def _json_body(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _count_blanks(text: str, printable: Printable) -> Iterator[StyledText]:
    """Yield the printable text, with long runs of blanks replaced by their length."""
    at = 0
    for blanks in _BLANKS.finditer(text):
        yield StyledText(printable(text[at : blanks.start()]))
        yield StyledText(f"[{len(blanks[0])} blanks]", "warning")
        at = blanks.end()
    yield StyledText(printable(text[at:]))


def _split_lines(spans: Iterable[StyledText]) -> list[Line]:
    lines: list[list[StyledText]] = [[]]
    for span in spans:
        first, *rest = span.text.split("\n")
        lines[-1].append(span._replace(text=first))
        lines += ([span._replace(text=part)] for part in rest)
    return [tuple(span for span in line if span.text) for line in lines]
