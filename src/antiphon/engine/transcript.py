"""Folds events back into the reply: the inverse of `turn`.

Readers of a run use it, and workers that take over the log of a lost one.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from antiphon.engine.citations import CitationCollector
from antiphon.types.events import (
    CitationsAdded,
    Event,
    MessageCompleted,
    Numbered,
    ReasoningDelta,
    RefusalDelta,
    RunStatus,
    TextDelta,
    ToolCallDelta,
    ToolCallReady,
    ToolCallStarted,
    TurnEnded,
    TurnRestarted,
)
from antiphon.types.messages import Citation, Message, ToolCall
from antiphon.types.runs import Status


class ReplySoFar(msgspec.Struct, frozen=True):
    """A reply as far as it came; the arguments of `partial_calls` may be cut anywhere."""

    text: str
    reasoning: str | None
    calls: tuple[ToolCall, ...] = ()
    partial_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    reasoning_seconds: int = 0
    citations: tuple[Citation, ...] = ()


def fold_events(events: Iterable[Numbered]) -> ReplySoFar:
    """Return the last turn's reply in these events, without what a restart made void."""
    transcript = Transcript()
    for number, event in events:
        transcript.add(number, event)
    return transcript.reply


class Transcript:
    """The reply of the current turn, updated event by event.

    A turn stays readable after its end (its saved message or, without one, its `turn.ended`) until
    the next one begins. Event numbers only grow: an event that was added before is ignored, so a
    reader may reconnect with an overlap.
    """

    def __init__(self) -> None:
        self.message: Message | None = None
        self._events: list[Numbered] = []
        self._last = 0
        self._turn_ended = False

    def add(self, number: int, event: Event) -> None:
        """Add the next event of the run."""
        if number <= self._last:
            return
        self._last = number
        if self._turn_ended and _begins_a_turn(event):
            self.message = None
            self._events.clear()
            self._turn_ended = False
        match event:
            case TextDelta() | ReasoningDelta() | RefusalDelta() | CitationsAdded():
                self._events.append((number, event))
            case ToolCallStarted() | ToolCallDelta() | ToolCallReady():
                self._events.append((number, event))
            case TurnRestarted(after=after):
                self._events = [entry for entry in self._events if entry[0] <= after]
            case MessageCompleted(message=message):
                self.message = message
                self._turn_ended = True
            case TurnEnded():
                self._turn_ended = True
            case _:
                pass

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join([event.text for _, event in self._events if isinstance(event, TextDelta)])

    @property
    def reasoning(self) -> str | None:
        """The reasoning so far, None where there was none."""
        thoughts = [event.text for _, event in self._events if isinstance(event, ReasoningDelta)]
        return "".join(thoughts) or None

    @property
    def reasoning_seconds(self) -> int:
        """Whole seconds that the model has been reasoning."""
        told = (event.seconds for _, event in self._events if isinstance(event, ReasoningDelta))
        return max(told, default=0)

    @property
    def refusal(self) -> str | None:
        """The model's refusal so far; None if there is none."""
        refusals = [event.text for _, event in self._events if isinstance(event, RefusalDelta)]
        return "".join(refusals) or None

    @property
    def citations(self) -> tuple[Citation, ...]:
        """The sources that the provider has named so far."""
        collector = CitationCollector()
        for _, event in self._events:
            if isinstance(event, CitationsAdded):
                collector.add(event.citations)
        return collector.all

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The complete calls, in the order in which the model began them."""
        return self.reply.calls

    @property
    def reply(self) -> ReplySoFar:
        """The whole reply so far."""
        begun: dict[str, str] = {}
        pieces: dict[str, list[str]] = {}
        ready: dict[str, ToolCall] = {}
        for _, event in self._events:
            match event:
                case ToolCallStarted(tool_call_id=call_id, name=name):
                    begun[call_id] = name
                case ToolCallDelta(tool_call_id=call_id, arguments=arguments):
                    pieces.setdefault(call_id, []).append(arguments)
                case ToolCallReady(tool_call_id=call_id, name=name, arguments=arguments):
                    ready[call_id] = ToolCall(call_id, name, arguments, repaired=event.repaired)
                case _:
                    pass
        return ReplySoFar(
            text=self.text,
            reasoning=self.reasoning,
            reasoning_seconds=self.reasoning_seconds,
            refusal=self.refusal,
            citations=self.citations,
            calls=tuple(ready[call_id] for call_id in begun if call_id in ready),
            partial_calls=tuple(
                ToolCall(call_id, name, "".join(pieces.get(call_id, ())))
                for call_id, name in begun.items()
                if call_id not in ready
            ),
        )


def _begins_a_turn(event: Event) -> bool:
    match event:
        case RunStatus(status=status):
            return status is Status.IN_PROGRESS
        case TextDelta() | ReasoningDelta() | RefusalDelta() | ToolCallStarted():
            return True
        case CitationsAdded():
            return True
        case _:
            return False
