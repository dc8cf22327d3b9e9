"""A client over HTTP and a client in this process, for tests that hold for both."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from antiphon.api.operations import NewMessage
from antiphon.client.async_client import AsyncClient
from antiphon.server.serve import run_server
from antiphon.settings.settings import Settings
from antiphon.types.messages import ToolSpec

SETTINGS = Settings(
    model="demo", database="memory:", demo_delay=0, port=0, shutdown_timeout=0.1, documents=False
)
ASK = NewMessage("When does the next LAX-JFK flight leave?")
TOOL = ToolSpec("get_flight_times", "", {"type": "object", "properties": {}})


@asynccontextmanager
async def over_http() -> AsyncGenerator[AsyncClient]:
    async with run_server(SETTINGS) as url, AsyncClient(url) as client:
        yield client


@asynccontextmanager
async def in_this_process() -> AsyncGenerator[AsyncClient]:
    async with AsyncClient(settings=SETTINGS) as client:
        yield client


LINES = (over_http, in_this_process)


async def waiting_run(client: AsyncClient, message: NewMessage = ASK) -> str:
    """Start a run that waits for its client's tool; return its id."""
    async with client.process(message=message, tools=(TOOL,)) as events:
        async for _ in events:
            pass
        assert events.run_id is not None
        return events.run_id
