"""`/openai/v1/chat/completions`: a run in a thread that is not kept, or in one that is named.

By default nothing is kept but usage: the run works in a temporary thread, which is deleted with the
answer. With `Antiphon-Thread: ID` the conversation is kept in that thread, with
`X-OpenWebUI-Chat-Id` in the thread of that chat: a request that continues what is stored appends,
any other continues in a fork. A run in a kept thread goes on when its reader leaves.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import NamedTuple

from msgspec.structs import replace
from starlette.datastructures import Headers

from antiphon.api.operations import (
    Complete,
    NewToolOutput,
    Process,
)
from antiphon.engine.validation import validate_past_messages
from antiphon.runtime.event_reader import RunEventReader
from antiphon.server.caller_api import CallerApi
from antiphon.server.gateway import Gateway
from antiphon.server.openai.answer_headers import name_ignored, name_run
from antiphon.server.openai.chat_threads import continue_thread, find_thread
from antiphon.server.openai.models import ModelNames
from antiphon.server.openai.pages import ApprovedPages, HeldPages, hold_until_answer
from antiphon.server.openai.run_tools import name_hosted_calls
from antiphon.server.requests import Field, RequestContext, send_response
from antiphon.server.streaming import HEADERS
from antiphon.telemetry.logs import log_context
from antiphon.types import events
from antiphon.types.errors import InvalidRequest
from antiphon.types.messages import ToolSpec, join_text
from antiphon.types.runs import Approval, Assistant, McpServer, Sampling, Thread
from antiphon.wires.framing import json_line
from antiphon.wires.openai import chat_request
from antiphon.wires.openai.chat_request import CompletionRequest, SentMessage
from antiphon.wires.openai.chat_stream import ChatAnswer, ChatChunks, Reply
from antiphon.wires.openai.hosted_tools import (
    WEB_SEARCH,
    HostedCalls,
    make_hosted_record,
    parse_hosted_tools,
)

UNASKABLE = "It needs a person's approval, which nobody can give here. Do not try it again."


class ChatEncoder:
    """Encodes a run's log as chunks of Chat Completions."""

    def __init__(self, chunks: ChatChunks, headers: Sequence[Field]) -> None:
        self.headers: Sequence[Field] = [*HEADERS, *headers]
        self._chunks = chunks

    def encode(self, first: int, lines: Sequence[bytes]) -> bytes:
        """Return the chunks of these events."""
        return b"".join([self._chunks.encode(events.decode(line)) for line in lines])

    def close(self) -> bytes:
        """Return the frames that end the stream."""
        return self._chunks.close()


class ChatCompletions:
    """Answers requests for chat completions."""

    def __init__(self, gateway: Gateway, names: ModelNames) -> None:
        self._gateway = gateway
        self._names = names
        self._targets = parse_hosted_tools(gateway.settings.hosted_tools)

    async def create(self, context: RequestContext) -> None:
        """Answer `POST /chat/completions`."""
        fields = await self._gateway.read_object(context)
        request = chat_request.parse_chat_request(fields)
        api = self._gateway.api(context)
        starting = self._start(context, api, request)
        started = await self._gateway.start_run(context, api, starting)
        thread = started.thread
        headers = [] if thread is None else name_run(thread.id, started.pages.run_id)
        headers += name_ignored(chat_request.list_ignored_fields(fields))
        with log_context(run_id=started.pages.run_id):
            try:
                if request.stream:
                    await self._send_chunks(context, request, started, headers)
                else:
                    work = self._send_completion(context, started, headers)
                    await self._gateway.connections.run_while_connected(context, work)
            finally:
                if started.thread is None:
                    self._gateway.delete_later(api.delete_run(started.pages.run_id))

    async def _start(
        self, context: RequestContext, api: CallerApi, request: CompletionRequest
    ) -> _Started:
        assistant = await self._names.find_assistant(request.model, context.caller.principal)
        sent = chat_request.past_messages(request)
        instructions = _count_instructions(sent)
        searches = chat_request.search_servers(request, self._targets)
        call = _run_fields(request, assistant, sent[:instructions], searches)
        named = await find_thread(api, Headers(scope=context.scope), streams=bool(request.stream))
        thread = None
        if named is None:
            validate_past_messages([each.message for each in sent], "messages")
            history = tuple(await api.keep_files(sent[instructions:]))
            reader = await api.open_turn(replace(call, history=history, temporary=True))
        else:
            thread, reader = await continue_thread(api, named, sent[instructions:], call)
        if assistant is None:
            self._names.remember_model(request.model, context.caller.principal)
        name = f"chatcmpl-{reader.run_id.partition('_')[2]}"
        tools = call.tools if call.tools is not None else assistant.tools if assistant else ()
        return _Started(
            ApprovedPages(reader, lambda run_id, calls: _refuse(api, run_id, calls)),
            Reply(name, int(time.time()), request.model),
            frozenset(tool.name for tool in tools),
            thread,
            name_hosted_calls(make_hosted_record([WEB_SEARCH] if searches else (), self._targets)),
        )

    async def _send_chunks(
        self,
        context: RequestContext,
        request: CompletionRequest,
        started: _Started,
        headers: Sequence[Field],
    ) -> None:
        """Send a stream; an error before the answer has begun is a response of its own."""
        pages = HeldPages(started.pages)
        async with aclosing(pages):
            await self._gateway.connections.run_while_connected(context, hold_until_answer(pages))
            answer = ChatAnswer(started.reply, started.client_tools, hosted=started.hosted)
            for line in pages.held_lines:
                answer.feed(events.decode(line))
            if answer.failure is not None and not answer.has_begun:
                await _send_failure(context, answer, started, headers)
                return
            chunks = ChatChunks(
                started.reply,
                started.client_tools,
                hosted=started.hosted,
                include_usage=request.include_usage,
            )
            await self._gateway.connections.send_pages(context, pages, ChatEncoder(chunks, headers))

    async def _send_completion(
        self, context: RequestContext, started: _Started, headers: Sequence[Field]
    ) -> None:
        """Send the whole answer."""
        tools, hosted = started.client_tools, started.hosted
        answer = ChatAnswer(started.reply, tools, hosted=hosted, whole=True)
        async with aclosing(started.pages.pages()) as pages:
            async for _, lines in pages:
                for line in lines:
                    answer.feed(events.decode(line))
        if answer.failure is not None or not answer.ended:
            await _send_failure(context, answer, started, headers)
        else:
            await context.respond_json(200, answer.completion(), headers)


