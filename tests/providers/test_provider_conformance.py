"""What every Provider promises, tried on all of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, get_args

import pytest
from upstream import SCENARIOS, Upstream

from antiphon.chunks import Chunk, Finish, Question, TextPiece
from antiphon.errors import Cut, ProviderError
from antiphon.ports import Provider
from antiphon.providers.demo import Demo
from antiphon.providers.openai import OpenAI
from antiphon.providers.replay import Replay
from antiphon.providers.scripted import Scripted

HELLO = b'{"role":"user","content":"Hello"}'


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


OPENERS: dict[str, Callable[[Upstream], tuple[Provider, str, str]]] = {
    "openai": lambda upstream: (OpenAI(upstream.url), "quirk:ok", "quirk:400"),
    "demo": lambda _: (Demo(), "demo", ""),
    "replay": lambda _: (Replay({"ok": SCENARIOS["ok"].body}), "ok", "no such recording"),
    "scripted": lambda _: (Scripted("think Hm.\nsay Hello you\nusage 1 2"), "any", ""),
}


@pytest.fixture(params=OPENERS)
async def opened(
    request: pytest.FixtureRequest, upstream: Upstream
) -> AsyncIterator[tuple[Provider, str, str]]:
    provider, model, bad_model = OPENERS[request.param](upstream)
    yield provider, model, bad_model
    await provider.close()


async def pages_of(provider: Provider, model: str, **more: Any) -> list[Sequence[Chunk]]:
    question = Question(model=model, messages=HELLO, **more)
    async with asyncio.timeout(10), aclosing(provider.stream(question)) as pages:
        return [page async for page in pages]


async def test_a_reply_is_chunks_and_ends_with_one_finish(opened: tuple[Provider, str, str]):
    provider, model, _ = opened

    chunks = [chunk for page in await pages_of(provider, model) for chunk in page]

    assert all(isinstance(chunk, get_args(Chunk)) for chunk in chunks)
    assert any(isinstance(chunk, TextPiece) for chunk in chunks)
    assert sum(isinstance(chunk, Finish) for chunk in chunks) == 1


async def test_leaving_a_reply_in_the_middle_is_no_error(opened: tuple[Provider, str, str]):
    provider, model, _ = opened

    async with aclosing(provider.stream(Question(model=model, messages=HELLO))) as pages:
        first = await anext(pages)

    assert isinstance(first, Sequence)


async def test_nothing_but_provider_errors_and_cuts_comes_out(opened: tuple[Provider, str, str]):
    provider, _, bad_model = opened
    if not bad_model:
        pytest.skip("takes any name")

    with pytest.raises((ProviderError, Cut)):
        await pages_of(provider, bad_model)


async def test_models_are_names(opened: tuple[Provider, str, str]):
    provider, _, _ = opened

    assert all(isinstance(name, str) for name in await provider.models())


async def test_closing_twice_is_no_error(opened: tuple[Provider, str, str]):
    provider, _, _ = opened

    await provider.close()
    await provider.close()
