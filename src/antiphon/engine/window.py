"""Which part of a long thread the model gets to see.

A thread longer than the model's window is cut before a user message, so that a call is never parted
from its outputs. The cut moves rarely and far: between two moves the requests of a growing thread
begin with the same bytes, which is what a provider's cache needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Landmark(msgspec.Struct, frozen=True, array_like=True, gc=False):
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


def tokens(length: int) -> int:
    """About how many tokens a message of so many bytes is: four bytes each, one for its frame.

    A cheap rule that needs no vocabulary; it overrates text that is not Latin, and counts reasoning
    that most servers never get back: the safe side.
    """
    return length // 4 + 1


def window(context: Context, budget: int | None) -> bytes:
    """The conversation as the model is told it: what fits the budget, and every system message.

    The last user message and what follows it are kept even where they alone do not fit. Without
    a budget everything is kept.
    """
    if budget is None or context.tokens <= budget:
        return context.chat
    cut = _cut(_cuts(context.landmarks), context.tokens - budget, budget)
    if cut is None:
        return context.chat
    system = [
        context.chat[mark.offset : mark.offset + mark.length]
        for mark in context.landmarks
        if mark.role == "system" and mark.offset < cut.offset
    ]
    return b",".join([*system, context.chat[cut.offset :]])


class _Cut(msgspec.Struct, frozen=True):
    """A place where the thread may be cut, and how many tokens that would save."""

    offset: int
    saves: int


def _cuts(landmarks: Sequence[Landmark]) -> list[_Cut]:
    cuts: list[_Cut] = []
    system = 0
    for mark in landmarks:
        if mark.role == "user":
            cuts.append(_Cut(mark.offset, mark.tokens_before - system))
        else:
            system += tokens(mark.length)
    return cuts


def _cut(cuts: Sequence[_Cut], excess: int, budget: int) -> _Cut | None:
    """The first cut that saves the excess, rounded up to quarters of the budget.

    Read from the records alone, so that every worker finds the same one; it never moves back. The
    cut before it is taken where it saves enough too, and the first would waste half the budget.
    """
    step = budget // 4 or 1
    goal = -(-excess // step) * step
    before: _Cut | None = None
    for cut in cuts:
        if cut.saves >= goal:
            wasteful = cut.saves - excess > budget // 2
            return before if before and before.saves >= excess and wasteful else cut
        before = cut
    return before
