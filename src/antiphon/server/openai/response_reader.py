"""Reads responses from stored runs, messages, actions and events: heads, states, input items."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from antiphon.api.operations import GetMessage, ListActions, ListEvents, ListMessages
from antiphon.mcp.metadata import tool_name_prefix
from antiphon.server.caller_api import PAGE, CallerApi
from antiphon.server.openai.pictures import load_picture
from antiphon.server.openai.run_tools import read_hosted_run
from antiphon.types.errors import EventExpired, NotFound
from antiphon.types.ids import reply_id
from antiphon.types.messages import Message
from antiphon.types.runs import Action, ResponseRecord, Run, Status, Usage
from antiphon.wires.openai.hosted_tools import HostedRun
from antiphon.wires.openai.item_builders import name_in_namespace, select_fields
from antiphon.wires.openai.items import (
    CustomToolCallOutput,
    FunctionCallOutput,
    Item,
    McpApprovalResponse,
    is_custom,
)
from antiphon.wires.openai.response_object import (
    CarriedCall,
    ResponseHead,
    ResponseState,
    has_mcp_items,
    record_request,
    response_id,
)
from antiphon.wires.openai.response_stream import INCOMPLETE_REASONS, ResponseFold, error_object
from antiphon.wires.openai.response_tools import read_namespaces
from antiphon.wires.openai.stored_items import index_actions, to_items


async def make_head(
    api: CallerApi, run: Run, place: int, include: Collection[str] = ()
) -> ResponseHead:
    """Return the head of a run's response at this place; `include` adds to the request's own."""
    record = response_records(run)[place]
    request: Mapping[str, Any] = record_request(run, place) or {}
    if include:
        request = {**request, "include": sorted({*(request.get("include") or ()), *include})}
    client_tools = frozenset(tool.name for tool in run.tools)
    carried = await _find_carried_calls(api, run, record.turn, client_tools)
    tools: Sequence[Mapping[str, Any]] = request.get("tools") or ()
    return ResponseHead(
        id=response_id(run.id, place),
        run_id=run.id,
        thread_id=run.thread_id,
        created_at=record.created_at // 1000,
        request=request,
        turn=record.turn,
        client_tools=client_tools,
        custom_tools=frozenset(tool.name for tool in run.tools if is_custom(tool)),
        namespaces=read_namespaces(tools),
        servers={tool_name_prefix(server.name): server for server in run.mcp_servers},
        mcp_items=has_mcp_items(request),
        carried=carried,
        hosted=await _read_hosted_tools_before(api, run, record.turn),
    )


def response_records(run: Run) -> Sequence[ResponseRecord]:
    """Return the records of a run's responses, deleted ones too."""
    return () if run.responses is msgspec.UNSET else run.responses


async def _find_carried_calls(
    api: CallerApi, run: Run, turn: int, client_tools: frozenset[str]
) -> Mapping[str, CarriedCall]:
    """Return the calls of this turn's reply that the backend runs in the response after it."""
    if not turn or not run.mcp_servers:
        return {}
    reply = await find_reply(api, run, turn)
    if reply is None:
        return {}
    actions = await api.list_all(ListActions(run.id, limit=PAGE))
    asked = {action.tool_call_id for action in actions if action.approval is not None}
    return {
        call.id: CarriedCall(reply.id, place, call.name, call.arguments, call.id in asked)
        for place, call in enumerate(reply.tool_calls)
        if call.name not in client_tools
    }


async def _read_hosted_tools_before(api: CallerApi, run: Run, turn: int) -> HostedRun:
    """Return the hosted tools of a run, with what was found before its turn after this one."""
    hosted = await read_hosted_run(api, run)
    if not hosted.sources or not turn:
        return msgspec.structs.replace(hosted, sources=())
    reply = await find_reply(api, run, turn)
    last = reply.number if reply else 0
    sources = [each for each in hosted.sources if each.number < last]
    return msgspec.structs.replace(hosted, sources=sources)


async def find_reply(api: CallerApi, run: Run, turn: int) -> Message | None:
    """Return the reply of a run in this turn; None for a turn without one."""
    try:
        return await api.ask(GetMessage(reply_id(run.id, turn)))
    except NotFound:  # an import may have given it another id
        replies = _replies(await api.list_all(ListMessages(run.thread_id, PAGE, run_id=run.id)))
        return replies[turn - 1] if 0 < turn <= len(replies) else None


def _replies(listed: Sequence[Message]) -> list[Message]:
    """Return the replies of a run, one for each turn; only the last may have none."""
    return [message for message in listed if message.role == "assistant"]


