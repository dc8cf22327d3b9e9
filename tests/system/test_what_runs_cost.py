"""The cost of a conversation in its events and its run, from the model server's usage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon import AsyncClient, tool
from antiphon.settings.settings import Settings
from antiphon.types.events import UsageAdded
from antiphon.types.runs import Usage
from tests.support.providers.upstream import (
    CALLS,
    ONE,
    STOP,
    X1,
    Scenario,
    Upstream,
    call_chunk,
    sse,
    text_chunks,
)

PRICES = {"quirk:*": {"input": 2.0, "cached": 0.5, "output": 10.0}}
FIRST = {
    "prompt_tokens": 1_000,
    "completion_tokens": 50,
    "prompt_tokens_details": {"cached_tokens": 800},
}
THEN = {
    "prompt_tokens": 2_000,
    "completion_tokens": 100,
    "prompt_tokens_details": {"cached_tokens": 1_000},
}
FIRST_COST, THEN_COST = 0.0013, 0.0035  # by PRICES, computed by hand
BROKEN = sse(call_chunk(**ONE, arguments='{"x":'), CALLS, {"choices": [], "usage": FIRST})


@tool
def f(x: int) -> str:
    """Do what is asked."""
    return str(x)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        call = sse(call_chunk(**ONE, **X1), CALLS, {"choices": [], "usage": FIRST})
        upstream.scenarios |= {
            "call": Scenario(call),
            "broken": Scenario(call, first=(Scenario(BROKEN),)),
            "told": Scenario(
                sse(*text_chunks("hi"), STOP, {"choices": [], "usage": FIRST | {"cost": 7}})
            ),
            "after_tools": Scenario(sse(*text_chunks("1"), STOP, {"choices": [], "usage": THEN})),
        }
        yield upstream


async def read_usage(upstream: Upstream, name: str, **table: Any) -> tuple[list[Usage], Usage]:
    """Return the usage of each turn's events, and that of the run."""
    table |= {"base_url": upstream.url}
    settings = Settings(database="memory:", providers={"mine": table}, model=f"mine:quirk:{name}")
    async with AsyncClient(settings=settings) as client:
        stream = client.converse("Do it.", tools=[f])
        usages = [event.usage async for event in stream if isinstance(event, UsageAdded)]
        assert stream.run_id
        return usages, (await client.get_run(stream.run_id)).usage


async def test_each_turn_tells_its_cost_and_the_run_their_sum(upstream: Upstream):
    usages, run = await read_usage(upstream, "call", prices=PRICES)
    assert [usage.cost for usage in usages] == [FIRST_COST, THEN_COST]
    assert run == Usage(input_tokens=3_000, output_tokens=150, cached_tokens=1_800, cost=0.0048)


async def test_a_reply_that_was_thrown_away_is_paid_for_too(upstream: Upstream):
    usages, run = await read_usage(upstream, "broken", prices=PRICES)
    assert [usage.cost for usage in usages] == [2 * FIRST_COST, THEN_COST]
    assert run.cost == 0.0061


async def test_what_the_server_itself_says_it_cost_wins(upstream: Upstream):
    usages, run = await read_usage(upstream, "told", prices=PRICES)
    assert [usage.cost for usage in usages] == [7.0]
    assert run.cost == 7.0


async def test_without_a_price_the_tokens_are_told_alone(upstream: Upstream):
    usages, run = await read_usage(upstream, "call")
    assert [usage.cost for usage in usages] == [None, None]
    assert run == Usage(input_tokens=3_000, output_tokens=150, cached_tokens=1_800)
