"""The row below the line: who answers, in which thread, how full the window is, what it cost.

On a narrow terminal what matters least is left out. Nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from antiphon.clean import one_line
from antiphon.client.amounts import dollars, short
from antiphon.client.compaction import SHARE
from antiphon.terminal import cells
from antiphon.terminal.spans import Line, Span

TITLE = 30
"""Cells that a thread's title takes, at most."""
BETWEEN = " · "


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to tell; nothing of it is cleaned.

    `told` is how many tokens the model was told last, `window` how many it takes. `servers` are
    those that are not ready, each with how it is. `doing` is what goes on that is no reply.
    """

    model: str = ""
    title: str = ""
    told: int = 0
    window: int | None = None
    cost: float | None = None
    servers: Sequence[tuple[str, str]] = ()
    queued: int = 0
    doing: str = ""


class _Part(msgspec.Struct, frozen=True):
    """One of them; what has the highest `rank` is left out first."""

    rank: int
    text: str
    style: str = "faint"


def row(facts: Facts, columns: int, more: str) -> Line:
    """The row in so many cells; `more` says that a title goes on."""
    parts = [part for part in _parts(facts, more) if part.text]
    while len(parts) > 1 and _width(parts) > columns:
        parts.remove(max(parts, key=lambda part: part.rank))
    spans = [Span(part.text, part.style) for part in parts]
    between = Span(BETWEEN, "faint")
    return tuple(each for span in spans for each in (between, span))[1:]


def _parts(facts: Facts, more: str) -> Iterator[_Part]:
    """All of them, in the order in which they stand."""
    yield _Part(0, one_line(facts.doing), "strong")
    yield _Part(3, one_line(facts.model))
    yield _Part(6, _titled(facts.title, more))
    yield _share(facts)
    yield _Part(5, dollars(facts.cost))
    for server, state in facts.servers:
        style = "faint" if state == "starting" else "warning"
        yield _Part(2, f"{one_line(server)} {state}", style)
    yield _Part(1, f"{facts.queued} queued" if facts.queued else "")
    yield _Part(7, "/help")


def _share(facts: Facts) -> _Part:
    if not facts.told or not facts.window:
        return _Part(4, "")
    share = facts.told / facts.window
    text = f"{share:.0%} of {short(facts.window)}"
    return _Part(4, text, "warning" if share >= SHARE else "faint")


def _titled(title: str, more: str) -> str:
    whole = one_line(title)
    return whole if cells.width(whole) <= TITLE else cells.head(whole, TITLE) + more


def _width(parts: Sequence[_Part]) -> int:
    return sum(cells.width(part.text) for part in parts) + len(BETWEEN) * (len(parts) - 1)
