"""`antiphon chat` in tmux, a terminal that rewraps its rows and has a scrollback."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.terminal.model import Model

SECONDS = 60.0


class Tmux:
    """A tmux server; calling it runs a command of tmux."""

    def __init__(self, socket: Path) -> None:
        self._socket = str(socket)

    def __call__(self, *command: str) -> str:
        return subprocess.run(
            ["tmux", "-S", self._socket, "-f", "/dev/null", *command],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout


class Window:
    """A chat in a window of tmux, which pipes all output here: each piece triggers a new check."""

    def __init__(
        self, model: Model, *flags: str, home: Path, columns: int = 80, rows: int = 24
    ) -> None:
        self._tmux = Tmux(home / "socket")
        self._pipe = home / "pipe"
        self._home = home
        self._size = ("-x", str(columns), "-y", str(rows))
        chat_flags = ("--base-url", model.url, "--model", "told", *flags)
        self._command = shlex.join([sys.executable, "-m", "antiphon", "chat", *chat_flags])
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        os.mkfifo(self._pipe)
        self._read = os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(self._read, self._wait_for_output)
        folders = " ".join(f"XDG_{name}_HOME={shlex.quote(str(self._home))}" for name in _FOLDERS)
        command_line = f"cd {shlex.quote(str(self._home))} && exec env {folders} {self._command}"
        self._tmux("new-session", "-d", *self._size, "sleep 1000")
        self._tmux("set", "-g", "history-limit", "100000")
        self._tmux(
            "new-window", "-d", command_line, ";", "pipe-pane", "-t", ":1", f"cat > {self._pipe}"
        )
        self._tmux("select-window", "-t", ":1")
        self._news.set()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            print(self.shown)
        asyncio.get_running_loop().remove_reader(self._read)
        os.close(self._read)
        self._tmux("kill-server")

    @property
    def text(self) -> str:
        """All rows with the scrollback; rows that the terminal wrapped are joined."""
        return self._tmux("capture-pane", "-p", "-J", "-t", ":1", "-S", "-")

    @property
    def shown(self) -> str:
        """Return the rows of the screen."""
        return self._tmux("capture-pane", "-p", "-t", ":1")

    def type(self, text: str) -> None:
        """Type letters."""
        self._tmux("send-keys", "-t", ":1", "-l", text)

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names, such as `Enter`, `C-c`."""
        self._tmux("send-keys", "-t", ":1", *keys)

    def say(self, text: str) -> None:
        """Type a line and send it."""
        self.type(text)
        self.press("Enter")

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        self._tmux("resize-window", "-t", ":1", "-x", str(columns), "-y", str(rows))

    async def until(self, predicate: Callable[[], bool], seconds: float = SECONDS) -> None:
        """Wait until the predicate is true after some output."""
        try:
            async with asyncio.timeout(seconds):
                while not predicate():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"never seen; there is:\n{self.text}") from None

    async def sees(self, text: str, seconds: float = SECONDS) -> None:
        """Wait until this text is on the screen."""
        await self.until(lambda: text in self.text, seconds)

    def _wait_for_output(self) -> None:
        os.read(self._read, 65536)
        self._news.set()


_FOLDERS = ("DATA", "CONFIG", "STATE", "CACHE")
