"""Named pipes, by which a test notices that programs write, and that all of them have ended."""

from __future__ import annotations

import asyncio
import os


async def read_next(pipe: int) -> bytes:
    """Return what comes next in a pipe; nothing at its end."""
    readable = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe, readable.set)
    try:
        await readable.wait()
    finally:
        asyncio.get_running_loop().remove_reader(pipe)
    return os.read(pipe, 99)
