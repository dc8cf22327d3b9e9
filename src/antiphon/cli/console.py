"""Input and output of the commands: notes, progress and prompts, tables, JSON and answers."""

from __future__ import annotations

import getpass
import os
import select
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, TextIO, TypeVar

import msgspec

from antiphon.types.errors import InvalidRequest
from antiphon.types.terminal_safe import Cleaner, clean, json_text, one_line

try:
    import termios
except ImportError:  # Windows, where what was typed before the question cannot be dropped
    termios = None  # type: ignore[assignment]

T = TypeVar("T")


def note(text: str) -> None:
    """Print a line to stderr, with control characters made visible.

    An error of stderr is ignored, so that it does not end an answer. Raises `BrokenPipeError` if
    stdout is the same pipe, so that its reader has left too.
    """
    try:
        print(clean(text), file=sys.stderr, flush=True)
    except BrokenPipeError:
        if _same_stream(sys.__stdout__, sys.__stderr__):
            raise
    except OSError:
        pass


def drop_typed_input() -> None:
    """Drop what was typed on the terminal before a question, so that it does not answer it."""
    if termios is not None and sys.stdin.isatty():
        termios.tcflush(sys.stdin, termios.TCIFLUSH)


def _same_stream(stdout: TextIO | None, stderr: TextIO | None) -> bool:
    """Return whether both are the same file, as after `2>&1`."""
    try:
        return bool(stdout and stderr and os.path.sameopenfile(stdout.fileno(), stderr.fileno()))
    except (OSError, ValueError):  # one of them is closed
        return False


def read_text_option(text: str | None, file: str | None) -> str | None:
    """Return the text of an option, or that of a file; `-` is stdin. None if neither is given.

    White space around the text of a file is removed. Raises `InvalidRequest` if it is unreadable.
    """
    if file is None:
        return text
    try:
        return (sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")).strip()
    except (OSError, UnicodeError) as fault:
        raise InvalidRequest(f"{one_line(file)} cannot be read: {fault}.") from fault


# Lists for people: columns as wide as they must be, and nothing that acts on a terminal.


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows as aligned columns below a head."""
    lines = [[one_line(text) for text in row] for row in (head, *rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def print_list(
    listed: Sequence[T],
    head: Sequence[str],
    row: Callable[[T], Sequence[str]],
    none: str,
    *,
    as_json: bool,
) -> None:
    """Print objects as one JSON list, or as a table; note `none` in place of an empty table."""
    if as_json:
        print_json(listed)
    elif listed:
        print(format_table(head, map(row, listed)))
    else:
        note(none)


async def take(items: AsyncIterator[T], most: int) -> list[T]:
    """Return the first items, so many at most; no page after them is requested."""
    taken: list[T] = []
    async for item in items:
        taken.append(item)
        if len(taken) == most:
            break
    return taken


def is_styled_terminal() -> bool:
    """Return whether stdout is a terminal that shows bold text, and nobody has asked it not to."""
    environ = os.environ
    return sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def format_time(milliseconds: int | None) -> str:
    """Return a time in ms since 1970 in the local zone; empty for None."""
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


# JSON on stdout, for programs: valid JSON that does nothing to a terminal.


def print_json(value: object) -> None:
    """Print the value as one line of JSON."""
    print(json_text(msgspec.json.encode(value)))


# Where an answer is written: a pipe gets it as it is, a terminal what cannot act on it.


class TextOutput(Protocol):
    """Interface of the output of an answer."""

    on_terminal: bool

    @property
    def used(self) -> bool:
        """True if anything was written."""
        ...

    def write(self, text: str) -> None:
        """Write the next piece of the answer."""
        ...

    def end(self) -> None:
        """End the current line, if there is one."""
        ...

    def blank(self) -> None:
        """Write a blank line."""
        ...


class StreamOutput:
    """Unbuffered output: raw into a pipe, made safe on a terminal.

    `raw` writes raw text to a terminal too.
    """

    def __init__(self, out: TextIO, *, raw: bool = False) -> None:
        self.on_terminal = out.isatty()
        self._out = out
        self._cleaner = Cleaner() if self.on_terminal and not raw else None
        self._last = ""

    @property
    def used(self) -> bool:
        """True if anything was written."""
        return bool(self._last)

    def write(self, text: str) -> None:
        """Write and flush the next piece."""
        if not text:
            return
        self._last = text[-1]
        shown = self._cleaner.feed(text) if self._cleaner else text
        self._out.buffer.write(shown.encode("utf-8", "replace"))
        self._out.buffer.flush()

    def end(self) -> None:
        """End the current line, if there is one."""
        if self._last and self._last != "\n":
            self.write("\n")

    def blank(self) -> None:
        """Write a blank line."""
        self.end()
        self.write("\n")


# Read piped input, without waiting for a pipe that is merely open; and secrets.


PATIENCE = 1.0  # seconds; an inherited pipe that nobody writes to looks like a slow writer's


def read_piped(stdin: TextIO | None, *, awaited: bool) -> bytes:
    """Return all of stdin; empty if it is closed, empty or a terminal.

    Unless it is `awaited`, an open stdin without data is not read, with a note on stderr. After the
    first byte it is read to its end.
    """
    if stdin is None or stdin.closed or stdin.isatty():
        return b""
    if not awaited and not _has_input(stdin):
        note(
            f"antiphon: stdin is open but sent nothing for {PATIENCE:g} s, so it is not read;"
            " a further argument `-` waits for it"
        )
        return b""
    return stdin.buffer.read()


def _has_input(stdin: TextIO) -> bool:
    try:
        readable, _, _ = select.select([stdin], [], [], PATIENCE)
    except OSError:  # Windows can ask this of sockets only
        return False
    return bool(readable)


# A secret is typed without being seen, or comes by stdin; never by the command line.


def read_secret(prompt: str, name: str) -> str:
    """Return what a person types at this prompt. Raises `InvalidRequest` at end of input."""
    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise InvalidRequest(f"No {name} was typed.", hint="Try again.") from None


def read_first_line(name: str) -> str:
    """Return the first line of stdin. Raises `InvalidRequest` if it is not UTF-8."""
    try:
        return sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise InvalidRequest(f"The {name} is no text.", expected="text in UTF-8") from None


# Progress of a long command on stderr: a bar on a terminal, a line now and then elsewhere.


BAR = 24
BAR_SECONDS = 0.1
LINE_SECONDS = 5.0


class ProgressBar:
    """Shows the steps of a command on a stream; leaving it ends the line of the bar."""

    def __init__(self, out: TextIO, unit: str = "") -> None:
        self._out = out
        self._unit = unit
        self._is_bar = out.isatty()
        self._shown_at = 0.0
        self._shown = ""

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_bar and self._shown:
            print(file=self._out)

    def show(self, doing: str, what: str, done: int, of: int) -> None:
        """Show a step, unless the last one was shown a moment ago."""
        now = time.monotonic()
        last = done >= of
        if not last and now - self._shown_at < (BAR_SECONDS if self._is_bar else LINE_SECONDS):
            return
        self._shown_at = now
        share = done / of if of else 1.0
        counted = f"{self._unit}  {what}" if self._unit else what
        line = f"{doing} {share:4.0%}  {done:,} of {of:,} {counted}"
        if line == self._shown:
            return
        self._shown = line
        if self._is_bar:
            full = round(share * BAR)
            whole = f"[{'#' * full}{'.' * (BAR - full)}] {line}"
            columns = shutil.get_terminal_size().columns - 1
            print(f"\r{whole[:columns]:{columns}}", end="", file=self._out, flush=True)
        else:
            print(line, file=self._out, flush=True)
