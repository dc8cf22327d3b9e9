"""The conversation loop as a state machine: stream a turn, run its tools, submit, repeat.

This module decides the next step and does no I/O; both clients carry out its steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from antiphon.api.operations import (
    Content,
    Follow,
    GetRun,
    ListActions,
    ListMessages,
    ListRuns,
    NewMessage,
    Operation,
    Options,
    Process,
)
from antiphon.client.outcome import last_reply
from antiphon.client.run_state import RunState
from antiphon.engine.page_tools import PAGE_WORKER
from antiphon.telemetry import genai
from antiphon.telemetry.tracing import Attributes
from antiphon.tools.consent import remote_tool
from antiphon.tools.tool_sources import GatheredTools
from antiphon.types.errors import (
    AntiphonError,
    InvalidEventId,
    InvalidRequest,
    NotFound,
    OutputsMissing,
    RunEnded,
)
from antiphon.types.events import Numbered, PendingAction, to_pending_action
from antiphon.types.messages import Message, TaskHandle, Tool, ToolCall, ToolResult
from antiphon.types.runs import Action, Run, Status

NO_TASKS: Mapping[str, TaskHandle] = MappingProxyType({})


class FindRun(msgspec.Struct, frozen=True):
    """Find the last run of a thread."""

    operation: ListRuns


class StreamTurn(msgspec.Struct, frozen=True):
    """Stream the events of this operation, up to event number `until` or to the end.

    `key` is the caller's idempotency key, under which the operation may have been sent before. With
    `until_resumed` the stream ends when the run no longer waits for outputs.
    """

    operation: Process | Follow
    until: int | None = None
    key: str | None = None
    until_resumed: bool = False


class ListPending(msgspec.Struct, frozen=True):
    """List the calls that wait for an output."""

    operation: ListActions


class ExecuteActions(msgspec.Struct, frozen=True):
    """Run these tools, request these approvals, and submit each output when it is ready.

    A call with one of the `tasks`, by tool call id, is not sent again: its task is followed.
    """

    run_id: str
    actions: tuple[PendingAction, ...]
    thread_id: str | None = None
    tasks: Mapping[str, TaskHandle] = NO_TASKS


class FetchRun(msgspec.Struct, frozen=True):
    """Fetch the run to learn how it ended."""

    operation: GetRun


class ReadLastReply(msgspec.Struct, frozen=True):
    """Read the last reply from the thread's messages, because its events were not read."""

    operation: ListMessages


class Finished(msgspec.Struct, frozen=True):
    """The run has ended."""


Step = FindRun | StreamTurn | ListPending | ExecuteActions | FetchRun | ReadLastReply | Finished
PAGE = 100
"""Messages per request when looking for the last reply."""


