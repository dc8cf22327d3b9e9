"""`POST /openai/v1/responses`: begins a response, and answers with it or with its events.

A response that is stored goes on when its reader leaves, and can be read again: see
`stored_responses`. With `store: false` the run works in a temporary thread, which is deleted with
the answer.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple

from starlette.datastructures import Headers

from antiphon.api.operations import Complete, Process
from antiphon.engine.snapshot import IdempotencyKey
from antiphon.mcp.metadata import model_tool_name
from antiphon.runtime.event_reader import RunEventReader
from antiphon.server.caller_api import CallerApi
from antiphon.server.gateway import Gateway
from antiphon.server.openai.answer_headers import name_ignored, name_run
from antiphon.server.openai.models import ModelNames
from antiphon.server.openai.pictures import pages_with_pictures
from antiphon.server.openai.response_memory import Lane, find_lane
from antiphon.server.openai.response_reader import make_head, response_records
from antiphon.server.openai.response_threads import NewResponse, begin_response, find_start_point
from antiphon.server.openai.run_tools import HOSTED_TOOLS
from antiphon.server.openai.thread_items import ThreadItems
from antiphon.server.requests import (
    Field,
    RequestContext,
    idempotency_key,
    send_response,
)
from antiphon.server.streaming import HEADERS
from antiphon.telemetry.logs import log_context
from antiphon.types import events
from antiphon.types.errors import AntiphonError, BadSettings, InvalidRequest, RunActive
from antiphon.types.events import RunStatus
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import Assistant, Run, Sampling, Status
from antiphon.wires.framing import json_line
from antiphon.wires.openai import response_request
from antiphon.wires.openai.chat_request import list_ignored_fields
from antiphon.wires.openai.errors import Body, Envelope, status_and_envelope
from antiphon.wires.openai.hosted_tools import HostedTarget, make_hosted_record, parse_hosted_tools
from antiphon.wires.openai.input_items import parse_items, replace_references
from antiphon.wires.openai.output_pictures import move_pictures
from antiphon.wires.openai.response_object import ResponseHead, response_object
from antiphon.wires.openai.response_request import ResponseRequest
from antiphon.wires.openai.response_stream import ResponseFold, ResponseFrames
from antiphon.wires.openai.response_tools import read_tool_choice, read_tools, repeat_tool
from antiphon.wires.openai.sent_items import read_items

ATTEMPTS = 3
"""Times that a response is begun while other requests continue the same one."""
ROUTE = "POST /openai/v1/responses"
NO_RETRY: Field = (b"x-should-retry", b"false")
"""Keeps openai-python from repeating a request whose messages are stored by now."""
STYLE_HEADER = "antiphon-server-tools"
"""Header that says how calls which the server runs are shown: `function_call` or `mcp_call`."""


class Started(NamedTuple):
    """A response that has begun, and the reader of its events."""

    api: CallerApi
    head: ResponseHead
    reader: RunEventReader


class ResponseEncoder:
    """Encodes a run's log as the events of one response."""

    def __init__(self, frames: ResponseFrames, headers: Sequence[Field]) -> None:
        self.headers: Sequence[Field] = [*HEADERS, *headers]
        self._frames = frames

    def encode(self, first: int, lines: Sequence[bytes]) -> bytes:
        """Return the frames of these events."""
        return b"".join([self._frames.encode(events.decode(line)) for line in lines])

    def close(self) -> bytes:
        """Return the frame that ends the stream."""
        return self._frames.close()


