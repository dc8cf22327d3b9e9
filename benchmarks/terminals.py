"""A program in its own terminal, measured from outside: its output, the times of it, and its cost.

python -m benchmarks.terminals URL      openai's own loop, as the chat's baseline: prints a reply
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.children import Child

PATIENCE = 60.0


class Terminal:
    """Terminal of one program: its output so far, and its process."""

    def __init__(self, master: int, pid: int) -> None:
        self.written = b""
        self.child = Child(pid, "", 0.0)
        self._master = master
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def type(self, text: str) -> float:
        """Type the text; return the time before the first key."""
        began = time.perf_counter()
        os.write(self._master, text.encode())
        return began

    async def wait_for_output(self, text: bytes, times: int = 1) -> float:
        """Wait until the text was written so many times; return the time then."""
        async with asyncio.timeout(PATIENCE):
            while self.written.count(text) < times:
                self._news.clear()
                await self._news.wait()
        return time.perf_counter()

    def stop_watching(self) -> None:
        """Stop reading the terminal."""
        asyncio.get_running_loop().remove_reader(self._master)

    def _read(self) -> None:
        try:
            self.written += os.read(self._master, 1 << 16)
        except OSError:
            self.stop_watching()
        self._news.set()


@asynccontextmanager
async def terminal(home: Path, *command: str) -> AsyncIterator[Terminal]:
    """Run the program for as long as the block lasts, in 120 columns and 40 rows."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "xterm-256color"}
    process = await asyncio.create_subprocess_exec(
        *command, stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True
    )
    os.close(slave)
    program = Terminal(master, process.pid)
    try:
        yield program
    finally:
        program.stop_watching()
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(master)


def _print_reply(url: str) -> None:
    import openai  # noqa: PLC0415 - imported only in the process that is measured

    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    messages = [{"role": "user", "content": "Go."}]
    stream = client.chat.completions.create(
        model=sys.argv[2],
        messages=messages,  # type: ignore[arg-type]
        stream=True,
    )
    for chunk in stream:
        for choice in chunk.choices:
            print(choice.delta.content or "", end="", flush=True)
    print("\n[ended]", flush=True)
    sys.stdin.read()  # keep the process until its cost is read


if __name__ == "__main__":
    _print_reply(sys.argv[1])
