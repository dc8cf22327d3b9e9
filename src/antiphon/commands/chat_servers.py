"""The MCP servers of a chat: they start behind its prompt, and end with it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from antiphon.commands.mcp_found import looked_for, unstarted
from antiphon.settings import Settings
from antiphon.terminal.chat import Chat
from antiphon.terminal.person import Person
from antiphon.terminal.sampling import sampled
from antiphon.terminal.servers import Attendance
from antiphon.tools.mcp import places
from antiphon.tools.mcp.authorizing import authorizing
from antiphon.tools.mcp.generations import generations
from antiphon.tools.mcp.places import Usable
from antiphon.tools.mcp.toolbox import McpServers


@asynccontextmanager
async def attended(chat: Chat, settings: Settings) -> AsyncGenerator[None]:
    """The servers that are written down are the chat's as long as this is entered.

    Raises `BadSettings` for a file that cannot be read.
    """
    usable = await _usable(chat, settings)
    attendance = Attendance(chat, usable.problems)
    if not any(config.enabled for config in usable.configs):
        yield
        return
    servers = McpServers(
        usable.configs,
        Person(chat.surface, partial(sampled, chat), verbose=settings.verbose),
        auth=authorizing(settings, os.environ),
        changed=attendance.changed,
        generations=generations(os.environ),
    )
    chat.servers = chat.processor.toolbox = servers
    async with servers:
        yield


async def _usable(chat: Chat, settings: Settings) -> Usable:
    """What can be started; files and keyrings may be slow, so they are read in a thread."""
    found = await asyncio.to_thread(looked_for, settings)
    for each in unstarted(found):
        chat.surface.say(each, "warning")
    return await asyncio.to_thread(places.usable, found.servers, os.environ)