class Responses:
    """Answers requests that create responses."""

    def __init__(self, gateway: Gateway, names: ModelNames) -> None:
        self._gateway = gateway
        self._names = names
        self._targets = parse_hosted_tools(gateway.settings.hosted_tools)

    async def create(self, context: RequestContext) -> None:
        """Answer `POST /responses`."""
        body = await self._gateway.read_body(context)
        fields = self._gateway.parse_object(context, body)
        request = response_request.parse_response_request(fields)
        api = self._gateway.api(context)
        lane = find_lane(context.scope)
        if lane is not None:
            request = lane.complete(request)
            if fields.get("generate") is False:
                await self._prepare(context, api, request, lane, len(body))
                return
        key = idempotency_key(context.scope)
        once = None
        if key is not None and request.is_stored:
            digest = blake2b(body, digest_size=32).digest()
            once = IdempotencyKey(api.owner, ROUTE, key, digest)
        starting = self._start(context, api, request, once)
        try:
            started = await self._gateway.start_run(context, api, starting)
        except BaseException:
            if lane is not None:
                await lane.forget(request.previous_response_id)
            raise
        head = started.head
        headers: list[Field] = []
        if request.is_stored:
            headers = [*name_run(head.thread_id, head.run_id), NO_RETRY]
        headers += name_ignored(list_ignored_fields(fields, response_request.FIELDS))
        with log_context(run_id=head.run_id):
            try:
                await self._answer(context, request, started, headers)
            finally:
                if lane is not None and not request.is_stored:
                    await lane.keep(started.head, api)
                elif not request.is_stored:
                    self._gateway.delete_later(api.delete_run(started.head.run_id))

    async def _prepare(
        self,
        context: RequestContext,
        api: CallerApi,
        request: ResponseRequest,
        lane: Lane,
        size: int,
    ) -> None:
        """Answer a request over a WebSocket that asks for no output: the next one continues it."""
        new_response = await self._read(context, api, request)
        await find_start_point(api, request, lane.unstored_in)
        head = ResponseHead(
            id=lane.memory.prepare(request, size),
            run_id="",
            thread_id="",
            created_at=int(time.time()),
            request=new_response.request,
        )
        body = ResponseFrames(head).encode(RunStatus("", "", Status.COMPLETED))
        await context.respond(200, body, b"text/event-stream")

    async def _start(
        self,
        context: RequestContext,
        api: CallerApi,
        request: ResponseRequest,
        once: IdempotencyKey | None,
    ) -> Started:
        by = context.caller.principal
        if once is not None:
            known = await self._gateway.dispatcher.find_response(once, by)
            if known is not None:
                return await _start_reading(api, *known)
        new_response = await self._read(context, api, request)
        open_turn = partial(self._open_turn, context, once)
        lane = find_lane(context.scope)
        unstored_in = () if lane is None else lane.unstored_in
        for _ in range(ATTEMPTS):
            start = await find_start_point(api, request, unstored_in)
            try:
                begun = await begin_response(api, start, new_response, open_turn)
            except RunActive:
                # Another request has continued the same response: this one does it in a fork.
                if start.expected_messages is None:
                    raise
                await api.delete_files()
            else:
                if request.model is not None and new_response.operation.assistant_id is None:
                    self._names.remember_model(request.model, by)
                return await _start_reading(api, *begun)
        raise RunActive("Other requests continue the same response. Ask again.")

    async def _open_turn(
        self,
        context: RequestContext,
        once: IdempotencyKey | None,
        operation: Process | Complete,
        request: Mapping[str, Any],
        expected_messages: int | None,
    ) -> tuple[Run, RunEventReader]:
        by = context.caller.principal
        return await self._gateway.dispatcher.open_response(
            operation, by, request, once, expected_messages
        )

    async def _read(
        self, context: RequestContext, api: CallerApi, request: ResponseRequest
    ) -> NewResponse:
        """Return what the request asks for. Raises `CallerError`."""
        name = request.model or (request.prompt.id if request.prompt else "")
        assistant = await self._names.find_assistant(name, context.caller.principal)
        if request.prompt is not None:
            assistant = await self._find_prompt(context, request.prompt.id)
        items = parse_items([] if request.input is None else request.input, "input")
        found = await ThreadItems(api).find_references(items)
        items = replace_references(items, found, "input")
        operation, repeated = _run_fields(request, assistant, self._targets)
        if style := _style(context):
            repeated["server_tools"] = style
        sent = move_pictures(read_items(items, "input"))
        return NewResponse(operation, sent, repeated, request.is_stored)

    async def _find_prompt(self, context: RequestContext, name: str) -> Assistant:
        found = await self._names.find_assistant(name, context.caller.principal)
        if found is None:
            raise BadSettings(
                f"Prompt with id '{name}' not found.",
                expected="the name or id of one of your assistants",
                where="$.prompt.id",
            )
        return found

    # Answers.

    async def _answer(
        self,
        context: RequestContext,
        request: ResponseRequest,
        started: Started,
        headers: Sequence[Field],
    ) -> None:
        if request.stream:
            encoder = ResponseEncoder(ResponseFrames(started.head), headers)
            pages = pages_with_pictures(started.api, started.head.hosted, started.reader)
            await self._gateway.connections.send_pages(context, pages, encoder)
        elif request.background:
            state = ResponseFold(started.head).state
            await context.respond_json(200, response_object(started.head, state), headers)
        else:
            work = _send_whole(context, started, headers)
            await self._gateway.connections.run_while_connected(context, work)


