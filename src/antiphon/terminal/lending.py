"""Another program has the terminal for a while, and the keys that stop things are its own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Generator, Sequence
from contextlib import contextmanager


async def seen_through(arguments: Sequence[str]) -> int:
    """Run the program to its end; its exit code. Where this is cancelled, the program is ended.

    Raises `OSError` where it cannot be started.
    """
    process = await asyncio.create_subprocess_exec(*arguments)
    with _unheard(signal.SIGINT, signal.SIGQUIT):
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()


@contextmanager
def _unheard(*signals: signal.Signals) -> Generator[None]:
    """A terminal sends these to all who use it; they are meant for the program in front."""
    before = {each: signal.signal(each, signal.SIG_IGN) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
