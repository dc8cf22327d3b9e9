"""A web chat behind a proxy that names its users, which needs no slow password hash."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tests.support.web.visiting import HERE, Browser, Chat, open_chat


@asynccontextmanager
async def many_may_come() -> AsyncGenerator[Chat]:
    """Open a web chat behind a proxy that names the user."""
    async with open_chat(login="proxy", trusted_proxies=(HERE,)) as chat:
        yield chat


async def browser_of(chat: Chat, name: str) -> Browser:
    """Return the browser of a user with this name."""
    return await chat.browser(headers={"X-Forwarded-User": name}).arrive()


async def id_of(browser: Browser) -> str:
    return (await browser.get("/api/me")).json["person"]["id"]
