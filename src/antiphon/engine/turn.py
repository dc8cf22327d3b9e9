"""One reply: chunks in, events out, tool calls accumulated.

This module alone interprets a provider's stream: which call a piece belongs to, what ends a reply,
and whether its calls may be run. The calls of a reply succeed or fail together. A call that cannot
be read without guessing is reported as broken, never dropped, merged or invented.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby
from typing import Literal, cast

import msgspec

from antiphon.engine.citations import MAX_CITATIONS, CitationCollector
from antiphon.engine.reasoning_details import DetailsBuilder
from antiphon.engine.sanitize import sanitize_text
from antiphon.engine.seam import Seam
from antiphon.engine.tool_call_collector import BrokenCall, CompleteCall, ToolCallCollector
from antiphon.types.chunks import (
    CallPiece,
    Chunk,
    CitationsPiece,
    DetailsPiece,
    Finish,
    ReasoningPiece,
    RefusalPiece,
    TextPiece,
    UsagePiece,
    cut_reason,
)
from antiphon.types.errors import Cut, Internal, ProviderError, ProviderProtocol
from antiphon.types.events import (
    CitationsAdded,
    Event,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    UsageAdded,
)
from antiphon.types.messages import Citation, ReasoningDetails, ToolCall
from antiphon.types.runs import Fault, Reason, Usage

Outcome = Literal["completed", "calls", "incomplete", "failed", "invalid_tool_call"]

_TOOL_CALL_REASONS = frozenset({"tool_calls", "function_call"})

MAX_REPLY_BYTES = 8_000_000
"""Bytes of one reply: about two million tokens. Its saved message fits into one event."""
MAX_REPLY_CALLS = 128
"""Tool calls of one reply."""
LARGE_BYTES = 200_000
"""Bytes of a reply whose inspection takes milliseconds, longest if all are brackets."""
EVENT_BYTES = 64
"""Bytes counted for each event beside its text: a reply in tiny pieces is large, too."""
SWITCH_BYTES = 16_000
"""Bytes counted for each change of kind, as from text to calls: clients show it as a new part."""
_DETAIL_BYTES = 200  # counted for each detail, which takes as long to inspect as so much text
_EVENT_SHARE = 4  # the events of a reply may have so many times its bytes, with their frames


class TurnResult(msgspec.Struct, frozen=True, kw_only=True):
    """The whole reply. Text that came is always kept, whatever the outcome.

    `calls` are set only if the outcome is `calls`, `reasoning_details` only if the reply is whole:
    the provider would reject incomplete ones. `reasoning_seconds` are whole seconds. `reason`
    belongs to `incomplete`, `fault` to `failed` and `invalid_tool_call`; there its message tells
    model and user what was wrong, and `broken` holds a redacted sample. `finish_reason` is the
    provider's own word. `events` are those added at the end of the reply.
    """

    outcome: Outcome
    text: str = ""
    reasoning: str | None = None
    reasoning_seconds: int = 0
    refusal: str | None = None
    reasoning_details: ReasoningDetails | None = None
    citations: tuple[Citation, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    reason: Reason | None = None
    fault: Fault | None = None
    finish_reason: str | None = None
    broken: str | None = None
    events: tuple[Event, ...] = ()


class Turn:
    """Accumulates one reply: `feed` chunks, then `close`. Neither raises.

    `offered` are the names of the tools that the model was given, `used_ids` the tool call ids of
    the run so far; `mint` makes a new one. A reply has at most `most_bytes` of text, reasoning and
    arguments, as JSON, and at most `most_calls` calls. Beyond that `over` is true and further
    chunks are ignored: with too many bytes the reply is incomplete by `length`, with too many calls
    it is a reply with a broken call. `continues` is the text of a cut reply that this one
    continues: what the model repeats of its end is left out.
    """

    def __init__(
        self,
        offered: Collection[str],
        mint: Callable[[], str],
        used_ids: Collection[str] = (),
        *,
        most_bytes: int = MAX_REPLY_BYTES,
        most_calls: int = MAX_REPLY_CALLS,
        continues: str = "",
    ) -> None:
        self._offered = frozenset(offered)
        self._calls = ToolCallCollector(mint, used_ids)
        self._most_calls = most_calls
        self._most_bytes = self._bytes_left = most_bytes
        self._events_left = _EVENT_SHARE * most_bytes
        self._text: list[str] = []
        self._continues = bool(continues)
        self._seam = Seam(continues)
        self._reasoning: list[str] = []
        self._reasoning_clock = _ReasoningClock()
        self._last_kind: type[Chunk] | None = None
        self._refusal: list[str] = []
        self._origin = ""
        self._details = DetailsBuilder()
        self._citations = CitationCollector()
        self._usage: Usage | None = None
        self._finished = False
        self._finish_reason: str | None = None

    @property
    def over(self) -> bool:
        """True once the reply exceeds its limits; later chunks are ignored."""
        return self._too_long or self._too_many_calls

    @property
    def is_large(self) -> bool:
        """True once the reply is so large that inspecting it takes milliseconds."""
        return self._most_bytes - self._bytes_left > LARGE_BYTES

    @property
    def _too_long(self) -> bool:
        return self._bytes_left < 0 or self._events_left < 0

    @property
    def _too_many_calls(self) -> bool:
        return len(self._calls.all) > self._most_calls

    def feed(self, chunks: Sequence[Chunk], at: float = 0.0) -> list[Event]:
        """Return the events for these chunks, which arrived together.

        `at` is the time of their arrival in seconds, of a clock that never goes back. Neighbouring
        pieces of one text, or of one call, become one event.
        """
        events: list[Event] = []
        for kind, group in groupby(chunks, type):
            if kind in _TEXT_KINDS and kind is not self._last_kind:
                self._events_left -= SWITCH_BYTES if self._last_kind else 0
                self._last_kind = kind
                events += self._reasoning_clock.stop(at)
                events += self._close_seam()
            if self.over:
                break
            if kind is TextPiece:
                text = self._seam.feed(self._take_text(cast("Iterable[TextPiece]", group)))
                events += self._add_text(text)
            elif kind is RefusalPiece:
                if text := self._take_text(cast("Iterable[RefusalPiece]", group)):
                    self._refusal.append(text)
                    events.append(RefusalDelta(text=text))
            elif kind is ReasoningPiece:
                if text := self._take_text(cast("Iterable[ReasoningPiece]", group)):
                    self._reasoning.append(text)
                    seconds = self._reasoning_clock.run(at)
                    events.append(ReasoningDelta(text=text, seconds=seconds))
            elif kind is CallPiece:
                self._take_calls(cast("Iterable[CallPiece]", group), events)
            else:
                for chunk in group:
                    self._take(chunk, events)
        self._events_left -= EVENT_BYTES * len(events)
        return events

    def close(self, fault: Exception | None = None, at: float = 0.0) -> TurnResult:
        """Return the reply at the end of its stream; `fault` is the error that ended it, if any.

        `at` is the time of the end, as in `feed`.
        """
        last = (*self._reasoning_clock.stop(at), *self._close_seam())
        if self._finished and isinstance(fault, Cut):
            fault = None  # the reply had ended before its connection did
        if self.over:
            reply = self._build_exceeded()
        elif fault or not self._finished:
            reply = self._build_cut(fault)
        else:
            reply = self._build_whole()
        reasoning_details = None
        if reply.outcome in ("completed", "calls"):
            details = self._details.entries(self._calls.renamed)
            reasoning_details = ReasoningDetails(self._origin, details) if details else None
        usage = (UsageAdded(usage=self._usage),) if self._usage else ()
        return msgspec.structs.replace(
            reply,
            text="".join(self._text),
            reasoning="".join(self._reasoning) or None,
            reasoning_seconds=self._reasoning_clock.seconds,
            refusal="".join(self._refusal) or None,
            reasoning_details=reasoning_details,
            citations=self._citations.all,
            usage=self._usage,
            finish_reason=self._finish_reason,
            events=(*last, *reply.events, *usage),
        )

    def _take_text(self, pieces: Iterable[TextPiece | RefusalPiece | ReasoningPiece]) -> str:
        """Return the text of the pieces without what no store can carry, cut at the limits."""
        return self._charge("".join([sanitize_text(piece.text) for piece in pieces]))

    def _add_text(self, text: str) -> tuple[TextDelta, ...]:
        """Add text to the reply; return its event, none for an empty one."""
        if not text:
            return ()
        self._text.append(text)
        return (TextDelta(text=text),)

    def _close_seam(self) -> tuple[TextDelta, ...]:
        """Add the text that was held back, once something else comes."""
        return self._add_text(self._seam.close()) if self._seam.is_holding else ()

    def _charge(self, text: str) -> str:
        """Count the text against the limits; return as much of it as they allow."""
        size = _size(text)
        left, self._bytes_left = self._bytes_left, self._bytes_left - size
        self._events_left -= size
        return text if size <= left else text[: len(text) * left // size]

    def _take_calls(self, pieces: Iterable[CallPiece], events: list[Event]) -> None:
        for piece in pieces:
            self._charge(piece.arguments)
            self._bytes_left -= len(_encode(piece.extra)) if piece.extra else 0
            self._events_left -= EVENT_BYTES + len(piece.id or "") + len(piece.name or "")
            if self._too_long:
                break
            self._calls.take(piece, events)
            if self._too_many_calls:
                break
        self._calls.flush(events)

    def _take(self, chunk: Chunk, events: list[Event]) -> None:
        match chunk:
            case CitationsPiece(citations):
                named = citations[:MAX_CITATIONS]
                if self._continues:  # the provider counts characters that are left out
                    named = tuple(Citation(url=each.url, title=each.title) for each in named)
                if news := self._citations.add(named):
                    self._events_left -= sum(
                        EVENT_BYTES + _size(each.url) + _size(each.title) for each in news
                    )
                    events.append(CitationsAdded(citations=news))
            case DetailsPiece(origin, details):
                self._origin = origin
                self._details.add(details)
            case UsagePiece(usage):
                self._usage = usage
            case Finish(reason):
                self._finished = True
                # The first reason counts, unless a later one says that the reply was cut.
                if reason and (not self._finish_reason or cut_reason(reason)):
                    self._finish_reason = sanitize_text(reason)
            case _:
                pass

    @property
    def _is_empty(self) -> bool:
        content = self._text or self._reasoning or self._refusal or self._calls.all
        return not (content or self._finish_reason)

    def _build_exceeded(self) -> TurnResult:
        if not self._too_many_calls:
            return TurnResult(outcome="incomplete", reason="length")
        message = (
            f"Your reply made more than {self._most_calls} tool calls. At most {self._most_calls} "
            "can be made in one reply; call again for the rest when their outputs have come."
        )
        return TurnResult(outcome="invalid_tool_call", fault=Fault("invalid_tool_call", message))

    def _build_cut(self, fault: Exception | None) -> TurnResult:
        match fault:
            case Cut():
                return TurnResult(outcome="incomplete", reason=cast("Reason", fault.code))
            case ProviderError():
                return _failure(fault.code, fault.message)
            case None if self._is_empty:
                return _failure(ProviderProtocol.code, "The model's server ended without a reply.")
            case None:
                return TurnResult(outcome="incomplete", reason="disconnected")
            case _:
                return _failure(
                    Internal.code, "Something went wrong here, not at the model's side."
                )

    def _build_whole(self) -> TurnResult:
        word = self._finish_reason or ""
        if reason := cut_reason(word):
            return TurnResult(outcome="incomplete", reason=reason)
        if word == "error":
            return _failure(ProviderError.code, "The model's server gave the reply up as an error.")
        if self._is_empty:
            return _failure(ProviderProtocol.code, "The model's server ended without a reply.")
        if self._calls.all:
            return self._build_calls()
        if word in _TOOL_CALL_REASONS and not (self._text or self._refusal):
            return _failure(ProviderProtocol.code, "The reply asked for tools but named no call.")
        return TurnResult(outcome="completed")

    def _build_calls(self) -> TurnResult:
        verdicts = [call.validate(self._offered) for call in self._calls.all]
        broken = [verdict for verdict in verdicts if isinstance(verdict, BrokenCall)]
        if broken:
            fault = Fault("invalid_tool_call", " ".join(verdict.message for verdict in broken))
            return TurnResult(outcome="invalid_tool_call", fault=fault, broken=broken[0].sample)
        whole = [verdict for verdict in verdicts if isinstance(verdict, CompleteCall)]
        return TurnResult(
            outcome="calls",
            calls=tuple(verdict.call for verdict in whole),
            events=tuple(event for verdict in whole for event in verdict.events),
        )


def are_slow_to_feed(chunks: Sequence[Chunk]) -> bool:
    """Return whether feeding these chunks to a turn takes milliseconds."""
    size = 0
    for chunk in chunks:
        match chunk:
            case TextPiece(text) | ReasoningPiece(text) | RefusalPiece(text):
                size += len(text)
            case CallPiece(arguments=arguments):
                size += EVENT_BYTES + len(arguments)
            case DetailsPiece(details=details):
                size += _DETAIL_BYTES * len(details)
            case _:
                pass
    return size > LARGE_BYTES


class _ReasoningClock:
    """Counts the time from each first piece of reasoning to what follows it."""

    def __init__(self) -> None:
        self.seconds = 0  # whole seconds, as the last event reported them
        self._before = 0.0  # seconds of the pieces that have ended
        self._since: float | None = None

    def run(self, at: float) -> int:
        """Count until now, and go on; return the whole seconds if they have grown, else 0."""
        self._since = at if self._since is None else self._since
        whole = int(self._before + max(0.0, at - self._since))
        grown, self.seconds = whole > self.seconds, max(whole, self.seconds)
        return whole if grown else 0

    def stop(self, at: float) -> tuple[ReasoningDelta, ...]:
        """Count until now, and no further; return an event if the whole seconds have grown."""
        if self._since is None:
            return ()
        grown = self.run(at)
        self._before, self._since = self._before + max(0.0, at - self._since), None
        return (ReasoningDelta(text="", seconds=grown),) if grown else ()


def _failure(code: str, message: str) -> TurnResult:
    return TurnResult(outcome="failed", fault=Fault(code, sanitize_text(message)))


_TEXT_KINDS = (TextPiece, ReasoningPiece, RefusalPiece, CallPiece)

_encode = msgspec.json.Encoder().encode


def _size(text: str) -> int:
    """Return the bytes of the text in an event. `text` may hold lone surrogates."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return len(text)
    return len(_encode(sanitize_text(text)))
