"""Whether the caller is still there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.types import Receive

T = TypeVar("T")


class Gone(Exception):
    """The caller has left before there was an answer."""


@asynccontextmanager
async def departure(receive: Receive) -> AsyncGenerator[asyncio.Task[None]]:
    """A task that is done when the caller has left; the request's body must have been read."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    watching = asyncio.create_task(watch())
    try:
        yield watching
    finally:
        watching.cancel()


async def while_present(
    receive: Receive,
    work: Coroutine[Any, Any, T],
    welcome: Callable[[], Awaitable[None]],
    recheck: float,
) -> T:
    """The result of work that is done for this caller alone: it is cancelled when they leave.

    `welcome` is asked every `recheck` seconds and raises when they may not wait any longer: what
    it raises is what they are told. Raises `Gone`.
    """
    async with departure(receive) as left:
        working = asyncio.create_task(work)
        try:
            while not working.done():
                await asyncio.wait(
                    {left, working}, timeout=recheck, return_when=asyncio.FIRST_COMPLETED
                )
                if left.done() and not working.done():
                    raise Gone
                if not working.done():
                    await welcome()
            return await working
        finally:
            working.cancel()
            await asyncio.wait({working})
