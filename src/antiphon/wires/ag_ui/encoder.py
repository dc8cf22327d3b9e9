"""Encodes a run in the AG-UI protocol, for CopilotKit and `@ag-ui/client`.

    stream = AgUi(Reader(version="1", run_id=asked.run_id, history=asked.history))
    for number, event in events:
        for frame in stream.feed(number, event):
            send(frame)

One of our runs is one or more of the client's: a call for the client or a question to a person ends
one, and the next begins when our run continues. Each reply of the model is a step and one message.
Its id is made of the run's id and the reply's position, so every replay has the same.

AG-UI clients cannot resume in the middle of a stream. A client that reconnects gets a snapshot of
the messages, the open parts, and then what follows. It may have been cut off between the frames of
one event, of which only the last has an id: the snapshot takes these back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

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
from antiphon.types.messages import Message, list_pages
from antiphon.types.runs import Fault, Status, Usage
from antiphon.types.terminal_safe import clean
from antiphon.wires.ag_ui import events as ag
from antiphon.wires.ag_ui.messages import AgUiCalls, Messages, reasoning_id, reply_id
from antiphon.wires.ai_sdk.parts import CallFacts
from antiphon.wires.framing import NOT_ANSWERED, NOT_WHOLE, TAKEN_BACK, frame

EXPIRED = Fault("expired", "The run waited too long for what its tool calls give.")


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """The client that reads a run, and what it already has.

    `thread_id` is its name of the thread, if that differs from ours; `run_id` is the id of its
    first run. It has everything up to event `after`, `history` as its messages, and the outputs of
    the calls that it `answered` itself. `here` are the tools that run on this side: the client sees
    their calls and need not run them. `page_tools` are those that the client runs, if that is known
    for each tool: then all others are on this side, and a call of the client's ends only when it is
    handed over. A person must approve the calls of those that `ask`: the client sees such a call
    only then. `approved` are actions that a person has approved.
    """

    version: ag.Version = "0"
    thread_id: str | None = None
    run_id: str | None = None
    after: int = 0
    history: tuple[ag.Json, ...] = ()
    answered: frozenset[str] = frozenset()
    here: frozenset[str] = frozenset()
    page_tools: frozenset[str] | None = None
    ask: frozenset[str] = frozenset()
    approved: frozenset[str] = frozenset()


class AgUi:
    """Encodes one run for one reader; feed it the run's events in order, from the first one on.

    An event that was fed before is ignored.
    """

    def __init__(self, reader: Reader | None = None) -> None:
        self._reader = reader or Reader()
        self._run: RunStatus | None = None
        self._theirs: str | None = None  # id of the client's current run
        self._first: str | None = None  # id of the first run that the reader gets
        self._last = 0
        self._behind = self._reader.after > 0
        self._needs_snapshot = False
        self._turn = 1
        self._reply = 1
        self._in_step = False
        self._wordless = True  # in this reply
        self._refused = False
        self._speaking: Literal["text", "reasoning"] | None = None
        self._usage = Usage()
        self._used = Usage()  # in the client's run
        self._late: list[ToolOutputAdded] = []
        self._calls = AgUiCalls(
            self._reader.version,
            self._reader.here,
            self._reader.page_tools,
            self._reader.approved,
            self._reader.ask,
        )
        self._messages = Messages(self._reader.history)

    def feed(self, number: int, event: Event) -> Sequence[bytes]:
        """Return the frames of this event."""
        return self.feed_all([(number, event)])

    def feed_all(self, events: Iterable[Numbered]) -> list[bytes]:
        """Return the frames of these events, with consecutive deltas merged."""
        out: list[tuple[int, ag.AgUiEvent]] = []
        for number, event in events:
            if number <= self._last:
                continue
            if number > self._reader.after:
                out += self._catch_up()
            self._last = number
            new: list[tuple[int, ag.AgUiEvent]] = []
            for each in self._events_for(event):
                self._messages.apply(each)
                new.append((number, each))
            if number > self._reader.after:
                out += new
            elif number == self._reader.after:
                out += self._catch_up()
        return self._frames(_merge_deltas(self._without_known(out)))

    def _without_known(
        self, numbered: Iterable[tuple[int, ag.AgUiEvent]]
    ) -> list[tuple[int, ag.AgUiEvent]]:
        """Return the events without the outputs that the client gave itself."""
        known = self._reader.answered
        return [
            (number, event)
            for number, event in numbered
            if not (isinstance(event, ag.ToolCallResult) and event.tool_call_id in known)
        ]

    @property
    def resting(self) -> bool:
        """True once the client's run has ended, whatever the state of ours."""
        return self._run is not None and self._theirs is None

    @property
    def awaits_client(self) -> bool:
        """True while our run waits for the client: it has to run a tool, or a person to answer."""
        waits = self._run is not None and self._run.status is Status.ACTION_REQUIRED
        return waits and bool(self._calls.interrupts or self._calls.pending)

    def continue_run(self) -> Sequence[bytes]:
        """Return the frames of a new run of the client, where our run has not gone on yet.

        It has the client's own calls that were approved, and ends at once if the client has
        something to do. There are none if the client got a run before.
        """
        if self._first is not None or self._ours.status.ended:
            return []
        begun = [*self._begin(self._ours), *self._calls.reveal_approved()]
        if self.awaits_client:
            begun += self._hand_over()
        for event in begun:
            self._messages.apply(event)
        return self._frames(self._without_known((self._last, event) for event in begun))

    def close(self) -> Sequence[bytes]:
        """Return no frames: an active run has no end on the wire, and the client reconnects."""
        return []

    # Frames without an id: they are not in the log, and a replay omits them.

    def tool_status(
        self,
        tool_call_id: str,
        state: Literal["waiting", "running", "ended"],
        elapsed: float = 0,
        servers: Sequence[str] = (),
        arguments: str | None = None,
    ) -> Sequence[bytes]:
        """Return frames for a tool's state; `elapsed` in seconds, `servers` it waits for.

        Arguments cannot be sent twice: the result contains those that a person changed.
        """
        awaited = {"servers": list(servers)} if servers else {}
        return self._aside("tool_status", tool_call_id, state=state, elapsed=elapsed, **awaited)

    def progress(
        self, tool_call_id: str, done: float, total: float | None = None, message: str = ""
    ) -> Sequence[bytes]:
        """Return frames for the progress that a running tool reports."""
        state = {"done": done, "total": total, "message": clean(message)}
        return self._aside("tool_progress", tool_call_id, **state)

    def approval_asked(
        self, tool_call_id: str, approval_id: str, about: CallFacts | None = None
    ) -> Sequence[bytes]:
        """Return frames for a question about a call of a tool on this side; the run goes on."""
        known: dict[str, Any] = {} if about is None else msgspec.to_builtins(about)
        approval = {**known, "approvalId": approval_id, "state": "requested"}
        return self._aside("approval", tool_call_id, **approval)

    def approval_given(self, tool_call_id: str) -> Sequence[bytes]:
        """Return frames for an approval. A refusal appears as the call's output."""
        return self._aside("approval", tool_call_id, state="approved")

    def fail(self, fault: Fault) -> Sequence[bytes]:
        """Return frames for an error of this side, whatever happens to the run."""
        self._theirs = None
        return [frame(ag.RunErrorEvent(message=clean(fault.message), code=fault.code))]

    def _aside(self, name: str, tool_call_id: str, **fields: Any) -> Sequence[bytes]:
        call = self._calls.get(tool_call_id)
        if call is None or self._theirs is None or self._behind:
            return []
        named = {"toolCallId": tool_call_id, "toolName": call.name}
        return [frame(ag.Custom(name=f"antiphon.{name}", value={**named, **fields}))]

    # Frames.

    def _frames(self, numbered: Sequence[tuple[int, ag.AgUiEvent]]) -> list[bytes]:
        """Frame the events. Only the last frame of each event has an id."""
        run_id = self._run.run_id if self._run else ""
        last = {number: place for place, (number, _) in enumerate(numbered)}
        return [
            frame(event, f"{run_id}:{number}" if last[number] == place else "")
            for place, (number, event) in enumerate(numbered)
        ]

    def _catch_up(self) -> Iterator[tuple[int, ag.AgUiEvent]]:
        """Yield what a reader needs that reconnects to a run in progress."""
        if not self._behind:
            return
        self._behind = False
        if self._theirs is not None:
            for event in self._replay_run(self._theirs):
                yield self._last, event
        else:
            # A client that reconnects may have the first frames of its next run. A client that
            # names the run (`run_id`) has just asked for it, and has none.
            reconnects = self._reader.run_id is None
            self._needs_snapshot = reconnects and bool(self._reader.history)

    def _replay_run(self, theirs: str) -> Iterator[ag.AgUiEvent]:
        yield self._run_started(theirs)
        yield ag.MessagesSnapshot(messages=self._messages.all())
        if self._in_step:
            yield ag.StepStarted(step_name=self._step)
        match self._speaking:
            case "text":
                yield ag.TextMessageStart(message_id=self._id)
            case "reasoning":
                yield ag.ReasoningStart(message_id=reasoning_id(self._id))
                yield ag.ReasoningMessageStart(message_id=reasoning_id(self._id))
            case None:
                pass
        for call in self._calls.open:
            yield ag.ToolCallStart(
                tool_call_id=call.id, tool_call_name=call.name, parent_message_id=call.reply
            )

    # Encoding of each event.

    def _events_for(self, event: Event) -> Iterator[ag.AgUiEvent]:
        match event:
            case RunStatus():
                yield from self._on_status(event)
            case TextDelta(text=text) | ReasoningDelta(text=text):
                kind: Literal["text", "reasoning"]
                kind = "text" if isinstance(event, TextDelta) else "reasoning"
                yield from self._on_text(kind, text)
            case RefusalDelta(text=text):
                yield from self._on_refusal(text)
            case ToolCallStarted() | ToolCallDelta() | ToolCallReady():
                yield from self._begin_step()
                yield from self._end_text()
                yield from self._on_tool_call(event)
            case ActionRequired(actions=actions):
                for action in actions:
                    yield from self._calls.require(action)
            case ToolOutputAdded():
                yield from self._on_tool_output(event)
            case MessageCompleted(message=message):
                whole = {call.id for call in message.tool_calls}
                yield from self._calls.close(self._ours.run_id, NOT_WHOLE, self._id, but=whole)
                yield from self._end_text()
                yield from self._cite(message)
                yield from self._end_step()
                self._reply += 1
            case TurnRestarted():
                yield from self._on_restart(event)
            case UsageAdded(usage=usage):
                self._usage += usage
                self._used += usage
            case TurnEnded():
                yield from self._on_turn_ended(event)
            case ToolsListed() | CitationsAdded():
                pass  # the protocol has no event for tools; the saved message has the citations

    @property
    def _ours(self) -> RunStatus:
        if self._run is None:
            raise Internal(
                "A stream begins with the first event of its run, which is `run.status`."
            )
        return self._run

    # Runs.

    def _on_status(self, event: RunStatus) -> Iterator[ag.AgUiEvent]:
        self._run = event
        if event.status is Status.QUEUED:
            self._calls.resolve_all()
        yield from self._begin(event)
        if event.status.ended:
            yield from self._end(event)

    def _begin(self, event: RunStatus) -> Iterator[ag.AgUiEvent]:
        if self._theirs is not None:
            return
        self._theirs = f"{event.run_id}:turn-{self._turn}"
        self._used = Usage()
        yield self._run_started(self._theirs)
        if self._needs_snapshot:
            self._needs_snapshot = False
            yield ag.MessagesSnapshot(messages=self._messages.all())
        late, self._late = self._late, []
        for output in late:
            yield from self._on_tool_output(output)

    def _run_started(self, theirs: str) -> ag.RunStarted:
        if self._first is None and not self._behind:
            self._first = theirs
        declared = ag.PROTOCOL if self._reader.version != "0" else UNSET
        return ag.RunStarted(
            thread_id=self._thread, run_id=self._client_run_id(theirs), protocol_version=declared
        )

    @property
    def _thread(self) -> str:
        return self._reader.thread_id or self._ours.thread_id

    def _client_run_id(self, theirs: str) -> str:
        """Return the id of the client's run; the first may have been named by the client."""
        client_run_id = self._reader.run_id if theirs == self._first else None
        return client_run_id or theirs

    def _on_turn_ended(self, event: TurnEnded) -> Iterator[ag.AgUiEvent]:
        self._turn += 1
        if self._theirs is not None and event.status is Status.ACTION_REQUIRED:
            yield from self._hand_over()

    def _hand_over(self) -> Iterator[ag.AgUiEvent]:
        """Yield the end of the client's run if it has to act."""
        interrupts, pending = self._calls.interrupts, self._calls.pending
        if interrupts:
            yield from self._finish(ag.Interrupted(interrupts=interrupts))
        elif pending:
            yield from self._finish(self._success(pending))

    def _success(self, pending: tuple[str, ...] = ()) -> ag.Success:
        """Return the outcome, for clients of version 0 without calls: they fail on these."""
        return ag.Success(pending if pending and self._reader.version != "0" else UNSET)

    def _end(self, event: RunStatus) -> Iterator[ag.AgUiEvent]:
        yield from self._calls.close(event.run_id, NOT_ANSWERED)
        yield from self._end_step()
        match event.status:
            case Status.FAILED:
                yield from self._fail_run(event.error or Fault("internal", "The run failed."))
            case Status.EXPIRED:
                yield from self._fail_run(event.error or EXPIRED)
            case Status.CANCELLED if self._reader.version != "0":
                yield from self._finish(ag.Cancelled())
            case Status.CANCELLED:
                yield from self._finish(UNSET)
            case _:
                yield from self._finish(self._success())

    def _finish(
        self, outcome: ag.Success | ag.Cancelled | ag.Interrupted | msgspec.UnsetType
    ) -> Iterator[ag.AgUiEvent]:
        theirs, self._theirs = self._theirs, None
        if theirs is not None:
            yield self._account()
            yield ag.RunFinished(
                thread_id=self._thread,
                run_id=self._client_run_id(theirs),
                outcome=outcome,
                usage=self._tokens(),
            )

    def _fail_run(self, fault: Fault) -> Iterator[ag.AgUiEvent]:
        self._theirs = None
        yield self._account()
        yield ag.RunErrorEvent(message=clean(fault.message), code=fault.code, usage=self._tokens())

    def _tokens(self) -> tuple[ag.ModelUsage, ...] | msgspec.UnsetType:
        used = self._used
        if used == Usage():
            return UNSET
        tokens = ag.ModelUsage(
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            total_tokens=used.input_tokens + used.output_tokens,
            reasoning_tokens=used.reasoning_tokens,
            cached_input_tokens=used.cached_tokens,
        )
        return (tokens,)

    def _account(self) -> ag.Custom:
        """Return the run's status and cost, for which the protocol has no field."""
        run = self._ours
        value = {"runId": run.run_id, "threadId": run.thread_id, "status": run.status.value}
        why = {"reason": run.reason} if run.reason else {}
        return ag.Custom(name="antiphon.run", value={**value, **why, "cost": self._usage.cost})

    # Replies.

    @property
    def _id(self) -> str:
        return reply_id(self._ours.run_id, self._reply)

    @property
    def _step(self) -> str:
        return f"reply-{self._reply}"

    def _begin_step(self) -> Iterator[ag.AgUiEvent]:
        if not self._in_step:
            self._in_step, self._wordless, self._refused = True, True, False
            yield ag.StepStarted(step_name=self._step)

    def _end_step(self) -> Iterator[ag.AgUiEvent]:
        yield from self._end_text()
        if self._in_step:
            self._in_step = False
            yield ag.StepFinished(step_name=self._step)

    def _on_text(self, kind: Literal["text", "reasoning"], text: str) -> Iterator[ag.AgUiEvent]:
        if not text:
            return
        yield from self._begin_step()
        self._wordless = self._wordless and kind != "text"
        thought = reasoning_id(self._id)
        if self._speaking != kind:
            yield from self._end_text()
            self._speaking = kind
            if kind == "text":
                yield ag.TextMessageStart(message_id=self._id)
            else:
                yield ag.ReasoningStart(message_id=thought)
                yield ag.ReasoningMessageStart(message_id=thought)
        if kind == "text":
            yield ag.TextMessageContent(message_id=self._id, delta=text)
        else:
            yield ag.ReasoningMessageContent(message_id=thought, delta=text)

    def _on_refusal(self, text: str) -> Iterator[ag.AgUiEvent]:
        """Encode a refusal as text: the protocol has no type for it."""
        if text and not self._refused:
            yield from self._begin_step()
            self._refused = True
            yield ag.Custom(name="antiphon.refusal", value={"messageId": self._id})
            text = text if self._wordless else f"\n\n{text}"
        yield from self._on_text("text", text)

    def _cite(self, message: Message) -> Iterator[ag.AgUiEvent]:
        """Yield the pages that a reply cites, for which the protocol has no event."""
        if self._in_step and (pages := list_pages(message.citations)):
            sources = [{"url": page.url, "title": page.title} for page in pages]
            value = {"messageId": self._id, "sources": sources}
            yield ag.Custom(name="antiphon.sources", value=value)

    def _end_text(self) -> Iterator[ag.AgUiEvent]:
        match self._speaking:
            case "text":
                yield ag.TextMessageEnd(message_id=self._id)
            case "reasoning":
                yield ag.ReasoningMessageEnd(message_id=reasoning_id(self._id))
                yield ag.ReasoningEnd(message_id=reasoning_id(self._id))
            case None:
                pass
        self._speaking = None

    def _on_tool_call(
        self, event: ToolCallStarted | ToolCallDelta | ToolCallReady
    ) -> Iterator[ag.AgUiEvent]:
        match event:
            case ToolCallStarted(tool_call_id=id, name=name):
                yield from self._calls.start_call(id, name, self._id)
            case ToolCallDelta(tool_call_id=id, arguments=arguments):
                yield from self._calls.append_arguments(id, arguments)
            case ToolCallReady(tool_call_id=id, name=name, arguments=arguments):
                if self._calls.get(id) is None:
                    yield from self._calls.start_call(id, name, self._id)
                if self._calls.keep_hidden(id, arguments):
                    return
                yield from self._calls.complete_call(id, arguments, self._messages.arguments(id))
                if self._messages.arguments(id) != arguments:
                    self._messages.correct(id, arguments)
                    yield ag.MessagesSnapshot(messages=self._messages.all())

    def _on_tool_output(self, event: ToolOutputAdded) -> Iterator[ag.AgUiEvent]:
        if self._theirs is None:
            self._late.append(event)  # a client gets no events between its runs
            return
        yield from self._calls.add_output(self._ours.run_id, event.tool_call_id, event.output)

    def _on_restart(self, event: TurnRestarted) -> Iterator[ag.AgUiEvent]:
        if not self._in_step:
            return
        yield from self._calls.close(self._ours.run_id, TAKEN_BACK, self._id)
        yield from self._end_step()
        self._messages.forget(self._id, in_history=not self._behind)
        self._calls.forget(self._id)
        again = {"reason": event.reason, "attempt": event.attempt}
        yield ag.Custom(name="antiphon.turn_restarted", value=again)
        yield ag.MessagesSnapshot(messages=self._messages.all())


def _merge_deltas(numbered: Sequence[tuple[int, ag.AgUiEvent]]) -> list[tuple[int, ag.AgUiEvent]]:
    """Merge consecutive deltas; each result has the number of its last delta."""
    joined: list[tuple[int, ag.AgUiEvent]] = []
    for number, event in numbered:
        match joined[-1][1] if joined else None, event:
            case (
                (
                    ag.TextMessageContent(message_id=of) as before,
                    ag.TextMessageContent(message_id=same) as more,
                )
                | (
                    ag.ReasoningMessageContent(message_id=of) as before,
                    ag.ReasoningMessageContent(message_id=same) as more,
                )
                | (
                    ag.ToolCallArgs(tool_call_id=of) as before,
                    ag.ToolCallArgs(tool_call_id=same) as more,
                )
            ) if of == same:
                joined[-1] = (number, replace(more, delta=before.delta + more.delta))
            case _:
                joined.append((number, event))
    return joined
