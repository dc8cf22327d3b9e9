"""What a keyboard is to the chat: messages come from it, and questions are put to it.

There are two: `editor` reads single keys and has a line that is edited, `spoken` reads whole lines
for a screen reader, a dumb terminal or a pipe.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from math import inf
from types import TracebackType
from typing import Protocol, Self

import msgspec

from antiphon.terminal import spans
from antiphon.terminal.painters import InputRows
from antiphon.terminal.spans import Line

TWICE = 2.0
"""Seconds within which a second Ctrl+C, where nothing runs, leaves."""
DELIBERATE = 0.3
"""Seconds that a question must have been seen for, and that a key must stand alone for."""
PAUSE = 1.0
"""Seconds without typing after which a key may be meant for a question."""
AGAIN_LEAVES = "Ctrl+C again leaves, and so does Ctrl+D."
TYPED_ON = "What you type stays in your line. To answer, pause, and press one key alone."
NEXT_PART = "m"
"""The key of the choice that shows the next part of what has no room."""
STOP_FIRST = "Something runs: Ctrl+C stops it, and then Ctrl+D leaves."

Rows = Callable[[int], Sequence[Line]]
"""What is shown, for so many columns."""


def in_rows(lines: Sequence[Line]) -> Rows:
    """These lines, folded to the columns that there are."""
    return lambda columns: spans.fold_all(lines, columns - 1)


class Choice(msgspec.Struct, frozen=True):
    """An answer that can be given: by one key, or by its number where lines are read."""

    key: str
    meaning: str


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """A question with a few answers; everything but a choice's own key gives `default`.

    A key counts only after a pause in typing and where no other key follows it at once, so that
    words that are typed, ahead or on, answer nothing; nor does a paste. A choice `m` is the next
    part of what is shown: the keys that page give it too.
    """

    rows: Rows
    choices: tuple[Choice, ...]
    default: str


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A text that is asked for. `wrong` says what is wrong with one, or nothing."""

    label: str
    rows: Rows = lambda columns: ()
    text: str = ""
    hidden: bool = False
    wrong: Callable[[str], str | None] = lambda text: None


class Listener(Protocol):
    """Who is told what the person does. Nothing in it may block."""

    @property
    def busy(self) -> bool:
        """Whether something runs that can be stopped."""
        ...

    @property
    def attentive(self) -> bool:
        """Whether what is said next is taken up at once."""
        ...

    def submit(self, text: str) -> None:
        """A message or a command was sent; it waits its turn where something runs."""
        ...

    def stop(self) -> None:
        """Stop what runs."""
        ...

    def leave(self) -> None:
        """End the chat."""
        ...

    def unfold(self) -> None:
        """Show the last thing that was shown in short."""
        ...

    def more_time(self) -> None:
        """Let the reply take longer."""
        ...

    def end(self) -> None:
        """End the chat once all that was said has been answered."""
        ...

    def recall(self) -> str | None:
        """Take back the message that was queued last, to edit it."""
        ...

    def hint(self, text: str) -> None:
        """Say this beside the line for a moment; nothing takes it away."""
        ...


class Keyboard(Protocol):
    """Where a person types, open as long as it is entered; used on one loop.

    Questions come one at a time, in the order in which they were put. `spoken`: whatever is not
    printed above is not seen. `echoes`: a message stays seen where it was typed.
    """

    spoken: bool
    echoes: bool

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def render(self, columns: int) -> InputRows:
        """What there is to see of it, for so many columns."""
        ...

    def refill(self, text: str) -> None:
        """Have the person go on from this text; what they had typed stays behind it."""
        ...

    async def choose(self, box: Box) -> str:
        """The key of the answer. Cancelling takes the question away."""
        ...

    async def write(self, field: Field) -> str | None:
        """The text, None where the person would not give one."""
        ...

    async def lend(self, arguments: Sequence[str]) -> int:
        """Have another program use the terminal until it ends; its exit code.

        Raises `OSError` where it cannot be started.
        """
        ...


# Another program has the terminal for a while, and the keys that stop things are its own.


async def run_program(arguments: Sequence[str]) -> int:
    """Run the program to its end; its exit code. Where this is cancelled, the program is ended.

    Raises `OSError` where it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(*arguments)
    with _ignore_signals(signal.SIGINT, signal.SIGQUIT):
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()


@contextmanager
def _ignore_signals(*signals: signal.Signals) -> Generator[None]:
    """A terminal sends these to all who use it; they are meant for the program in front."""
    before = {each: signal.signal(each, signal.SIG_IGN) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


# Tell a key that answers a question from one that was typed for something else.


class KeyGuard:
    """The moments that matter; `clock` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._opened = -inf
        self._typed = -inf

    def open(self) -> None:
        """Note that a question can be seen from now on."""
        self._opened = self._clock()

    def type(self, *, left: bool) -> None:
        """Note a change of the line; `left` says that text is in it, that was not sent."""
        self._typed = self._clock() if left else -inf

    @property
    def readable(self) -> bool:
        """True once the question has been seen for a moment."""
        return self._clock() - self._opened >= DELIBERATE

    @property
    def deliberate(self) -> bool:
        """True while a key that is pressed may be meant for the question."""
        return self.readable and not self.typing

    @property
    def typing(self) -> bool:
        """True while a message is being typed."""
        return self._clock() - self._typed < PAUSE

    @property
    def typed_on(self) -> bool:
        """True where the line got text after the question was opened."""
        return self._typed >= self._opened
