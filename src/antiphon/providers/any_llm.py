"""Adapter for further vendors through Mozilla's any-llm: converts requests and replies.

Opaque data of a vendor stays with the tool call that it came with: Gemini's signature of a call,
and Anthropic's signed reasoning before a call.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Any, cast

import msgspec
from any_llm import AnyLLM
from any_llm.exceptions import (
    AnyLLMError,
    AuthenticationError,
    ContentFilterError,
    ContextLengthExceededError,
    InsufficientFundsError,
    InvalidRequestError,
    MissingApiKeyError,
    ModelNotFoundError,
    RateLimitError,
    UnsupportedParameterError,
)
from any_llm.types.completion import ChatCompletionChunk, ChoiceDelta
from any_llm.utils.aio import aclose_quietly

from antiphon.engine.sanitize import sanitize_text, sanitize_value
from antiphon.ports import TakeNow, take_none
from antiphon.providers.chat_completions import payload
from antiphon.providers.cited_pages import read_annotations, read_page_lists
from antiphon.providers.failures import Redactor, error_text, retry, retry_after
from antiphon.providers.servers import Vendor
from antiphon.providers.usage import parse_usage
from antiphon.types.chunks import (
    CallPiece,
    Chunk,
    CitationsPiece,
    Finish,
    ModelRequest,
    ReasoningPiece,
    RefusalPiece,
    TextPiece,
    UsagePiece,
)
from antiphon.types.errors import (
    AntiphonError,
    BadSettings,
    Disconnected,
    ProviderAuth,
    ProviderError,
    ProviderProtocol,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)
from antiphon.types.json_values import object_or_empty
from antiphon.types.messages import Citation

Chunks = AsyncIterable[ChatCompletionChunk]
Ask = Callable[[], Awaitable[Chunks]]
Said = dict[str, Any]

CANCEL_SECONDS = 5.0  # that a library has to end after a cancellation
MAX_UNREAD = 256  # chunks of a reply that are read ahead of their consumer
UNREAD_SECONDS = 0.005  # between two checks whether they have been consumed


class AnyLlmProvider:
    """Provider for one vendor, by any-llm's name for it."""

    def __init__(
        self,
        name: str,
        vendor: Vendor,
        key: str | None = None,
        *,
        base_url: str | None = None,
        backoff_seconds: float = 0.5,
    ) -> None:
        self._name = name
        self._vendor = vendor
        self._redact = Redactor(key)
        self._backoff_seconds = backoff_seconds
        self._library = self._create_client(key, base_url)

    async def stream(
        self, request: ModelRequest, take_now: TakeNow = take_none
    ) -> AsyncGenerator[Sequence[Chunk], None]:
        """Stream the reply."""
        alive: Sequence[Chunk] = ()
        pages = retry(
            lambda: self._once(request),
            alive,
            backoff_seconds=self._backoff_seconds,
            retries=self._vendor.retries,
        )
        async with aclosing(pages):
            async for page in pages:
                yield page

    async def models(self) -> Sequence[str]:
        """Return the names the vendor lists; empty if it lists none."""
        if not self._library.SUPPORTS_LIST_MODELS:
            return []
        try:
            return [model.id for model in await self._library.alist_models()]
        except Exception as error:  # the libraries of many vendors: whatever one raises
            raise self._translate_error(error, begun=False) from error

    async def close(self) -> None:
        """Close the vendor's connections."""
        client = getattr(self._library, "client", None)
        await aclose_quietly(getattr(client, "aio", client))

    async def _once(self, request: ModelRequest) -> AsyncGenerator[Sequence[Chunk], None]:
        arguments = request_arguments(request, self._vendor)
        reply = AnyLlmParser()
        begun = False
        try:
            async with aclosing(self._request_chunks(arguments)) as chunks:
                async for chunk in chunks:
                    begun = True
                    yield reply.feed(chunk)
        except Exception as error:  # the libraries of many vendors: whatever one raises
            raise self._translate_error(error, begun) from error

    def _request_chunks(
        self, arguments: dict[str, Any]
    ) -> AsyncGenerator[ChatCompletionChunk, None]:
        def ask() -> Awaitable[Chunks]:
            return cast("Awaitable[Chunks]", self._library.acompletion(**arguments))

        return _read_in_thread(ask) if self._vendor.blocks else _read_in_task(ask)

    def _create_client(self, key: str | None, base_url: str | None) -> AnyLLM:
        try:
            kind = AnyLLM.get_provider_class(self._name)
            # Retries are ours: with signs of life, and none after the first chunk.
            retries = {} if kind.MAX_RETRIES_SUPPORT == "unsupported" else {"max_retries": 0}
            return kind(key, base_url, unified_exceptions=True, **retries)
        except MissingApiKeyError as error:
            raise BadSettings(
                f"The provider {self._name} needs credentials.",
                expected=error.env_var_name,
                received="nothing",
            ) from error
        except ImportError as error:
            raise BadSettings(
                f"The provider {self._name} needs a library that is not installed.",
                hint=f"pip install 'any-llm-sdk[{self._name}]'",
            ) from error
        except Exception as error:  # the libraries of many vendors: whatever one raises
            raise BadSettings(
                f"The provider {self._name} cannot be opened: {self._redact(str(error))}"
            ) from error

    def _translate_error(self, error: Exception, begun: bool) -> AntiphonError:
        """Translate the error; any-llm has classified it by status or by its text."""
        cause = getattr(error, "original_exception", None) or error
        # The vendor's message, else the library's.
        texts = (error_text(getattr(cause, name, None)) for name in ("body", "message"))
        words = next(filter(None, texts), None) or str(error) or type(cause).__name__
        words = self._redact(words)
        # google-genai has the HTTP status under another name.
        found = getattr(error, "status_code", None) or getattr(cause, "code", None)
        status = found if isinstance(found, int) else None
        if isinstance(cause, _FAULTS):
            return ProviderProtocol(f"The answer of {self._name} cannot be read: {words}")
        if status is None and not isinstance(error, _REFUSALS):
            if begun:
                return Disconnected(f"{self._name} broke off its reply.")
            return ProviderUnavailable(f"{self._name} did not answer: {words}")
        if begun:
            return ProviderError(words)
        message = f"{self._name} answered {status}: {words}" if status else words
        kind = _kind(error, status)
        wait = retry_after(getattr(error, "retry_after", None), time.time())
        return kind(message) if wait is None else kind(message, retry_after=wait)


