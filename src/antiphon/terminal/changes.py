"""What has become different about a tool since a person allowed it, in a few lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from antiphon.clean import one_line
from antiphon.messages import Hints
from antiphon.terminal.spans import Line, Span
from antiphon.tools.mcp.metadata import is_object
from antiphon.tools.questions import Shape

LONGEST = 160
"""Characters that are shown of a description."""


def told(before: Shape, now: Shape) -> Iterator[Line]:
    """A line for each thing that changed, what was first."""
    if before.origin != now.origin:
        yield _line("it is another program", before.origin, now.origin)
    if before.description != now.description:
        was, become = _around(before.description, now.description)
        yield _line("description", was, become)
    for name in sorted(_parameters(before).keys() | _parameters(now).keys()):
        yield from _parameter(name, _parameters(before).get(name), _parameters(now).get(name))
    if _rest(before) != _rest(now):
        yield _line("parameters", "", "what is needed of them, or how they fit together")
    for name in Hints.__struct_fields__:
        was, become = getattr(before.hints, name), getattr(now.hints, name)
        if was != become:
            yield _line(f"it says: {name.replace('_', ' ')}", _claim(was), _claim(become))


def _parameter(name: str, was: object, become: object) -> Iterator[Line]:
    if was is None:
        yield _line(f"parameter {name}", "not there", "new")
    elif become is None:
        yield _line(f"parameter {name}", "there", "gone")
    elif was != become:
        yield _line(f"parameter {name}", "", "another one")


def _line(what: str, was: str, become: str) -> Line:
    said = [Span(f"  {_short(what)}: ", "faint")]
    if was:
        said += [Span(_short(was)), Span(" -> ", "faint")]
    return (*said, Span(_short(become), "strong"))


def _short(text: str) -> str:
    line = one_line(text, "approval")
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def _around(was: str, become: str) -> tuple[str, str]:
    """Both from a little before the place on where they begin to differ."""
    same = next(
        (at for at, (one, other) in enumerate(zip(was, become, strict=False)) if one != other),
        min(len(was), len(become)),
    )
    begin = max(0, same - LONGEST // 4)
    mark = "..." if begin else ""
    return f"{mark}{was[begin:]}" or "(none)", f"{mark}{become[begin:]}" or "(none)"


def _claim(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)


def _parameters(shape: Shape) -> dict[str, Any]:
    found = shape.parameters.get("properties")
    return found if is_object(found) else {}


def _rest(shape: Shape) -> dict[str, object]:
    return {name: value for name, value in shape.parameters.items() if name != "properties"}
