"""The start of a response: in a new thread, at the end of one, in a fork, or in a waiting run.

    start = await find_start_point(api, request)
    run, reader = await begin_response(api, start, new_response, open_turn)

A run whose calls wait for the client is continued by their outputs, if the request asks for what
the run has; else it ends, and a new run of the thread reads them. A response that is no longer the
last of its thread is continued in a fork.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from antiphon.api.operations import (
    Complete,
    ForkThread,
    GetMessage,
    GetRun,
    GetThread,
    ListActions,
    ListMessages,
    ListRuns,
    NewToolOutput,
    Process,
)
from antiphon.api.threads import PastMessage, to_past_message
from antiphon.engine.unit_of_work import CANCELLED
from antiphon.runtime.event_reader import RunEventReader
from antiphon.server.caller_api import PAGE, CallerApi
from antiphon.server.openai.response_reader import find_reply, response_records
from antiphon.types.errors import InvalidRequest, NotFound, RunActive
from antiphon.types.messages import Message, join_text
from antiphon.types.runs import Action, Run, Status, Thread
from antiphon.wires.openai.errors import MissingParameter, PreviousResponseNotFound
from antiphon.wires.openai.object_ids import parse_conversation_id, parse_item_id, to_stored_item_id
from antiphon.wires.openai.response_object import (
    list_tools_once,
    parse_response_id,
    record_request,
    request_difference,
    servers_with_listed_tools,
)
from antiphon.wires.openai.response_request import ResponseRequest
from antiphon.wires.openai.sent_items import SentItems, SentOutput, require_outputs


class StartPoint(NamedTuple):
    """The point in a thread at which a response begins.

    Without a `thread`, the response begins a new one. `run` is a run of the thread that waits for
    outputs, or is about to continue. With `is_copy`, the thread has moved on or must not be
    changed: the response begins in a copy of it up to `reply`. With `expected_messages`, the
    response continues another one, and the thread must still have that number of messages when it
    begins. `listed` are the MCP servers whose tools were listed before.
    """

    thread: Thread | None = None
    run: Run | None = None
    reply: Message | None = None
    is_copy: bool = False
    expected_messages: int | None = None
    listed: frozenset[str] = frozenset()


async def find_response(
    api: CallerApi, id: str, unstored_in: Collection[str] = ()
) -> tuple[Run, int]:
    """Return the run of a response, and its place there. Raises `NotFound`.

    A response that is not stored is found in the threads `unstored_in` alone.
    """
    parsed = parse_response_id(id)
    if parsed is not None:
        run = await api.ask(GetRun(parsed[0]))
        request = record_request(run, parsed[1])
        is_found = run.thread_id in unstored_in or (request or {}).get("store") is not False
        if request is not None and is_found:
            return run, parsed[1]
    raise NotFound(f"Response with id '{id[:128]}' not found.", where="$.response_id")


async def find_start_point(
    api: CallerApi, request: ResponseRequest, unstored_in: Collection[str] = ()
) -> StartPoint:
    """Find where the request's response begins. Raises `InvalidRequest` and `NotFound`.

    The request may continue a response that is not stored if its thread is in `unstored_in`.
    """
    if request.previous_response_id is not None:
        return await _after_response(api, request, unstored_in)
    if request.conversation_id is None:
        return StartPoint()
    thread_id = parse_conversation_id(request.conversation_id)
    if thread_id is None:
        raise NotFound(f"Conversation with id '{request.conversation_id[:128]}' not found.")
    try:
        thread = await api.ask(GetThread(thread_id))
    except NotFound as error:
        raise NotFound(f"Conversation with id '{request.conversation_id}' not found.") from error
    newest = (await api.ask(ListRuns(thread.id, 1))).data
    run = newest[0] if newest else None
    listed = servers_with_listed_tools(run)
    if not request.is_stored:
        reply = await _last_message(api, thread)
        return StartPoint(thread, reply=reply, is_copy=True, listed=listed)
    return StartPoint(thread, None if run is None or run.status.ended else run, listed=listed)


async def _after_response(
    api: CallerApi, request: ResponseRequest, unstored_in: Collection[str]
) -> StartPoint:
    response_id = request.previous_response_id or ""
    try:
        run, place = await find_response(api, response_id, unstored_in)
        thread = await api.ask(GetThread(run.thread_id))
    except NotFound as error:
        raise PreviousResponseNotFound(
            f"Previous response with id '{response_id[:128]}' not found.",
            where="$.previous_response_id",
        ) from error
    last = await _last_message(api, thread)
    is_latest = place == len(response_records(run)) - 1 and (
        last is None
        or last.run_id == run.id
        or last.number <= run.messages_before + response_records(run)[0].messages
    )
    active = not run.status.ended
    if is_latest and active and run.status is Status.IN_PROGRESS:
        raise _busy_error(run)
    if is_latest and thread.temporary is not request.is_stored:
        waiting = run if active else None
        return StartPoint(
            thread,
            waiting,
            expected_messages=thread.messages,
            listed=servers_with_listed_tools(run),
        )
    reply = await _last_reply(api, run, place)
    return StartPoint(thread, reply=reply, is_copy=True, listed=servers_with_listed_tools(run))


async def _last_reply(api: CallerApi, run: Run, place: int) -> Message | None:
    """Return the last message of a run's response at this place."""
    records = response_records(run)
    turn = records[place + 1].turn if place + 1 < len(records) else run.turn
    while turn > records[place].turn:
        if reply := await find_reply(api, run, turn):
            return reply
        turn -= 1  # a turn without a reply
    number = run.messages_before + records[0].messages
    listed = await api.list_all(ListMessages(run.thread_id, PAGE))
    return next((each for each in reversed(listed) if each.number <= number), None)


