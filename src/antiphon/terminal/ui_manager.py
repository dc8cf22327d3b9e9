"""The terminal as the chat has it: a keyboard below, what was said above, and what waits between.

It is there before the chat is: what is typed while the rest is loaded waits its turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

from antiphon.terminal import spans
from antiphon.terminal.chat_display_manager import ChatDisplayManager
from antiphon.terminal.input.keyboard import Keyboard, Listener
from antiphon.terminal.painters import InputRows, Painter
from antiphon.terminal.spans import Line, Span
from antiphon.terminal.themes import Ink, Theme
from antiphon.types.terminal_safe import Place, clean

SHOWN_QUEUE = 3
"""Messages that wait, and are seen."""
HINT_SECONDS = 4.0

MakeKeyboard = Callable[["UiManager"], Keyboard]
"""Makes the keyboard that tells this surface what is typed."""


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
        """Give the reply more time."""
        ...


class UiManager(Listener):
    """Tells the chat what the person does, and shows what the chat says.

    `next_message` gives what was sent, in order. `at_once` is asked first, while something runs,
    whether it takes a text itself: commands that need not wait do. Whoever puts several questions
    that belong together holds `question_lock` meanwhile.
    """

    def __init__(
        self,
        painter: Painter,
        ink: Ink,
        hands: MakeKeyboard,
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
        self.keyboard = hands(self)

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
        """How everything looks."""
        return self._ink.theme

    def set_theme(self, theme: Theme) -> None:
        """Have everything look like this from now on; what was printed stays as it is."""
        self._ink.set_theme(theme)
        self.repaint()

    async def next_message(self) -> str | None:
        """What was sent next, once it is; None when the person leaves."""
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
        """How many messages wait."""
        return len(self._queue)

    @contextmanager
    def working(self) -> Generator[None]:
        """Something runs that the person may stop."""
        if not self._working:
            self.display.clear_over()
        self._working += 1
        try:
            yield
        finally:
            self._working -= 1
            self.repaint()

    def say(self, text: str, style: str = "", place: Place = "notice") -> None:
        """Print this text of ours, or of others, above; nothing in it can act on the terminal."""
        self.show([(Span(line, style),) for line in clean(text, place).split("\n")])

    def show(self, lines: Iterable[Line]) -> None:
        """Print these lines above, wrapped to the terminal."""
        if self.keyboard.spoken:
            self.display.paint(*lines)  # lines come and go there, whatever their length
            return
        columns, _ = self.size()
        room = max(1, columns - 1)
        self.display.paint(*(row for line in lines for row in spans.wrap(line, room)))

    def show_rows(self, lines: Iterable[Line]) -> None:
        """Print these lines above, each cut to one row; where lines are read aloud, all of it."""
        if self.keyboard.spoken:
            self.show(lines)
            return
        columns, _ = self.size()
        room = max(1, columns - 1)
        self.display.paint(*(spans.clip(line, room, self.theme.glyphs.more) for line in lines))

    def set_clipboard(self, encoded: str) -> bool:
        """Have the terminal put this base64 into its clipboard; whether it may be asked to."""
        return self._painter.set_clipboard(encoded)

    def repaint(self) -> None:
        """There is something else to see."""
        self.display.paint()

    # What the person does.

    @property
    def busy(self) -> bool:
        """Whether something runs that can be stopped."""
        return self._working > 0 and not self.display.is_over

    @property
    def attentive(self) -> bool:
        """Whether what is said next is taken up at once."""
        return self._attends and not self._queue

    def submit(self, text: str) -> None:
        """A message or a command was sent; it waits its turn where something runs."""
        if self.busy and self._chat and self._chat.run_at_once(text):
            return
        self._queue.append(text)
        self._arrived.set()
        if self.busy and self.keyboard.spoken:
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
        """End the chat once all that was said has been answered."""
        self._no_more = True
        self._arrived.set()

    def unfold(self) -> None:
        """Show the last thing that was shown in short."""
        if self._chat:
            self._chat.unfold()

    def more_time(self) -> None:
        """Let the reply take longer."""
        if self._chat:
            self._chat.more_time()

    def recall(self) -> str | None:
        """Take back the message that was queued last, to edit it."""
        return self._queue.pop() if self._queue else None

    def hint(self, text: str) -> None:
        """Say this beside the line for a moment; nothing takes it away."""
        if self.keyboard.spoken:
            self.say(text)
            return
        self._hint = (text, self.clock())
        self.repaint()
        asyncio.get_running_loop().call_later(HINT_SECONDS, self.repaint)

    # What is seen below what was said.

    def _render_input(self, columns: int) -> InputRows:
        room = max(1, columns - 1)
        above = [spans.clip(line, room, self.theme.glyphs.more) for line in self._waiting()]
        typed = self.keyboard.render(columns)
        below = spans.clip(self._bottom_line(), room, self.theme.glyphs.more)
        row, column = typed.cursor or (0, 0)
        cursor = (len(above) + row, column) if typed.cursor else None
        return InputRows(rows=(*above, *typed.rows, below), cursor=cursor)

    def _waiting(self) -> Generator[Line]:
        for text in list(self._queue)[:SHOWN_QUEUE]:
            yield (Span(f"next: {clean(' '.join(text.split()))}", "faint"),)
        if (more := len(self._queue) - SHOWN_QUEUE) > 0:
            yield (Span(f"and {more} more", "faint"),)

    def _bottom_line(self) -> Line:
        text, since = self._hint
        if text and self.clock() - since < HINT_SECONDS:
            return (Span(clean(text), "faint"),)
        return self._chat.status_line() if self._chat else (Span("starting", "faint"),)
