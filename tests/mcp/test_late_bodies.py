"""Requests over MCP whose body comes late."""

from __future__ import annotations

import pytest
from starlette.types import Message, Receive, Scope, Send

from antiphon.client.async_client import AsyncClient
from antiphon.mcp.server import server


@pytest.mark.parametrize(("is_admitted", "statuses"), [(True, [200]), (False, [401])])
async def test_a_late_request_counts_once_and_is_refused_without_its_key(
    is_admitted: bool, statuses: list[int]
) -> None:
    admitted_paths: list[str] = []
    sent_statuses: list[int] = []

    async def is_still_admitted() -> bool:
        return is_admitted

    async def admit(scope: Scope) -> server.Admission:
        admitted_paths.append(scope["path"])
        return server.Admission(AsyncClient(), is_still_admitted)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["body"] == b"{}"
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            sent_statuses.append(message["status"])

    app = server._RequireAdmission(serve, admit, 1000)
    await app({"type": "http", "method": "POST", "path": "/mcp", "headers": []}, receive, send)

    assert admitted_paths == ["/mcp"]
    assert sent_statuses == statuses
