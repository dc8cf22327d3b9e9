"""The picker for threads: a list above the input line with a search and a preview."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from math import inf
from typing import Any

from msgspec.structs import replace

from antiphon.api.operations import ListMessages, ListThreads
from antiphon.client import thread_families
from antiphon.client.async_client import AsyncClient
from antiphon.terminal import spans
from antiphon.terminal.input.keyboard import DELIBERATE, Field
from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.thread_list import ThreadList, picker_row
from antiphon.terminal.ui_manager import Ui
from antiphon.types.errors import AntiphonError
from antiphon.types.folders import Folder
from antiphon.types.messages import Message
from antiphon.types.runs import Thread
from antiphon.types.terminal_safe import one_line

PAGE = 50
UNTIL_SEARCH = 0.25
"""Seconds without a change after which the server is searched, or a preview loaded."""
LAST_MESSAGES = 20
"""Messages among which the last exchange is looked for."""
MOST_WORDS = 200
"""Characters that are searched for."""
MOST_ROWS, FEWEST_ROWS = 16, 4
"""Rows above the line in which the words are typed."""
BELOW = 5
"""Rows of the terminal reserved for the line, the status and the conversation."""
PREVIEW_ROWS = 5
MOST_PREVIEW = 1_000
"""Characters of a message that are previewed."""
KEYS = "Type to search; Up and Down choose, Enter opens, Esc leaves"


async def pick_thread(
    client: AsyncClient, ui: Ui, here: str | None, folder: Folder | None = None
) -> Thread | None:
    """Ask the user to pick a thread; return None if there is none, or if they leave.

    `here` is the id of the chat's own thread. With a `folder`, only its threads are listed.
    """
    picker = ThreadPicker(client, ui, here, folder=folder)
    await picker.load()
    if not picker.list.shown:
        nothing = "There is no thread in this folder." if folder else "There is no thread yet."
        ui.say(nothing, "faint")
        return None
    async with ui.question_lock:
        picked = await picker.pick()
    if picked is None:
        ui.say("No other thread was opened.", "faint")
    return picked


async def _pause() -> None:
    await asyncio.sleep(UNTIL_SEARCH)


class ThreadPicker:
    """Shows a list of threads and loads what it needs in the background.

    `pause` ends once the user has stopped typing; a change of the words or of the choice cancels
    it, and whatever is being loaded for the old ones.
    """

    def __init__(
        self,
        client: AsyncClient,
        ui: Ui,
        here: str | None,
        pause: Callable[[], Awaitable[None]] = _pause,
        folder: Folder | None = None,
    ) -> None:
        self.list = ThreadList(here)
        self._client = client
        self._ui = ui
        self._here = here
        self._pause = pause
        self._folder = folder
        self._next: dict[str, ListThreads] = {"": self._list_threads("")}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._previews: dict[str, Sequence[Line]] = {}
        self._searching = False
        self._failure = ""
        self._chosen_at = -inf

    def _list_threads(self, words: str) -> ListThreads:
        folder_id = self._folder.id if self._folder else None
        return thread_families.latest_threads(words, limit=PAGE, folder_id=folder_id)

    async def load(self) -> None:
        """Load the next page of what is listed now: all threads, or those with the words."""
        words = self.list.words
        if (listing := self._next.get(words)) is None:
            return
        page = await thread_families.list_page(self._client, listing)
        if page.has_more:
            self._next[words] = replace(listing, after=page.next)
        else:
            del self._next[words]
        self.list.add(words, page.data)

    async def pick(self) -> Thread | None:
        """Return the thread that the user opens; None if they leave."""
        self._load_preview()
        label = f"Search in {one_line(self._folder.name)}:" if self._folder else "Search:"
        field = Field(label=label, rows=self.rows, wrong=self._find_fault, listing=self)
        try:
            opened = await self._ui.keyboard.write(field)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        return self.list.chosen if opened is not None else None

    # Keys.

    def filter(self, text: str) -> None:
        """Filter the titles now, and search the messages after a pause."""
        if not self.list.filter(text):
            return
        self._cancel("page")
        self._failure = ""
        words = self.list.words
        self._searching = bool(words)
        if words:
            self._next[words] = self._list_threads(words[:MOST_WORDS])
            self._start("page", self._load_after_pause())
        self._load_preview()

    def move(self, by: int) -> None:
        """Choose a thread further down, or up if negative."""
        before = self.list.chosen
        self.list.move(by)
        if self.list.chosen is not before:
            self._load_preview()
        loading = "page" in self._tasks and not self._tasks["page"].done()
        if by > 0 and self.list.near_end and not loading and self.list.words in self._next:
            self._start("page", self._load_page())

    def turn(self, pages: int) -> None:
        """Choose a thread that many screens of the list further down."""
        self.move(pages * self._list_room())

    def _find_fault(self, text: str) -> str | None:
        if self.list.chosen is None:
            return "No thread is chosen."
        if self._ui.clock() - self._chosen_at < DELIBERATE:
            return "The list has just changed. Enter again opens the chosen thread."
        return None

    # Loading.

    async def _load_after_pause(self) -> None:
        await self._pause()
        await self._load_page()

    async def _load_page(self) -> None:
        before = self.list.chosen
        try:
            await self.load()
        except AntiphonError as problem:
            self._failure = problem.full_message
        if self.list.chosen is not before:
            self._chosen_at = self._ui.clock()  # no key was meant for this one yet
        self._searching = False
        self._load_preview()

    def _load_preview(self) -> None:
        """Load the preview of the chosen thread, unless it is there."""
        chosen = self.list.chosen
        if chosen is None or chosen.id in self._previews:
            self._cancel("preview")
        else:
            self._start("preview", self._preview(chosen))
        self._ui.repaint()

    async def _preview(self, thread: Thread) -> None:
        await self._pause()
        listing = ListMessages(thread.id, limit=LAST_MESSAGES, order="newest")
        try:
            newest = (await self._client.transport.send(listing)).data
        except AntiphonError as problem:
            self._previews[thread.id] = [(StyledText(one_line(problem.full_message), "error"),)]
        else:
            self._previews[thread.id] = last_exchange(newest)
        self._ui.repaint()

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._cancel(name)
        self._tasks[name] = asyncio.create_task(work)

    def _cancel(self, name: str) -> None:
        if name in self._tasks:
            self._tasks[name].cancel()

    # Rows.

    def rows(self, columns: int) -> Sequence[Line]:
        """Return the list with the preview of the chosen thread below it."""
        more = self._ui.theme.glyphs.more
        cut = partial(spans.clip, columns=columns - 1, end=more)
        rows = [
            picker_row(thread, self._here, columns - 1, more, chosen=chosen)
            for thread, chosen in self.list.visible(self._list_room())
        ]
        if not rows:
            place = "No title" if self._searching else "Nothing"
            words = f"{place} has {one_line(self.list.words)!r} in it."
            rows = [cut([StyledText(words, "faint")])]
        return [cut([StyledText(KEYS, "faint")]), *rows, cut([self._state()]), *self._below(cut)]

    def _below(self, cut: Callable[[Sequence[StyledText]], Line]) -> Sequence[Line]:
        chosen = self.list.chosen
        if chosen is None or not self._has_preview():
            return ()
        loading: Sequence[Line] = [(StyledText(f"  loading{self._ui.theme.glyphs.more}", "faint"),)]
        return [cut(row) for row in self._previews.get(chosen.id, loading)[: PREVIEW_ROWS - 1]]

    def _state(self) -> StyledText:
        """Return a row about the number of threads, and what is loading or went wrong."""
        if self._failure:
            return StyledText(one_line(self._failure), "error")
        count = f"{len(self.list.shown)}{'+' if self.list.words in self._next else ''}"
        searching = f"; searching messages{self._ui.theme.glyphs.more}" if self._searching else ""
        return StyledText(f"({count}{searching})", "faint")

    def _total(self) -> int:
        _, rows = self._ui.size()
        return max(FEWEST_ROWS, min(MOST_ROWS, rows - BELOW))

    def _has_preview(self) -> bool:
        return self._total() >= 2 * PREVIEW_ROWS

    def _list_room(self) -> int:
        """Return the rows of threads, without those for keys, number and preview."""
        return max(1, self._total() - 2 - (PREVIEW_ROWS - 1 if self._has_preview() else 0))


def last_exchange(newest: Sequence[Message]) -> Sequence[Line]:
    """Return the last message of the user and its answer as rows; `newest` begins with the last."""
    lines: list[Line] = []
    for message in newest:
        if message.role == "assistant" and message.full_text.strip() and not lines:
            lines = _quote("  ", message.full_text)
        elif message.role == "user":
            return [*_quote("  > ", message.text or "(attached files)")[:1], *lines]
    return lines or [(StyledText("  (no text among the last messages)", "faint"),)]


def _quote(mark: str, text: str) -> list[Line]:
    """Return the first lines that are not blank."""
    lines = [line for line in text[:MOST_PREVIEW].splitlines() if line.strip()]
    return [
        (StyledText(mark, "mark"), StyledText(one_line(line), "faint"))
        for line in lines[: PREVIEW_ROWS - 2]
    ]
