"""`POST /responses/input_tokens` and `/responses/compact`: a context counted, and summarized.

Both take the input of a response, and what it continues, and begin no response.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from antiphon.api.operations import ListMessages, ListModels, NewMessage, Process
from antiphon.client.compaction import INSTRUCTIONS, CompactionPlan, SummaryReader
from antiphon.engine.context_window import tokens
from antiphon.ports import quiet
from antiphon.runtime.event_reader import RunEventReader
from antiphon.server.caller_api import PAGE, CallerApi
from antiphon.server.gateway import Gateway
from antiphon.server.openai.models import ModelNames
from antiphon.server.openai.response_threads import find_start_point
from antiphon.server.openai.thread_items import ThreadItems
from antiphon.server.requests import RequestContext
from antiphon.types import events
from antiphon.types.errors import InvalidRequest
from antiphon.types.events import RunStatus
from antiphon.types.messages import (
    File,
    Image,
    Message,
    Text,
    ToolCall,
    parts,
    to_chat_completions,
)
from antiphon.types.runs import Assistant, Usage
from antiphon.wires.openai import items as kinds
from antiphon.wires.openai.chat_request import SentMessage
from antiphon.wires.openai.hosted_tools import parse_hosted_tools
from antiphon.wires.openai.input_items import parse_items, replace_references
from antiphon.wires.openai.items import Item, Opaque, encode_opaque
from antiphon.wires.openai.response_object import usage_object
from antiphon.wires.openai.response_request import ResponseRequest, parse_response_request
from antiphon.wires.openai.response_tools import read_tools
from antiphon.wires.openai.sent_items import read_items
from antiphon.wires.openai.stored_items import to_items

PICTURE_TOKENS = 1_000
"""Counted for a picture or a file, whose real number only the model knows."""


class ReadContext(NamedTuple):
    """The messages that a response would read, and what was asked about them."""

    api: CallerApi
    request: ResponseRequest
    assistant: Assistant | None
    messages: Sequence[Message]


class ResponseContexts:
    """Answers questions about the context of a response."""

    def __init__(self, gateway: Gateway, names: ModelNames) -> None:
        self._gateway = gateway
        self._names = names
        self._targets = parse_hosted_tools(gateway.settings.hosted_tools)

    async def count_tokens(self, context: RequestContext) -> None:
        """Answer `POST /responses/input_tokens` with an estimate."""
        read = await self._read(context, needs_model=False)
        count = sum(map(_count_tokens, read.messages))
        own = read.assistant.instructions if read.assistant else None
        for text in filter(None, (own, read.request.instructions)):
            count += tokens(len(text.encode()))
        for tool in read_tools(read.request.tools, self._targets).specs or ():
            count += tokens(len(msgspec.json.encode(tool)))
        answer = {"object": "response.input_tokens", "input_tokens": count}
        await context.respond_json(200, answer)

    async def compact(self, context: RequestContext) -> None:
        """Answer `POST /responses/compact` with the user's messages and a summary of the rest."""
        read = await self._read(context, needs_model=True)
        if not read.messages:
            raise InvalidRequest(
                "There is nothing to compact.",
                expected="input, or a previous_response_id",
                where="$.input",
            )
        summary, usage = await self._summarize(context, read)
        kept = [each for each in read.messages if each.role == "user"]
        compaction = kinds.CompactionItem(
            id=f"cmp_{kept[-1].id.partition('_')[2] if kept else '0'}",
            encrypted_content=encode_opaque(Opaque(summary=summary)),
        )
        output: list[Item] = [*to_items(kept), compaction]
        answer = {
            "id": f"resp_{compaction.id}",
            "object": "response.compaction",
            "created_at": int(time.time()),
            "output": output,
            "usage": usage_object(usage),
        }
        await context.respond_json(200, answer)

    async def _read(self, context: RequestContext, *, needs_model: bool) -> ReadContext:
        fields = await self._gateway.read_object(context)
        request = parse_response_request(fields, needs_model=needs_model)
        api = self._gateway.api(context)
        assistant = None
        name = request.prompt.id if request.prompt else request.model
        if name is not None:
            assistant = await self._names.find_assistant(name, context.caller.principal)
        items = parse_items([] if request.input is None else request.input, "input")
        found = await ThreadItems(api).find_references(items)
        items = replace_references(items, found, "input")
        sent = read_items(items, "input")
        stored = await _load_messages(api, request)
        added = [*(output.message for output in sent.outputs), *sent.messages]
        return ReadContext(api, request, assistant, [*stored, *_number(added, len(stored))])

    async def _summarize(self, context: RequestContext, read: ReadContext) -> tuple[str, Usage]:
        """Return a summary of the messages that the model has written, part by part.

        The model is asked no more once the client has left or its key is revoked.
        """
        model = read.request.model
        if read.assistant is not None:
            model = read.assistant.model
        models = (await read.api.ask(ListModels(model=model))).data if model else ()
        plan = CompactionPlan("", read.messages, 0, models)
        summary, usage = "", Usage()
        while (question := plan.next_question()) is not None:
            reader = SummaryReader(plan.progress, quiet)
            await self._gateway.connections.check_admitted(context.caller)
            summary = await self._ask(context, read, question, model, reader)
            plan.add_summary(summary, reader.usage)
            usage += reader.usage
        return summary, usage

    async def _ask(
        self,
        context: RequestContext,
        read: ReadContext,
        question: str,
        model: str | None,
        reader: SummaryReader,
    ) -> str:
        texts = [INSTRUCTIONS, read.request.instructions]
        operation = Process(
            message=NewMessage(question),
            model=model,
            instructions="\n\n".join(filter(None, texts)),
            temporary=True,
        )
        turn = await self._gateway.start_run(context, read.api, read.api.open_turn(operation))
        try:
            return await self._gateway.connections.run_while_connected(
                context, _read_summary(turn, reader)
            )
        finally:
            self._gateway.delete_later(read.api.delete_run(turn.run_id))


