"""`antiphon chat` in its own terminal: tests press keys and wait for text on the screen.

async with Model() as model, Chatting(model, home=tmp_path) as chat:
    await chat.ready()
    chat.type("Hello\\r")
    reply = await model.next_request()
    await reply.answer("Hi there.")
    await chat.sees("Hi there.")
"""

from __future__ import annotations

import asyncio
import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import fork_server
from tests.support.terminal.emulator import ALLOWED, Emulator
from tests.support.terminal.model import Model

SECONDS = 300.0
"""Long, for a busy machine: a test that passes does not wait so long."""
KEYS = {
    "enter": "\r",
    "escape": "\x1b",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "left": "\x1b[D",
    "right": "\x1b[C",
    "tab": "\t",
    "shift-tab": "\x1b[Z",
    "backspace": "\x7f",
    "alt-enter": "\x1b\r",
}
"""Keys by name; keys such as `ctrl-c` are computed from their letter."""
PAINTS = re.compile(r"(?s:.+?\x1b\[\?2026l|.+)")
"""Matches the text of each paint, up to its end."""


class Chatting:
    """The program. It stores everything below `home`; `flags` follow `antiphon chat`.

    With `cold` it starts in a new Python process, else as a fork of a loaded one. `typed_ahead` is
    typed before the program starts.
    """

    def __init__(
        self,
        model: Model | None = None,
        *flags: str,
        home: Path,
        columns: int = 80,
        rows: int = 24,
        environ: Mapping[str, str] | None = None,
        command: tuple[str, ...] = ("chat",),
        cold: bool = False,
        typed_ahead: str = "",
    ) -> None:
        self.emulator = Emulator(columns, rows)
        self._columns, self._rows = columns, rows
        model_flags = ("--base-url", model.url, "--model", "told") if model else ()
        self._arguments = (*command, *model_flags, *flags)
        self._home = home
        self._environ = environ or {}
        self._cold = cold or fork_server.needs_a_beginning(self._environ)
        self._typed_ahead = typed_ahead
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._process: asyncio.subprocess.Process | fork_server.Child | None = None

    async def __aenter__(self) -> Self:
        self._master, slave = pty.openpty()
        self._fit(self._columns, self._rows)
        self.type(self._typed_ahead)
        base_environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "TERM": "xterm-256color",
        }
        folders = {f"XDG_{name}_HOME": str(self._home / name.lower()) for name in _FOLDERS}
        environ = {"LANG": "C.UTF-8", **base_environ, **folders, **self._environ}
        start = _start_cold if self._cold else fork_server.start_fork
        self._process = await start(self._arguments, self._home, environ, (slave,) * 3)
        os.close(slave)
        asyncio.get_running_loop().add_reader(self._master, self._read)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process and self._process.returncode is None:
            with suppress(ProcessLookupError):  # it may have ended by itself
                self.kill()
            await self._process.wait()
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        if error is not None:
            print("\n".join(self.rows))  # what was on the screen when the test failed

    @property
    def pid(self) -> int:
        """The id of the program's process."""
        assert self._process
        return self._process.pid

    @property
    def rows(self) -> list[str]:
        """All rows, those that have scrolled away too."""
        return self.emulator.rows

    @property
    def text(self) -> str:
        """All rows as one text."""
        return "\n".join(self.rows)

    @property
    def written(self) -> str:
        """Every character that the program wrote, control sequences included."""
        return self.emulator.written

    @property
    def foreign(self) -> list[str]:
        """The control characters that the program wrote outside its own sequences."""
        return re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f].{0,12}", ALLOWED.sub("", self.written))

    def type(self, text: str | bytes) -> None:
        """Type letters as a person does, or send bytes."""
        os.write(self._master, text if isinstance(text, bytes) else text.encode())

    def press(self, *keys: str) -> None:
        """Press keys by name, such as `enter`, `ctrl-c`, `y`."""
        for key in keys:
            control = key.removeprefix("ctrl-")
            self.type(chr(ord(control) & 0x1F) if control != key else KEYS.get(key, key))

    def paste(self, text: str) -> None:
        """Paste a text as a terminal does."""
        self.type(f"\x1b[200~{text}\x1b[201~")

    def say(self, text: str) -> None:
        """Type a line and send it."""
        self.type(f"{text}\r")

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal's window."""
        self.emulator.screen.resize(rows, columns)
        self._fit(columns, rows)

    async def until(self, predicate: Callable[[], bool], seconds: float = SECONDS) -> None:
        """Wait until the predicate is true after a paint, even if only until the next one."""
        became_true = asyncio.get_running_loop().create_future()
        waiting = predicate, became_true
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(seconds):
                if not predicate():
                    await became_true
        except TimeoutError:
            raise AssertionError(f"never seen; there is:\n{self.text}") from None
        finally:
            self._waiting.remove(waiting)

    async def sees(self, text: str, seconds: float = SECONDS) -> None:
        """Wait until this text is on the screen."""
        await self.until(lambda: text in self.text, seconds)

    async def ready(self) -> None:
        """Wait until the program is ready for a message."""
        await self.sees("/help")

    async def wait(self, seconds: float = SECONDS) -> int:
        """Wait for the end, read all remaining output and return the exit code."""
        assert self._process
        async with asyncio.timeout(seconds):
            code = await self._process.wait()
        while select.select([self._master], [], [], 0)[0] and self._read():
            pass
        return code

    async def leave(self) -> int:
        """Press Ctrl+D until the program ends; return the exit code."""
        while True:
            self.press("ctrl-d")
            with suppress(TimeoutError):
                return await self.wait(1.0)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def hang_up(self) -> None:
        """Close the terminal's window."""
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        self._master = os.open(os.devnull, os.O_RDWR)

    def _fit(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self) -> bool:
        """Read output of the program; return True if there may be more."""
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other side is closed
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
        for paint in PAINTS.findall(self._decoder.decode(data)) or [""]:
            self.emulator.write(paint)
            self._check_predicates()
        return bool(data)

    def _check_predicates(self) -> None:
        """Check the predicates of those who wait against the screen as it is now."""
        for predicate, became_true in self._waiting:
            try:
                if not became_true.done() and predicate():
                    became_true.set_result(None)
            except Exception as error:  # noqa: BLE001 - raised in the test that waits
                became_true.set_exception(error)


_FOLDERS = ("DATA", "CONFIG", "STATE", "CACHE")


_OWN_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from antiphon.cli.main import main
sys.argv[0] = "antiphon"
sys.exit(main())
"""
"""Makes the terminal control the program, so that signals of its keys reach the program."""


async def _start_cold(
    arguments: Sequence[str], folder: Path, environ: Mapping[str, str], streams: Sequence[int]
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _OWN_TERMINAL, *arguments),
        stdin=streams[0],
        stdout=streams[1],
        stderr=streams[2],
        cwd=folder,
        env=environ,
        start_new_session=True,
    )
