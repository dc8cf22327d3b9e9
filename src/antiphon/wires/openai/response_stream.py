"""Folds the events of a run into one response, and encodes it as events of OpenAI's wire.

    stream = ResponseFrames(head)
    for event in events:                 # from the first one of the response on
        body += stream.encode(event)
    body += stream.close()

The fold is pure: the number of an event on this wire is its place in the fold, so that a response
has the same numbers in every replay, on every worker, however its stream is cut.

A reply's reasoning, text and calls are items in the order in which they came. Calls that the
backend runs are items once the reply is whole: whether they run now, wait for approval, or wait for
the client's own calls is known only then. What a restart made void is closed as incomplete, except
calls, which a client might run, and is not in the output of the response. The turn begins again
with new items, at the next places, whose ids have a number.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from antiphon.types.errors import ProviderRateLimited, ProviderRejected, QuotaExceeded
from antiphon.types.events import (
    ActionRequired,
    CitationsAdded,
    Event,
    MessageCompleted,
    ReasoningDelta,
    RefusalDelta,
    RunStatus,
    TextDelta,
    ToolCallDelta,
    ToolCallReady,
    ToolCallStarted,
    ToolOutputAdded,
    ToolsListed,
    TurnRestarted,
    UsageAdded,
)
from antiphon.types.ids import reply_id
from antiphon.types.messages import Message
from antiphon.types.runs import Fault, Reason, Status, Usage
from antiphon.wires.framing import escape_line_breaks
from antiphon.wires.openai.errors import Envelope, fault_envelope
from antiphon.wires.openai.response_items import (
    ClientCallWriter,
    ItemWriter,
    MessageWriter,
    ServerCallWriter,
    WireEvent,
    write_listings,
)
from antiphon.wires.openai.response_object import (
    CarriedCall,
    ResponseHead,
    ResponseState,
    ResponseStatus,
    response_object,
)

DONE = b"data: [DONE]\n\n"

INCOMPLETE_REASONS: Mapping[Reason | None, str] = {"length": "max_output_tokens"}
"""The original's words for reasons of an incomplete run; other reasons keep ours."""


