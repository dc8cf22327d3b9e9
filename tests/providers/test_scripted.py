import asyncio
from contextlib import aclosing

import pytest

from antiphon.providers.scripted import ScriptedProvider
from antiphon.types.chunks import (
    CallPiece,
    Chunk,
    Finish,
    ModelRequest,
    ReasoningPiece,
    TextPiece,
    UsagePiece,
)
from antiphon.types.errors import Disconnected, ProviderRateLimited
from antiphon.types.runs import Usage

QUESTION = ModelRequest(model="scripted", messages=b'{"role":"user","content":"hi"}')


async def play(provider: ScriptedProvider) -> list[Chunk]:
    return [chunk async for page in provider.stream(QUESTION) for chunk in page]


async def test_a_script_is_played_line_by_line():
    provider = ScriptedProvider('think Hm so\nsay "a\\nb"\ncall f {"x": 1}\nusage 10 5')

    assert await play(provider) == [
        *(ReasoningPiece("Hm"), ReasoningPiece(" so"), TextPiece("a"), TextPiece("\nb")),
        *(CallPiece(index=1, id="call_1", name="f"), CallPiece(index=1, arguments='{"x": 1}')),
        UsagePiece(Usage(input_tokens=10, output_tokens=5)),
        Finish("tool_calls"),
    ]


async def test_each_question_gets_the_next_script():
    provider = ScriptedProvider("say one", "say two\nfinish length")

    assert await play(provider) == [TextPiece("one"), Finish("stop")]
    assert await play(provider) == [TextPiece("two"), Finish("length")]
    assert provider.requests == [QUESTION, QUESTION]


async def test_a_script_waits_at_its_gate():
    provider = ScriptedProvider("say before\nwait gate\nsay after")

    task = asyncio.create_task(play(provider))
    async with asyncio.timeout(60):
        await provider.gates["gate"].reached.wait()
        assert not task.done()
        provider.gates["gate"].opened.set()
        chunks = await task

    assert chunks == [TextPiece("before"), TextPiece("after"), Finish("stop")]


async def test_a_script_may_fail_break_off_or_just_end():
    provider = ScriptedProvider(
        "fail provider_rate_limited Slow down.", "say half\ncut", "say half\nend"
    )

    with pytest.raises(ProviderRateLimited, match="Slow down"):
        await play(provider)
    with pytest.raises(Disconnected):
        await play(provider)
    assert await play(provider) == [TextPiece("half")]


async def test_a_stall_lasts_until_somebody_loses_patience():
    provider = ScriptedProvider("say half\nstall")

    async with aclosing(provider.stream(QUESTION)) as pages:
        await anext(pages)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(pages), 0.01)
