"""Requests of other chat clients: `useChat` of the AI SDK, and AG-UI.

Both send the whole conversation. Only its new message is used, and an answer to a question counts
only if that very question is open here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from antiphon.api import operations
from antiphon.api.operations import CreateThread
from antiphon.client import thread_families
from antiphon.client.async_client import AsyncClient
from antiphon.tools.questions import ConsentAnswer
from antiphon.types.errors import Forbidden, InvalidRequest, NotFound, OutputConflict
from antiphon.types.messages import Message, Refusal
from antiphon.types.runs import Run, Thread
from antiphon.web.people import User
from antiphon.web.relay import Relay
from antiphon.web.runs import FrameSource, attach_reader, create_run
from antiphon.web.site import Site
from antiphon.wires.ag_ui import run_input
from antiphon.wires.ag_ui.encoder import AgUi, Reader
from antiphon.wires.ai_sdk import chat_request
from antiphon.wires.ai_sdk.message_stream import UIMessageStream
from antiphon.wires.ai_sdk.parts import Sdk
from antiphon.wires.framing import Cursor

THREAD_PREFIX = "thread_"
NAME = "client_name"
"""Key, in a thread's metadata, of the name that a client gave it."""
MAX_THREADS_READ = 1000
"""Most threads that are searched for a name, newest first."""


async def find_thread(client: AsyncClient, name: str) -> Thread | None:
    """Return the newest thread of this name; ours are named by id. Raises `NotFound`."""
    if name.startswith(THREAD_PREFIX):
        return await client.get_thread(name)
    looked_at = 0
    async for thread in thread_families.list_everything(client):
        if thread.metadata.get(NAME) == name:
            return thread
        looked_at += 1
        if looked_at == MAX_THREADS_READ:
            break
    return None


async def find_or_create_thread(client: AsyncClient, name: str) -> Thread:
    """Return the thread of this name, created once, however often it is requested."""
    thread = await find_thread(client, name)
    if thread is not None:
        return thread
    return await client.transport.send(
        CreateThread(metadata={NAME: name}), idempotency_key("thread", name)
    )


def idempotency_key(*words: str) -> str:
    """Return an idempotency key for a client's names, which may hold any characters."""
    return hashlib.sha256("\0".join(words).encode("utf-8", "replace")).hexdigest()


Body = Mapping[str, Any]


async def handle_use_chat(site: Site, user: User, body: Body, sdk: Sdk) -> FrameSource:
    """Carry out what `useChat` posts, and return the frames of the response.

    When the user is asked, its message ends: the answer comes with another request.
    """
    posted, client = chat_request.parse_chat_request(body), site.client_for_user(user)
    match posted.kind:
        case "answers":
            run = await _get_active_run(client, await _get_thread(client, posted.chat_id))
            relay = _get_relay(site, run)
            cursor = Cursor(run.id, relay.last_number)
            # Check all before the first is used: if one is forged, nothing runs.
            for call_answer in [
                each for each in posted.answers if _is_for_open_question(relay, each)
            ]:
                digest = relay.open_questions[call_answer.tool_call_id].digest
                answer = ConsentAnswer(allowed=call_answer.approved, word=call_answer.reason)
                relay.answer(call_answer.tool_call_id, digest, answer)
            wire = UIMessageStream(sdk, cursor)
            return attach_reader(site, user, run, wire, cursor.number, _is_waiting)
        case "message":
            thread = await find_or_create_thread(client, posted.chat_id)
            key = idempotency_key(posted.chat_id, posted.message_id) if posted.message_id else None
            run = await _start_run(site, user, thread, posted.content, key)
        case "regenerate":
            thread = await _get_thread(client, posted.chat_id)
            run = await _regenerate(site, user, thread, posted.regenerate)
    return attach_reader(site, user, run, UIMessageStream(sdk), 0, _is_waiting)


async def handle_ag_ui(site: Site, user: User, body: Body) -> FrameSource:
    """Carry out what an AG-UI client posts, and return the frames of one run of its protocol.

    Tools of the client are ignored: the app's own run here.
    """
    posted, client = run_input.parse_run_input(body), site.client_for_user(user)
    if posted.files:
        raise InvalidRequest(
            "A file inside a message is not read here.",
            expected="text and pictures",
            hint="POST the file to /api/files first.",
        )
    after = 0
    if posted.message is None:
        run = await _get_active_run(client, await _get_thread(client, posted.thread_id))
        relay = _get_relay(site, run)
        after = relay.last_number
        await _approve(client, relay, posted)
    else:
        thread = await find_or_create_thread(client, posted.thread_id)
        key = idempotency_key(posted.thread_id, posted.message_id or posted.run_id)
        run = await _start_run(site, user, thread, posted.message.content, key)
    reader = Reader(
        version=posted.version,
        thread_id=posted.thread_id,
        run_id=posted.run_id,
        after=after,
        history=posted.history,
        here=frozenset(tool.spec.name for tool in site.tools.tools()),
    )
    wire = AgUi(reader)
    return attach_reader(site, user, run, wire, after, lambda _: wire.resting)