class Conversation:
    """One run from its first or current turn to its end.

    Carry out `next_step()`, then report its result. Events are added to `state` as they come.
    `action.required` is trusted only at the end of a turn that this conversation requested, of a
    run that it began. In all other cases (another client continued the run, its calls expired, an
    earlier request with the idempotency key began it) the run's actions are listed, so that neither
    a tool that has an output nor one that a page has named runs here.

    Calls of the tools named `elsewhere` are left to workers for tools, and waited for, and so are
    those of a page's own tools. With `thread_id` the run is the last one of this thread.

    Event numbers have no gaps: if a stream begins later than the last event, `find_missed` returns
    the step that reads the events in between. With `resumed` this includes the first event; without
    it, events from before the conversation are not read.
    """

    def __init__(
        self,
        opening: Process,
        state: RunState,
        *,
        resumed: bool = False,
        idempotency_key: str | None = None,
        elsewhere: frozenset[str] = frozenset(),
        thread_id: str | None = None,
    ) -> None:
        self._state = state
        self._elsewhere = elsewhere
        self._is_new = opening.run_id is None and thread_id is None
        self._resumed = resumed
        self._newest_received: int | None = None
        self._follow_after = 0
        self._next_step: Step = StreamTurn(opening, key=idempotency_key)
        if thread_id is not None:
            self._next_step = FindRun(ListRuns(thread_id, limit=1))

    def next_step(self) -> Step:
        """Return the next step."""
        return self._next_step

    def handle_last_run(self, runs: Sequence[Run]) -> None:
        """Resume the last run of the thread. Raises `NotFound` if there is none."""
        if not runs:
            raise NotFound("The thread has no run, so nothing is due.")
        self._state.run_id = runs[0].id
        self._next_step = StreamTurn(Process(run_id=runs[0].id))

    def has_read_enough(self, step: StreamTurn, batch: Sequence[Numbered]) -> bool:
        """Return whether the step has read what it is for, with this batch."""
        if step.until_resumed and self._state.status not in (None, Status.ACTION_REQUIRED):
            return True
        return step.until is not None and batch[-1][0] >= step.until

    def find_missed(self, step: StreamTurn, batch: Sequence[Numbered]) -> StreamTurn | None:
        """Return the step that reads the events between the last one and this batch, if any."""
        self._newest_received = batch[-1][0]
        before = batch[0][0] - 1
        if (
            isinstance(step.operation, Follow)
            or not self._in_order
            or before <= self._state.last_event
        ):
            return None
        return self._follow_until(before)

    def end_stream(self) -> None:
        """Decide the next step after the stream ended."""
        step = self._next_step
        own = step if isinstance(step, StreamTurn) and isinstance(step.operation, Process) else None
        if own is not None:
            self._check_not_ahead(self._newest_received)
        if self._state.status is not None and self._state.status.ended:
            self._next_step = self._last_step()
        elif own is not None and own.key is None and self._is_new and self._state.waiting:
            self._next_step = self._answer_or_wait(tuple(self._state.waiting.values()))
        else:
            self._next_step = self._list_pending()

    def handle_error(self, refusal: AntiphonError) -> None:
        """Decide the next step after an error; raise the error unless it is about the run's status.

        The error contains the run's last event number: unread events are read first.
        """
        if not isinstance(refusal, OutputsMissing | RunEnded):
            raise refusal
        newest = self._follow_after = refusal.details.get("last_event", self._state.last_event)
        self._check_not_ahead(newest)
        if self._in_order and newest > self._state.last_event:
            self._next_step = self._follow_until(newest)
        elif isinstance(refusal, OutputsMissing):
            self._next_step = self._list_pending()
        else:
            self._next_step = FetchRun(GetRun(self._run_id))

    def handle_actions(self, actions: Sequence[Action]) -> None:
        """Decide the next step from the run's pending actions."""
        # A page in a browser has chosen the names of its tools, which may be those of ours. A call
        # with an attempt was claimed by a worker, whose name may be that of the page's.
        self._elsewhere |= {
            each.name for each in actions if each.worker == PAGE_WORKER and not each.attempt
        }
        waiting = tuple(to_pending_action(action) for action in actions if action.awaited)
        tasks = tasks_by_call(actions)
        self._next_step = self._answer_or_wait(waiting, tasks) if waiting else self._next_turn()

    def finish_outputs(self) -> None:
        """Continue after all outputs were saved or are no longer expected."""
        self._next_step = self._list_pending() if self._elsewhere else self._next_turn()

    def handle_run(self, run: Run) -> None:
        """Decide the next step from the run's status."""
        self._state.update(run)
        self._next_step = self._last_step() if run.status.ended else self._list_pending()

    def handle_messages(self, messages: Sequence[Message]) -> None:
        """Set the last reply's text from the thread's messages."""
        self._state.text = last_reply(messages, self._run_id)
        self._next_step = Finished()

    @property
    def span_attributes(self) -> Attributes:
        """Attributes of the conversation's span."""
        return genai.conversation_attributes(self._state.run_id, self._state.thread_id)

    @property
    def _run_id(self) -> str:
        if self._state.run_id is None:
            raise InvalidRequest("The stream ended before the event that names its run.")
        return self._state.run_id

    @property
    def _in_order(self) -> bool:
        """True if the number of the next event is known."""
        return self._resumed or self._state.last_event > 0

    def _check_not_ahead(self, newest: int | None) -> None:
        if newest is not None and self._state.last_event > newest:
            raise InvalidEventId(
                f"Run {self._run_id} has no event {self._state.last_event}.",
                expected=f"0 to {newest}",
                received=str(self._state.last_event),
                hint="after=0 is the start.",
            )

    def _follow_until(self, number: int) -> StreamTurn:
        return StreamTurn(Follow(self._run_id, after=self._state.last_event), until=number)

    def _answer_or_wait(
        self, actions: tuple[PendingAction, ...], tasks: Mapping[str, TaskHandle] = NO_TASKS
    ) -> ExecuteActions | StreamTurn:
        """Return the step that runs this client's calls, else one that waits for the others."""
        own = tuple(each for each in actions if each.name not in self._elsewhere)
        if own:
            return ExecuteActions(self._run_id, own, self._state.thread_id, tasks)
        after = self._state.last_event if self._in_order else self._follow_after
        return StreamTurn(Follow(self._run_id, after=after), until_resumed=True)

    def _list_pending(self) -> ListPending:
        return ListPending(ListActions(self._run_id, status="pending"))

    def _next_turn(self) -> StreamTurn:
        return StreamTurn(Process(run_id=self._run_id, force_refresh=True))

    def _last_step(self) -> ReadLastReply | Finished:
        """Return the last step, which reads an incomplete reply if its events were not read."""
        state = self._state
        if state.status is Status.INCOMPLETE and state.text is None and state.thread_id is not None:
            return ReadLastReply(ListMessages(state.thread_id, limit=PAGE))
        return Finished()


