"""Sortable ids with a prefix; time and randomness are arguments.

An id is `prefix_` and 35 characters of Crockford's base 32: 9 for the millisecond, which makes ids
sort by creation time until the year 3084, and 26 for 128 random bits, which makes them unguessable
(an id alone gives no access, but it may leak into logs). The id of a tool call has 40 characters
with its prefix, the most that OpenAI accepts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Prefix = Literal[
    "asst", "thread", "msg", "run", "act", "call", "file", "key", "person", "proj", "audit"
]
Mint = Callable[[Prefix], str]
"""Creates a new id with this prefix, from the runtime's clock and random source."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
RANDOM_BYTES = 16


def make(prefix: Prefix, milliseconds: int, randomness: bytes) -> str:
    """Return an id created at `milliseconds` since 1970; `randomness` is 16 bytes."""
    return f"{prefix}_{_base32(milliseconds, 9)}{_base32(int.from_bytes(randomness), 26)}"


def _base32(number: int, width: int) -> str:
    digits: list[str] = []
    for _ in range(width):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