class ResponseFold:
    """Folds events into one response. `ended` is true once the response is over."""

    def __init__(self, head: ResponseHead) -> None:
        self.ended = False
        self._head = head
        self._status: ResponseStatus = "queued" if head.background else "in_progress"
        self._created = self._started = self._hands_off = False
        self._writer = ItemWriter(head.include, head.hosted.titles)
        self._text = MessageWriter(self._writer)
        self._calls = ClientCallWriter(self._writer, head)
        self._server_calls = ServerCallWriter(self._writer, head)
        self._usage = Usage()
        self._error: dict[str, str] | None = None
        self._failure: tuple[int, Envelope] | None = None
        self._incomplete_reason: str | None = None
        self._completed_at: int | None = None
        self._turn = head.turn + 1
        self._restarts = 0
        self._first_of_turn = 0  # place in the output
        self._places: dict[str, int] = {}  # of the reply's calls
        self._reply_id = self._make_reply_id()

    @property
    def failure(self) -> tuple[int, Envelope] | None:
        """Status and body of an answer that is nothing but an error."""
        return None if self._writer.kept else self._failure

    @property
    def state(self) -> ResponseState:
        """The response as far as it has come."""
        return ResponseState(
            status=self._status,
            output=self._writer.kept,
            usage=self._usage,
            error=self._error,
            incomplete_reason=self._incomplete_reason,
            completed_at=self._completed_at,
        )

    def feed(self, event: Event) -> list[WireEvent]:
        """Return what the event becomes on this wire."""
        if self.ended:
            return []
        if not self._created:
            self._created = True
            self._emit_state("response.created")
            if self._status == "queued":
                self._emit_state("response.queued")
            else:
                self._begin()
        match event:
            case TextDelta(text=text):
                self._text.add_text(self._reply_id, "output_text", text)
            case ReasoningDelta(text=text) if text:
                self._text.add_reasoning(self._reply_id, text)
            case RefusalDelta(text=text):
                self._text.add_text(self._reply_id, "refusal", text)
            case ToolsListed(listings=listings):
                write_listings(self._writer, self._reply_id, listings)
            case ToolCallStarted(tool_call_id=call_id, name=name):
                self._start_call(call_id, name)
            case ToolCallDelta(tool_call_id=call_id, arguments=arguments):
                self._calls.add(call_id, arguments)
            case ToolCallReady():
                self._calls.finish(event)
            case _:
                self._feed_rest(event)
        return self._writer.take_events()

    def _feed_rest(self, event: Event) -> None:
        """Feed an event that is no part of a reply."""
        match event:
            case MessageCompleted(message=message) if message.role == "assistant":
                self._end_reply(message)
            case ActionRequired(actions=actions):
                self._hands_off = True
                for action in actions:
                    if action.kind == "approval":
                        self._server_calls.ask_approval(action.tool_call_id)
            case ToolOutputAdded():
                self._server_calls.add_output(event)
            case TurnRestarted():
                self._restart(event)
            case CitationsAdded(citations=citations):
                self._writer.cited += citations
            case UsageAdded(usage=usage):
                self._usage += usage
            case RunStatus(status=Status.IN_PROGRESS) if not self._started:
                self._begin()
            case RunStatus(status=Status.ACTION_REQUIRED) if self._hands_off:
                self._end("completed")
            case RunStatus(status=status) if status.ended:
                self._end_run(event)
            case _:
                pass

    def _begin(self) -> None:
        self._started = True
        self._status = "in_progress"
        self._emit_state("response.in_progress")

    def _emit_state(self, name: str) -> None:
        self._writer.emit(name, response=response_object(self._head, self.state))

    # Turns.

    def _start_call(self, call_id: str, name: str) -> None:
        place = self._places[call_id] = len(self._places)
        if name in self._head.client_tools:
            self._text.close()
            self._calls.start(self._reply_id, place, call_id, name)

    def _end_reply(self, message: Message) -> None:
        """Close the items of a reply, and begin those of its calls that run now."""
        self._completed_at = message.created_at // 1000
        self._text.close(whole=message.status == "completed")
        self._calls.cut()
        hosted = {
            call.id: CarriedCall(self._reply_id, place, call.name, call.arguments)
            for place, call in enumerate(message.tool_calls)
            if call.name not in self._head.client_tools
        }
        waits = len(hosted) < len(message.tool_calls) or any(
            self._head.asks(call.name) for call in hosted.values()
        )
        self._server_calls.waiting |= hosted
        if not waits:
            for call_id in hosted:
                self._server_calls.run(call_id)
        self._turn += 1
        self._restarts = 0
        self._begin_items()

    def _restart(self, event: TurnRestarted) -> None:
        self._text.close(whole=False)
        self._calls.cut()
        self._writer.emit(
            "antiphon:turn.restarted",
            item_ids=[item.id for item in self._writer.output[self._first_of_turn :]],
            reason=event.reason,
            attempt=event.attempt,
        )
        self._writer.drop(self._first_of_turn)
        self._restarts += 1
        self._begin_items()

    def _begin_items(self) -> None:
        """Begin with the items of a turn, or of its next attempt."""
        self._first_of_turn = len(self._writer.output)
        self._writer.cited.clear()
        self._places = {}
        self._reply_id = self._make_reply_id()

    def _make_reply_id(self) -> str:
        """Return the id of the turn's message; after a restart with a number."""
        plain = reply_id(self._head.run_id, self._turn)
        return f"{plain}-{self._restarts + 1}" if self._restarts else plain

    # The end.

    def _end_run(self, event: RunStatus) -> None:
        match event.status:
            case Status.COMPLETED:
                self._end("completed")
            case Status.INCOMPLETE:
                self._incomplete_reason = INCOMPLETE_REASONS.get(event.reason, str(event.reason))
                self._end("incomplete")
            case Status.CANCELLED:
                self._end("cancelled")
            case Status.EXPIRED:
                self._incomplete_reason = "expired"
                self._end("incomplete")
            case _:
                self._fail(event.error or Fault("internal", "The run failed."))

    def _fail(self, fault: Fault) -> None:
        self._failure = fault_envelope(fault)
        self._error = error_object(fault)
        self._close()
        body = self._failure[1].error
        code = body.code or body.type
        self._writer.emit("error", code=code, message=body.message, param=body.param)
        self._end("failed")

    def _close(self) -> None:
        """Close whatever is open."""
        self._text.close(whole=False)
        self._calls.cut()
        self._server_calls.cut()

    def _end(self, status: ResponseStatus) -> None:
        self._close()
        self.ended = True
        self._status = status
        # The original has no event for a cancelled response; its status says it.
        self._emit_state(f"response.{'incomplete' if status == 'cancelled' else status}")


_ERROR_CODES = {
    ProviderRateLimited.code: "rate_limit_exceeded",
    QuotaExceeded.code: "rate_limit_exceeded",
    ProviderRejected.code: "invalid_prompt",
}


def error_object(fault: Fault) -> dict[str, str]:
    """Return the error of a failed response, whose code is one of the original's list."""
    return {"code": _ERROR_CODES.get(fault.code, "server_error"), "message": fault.message}


_encode = msgspec.json.Encoder().encode


class ResponseFrames:
    """Encodes the events of a response as server-sent events.

    Events up to number `after` are left out: a reader has them. `count` is the number of events so
    far.
    """

    def __init__(self, head: ResponseHead, after: int = -1) -> None:
        self.head = head
        self.fold = ResponseFold(head)
        self.count = 0
        self._after = after

    def encode(self, event: Event) -> bytes:
        """Return the frames of this event, which may be none."""
        frames: list[bytes] = []
        for name, fields in self.fold.feed(event):
            number = self.count
            self.count += 1
            if number > self._after:
                data = _encode({"type": name, "sequence_number": number, **fields})
                frames.append(
                    b"event: %b\ndata: %b\n\n" % (name.encode(), escape_line_breaks(data))
                )
        return b"".join(frames)

    def close(self) -> bytes:
        """Return the frame that ends the stream; nothing where the response goes on."""
        return DONE if self.fold.ended else b""