def first_request(
    text: Content | None, gathered: GatheredTools, run_id: str | None, options: Options
) -> Process:
    """Return the first operation of a conversation: a new run, or the next turn of `run_id`.

    A new run has the instructions of its tools behind its own additional ones.
    """
    message = None if text is None else NewMessage(text)
    if run_id is not None:
        return Process(run_id=run_id, message=message, **options)
    texts = (options.get("additional_instructions"), gathered.instructions)
    if instructions := "\n\n".join(filter(None, texts)):
        options["additional_instructions"] = instructions
    return Process(message=message, tools=gathered.specs() or None, **options)


def initial_state(run_id: str | None, after: int | None) -> RunState:
    """Return the initial state. Raises `InvalidRequest` and `InvalidEventId`."""
    if after is not None:
        if run_id is None:
            raise InvalidRequest("Of which run are those events?", expected="run_id with after")
        require_streamable(Follow(run_id, after=after))
    return RunState(run_id, after)


def split_actions(
    actions: Iterable[PendingAction],
) -> tuple[Sequence[ToolCall], Sequence[tuple[ToolCall, Tool]]]:
    """Split actions into calls to run, and calls to approve with their tools."""
    waiting = list(actions)
    return (
        [tool_call(action) for action in waiting if action.kind == "tool"],
        [
            (tool_call(action), remote_tool(action))
            for action in waiting
            if action.kind == "approval"
        ],
    )


def tasks_by_call(actions: Iterable[Action]) -> Mapping[str, TaskHandle]:
    """Return the tasks that already carry out calls, by tool call id."""
    return {each.tool_call_id: each.task for each in actions if each.task is not None}


def tool_call(action: PendingAction) -> ToolCall:
    """Return the tool call of this action."""
    arguments = msgspec.json.encode(action.arguments).decode()
    return ToolCall(action.tool_call_id, action.name, arguments)


def rejection_output(refusal: AntiphonError) -> ToolResult:
    """Return an error output to submit for a rejected output, which the run would wait for."""
    return ToolResult(f"The tool's output cannot be saved: {refusal.message}", is_error=True)


def is_settled(status: Status) -> bool:
    """Return whether a run in this status waits for outputs or has ended."""
    return status is Status.ACTION_REQUIRED or status.ended


def require_streamable(operation: Operation[Any]) -> Operation[Any]:
    """Return the operation if it streams.

    Raises `InvalidRequest` for a `/process` in the background, and `InvalidEventId` for an invalid
    event number.
    """
    match operation:
        case Process(background=True):
            raise InvalidRequest(
                "A run in the background is not streamed.",
                expected="background=False",
                hint="create_run(background=True) starts one; events(run_id) follows it.",
            )
        case Follow(after=after) if type(after) is not int or after < 0:
            raise InvalidEventId(
                "Events are numbered from 1.",
                expected="the number of the last event that was read, 0 for the start",
                received=repr(after),
            )
        case _:
            return operation
