"""Cost of an event in the SDK, beside a chunk in openai's: both read a flood over HTTP."""

from __future__ import annotations

from typing import Any

import openai

from antiphon import AsyncClient, Client, TextDelta
from antiphon.api.operations import NewMessage
from benchmarks.bench import Bench
from benchmarks.report import Figure, Row, row
from benchmarks.resources import used

HELLO = NewMessage("hello")
ASKED: list[Any] = [{"role": "user", "content": "hello"}]


async def measure(bench: Bench) -> list[Row]:
    """The fake upstream speaks Antiphon's own events here, so that the reader alone is measured."""
    ours, theirs = bench.pick(100, 10_000, 40_000), bench.pick(100, 1_000, 4_000)
    waits: list[float] = []
    loops: list[float] = []
    usual_waits: list[float] = []
    usual_loops: list[float] = []
    async with bench.upstream() as upstream:
        url = upstream.child.address
        for _ in range(bench.pick(1, 3, 5)):
            waits.append(_sync(url, ours))
            loops.append(await _async(url, ours))
            usual_waits.append(_usual_sync(url, theirs))
            usual_loops.append(await _usual_async(url, theirs))
    return [
        row(
            "CPU per event, Client",
            Figure(tuple(waits), "µs"),
            "openai SDK's loop, sync",
            Figure(tuple(usual_waits), "µs"),
            target="at most a third",
            ratio_at_most=1 / 3,
        ),
        row(
            "CPU per event, AsyncClient",
            Figure(tuple(loops), "µs"),
            "openai SDK's loop, async",
            Figure(tuple(usual_loops), "µs"),
            target="at most a third",
            ratio_at_most=1 / 3,
        ),
    ]


def _sync(url: str, count: int) -> float:
    with Client(url) as client, used() as usage:
        events = client.process(message=HELLO, model=f"flood-{count}")
        said = [event.text for event in events if isinstance(event, TextDelta)]
    return _each(usage.cpu, said, count)


async def _async(url: str, count: int) -> float:
    async with AsyncClient(url) as client:
        with used() as usage:
            events = client.process(message=HELLO, model=f"flood-{count}")
            said = [event.text async for event in events if isinstance(event, TextDelta)]
    return _each(usage.cpu, said, count)


def _usual_sync(url: str, count: int) -> float:
    with openai.OpenAI(base_url=url + "/v1", api_key="none") as client, used() as usage:
        stream = client.chat.completions.create(model=f"flood-{count}", messages=ASKED, stream=True)
        said = [text for chunk in stream if (text := chunk.choices[0].delta.content)]
    return _each(usage.cpu, said, count)


async def _usual_async(url: str, count: int) -> float:
    async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="none") as client:
        with used() as usage:
            stream = await client.chat.completions.create(
                model=f"flood-{count}", messages=ASKED, stream=True
            )
            said = [text async for chunk in stream if (text := chunk.choices[0].delta.content)]
    return _each(usage.cpu, said, count)


def _each(cpu: float, said: list[str], count: int) -> float:
    assert len(said) == count
    return cpu / count * 1e6
