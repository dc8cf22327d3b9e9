"""What a chat has under way: what the person waits for, and what goes on behind that."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """Things that are done while keys are read, so that they can be stopped."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[None]] = set()

    async def seen_through(self, doing: Coroutine[Any, Any, None]) -> bool:
        """Do it to its end; whether it came to that, or was stopped. Raises what it raised."""
        task = self.behind(doing)
        await asyncio.wait({task})
        if task.cancelled():
            return False
        task.result()
        return True

    def behind(self, doing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do it while other things go on."""
        task = asyncio.create_task(doing)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    def stop(self) -> None:
        """Stop everything that is under way."""
        for task in tuple(self._under_way):
            task.cancel()
