"""Open the terminal for a chat: the prompt is painted before slow modules are loaded.

On a terminal that can be drawn on, the chat has a region and a line editor; otherwise it reads and
writes lines. Output of the program is shown above the prompt, and signals end the chat.
"""

from __future__ import annotations

import asyncio
import codecs
import io
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, TextIO

import msgspec
from prompt_toolkit.history import History
from prompt_toolkit.input import create_input

from antiphon.settings import private_files
from antiphon.settings.paths import state_folder
from antiphon.settings.settings import Settings
from antiphon.terminal.input.editor import Editor
from antiphon.terminal.input.line_mode import LineKeyboard
from antiphon.terminal.painters import PainterGuard, ReducedMotion, Region
from antiphon.terminal.streaming_context import StreamingContext
from antiphon.terminal.themes import BARE, Ink, choose_theme
from antiphon.terminal.ui_manager import UiManager

# History of the input line, shared by chats: a private file of the user, one entry a line.


MOST_HISTORY_ENTRIES = 1_000
MOST_HISTORY_BYTES = 1_000_000
"""Size of the file at which its older half is dropped."""
LONGEST_ENTRY = 20_000
"""Characters of the longest entry that is saved: a pasted book is not."""


class HistoryFile(History):
    """Entries, newest first; the file is read when the history is first used.

    Several chats may write at once: each entry is appended in one write. If the file cannot be read
    or written, the history covers this chat only. An entry that begins with a blank is not saved,
    as in shells.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def load_history_strings(self) -> Iterable[str]:
        """Return the entries of the file."""
        try:
            lines = self._file.read_bytes().splitlines()
        except OSError:
            return []
        entries: list[str] = []
        for line in reversed(lines):
            with suppress(msgspec.DecodeError, UnicodeError):  # it is cut, or not ours
                entries.append(msgspec.json.decode(line, type=str))
        return list(dict.fromkeys(entries))[:MOST_HISTORY_ENTRIES]

    def store_string(self, string: str) -> None:
        """Append the entry."""
        if string[:1].isspace() or len(string) > LONGEST_ENTRY:
            return
        try:
            with private_files.lock_file(self._file):
                self._append(msgspec.json.encode(string) + b"\n")
        except OSError:  # a full disk does not end the chat
            return

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(line)
            size = file.tell()
        if size > MOST_HISTORY_BYTES:
            lines = self._file.read_bytes().splitlines(keepends=True)
            private_files.write_private_file(self._file, b"".join(lines[len(lines) // 2 :]))


# Output of the program while the chat has the terminal is shown as lines above the prompt.


@contextmanager
def capture_output(say: Callable[[str], None]) -> Generator[None]:
    """Pass each line printed to stdout and stderr to `say`, on this loop."""
    out, err = (_LineCapture(asyncio.get_running_loop(), say) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        try:
            yield
        finally:
            for each in (out, err):
                each.rest()


class _LineCapture(io.TextIOBase):
    """Text file that passes on whole lines."""

    def __init__(self, loop: asyncio.AbstractEventLoop, say: Callable[[str], None]) -> None:
        self._loop = loop
        self._say = say
        self._begun = ""
        self._one_at_a_time = threading.Lock()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._one_at_a_time:
            whole, feed, self._begun = (self._begun + text).rpartition("\n")
        if feed:
            with suppress(RuntimeError):  # the chat is over
                self._loop.call_soon_threadsafe(self._pass_on, whole)
        return len(text)

    def rest(self) -> None:
        """Pass on a last line without an end."""
        begun, self._begun = self._begun, ""
        if begun:
            self._pass_on(begun)

    def _pass_on(self, text: str) -> None:
        with suppress(OSError):  # nothing reads; a report would be the next such line
            self._say(text)


BY_SIGNAL = 128
"""Added to a signal's number for the exit code."""
FEWEST_COLUMNS, FEWEST_ROWS = 30, 8
"""Smallest terminal that is drawn on."""
END_SECONDS = 3.0
"""Seconds after a signal until the chat is cancelled."""
WELCOME = (
    "Enter sends a message, a backslash at the end of a line continues it in the next,"
    " /help lists the commands, Ctrl+D leaves."
)

Chatting = Callable[[UiManager], Coroutine[Any, Any, int]]
"""Runs the chat once the prompt is painted, until the user leaves; returns an exit code.

The code counts if the input is a pipe, which cannot see what failed.
"""


def run(chatting: Chatting, settings: Settings) -> int:
    """Paint the prompt and chat; return the exit code."""
    return asyncio.run(_run_chat(chatting, settings))


