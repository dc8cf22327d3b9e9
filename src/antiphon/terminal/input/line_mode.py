"""Keyboard of whole lines: for a screen reader, a dumb terminal, or a pipe.

The terminal itself edits the line, if any. A backslash at its end continues it. Questions are
answered by a number and Enter, in a line that comes alone. Ctrl+C stops what runs, else leaves at
the second press; Ctrl+D leaves. A pipe's end ends the chat once all its lines are answered.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import TracebackType
from typing import IO, Self, TextIO

from antiphon.terminal import spans
from antiphon.terminal.input.keyboard import (
    AGAIN_LEAVES,
    DELIBERATE,
    STOP_FIRST,
    TWICE,
    Box,
    Field,
    Interrupts,
    KeyChoice,
    Listener,
)
from antiphon.terminal.painters import InputRows
from antiphon.terminal.spans import Line, StyledText
from antiphon.types.terminal_safe import clean

if sys.platform != "win32":
    import termios

_READ = 65_536
LONGEST_ANSWER = 3
"""Characters of a text that may be a wrong answer; longer ones are kept, to be sent."""

Say = Callable[[Iterable[Line]], None]


class LineKeyboard:
    """Reads lines from `source`, a terminal in its usual mode or a pipe.

    `show` prints lines. `echoed` is called when the terminal has shown typed text: True if that
    ended the line. `changed` asks for a prompt. `suspend` leaves the terminal to another program.
    `echoes`: printed lines stand beside the echo of the terminal. `clock` returns monotonic
    seconds.
    """

    by_lines = True

    def __init__(
        self,
        listener: Listener,
        *,
        source: TextIO,
        show: Say,
        echoed: Callable[[bool], None],
        changed: Callable[[], None],
        suspend: Callable[[], AbstractContextManager[None]],
        columns: Callable[[], int],
        echoes: bool,
        clock: Callable[[], float],
    ) -> None:
        self._listener = listener
        self._source = source
        self._show = show
        self._echoed = echoed
        self._changed = changed
        self._suspend = suspend
        self._clock = clock
        self._columns = columns
        self._person = source.isatty()
        self.echoes = self._person and echoes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._partial = ""
        self._lines: list[str] = []
        self._pending_text = ""
        self._pressed = -TWICE
        self._ended = False
        self._label = ""
        self._half_line = False
        self._answer: asyncio.Future[str | None] | None = None
        self._followed: asyncio.Future[None] | None = None
        self._behind: list[str] = []
        self._hurried = False
        self._interrupts = Interrupts(self._on_interrupt)
        self._line_at = -DELIBERATE
        self._asked_at = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._interrupts.install()
        self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended = True
        self._stop_listening()
        self._interrupts.remove()

    def render(self, columns: int) -> InputRows:
        """Return the prompt while a line is expected; the terminal shows typed text."""
        if not self.echoes or self._ended:
            return InputRows()
        if self._answer:
            label = self._label
        elif not self._listener.attentive:
            return InputRows()
        else:
            label = "Next line: " if self._lines else "You: "
        return InputRows(
            rows=((StyledText(label, "mark"),),), cursor=(0, spans.line_width([StyledText(label)]))
        )

    def refill(self, text: str) -> None:
        """Store this text: Enter alone sends it, anything else replaces it."""
        self._pending_text = text
        if self._person:
            self._say(f"Enter alone sends this: {text}")

    async def choose(self, box: Box) -> str:
        """Return the key of the answer. Cancelling removes the question."""
        async with self._one_at_a_time:
            # The default is first: Enter alone chooses it.
            numbered = sorted(box.choices, key=lambda choice: choice.key != box.default)
            self._begin_question()
            self._show(box.rows(self._columns()))
            for number, choice in enumerate(numbered):
                self._say(f"{number}. {choice.meaning}")
            if self._ended:
                self._say("Nobody can answer any more.")
            while (text := await self._ask_line(_ASKED.format(len(numbered) - 1))) is not None:
                key = _parse_choice(text.strip(), numbered)
                if key is not None and not await self._stands_alone(text):
                    self._keep_paste(text)
                    continue
                if key is not None:
                    return key
                self._keep_text(text)
                self._say(f"{text.strip()} is none of the answers.")
            return box.default

    async def write(self, field: Field) -> str | None:
        """Return the text, None if the user declines."""
        async with self._one_at_a_time:
            self._begin_question()
            self._show(field.rows(self._columns()))
            if field.text:
                self._say(f"Enter alone takes this: {field.text}")
            with self._hide_input() if field.hidden else nullcontext():
                while (text := await self._ask_line(f"{clean(field.label)}: ")) is not None:
                    text = text or field.text
                    if not (wrong := field.wrong(text)):
                        return text
                    self._say(wrong)
            return None

    async def lend(self, arguments: Sequence[str], reads: IO[bytes] | None = None) -> int:
        """Run another program in the terminal; return its exit code."""
        with self._suspend():
            self._stop_listening()
            try:
                return await self._interrupts.run_program(arguments, reads)
            finally:
                self._listen()
                self._asked_at = self._clock()  # a question put meanwhile is seen only now

    # Lines.

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            loop.add_reader(self._source.fileno(), self._read)
        except PermissionError:  # a regular file, which is always readable
            loop.call_soon(self._read_all)

    def _stop_listening(self) -> None:
        asyncio.get_running_loop().remove_reader(self._source.fileno())

    def _read_all(self) -> None:
        while not self._ended:
            self._read()

    def _read(self) -> None:
        try:
            data = os.read(self._source.fileno(), _READ)
        except BlockingIOError:
            return
        except OSError:
            data, self._person = b"", False  # the terminal has gone
        *lines, self._partial = (self._partial + self._decoder.decode(data)).split("\n")
        for line in lines:
            if self.echoes:
                self._echoed(True)
            self._handle_line(line.removesuffix("\r"))
        if not data:
            self._end()

    def _handle_line(self, line: str) -> None:
        if line.endswith("\\"):
            self._lines.append(line[:-1])
            self._changed()
            return
        text, self._lines = "\n".join([*self._lines, line]), []
        before, self._line_at = self._line_at, self._clock()
        self._hurried = self._line_at - before < DELIBERATE
        if self._followed is not None:
            self._behind.append(text)
            if not self._followed.done():
                self._followed.set_result(None)
            return
        if self._answer and self._half_line:
            # The rest of a line begun before the question.
            self._half_line = False
            self._keep_text(text, on=True)
            self._changed()
            return
        if self._answer and self._clock() - self._asked_at >= DELIBERATE:
            self._set_answer(text)
            return
        if not text.strip():
            text, self._pending_text = self._pending_text, ""
        if text.strip():
            self._pending_text = ""
            self._listener.submit(text)
        self._changed()

    def _end(self) -> None:
        """Handle the end of the input, or Ctrl+D."""
        begun, self._partial = self._partial, ""
        if unsent := bool(begun or self._lines):
            self._handle_line(begun)
        if not self._person:
            self._ended = True
            self._stop_listening()
            self._set_answer(None)
            self._listener.end()
        elif self._answer:
            self._set_answer(None)
        elif self._listener.busy:
            self._listener.hint(STOP_FIRST)
        elif not unsent:
            self._echoed(False)
            self._listener.leave()

    def _on_interrupt(self) -> None:
        """Handle Ctrl+C: withdraw the question, or stop what runs, or leave at the second press."""
        if self.echoes:
            self._echoed(False)
        self._partial, self._lines = "", []
        now = self._clock()
        if self._answer:
            self._set_answer(None)
        elif self._listener.busy:
            self._listener.stop()
        elif now - self._pressed <= TWICE:
            self._listener.leave()
        else:
            self._pressed = now
            self._listener.hint(AGAIN_LEAVES)

    # Answers.

    def _begin_question(self) -> None:
        """Make sure that no text typed before now answers.

        Whole lines are messages; half a line is kept for later, with its rest.
        """
        self._asked_at = self._clock()
        if not self._person:
            return
        *lines, half = (self._partial + _take_half_line(self._source)).split("\n")
        self._partial = ""
        for line in lines:
            self._handle_line(line.removesuffix("\r"))
        self._half_line = bool(half)
        if half:
            self._echoed(False)
            self._keep_text(half)

    def _keep_text(self, text: str, *, on: bool = False) -> None:
        """Keep text that answers nothing, to be sent later; `on`: it continues the kept text."""
        if not on and len(text.strip()) <= LONGEST_ANSWER:
            return
        between = "" if on or not self._pending_text else "\n"
        self.refill(f"{self._pending_text}{between}{text}")

    async def _stands_alone(self, text: str) -> bool:
        """Return True if no other line came with this one: a line of a paste answers nothing."""
        if not self._person or not text.strip():
            return True
        if self._hurried:
            return False
        self._followed = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait([self._followed], timeout=DELIBERATE)
            return not self._followed.done() and not self._ended
        finally:
            self._followed = None

    def _keep_paste(self, text: str) -> None:
        """Keep the lines of a paste, to be sent later."""
        lines, self._behind = [text, *self._behind], []
        self.refill("\n".join([self._pending_text, *lines] if self._pending_text else lines))
        self._say("A line answers alone, and is none of several.")

    async def _ask_line(self, label: str) -> str | None:
        if self._ended:
            return None
        self._label = label
        if not self.echoes:
            self._say(label.strip())
        self._answer = asyncio.get_running_loop().create_future()
        self._changed()
        try:
            return await self._answer
        finally:
            self._answer = None

    def _set_answer(self, answer: str | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_result(answer)

    def _say(self, text: str) -> None:
        self._show([(StyledText(line),) for line in clean(text).split("\n")])

    @contextmanager
    def _hide_input(self) -> Generator[None]:
        """Turn the terminal's echo off, except for line ends."""
        if not self._person:
            yield
            return
        before = termios.tcgetattr(self._source)
        hidden = termios.tcgetattr(self._source)
        hidden[3] = hidden[3] & ~termios.ECHO | termios.ECHONL
        termios.tcsetattr(self._source, termios.TCSADRAIN, hidden)
        try:
            yield
        finally:
            with suppress(termios.error):  # the terminal has gone
                termios.tcsetattr(self._source, termios.TCSADRAIN, before)


def _take_half_line(source: TextIO) -> str:
    """Read an unfinished line out of the terminal's buffer."""
    if sys.platform == "win32":
        return ""
    try:
        before = termios.tcgetattr(source)
        at_once = termios.tcgetattr(source)
        at_once[3] &= ~termios.ICANON
        at_once[6][termios.VMIN] = at_once[6][termios.VTIME] = 0
        termios.tcsetattr(source, termios.TCSANOW, at_once)
        try:
            return os.read(source.fileno(), _READ).decode(errors="replace")
        finally:
            termios.tcsetattr(source, termios.TCSANOW, before)
    except (OSError, termios.error):  # the terminal has gone, or there is nothing
        return ""


_ASKED = "Number from 0 to {}, or Enter for 0: "


def _parse_choice(text: str, numbered: Sequence[KeyChoice]) -> str | None:
    """Return the key for a number or a key; the default for an empty text."""
    if text.isdecimal():
        return numbered[int(text)].key if int(text) < len(numbered) else None
    if not text:
        return numbered[0].key
    return text if text in {choice.key for choice in numbered} else None
