"""The cache of persons in the web chat."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from antiphon.api.admin import GetPerson
from antiphon.client.async_client import AsyncClient
from antiphon.client.async_transport import AsyncTransport
from antiphon.web.people import User, UserDirectory
from tests.support.web.visiting import open_chat

SECONDS = 60


class DelayedTransport:
    """A transport that holds its first answer about a person until `release` is set."""

    def __init__(self, transport: AsyncTransport) -> None:
        self.was_read, self.release = asyncio.Event(), asyncio.Event()
        self._transport = transport

    async def send(self, call: Any, key: str | None = None) -> Any:
        answer = await self._transport.send(call, key)
        if isinstance(call, GetPerson) and not self.was_read.is_set():
            self.was_read.set()
            await self.release.wait()
        return answer


async def test_a_record_that_comes_late_does_not_replace_a_newer_one() -> None:
    async with open_chat() as chat, asyncio.timeout(SECONDS):
        record = await chat.person("ann")
        ann = User(id=record.id, name=record.name, generation=record.generation)
        transport = DelayedTransport(chat.site.client.transport)
        people = UserDirectory(
            AsyncClient.over(cast("AsyncTransport", transport)), clock=lambda: 0.0
        )
        lookup = asyncio.create_task(people.find(ann.id, ann.generation, "tab"))
        await transport.was_read.wait()
        await people.log_out(ann, "tab")
        transport.release.set()

        assert await lookup is None
        assert await people.find(ann.id, ann.generation, "tab") is None
        assert await people.find(ann.id, ann.generation, "another") is not None
