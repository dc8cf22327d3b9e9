"""Cost of an event in the SDK, beside a chunk in openai's SDK: both read a flood over HTTP."""

from __future__ import annotations

from typing import Any

import openai

from antiphon import AsyncClient, Client, TextDelta
from antiphon.api.operations import NewMessage
from benchmarks.bench import Bench
from benchmarks.report import Figure, Row, row
from benchmarks.resources import measure_usage

HELLO = NewMessage("hello")
MESSAGES: list[Any] = [{"role": "user", "content": "hello"}]


async def measure(bench: Bench) -> list[Row]:
    """Measure the reader alone: here the fake upstream sends Antiphon's own events."""
    events, sdk_chunks = bench.pick(100, 10_000, 40_000), bench.pick(100, 1_000, 4_000)
    sync_costs: list[float] = []
    async_costs: list[float] = []
    sdk_sync_costs: list[float] = []
    sdk_async_costs: list[float] = []
    async with bench.upstream() as upstream:
        url = upstream.child.address
        for _ in range(bench.pick(1, 3, 5)):
            sync_costs.append(_read_sync(url, events))
            async_costs.append(await _read_async(url, events))
            sdk_sync_costs.append(_read_sdk_sync(url, sdk_chunks))
            sdk_async_costs.append(await _read_sdk_async(url, sdk_chunks))
    return [
        row(
            "CPU per event, Client",
            Figure(tuple(sync_costs), "µs"),
            "openai SDK's loop, sync",
            Figure(tuple(sdk_sync_costs), "µs"),
            target="at most a third",
            ratio_at_most=1 / 3,
        ),
        row(
            "CPU per event, AsyncClient",
            Figure(tuple(async_costs), "µs"),
            "openai SDK's loop, async",
            Figure(tuple(sdk_async_costs), "µs"),
            target="at most a third",
            ratio_at_most=1 / 3,
        ),
    ]


def _read_sync(url: str, count: int) -> float:
    with Client(url) as client, measure_usage() as usage:
        events = client.process(message=HELLO, model=f"flood-{count}")
        texts = [event.text for event in events if isinstance(event, TextDelta)]
    return _cost_per_event(usage.cpu, texts, count)


async def _read_async(url: str, count: int) -> float:
    async with AsyncClient(url) as client:
        with measure_usage() as usage:
            events = client.process(message=HELLO, model=f"flood-{count}")
            texts = [event.text async for event in events if isinstance(event, TextDelta)]
    return _cost_per_event(usage.cpu, texts, count)


def _read_sdk_sync(url: str, count: int) -> float:
    with openai.OpenAI(base_url=url + "/v1", api_key="none") as client, measure_usage() as usage:
        stream = client.chat.completions.create(
            model=f"flood-{count}", messages=MESSAGES, stream=True
        )
        texts = [text for chunk in stream if (text := chunk.choices[0].delta.content)]
    return _cost_per_event(usage.cpu, texts, count)


async def _read_sdk_async(url: str, count: int) -> float:
    async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="none") as client:
        with measure_usage() as usage:
            stream = await client.chat.completions.create(
                model=f"flood-{count}", messages=MESSAGES, stream=True
            )
            texts = [text async for chunk in stream if (text := chunk.choices[0].delta.content)]
    return _cost_per_event(usage.cpu, texts, count)


def _cost_per_event(cpu: float, texts: list[str], count: int) -> float:
    assert len(texts) == count
    return cpu / count * 1e6
