"""The command that finds words in conversations."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from msgspec.structs import replace

from antiphon.api.operations import Search, SearchHit
from antiphon.client.formatting import format_indexing, split_highlights
from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.spans import Line, StyledText
from antiphon.types.errors import InvalidRequest
from antiphon.types.terminal_safe import clean, one_line

LISTED = 10
MORE = "more"


async def _search(chat: CommandContext, words: str) -> None:
    going_on = words == MORE
    if not going_on:
        if not words:
            raise InvalidRequest("Words are missing", expected="/search WORDS")
        chat.state.listed_threads, chat.state.next_listing = (), None
        chat.state.next_search = Search(words, limit=LISTED)
        chat.state.found, chat.state.search_words = (), words
    if chat.state.next_search is None:
        chat.ui.say("There are no more. /search WORDS begins a search.", "faint")
        return
    page = await chat.client.transport.send(chat.state.next_search)
    if page.indexing is not None:
        chat.ui.say(format_indexing(page.indexing), "faint")
    if not page.data and not going_on:
        chat.ui.say(f"No message and no title has {words!r} in it.", "faint")
    numbered = enumerate(page.data, len(chat.state.listed_threads) + 1)
    chat.ui.show_rows([row for number, hit in numbered for row in _rows(number, hit, chat)])
    chat.state.listed_threads = (*chat.state.listed_threads, *(hit.thread_id for hit in page.data))
    chat.state.found = (*chat.state.found, *page.data)
    chat.state.next_search = (
        replace(chat.state.next_search, after=page.next) if page.has_more else None
    )
    if page.data:
        more = f" /search {MORE} shows further results." if page.has_more else ""
        chat.ui.say(f"/resume NUMBER continues that thread.{more}", "faint")


def _rows(number: int, hit: SearchHit, chat: CommandContext) -> Iterator[Line]:
    moment = datetime.fromtimestamp(hit.created_at / 1000, UTC).astimezone()
    here = "  (here)" if hit.thread_id == chat.state.thread_id else ""
    yield (
        StyledText(f"{number:>3}  ", "mark"),
        StyledText(f"{moment:%Y-%m-%d %H:%M}  ", "faint"),
        StyledText(one_line(hit.title) or hit.thread_id),
        StyledText(here, "faint"),
    )
    if hit.message_id is not None:
        yield (
            StyledText(f"     {hit.role}: ", "faint"),
            *(
                StyledText(clean(text), "strong" if highlighted else "")
                for text, highlighted in split_highlights(hit.snippet, hit.highlights)
            ),
        )


COMMANDS: tuple[SlashCommand, ...] = (
    SlashCommand(
        name="search",
        arguments="WORDS",
        meaning="find words in all threads; /resume takes the number of a result",
        run=_search,
    ),
)