async def read_state(api: CallerApi, head: ResponseHead, run: Run, place: int) -> ResponseState:
    """Return a response as far as it has come: from its events, or from what was stored."""
    fold = ResponseFold(head)
    after = response_records(run)[place].after
    try:
        while not fold.ended:
            page = await api.ask(ListEvents(run.id, after))
            for logged in page.data:
                await load_picture(api, head.hosted, logged.event)
                fold.feed(logged.event)
                after = logged.number
            if not page.data:
                break
    except EventExpired:
        return await _rebuild_state(api, head, run, place)
    return fold.state


# After retention.


async def _rebuild_state(api: CallerApi, head: ResponseHead, run: Run, place: int) -> ResponseState:
    """Return a response whose events are past retention, from messages and actions."""
    records = response_records(run)
    is_last = place == len(records) - 1
    listed = await api.list_all(ListMessages(run.thread_id, PAGE, run_id=run.id))
    replies = _replies(listed)[records[place].turn : None if is_last else records[place + 1].turn]
    messages = _with_outputs(listed, {reply.id for reply in replies})
    actions = await api.list_all(ListActions(run.id, limit=PAGE))
    items = to_items(
        messages,
        index_actions(actions),
        custom_tools=head.custom_tools,
        mcp_items=head.mcp_items,
        hosted={run.id: await read_hosted_run(api, run)},
    )
    run_here = {each.tool_call_id for each in actions if each.runs_on == "server"}
    output = [
        select_fields(name_in_namespace(item, head.namespaces), head.include)
        for item in items
        if _is_output(item, run_here)
    ]
    last = replies[-1] if replies else None
    state = ResponseState(
        status="completed",
        output=output,
        usage=run.usage if len(records) == 1 else Usage(),
        completed_at=last.created_at // 1000 if last else None,
    )
    if not is_last or (last is not None and _hands_off(last, actions)):
        return state
    return _end_state(run, state)


def _hands_off(reply: Message, actions: Sequence[Action]) -> bool:
    """Return whether the client had to run or to approve a call of this reply."""
    calls = {call.id for call in reply.tool_calls}
    return any(
        action.tool_call_id in calls and (action.runs_on == "client" or action.approval is not None)
        for action in actions
    )


def _with_outputs(listed: Sequence[Message], replies: set[str]) -> list[Message]:
    """Return these replies, each with the outputs of its calls."""
    found: list[Message] = []
    calls: set[str] = set()
    for message in listed:
        if message.role == "assistant":
            calls = {call.id for call in message.tool_calls} if message.id in replies else set()
        if message.id in replies or message.tool_call_id in calls:
            found.append(message)
    return found


def _is_output(item: Item, run_here: set[str]) -> bool:
    """Return whether the item is the response's own, and not the next request's."""
    match item:
        case McpApprovalResponse():
            return False
        case FunctionCallOutput(call_id=call_id) | CustomToolCallOutput(call_id=call_id):
            return call_id in run_here
        case _:
            return True


def _end_state(run: Run, state: ResponseState) -> ResponseState:
    change = msgspec.structs.replace
    match run.status:
        case Status.COMPLETED:
            return change(state, status="completed")
        case Status.INCOMPLETE:
            reason = INCOMPLETE_REASONS.get(run.reason, str(run.reason))
            return change(state, status="incomplete", incomplete_reason=reason)
        case Status.EXPIRED:
            return change(state, status="incomplete", incomplete_reason="expired")
        case Status.CANCELLED:
            return change(state, status="cancelled")
        case Status.FAILED if run.error is not None:
            return change(state, status="failed", error=error_object(run.error))
        case _:
            return change(state, status="in_progress")


# Items.


async def input_items(api: CallerApi, head: ResponseHead, run: Run, place: int) -> Sequence[Item]:
    """Return the items of the request for this response, in order."""
    record = response_records(run)[place]
    if not record.turn:
        first, last = run.messages_before, run.messages_before + record.messages
        listed = await api.list_all(ListMessages(run.thread_id, PAGE))
        return to_items([each for each in listed if first < each.number <= last])
    listed = await api.list_all(ListMessages(run.thread_id, PAGE, run_id=run.id))
    before = _replies(listed)[record.turn - 1 : record.turn]
    actions = await api.list_all(ListActions(run.id, limit=PAGE))
    items = to_items(
        _with_outputs(listed, {reply.id for reply in before}),
        index_actions(actions),
        custom_tools=head.custom_tools,
        mcp_items=head.mcp_items,
        hosted={run.id: head.hosted},
    )
    run_here = {each.tool_call_id for each in actions if each.runs_on == "server"}
    return [item for item in items if not _is_output(item, run_here)]
