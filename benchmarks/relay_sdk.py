"""The usual way to relay a model's reply: Starlette and openai's SDK.

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
    """Return an application that decodes each chunk with the SDK, and encodes it again."""
    client = openai.AsyncOpenAI(base_url=upstream + "/v1", api_key="none", max_retries=0)

    async def events(parameters: dict[str, object]) -> AsyncIterator[str]:
        async for chunk in await client.chat.completions.create(**parameters):  # type: ignore[call-overload]
            yield f"data: {chunk.model_dump_json()}\n\n"
        yield "data: [DONE]\n\n"

    async def complete(request: Request) -> StreamingResponse:
        parameters = json.loads(await request.body())
        return StreamingResponse(events(parameters), media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])


if __name__ == "__main__":
    serve(relay(sys.argv[1]))
