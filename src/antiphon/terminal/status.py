"""The status row: model, thread, context window, cost, servers. And the limits that it knows.

On a narrow terminal the least important part is left out. Colour alone never carries a meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from antiphon.client.async_client import AsyncClient
from antiphon.client.compaction import SHARE
from antiphon.client.formatting import dollars, short_number
from antiphon.client.thread_families import find_newest_run
from antiphon.settings.settings import Settings
from antiphon.terminal import spans
from antiphon.terminal.chat_state import ChatState, Window
from antiphon.terminal.spans import Line, StyledText
from antiphon.types.errors import NotFound
from antiphon.types.runs import DAY, Deadlines
from antiphon.types.terminal_safe import one_line

TITLE = 30
"""Cells of a thread's title, at most."""
BETWEEN = " · "


class StatusFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts for the row; none of them is cleaned.

    `context_tokens` are the tokens of the last turn, `window` those of the context window.
    `servers` are those that are not ready, with their state. `activity` is work that is not a
    reply.
    """

    model: str = ""
    title: str = ""
    context_tokens: int = 0
    window: int | None = None
    cost: float | None = None
    servers: Sequence[tuple[str, str]] = ()
    queued: int = 0
    activity: str = ""


class _Part(msgspec.Struct, frozen=True):
    """One part of the row; the one with the highest `rank` is left out first."""

    rank: int
    text: str
    style: str = "faint"


def row(facts: StatusFacts, columns: int, more: str) -> Line:
    """Return the row in at most `columns` cells; `more` marks a title that is cut."""
    parts = [part for part in _parts(facts, more) if part.text]
    while len(parts) > 1 and _width(parts) > columns:
        parts.remove(max(parts, key=lambda part: part.rank))
    spans = [StyledText(part.text, part.style) for part in parts]
    between = StyledText(BETWEEN, "faint")
    return tuple(each for span in spans for each in (between, span))[1:]


def _parts(facts: StatusFacts, more: str) -> Iterator[_Part]:
    """Yield all parts in order."""
    yield _Part(0, one_line(facts.activity), "strong")
    yield _Part(3, one_line(facts.model))
    yield _Part(6, _shorten_title(facts.title, more))
    yield _share(facts)
    yield _Part(5, dollars(facts.cost))
    for server, state in facts.servers:
        style = "faint" if state == "starting" else "warning"
        yield _Part(2, f"{one_line(server)} {state}", style)
    yield _Part(1, f"{facts.queued} queued" if facts.queued else "")
    yield _Part(7, "/help")


def _share(facts: StatusFacts) -> _Part:
    if not facts.context_tokens or not facts.window:
        return _Part(4, "")
    share = facts.context_tokens / facts.window
    text = f"{share:.0%} of {short_number(facts.window)}"
    return _Part(4, text, "warning" if share >= SHARE else "faint")


def _shorten_title(title: str, more: str) -> str:
    whole = one_line(title)
    return whole if spans.width(whole) <= TITLE else spans.head(whole, TITLE) + more


def _width(parts: Sequence[_Part]) -> int:
    return sum(spans.width(part.text) for part in parts) + len(BETWEEN) * (len(parts) - 1)


# The context window of the model that answers.


async def find_window(client: AsyncClient, state: ChatState) -> Window:
    """Return the model that answers and its window: chosen, last in the thread, or usual."""
    model = state.model
    if not model and state.thread_id is not None:
        newest = await find_newest_run(client, state.thread_id)
        model = newest.model if newest else None
    model = model or state.usual_model
    return await model_window(client, model) if model else Window()


async def model_window(client: AsyncClient, model: str) -> Window:
    """Return the model's window. Raises `NotFound`, or the runtime's error."""
    for known in (await client.list_models(model=model)).data:
        return Window(known.id, known.context_tokens)
    raise NotFound(f"There is no model {model}", hint="/models lists them.")


# The time limit of replies.


MORE = 300.0
"""Seconds that are added at a time."""


class ReplyLimit:
    """Time limit of one reply in seconds: the settings', or the one the user asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wanted: float | None = None

    def extend(self, model: str) -> float:
        """Add time for the next replies; return the new limit in seconds."""
        now = self.seconds(model) or self._settings.turn_timeout
        self._wanted = min(now + MORE, DAY)
        return self._wanted

    def deadlines(self) -> Deadlines:
        """Return the deadlines to send with a run."""
        return Deadlines(turn=self._wanted)

    def seconds(self, model: str) -> float | None:
        """Return the limit for this model; None if only a server knows it."""
        if self._wanted is not None:
            return self._wanted
        if self._settings.server:
            return None
        own: Any = self._settings.providers.get(model.partition(":")[0], {}).get("turn_timeout")
        return float(own) if own else self._settings.turn_timeout
