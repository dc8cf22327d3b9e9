"""Named pipes, with which a test waits for output of programs and for their end."""

from __future__ import annotations

import asyncio
import os


async def read_next(pipe: int) -> bytes:
    """Wait for the next bytes in a pipe; return them, or no bytes at its end."""
    readable = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe, readable.set)
    try:
        await readable.wait()
    finally:
        asyncio.get_running_loop().remove_reader(pipe)
    return os.read(pipe, 99)
