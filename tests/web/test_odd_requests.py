"""The web chat answers every request: a malformed one never causes an internal error."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.web.visiting import Browser, open_chat

ODD_BODIES = (
    b"",
    b"null",
    b"[]",
    b"7",
    b'"x"',
    b"{",
    b"\xff\xfe",
    b'{"title": null}',
    b'{"title": "\\ud800"}',
    b'{"title": "a\\u0000b"}',
    b'{"title": ' + b'"x"' * 2 + b"}",
    b'{"title": "' + b"x" * 600 + b'"}',
    b'{"message_id": 1e999}',
    b'{"message_id": "' + b"x" * 5000 + b'"}',
    b'{"name": "\\ud800", "message_id": "\\ud800", "title": "\\ud800"}',
    b'{"starters": {"a": 1}, "message_id": [], "title": {}}',
    b'{"instructions": 99999999999999999999999, "message_id": 1, "title": 1}',
    b"[" * 100_000,
)
CHANGES = (
    ("PATCH", "/api/threads/{id}"),
    ("POST", "/api/threads/{id}/branch"),
    ("POST", "/api/assistants"),
    ("PATCH", "/api/assistants/{id}"),
    ("POST", "/api/shared/{id}"),
    ("POST", "/api/assistants/{id}/share"),
    ("POST", "/api/messages/process"),
    ("POST", "/api/agui"),
    ("POST", "/api/runs/{id}/approvals/{id}"),
    ("POST", "/api/login"),
    ("POST", "/api/password"),
)
READS = (
    "/api/threads/{id}",
    "/api/threads/{id}/messages?before=99999999999999999999999&limit=500",
    "/api/threads/{id}/messages?before=0",
    "/api/threads/{id}/messages?before=-1",
    "/api/threads/{id}/export?as=..%2f",
    "/api/files/{id}",
    "/api/files/{id}?inline=2",
    "/api/assistants/{id}",
    "/api/assistants?after={id}",
    "/api/threads?after={id}",
    "/api/threads?after=1.{id}&q={id}",
    "/api/shared/{id}",
)
NAMES = ("x", "thread_x", "a%00b", "%ff", "%ed%a0%80", "..", "x" * 3000, "a%0d%0ab", "%F0%9F%98%80")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with open_chat() as chat:
        yield await chat.browser().arrive()


@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_odd_bodies_break_nothing(browser: Browser, method: str, path: str) -> None:
    for body in ODD_BODIES:
        answer = await browser.open(
            method, path.format(id="x"), data=body, content_type="application/json"
        )
        assert answer.status_code < 500, (body[:40], answer.status_code)
        if answer.status_code >= 400:
            assert answer.mimetype == "application/problem+json"


@pytest.mark.parametrize("path", READS)
async def test_odd_addresses_break_nothing(browser: Browser, path: str) -> None:
    for name in NAMES:
        answer = await browser.get(path.format(id=name))
        assert answer.status_code < 500, (name[:40], answer.status_code)
        if answer.status_code >= 400:
            assert answer.mimetype == "application/problem+json"
