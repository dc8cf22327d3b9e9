"""The route of imports before a backend of an earlier version."""

from __future__ import annotations

import pytest

from antiphon import AsyncClient, errors
from tests.support.web.visiting import open_chat


async def test_servers_that_know_no_imports_of_chats_have_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answer_as_an_earlier_server(_: AsyncClient) -> None:
        raise errors.NotFound("There is nothing at this address.")

    async with open_chat() as chat:
        ann = await chat.browser().arrive()
        with_imports = await ann.get("/api/chat_imports")
        monkeypatch.setattr(AsyncClient, "list_chat_imports", answer_as_an_earlier_server)
        without_imports = await ann.get("/api/chat_imports")

    assert with_imports.json["max_bytes"] > 0
    assert (
        without_imports.status_code,
        without_imports.json["data"],
        without_imports.json["max_bytes"],
    ) == (200, [], 0)
