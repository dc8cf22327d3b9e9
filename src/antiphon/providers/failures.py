"""Error messages of providers, in all shapes in use, cleaned; retries before the first byte."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar, cast

import msgspec

from antiphon.types.errors import ProviderError, ProviderRateLimited, ProviderUnavailable

MAX_LETTERS = 2_000
SAMPLE_LETTERS = 300
SHORTEST_SECRET = 4  # a shorter one stands in many words, and what is missing would tell it


def error_text(value: Any) -> str | None:
    """Return the message of an error given as text, object or list; None without any."""
    match value:
        case str():
            return value.strip() or None
        case dict():
            fields = cast("dict[str, Any]", value)
            found = (error_text(fields.get(name)) for name in _NAMES)
            return next((words for words in found if words), None)
        case [first, *_]:
            return error_text(first)
        case _:
            return None


def body_error_text(body: bytes) -> str | None:
    """Return the message in a body of JSON or plain text; None for HTML."""
    try:
        return error_text(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        return None if text.startswith("<") else text or None


class Redactor:
    """Removes secrets from foreign text, and characters that a log or a database refuses."""

    def __init__(self, *secrets: str | None) -> None:
        secret = [one for one in secrets if one and len(one) >= SHORTEST_SECRET]
        known = sorted(map(re.escape, secret), reverse=True)
        self._secret = re.compile("|".join([*known, *_SHAPES]))

    def __call__(self, text: str) -> str:
        """The text, at most `MAX_LETTERS` of it."""
        # Redacted before it is cut, lest half a key stay at the edge.
        text = _UNFIT.sub("\ufffd", self._secret.sub("[redacted]", text))
        return text if len(text) <= MAX_LETTERS else text[:MAX_LETTERS] + " ..."

    def sample(self, body: bytes) -> str:
        """The beginning of a body that could not be read, as a quotation."""
        return repr(self(body.decode("utf-8", "replace"))[:SAMPLE_LETTERS])


_NAMES = ("message", "error", "detail", "msg", "errors", "reason")
_SHAPES = (r"\bsk-[\w*-]{6,}", r"(?<=Bearer )[\w.~+/*-]{6,}=*")
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


# Patience with a provider: asked again before it has said anything, never after.


T = TypeVar("T")

RETRIES = 2
MAX_WAIT_SECONDS = 120.0  # who is told to wait longer has been refused
LIFE_SECONDS = 1.0  # how long a back-off is silent: less than any silence that somebody allows


async def retry(
    once: Callable[[], AsyncGenerator[T, None]],
    alive: T,
    *,
    backoff_seconds: float,
    retries: int = RETRIES,
    dice: Callable[[], float] = random.random,
) -> AsyncGenerator[T, None]:
    """Yield what `once` yields, retrying; yield `alive` while waiting for a retry.

    `once` raises `ProviderUnavailable` and `ProviderRateLimited` only before its first piece.
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
