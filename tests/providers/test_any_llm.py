"""Vendors through any-llm, with servers that speak the protocols of Anthropic and Gemini."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from msgspec.structs import replace

from antiphon.client.async_client import AsyncClient
from antiphon.providers.servers import VENDORS
from antiphon.settings.settings import Settings
from antiphon.types.chunks import (
    CallPiece,
    Chunk,
    Finish,
    ModelRequest,
    ReasoningPiece,
    TextPiece,
    UsagePiece,
)
from antiphon.types.errors import (
    Cut,
    Disconnected,
    ProviderError,
    ProviderProtocol,
    ProviderRejected,
    class_for_code,
)
from antiphon.types.events import ReasoningDelta, TextDelta
from antiphon.types.messages import Message, ToolCall, ToolSpec, to_chat_completions
from antiphon.types.runs import Sampling, Status, Usage

pytest.importorskip("any_llm", reason="antiphon[vendors] is not installed")

from any_llm.types.completion import ChatCompletionChunk, CompletionUsage, PromptTokensDetails

from antiphon.providers import any_llm
from antiphon.providers.any_llm import AnyLlmParser, AnyLlmProvider, request_arguments
from tests.support.providers import anthropic_upstream, gemini_upstream
from tests.support.providers.anthropic_upstream import AnthropicUpstream
from tests.support.providers.bedrock_upstream import BedrockUpstream
from tests.support.providers.gemini_upstream import GeminiUpstream

KEY = "sk-vendor-0123456789"
HELLO = b'{"role":"user","content":"Hello"}'
TOOL = ToolSpec(
    "f",
    "Does it.",
    {
        "type": "object",
        "properties": {
            "x": {"type": "integer", "minimum": 1},
            "in": {"type": "object", "properties": {"y": {"type": "string"}}},
        },
        "required": ["x"],
        "additionalProperties": False,
    },
)
SERVERS = {"anthropic": AnthropicUpstream, "gemini": GeminiUpstream}
TABLES = {"anthropic": anthropic_upstream.SCENARIOS, "gemini": gemini_upstream.SCENARIOS}
OUTPUTS = {"anthropic": anthropic_upstream.outputs, "gemini": gemini_upstream.outputs}


@pytest.fixture(params=SERVERS)
def vendor(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def upstream(vendor: str) -> AsyncIterator[AnthropicUpstream | GeminiUpstream]:
    async with SERVERS[vendor]() as upstream:
        yield upstream


@pytest.fixture
async def provider(vendor: str, upstream: AnthropicUpstream) -> AsyncIterator[AnyLlmProvider]:
    provider = AnyLlmProvider(
        vendor, VENDORS[vendor], KEY, base_url=upstream.url, backoff_seconds=0.01
    )
    yield provider
    await provider.close()


async def read_chunks(provider: AnyLlmProvider, model: str, **more: Any) -> list[Chunk]:
    question = ModelRequest(model=model, **{"messages": HELLO, **more})
    async with asyncio.timeout(60), aclosing(provider.stream(question)) as pages:
        return [chunk async for page in pages for chunk in page]


async def read_until_error(provider: AnyLlmProvider, model: str) -> tuple[list[Chunk], Exception]:
    chunks: list[Chunk] = []
    question = ModelRequest(model=model, messages=HELLO)
    async with asyncio.timeout(60):
        with pytest.raises((ProviderError, Cut)) as caught:  # noqa: PT012
            async with aclosing(provider.stream(question)) as pages:
                async for page in pages:
                    chunks += page
    return chunks, caught.value


def text_in(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextPiece))


def join_reasoning(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, ReasoningPiece))


def calls_in(chunks: Sequence[Chunk]) -> list[ToolCall]:
    calls: dict[Any, ToolCall] = {}
    for piece in (chunk for chunk in chunks if isinstance(chunk, CallPiece)):
        known_call = calls.get(piece.index) or ToolCall(piece.id or "", piece.name or "", "")
        calls[piece.index] = ToolCall(
            known_call.id,
            known_call.name,
            known_call.arguments + piece.arguments,
            extra=piece.extra or known_call.extra,
        )
    return list(calls.values())


def ends_in(chunks: Sequence[Chunk]) -> list[str | None]:
    return [chunk.reason for chunk in chunks if isinstance(chunk, Finish)]


@pytest.mark.slow
async def test_text_comes_in_its_pieces_and_ends_once(provider: AnyLlmProvider):
    chunks = await read_chunks(provider, "text")

    assert [chunk.text for chunk in chunks if isinstance(chunk, TextPiece)] == ["Hi ", "世界"]
    assert ends_in(chunks) == ["stop"]


async def test_tokens_are_counted_the_cached_and_the_reasoning_ones_too(
    provider: AnyLlmProvider, vendor: str
):
    chunks = await read_chunks(provider, "text")

    reports = [chunk.usage for chunk in chunks if isinstance(chunk, UsagePiece)]
    reasoning_tokens = {"gemini": 2}.get(vendor, 0)  # Anthropic reports no number
    assert reports[-1] == Usage(
        input_tokens=10, output_tokens=5, cached_tokens=4, reasoning_tokens=reasoning_tokens
    )


def test_counts_that_cannot_be_are_none():
    usage = CompletionUsage(
        prompt_tokens=5,
        completion_tokens=-3,
        total_tokens=2,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=10**6),
    )
    chunk = ChatCompletionChunk(
        id="", choices=[], created=0, model="m", object="chat.completion.chunk", usage=usage
    )

    assert AnyLlmParser().feed(chunk) == [UsagePiece(Usage(input_tokens=5, cached_tokens=5))]


async def test_thinking_comes_before_the_answer(provider: AnyLlmProvider):
    chunks = await read_chunks(provider, "thinking", sampling=Sampling(reasoning_effort="low"))

    assert (join_reasoning(chunks), text_in(chunks)) == ("They fly often.", "Hi")


async def test_thinking_is_asked_for_as_the_vendor_wants_it(
    provider: AnyLlmProvider, upstream: AnthropicUpstream, vendor: str
):
    await read_chunks(provider, "thinking", sampling=Sampling(reasoning_effort="low"))

    body = upstream.requests[0].body
    if vendor == "anthropic":
        assert body["thinking"] == {"type": "adaptive"}
        assert body["output_config"] == {"effort": "low"}
    else:
        assert body["generationConfig"]["thinkingConfig"]["include_thoughts"] is True


async def test_a_call_is_whole(provider: AnyLlmProvider):
    chunks = await read_chunks(provider, "call", tools=(TOOL,))

    (call,) = calls_in(chunks)
    assert (call.name, call.arguments) == ("f", '{"x": 1}')
    assert (text_in(chunks), ends_in(chunks)) == ("Let me see.", ["tool_calls"])


async def test_a_call_may_have_no_arguments(provider: AnyLlmProvider):
    (call,) = calls_in(await read_chunks(provider, "no_arguments", tools=(TOOL,)))

    assert call.arguments in ("", "{}")


async def test_calls_at_once_are_kept_apart(provider: AnyLlmProvider):
    calls = calls_in(await read_chunks(provider, "parallel", tools=(TOOL,)))

    assert [call.arguments for call in calls] == ['{"x": 1}', '{"x": 2}']
    assert calls[0].id != calls[1].id


async def test_a_tool_is_offered_with_its_whole_schema(
    provider: AnyLlmProvider, upstream: AnthropicUpstream, vendor: str
):
    await read_chunks(provider, "text", tools=(TOOL,))

    (tool,) = upstream.requests[0].body["tools"]
    if vendor == "gemini":
        (tool,) = tool["functionDeclarations"]
    schema = tool["input_schema"] if vendor == "anthropic" else tool["parameters_json_schema"]
    assert (tool["name"], schema) == ("f", TOOL.parameters)


async def test_outputs_go_back_with_the_calls_and_what_only_the_vendor_reads(
    provider: AnyLlmProvider, upstream: AnthropicUpstream, vendor: str
):
    calls = calls_in(await read_chunks(provider, "parallel", tools=(TOOL,)))
    messages = [
        HELLO,
        to_chat_completions(
            a_message("assistant", tool_calls=tuple(calls), reasoning="They fly often.")
        ),
        *(to_chat_completions(a_message("tool", tool_call_id=call.id)) for call in calls),
    ]

    chunks = await read_chunks(provider, "parallel", messages=b",".join(messages), tools=(TOOL,))

    assert (text_in(chunks), upstream.rejected) == ("All done.", [])
    body = upstream.requests[1].body
    if vendor == "anthropic":
        kinds = [block["type"] for block in body["messages"][1]["content"]]
        assert kinds == ["thinking", "tool_use", "thinking", "tool_use"]
    else:
        first, second = body["contents"][1]["parts"]
        assert first["thoughtSignature"] == gemini_upstream.SIGNATURE
        assert (first["functionCall"]["args"], second["functionCall"]["args"]) == (
            {"x": 1},
            {"x": 2},
        )


def a_message(role: Any, **fields: Any) -> Message:
    return Message(id="m", thread_id="t", number=1, role=role, created_at=0, **fields)


async def test_calls_that_another_vendor_made_are_taken_too(
    provider: AnyLlmProvider, upstream: AnthropicUpstream
):
    call = ToolCall("functions.f:0", "f", "{}", extra={"extra_content": {"other": {"a": 1}}})
    messages = [
        HELLO,
        to_chat_completions(a_message("assistant", tool_calls=(call,), reasoning="Elsewhere.")),
        to_chat_completions(a_message("tool", tool_call_id=call.id)),
    ]

    chunks = await read_chunks(provider, "text", messages=b",".join(messages), tools=(TOOL,))

    assert (text_in(chunks), upstream.rejected) == ("All done.", [])


@pytest.mark.parametrize(("name", "reason"), [("length", "length"), ("refused", "content_filter")])
async def test_why_a_reply_ended_is_told(provider: AnyLlmProvider, name: str, reason: str):
    assert ends_in(await read_chunks(provider, name)) == [reason]


@pytest.mark.parametrize("name", ["401", "400", "404", "429", "500", "html", "reset_first"])
async def test_a_refusal_has_our_name(provider: AnyLlmProvider, vendor: str, name: str):
    chunks, error = await read_until_error(provider, name)

    assert type(error) is class_for_code(TABLES[vendor][name].expect)
    assert chunks == []
    assert KEY not in str(error)


async def test_a_refusal_says_what_the_vendor_said(provider: AnyLlmProvider, vendor: str):
    _, error = await read_until_error(provider, "400")

    assert str(error) == f"{vendor} answered 400: No such field."


@pytest.mark.parametrize(("name", "requests"), [("429_once", 2), ("529_twice", 3)])
async def test_what_passes_is_tried_again(
    provider: AnyLlmProvider, upstream: AnthropicUpstream, name: str, requests: int
):
    assert text_in(await read_chunks(provider, name)) == "Hi 世界"
    assert len(upstream.requests) == requests


@pytest.mark.parametrize("name", ["429", "500", "reset_first"])
async def test_what_does_not_pass_is_tried_three_times(
    provider: AnyLlmProvider, upstream: AnthropicUpstream, name: str
):
    await read_until_error(provider, name)

    assert len(upstream.requests) == 3


async def test_it_is_tried_again_as_often_as_its_terms_say(
    vendor: str, upstream: AnthropicUpstream
):
    terms = replace(VENDORS[vendor], retries=0)
    provider = AnyLlmProvider(vendor, terms, KEY, base_url=upstream.url, backoff_seconds=0.01)

    await read_until_error(provider, "500")
    await provider.close()

    assert len(upstream.requests) == 1


@pytest.mark.parametrize("name", ["closed", "reset"])
async def test_a_reply_that_is_broken_off_is_cut_and_not_asked_again(
    provider: AnyLlmProvider, upstream: AnthropicUpstream, name: str
):
    chunks, error = await read_until_error(provider, name)

    assert (text_in(chunks), type(error)) == ("Hi", Disconnected)
    assert len(upstream.requests) == 1


async def test_a_reply_that_ends_early_has_no_end(provider: AnyLlmProvider):
    chunks = await read_chunks(provider, "ended_early")

    assert (text_in(chunks), ends_in(chunks)) == ("Hi", [])


async def test_an_error_in_the_middle_is_the_providers(
    provider: AnyLlmProvider, upstream: AnthropicUpstream
):
    chunks, error = await read_until_error(provider, "error_event")

    assert (text_in(chunks), type(error), str(error)) == ("Hi", ProviderError, "Overloaded!")
    assert len(upstream.requests) == 1


async def test_what_is_no_json_is_no_reply(provider: AnyLlmProvider):
    chunks, error = await read_until_error(provider, "garbage_event")

    assert (text_in(chunks), type(error)) == ("Hi", ProviderProtocol)


@pytest.mark.parametrize("name", ["stall", "silent"])
async def test_whoever_leaves_closes_the_connection(
    provider: AnyLlmProvider, upstream: AnthropicUpstream, name: str
):
    read_task = asyncio.create_task(read_chunks(provider, name))
    async with asyncio.timeout(60):
        await upstream.wait_for_request(1)
    read_task.cancel()

    async with asyncio.timeout(60):
        await upstream.requests[0].done.wait()
    assert upstream.requests[0].closed is not None


async def test_whoever_leaves_between_two_pieces_closes_it_too(
    provider: AnyLlmProvider, upstream: AnthropicUpstream
):
    pages = provider.stream(ModelRequest(model="stall", messages=HELLO))
    async with asyncio.timeout(60):
        while not text_in(await anext(pages)):
            pass
        await pages.aclose()
        await upstream.requests[0].done.wait()

    assert upstream.requests[0].closed is not None


async def test_the_models_are_those_the_vendor_lists(provider: AnyLlmProvider, vendor: str):
    assert list(await provider.models()) == list(TABLES[vendor])


def test_a_limit_of_the_callers_goes_before_ours():
    request = ModelRequest(model="m", messages=HELLO, sampling=Sampling(max_output_tokens=7))

    assert request_arguments(request, VENDORS["anthropic"])["max_tokens"] == 7
    assert "max_tokens" not in request_arguments(
        ModelRequest(model="m", messages=HELLO), VENDORS["cohere"]
    )


async def test_a_whole_run_hands_its_calls_off_and_goes_on(
    upstream: AnthropicUpstream, vendor: str
):
    def f(x: int) -> int:
        """Does it."""
        return x + 1

    settings = Settings(
        model=f"{vendor}:parallel", database="memory:", base_url=upstream.url, provider_key=KEY
    )
    async with AsyncClient(settings=settings) as client:
        turn = client.converse("Hello", tools=[f])
        events = [event async for event in turn]

    assert (turn.status, upstream.rejected) == (Status.COMPLETED, [])
    reasoning = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    assert reasoning.startswith("They fly often.")
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "All done."
    assert OUTPUTS[vendor](upstream.requests[1]) == ["2", "3"]


@pytest.fixture
async def blocking_provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AnyLlmProvider]:
    for name in ("AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "us-east-1")  # a bearer key is taken over HTTPS only
    async with BedrockUpstream() as upstream:
        provider = AnyLlmProvider("bedrock", VENDORS["bedrock"], base_url=upstream.url)
        yield provider
        await provider.close()


@pytest.mark.slow
async def test_a_library_that_blocks_says_the_same(blocking_provider: AnyLlmProvider):
    chunks = await read_chunks(blocking_provider, "text")

    assert (text_in(chunks), ends_in(chunks)) == ("Hi 世界", ["stop"])
    (call,) = calls_in(await read_chunks(blocking_provider, "call", tools=(TOOL,)))
    assert (call.id, call.arguments) == ("tooluse_1", '{"x": 1}')


async def test_a_library_that_blocks_holds_up_nobody(blocking_provider: AnyLlmProvider):
    stalled_stream = blocking_provider.stream(ModelRequest(model="stall", messages=HELLO))
    async with asyncio.timeout(20), aclosing(stalled_stream) as pages:
        first_pages = [await anext(pages)]
        while not text_in(first_pages[-1]):
            first_pages.append(await anext(pages))
        next_page = asyncio.ensure_future(anext(pages))
        chunks = await read_chunks(blocking_provider, "text")
        next_page.cancel()
        await asyncio.wait([next_page])

    assert text_in(chunks) == "Hi 世界"


async def test_a_refusal_in_a_thread_has_our_name_too(blocking_provider: AnyLlmProvider):
    _, error = await read_until_error(blocking_provider, "400")

    assert type(error) is ProviderRejected
    assert "No such field." in str(error)


@pytest.mark.parametrize("read", [any_llm._read_in_task, any_llm._read_in_thread])
async def test_a_flood_waits_for_whoever_takes_it(read: Any) -> None:
    count = 0

    async def flood() -> AsyncGenerator[Any, None]:
        nonlocal count
        while count < 100_000:
            count += 1
            yield count

    async def ask() -> Any:
        return flood()

    async with aclosing(read(ask)) as chunks:
        numbers = [await anext(chunks) for _ in range(10)]
        await asyncio.sleep(0)
        count_before = count

    assert numbers == list(range(1, 11))
    assert count_before < 100_000