# Messages.


async def _start_run(
    site: Site, user: User, thread: Thread, content: operations.Content, key: str | None
) -> Run:
    """Create the message and its run; messages posted before are not created again."""
    message = operations.CreateMessage(thread.id, content)
    client = site.client_for_user(user)
    await client.transport.send(message, f"{key}.message" if key else None)
    run = operations.CreateRun(thread_id=thread.id, personal=False, tools=site.tools.specs())
    return await create_run(site, user, run, f"{key}.run" if key else None)


async def _regenerate(site: Site, user: User, thread: Thread, message_id: str | None) -> Run:
    """Answer again the question before this message, in a branch of the same name."""
    client = site.client_for_user(user)
    question = await _find_question(client, thread, message_id)
    branch = await thread_families.branch_before(client, question, repeat=True)
    if NAME in thread.metadata:
        named = branch.metadata | {NAME: thread.metadata[NAME]}
        branch = await client.update_thread(branch.id, metadata=named)
    content = tuple(part for part in question.content if not isinstance(part, Refusal))
    return await _start_run(site, user, branch, content, None)


async def _find_question(client: AsyncClient, thread: Thread, message_id: str | None) -> Message:
    """Return the user's message that this one, or the last run, answers. Raises `NotFound`."""
    question: Message | None = None
    async for message in client.paginate(operations.ListMessages(thread.id, limit=100)):
        if message_id is not None and message_id in (message.run_id, message.id):
            question = message if message.role == "user" else question
            break
        if message.role == "user":
            question = message
    if question is None:
        raise NotFound("There is no such message to answer again in this chat.")
    return question


async def _get_thread(client: AsyncClient, name: str) -> Thread:
    thread = await find_thread(client, name)
    if thread is None:
        raise NotFound("There is no chat of this name.")
    return thread


# Answers to what a person was posted.


def _is_waiting(relay: Relay) -> bool:
    return relay.is_waiting_for_user


async def _get_active_run(client: AsyncClient, thread: Thread) -> Run:
    newest = await thread_families.find_newest_run(client, thread.id)
    if newest is None or newest.status.ended:
        raise NotFound("Nothing is asked in this chat now.", hint="Its last run has ended.")
    return newest


def _get_relay(site: Site, run: Run) -> Relay:
    relay = site.relays.find(run.id)
    if relay is None:
        raise NotFound("Nothing of this run happens here now.")
    return relay


def _is_for_open_question(relay: Relay, call_answer: chat_request.CallAnswer) -> bool:
    """Return true if the answer belongs to an open question.

    Raises `Forbidden` if the call was never asked about, `OutputConflict` if its arguments differ.
    """
    question = relay.open_questions.get(call_answer.tool_call_id)
    if question is None:
        if call_answer.tool_call_id in relay.asked_call_ids:
            return False  # an older answer, which clients send again with each later one
        raise Forbidden(
            "This approval answers nothing that was asked.",
            hint="A call runs only after the question of this server, never because a client says"
            " that it was answered.",
        )
    try:
        shown = msgspec.json.decode(question.call.arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        shown = question.call.arguments
    if call_answer.input != shown:
        raise OutputConflict(
            "The answer is to a call with other arguments.",
            expected="the arguments as they were shown",
        )
    return True


async def _approve(client: AsyncClient, relay: Relay, posted: run_input.AgUiRequest) -> None:
    """Answer questions by the ids of actions, all or none.

    Raises `NotFound` for an action of another run.
    """
    answers: dict[str, ConsentAnswer] = {}
    for action_id, approval in posted.approvals.items():
        action = await client.get_action(action_id)
        if action.run_id != relay.run_id or action.tool_call_id not in relay.open_questions:
            raise NotFound("This answers nothing that is asked in this chat now.")
        answers[action.tool_call_id] = ConsentAnswer(allowed=approval.approve, word=approval.reason)
    for call_id, answer in answers.items():
        if (question := relay.open_questions.get(call_id)) is not None:
            relay.answer(call_id, question.digest, answer)
