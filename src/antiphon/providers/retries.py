"""Patience with a provider: asked again before it has said anything, never after."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from email.utils import parsedate_to_datetime
from typing import TypeVar

from antiphon.errors import ProviderError, ProviderRateLimited, ProviderUnavailable

T = TypeVar("T")

RETRIES = 2
MAX_WAIT_SECONDS = 120.0  # who is told to wait longer has been refused
LIFE_SECONDS = 1.0  # how long a back-off is silent: less than any silence that somebody allows


async def retried(
    once: Callable[[], AsyncGenerator[T, None]],
    alive: T,
    *,
    backoff_seconds: float,
    retries: int = RETRIES,
    dice: Callable[[], float] = random.random,
) -> AsyncGenerator[T, None]:
    """What `once` gives; `alive` is a sign of life while a retry is waited for.

    `once` raises `ProviderUnavailable` and `ProviderRateLimited` before its first piece only.
    """
    for attempt in range(1, retries + 2):
        try:
            async with aclosing(once()) as pieces:
                async for piece in pieces:
                    yield piece
        except (ProviderUnavailable, ProviderRateLimited) as error:
            backoff = backoff_seconds * (1 << attempt) * (0.5 + dice()) / 2
            wait = _wait(error, backoff)
            if attempt > retries or wait > MAX_WAIT_SECONDS:
                raise
        else:
            return
        while wait > 0:
            step = min(wait, LIFE_SECONDS)
            await asyncio.sleep(step)
            wait -= step
            yield alive


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds to wait, given as a number or as a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _wait(error: ProviderError, backoff: float) -> float:
    asked: float | None = error.details.get("retry_after")
    return backoff if asked is None else asked
