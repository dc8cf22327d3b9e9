"""Encodes a run as the AI SDK's UI Message Stream (v1), for `useChat` and our own page.

    stream = UIMessageStream(sdk=6)
    for number, event in events:
        for frame in stream.feed(number, event):
            send(frame)
    for frame in stream.close():
        send(frame)

The whole run is one message of the client, with the run's id; each reply of the model is a step of
it. A frame's `id:` is `<run>:<number>` of its event, or `<run>:<number>.<place>` if the event has
several frames. A client that reconnects with its last id gets what follows: the events are read
from the first one on, and the frames up to that id are left out.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Literal, cast

import msgspec

from antiphon.types.errors import Internal
from antiphon.types.events import (
    ActionRequired,
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
    ToolOutputAdded,
    ToolsListed,
    TurnEnded,
    TurnRestarted,
    UsageAdded,
)
from antiphon.types.messages import Message
from antiphon.types.runs import Fault, Reason, Status, Usage
from antiphon.types.terminal_safe import clean
from antiphon.wires import framing
from antiphon.wires.ai_sdk import parts as ui
from antiphon.wires.ai_sdk.tool_parts import PageCalls, ToolParts
from antiphon.wires.framing import NOT_ANSWERED, NOT_WHOLE, TAKEN_BACK, Cursor, frame

HEADERS: Mapping[str, str] = {**framing.HEADERS, "x-vercel-ai-ui-message-stream": "v1"}
"""Response headers of this wire."""

DONE = b"data: [DONE]\n\n"


class UIMessageStream:
    """Encodes one run for one reader; feed it the run's events in order, from the first one on.

    `sdk` is the client's major version: it gets no newer parts. `after` is what the reader already
    has. An event that was fed before is ignored.

    `page` is for a client that runs tools itself: it gets the calls of these once they are handed
    over, and as its own. None if it runs none and need not know. `message_id` is the client's
    message that the run goes on, by default a new one with the run's id.
    """

    def __init__(
        self,
        sdk: ui.Sdk = 5,
        after: Cursor | None = None,
        page: PageCalls | None = None,
        message_id: str | None = None,
    ) -> None:
        self._sdk = sdk
        self._message_id = message_id
        self._has_page = page is not None
        self._after = (after.number, after.place or _LAST) if after else (0, 0)
        self._run: RunStatus | None = None
        self._last = 0
        self._usage = Usage()
        self._ended = False
        self._replies = 0
        self._in_step = False
        self._speaking: _Speech | None = None
        self._spoken = 0
        self._reasoned = 0  # seconds in this reply
        self._calls = ToolParts(sdk, page)

    def feed(self, number: int, event: Event) -> Sequence[bytes]:
        """Return the frames of this event."""
        return self.feed_all([(number, event)])

    def feed_all(self, events: Iterable[Numbered]) -> list[bytes]:
        """Return the frames of these events, with consecutive deltas merged.

        Each frame costs a write and a read: collecting for a twentieth of a second sends far fewer.
        """
        new = [each for each in events if each[0] > self._last]
        frames: list[bytes] = []
        for _, group in groupby(new, self._joins):
            together = list(group)
            first, self._last = together[0][0], together[-1][0]
            parts = list(self._parts(_merge_deltas([event for _, event in together])))
            frames += self._to_frames(parts, first, self._last)
        return frames

    def close(self) -> Sequence[bytes]:
        """Return the frames at the end of the stream, which need not be the end of the run.

        If the run waits only for approvals, the message is finished, so that the client lets a
        person answer. A stream that stops elsewhere has no `finish`: the client reconnects.
        """
        waits = self.awaits_client if self._has_page else self._calls.wait_for_a_person
        if self._ended or not waits:
            return [DONE]
        return [*map(frame, self._finish("tool-calls")), DONE]

    @property
    def awaits_client(self) -> bool:
        """True while the run waits for the page: it has to run a tool, or a person to answer."""
        waits = self._run is not None and self._run.status is Status.ACTION_REQUIRED
        return waits and self._calls.wait_for_page

    def continue_run(self) -> Sequence[bytes]:
        """Return the frames for a client whose answers have let its own calls run.

        They have no id: a person's answer about a call of the page is not in the log.
        """
        return list(map(frame, self._calls.hand_over_approved()))

    # Parts that are not in the log. Their frames have no id, and a replay omits them.

    def tool_status(
        self,
        tool_call_id: str,
        state: Literal["waiting", "running", "ended"],
        elapsed: float = 0,
        servers: Sequence[str] = (),
        arguments: str | None = None,
    ) -> Sequence[bytes]:
        """Return frames for a tool's state; `elapsed` in seconds, `servers` it waits for.

        `arguments` are those with which it runs; a person may have changed them.
        """
        call = self._calls.get(tool_call_id)
        if call is None or self._ended:
            return []
        now = ui.ToolStatus(
            tool_call_id=tool_call_id,
            tool_name=call.name,
            state=state,
            elapsed=elapsed,
            servers=tuple(servers) or msgspec.UNSET,
        )
        changed = self._calls.run_with(call, arguments) if arguments is not None else ()
        return [*map(frame, changed), frame(ui.DataToolStatus(data=now))]

    def progress(
        self, tool_call_id: str, done: float, total: float | None = None, message: str = ""
    ) -> Sequence[bytes]:
        """Return frames for the progress that a running tool reports."""
        call = self._calls.get(tool_call_id)
        if call is None or not call.running:
            return []
        state = {"done": done, "total": total, "message": clean(message)}
        part = ui.ToolOutputAvailable(
            tool_call_id=tool_call_id, output={"progress": state}, preliminary=True
        )
        return [frame(part)]

    def approval_asked(
        self, tool_call_id: str, approval_id: str, about: ui.CallFacts | None = None
    ) -> Sequence[bytes]:
        """Return frames for a question about a call, whichever side runs its tool."""
        call = self._calls.get(tool_call_id)
        return list(map(frame, self._calls.ask_here(call, approval_id, about))) if call else []

    def approval_given(self, tool_call_id: str) -> Sequence[bytes]:
        """Return frames for an approval. A refusal appears as the call's output."""
        call = self._calls.get(tool_call_id)
        return list(map(frame, self._calls.approve(call))) if call else []

    def fail(self, fault: Fault) -> Sequence[bytes]:
        """Return frames for an error of this side, whatever happens to the run."""
        if self._ended:
            return []
        self._ended = True
        if self._run is None:
            return [frame(ui.ErrorPart(error_text=clean(fault.message)))]
        return [*map(frame, self._end_step()), *map(frame, self._fail(fault))]

    # Frames.

    def _joins(self, numbered: Numbered) -> object:
        """Return a key that mergeable neighbouring events share."""
        number, event = numbered
        if number <= self._after[0]:
            return number  # the reader may have a part of what they would be together
        match event:
            case TextDelta() | ReasoningDelta() | RefusalDelta():
                return type(event)
            case ToolCallDelta(tool_call_id=tool_call_id):
                return tool_call_id
            case _:
                return number

    def _to_frames(self, parts: Sequence[ui.UiPart], first: int, last: int) -> Iterator[bytes]:
        """Yield the parts as frames, without those that the reader has.

        An opening part is numbered as if the first event stood alone, so that ids do not depend on
        how events were merged.
        """
        for place, part in enumerate(parts, 1):
            whole = place == len(parts) and (place == 1 or first != last)
            at = (last, _LAST) if whole else (first, place)
            if at > self._after:
                yield frame(part, f"{self._named.run_id}:{last if whole else f'{first}.{place}'}")

    @property
    def _named(self) -> RunStatus:
        if self._run is None:
            raise Internal(
                "A stream begins with the first event of its run, which is `run.status`."
            )
        return self._run

    # Encoding of each event.

    def _parts(self, event: Event) -> Iterator[ui.UiPart]:
        if self._ended:
            return
        match event:
            case RunStatus():
                yield from self._on_status(event)
            case TextDelta(text=text):
                yield from self._on_text(_TEXT, text)
            case ReasoningDelta(text=text, seconds=seconds):
                yield from self._on_reasoning(text, seconds)
            case RefusalDelta(text=text):
                yield from self._on_text(_REFUSAL, text)
            case ToolCallStarted() | ToolCallDelta() | ToolCallReady():
                yield from self._begin_step()
                yield from self._end_text()
                yield from self._calls.encode(event, self._replies)
            case ActionRequired() | ToolOutputAdded():
                yield from self._calls.encode(event, self._replies)
            case MessageCompleted(message=message):
                whole = {call.id for call in message.tool_calls}
                earlier = self._calls.before(self._replies)
                yield from self._calls.close(NOT_WHOLE, but=whole | earlier)
                yield from self._end_step(message)
                self._replies += 1
            case TurnRestarted():
                yield from self._on_restart(event)
            case UsageAdded(usage=usage):
                self._usage += usage
            case TurnEnded():
                yield from self._end_step()
            case ToolsListed() | CitationsAdded():
                pass  # the protocol has no part for tools; the saved message has the citations

    def _on_status(self, event: RunStatus) -> Iterator[ui.UiPart]:
        before, self._run = self._run, event
        if before is None:
            named = ui.MessageIds(
                run_id=event.run_id,
                thread_id=event.thread_id,
                continues=event.continues or msgspec.UNSET,
            )
            own_id = self._message_id or event.run_id
            yield ui.StartPart(message_id=own_id, message_metadata=named)
        if event.status is Status.QUEUED:
            # The client has done its part, so every open question was approved.
            yield from self._calls.approve_all()
            if self._has_page and self._replies:
                # Clients look for complete calls in the last step, to send their outputs once.
                yield from self._begin_step()
        if event.status.ended:
            yield from self._end(event)
            self._ended = True

    def _end(self, event: RunStatus) -> Iterator[ui.UiPart]:
        yield from self._calls.close(NOT_ANSWERED)
        yield from self._end_step()
        yield ui.DataStatus(
            id=event.run_id, data=ui.RunDone(run_id=event.run_id, run_status=event.status.value)
        )
        match event.status:
            case Status.FAILED:
                yield from self._fail(event.error or Fault("internal", "The run failed."))
            case Status.CANCELLED:
                yield ui.AbortPart()
                yield from self._finish("other")
            case Status.INCOMPLETE:
                yield from self._finish(_CUT_SHORT.get(event.reason, "other"))
            case Status.COMPLETED:
                yield from self._finish("stop")
            case _:
                yield from self._finish("other")

    def _fail(self, fault: Fault) -> Iterator[ui.UiPart]:
        problem = ui.Problem(code=fault.code, message=clean(fault.message))
        account = self._account(problem)
        # Many clients stop reading at the error, so everything else comes before it.
        yield ui.MetadataPart(message_metadata=account)
        yield ui.ErrorPart(error_text=problem.message)
        yield from self._finish("error", problem)

    def _finish(
        self, reason: ui.FinishReason, problem: ui.Problem | None = None
    ) -> Iterator[ui.UiPart]:
        yield ui.FinishPart(
            finish_reason=msgspec.UNSET if self._sdk == 5 else reason,
            message_metadata=self._account(problem),
        )

    def _account(self, problem: ui.Problem | None) -> ui.RunMetadata:
        run, usage = self._named, self._usage
        return ui.RunMetadata(
            run_id=run.run_id,
            thread_id=run.thread_id,
            status=run.status.value,
            reason=run.reason or msgspec.UNSET,
            error=problem or msgspec.UNSET,
            usage=ui.TokenUsage(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cached_tokens=usage.cached_tokens,
                reasoning_tokens=usage.reasoning_tokens,
            ),
            cost=usage.cost,
        )

    # Steps and their text.

    def _begin_step(self) -> Iterator[ui.UiPart]:
        if not self._in_step:
            self._in_step, self._spoken, self._reasoned = True, 0, 0
            yield ui.StartStep()

    def _end_step(self, reply: Message | None = None) -> Iterator[ui.UiPart]:
        yield from self._end_text()
        if self._in_step:
            yield from ui.source_parts(reply) if reply else ()
            self._in_step = False
            yield ui.FinishStep()

    def _on_text(self, kind: _TextKind, text: str) -> Iterator[ui.UiPart]:
        if text:
            speech = yield from self._begin_text(kind)
            yield kind.delta(id=speech.id, delta=text)

    def _on_reasoning(self, text: str, seconds: int) -> Iterator[ui.UiPart]:
        speech = (yield from self._begin_text(_REASONING)) if text else None
        self._reasoned = max(self._reasoned, seconds)
        if speech is not None:
            took = ui.reasoning_metadata(self._reasoned - speech.reasoned if seconds else 0)
            yield ui.ReasoningDeltaPart(id=speech.id, delta=text, provider_metadata=took)

    def _begin_text(self, kind: _TextKind) -> Generator[ui.UiPart, None, _Speech]:
        """Yield what begins a text of this kind, unless one is in progress; return the text."""
        yield from self._begin_step()
        if self._speaking is None or self._speaking.kind is not kind:
            yield from self._end_text()
            self._spoken += 1
            text_id = f"{kind.name}-{self._replies + 1}-{self._spoken}"
            self._speaking = _Speech(kind, text_id, self._reasoned)
            yield kind.begin(text_id)
        return self._speaking

    def _end_text(self) -> Iterator[ui.UiPart]:
        speech, self._speaking = self._speaking, None
        if speech is None:
            return
        if speech.kind is _REASONING:
            took = ui.reasoning_metadata(self._reasoned - speech.reasoned)
            yield ui.ReasoningEndPart(id=speech.id, provider_metadata=took)
        else:
            yield speech.kind.end(id=speech.id)

    def _on_restart(self, event: TurnRestarted) -> Iterator[ui.UiPart]:
        earlier = self._calls.before(self._replies)
        if self._sdk >= ui.ResetStep.since:
            # A step is open from here on, with or without the reset, so that ids stay the same.
            yield ui.ResetStep() if self._in_step else ui.StartStep()
            self._in_step, self._spoken, self._speaking = True, 0, None
            self._reasoned = 0
        elif self._in_step:
            yield from self._end_text()
            yield from self._calls.close(TAKEN_BACK, but=earlier)
            again = ui.TurnRestart(reason=event.reason, attempt=event.attempt)
            yield ui.DataTurnRestarted(data=again)
            yield from self._end_step()
        self._calls.forget(but=earlier)


