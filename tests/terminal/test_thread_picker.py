"""The picker for threads: what it loads and when, and its keys in a chat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from antiphon.client.async_client import AsyncClient
from antiphon.settings.settings import Settings
from antiphon.terminal import spans, thread_picker
from antiphon.terminal.input.keyboard import Field
from antiphon.terminal.themes import THEMES, Ink
from antiphon.terminal.thread_picker import ThreadPicker
from antiphon.terminal.ui_manager import UiManager
from tests.support.terminal.chatting import Chatting
from tests.support.terminal.consenting import deliberate
from tests.support.terminal.idle_terminal import FailingPainter, IdleKeyboard
from tests.support.terminal.model import Model

SETTINGS = Settings(database="memory:", model="demo", demo_delay=0)


class Waiting(IdleKeyboard):
    """A keyboard whose field stays open until the test gives the answer."""

    def __init__(self, ui: UiManager) -> None:
        super().__init__(ui)
        self.answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    async def write(self, field: Field) -> str | None:
        self.field = field
        return await self.answer


class Pauses:
    """Pauses in typing, which end when the test says so; `begun` counts them."""

    def __init__(self) -> None:
        self.begun = 0
        self._over = asyncio.Event()

    async def __call__(self) -> None:
        self.begun += 1
        await self._over.wait()

    def end(self) -> None:
        self._over.set()
        self._over = asyncio.Event()


class Picking:
    """A picker over threads of an own runtime, without a terminal."""

    def __init__(self, client: AsyncClient, rows: int = 24) -> None:
        self.now = 1.0
        self.pauses = Pauses()
        ui = UiManager(
            FailingPainter(""),
            Ink(THEMES["dark"]),
            self._make_keyboard,
            size=lambda: (80, rows),
            clock=lambda: self.now,
        )
        self.picker = ThreadPicker(client, ui, None, self.pauses)

    def _make_keyboard(self, ui: UiManager) -> Waiting:
        self.keyboard = Waiting(ui)
        return self.keyboard

    @property
    def fault(self) -> str | None:
        """What Enter would be answered with; None if it opens the chosen thread."""
        return self.keyboard.field.wrong("")

    @property
    def text(self) -> str:
        return "\n".join(spans.text(row) for row in self.picker.rows(80))

    async def until(self, there: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not there():
                await asyncio.sleep(0)

    def end(self, answer: str | None) -> None:
        self.keyboard.answer.set_result(answer)


@asynccontextmanager
async def picking(*titles: str, rows: int = 24) -> AsyncIterator[Picking]:
    """A picker over threads with these titles, the last one first, each with a question in it."""
    async with AsyncClient(settings=SETTINGS) as client:
        for title in titles:
            thread = await client.create_thread(title=title)
            await client.create_message(thread.id, f"Tell me of {title} \x1b[31m honey{len(title)}")
        opened = Picking(client, rows)
        await opened.picker.load()
        task = asyncio.create_task(opened.picker.pick())
        await opened.until(lambda: opened.pauses.begun == 1)
        try:
            yield opened
        finally:
            if not task.done():
                opened.end(None)
            await task


async def test_titles_are_filtered_at_once_and_messages_searched_once_typing_has_paused() -> None:
    async with picking("bees", "wasps") as opened:
        opened.picker.filter("h")
        opened.picker.filter("honey4")
        assert "Nothing" not in opened.text
        assert "No title has 'honey4' in it." in opened.text
        assert "searching messages" in opened.text
        await opened.until(lambda: opened.pauses.begun == 2)
        opened.pauses.end()
        await opened.until(lambda: "searching" not in opened.text)

        assert [each.title for each in opened.picker.list.shown] == ["bees"]
        assert opened.pauses.begun <= 3  # of two previews and one search, of the last words
        begun = opened.pauses.begun
        opened.picker.filter("honey404")
        await opened.until(lambda: opened.pauses.begun > begun)
        opened.pauses.end()
        await opened.until(lambda: "Nothing has 'honey404' in it." in opened.text)


async def test_enter_opens_nothing_that_has_come_only_just_now_or_that_is_not_there() -> None:
    async with picking("bees", "wasps") as opened:
        assert opened.fault is None
        opened.picker.filter("honey4")
        assert opened.fault == "No thread is chosen."
        await opened.until(lambda: opened.pauses.begun == 2)
        opened.now += 10
        opened.pauses.end()
        await opened.until(lambda: opened.picker.list.chosen is not None)
        assert "has just changed" in (opened.fault or "")
        opened.now += 1

        assert opened.fault is None


async def test_the_last_exchange_of_the_choice_is_previewed_and_of_no_thread_passed_over() -> None:
    async with picking("bees", "cows", "wasps") as opened:
        assert "loading" in opened.text
        opened.picker.move(1)
        opened.picker.move(1)
        await opened.until(lambda: opened.pauses.begun == 2)
        opened.pauses.end()
        chosen = opened.picker.list.chosen
        assert chosen is not None
        await opened.until(lambda: f"> Tell me of {chosen.title}" in opened.text)
        assert "\x1b" not in opened.text
        opened.picker.move(-1)

        assert "loading" in opened.text


async def test_further_threads_are_loaded_when_the_end_is_reached() -> None:
    count = thread_picker.PAGE + 5
    async with picking(*(f"t{number}" for number in range(count))) as opened:
        shown = opened.picker.list
        assert len(shown.shown) == thread_picker.PAGE
        assert f"({thread_picker.PAGE}+)" in opened.text
        for _ in range(thread_picker.PAGE):
            opened.picker.turn(1)
        await opened.until(lambda: len(shown.shown) == count)

        assert f"({count})" in opened.text


async def test_the_rows_leave_room_in_a_terminal_of_any_height() -> None:
    for rows in (8, 10, 15, 24, 50):
        async with picking(*(f"t{number}" for number in range(30)), rows=rows) as opened:
            opened.pauses.end()
            await opened.until(lambda: "loading" not in opened.text)
            assert len(opened.picker.rows(40)) <= min(16, rows - 4)
            assert all(spans.line_width(row) < 40 for row in opened.picker.rows(40))


# In a terminal.


async def store_threads(home: Path, *titles: str) -> None:
    """Create threads with these titles in the chat's database, the last one changed last."""
    database = f"sqlite:///{home}/data/antiphon/antiphon.db"
    async with AsyncClient(settings=Settings(database=database, model="demo")) as client:
        before = 0
        for title in titles:
            thread = await client.create_thread(title=title)
            while (
                await client.create_message(thread.id, f"What of {title}?")
            ).created_at == before:
                pass  # within the millisecond in which the thread before it was changed
            before = (await client.get_thread(thread.id)).updated_at


