"""An editor in this process that talks to the agent with the protocol's own client."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from acp import connect_to_agent, run_agent
from acp.client.connection import ClientSideConnection
from acp.schema import (
    AllowedOutcome,
    ClientCapabilities,
    DeniedOutcome,
    FileSystemCapabilities,
    ReadTextFileResponse,
    RequestPermissionResponse,
)

from antiphon.acp.agent import AcpAgent
from antiphon.acp.json_rpc import LineTransport
from antiphon.acp.session import SessionSetup
from antiphon.client.async_client import AsyncClient
from antiphon.settings.settings import Settings
from antiphon.tools.consent import SessionGrants
from antiphon.tools.functions import Functions

SECONDS = 300


class Editor:
    """Records what the agent sends. `answer` chooses an option of each permission request."""

    def __init__(self) -> None:
        self.updates: list[Any] = []
        self.questions: list[Any] = []
        self.warnings: list[str] = []
        self.answer: Callable[[Any, Sequence[Any]], str | None] = lambda _, options: None
        self.buffers: dict[str, str] = {}
        self.before_read: tuple[asyncio.Event, asyncio.Event] | None = None
        """The first is set when the agent reads a file; the answer waits for the second."""
        self.came = asyncio.Condition()
        self.agent: ClientSideConnection

    # Called by the agent.

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        async with self.came:
            self.updates.append(update)
            self.came.notify_all()

    async def request_permission(
        self, session_id: str, tool_call: Any, options: Sequence[Any], **_: Any
    ) -> RequestPermissionResponse:
        async with self.came:
            self.questions.append((tool_call, options))
            self.came.notify_all()
        chosen = self.answer(tool_call, options)
        if chosen is None:
            return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))
        return RequestPermissionResponse(
            outcome=AllowedOutcome(outcome="selected", option_id=chosen)
        )

    async def read_text_file(self, session_id: str, path: str, **_: Any) -> ReadTextFileResponse:
        if self.before_read is not None:
            requested, go = self.before_read
            requested.set()
            await go.wait()
        return ReadTextFileResponse(content=self.buffers[path])

    def on_connect(self, conn: Any) -> None:
        self.agent = conn

    # Called by tests.

    async def until(self, predicate: Callable[[], bool]) -> None:
        """Wait until the predicate is true after an update or a question."""
        async with asyncio.timeout(SECONDS), self.came:
            await self.came.wait_for(predicate)

    def texts(self, kind: str = "agent_message_chunk") -> str:
        return "".join(
            update.content.text for update in self.updates if update.session_update == kind
        )

    def calls(self) -> dict[str, dict[str, Any]]:
        """Return the tool calls by their ids, with the fields of all updates."""
        calls: dict[str, dict[str, Any]] = {}
        for update in self.updates:
            if update.session_update in ("tool_call", "tool_call_update"):
                fields = update.model_dump(exclude_none=True, exclude_unset=True)
                calls.setdefault(update.tool_call_id, {}).update(fields)
        return calls


def choose(kind: str, name: str = "") -> Callable[[Any, Sequence[Any]], str | None]:
    """Return an answer that selects the option of this kind, whose name has these words."""
    return lambda _, options: next(
        option.option_id for option in options if option.kind == kind and name in option.name
    )


@asynccontextmanager
async def open_editor(
    settings: Settings,
    *functions: Callable[..., Any],
    client: AsyncClient | None = None,
    **setup: Any,
) -> AsyncGenerator[Editor]:
    """Yield an editor that is connected to an agent and has sent its capabilities."""
    editor = Editor()
    editor_socket, agent_socket = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=editor_socket)
    agent_reader, agent_writer = await asyncio.open_connection(sock=agent_socket)
    async with client or AsyncClient(settings=settings) as agent_client:
        agent = AcpAgent(
            SessionSetup(
                client=agent_client,
                settings=settings,
                functions=functions,
                own_tools=tuple(Functions(functions).tools()),
                grants=SessionGrants(),
                options={},
                warn=editor.warnings.append,
                **setup,
            )
        )
        serving = asyncio.create_task(
            run_agent(
                agent,
                LineTransport(agent_reader, agent_writer),
                use_unstable_protocol=True,
                observers=[agent.observe],
            )
        )
        connection = connect_to_agent(editor, writer, reader)  # type: ignore[arg-type]
        try:
            await connection.initialize(
                protocol_version=1,
                client_capabilities=ClientCapabilities(
                    fs=FileSystemCapabilities(read_text_file=True)
                ),
            )
            yield editor
        finally:
            await connection.close()
            writer.close()
            await serving
            agent_writer.close()
            await agent.close()
