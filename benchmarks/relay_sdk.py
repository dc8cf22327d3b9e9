"""The usual way to hand a model's reply on: Starlette and openai's SDK.

python -m benchmarks.relay_sdk http://127.0.0.1:PORT
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator

import openai
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from benchmarks.relay import serve


def relay(upstream: str) -> ASGIApp:
    """An application that decodes each chunk into the SDK's objects, and encodes it again."""
    client = openai.AsyncOpenAI(base_url=upstream + "/v1", api_key="none", max_retries=0)

    async def events(asked: dict[str, object]) -> AsyncIterator[str]:
        async for chunk in await client.chat.completions.create(**asked):  # type: ignore[call-overload]
            yield f"data: {chunk.model_dump_json()}\n\n"
        yield "data: [DONE]\n\n"

    async def complete(request: Request) -> StreamingResponse:
        asked = json.loads(await request.body())
        return StreamingResponse(events(asked), media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])


if __name__ == "__main__":
    serve(relay(sys.argv[1]))
