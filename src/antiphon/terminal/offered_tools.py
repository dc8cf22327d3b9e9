"""The tools that a chat offers to models: functions, skills, memory and documents."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from antiphon.api.operations import Content
from antiphon.client.async_client import AsyncClient
from antiphon.client.document_tools import DocumentTools
from antiphon.ports import Toolbox
from antiphon.skills.workspace import NO_WORKSPACE, Workspace
from antiphon.terminal.chat_state import ChatState
from antiphon.terminal.ui_manager import UiManager
from antiphon.tools.functions import Function
from antiphon.tools.memory import MemoryTools
from antiphon.tools.tool_sources import ToolSource
from antiphon.types.errors import AntiphonError
from antiphon.types.messages import File

READING_PATIENCE = 20.0  # seconds for the text of attached documents
READING_PAUSE = 0.2
PATIENCE = 2.0
"""Seconds that the first message waits for servers that are slow to start."""


class OfferedTools:
    """The functions of the program and of the chat; MCP servers are the state's.

    `workspace` has the skills. Memory and documents are offered beside other tools only: a chat
    without tools stays without, because not every model can be offered some.
    """

    def __init__(
        self, client: AsyncClient, ui: UiManager, state: ChatState, functions: Sequence[Function]
    ) -> None:
        self.workspace: Workspace = NO_WORKSPACE
        self._client = client
        self._ui = ui
        self._state = state
        self._functions = tuple(functions)
        self._memory = MemoryTools(client)
        self._may_remember = False
        self._documents: Toolbox | None = None
        self._waited_for_servers = False

    def sources(self) -> Sequence[ToolSource]:
        """Return the program's functions, the tools of skills, and those offered beside them."""
        memory = (self._memory,) if self._may_remember else ()
        documents = (self._documents,) if self._documents is not None else ()
        return (*self._functions, self.workspace.skills, *memory, *documents)

    async def wait_for_servers(self) -> None:
        """Wait a moment for servers that are starting, once; the message then goes without them."""
        servers = self._state.servers.toolbox
        if servers is None or self._waited_for_servers:
            return
        for state in await servers.ready(PATIENCE):
            if state.status == "starting":
                self._ui.say(f"{state.server} is still starting; not waited for.", "faint")
        self._waited_for_servers = True

    async def offer_memory(self) -> None:
        """Offer the tools of memory, unless the person or the thread forbids it."""
        self._may_remember = False
        if self._has_tools and not self._state.temporary:
            with suppress(AntiphonError):  # the server may be of the version before
                settings = await self._client.get_personal_settings()
                self._may_remember = settings.memory_enabled

    async def offer_documents(self, thread_id: str, content: Content | None) -> None:
        """Offer the tools that search documents where the conversation has some.

        Of files that go along with the message the text is read first, or some seconds pass.
        """
        parts = content if isinstance(content, tuple) else ()
        attached = [each.file_id for each in parts if isinstance(each, File)]
        tools = DocumentTools(self._client.transport, thread_id, None)
        self._documents = None
        with suppress(AntiphonError):  # the server may be of the version before
            await self._wait_for_documents(attached)
            if self._has_tools and (attached or await tools.specs()):
                self._documents = tools.toolbox

    @property
    def _has_tools(self) -> bool:
        servers = self._state.servers.toolbox
        return bool(self._functions) or (servers is not None and bool(servers.tools()))

    async def _wait_for_documents(self, file_ids: Sequence[str]) -> None:
        """Wait until the text of these files is read, at most `READING_PATIENCE` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(READING_PATIENCE):
                for file_id in file_ids:
                    while (document := (await self._client.get_file(file_id)).document) is not None:
                        if document.status != "pending":
                            break
                        await asyncio.sleep(READING_PAUSE)
