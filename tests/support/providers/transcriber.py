"""A server with OpenAI's operations on audio, whose answers a test sets."""

from __future__ import annotations

import asyncio
import json
import wave
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from io import BytesIO
from typing import Any, NamedTuple

from aiohttp import BodyPartReader, web
from aiohttp.test_utils import TestServer

from antiphon.client.portal import Portal


class Recording(NamedTuple):
    """A request: fields of its form, name, media type and bytes of the recording, and the key."""

    fields: dict[str, str]
    name: str
    media_type: str
    audio: bytes
    key: str | None


def silence(seconds: float = 0.1) -> bytes:
    """Return a silent WAV file."""
    file = BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(int(16000 * seconds)))
    return file.getvalue()


class FakeTranscriber:
    """Records each request and answers it with `status` and `body` once `open` is set.

    `left` is set when a client disconnects before its answer. A request for speech is answered with
    `speech`.
    """

    def __init__(self) -> None:
        self.recordings: list[Recording] = []
        self.texts: list[dict[str, Any]] = []
        self.speech = silence()
        self.open = asyncio.Event()
        self.open.set()
        self.left = asyncio.Event()
        self._changed = asyncio.Condition()
        self.status = 200
        self.body = json.dumps({"text": " Good morning. "}).encode()
        self.url = ""

    async def wait_for(self, count: int) -> None:
        """Wait until this many recordings and texts have been received."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: len(self.recordings) + len(self.texts) >= count)

    async def _wait_until_open(self) -> None:
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.left.set()
            raise

    async def answer(self, request: web.Request) -> web.Response:
        fields: dict[str, str] = {}
        name = media_type = ""
        audio = b""
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            if part.filename:
                name, media_type = part.filename, part.headers["Content-Type"]
                audio = bytes(await part.read())
            else:
                fields[part.name or ""] = await part.text()
        key = request.headers.get("Authorization") or request.query.get("key")
        async with self._changed:
            self.recordings.append(Recording(fields, name, media_type, audio, key))
            self._changed.notify_all()
        await self._wait_until_open()
        return web.Response(body=self.body, status=self.status, content_type="application/json")

    async def speak(self, request: web.Request) -> web.Response:
        text = await request.json()
        async with self._changed:
            self.texts.append(text)
            self._changed.notify_all()
        await self._wait_until_open()
        if self.status != 200:
            return web.Response(body=self.body, status=self.status)
        return web.Response(body=self.speech, content_type="audio/mpeg")


@asynccontextmanager
async def serve_transcriber() -> AsyncGenerator[FakeTranscriber]:
    """Run a transcriber on loopback."""
    fake = FakeTranscriber()
    app = web.Application(client_max_size=2**25)
    app.router.add_post("/v1/audio/transcriptions", fake.answer)
    app.router.add_post("/v1/audio/speech", fake.speak)
    async with TestServer(app) as server:
        fake.url = str(server.make_url("/v1"))
        yield fake


@contextmanager
def transcriber_in_thread() -> Generator[FakeTranscriber]:
    """Run a transcriber in its own thread."""
    portal, stack = Portal(), AsyncExitStack()
    try:
        yield portal.run(stack.enter_async_context(serve_transcriber()))
    finally:
        portal.run(stack.aclose())
        portal.close()
