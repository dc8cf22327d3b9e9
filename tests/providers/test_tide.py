"""Many replies are read by the tide, few as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from antiphon.providers.http import FEW, Tide

PATIENCE = 10.0


@pytest.fixture
def many() -> Iterator[Tide]:
    """A tide with more replies under way than are read as they come."""
    tide = Tide()
    with ExitStack() as replies:
        for _ in range(FEW + 1):
            replies.enter_context(tide.riding())
        yield tide


async def test_among_few_replies_nobody_rests() -> None:
    tide = Tide()
    with tide.riding() as place:
        resting = tide.rest(place)

        with pytest.raises(StopIteration):
            resting.send(None)  # at its end without having waited for anything


async def test_among_many_replies_each_rest_ends(many: Tide) -> None:
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(many.rest(place) for place in range(16)))
        await many.rest(0)  # and so does the next one


async def test_a_reply_that_is_broken_off_while_it_rests_holds_up_nobody(many: Tide) -> None:
    broken_off = asyncio.create_task(many.rest(3))
    others = [asyncio.create_task(many.rest(3)) for _ in range(3)]
    await asyncio.sleep(0)
    broken_off.cancel()

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*others)
    assert broken_off.cancelled()


async def test_what_has_ended_is_not_under_way() -> None:
    tide = Tide()
    with ExitStack() as replies:
        for _ in range(FEW + 1):
            replies.enter_context(tide.riding())

    with pytest.raises(StopIteration):
        tide.rest(0).send(None)
