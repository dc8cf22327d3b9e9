"""Which part of a long thread the model gets to see."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Landmark(msgspec.Struct, frozen=True, array_like=True):
    """A user or system message in a `Context`: where it begins, in bytes and in tokens."""

    number: int
    role: str
    offset: int
    length: int
    tokens_before: int


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """A whole thread as a provider takes it: chat-completions JSON objects, joined by commas.

    `tokens` is an estimate. `landmarks` are its user and system messages, in order.
    """

    version: int
    messages: int
    tokens: int
    chat: bytes
    landmarks: Sequence[Landmark]