class _TextKind(msgspec.Struct, frozen=True):
    """A kind of text: the parts that begin, continue and end it."""

    name: str
    start: type[ui.TextStartPart | ui.ReasoningStartPart]
    delta: type[ui.TextDeltaPart | ui.ReasoningDeltaPart]
    end: type[ui.TextEndPart | ui.ReasoningEndPart]

    def begin(self, id: str) -> ui.TextStartPart | ui.ReasoningStartPart:
        """Return the opening part. A refusal is marked text in this protocol."""
        return self.start(id=id)


class _Refusal(_TextKind, frozen=True):
    def begin(self, id: str) -> ui.TextStartPart:
        return ui.TextStartPart(id=id, provider_metadata=ui.REFUSAL)


_TEXT = _TextKind("text", ui.TextStartPart, ui.TextDeltaPart, ui.TextEndPart)
_REFUSAL = _Refusal("refusal", ui.TextStartPart, ui.TextDeltaPart, ui.TextEndPart)
_REASONING = _TextKind(
    "reasoning", ui.ReasoningStartPart, ui.ReasoningDeltaPart, ui.ReasoningEndPart
)


class _Speech(msgspec.Struct, frozen=True):
    """Text in progress, under the id that its parts share.

    `reasoned` are the seconds that the model had reasoned in this reply when it began.
    """

    kind: _TextKind
    id: str
    reasoned: int


_LAST = 1 << 30  # above the place of every frame
_CUT_SHORT: Mapping[Reason | None, ui.FinishReason] = {
    "length": "length",
    "content_filter": "content-filter",
}


def _merge_deltas(events: Sequence[Event]) -> Event:
    """Return one event with the text of these."""
    first = events[0]
    if len(events) == 1:
        return first
    match first:
        case ReasoningDelta():
            thoughts = cast("Sequence[ReasoningDelta]", events)
            text = "".join([piece.text for piece in thoughts])
            return ReasoningDelta(text=text, seconds=max(piece.seconds for piece in thoughts))
        case TextDelta() | RefusalDelta():
            pieces = cast("Sequence[TextDelta | RefusalDelta]", events)
            return type(first)(text="".join([piece.text for piece in pieces]))
        case ToolCallDelta(tool_call_id=tool_call_id):
            arguments = "".join([piece.arguments for piece in cast("list[ToolCallDelta]", events)])
            return ToolCallDelta(tool_call_id=tool_call_id, arguments=arguments)
        case _:
            raise Internal(f"Events of type {first.type} are converted one by one.")
