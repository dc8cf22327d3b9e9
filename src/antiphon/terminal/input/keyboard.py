"""The keyboard as the chat uses it: a source of messages, and of answers to questions.

There are two: `editor` reads single keys and has a line editor, `line_mode` reads whole lines for a
screen reader, a dumb terminal or a pipe.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from types import FrameType, TracebackType
from typing import IO, Protocol, Self

import msgspec

from antiphon.terminal import spans
from antiphon.terminal.painters import InputRows
from antiphon.terminal.spans import Line

TWICE = 2.0
"""Seconds within which a second Ctrl+C leaves, if nothing runs."""
DELIBERATE = 0.3
"""Seconds that a question must have been visible, and that a key must stand alone, to answer."""
PAUSE = 1.0
"""Seconds without typing after which a key may answer a question."""
AGAIN_LEAVES = "Ctrl+C again leaves, and so does Ctrl+D."
TYPED_ON = "What you type stays in your line. To answer, pause, and press one key alone."
NEXT_PART = "m"
"""Key of the choice that shows the next part."""
STOP_FIRST = "Something runs: Ctrl+C stops it, and then Ctrl+D leaves."

Rows = Callable[[int], Sequence[Line]]
"""Returns rows for so many columns."""


def in_rows(lines: Sequence[Line]) -> Rows:
    """Return these lines, folded to the columns."""
    return lambda columns: spans.fold_all(lines, columns - 1)


class KeyChoice(msgspec.Struct, frozen=True):
    """Possible answer, chosen by a key, or by its number in line mode."""

    key: str
    meaning: str


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """Question with a few answers; everything but a choice's own key gives `default`.

    A key counts only after a pause in typing and if no other key follows at once, so that typed
    words and pastes answer nothing. The choice `m` shows the next part; paging keys choose it too.
    """

    rows: Rows
    choices: tuple[KeyChoice, ...]
    default: str


class Listing(Protocol):
    """List above a field, which its text filters and of which one entry is chosen."""

    def filter(self, text: str) -> None:
        """Show the entries for this text."""
        ...

    def move(self, by: int) -> None:
        """Choose an entry further down, or up if negative."""
        ...

    def turn(self, pages: int) -> None:
        """Choose an entry that many screens further down, or up if negative."""
        ...


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """Question for a text. `wrong` returns the error in a text, or None.

    With a `listing`, single keys move in it, and Enter counts once it has been visible for a
    moment. In line mode it is not used.
    """

    label: str
    rows: Rows = lambda columns: ()
    text: str = ""
    hidden: bool = False
    wrong: Callable[[str], str | None] = lambda text: None
    listing: Listing | None = None


class Listener(Protocol):
    """Receives the user's actions. No method may block."""

    @property
    def busy(self) -> bool:
        """True while something runs that the user can stop."""
        ...

    @property
    def attentive(self) -> bool:
        """True if the next message is handled at once."""
        ...

    def submit(self, text: str) -> None:
        """Handle a message or a command; it waits while something runs."""
        ...

    def stop(self) -> None:
        """Stop what runs."""
        ...

    def leave(self) -> None:
        """End the chat."""
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

    def end(self) -> None:
        """End the chat once all queued messages are answered."""
        ...

    def recall(self) -> str | None:
        """Remove the message that was queued last and return it, to edit it."""
        ...

    def hint(self, text: str) -> None:
        """Show a text beside the input line for a moment."""
        ...


class Keyboard(Protocol):
    """Source of input, open while it is entered; used on one loop.

    Questions are asked one at a time, in order. `by_lines`: input works by lines, and only printed
    lines are seen. `echoes`: a message stays visible where it was typed.
    """

    by_lines: bool
    echoes: bool

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def render(self, columns: int) -> InputRows:
        """Return its rows for so many columns."""
        ...

    def refill(self, text: str) -> None:
        """Insert this text into the line, before what the user has typed."""
        ...

    async def choose(self, box: Box) -> str:
        """Return the key of the answer. Cancelling removes the question."""
        ...

    async def write(self, field: Field) -> str | None:
        """Return the text, None if the user declines."""
        ...

    async def lend(self, arguments: Sequence[str], reads: IO[bytes] | None = None) -> int:
        """Run another program in the terminal; return its exit code.

        Its stdin is the file `reads`, else the terminal. Raises `OSError` if it cannot be started.
        """
        ...


# Ctrl+C as a signal, and another program in the terminal, which gets it instead.


class Interrupts:
    """Calls `handle` at SIGINT once installed, except while it runs another program."""

    def __init__(self, handle: Callable[[], None]) -> None:
        self._handle = handle
        self._lent = False
        self._restore: Callable[[], object] = lambda: None

    def install(self) -> None:
        """Begin to handle SIGINT."""
        self._restore = partial(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._receive)

    def remove(self) -> None:
        """Restore the handler from before."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        self._restore()

    async def run_program(self, arguments: Sequence[str], reads: IO[bytes] | None = None) -> int:
        """Run the program to its end and return its exit code. If cancelled, terminate it.

        Its stdin is the file `reads`, else that of this program. Signals that a terminal sends to
        all its processes are for the program. They are dropped and not ignored, as it would inherit
        that. Raises `OSError` if it cannot be started.
        """
        self._lent = True
        before = signal.signal(signal.SIGQUIT, _drop_signal)
        try:
            process = await asyncio.create_subprocess_exec(*arguments, stdin=reads)
            try:
                return await process.wait()
            finally:
                if process.returncode is None:
                    process.terminate()
                    await process.wait()
        finally:
            signal.signal(signal.SIGQUIT, before)
            self._lent = False

    def _receive(self) -> None:
        if not self._lent:
            self._handle()


def _drop_signal(_number: int, _frame: FrameType | None) -> None:
    pass


# Keys that answer a question, as opposed to typed text.


class KeyGuard:
    """Decides whether a key may answer; `clock` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._opened = -inf
        self._typed = -inf

    def open(self) -> None:
        """Note that a question is visible from now on."""
        self._opened = self._clock()

    def type(self, *, left: bool) -> None:
        """Note a change of the line; `left`: it has unsent text."""
        self._typed = self._clock() if left else -inf

    @property
    def readable(self) -> bool:
        """True once the question has been visible for a moment."""
        return self._clock() - self._opened >= DELIBERATE

    @property
    def deliberate(self) -> bool:
        """True while a key may answer the question."""
        return self.readable and not self.typing

    @property
    def typing(self) -> bool:
        """True while a message is being typed."""
        return self._clock() - self._typed < PAUSE

    @property
    def typed_on(self) -> bool:
        """True if the line got text after the question was opened."""
        return self._typed >= self._opened
