"""A server before which OpenAI's client stands."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from openai import AsyncOpenAI

from antiphon import AsyncClient
from antiphon.testing.script import Script
from tests.support.server.served import Served


class Place:
    """Server with a scripted model, OpenAI's client of it, and our client."""

    def __init__(self, server: Served, script: Script, native_client: AsyncClient) -> None:
        self.server = server
        self.script = script
        self.native_client = native_client
        self.client = AsyncOpenAI(
            base_url=f"{server.url}/openai/v1", api_key="none", max_retries=0, timeout=20
        )

    async def ask(self, messages: Sequence[Any], **options: Any) -> Any:
        return await self.client.chat.completions.create(
            model=self.script.model, messages=messages, **options
        )

    async def stream(self, messages: Sequence[Any], **options: Any) -> list[Any]:
        return [chunk async for chunk in await self.ask(messages, stream=True, **options)]

    async def wait_for_deletion(self) -> None:
        """Wait until all temporary threads are deleted."""
        async with asyncio.timeout(20):
            while (await self.native_client.list_threads(temporary=True)).data:
                await asyncio.sleep(0)

    async def texts(self, thread_id: str) -> list[str]:
        messages = (await self.native_client.list_messages(thread_id, limit=100)).data
        return [f"{message.role}: {message.text}" for message in messages]