async def _start_reading(api: CallerApi, run: Run, reader: RunEventReader) -> Started:
    """Return a response of the run that the reader is at the beginning of."""
    records = response_records(run)
    place = next(at for at, each in enumerate(records) if each.after == reader.after)
    return Started(api, await make_head(api, run, place), reader)


async def _send_whole(context: RequestContext, started: Started, headers: Sequence[Field]) -> None:
    """Send the whole response once it is over."""
    fold = ResponseFold(started.head)
    try:
        reader = pages_with_pictures(started.api, started.head.hosted, started.reader)
        async with aclosing(reader.pages()) as pages:
            async for _, lines in pages:
                for line in lines:
                    fold.feed(events.decode(line))
    except AntiphonError as error:
        await send_failure(context, status_and_envelope(error), headers)
        return
    if fold.failure is not None:
        await send_failure(context, fold.failure, headers)
    elif not fold.ended:
        message = "The connection ends before the answer does. Retrieve the response."
        cut = Envelope(Body(message, "server_error", code="cut"))
        await send_failure(context, (503, cut), headers)
    else:
        await context.respond_json(200, response_object(started.head, fold.state), headers)


async def send_failure(
    context: RequestContext, failure: tuple[int, Envelope], headers: Sequence[Field]
) -> None:
    """Send an error of a response that has begun."""
    status, envelope = failure
    await send_response(context.send, status, json_line(envelope), b"application/json", headers)


def _style(context: RequestContext) -> str | None:
    """Return how the caller wants calls shown that run here. Raises `InvalidRequest`."""
    style = Headers(scope=context.scope).get(STYLE_HEADER)
    if style not in (None, "function_call", "mcp_call"):
        raise InvalidRequest(
            f"The header {STYLE_HEADER} says nothing that is known here.",
            expected="function_call or mcp_call",
            received=style[:100],
        )
    return style


def _run_fields(
    request: ResponseRequest, assistant: Assistant | None, targets: Mapping[str, HostedTarget]
) -> tuple[Process, dict[str, Any]]:
    """Return the run that the request asks for, without messages, and what its response repeats."""
    tools = read_tools(request.tools, targets)
    choice = read_tool_choice(request.tool_choice, targets, model_tool_name)
    specs: tuple[ToolSpec, ...] = tools.specs or ()
    if tools.specs is None and assistant is not None:
        specs = assistant.tools
    if choice.allowed is not None:
        specs = tuple(tool for tool in specs if tool.name in choice.allowed)
    sampling = response_request.sampling(request, choice.tool_choice)
    if sampling == Sampling() and assistant is not None:
        sampling = assistant.sampling
    # A prompt may come with a model of its own; else the model's name is that of the assistant.
    names_model = assistant is None or request.model not in (None, assistant.name, assistant.id)
    texts = [assistant.instructions if assistant else None, request.instructions]
    servers = {server.name: server for server in (assistant.mcp_servers if assistant else ())}
    servers |= {server.name: server for server in tools.servers or ()}
    operation = Process(
        model=request.model if names_model else None,
        assistant_id=None if assistant is None else assistant.id,
        instructions="\n\n".join(filter(None, texts)) or None,
        personal=False,
        tools=specs,
        mcp_servers=tuple(servers.values()),
        sampling=sampling,
        max_tool_calls=response_request.max_tool_calls(request),
        metadata=request.metadata or {},
    )
    repeated = response_request.select_repeated_fields(request)
    if request.tools:
        repeated["tools"] = [repeat_tool(tool) for tool in request.tools]
    if tools.hosted:
        repeated[HOSTED_TOOLS] = make_hosted_record(tools.hosted, targets)
    if request.model is None and assistant is not None:
        repeated["model"] = assistant.name or assistant.id
    return operation, repeated
