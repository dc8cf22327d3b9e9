"""Sortable ids with a prefix; time and randomness are arguments.

An id is `prefix_` and 35 characters of Crockford's base 32: 9 for the millisecond, which makes ids
sort by creation time until the year 3084, and 26 for 128 random bits, which makes them unguessable
(an id alone gives no access, but it may leak into logs). The id of a tool call has 40 characters
with its prefix, the most that OpenAI accepts.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Literal

Prefix = Literal[
    "asst",
    "folder",
    "thread",
    "msg",
    "run",
    "act",
    "call",
    "file",
    "key",
    "person",
    "proj",
    "audit",
    "hook",
    "evt",
    "sched",
    "share",
    "import",
    "occ",
    "mem",
]
Mint = Callable[[Prefix], str]
"""Creates a new id with this prefix, from the runtime's clock and random source."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]  # the digits of each ten bits
RANDOM_BYTES = 16
_TIME_DIGITS = 9
_DIGITS = 35
_MOST_MILLISECONDS = (1 << 45) - 1


def make(prefix: Prefix, milliseconds: int, randomness: bytes) -> str:
    """Return an id created at `milliseconds` since 1970; `randomness` is 16 bytes."""
    number = (milliseconds & _MOST_MILLISECONDS) << 130 | int.from_bytes(randomness)
    digits = [_PAIRS[number >> shift & 1023] for shift in range(170, -1, -10)]
    return f"{prefix}_{''.join(digits)[1:]}"


def reply_id(run_id: str, turn: int) -> str:
    """Return the id of the message with a run's reply in this turn, counted from 1.

    It follows from both, so that a stream can name the message before it is saved. Its time is that
    of the run.
    """
    suffix = run_id.partition("_")[2]
    digest = blake2b(f"{suffix} {turn}".encode(), digest_size=RANDOM_BYTES).digest()
    made = make("msg", 0, digest).removeprefix("msg_")
    time = suffix[:_TIME_DIGITS] if len(suffix) == _DIGITS else made[:_TIME_DIGITS]
    return f"msg_{time}{made[_TIME_DIGITS:]}"


def response_id(run_id: str, place: int) -> str:
    """Return the id on OpenAI's wire of a run's response at this place, from 0."""
    return f"resp_{run_id.partition('_')[2]}{place}"