class _Started(NamedTuple):
    """A run that was started, and what its answer needs; `thread` is None if it is not kept.

    `hosted` are the hosted tools that the request asked for.
    """

    pages: ApprovedPages
    reply: Reply
    client_tools: frozenset[str]
    thread: Thread | None
    hosted: HostedCalls


async def _refuse(api: CallerApi, run_id: str, tool_call_ids: Sequence[str]) -> RunEventReader:
    """Refuse calls that need approval, since nobody can be asked, and continue the run."""
    refusal = Approval(approve=False, reason=UNASKABLE).to_output()
    outputs = [NewToolOutput(call_id, refusal) for call_id in tool_call_ids]
    await api.submit_outputs(run_id, outputs)
    return await api.open_turn(Complete(run_id))


def _run_fields(
    request: CompletionRequest,
    assistant: Assistant | None,
    instructions: Sequence[SentMessage],
    servers: Sequence[McpServer],
) -> Process:
    """Return the run that the request asks for, without its messages.

    `servers` are added to the MCP servers of the assistant.
    """
    if servers and assistant is not None:
        known = {server.name for server in assistant.mcp_servers}
        servers = (*assistant.mcp_servers, *(each for each in servers if each.name not in known))
    tools: tuple[ToolSpec, ...] | None = chat_request.tool_specs(request)
    allowed = chat_request.find_allowed_tools(request)
    if tools is not None and allowed is not None:
        tools = tuple(tool for tool in tools if tool.name in allowed)
    texts = [join_text(each.message.content) for each in instructions]
    if assistant is not None and assistant.instructions and texts:
        texts.insert(0, assistant.instructions)
    sampling = chat_request.sampling(request)
    return Process(
        model=request.model if assistant is None else None,
        assistant_id=None if assistant is None else assistant.id,
        instructions="\n\n".join(texts) or None,
        personal=False,
        tools=tools,
        mcp_servers=tuple(servers) or None,
        sampling=None if sampling == Sampling() else sampling,
        metadata=request.metadata or {},
    )


def _count_instructions(sent: Sequence[SentMessage]) -> int:
    """Return how many system messages begin the request: they are the run's instructions."""
    for place, each in enumerate(sent):
        if each.message.role != "system":
            return place
    raise InvalidRequest(
        "There is nothing to answer.",
        expected="a message of another role than system or developer",
        where="$.messages",
    )


async def _send_failure(
    context: RequestContext, answer: ChatAnswer, started: _Started, headers: Sequence[Field]
) -> None:
    """Respond with the error of a run that gave no answer."""
    status, envelope = answer.failure or answer.cut
    # openai-python repeats what fails, and the messages of a kept thread are stored by now.
    kept = [] if started.thread is None else [(b"x-should-retry", b"false")]
    body = json_line(envelope)
    await send_response(context.send, status, body, b"application/json", [*headers, *kept])
