"""Promises of every provider."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, get_args

import pytest

from antiphon.ports import Provider
from antiphon.providers.chat_completions import ChatCompletionsProvider
from antiphon.providers.demo import DemoProvider
from antiphon.providers.scripted import ReplayProvider, ScriptedProvider
from antiphon.providers.servers import VENDORS, is_installed, open_provider
from antiphon.types.chunks import Chunk, Finish, ModelRequest, TextPiece
from antiphon.types.errors import Cut, ProviderError
from tests.support.providers.anthropic_upstream import AnthropicUpstream
from tests.support.providers.gemini_upstream import GeminiUpstream
from tests.support.providers.upstream import SCENARIOS, Upstream

HELLO = b'{"role":"user","content":"Hello"}'


ProviderCase = tuple[Provider, str, str]
"""A provider, a model of it, and a model that fails, if there is any."""


def case_without_server(provider: Callable[[], Provider], model: str, bad_model: str = "") -> Any:
    @asynccontextmanager
    async def open_case() -> AsyncGenerator[ProviderCase]:
        yield provider(), model, bad_model

    return open_case


def case_with_server(
    server: Callable[[], Upstream], provider: Callable[[str], Provider], model: str, bad_model: str
) -> Any:
    @asynccontextmanager
    async def open_case() -> AsyncGenerator[ProviderCase]:
        async with server() as upstream:
            yield provider(upstream.url), model, bad_model

    return open_case


def vendor(name: str) -> Callable[[str], Provider]:
    return lambda url: open_provider(name, VENDORS[name], "k", url)


OPENERS: dict[str, Callable[[], AbstractAsyncContextManager[ProviderCase]]] = {
    "openai": case_with_server(Upstream, ChatCompletionsProvider, "quirk:ok", "quirk:400"),
    "demo": case_without_server(DemoProvider, "demo"),
    "replay": case_without_server(
        lambda: ReplayProvider({"ok": SCENARIOS["ok"].body}), "ok", "no such recording"
    ),
    "scripted": case_without_server(
        lambda: ScriptedProvider("think Hm.\nsay Hello you\nusage 1 2"), "any"
    ),
    "anthropic": case_with_server(AnthropicUpstream, vendor("anthropic"), "text", "400"),
    "gemini": case_with_server(GeminiUpstream, vendor("gemini"), "text", "400"),
}
EXTRA = pytest.mark.skipif(not is_installed(), reason="antiphon[vendors] is not installed")
PARAMS = [
    pytest.param(name, marks=[EXTRA] if name in ("anthropic", "gemini") else []) for name in OPENERS
]


@pytest.fixture(params=PARAMS)
async def case(request: pytest.FixtureRequest) -> AsyncIterator[ProviderCase]:
    async with OPENERS[request.param]() as (provider, model, bad_model):
        yield provider, model, bad_model
        await provider.close()


async def pages_of(provider: Provider, model: str, **more: Any) -> list[Sequence[Chunk]]:
    question = ModelRequest(model=model, messages=HELLO, **more)
    async with asyncio.timeout(60), aclosing(provider.stream(question)) as pages:
        return [page async for page in pages]


@pytest.mark.slow
async def test_a_reply_is_chunks_and_ends_with_one_finish(case: ProviderCase):
    provider, model, _ = case

    chunks = [chunk for page in await pages_of(provider, model) for chunk in page]

    assert all(isinstance(chunk, get_args(Chunk)) for chunk in chunks)
    assert any(isinstance(chunk, TextPiece) for chunk in chunks)
    assert sum(isinstance(chunk, Finish) for chunk in chunks) == 1


async def test_chunks_that_the_caller_takes_are_not_yielded(case: ProviderCase):
    provider, model, _ = case
    received: list[Chunk] = []

    def take_now(chunks: Sequence[Chunk]) -> bool:
        received.extend(chunks)
        return True

    question = ModelRequest(model=model, messages=HELLO)
    async with asyncio.timeout(60), aclosing(provider.stream(question, take_now)) as pages:
        async for page in pages:
            received += page

    assert any(isinstance(chunk, TextPiece) for chunk in received)
    assert sum(isinstance(chunk, Finish) for chunk in received) == 1


async def test_leaving_a_reply_in_the_middle_is_no_error(case: ProviderCase):
    provider, model, _ = case

    async with aclosing(provider.stream(ModelRequest(model=model, messages=HELLO))) as pages:
        first = await anext(pages)

    assert isinstance(first, Sequence)


async def test_nothing_but_provider_errors_and_cuts_comes_out(case: ProviderCase):
    provider, _, bad_model = case
    if not bad_model:
        pytest.skip("takes any name")

    with pytest.raises((ProviderError, Cut)):
        await pages_of(provider, bad_model)


async def test_models_are_names(case: ProviderCase):
    provider, _, _ = case

    assert all(isinstance(name, str) for name in await provider.models())


async def test_closing_twice_is_no_error(case: ProviderCase):
    provider, _, _ = case

    await provider.close()
    await provider.close()
