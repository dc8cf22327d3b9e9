"""Carries out conversations: streams their turns, runs their tools, submits the outputs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from copy import copy
from typing import Unpack

from antiphon.api.operations import (
    CreateMessage,
    Follow,
    GetAction,
    GetCaller,
    GetRun,
    ListMessages,
    SaveTask,
    SubmitToolOutput,
)
from antiphon.client.async_events import create_events
from antiphon.client.async_pages import paginate
from antiphon.client.async_transport import AsyncBatches, AsyncTransport
from antiphon.client.conversation import (
    PAGE,
    Conversation,
    ExecuteActions,
    FetchRun,
    FindRun,
    Finished,
    ListPending,
    ReadLastReply,
    StreamTurn,
    is_settled,
    rejection_output,
    split_actions,
)
from antiphon.client.outcome import last_reply
from antiphon.client.portal import CallerLoop
from antiphon.client.run_state import RunState
from antiphon.ports import Toolbox
from antiphon.telemetry.tracing import open_span
from antiphon.tools.context import RunLookup
from antiphon.tools.questions import ModelServer
from antiphon.tools.task_journal import ActionJournal
from antiphon.tools.tool_processor import ProcessorOptions, ToolProcessor
from antiphon.types.errors import (
    AntiphonError,
    InvalidRequest,
    OutputConflict,
    OutputsMissing,
    RunEnded,
    TooLarge,
)
from antiphon.types.events import RunStatus
from antiphon.types.messages import TaskHandle, ToolCall, ToolResult
from antiphon.types.runs import Action, Run, Status


class AsyncRunner:
    """The steps of conversations, over one transport; `loop` is that of the tools.

    With `leave_unknown`, a call stays pending if its tool is offered by the run and is not in this
    program: another program may have it.
    """

    def __init__(
        self, transport: AsyncTransport, loop: CallerLoop, *, leave_unknown: bool = False
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._leave_unknown = leave_unknown

    def create_processor(
        self, toolbox: Toolbox, **options: Unpack[ProcessorOptions]
    ) -> ToolProcessor:
        """Return a processor of tool calls that keeps files and finds runs by this transport."""
        return ToolProcessor(
            toolbox,
            keep=self._loop.callback(self._upload_output),
            tracer=self._transport.tracer,
            asked_by=self._loop.callback(self._find_model_server),
            lookup=RunLookup(
                self._loop.callback(self.get_run), self._loop.callback(self._get_owner)
            ),
            **options,
        )

    async def get_run(self, run_id: str) -> Run:
        """Return the run as it is now."""
        return await self._transport.send(GetRun(run_id))

    async def _get_owner(self) -> str:
        return (await self._transport.send(GetCaller())).owner

    async def run_conversation(
        self, conversation: Conversation, processor: ToolProcessor
    ) -> AsyncBatches:
        """Carry out the steps of a conversation in a span of its own; yield its events."""
        tracer, parent = self._transport.tracer, self._transport.parent
        with open_span(tracer, "invoke_agent", "client", parent=parent) as span:
            # Its operations and tools have this span as parent.
            traced = copy(self)
            traced._transport = self._transport.with_trace_parent(span.trace_context)
            steps = traced._run_steps(conversation, processor)
            async with aclosing(steps):
                async for batch in steps:
                    yield batch
            span.set_attributes(conversation.span_attributes)

    async def _run_steps(
        self, conversation: Conversation, processor: ToolProcessor
    ) -> AsyncBatches:
        while True:
            match conversation.next_step():
                case FindRun(operation):
                    conversation.handle_last_run((await self._transport.send(operation)).data)
                case StreamTurn() as step:
                    try:
                        async with aclosing(self._stream_events(step, conversation)) as batches:
                            async for batch in batches:
                                yield batch
                    except (OutputsMissing, RunEnded) as refusal:
                        conversation.handle_error(refusal)
                    else:
                        conversation.end_stream()
                case ListPending(operation):
                    actions = paginate(self._transport, operation)
                    conversation.handle_actions([action async for action in actions])
                case ExecuteActions() as due:
                    await self._execute_actions(due, processor)
                    conversation.finish_outputs()
                case FetchRun(operation):
                    conversation.handle_run(await self._transport.send(operation))
                case ReadLastReply(operation):
                    messages = paginate(self._transport, operation)
                    conversation.handle_messages([message async for message in messages])
                case Finished():
                    return

    async def _stream_events(self, step: StreamTurn, conversation: Conversation) -> AsyncBatches:
        """Yield the events of this step, after those that were missed."""
        async with aclosing(self._transport.stream(step.operation, step.key)) as batches:
            async for batch in batches:
                if missed := conversation.find_missed(step, batch):
                    async with aclosing(self._stream_events(missed, conversation)) as earlier:
                        async for each in earlier:
                            yield each
                yield batch
                if conversation.has_read_enough(step, batch):
                    return

    async def _execute_actions(self, due: ExecuteActions, processor: ToolProcessor) -> None:
        """Run the tools; submit each output when it is ready, while the run waits for outputs."""
        unknown: list[str] = []
        async with aclosing(self.run_tools(due, processor)) as results:
            async for call, result in results:
                is_unknown = self._leave_unknown and result.fault == "unknown_tool"
                offered = (await self.get_run(due.run_id)).tools if is_unknown else ()
                if any(spec.name == call.name for spec in offered):  # another program may have it
                    unknown.append(call.name)
                elif not await self.save_result(result, self.output_saver(due.run_id, call)):
                    return
        if unknown:
            raise InvalidRequest(
                f"The run waits for {', '.join(unknown)}, which this program does not have.",
                expected="tools with it, or its ToolSpec to wait for a worker",
                hint="The calls are still pending.",
            )

    def run_tools(
        self, due: ExecuteActions, processor: ToolProcessor
    ) -> AsyncGenerator[tuple[ToolCall, ToolResult]]:
        """Yield each call with its result, as they complete."""
        calls, approvals = split_actions(due.actions)
        trace = self._transport.parent
        return self._loop.stream(
            processor.process_tool_calls(
                due.run_id,
                calls,
                approvals,
                trace,
                due.thread_id,
                journal=self._create_journal(due),
            )
        )

    def _create_journal(self, due: ExecuteActions) -> ActionJournal:
        """Return a journal that keeps tasks of MCP servers with these actions."""
        ids = {action.tool_call_id: action.action_id for action in due.actions}

        async def save(call_id: str, handle: TaskHandle) -> Action:
            task_id, origin, tool = handle.task_id, handle.origin, handle.tool
            return await self._transport.send(SaveTask(ids[call_id], task_id, origin, tool))

        async def is_open(call_id: str) -> bool:
            return (await self._transport.send(GetAction(ids[call_id]))).status == "pending"

        return ActionJournal(due.tasks, self._loop.callback(save), self._loop.callback(is_open))

    async def _upload_output(self, name: str, media_type: str, content: bytes) -> str:
        return (await self._transport.upload(name, media_type, content)).id

    async def _find_model_server(self, run_id: str) -> ModelServer | None:
        """Return the model server of this run; None if it cannot be determined."""
        try:
            return await self._transport.model_server((await self.get_run(run_id)).model, run_id)
        except AntiphonError:
            return None

    async def save_result(
        self, result: ToolResult, save: Callable[[ToolResult], Awaitable[object]]
    ) -> bool:
        """Save a result; return False if the run no longer waits for results.

        An output that another client saved first is kept.
        """
        try:
            try:
                await save(result)
            except (InvalidRequest, TooLarge) as refusal:
                await save(rejection_output(refusal))
        except OutputConflict:
            return True
        except RunEnded:
            return False
        return True

    def output_saver(
        self, run_id: str, call: ToolCall
    ) -> Callable[[ToolResult], Awaitable[object]]:
        """Return a function that submits the output of this call."""
        return lambda result: self._transport.send(
            SubmitToolOutput(
                run_id,
                call.id,
                result.output,
                is_error=result.is_error,
                metadata=result.metadata,
            )
        )

    def message_saver(self, action: Action) -> Callable[[ToolResult], Awaitable[object]]:
        """Return a function that saves the output as a message of the thread."""
        return lambda result: self._transport.send(
            CreateMessage(
                action.thread_id,
                result.output,
                role="tool",
                tool_call_id=action.tool_call_id,
                run_id=action.run_id,
                is_error=result.is_error,
                metadata=result.metadata,
            )
        )

    async def wait_until_settled(self, run_id: str) -> Run:
        """Return the run once it waits for outputs or has ended."""
        if is_settled((run := await self.get_run(run_id)).status):
            return run
        async with create_events(self._transport, Follow(run_id)) as events:
            async for event in events:
                stops = isinstance(event, RunStatus) and is_settled(event.status)
                # The log begins with earlier turns: only the run itself has its current status.
                if stops and is_settled((run := await self.get_run(run_id)).status):
                    return run
        return await self.get_run(run_id)

    async def raise_for_status(self, run: Run) -> None:
        """Raise the `RunError` of a run that has ended without completing."""
        state = RunState(run.id)
        state.update(run)
        if run.status is Status.INCOMPLETE:
            messages = paginate(self._transport, ListMessages(run.thread_id, limit=PAGE))
            state.text = last_reply([message async for message in messages], run.id)
        state.raise_for_status()
