"""Provider for servers that speak OpenAI's chat completions: the hot path."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from antiphon.engine.turn import LARGE_BYTES
from antiphon.ports import TakeNow, take_none
from antiphon.providers.failures import Redactor
from antiphon.providers.history import adapt_history
from antiphon.providers.http import DEFAULT_LIMITS, Endpoint, HttpLimits, create_auth
from antiphon.providers.quirks import PLAIN, Quirks
from antiphon.providers.stream_parser import ChatCompletionsParser
from antiphon.telemetry.tracing import trace_headers
from antiphon.types.chunks import Chunk, ModelRequest
from antiphon.types.errors import Disconnected, ProviderProtocol
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import Sampling

TAIL_SECONDS = 2.0  # for usage and late pieces, which some servers send after the finish reason
LINGER_SECONDS = 0.02  # for the end of the response after [DONE], so that the connection is reused


class ChatCompletionsProvider:
    """Provider for one server, by its base URL, with or without a key.

    `models` is the path of the server's list of models, or their names if it has no list.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        *,
        key_header: str | None = None,
        key_parameter: str | None = None,
        quirks: Quirks = PLAIN,
        models: str | Sequence[str] = "models",
        limits: HttpLimits = DEFAULT_LIMITS,
        backoff_seconds: float = 0.5,
    ) -> None:
        self._quirks = quirks
        # Identifies the server without revealing its address to users.
        self._origin = hashlib.sha256(base_url.rstrip("/").encode()).hexdigest()[:16]
        self._models = models
        self._redact = Redactor(key)
        auth = create_auth(key, header=key_header, parameter=key_parameter)
        self._endpoint = Endpoint(
            base_url,
            auth,
            self._redact,
            limits=limits,
            backoff_seconds=backoff_seconds,
        )

    async def stream(
        self, request: ModelRequest, take_now: TakeNow = take_none
    ) -> AsyncGenerator[Sequence[Chunk], None]:
        """Stream the reply."""
        parser = ChatCompletionsParser(self._quirks, self._redact, origin=self._origin)
        body = payload(request, self._quirks, self._origin)
        untaken: list[list[Chunk]] = []

        def take(piece: bytes) -> bool:
            if parser.finished or parser.pending + len(piece) > LARGE_BYTES:
                return False
            chunks = parser.feed(piece)
            if chunks is None or not (parser.ended or not take_now(chunks)):
                return True
            untaken.append(chunks)
            return False

        async with aclosing(
            self._endpoint.post("chat/completions", body, trace_headers(request.trace), take)
        ) as pieces:
            try:
                async for piece in pieces:
                    if untaken:
                        chunks: list[Chunk] | None = untaken.pop()
                    else:
                        chunks = await feed_piece(parser, piece) if piece else []
                    if chunks is not None:
                        yield chunks
                    parser.check()
                    if parser.finished:
                        break
                else:
                    yield await _close(parser)
                    parser.check()
                    return
            except Disconnected:
                yield parser.flush()
                raise
            async with aclosing(_stream_tail(pieces, parser)) as late:
                async for chunks in late:
                    yield chunks

    async def models(self) -> Sequence[str]:
        """Return the names the server lists, except those that are not for chats."""
        if not isinstance(self._models, str):
            return self._models
        body = await self._endpoint.get(self._models)
        try:
            listed = msgspec.json.decode(body, type=_Models | list[_Model])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProviderProtocol(
                f"The list of models cannot be read: {self._redact.sample(body)}."
            ) from error
        models = listed.data if isinstance(listed, _Models) else listed
        return [model.id for model in models if model.chats]

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()


def payload(request: ModelRequest, quirks: Quirks, origin: str | None = None) -> bytes:
    """Return the request body; the conversation is adapted to the server as bytes.

    Opaque reasoning details go back only to the server they came from, `origin`.
    """
    streams = quirks.stream is True or (quirks.stream == "without_tools" and not request.tools)
    fields: dict[str, Any] = {"model": request.model, "stream": streams}
    if streams and quirks.stream_options:
        fields["stream_options"] = {"include_usage": True}
    if request.tools:
        fields["tools"] = [
            {"type": "function", "function": msgspec.to_builtins(spec)} for spec in request.tools
        ]
    fields.update(_encode_sampling(request.sampling, request.tools, quirks))
    messages = adapt_history(request.messages, request.instructions, quirks, origin)
    # A long thread is copied once.
    return b"".join((_encode(fields)[:-1], b',"messages":[', messages, b"]}"))


async def feed_piece(parser: ChatCompletionsParser, piece: bytes) -> list[Chunk] | None:
    """Feed the parser; in a thread if a large event may end, so that the event loop stays free."""
    if parser.pending + len(piece) > LARGE_BYTES:
        return await asyncio.to_thread(parser.feed, piece)
    return parser.feed(piece)


async def _close(parser: ChatCompletionsParser) -> list[Chunk]:
    if parser.pending > LARGE_BYTES:
        return await asyncio.to_thread(parser.close)
    return parser.close()


async def _stream_tail(
    pieces: AsyncGenerator[bytes, None], parser: ChatCompletionsParser
) -> AsyncGenerator[list[Chunk], None]:
    """Yield the chunks after the terminal marker, for a short time: the reply is already whole."""
    clock = asyncio.get_running_loop().time
    until = clock() + TAIL_SECONDS
    while True:
        if parser.done:
            until = min(until, clock() + LINGER_SECONDS)
        try:
            async with asyncio.timeout_at(until):
                piece = await anext(pieces)
        except (StopAsyncIteration, TimeoutError, Disconnected):
            break
        if not parser.done and (chunks := await feed_piece(parser, piece)):
            yield chunks
    yield await _close(parser)
    parser.check()


def _encode_sampling(
    sampling: Sampling, tools: Sequence[ToolSpec], quirks: Quirks
) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(sampling)
    renamed = {"max_output_tokens": quirks.max_tokens, "seed": quirks.seed}
    for ours, theirs in renamed.items():
        if ours in fields:
            fields[theirs] = fields.pop(ours)
    if not tools:
        # Servers refuse a choice among no tools.
        fields.pop("tool_choice", None)
        fields.pop("parallel_tool_calls", None)
    elif (name := sampling.chosen_tool) is not None:
        fields["tool_choice"] = {"type": "function", "function": {"name": name}}
    return fields


class _Model(msgspec.Struct):
    """A model in a list, with the ways in which lists tell what it is for."""

    id: str
    type: Any = None
    supports_chat: Any = None
    capabilities: Any = None
    architecture: Any = None

    @property
    def chats(self) -> bool:
        """True unless the list marks the model as unfit for chats."""
        match self:
            case _Model(type=str(kind)) if kind in _NO_CHAT:
                return False
            case _Model(supports_chat=False) | _Model(capabilities={"completion_chat": False}):
                return False
            case _Model(architecture={"output_modalities": [*given]}):
                return "text" in given
            case _:
                return True


class _Models(msgspec.Struct):
    data: list[_Model]


_NO_CHAT = frozenset(
    (
        "audio",
        "code",
        "embedding",
        "image",
        "language",
        "moderation",
        "rerank",
        "transcribe",
        "video",
    )
)


_encode = msgspec.json.Encoder().encode
