"""The row below the line: who answers, in which thread, how full the window is, what it cost.

On a narrow terminal what matters least is left out. Nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from antiphon.client.async_client import AsyncClient
from antiphon.client.compaction import SHARE
from antiphon.client.formatting import dollars, short_number
from antiphon.settings.settings import Settings
from antiphon.terminal import spans
from antiphon.terminal.chat_state import ChatState, Window
from antiphon.terminal.spans import Line, Span
from antiphon.types.errors import NotFound
from antiphon.types.runs import DAY, Deadlines
from antiphon.types.terminal_safe import one_line

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
    context_tokens: int = 0
    window: int | None = None
    cost: float | None = None
    servers: Sequence[tuple[str, str]] = ()
    queued: int = 0
    activity: str = ""


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


def _share(facts: Facts) -> _Part:
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


# How much of a conversation the model takes that answers here.


async def find_window(client: AsyncClient, state: ChatState) -> Window:
    """As things are: of the model that was chosen, that answered here last, or of the usual one."""
    model = state.model
    if not model and state.thread_id is not None:
        newest = (await client.list_runs(state.thread_id, limit=1)).data
        model = newest[0].model if newest else None
    model = model or state.usual_model
    return await model_window(client, model) if model else Window()


async def model_window(client: AsyncClient, model: str) -> Window:
    """As its provider, or a list, has it. Raises `NotFound`, or what the runtime says of it."""
    for known in (await client.list_models(model=model)).data:
        return Window(known.id, known.context_tokens)
    raise NotFound(f"There is no model {model}", hint="/models lists them.")


# How long a reply may take, as far as a chat knows and can say.


MORE = 300.0
"""Seconds that are added at once."""


class ReplyLimit:
    """The seconds of one reply: as the settings have it, or as the person wants it here."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wanted: float | None = None

    def extend(self, model: str) -> float:
        """Give the next replies more time; the seconds that each may take."""
        now = self.seconds(model) or self._settings.turn_timeout
        self._wanted = min(now + MORE, DAY)
        return self._wanted

    def deadlines(self) -> Deadlines:
        """What a run is to be told."""
        return Deadlines(turn=self._wanted)

    def seconds(self, model: str) -> float | None:
        """How long a reply of this model may take; None where a server knows and this chat does
        not.
        """
        if self._wanted is not None:
            return self._wanted
        if self._settings.server:
            return None
        own: Any = self._settings.providers.get(model.partition(":")[0], {}).get("turn_timeout")
        return float(own) if own else self._settings.turn_timeout
