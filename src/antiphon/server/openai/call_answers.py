"""Answers to calls of a conversation: outputs, and approvals.

A call has one answer. The same again has no effect, and another is refused; the answer to a call
that waits goes to its run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple

from antiphon.api.operations import (
    CancelRun,
    ListActions,
    ListRuns,
    NewToolOutput,
)
from antiphon.server.caller_api import PAGE, CallerApi
from antiphon.server.openai.thread_items import ThreadItems
from antiphon.types.errors import CallerError, InvalidRequest, NotFound, OutputConflict, RunActive
from antiphon.types.messages import Message, Text, join_text, parts
from antiphon.types.runs import Action, Run, Status, Thread
from antiphon.wires.openai.items import (
    CustomToolCallOutput,
    FunctionCallOutput,
    Item,
    McpApprovalRequest,
    McpApprovalResponse,
)
from antiphon.wires.openai.object_ids import parse_item_id
from antiphon.wires.openai.output_pictures import move_pictures
from antiphon.wires.openai.sent_items import SentApproval, SentItems, SentOutput


class _Answer(NamedTuple):
    """The answer to a call, as its output is submitted."""

    call_id: str
    output: str
    sent: SentOutput | SentApproval


async def submit_answers(api: CallerApi, thread: Thread, sent: SentItems) -> list[Item]:
    """Submit outputs and approvals to the run that waits for them; return their items.

    If messages come with outputs, the run ends once its calls are answered, so that the messages
    can follow. Raises `InvalidRequest` for an answer to a call that is not there, and
    `OutputConflict` for a second, different one.
    """
    items = ThreadItems(api)
    answers = [
        _Answer(each.call_id, join_text(each.message.message.content), each)
        for each in sent.outputs
    ]
    answers += [await _read_approval(items, thread, each) for each in sent.approvals]
    run = await _active_run(api, thread)
    actions = await _actions_of(api, run)
    await _check_known(items, thread, [each for each in answers if each.call_id not in actions])
    given = [NewToolOutput(e.call_id, e.output) for e in answers if e.call_id in actions]
    _check_only_text([each for each in sent.outputs if each.call_id in actions])
    if run is not None and given:
        was_waiting = run.status is Status.ACTION_REQUIRED
        if sent.messages and was_waiting:
            _check_all_answered(actions, given, sent)
        await api.submit_outputs(run.id, given)
        if sent.messages and was_waiting:
            await api.ask(CancelRun(run.id))
    return await _items_of_answers(ThreadItems(api), thread, answers)


def refuse_answers(sent: SentItems) -> None:
    """Raise `InvalidRequest` for any answer: the conversation has no calls yet."""
    for output in sent.outputs:
        raise unknown_call_error(output)
    for approval in sent.approvals:
        raise unknown_call_error(approval)


def unknown_call_error(answer: SentOutput | SentApproval) -> InvalidRequest:
    """Return the error for an answer to a call that is not there."""
    if isinstance(answer, SentApproval):
        return InvalidRequest(
            f"No approval request found with id {answer.request_id}.",
            expected="the id of an item mcp_approval_request of this conversation",
            where=answer.where,
        )
    return InvalidRequest(
        f"No tool call found for function call output with call_id {answer.call_id}.",
        expected="an output of a call of this conversation, or of these items",
        received=answer.call_id,
        where=f"{answer.where}.call_id",
    )


async def busy_error(api: CallerApi, thread: Thread) -> CallerError:
    """Return the error for messages that cannot be added while the conversation has a run."""
    run = await _active_run(api, thread)
    if run is not None and run.status is Status.ACTION_REQUIRED:
        for action in (await _actions_of(api, run)).values():
            if action.awaited:
                return _missing_output_error(action)
    return RunActive(
        "Another response of this conversation is in progress.",
        hint="Wait for its end, or cancel it.",
    )


async def _active_run(api: CallerApi, thread: Thread) -> Run | None:
    newest = next(iter((await api.ask(ListRuns(thread.id, 1))).data), None)
    return None if newest is None or newest.status.ended else newest


async def _actions_of(api: CallerApi, run: Run | None) -> Mapping[str, Action]:
    if run is None:
        return {}
    listed = await api.list_all(ListActions(run.id, limit=PAGE))
    return {action.tool_call_id: action for action in listed}


async def _read_approval(items: ThreadItems, thread: Thread, sent: SentApproval) -> _Answer:
    """Return an approval as the output that it is submitted as."""
    try:
        item, group = await items.locate(sent.request_id, thread.id)
    except NotFound:
        raise unknown_call_error(sent) from None
    parsed = parse_item_id(sent.request_id)
    if not isinstance(item, McpApprovalRequest) or parsed is None or parsed.place is None:
        raise unknown_call_error(sent)
    call = group[0].tool_calls[parsed.place]
    return _Answer(call.id, sent.approval.to_output(), sent)


async def _check_known(items: ThreadItems, thread: Thread, answers: Sequence[_Answer]) -> None:
    """Raise unless each of these answers repeats one that the thread has."""
    if not answers:
        return
    known = await _find_groups(items, thread, {each.call_id for each in answers})
    for answer in answers:
        group = known.get(answer.call_id)
        if group is None:
            raise unknown_call_error(answer.sent)
        if isinstance(answer.sent, SentApproval):
            asked = answer.sent.request_id
            saved = [
                item.approve
                for item in await items.items_of(group)
                if isinstance(item, McpApprovalResponse) and item.approval_request_id == asked
            ]
            is_same = saved == [answer.sent.approval.approve]
        else:
            texts = [each.text for each in group if each.tool_call_id == answer.call_id]
            # An output that came with its call is stored without its pictures.
            (moved,) = move_pictures(SentItems((), (answer.sent,))).outputs
            is_same = texts in ([answer.output], [join_text(moved.message.message.content)])
        if not is_same:
            raise OutputConflict(
                f"Tool call {answer.call_id} already has another output.",
                expected="the output that was saved first, or none",
                received="a different output",
                where=answer.sent.where,
            )


def _check_only_text(outputs: Sequence[SentOutput]) -> None:
    """Raise `InvalidRequest` for pictures and files: a run takes text, and loses nothing."""
    for output in outputs:
        content = parts(output.message.message.content)
        if not all(isinstance(part, Text) for part in content):
            raise InvalidRequest(
                "An output with pictures or files goes to a response.",
                expected="text, where a run waits for the output",
                hint="Send it as input of a response in this conversation.",
                where=f"{output.where}.output",
            )


def _check_all_answered(
    actions: Mapping[str, Action], given: Sequence[NewToolOutput], sent: SentItems
) -> None:
    """Raise `InvalidRequest` unless messages can follow these answers."""
    answered = {output.tool_call_id for output in given}
    for action in actions.values():
        if action.awaited and action.tool_call_id not in answered:
            raise _missing_output_error(action)
    if sent.approvals:
        raise InvalidRequest(
            "A message cannot come with the answer whether a tool may be called.",
            expected="mcp_approval_response items alone",
            hint="Continue the run first, by a response.",
            where=sent.approvals[0].where,
        )


def _missing_output_error(action: Action) -> InvalidRequest:
    return InvalidRequest(
        f"No tool output found for function call {action.tool_call_id}.",
        expected="an output, or an approval, for each call that waits, before other items",
        where="$.items",
    )


async def _find_groups(
    items: ThreadItems, thread: Thread, call_ids: Collection[str]
) -> Mapping[str, Sequence[Message]]:
    """Return the newest reply with each of these calls, and the outputs after it."""
    found: dict[str, Sequence[Message]] = {}
    async with aclosing(items.groups(thread.id, descending=True)) as groups:
        async for group in groups:
            for call in group[0].tool_calls:
                if call.id in call_ids:
                    found.setdefault(call.id, group)
            if len(found) == len(call_ids):
                break
    return found


async def _items_of_answers(
    items: ThreadItems, thread: Thread, answers: Sequence[_Answer]
) -> list[Item]:
    groups = await _find_groups(items, thread, {each.call_id for each in answers})
    outputs: dict[str, Item] = {}
    for group in {id(group): group for group in groups.values()}.values():
        for item in await items.items_of(group):
            if isinstance(item, FunctionCallOutput | CustomToolCallOutput):
                outputs[item.call_id] = item
            elif isinstance(item, McpApprovalResponse):
                outputs[item.approval_request_id] = item
    keys = (
        each.sent.request_id if isinstance(each.sent, SentApproval) else each.call_id
        for each in answers
    )
    return [outputs[key] for key in keys if key in outputs]
