"""Backend and web chat on one port of this process, and a browser that reads streams.

async with up(Settings(...), [tool]) as here:
    async with here.post({"content": "Hello"}) as stream:
        async for part in stream: ...
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec

from antiphon.client.async_client import AsyncClient
from antiphon.runtime.embedded_transport import AsyncEmbeddedTransport
from antiphon.runtime.runtime import Runtime
from antiphon.server.serve import IsClosing, run_server
from antiphon.settings.settings import Settings
from antiphon.tools.functions import Function
from antiphon.web import site as sites
from antiphon.web.app import MAX_REQUEST_BYTES, create_app
from antiphon.web.bridge import DEFAULT_TIMEOUTS, Bridge, BridgeTimeouts
from antiphon.web.site import Site
from antiphon.wires.sse import Decoder
from tests.support.terminal.model import Model

SECONDS = 60
Part = dict[str, Any]


class Stream:
    """The parts of an answer as they arrive; `ids` are the ids of their frames, or None."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self.parts: list[Part] = []
        self.ids: list[str | None] = []
        self.done = False
        self._frames = self._read()

    def __aiter__(self) -> AsyncIterator[Part]:
        return self

    async def __anext__(self) -> Part:
        async with asyncio.timeout(SECONDS):
            return await anext(self._frames)

    async def until(self, type: str) -> Part:
        """Wait for the next part of this type and return it."""
        async for part in self:
            if part["type"] == type:
                return part
        raise AssertionError(f"never came: {type}; there were {self.types}")

    async def end(self) -> list[Part]:
        """Read the stream to its end and return all parts."""
        async for _ in self:
            pass
        return self.parts

    @property
    def types(self) -> list[str]:
        return [part["type"] for part in self.parts]

    @property
    def text(self) -> str:
        return "".join(part["delta"] for part in self.parts if part["type"] == "text-delta")

    async def _read(self) -> AsyncGenerator[Part]:
        decoder = Decoder()
        async for piece in self.response.aiter_bytes():
            for frame in decoder.feed(piece):
                if frame.data == "[DONE]":
                    self.done = True
                    continue
                self.parts.append(json.loads(frame.data))
                self.ids.append(frame.id)
                yield self.parts[-1]


class Served:
    """The web chat, and an HTTP client of it."""

    def __init__(self, url: str, site: Site, http: httpx2.AsyncClient) -> None:
        self.url = url
        self.site = site
        self.http = http

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> AsyncGenerator[Stream]:
        all_headers = {"Origin": self.url, **headers}
        async with self.http.stream(method, path, json=body, headers=all_headers) as response:
            if response.status_code != 200:
                await response.aread()
            yield Stream(response)

    def post(self, body: object, sdk: int = 5) -> Any:
        return self.stream("POST", f"/api/messages/process?sdk={sdk}", body)

    def follow(self, run_id: str, after: str = "") -> Any:
        return self.stream("GET", f"/api/runs/{run_id}/stream", **_cursor(after))

    async def ask(self, path: str, body: object) -> httpx2.Response:
        return await self.http.post(path, json=body, headers={"Origin": self.url})


def _cursor(after: str) -> dict[str, str]:
    return {"Last-Event-ID": after} if after else {}


@asynccontextmanager
async def up(
    settings: Settings,
    tools: Sequence[Function] = (),
    *,
    servers: bool = False,
    timeouts: BridgeTimeouts = DEFAULT_TIMEOUTS,
) -> AsyncGenerator[Served]:
    opened_sites: list[Site] = []

    @asynccontextmanager
    async def open_companion(runtime: Runtime, closing: IsClosing) -> AsyncGenerator[Bridge]:
        client = AsyncClient.over(AsyncEmbeddedTransport.over(runtime))
        async with sites.open_site(settings, client, tools, servers=servers) as site:
            opened_sites.append(site)
            bridge = Bridge(create_app(site, is_bridged=True), MAX_REQUEST_BYTES, closing, timeouts)
            yield bridge
            bridge.close()

    settings = msgspec.structs.replace(settings, port=0)
    async with (
        run_server(settings, open_companion=open_companion) as url,
        httpx2.AsyncClient(base_url=url, timeout=SECONDS) as http,
    ):
        await http.get("/")
        yield Served(url, opened_sites[0], http)


@asynccontextmanager
async def chatting(
    tools: Sequence[Function] = (), *, timeouts: BridgeTimeouts = DEFAULT_TIMEOUTS, **changes: Any
) -> AsyncGenerator[tuple[Served, Model]]:
    """Open the web chat with a model whose replies the test sends; `changes` are settings."""
    async with Model() as model:
        settings = {"database": "memory:", "model": "told", "base_url": model.url, **changes}
        async with up(Settings(**settings), tools, timeouts=timeouts) as served:
            yield served, model
