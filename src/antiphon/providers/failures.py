"""Error messages of providers, extracted and redacted; retries before the first byte."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar, cast

import msgspec

from antiphon.types.errors import ProviderRateLimited, ProviderUnavailable

MAX_CHARACTERS = 2_000
SAMPLE_CHARACTERS = 300
MIN_SECRET_LENGTH = 4  # redacting a shorter secret, which occurs in many words, would reveal it


def error_text(value: Any) -> str | None:
    """Return the message of an error given as text, object or list; None without any."""
    match value:
        case str():
            return value.strip() or None
        case dict():
            fields = cast("dict[str, Any]", value)
            found = (error_text(fields.get(name)) for name in _MESSAGE_FIELDS)
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
    """Removes secrets, and characters that logs and databases reject, from foreign text.

    A secret is found percent-encoded too, in whole or in part, as servers and libraries repeat
    addresses.
    """

    def __init__(self, *secrets: str | None) -> None:
        long_enough = [secret for secret in secrets if secret and len(secret) >= MIN_SECRET_LENGTH]
        known = map(_match_encoded, sorted(long_enough, key=len, reverse=True))
        self._secret = re.compile("|".join([*known, *_KEY_PATTERNS]))

    def __call__(self, text: str) -> str:
        """Return the redacted text, cut to `MAX_CHARACTERS`."""
        # Redact first: cutting could leave half a key at the edge.
        text = _INVALID.sub("\ufffd", self._secret.sub("[redacted]", text))
        return text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + " ..."

    def sample(self, body: bytes) -> str:
        """Return the quoted beginning of a body that could not be read."""
        return repr(self(body.decode("utf-8", "replace"))[:SAMPLE_CHARACTERS])


def _match_encoded(secret: str) -> str:
    """Return a pattern of the secret, each character as it is or percent-encoded, even twice."""
    return "".join(_match_character(character) for character in secret)


def _match_character(character: str) -> str:
    plain = re.escape(character)
    encoded = "".join(f"%(?:25)*(?i:{byte:02x})" for byte in character.encode())
    # Encoded first: a percent sign is the beginning of its own code.
    return f"(?:{encoded}|{plain}{'|[+]' if character == ' ' else ''})"


_MESSAGE_FIELDS = ("message", "error", "detail", "msg", "errors", "reason")
_KEY_PATTERNS = (r"\bsk-[\w*-]{6,}", r"(?<=Bearer )[\w.~+/*-]{6,}=*")
_INVALID = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


# Retries.


T = TypeVar("T")

RETRIES = 2
MAX_WAIT_SECONDS = 120.0  # a longer `Retry-After` is treated as a refusal
LIFE_SECONDS = 1.0  # between two signs of life during a back-off; less than any chunk timeout


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
            requested_pause: float | None = error.details.get("retry_after")
            backoff = backoff_seconds * (1 << attempt) * (0.5 + dice()) / 2
            wait = backoff if requested_pause is None else requested_pause
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
    """Return the seconds in a `Retry-After` header, which is a number or a date."""
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
