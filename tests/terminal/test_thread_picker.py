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


class WaitingKeyboard(IdleKeyboard):
    """Keyboard whose field stays open until the test gives the answer."""

    def __init__(self, ui: UiManager) -> None:
        super().__init__(ui)
        self.answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    async def write(self, field: Field) -> str | None:
        self.field = field
        return await self.answer


class Pauses:
    """Pauses in typing, which end when the test says so; `count` of those that began."""

    def __init__(self) -> None:
        self.count = 0
        self._over = asyncio.Event()

    async def __call__(self) -> None:
        self.count += 1
        await self._over.wait()

    def end(self) -> None:
        self._over.set()
        self._over = asyncio.Event()


class PickerSession:
    """Picker over the threads of a runtime of its own, without a terminal."""

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

    def _make_keyboard(self, ui: UiManager) -> WaitingKeyboard:
        self.keyboard = WaitingKeyboard(ui)
        return self.keyboard

    @property
    def fault(self) -> str | None:
        """Return why Enter would be refused; None if it opens the chosen thread."""
        return self.keyboard.field.wrong("")

    @property
    def text(self) -> str:
        return "\n".join(spans.text(row) for row in self.picker.rows(80))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0)

    def end(self, answer: str | None) -> None:
        self.keyboard.answer.set_result(answer)


@asynccontextmanager
async def open_picker(*titles: str, rows: int = 24) -> AsyncIterator[PickerSession]:
    """Open a picker over threads with these titles, the last first, a question in each."""
    async with AsyncClient(settings=SETTINGS) as client:
        for title in titles:
            thread = await client.create_thread(title=title)
            await client.create_message(thread.id, f"Tell me of {title} \x1b[31m honey{len(title)}")
        session = PickerSession(client, rows)
        await session.picker.load()
        task = asyncio.create_task(session.picker.pick())
        await session.until(lambda: session.pauses.count == 1)
        try:
            yield session
        finally:
            if not task.done():
                session.end(None)
            await task


async def test_titles_are_filtered_at_once_and_messages_searched_once_typing_has_paused() -> None:
    async with open_picker("bees", "wasps") as session:
        session.picker.filter("h")
        session.picker.filter("honey4")
        assert "Nothing" not in session.text
        assert "No title has 'honey4' in it." in session.text
        assert "searching messages" in session.text
        await session.until(lambda: session.pauses.count == 2)
        session.pauses.end()
        await session.until(lambda: "searching" not in session.text)

        assert [each.title for each in session.picker.list.shown] == ["bees"]
        assert session.pauses.count <= 3  # of two previews and one search, of the last words
        count = session.pauses.count
        session.picker.filter("honey404")
        await session.until(lambda: session.pauses.count > count)
        session.pauses.end()
        await session.until(lambda: "Nothing has 'honey404' in it." in session.text)


async def test_enter_opens_nothing_that_has_come_only_just_now_or_that_is_not_there() -> None:
    async with open_picker("bees", "wasps") as session:
        assert session.fault is None
        session.picker.filter("honey4")
        assert session.fault == "No thread is chosen."
        await session.until(lambda: session.pauses.count == 2)
        session.now += 10
        session.pauses.end()
        await session.until(lambda: session.picker.list.chosen is not None)
        assert "has just changed" in (session.fault or "")
        session.now += 1

        assert session.fault is None


async def test_the_last_exchange_of_the_choice_is_previewed_and_of_no_thread_passed_over() -> None:
    async with open_picker("bees", "cows", "wasps") as session:
        assert "loading" in session.text
        session.picker.move(1)
        session.picker.move(1)
        await session.until(lambda: session.pauses.count == 2)
        session.pauses.end()
        chosen_thread = session.picker.list.chosen
        assert chosen_thread is not None
        await session.until(lambda: f"> Tell me of {chosen_thread.title}" in session.text)
        assert "\x1b" not in session.text
        session.picker.move(-1)

        assert "loading" in session.text


async def test_further_threads_are_loaded_when_the_end_is_reached() -> None:
    count = thread_picker.PAGE + 5
    async with open_picker(*(f"t{number}" for number in range(count))) as session:
        thread_list = session.picker.list
        assert len(thread_list.shown) == thread_picker.PAGE
        assert f"({thread_picker.PAGE}+)" in session.text
        for _ in range(thread_picker.PAGE):
            session.picker.turn(1)
        await session.until(lambda: len(thread_list.shown) == count)

        assert f"({count})" in session.text


async def test_the_rows_leave_room_in_a_terminal_of_any_height() -> None:
    for rows in (8, 10, 15, 24, 50):
        async with open_picker(*(f"t{number}" for number in range(30)), rows=rows) as session:
            session.pauses.end()
            await session.until(lambda: "loading" not in session.text)
            assert len(session.picker.rows(40)) <= min(16, rows - 4)
            assert all(spans.line_width(row) < 40 for row in session.picker.rows(40))


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
