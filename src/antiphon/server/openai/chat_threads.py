"""Threads of Chat Completions: a conversation is kept where its caller names the thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from antiphon.api.operations import (
    Complete,
    CreateThread,
    ForkThread,
    GetThread,
    ListActions,
    ListMessages,
    ListRuns,
    ListThreads,
    NewToolOutput,
    Process,
)
from antiphon.api.threads import PastMessage
from antiphon.engine import sanitize
from antiphon.runtime.event_reader import RunEventReader
from antiphon.server.caller_api import PAGE, CallerApi
from antiphon.server.openai.answer_headers import THREAD_HEADER
from antiphon.types.errors import RunActive
from antiphon.types.messages import Message, join_text
from antiphon.types.runs import Run, Status, Thread
from antiphon.wires.openai.chat_request import SentMessage
from antiphon.wires.openai.continuation import find_continuation

OPEN_WEBUI_HEADER = "x-openwebui-chat-id"
OPEN_WEBUI_CHAT = "openwebui_chat"
"""Metadata key of a thread with the id of its chat in Open WebUI."""

_NOT_KEPT = ("local:", "channel:")
"""Beginnings of the ids of chats that Open WebUI itself does not keep: temporary ones, channels."""


class NamedThread(NamedTuple):
    """The thread that a request names, and whether it forks while a run is in progress there.

    A chat of Open WebUI may ask several models at once, and asks again after it stopped reading.
    """

    thread: Thread
    forks_if_busy: bool = False


async def find_thread(
    api: CallerApi, headers: Mapping[str, str], *, streams: bool
) -> NamedThread | None:
    """Return the thread that a request's headers name; None if they name none.

    `streams` is whether the request asks for a stream: Open WebUI asks for titles and tags without
    one, under the id of the chat. Raises `NotFound`.
    """
    thread_id = headers.get(THREAD_HEADER)
    if thread_id is not None:
        return NamedThread(await api.ask(GetThread(thread_id)))
    chat_id = headers.get(OPEN_WEBUI_HEADER)
    if not chat_id or not streams or chat_id.startswith(_NOT_KEPT):
        return None
    mark = {OPEN_WEBUI_CHAT: sanitize.validate_idempotency_key(chat_id)}
    for thread in (await api.ask(ListThreads(limit=1, metadata=mark))).data:
        return NamedThread(thread, forks_if_busy=True)  # a fork is newer than its origin
    thread = await api.create(CreateThread(metadata=mark), Thread, chat_id)
    return NamedThread(thread, forks_if_busy=True)


async def continue_thread(
    api: CallerApi, named: NamedThread, sent: Sequence[SentMessage], operation: Process
) -> tuple[Thread, RunEventReader]:
    """Add what is new of a conversation to its thread, and run `operation` there.

    Return the thread, which is a fork where the conversation is not the stored one, and the reader
    of the events. Raises `RunActive` if a run is in progress in a thread that does not fork then.
    """
    thread = named.thread
    stored = await api.list_all(ListMessages(thread.id, PAGE))
    runs = await api.list_all(ListRuns(thread.id, PAGE))
    client_tools = {run.id: frozenset(tool.name for tool in run.tools) for run in runs}
    found = find_continuation(stored, sent, client_tools)
    active = next((run for run in runs if not run.status.ended), None)
    busy = active is not None and active.status is not Status.ACTION_REQUIRED
    if found.forks or (busy and named.forks_if_busy):
        thread, active = await _fork(api, thread, stored, found.kept), None
    elif active is not None and busy:
        raise RunActive(
            f"Thread {thread.id} is busy with run {active.id} ({active.status.value}).",
            hint="Wait for its answer, or cancel it.",
        )
    new = await api.keep_files(sent[found.matched :])
    if active is not None:
        new = await _answer_calls(api, active, new)
        if not new and _asks_for_same(active, operation):
            return thread, await api.open_turn(Complete(active.id))
        operation = replace(operation, if_busy="interrupt")
    operation = replace(operation, history=tuple(new))
    try:
        return thread, await api.open_turn(replace(operation, thread_id=thread.id))
    except RunActive:  # another request of the chat came first
        if not named.forks_if_busy:
            raise
        thread = await _fork(api, thread, stored, found.kept)
        return thread, await api.open_turn(replace(operation, thread_id=thread.id))


async def _fork(api: CallerApi, thread: Thread, stored: Sequence[Message], kept: int) -> Thread:
    """Return a new thread with the messages up to number `kept`."""
    if not kept:
        return await api.ask(CreateThread(title=thread.title, metadata=thread.metadata))
    last = next(message for message in stored if message.number == kept)
    return await api.ask(ForkThread(thread.id, last.id))


async def _answer_calls(api: CallerApi, run: Run, new: Sequence[PastMessage]) -> list[PastMessage]:
    """Submit the outputs with which `new` begins; return the messages after them."""
    listing = ListActions(run.id, status="pending", limit=PAGE)
    waiting = {action.tool_call_id for action in await api.list_all(listing)}
    outputs: list[NewToolOutput] = []
    for message in new:
        call_id = message.tool_call_id
        if call_id is None or call_id not in waiting:
            break
        outputs.append(NewToolOutput(call_id, join_text(message.content)))
    await api.submit_outputs(run.id, outputs)
    return list(new[len(outputs) :])


def _asks_for_same(run: Run, operation: Process) -> bool:
    """Return whether a run has what this request asks for, so that it can simply go on.

    A call can be forced in the first turn of a run alone.
    """
    if operation.sampling is not None and operation.sampling.forces_call:
        return False
    same_model = run.assistant_id == operation.assistant_id and operation.model in (None, run.model)
    same_tools = operation.tools is None or tuple(run.tools) == operation.tools
    same_words = operation.instructions in (None, run.instructions)
    return same_model and same_tools and same_words and operation.sampling in (None, run.sampling)