async def _last_message(api: CallerApi, thread: Thread) -> Message | None:
    return next(iter((await api.ask(ListMessages(thread.id, 1, order="newest"))).data), None)


# Begin.


class NewResponse(NamedTuple):
    """A response to begin.

    `operation` starts its run, without messages; `sent` is the input of the request, and `request`
    the fields of it that the response's record keeps.
    """

    operation: Process
    sent: SentItems
    request: Mapping[str, Any]
    is_stored: bool


OpenTurn = Callable[
    [Process | Complete, Mapping[str, Any], int | None], Awaitable[tuple[Run, RunEventReader]]
]
"""Begins a turn: operation, fields for the response's record, number of expected messages."""


async def begin_response(
    api: CallerApi,
    start: StartPoint,
    new_response: NewResponse,
    open_turn: OpenTurn,
) -> tuple[Run, RunEventReader]:
    """Begin the response; return its run and a reader of its events. Raises `CallerError`."""
    request = list_tools_once(new_response.request, start.listed | new_response.sent.listed)
    new_response = new_response._replace(request=request)
    sent, operation = new_response.sent, new_response.operation
    require_outputs(sent)
    if start.run is not None and start.thread is not None:
        return await _continue_run(api, start, start.run, new_response, open_turn)
    if start.is_copy and start.thread is not None:
        operation = await _copy_thread(api, start.thread, start.reply, new_response)
    else:
        _refuse_unknown(sent)
        operation = replace(operation, thread_id=start.thread.id if start.thread else None)
        operation = replace(
            operation, temporary=start.thread is None and not new_response.is_stored
        )
    history = (*operation.history, *await api.keep_files(sent.messages))
    if operation.thread_id is None and not history:
        raise MissingParameter(
            "Missing required parameter: `input`.",
            expected="input with a message, or a conversation that has one",
            received="neither",
            where="$.input",
        )
    operation = replace(operation, history=history)
    return await open_turn(operation, new_response.request, start.expected_messages)


async def _continue_run(
    api: CallerApi,
    start: StartPoint,
    run: Run,
    new_response: NewResponse,
    open_turn: OpenTurn,
) -> tuple[Run, RunEventReader]:
    """Answer the calls of a run that waits for them, and go on."""
    sent, operation = new_response.sent, new_response.operation
    if run.status is Status.IN_PROGRESS:
        raise _busy_error(run)
    actions = await api.list_all(ListActions(run.id, limit=PAGE))
    outputs = await _find_outputs(api, sent, {each.tool_call_id: each for each in actions})
    waiting = [each.tool_call_id for each in actions if each.awaited]
    missing = [each for each in waiting if each not in {out.tool_call_id for out in outputs}]
    if missing and (outputs or not sent.messages):
        raise InvalidRequest(
            f"No tool output found for function call {missing[0]}.",
            expected="an output, or an answer, for each: " + ", ".join(missing)[:500],
            where="$.input",
        )
    await api.submit_outputs(run.id, outputs)
    goes_on = not sent.messages and (
        bool(sent.approvals) or (_asks_for_same(run, operation) and run.turn < run.max_turns)
    )
    if goes_on:
        difference = request_difference(run, new_response.request)
        return await open_turn(Complete(run.id), difference, None)
    if sent.approvals:
        raise InvalidRequest(
            "A message cannot come with the answer whether a tool may be called.",
            expected="mcp_approval_response items alone",
            hint="Send the message with the response after that.",
            where="$.input",
        )
    history = tuple(await api.keep_files(sent.messages))
    operation = replace(operation, thread_id=run.thread_id, history=history, if_busy="interrupt")
    return await open_turn(operation, new_response.request, start.expected_messages)


def _asks_for_same(run: Run, operation: Process) -> bool:
    """Return whether a run has what the request asks for, so that it can simply go on.

    A call can be forced in the first turn of a run alone.
    """
    if operation.sampling is not None and operation.sampling.forces_call:
        return False
    return (
        run.assistant_id == operation.assistant_id
        and operation.model in (None, run.model)
        and run.instructions == operation.instructions
        and run.tools == operation.tools
        and run.mcp_servers == operation.mcp_servers
        and run.sampling == operation.sampling
    )