def request_arguments(request: ModelRequest, vendor: Vendor) -> dict[str, Any]:
    """Return the arguments of any-llm's `acompletion`."""
    arguments: dict[str, Any] = msgspec.json.decode(payload(request, vendor.quirks))
    if vendor.max_tokens:
        arguments.setdefault("max_tokens", vendor.max_tokens)
    match vendor.tongue:
        case "anthropic":
            arguments["messages"] = [_in_blocks(message) for message in arguments["messages"]]
        case "gemini":
            if "tools" in arguments:
                arguments["tools"] = [
                    _gemini_tools([tool["function"] for tool in arguments["tools"]])
                ]
        case "chat":
            pass
    return arguments


class AnyLlmParser:
    """Parser of one reply: any-llm's chunks in, ours out."""

    def __init__(self) -> None:
        self._reason: str | None = None
        self._thought = ""
        self._signed: list[Said] = []

    def feed(self, chunk: ChatCompletionChunk) -> list[Chunk]:
        """Parse a chunk; an empty list is a sign of life."""
        out: list[Chunk] = []
        for choice in chunk.choices:
            self._say(choice.delta, out)
            if choice.finish_reason and choice.finish_reason != self._reason:
                self._reason = choice.finish_reason
                out.append(Finish(sanitize_text(choice.finish_reason)))
        beside = chunk.model_extra or {}
        _cite(read_page_lists(beside.get("citations"), beside.get("search_results")), out)
        if chunk.usage:
            out.append(UsagePiece(parse_usage(chunk.usage.model_dump())))
        return out

    def _say(self, delta: ChoiceDelta, out: list[Chunk]) -> None:
        if delta.reasoning and delta.reasoning.content:
            self._thought += delta.reasoning.content
            out.append(ReasoningPiece(sanitize_text(delta.reasoning.content)))
        signature = _anthropic(delta.extra_content).get("signature")
        if signature:
            self._signed.append({"thinking": self._thought, "signature": signature})
            self._thought = ""
        if delta.refusal:
            out.append(RefusalPiece(sanitize_text(delta.refusal)))
        if delta.content:
            out.append(TextPiece(sanitize_text(delta.content)))
        beside = delta.model_extra or {}
        _cite(read_annotations(beside.get("annotations")), out)
        _cite(read_page_lists(beside.get("citations"), None), out)
        calls = delta.tool_calls or []
        for position, call in enumerate(calls):
            function = call.function
            out.append(
                CallPiece(
                    index=call.index,
                    position=position if len(calls) > 1 else None,
                    id=sanitize_text(call.id) if call.id else None,
                    name=sanitize_text(function.name) if function and function.name else None,
                    arguments=sanitize_text(function.arguments or "") if function else "",
                    extra=self._extra(call.extra_content),
                )
            )

    def _extra(self, given: Said | None) -> dict[str, Any] | None:
        """Return the data to send back with the call: its extras, and the reasoning before it."""
        extra = dict(given or {})
        if self._signed:
            extra["anthropic"] = {"thinking": self._signed}
            self._signed = []
        return {"extra_content": sanitize_value(extra)} if extra else None


def _cite(citations: list[Citation], out: list[Chunk]) -> None:
    if citations:
        out.append(CitationsPiece(tuple(citations)))


