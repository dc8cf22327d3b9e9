"""Many replies are read by the coalescer, few as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from antiphon.providers.http import UNCOALESCED_REPLIES, ReadCoalescer

PATIENCE = 10.0


@pytest.fixture
def many() -> Iterator[ReadCoalescer]:
    """A coalescer with more replies under way than are read as they come."""
    coalescer = ReadCoalescer()
    with ExitStack() as replies:
        for _ in range(UNCOALESCED_REPLIES + 1):
            replies.enter_context(coalescer.join())
        yield coalescer


async def test_among_few_replies_nobody_rests() -> None:
    coalescer = ReadCoalescer()
    with coalescer.join() as place:
        resting = coalescer.wait_for_round(place)

        with pytest.raises(StopIteration):
            resting.send(None)  # at its end without having waited for anything


async def test_among_many_replies_each_rest_ends(many: ReadCoalescer) -> None:
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(many.wait_for_round(place) for place in range(16)))
        await many.wait_for_round(0)  # and so does the next one


async def test_a_reply_that_is_broken_off_while_it_rests_holds_up_nobody(
    many: ReadCoalescer,
) -> None:
    broken_off = asyncio.create_task(many.wait_for_round(3))
    others = [asyncio.create_task(many.wait_for_round(3)) for _ in range(3)]
    await asyncio.sleep(0)
    broken_off.cancel()

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*others)
    assert broken_off.cancelled()


async def test_what_has_ended_is_not_under_way() -> None:
    coalescer = ReadCoalescer()
    with ExitStack() as replies:
        for _ in range(UNCOALESCED_REPLIES + 1):
            replies.enter_context(coalescer.join())

    with pytest.raises(StopIteration):
        coalescer.wait_for_round(0).send(None)
