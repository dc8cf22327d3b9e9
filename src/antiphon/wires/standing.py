"""A run's events less what a restart has made void, for who has seen none of it."""

from __future__ import annotations

from collections.abc import Iterable

from antiphon.events import (
    Numbered,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallReady,
    ToolCallStarted,
    TurnRestarted,
)

_SAID = TextDelta | ReasoningDelta | RefusalDelta | ToolCallStarted | ToolCallDelta | ToolCallReady


def standing(events: Iterable[Numbered], after: int = 0) -> list[Numbered]:
    """The events without what was said in vain, unless a reader who goes on saw a part of it.

    That is one whose last event `after` lies between the beginning of what is void and the restart,
    which it may have a part of: what it knows has to be taken back.
    """
    kept: list[Numbered] = []
    for number, event in events:
        if isinstance(event, TurnRestarted) and not event.after < after <= number:
            void = event.after
            kept = [said for said in kept if said[0] <= void or not isinstance(said[1], _SAID)]
        kept.append((number, event))
    return kept