async def _run_chat(chatting: Chatting, settings: Settings) -> int:
    out: TextIO = sys.stdout
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(errors="replace")  # characters that the terminal's encoding does not have
    make = _make_line_ui if _needs_line_mode(settings, os.environ) else _make_drawn_ui
    ui, painter = make(settings)
    painter.on_gone = ui.leave
    ending = _SignalHandler(ui)
    code = 0
    try:
        with ending.install():
            if ui.keyboard.echoes:
                print(WELCOME)
            async with ui:
                with capture_output(ui.say), _log_to_stderr(verbose=settings.verbose):
                    code = await chatting(ui)
    except asyncio.CancelledError:
        if not ending.code:
            raise
    if painter.why and not ending.code:
        raise painter.why
    _flush_output()
    return ending.code or (0 if sys.stdin.isatty() else code)


def _flush_output() -> None:
    """Flush the output, so that no failed write is tried again at exit with another exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _needs_line_mode(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Return True if the terminal cannot be drawn on, or must not be."""
    columns, rows = _terminal_size()
    return (
        settings.plain
        or settings.screen_reader
        or environ.get("TERM") in ("dumb", "unknown")
        or not (sys.stdin.isatty() and sys.stdout.isatty())
        or columns < FEWEST_COLUMNS
        or rows < FEWEST_ROWS
    )


def _make_drawn_ui(settings: Settings) -> tuple[UiManager, PainterGuard]:
    theme = choose_theme(settings.theme, os.environ, color=settings.color)
    bare = settings.ascii or codecs.lookup(sys.stdout.encoding).name != "utf-8"
    ink = Ink(theme.in_ascii() if bare else theme, links=settings.links)
    region = Region(sys.stdout, ink)
    painter = PainterGuard(ReducedMotion(region) if settings.animation == "reduced" else region)
    source = create_input(sys.stdin)

    def make_editor(ui: UiManager) -> Editor:
        return Editor(
            ui,
            source=source,
            changed=ui.repaint,
            suspend=ui.display.suspend,
            clock=time.monotonic,
            vi=settings.keys == "vi",
            history=HistoryFile(state_folder(os.environ) / "history"),
        )

    return UiManager(painter, ink, make_editor, size=_terminal_size, clock=time.monotonic), painter


def _make_line_ui(settings: Settings) -> tuple[UiManager, PainterGuard]:
    seen = sys.stdin.isatty() and sys.stdout.isatty()
    styled = sys.stdout.isatty() and not settings.screen_reader
    theme = BARE  # no styles for a screen reader or a pipe
    if styled or settings.color == "always":
        theme = choose_theme(settings.theme, os.environ, color=settings.color)
    ink = Ink(theme.in_words())
    lines = StreamingContext(sys.stdout, ink, announces=seen)
    painter = PainterGuard(lines)

    def make_keyboard(ui: UiManager) -> LineKeyboard:
        return LineKeyboard(
            ui,
            source=sys.stdin,
            show=ui.show,
            echoed=lines.on_echo,
            changed=ui.repaint,
            suspend=ui.display.suspend,
            columns=lambda: _terminal_size()[0],
            echoes=seen,
            clock=time.monotonic,
        )

    return UiManager(
        painter, ink, make_keyboard, size=_terminal_size, clock=time.monotonic
    ), painter


def _terminal_size() -> tuple[int, int]:
    """Return columns and rows. COLUMNS and LINES, which never change, count without a terminal."""
    try:
        columns, rows = os.get_terminal_size(1)
    except OSError:
        columns, rows = 0, 0
    named = shutil.get_terminal_size()
    return columns or named.columns, rows or named.lines


class _SignalHandler:
    """Ends the chat on SIGTERM or SIGHUP as if the user had left; cancels it if that takes long."""

    def __init__(self, ui: UiManager) -> None:
        self.code = 0
        self._ui = ui

    @contextmanager
    def install(self) -> Generator[None]:
        """Install the handlers."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def end(number: signal.Signals) -> None:
            self.code = BY_SIGNAL + number
            self._ui.leave()
            if task:
                loop.call_later(END_SECONDS, task.cancel)

        if sys.platform != "win32":
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, end, number)
        yield


@contextmanager
def _log_to_stderr(*, verbose: bool) -> Generator[None]:
    """Print log records of Antiphon; without `verbose` only warnings and errors."""
    logger = logging.getLogger("antiphon")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    handler.setLevel(logging.DEBUG if verbose else logging.WARNING)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose else before)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