async def _read_summary(turn: RunEventReader, reader: SummaryReader) -> str:
    last: RunStatus | None = None
    async with aclosing(turn.pages()) as pages:
        async for _, lines in pages:
            for event in map(events.decode, lines):
                reader.add(event)
                last = event if isinstance(event, RunStatus) else last
    if last is None:
        return reader.summary(None, None, None)
    return reader.summary(last.status, last.reason, last.error)


async def _load_messages(api: CallerApi, request: ResponseRequest) -> list[Message]:
    """Return the stored messages that the request continues."""
    start = await find_start_point(api, replace(request, store=False))
    if start.thread is None:
        return []
    listed = await api.list_all(ListMessages(start.thread.id, PAGE))
    last = start.reply.number if start.reply else 0
    return [each for each in listed if each.number <= last]


def _number(sent: Sequence[SentMessage], before: int) -> list[Message]:
    """Return messages of a request as those of a thread."""
    return [
        Message(
            id=f"msg_{number}",
            thread_id="",
            number=number,
            role=each.message.role,
            content=parts(each.message.content),
            tool_calls=tuple(
                ToolCall(call.id, call.name, call.arguments) for call in each.message.tool_calls
            ),
            tool_call_id=each.message.tool_call_id,
            reasoning=each.message.reasoning,
            metadata=each.message.metadata,
            created_at=0,
        )
        for number, each in enumerate(sent, before + 1)
    ]


def _count_tokens(message: Message) -> int:
    """Estimate the tokens of a message."""
    pictures = sum(isinstance(part, Image | File) for part in message.content)
    text = tuple(part for part in message.content if isinstance(part, Text))
    written = to_chat_completions(replace(message, content=text))
    return tokens(len(written)) + pictures * PICTURE_TOKENS