async def _find_outputs(
    api: CallerApi, sent: SentItems, actions: Mapping[str, Action]
) -> list[NewToolOutput]:
    """Return the outputs and approvals of the request for these actions."""
    found: list[NewToolOutput] = []
    for output in sent.outputs:
        action = actions.get(output.call_id)
        if action is None or action.runs_on == "server":
            raise _unknown_call(output)
        found.append(NewToolOutput(output.call_id, join_text(output.message.message.content)))
    for answer in sent.approvals:
        call_id = await _find_approved_call(api, answer.request_id)
        action = actions.get(call_id)
        if action is None or action.approval is None:
            raise InvalidRequest(
                f"No approval request found with id {answer.request_id[:128]}.",
                expected="the id of an item mcp_approval_request",
                where=answer.where,
            )
        found.append(NewToolOutput(call_id, answer.approval.to_output()))
    return found


async def _find_approved_call(api: CallerApi, request_id: str) -> str:
    """Return the id of the call that an approval was asked for."""
    parsed = parse_item_id(to_stored_item_id(request_id))
    if parsed is None or parsed.place is None:
        return request_id
    try:
        reply = await api.ask(GetMessage(parsed.message_id))
    except NotFound:
        return request_id
    calls = reply.tool_calls
    return calls[parsed.place].id if parsed.place < len(calls) else request_id


# Copies.


async def _copy_thread(
    api: CallerApi, thread: Thread, reply: Message | None, new_response: NewResponse
) -> Process:
    """Return the run in a copy of the thread up to this reply, with the outputs of its calls."""
    operation, sent = new_response.operation, new_response.sent
    if reply is None:
        _refuse_unknown(sent)
        return replace(operation, temporary=not new_response.is_stored)
    if reply.tool_calls:
        last = reply.number + len(reply.tool_calls)
        listing = ListMessages(reply.thread_id, PAGE, reply.id)
        found, _ = await api.list_some(listing, len(reply.tool_calls))
        stored = {each.tool_call_id: each for each in found if each.number <= last}
        outputs = _outputs_of(reply, stored, sent)
        ending = (to_past_message(reply), *outputs)
    else:
        _refuse_unknown(sent)
        ending = (to_past_message(reply),)
    if not new_response.is_stored:
        listed = await api.list_all(ListMessages(thread.id, PAGE))
        before = [to_past_message(each) for each in listed if each.number < reply.number]
        return replace(operation, history=(*before, *ending), temporary=True)
    if not reply.tool_calls:
        fork = await api.ask(ForkThread(thread.id, reply.id, temporary=False))
        return replace(operation, thread_id=fork.id)
    if reply.number == 1:
        return replace(operation, history=ending)
    fork = await api.ask(ForkThread(thread.id, reply.id, before=True, temporary=False))
    return replace(operation, thread_id=fork.id, history=ending)


def _outputs_of(
    reply: Message, stored: Mapping[str | None, Message], sent: SentItems
) -> Sequence[PastMessage]:
    """Return an output for each call of the reply: of the request, or as it is stored."""
    given = {output.call_id: output for output in sent.outputs}
    called = {call.id for call in reply.tool_calls}
    for call_id, output in given.items():
        if call_id not in called:
            raise _unknown_call(output)
    outputs: list[PastMessage] = []
    for call in reply.tool_calls:
        if call.id in given:
            outputs.append(given[call.id].message.message)
        elif call.id in stored:
            outputs.append(to_past_message(stored[call.id]))
        elif not given:
            cancelled = PastMessage(CANCELLED, "tool", tool_call_id=call.id, is_error=True)
            outputs.append(cancelled)
        else:
            raise InvalidRequest(
                f"No tool output found for function call {call.id}.", where="$.input"
            )
    return outputs


# Errors.


def _refuse_unknown(sent: SentItems) -> None:
    """Raise `InvalidRequest` for outputs of calls that are not there."""
    for output in sent.outputs:
        raise _unknown_call(output)
    for answer in sent.approvals:
        raise InvalidRequest(
            f"No approval request found with id {answer.request_id[:128]}.",
            expected="a previous_response_id or conversation in which it waits",
            where=answer.where,
        )


def _unknown_call(output: SentOutput) -> InvalidRequest:
    return InvalidRequest(
        f"No tool call found for function call output with call_id {output.call_id}.",
        expected="the call_id of a call that waits for its output",
        received=output.call_id,
        hint="Name the response with the call as previous_response_id, or send the call too.",
        where=output.where,
    )


def _busy_error(run: Run) -> RunActive:
    return RunActive(
        "Another response of this conversation is in progress.",
        hint="Wait for its end, or cancel it.",
        run_id=run.id,
        run_status=run.status.value,
    )