async def _read_in_task(ask: Ask) -> AsyncGenerator[ChatCompletionChunk, None]:
    """Yield the chunks, read by a task that is cancelled when the consumer closes the generator.

    Closing the library's generator is not enough: google-genai would leave the connection to the
    garbage collector, but a cancelled read releases it.
    """
    queue: asyncio.Queue[ChatCompletionChunk | None] = asyncio.Queue()
    reading = asyncio.ensure_future(_read(ask, queue.put_nowait, queue.qsize))
    reading.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (chunk := await queue.get()) is not None:
            yield chunk
    finally:
        reading.cancel()
        await asyncio.wait([reading], timeout=CANCEL_SECONDS)
        error = reading.exception() if reading.done() and not reading.cancelled() else None
    if error is not None:
        raise error


async def _read_in_thread(ask: Ask) -> AsyncGenerator[ChatCompletionChunk, None]:
    """Yield the chunks of a library that blocks its event loop, from a thread with its own loop.

    Such a library cannot be cancelled: without a consumer it ends at its next chunk.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[ChatCompletionChunk | Exception | None] = asyncio.Queue()
    closed = threading.Event()
    sent = received = 0  # `sent` counts chunks that are not in the queue yet, too

    def send(item: ChatCompletionChunk | Exception | None) -> None:
        if closed.is_set():
            raise BrokenPipeError("Nobody listens any more.")
        nonlocal sent
        sent += 1
        loop.call_soon_threadsafe(queue.put_nowait, item)

    def run() -> None:
        end = None
        try:
            asyncio.run(_read(ask, send, lambda: 0 if closed.is_set() else sent - received))
        except Exception as error:  # noqa: BLE001 - raised in the consumer
            end = error
        with suppress(BrokenPipeError, RuntimeError):  # the consumer has left, or its loop closed
            send(end)

    threading.Thread(target=run, name="antiphon-vendor", daemon=True).start()
    try:
        while (item := await queue.get()) is not None:
            received += 1
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        closed.set()


async def _read(
    ask: Ask, emit: Callable[[ChatCompletionChunk], None], unread: Callable[[], int]
) -> None:
    """Read the reply, at most `MAX_UNREAD` chunks ahead of their consumer."""
    reply = await ask()
    try:
        async for chunk in reply:
            emit(chunk)
            while unread() > MAX_UNREAD:  # noqa: ASYNC110 - an event of another loop cannot be awaited
                await asyncio.sleep(UNREAD_SECONDS)
    finally:
        await aclose_quietly(reply)


def _in_blocks(message: Said) -> Said:
    """Convert an assistant message with calls to Anthropic's blocks, reasoning before each call.

    any-llm's own conversion keeps one reasoning block per message, but passes blocks on unchanged.
    """
    if message["role"] == "tool":
        return {**message, "tool_call_id": _id(message["tool_call_id"])}
    calls = message.get("tool_calls")
    if not calls:
        return message
    thoughts: list[list[Said]] = [
        [
            {"type": "thinking", **thought}
            for thought in _anthropic(call.get("extra_content")).get("thinking") or ()
        ]
        for call in calls
    ]
    text = message.get("content")
    blocks = [*thoughts[0], *([{"type": "text", "text": text}] if text else [])]
    for call, before in zip(calls, [[], *thoughts[1:]], strict=True):
        function = call["function"]
        used = msgspec.json.decode(function["arguments"])
        blocks += before
        blocks.append(
            {"type": "tool_use", "id": _id(call["id"]), "name": function["name"], "input": used}
        )
    return {"role": "assistant", "content": blocks}


def _id(given: str) -> str:
    """Return the call's id, or a hash of it if Anthropic would reject the id."""
    if _PLAIN_ID.fullmatch(given):
        return given
    return "call_" + hashlib.sha256(given.encode()).hexdigest()[:32]


def _anthropic(extra: Any) -> dict[str, Any]:
    return object_or_empty(object_or_empty(extra).get("anthropic"))


def _gemini_tools(functions: list[Said]) -> Said:
    """Return the tools in Gemini's form: any-llm's own conversion loses nested schemas."""
    return {
        "function_declarations": [
            {
                "name": function["name"],
                "description": function["description"],
                "parameters_json_schema": function["parameters"],
            }
            for function in functions
        ]
    }


def _kind(error: Exception, status: int | None) -> type[ProviderError]:
    if isinstance(error, AuthenticationError):
        return ProviderAuth
    if isinstance(error, RateLimitError):
        return ProviderRateLimited
    if status is not None and status >= 500:
        return ProviderUnavailable
    return ProviderRejected


_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]+")
# Errors of a library that could not parse a response.
_FAULTS = (ValueError, TypeError, LookupError, AttributeError)
# Errors of any-llm that have no status but are responses; its other classes then mean no response.
_REFUSALS: tuple[type[AnyLLMError], ...] = (
    AuthenticationError,
    ContentFilterError,
    ContextLengthExceededError,
    InsufficientFundsError,
    InvalidRequestError,
    ModelNotFoundError,
    RateLimitError,
    UnsupportedParameterError,
)
