"""Whose cancellation it is: one's own, which must go on, or only that of what one waits for."""

from __future__ import annotations

import asyncio


def cancelled() -> bool:
    """Whether this task was cancelled, rather than something that it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
