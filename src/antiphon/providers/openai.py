"""Every server that speaks OpenAI's chat completions: the hot path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from antiphon.chunks import Chunk, Question
from antiphon.errors import Disconnected, ProviderProtocol
from antiphon.messages import ToolSpec
from antiphon.providers.complaints import Redactor
from antiphon.providers.history import accepted
from antiphon.providers.http import Endpoint
from antiphon.providers.reply import PLAIN, Quirks, Reply
from antiphon.runs import Sampling

TAIL_SECONDS = 2.0  # for usage and late pieces, which some servers send after the finish reason
LINGER_SECONDS = 0.02  # for the end of the answer after [DONE], so that the connection is kept


class OpenAI:
    """One server, by its base URL, with or without a key."""

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        *,
        key_header: str | None = None,
        quirks: Quirks = PLAIN,
        backoff_seconds: float = 0.5,
    ) -> None:
        self._quirks = quirks
        self._redact = Redactor(key)
        self._endpoint = Endpoint(
            base_url, _auth(key, key_header), self._redact, backoff_seconds=backoff_seconds
        )

    async def stream(self, question: Question) -> AsyncGenerator[Sequence[Chunk], None]:
        """The reply, as it comes."""
        reply = Reply(self._quirks, self._redact)
        body = payload(question, self._quirks)
        async with aclosing(self._endpoint.post("chat/completions", body)) as pieces:
            async for piece in pieces:
                chunks = reply.feed(piece) if piece else []
                if chunks is not None:
                    yield chunks
                reply.check()
                if reply.finished:
                    break
            else:
                yield reply.close()
                reply.check()
                return
            async with aclosing(_tail(pieces, reply)) as late:
                async for chunks in late:
                    yield chunks

    async def models(self) -> Sequence[str]:
        """The names the server lists."""
        body = await self._endpoint.get("models")
        try:
            listed = msgspec.json.decode(body, type=_Models)
        except msgspec.DecodeError as error:
            raise ProviderProtocol(
                f"The list of models cannot be read: {self._redact.sample(body)}."
            ) from error
        return [model.id for model in listed.data]

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()


def payload(question: Question, quirks: Quirks) -> bytes:
    """The request. The conversation goes in as bytes, in what differs as this server takes it."""
    fields: dict[str, Any] = {"model": question.model, "stream": True}
    if quirks.stream_options:
        fields["stream_options"] = {"include_usage": True}
    if question.tools:
        fields["tools"] = [_tool(spec) for spec in question.tools]
    fields.update(_sampling(question.sampling, question.tools, quirks))
    messages = accepted(question.messages, question.instructions, quirks)
    return _encode(fields)[:-1] + b',"messages":[' + messages + b"]}"


async def _tail(
    pieces: AsyncGenerator[bytes, None], reply: Reply
) -> AsyncGenerator[list[Chunk], None]:
    """What follows the terminal marker, for a little while: the reply is whole without it."""
    clock = asyncio.get_running_loop().time
    until = clock() + TAIL_SECONDS
    while True:
        if reply.done:
            until = min(until, clock() + LINGER_SECONDS)
        try:
            async with asyncio.timeout_at(until):
                piece = await anext(pieces)
        except (StopAsyncIteration, TimeoutError, Disconnected):
            break
        if not reply.done and (chunks := reply.feed(piece)):
            yield chunks
    yield reply.close()
    reply.check()


def _auth(key: str | None, header: str | None) -> dict[str, str]:
    if key is None:
        return {}
    return {header: key} if header else {"Authorization": f"Bearer {key}"}


def _tool(spec: ToolSpec) -> dict[str, Any]:
    return {"type": "function", "function": msgspec.to_builtins(spec)}


def _sampling(sampling: Sampling, tools: Sequence[ToolSpec], quirks: Quirks) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(sampling)
    renamed = {"max_output_tokens": quirks.max_tokens, "seed": quirks.seed}
    for ours, theirs in renamed.items():
        if ours in fields:
            fields[theirs] = fields.pop(ours)
    if not tools:
        # Servers refuse a choice among no tools.
        fields.pop("tool_choice", None)
        fields.pop("parallel_tool_calls", None)
    elif any(spec.name == sampling.tool_choice for spec in tools):
        fields["tool_choice"] = {"type": "function", "function": {"name": sampling.tool_choice}}
    return fields


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


_encode = msgspec.json.Encoder().encode