async def test_a_thread_is_searched_previewed_and_opened_and_esc_opens_none(
    tmp_path: Path,
) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        await store_threads(tmp_path, "Bees", "Cows", "Wasps")
        chat.say("/resume")
        await chat.sees("> What of Wasps?")
        chat.resize(38, 14)
        chat.type("b")
        await chat.until(lambda: "Cows" not in "\n".join(chat.rows[-8:]))
        chat.press("escape")
        await chat.sees("No other thread was opened.")
        chat.resize(80, 24)
        chat.say("/resume")
        await chat.sees("> What of Wasps?")
        chat.press("down", "down")
        await chat.sees("> What of Bees?")
        chat.type("\x1b[5~")
        await chat.until(lambda: any("> 2" in row and "Wasps" in row for row in chat.rows[-12:]))
        chat.press("down")
        await deliberate()
        chat.press("enter")
        await chat.sees("Cows (thread_")
        await chat.until(lambda: "Search:" not in chat.text)

        assert not chat.foreign


async def test_by_lines_a_list_is_printed_in_place_of_the_picker(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, "--screen-reader", home=tmp_path) as chat:
        await chat.ready()
        await store_threads(tmp_path, "Bees")
        chat.say("/resume")
        await chat.sees("/resume NUMBER continues one.")
        chat.say("/resume 1")
        await chat.sees("Bees (thread_")
