"""Threads by the names that other clients give them: each keeps its own, and sends no other."""

from __future__ import annotations

import hashlib

from antiphon.calls import CreateThread, ListThreads
from antiphon.client.aio import AsyncClient
from antiphon.runs import Thread

OURS = "thread_"
NAME = "client_name"
"""The key, in a thread's metadata, of the name that a client gave it."""
PAGE = 100
LOOKED_AT = 1000
"""Threads that are looked at, the newest first."""


async def found(client: AsyncClient, name: str) -> Thread | None:
    """The newest thread of this name. One of ours is named by its id. Raises `NotFound`."""
    if name.startswith(OURS):
        return await client.get_thread(name)
    looked_at = 0
    async for thread in client.every(ListThreads(limit=PAGE)):
        if thread.metadata.get(NAME) == name:
            return thread
        looked_at += 1
        if looked_at == LOOKED_AT:
            break
    return None


async def made(client: AsyncClient, name: str) -> Thread:
    """The thread of this name, made now if there is none: once, however often it is asked for."""
    thread = await found(client, name)
    if thread is not None:
        return thread
    return await client.line.send(CreateThread(metadata={NAME: name}), digest("thread", name))


def digest(*words: str) -> str:
    """An idempotency key of what a client calls something, whatever letters it uses."""
    return hashlib.sha256("\0".join(words).encode("utf-8", "replace")).hexdigest()
