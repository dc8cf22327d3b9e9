"""The terminal as the chat uses it: printed lines above, queued messages, an input line below.

It exists before the chat does: messages typed while the rest is loaded are queued.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Protocol, Self

from antiphon.terminal import spans
from antiphon.terminal.chat_display_manager import ChatDisplayManager
from antiphon.terminal.input.keyboard import Keyboard, Listener
from antiphon.terminal.painters import InputRows, Painter
from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.themes import Ink, Theme
from antiphon.types.terminal_safe import Place, clean

SHOWN_QUEUE = 3
"""Queued messages that are shown."""
HINT_SECONDS = 4.0

MakeKeyboard = Callable[["UiManager"], Keyboard]
"""Makes the keyboard that reports to this UI."""


class ChatActions(Protocol):
    """The chat as the UI calls it. No method may block."""

    def status_line(self) -> Line:
        """Return the row below the input line."""
        ...

    def run_at_once(self, text: str) -> bool:
        """Handle a text while something runs; return False if it must wait."""
        ...

    def stop(self) -> None:
        """Stop what runs."""
        ...

    def unfold(self) -> None:
        """Open the last thing that was shown in short."""
        ...

    def more_time(self) -> None:
        """Extend the time limit of the reply."""
        ...

    def toggle_plan(self) -> None:
        """Enter plan mode, or leave it."""
        ...


class UiManager(Listener):
    """Queues what the user sends, calls the chat for other keys, and prints above the input line.

    `next_message` returns messages in order. While something runs, the chat is asked first whether
    it handles a text at once, as some commands do. A caller that puts several questions that belong
    together holds `question_lock` meanwhile.
    """

    def __init__(
        self,
        painter: Painter,
        ink: Ink,
        make_keyboard: MakeKeyboard,
        *,
        size: Callable[[], tuple[int, int]],
        clock: Callable[[], float],
    ) -> None:
        self.clock = clock
        self.size = size
        self.left = False
        self.question_lock = asyncio.Lock()
        self._chat: ChatActions | None = None
        self._painter = painter
        self._ink = ink
        self._attends = True
        self._no_more = False
        self._queue: deque[str] = deque()
        self._arrived = asyncio.Event()
        self._working = 0
        self._hint: tuple[str, float] = ("", 0.0)
        self.display = ChatDisplayManager(painter, size=size, clock=clock, typed=self._render_input)
        self.keyboard = make_keyboard(self)

    async def __aenter__(self) -> Self:
        await self.keyboard.__aenter__()
        self.display.paint()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.keyboard.__aexit__(kind, error, trace)
        self.display.close()

    def connect(self, chat: ChatActions) -> None:
        """Pass what the user does to this chat from now on."""
        self._chat = chat

    @property
    def theme(self) -> Theme:
        """The theme in use."""
        return self._ink.theme

    def set_theme(self, theme: Theme) -> None:
        """Change the theme; printed lines stay as they are."""
        self._ink.set_theme(theme)
        self.repaint()

    async def next_message(self) -> str | None:
        """Wait for the next message and return it; None once the user leaves."""
        self._attends = True
        while not self.left:
            if self._queue:
                self._attends = False
                text = self._queue.popleft()
                self.repaint()
                return text
            if self._no_more:
                break
            self._arrived.clear()
            self.repaint()
            await self._arrived.wait()
        return None

    @property
    def queued(self) -> int:
        """Number of messages that wait."""
        return len(self._queue)

    @contextmanager
    def working(self) -> Generator[None]:
        """Mark that something runs that the user can stop."""
        if not self._working:
            self.display.clear_over()
        self._working += 1
        try:
            yield
        finally:
            self._working -= 1
            self.repaint()

    def say(self, text: str, style: str = "", place: Place = "notice") -> None:
        """Print a text above, cleaned so that it cannot control the terminal."""
        self.show([(StyledText(line, style),) for line in clean(text, place).split("\n")])

    def show(self, lines: Iterable[Line]) -> None:
        """Print lines above, wrapped to the terminal."""
        if self.keyboard.by_lines:
            self.display.paint(*lines)  # lines come and go there, whatever their length
            return
        columns, _ = self.size()
        room = max(1, columns - 1)
        self.display.paint(*(row for line in lines for row in spans.wrap(line, room)))

    def show_rows(self, lines: Iterable[Line]) -> None:
        """Print lines above, each cut to one row; in line mode they are not cut."""
        if self.keyboard.by_lines:
            self.show(lines)
            return
        columns, _ = self.size()
        room = max(1, columns - 1)
        self.display.paint(*(spans.clip(line, room, self.theme.glyphs.more) for line in lines))

    def set_clipboard(self, encoded: str) -> bool:
        """Copy this base64 to the clipboard of the terminal; return False if it cannot."""
        return self._painter.set_clipboard(encoded)

    def repaint(self) -> None:
        """Redraw the rows below."""
        self.display.paint()

    # Actions of the user.

    @property
    def busy(self) -> bool:
        """True while something runs that the user can stop."""
        return self._working > 0 and not self.display.is_over

    @property
    def attentive(self) -> bool:
        """True if the next message is handled at once."""
        return self._attends and not self._queue

    def submit(self, text: str) -> None:
        """Queue a message or a command, unless the chat handles it at once."""
        if self.busy and self._chat and self._chat.run_at_once(text):
            return
        self._queue.append(text)
        self._arrived.set()
        if self.busy and self.keyboard.by_lines:
            self.say("It is sent when this has ended.", "faint")
        self.repaint()

    def stop(self) -> None:
        """Stop what runs."""
        if self._chat:
            self._chat.stop()

    def leave(self) -> None:
        """End the chat."""
        self.left = True
        self._arrived.set()
        if self._chat:
            self._chat.stop()

    def end(self) -> None:
        """End the chat once all queued messages are answered."""
        self._no_more = True
        self._arrived.set()

    def unfold(self) -> None:
        """Open the last thing that was shown in short."""
        if self._chat:
            self._chat.unfold()

    def more_time(self) -> None:
        """Extend the time limit of the reply."""
        if self._chat:
            self._chat.more_time()

    def toggle_plan(self) -> None:
        """Enter plan mode, or leave it."""
        if self._chat:
            self._chat.toggle_plan()

    def recall(self) -> str | None:
        """Remove the message that was queued last and return it, to edit it."""
        return self._queue.pop() if self._queue else None

    def hint(self, text: str) -> None:
        """Show a text beside the input line for a moment."""
        if self.keyboard.by_lines:
            self.say(text)
            return
        self._hint = (text, self.clock())
        self.repaint()
        asyncio.get_running_loop().call_later(HINT_SECONDS, self.repaint)

    # Rows below the printed lines.

    def _render_input(self, columns: int) -> InputRows:
        room = max(1, columns - 1)
        shown = list(self._queue)[:SHOWN_QUEUE]
        queued = [f"next: {clean(' '.join(text.split()))}" for text in shown]
        if (more := len(self._queue) - SHOWN_QUEUE) > 0:
            queued.append(f"and {more} more")
        cut = self.theme.glyphs.more
        above = [spans.clip([StyledText(text, "faint")], room, cut) for text in queued]
        typed = self.keyboard.render(columns)
        hint, since = self._hint
        bottom: Line = (StyledText("starting", "faint"),)
        if hint and self.clock() - since < HINT_SECONDS:
            bottom = (StyledText(clean(hint), "faint"),)
        elif self._chat:
            bottom = self._chat.status_line()
        below = spans.clip(bottom, room, cut)
        row, column = typed.cursor or (0, 0)
        cursor = (len(above) + row, column) if typed.cursor else None
        return InputRows(rows=(*above, *typed.rows, below), cursor=cursor)


# The user interface as the chat and its commands see it.


class Ui(Protocol):
    """Prints above the input line and asks through `keyboard`.

    A caller that puts several questions that belong together holds `question_lock` meanwhile.
    """

    @property
    def keyboard(self) -> Keyboard:
        """The source of messages and of answers to questions."""
        ...

    @property
    def display(self) -> ChatDisplayManager:
        """The display of the run that streams."""
        ...

    @property
    def question_lock(self) -> asyncio.Lock:
        """Lock held while questions that belong together are asked."""
        ...

    @property
    def theme(self) -> Theme:
        """The theme in use."""
        ...

    @property
    def busy(self) -> bool:
        """True while something runs that the user can stop."""
        ...

    def size(self) -> tuple[int, int]:
        """Return columns and rows of the terminal."""
        ...

    def clock(self) -> float:
        """Return seconds of a monotonic clock."""
        ...

    def say(self, text: str, style: str = "", place: Place = "notice") -> None:
        """Print a text above, cleaned so that it cannot control the terminal."""
        ...

    def show(self, lines: Iterable[Line]) -> None:
        """Print lines above, wrapped to the terminal."""
        ...

    def show_rows(self, lines: Iterable[Line]) -> None:
        """Print lines above, each cut to one row."""
        ...

    def hint(self, text: str) -> None:
        """Show a text beside the input line for a moment."""
        ...

    def repaint(self) -> None:
        """Redraw the rows below."""
        ...

    def working(self) -> AbstractContextManager[None]:
        """Mark that something runs that the user can stop."""
        ...

    def set_theme(self, theme: Theme) -> None:
        """Change the theme of what is printed from now on."""
        ...

    def set_clipboard(self, encoded: str) -> bool:
        """Copy this base64 to the clipboard of the terminal; return False if it cannot."""
        ...

    def leave(self) -> None:
        """End the chat."""
        ...
