"""Antiphon as an agent of the Agent Client Protocol, version 1: sessions are threads.

The protocol is at https://agentclientprotocol.com. Its requests arrive here; a session does the
work. Nothing is sent about a session before the response that names it, because some editors
(JetBrains) otherwise wait for ever.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import acp
import msgspec
from acp.connection import StreamDirection, StreamEvent
from acp.exceptions import RequestError
from acp.interfaces import Client
from acp.schema import (
    AgentCapabilities,
    AuthenticateResponse,
    AuthMethodAgent,
    AvailableCommand,
    AvailableCommandInput,
    AvailableCommandsUpdate,
    ClientCapabilities,
    CloseSessionResponse,
    ForkSessionResponse,
    Implementation,
    InitializeResponse,
    ListSessionsResponse,
    LoadSessionResponse,
    McpCapabilities,
    NewSessionResponse,
    PromptCapabilities,
    PromptResponse,
    ResumeSessionResponse,
    SessionCapabilities,
    SessionCloseCapabilities,
    SessionConfigOptionSelect,
    SessionConfigSelectOption,
    SessionForkCapabilities,
    SessionInfo,
    SessionListCapabilities,
    SessionModeState,
    SessionResumeCapabilities,
    SetSessionConfigOptionResponse,
    SetSessionModeResponse,
    StopReason,
    UnstructuredCommandInput,
)

import antiphon
from antiphon.acp.json_rpc import translate_errors
from antiphon.acp.permissions import SESSION_MODES
from antiphon.acp.prompts import Block, PromptReader
from antiphon.acp.servers import AnyServer, run_servers
from antiphon.acp.session import Session, SessionSetup
from antiphon.acp.updates import text_update
from antiphon.client.thread_families import latest_threads
from antiphon.skills.commands import FileCommand
from antiphon.skills.discovery import FoundFile
from antiphon.skills.workspace import explain_untrusted
from antiphon.tools.permission_modes import MODES, find_mode
from antiphon.types.errors import (
    AntiphonError,
    InvalidRequest,
    NotFound,
)
from antiphon.types.json_values import is_object
from antiphon.types.runs import Thread
from antiphon.types.terminal_safe import clean, one_line

KEY = "api-key"
"""The method of authentication of a server: a key in the environment."""
FOLDER = "acp_folder"
"""Metadata key of a thread with the working folder of its session."""
FOLDER_CHARACTERS = 512
MODEL = "model"
PAGE = 50

COMMANDS = (
    AvailableCommand(name="compact", description="Sum up the older messages of this session"),
    AvailableCommand(name="tools", description="List the tools that the model may call"),
    AvailableCommand(name="skills", description="List skills, instructions and slash commands"),
    AvailableCommand(name="servers", description="List the MCP servers and their states"),
)

_OPENING = ("session/new", "session/load", "session/resume", "session/fork")


class AcpAgent:
    """Answers an editor's requests. One connection, any number of sessions."""

    def __init__(self, setup: SessionSetup) -> None:
        self._setup = setup
        self._sessions: dict[str, Session] = {}
        self._stacks: dict[str, AsyncExitStack] = {}
        self._changing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._capabilities = ClientCapabilities()
        self._opening: dict[object, str] = {}
        self._announcements: set[asyncio.Task[None]] = set()

    def on_connect(self, conn: Client) -> None:
        """Take the connection."""
        self._editor = conn

    def observe(self, event: StreamEvent) -> None:
        """Announce the commands of a session once the response that opens it was sent."""
        message = event.message
        request_id = message.get("id")
        if event.direction is StreamDirection.INCOMING and message.get("method") in _OPENING:
            params = message.get("params")
            named = params.get("sessionId") if is_object(params) else None
            self._opening[request_id] = str(named or "")
        elif event.direction is StreamDirection.OUTGOING and "result" in message:
            if (named := self._opening.pop(request_id, None)) is None:
                return
            session = self._sessions.get(message["result"].get("sessionId", named))
            if session is not None:
                self._announce(session)

    async def initialize(
        self,
        protocol_version: int,
        client_capabilities: ClientCapabilities | None = None,
        client_info: Implementation | None = None,
        **_: Any,
    ) -> InitializeResponse:
        """Return what this agent can do; the version is 1, whatever the editor asks for."""
        self._capabilities = client_capabilities or ClientCapabilities()
        server = self._setup.settings.server
        key = AuthMethodAgent(
            id=KEY,
            name="API key",
            description=f"Set ANTIPHON_API_KEY to a key of {server} in the editor's settings",
        )
        return InitializeResponse(
            protocol_version=acp.PROTOCOL_VERSION,
            agent_info=Implementation(
                name="antiphon", title="Antiphon", version=antiphon.__version__
            ),
            agent_capabilities=AgentCapabilities(
                load_session=True,
                prompt_capabilities=PromptCapabilities(
                    image=True, audio=False, embedded_context=True
                ),
                mcp_capabilities=McpCapabilities(http=True, sse=True),
                session_capabilities=SessionCapabilities(
                    list=SessionListCapabilities(),
                    fork=SessionForkCapabilities(),
                    resume=SessionResumeCapabilities(),
                    close=SessionCloseCapabilities(),
                ),
            ),
            auth_methods=[key] if server else [],
        )

    @translate_errors
    async def authenticate(self, method_id: str, **_: Any) -> AuthenticateResponse:
        """Check the key against the server."""
        if method_id != KEY:
            raise InvalidRequest("There is no such method.", expected=KEY, received=method_id[:100])
        await self._setup.client.get_caller()
        return AuthenticateResponse()

    @translate_errors
    async def new_session(
        self,
        cwd: str,
        additional_directories: list[str] | None = None,
        mcp_servers: Sequence[AnyServer] | None = None,
        **_: Any,
    ) -> NewSessionResponse:
        """Begin a session in a thread of its own."""
        folders = _folders(cwd, additional_directories)
        thread = await self._setup.client.create_thread(metadata={FOLDER: cwd[:FOLDER_CHARACTERS]})
        session = await self._open(thread, folders, mcp_servers or ())
        return NewSessionResponse(
            session_id=session.id,
            modes=_modes(session),
            config_options=await self._options(session),
        )

    @translate_errors
    async def load_session(
        self,
        cwd: str,
        session_id: str,
        mcp_servers: Sequence[AnyServer] | None = None,
        additional_directories: list[str] | None = None,
        **_: Any,
    ) -> LoadSessionResponse:
        """Open an earlier session, and send everything that was said in it."""
        session = await self._reopen(session_id, cwd, additional_directories, mcp_servers)
        await session.replay()
        return LoadSessionResponse(
            modes=_modes(session), config_options=await self._options(session)
        )

    @translate_errors
    async def resume_session(
        self,
        session_id: str,
        cwd: str,
        additional_directories: list[str] | None = None,
        mcp_servers: Sequence[AnyServer] | None = None,
        **_: Any,
    ) -> ResumeSessionResponse:
        """Open an earlier session whose messages the editor has."""
        session = await self._reopen(session_id, cwd, additional_directories, mcp_servers)
        return ResumeSessionResponse(
            modes=_modes(session), config_options=await self._options(session)
        )

    @translate_errors
    async def fork_session(
        self,
        session_id: str,
        cwd: str,
        additional_directories: list[str] | None = None,
        mcp_servers: Sequence[AnyServer] | None = None,
        **_: Any,
    ) -> ForkSessionResponse:
        """Begin a session with everything that was said in another."""
        folders = _folders(cwd, additional_directories)
        thread = await self._setup.client.fork_thread(session_id)
        session = await self._open(thread, folders, mcp_servers or ())
        return ForkSessionResponse(
            session_id=session.id,
            modes=_modes(session),
            config_options=await self._options(session),
        )

    @translate_errors
    async def list_sessions(
        self, cwd: str | None = None, cursor: str | None = None, **_: Any
    ) -> ListSessionsResponse:
        """Return the conversations, last changed first; with `cwd`, those of that folder."""
        listing = latest_threads(limit=PAGE, after=cursor)
        if cwd is not None:
            folder = {FOLDER: cwd[:FOLDER_CHARACTERS]}
            listing = msgspec.structs.replace(listing, metadata=folder)
        page = await self._setup.client.transport.send(listing)
        return ListSessionsResponse(
            sessions=[_session_info(thread, cwd) for thread in page.data],
            next_cursor=page.next if page.has_more else None,
        )

    @translate_errors
    async def set_session_mode(
        self, session_id: str, mode_id: str, **_: Any
    ) -> SetSessionModeResponse:
        """Change how tool calls are permitted."""
        session = self._find(session_id)
        if (mode := find_mode(mode_id)) is None:
            raise InvalidRequest(
                "There is no such mode.", expected=", ".join(MODES), received=mode_id[:100]
            )
        session.set_mode(mode)
        return SetSessionModeResponse()

    @translate_errors
    async def set_config_option(
        self, config_id: str, session_id: str, value: str | bool, **_: Any
    ) -> SetSessionConfigOptionResponse:
        """Change the model of the next prompts."""
        session = self._find(session_id)
        if config_id != MODEL or not isinstance(value, str):
            raise InvalidRequest(
                "There is no such option.", expected=MODEL, received=config_id[:100]
            )
        session.model = value
        return SetSessionConfigOptionResponse(config_options=await self._options(session))

    @translate_errors
    async def prompt(self, session_id: str, prompt: Sequence[Block], **_: Any) -> PromptResponse:
        """Answer a prompt, or carry out a command."""
        session = self._find(session_id)
        return PromptResponse(stop_reason=await session.prompt(self._answer(session, prompt)))

    async def cancel(self, session_id: str, **_: Any) -> None:
        """Stop what a session does; an unknown session does nothing."""
        session = self._sessions.get(session_id)
        if session is not None:
            await session.cancel()

    @translate_errors
    async def close_session(self, session_id: str, **_: Any) -> CloseSessionResponse:
        """End a session and its MCP servers; its thread stays."""
        async with self._lock(session_id):
            await self._find(session_id).close()
            await self._drop(session_id)
        return CloseSessionResponse()

    async def ext_method(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Refuse a method that is no part of the protocol."""
        raise RequestError.method_not_found(method)

    async def ext_notification(self, method: str, params: dict[str, Any]) -> None:
        """Ignore a notification that is no part of the protocol."""

    async def close(self) -> None:
        """End all MCP servers. Runs that were under way are finished by the next prompt."""
        for session_id in list(self._stacks):
            await self._drop(session_id)

    # Sessions.

    def _find(self, session_id: str) -> Session:
        session = self._sessions.get(session_id)
        if session is None:
            raise NotFound(
                f"The session {session_id[:100]} is not open.", hint="Load it, or begin another."
            )
        return session

    async def _reopen(
        self,
        session_id: str,
        cwd: str,
        more: list[str] | None,
        servers: Sequence[AnyServer] | None,
    ) -> Session:
        folders = _folders(cwd, more)
        async with self._lock(session_id):
            thread = await self._setup.client.get_thread(session_id)  # a close may delete it
            if (before := self._sessions.get(session_id)) is not None:
                await before.stop()  # afterwards nothing could cancel its prompt
            await self._drop(session_id)
            return await self._open(thread, folders, servers or ())

    def _lock(self, session_id: str) -> asyncio.Lock:
        """Return the lock under which this session is opened again or closed.

        Of two that open it at once, one would replace the other's session without stopping it.
        """
        return self._changing.setdefault(session_id, asyncio.Lock())

    async def _open(
        self, thread: Thread, folders: Sequence[Path], servers: Sequence[AnyServer]
    ) -> Session:
        async with AsyncExitStack() as stack:
            pool = await stack.enter_async_context(run_servers(self._setup, folders, servers))
            session = Session(self._setup, self._editor, thread.id, folders, pool)
            await self._find_workspace(session)
            self._sessions[thread.id], self._stacks[thread.id] = session, stack.pop_all()
            return session

    async def _find_workspace(self, session: Session) -> None:
        """Find the skills, instructions and slash commands for the prompts from now on."""
        folder = session.folders[0]
        session.workspace = await asyncio.to_thread(self._setup.find_workspace, folder)
        if untrusted := session.workspace.untrusted:
            remedy = f"antiphon trust {shlex.quote(str(folder))}"
            self._setup.warn(explain_untrusted(untrusted, remedy))

    async def _drop(self, session_id: str) -> None:
        self._sessions.pop(session_id, None)
        stack = self._stacks.pop(session_id, None)
        if stack is not None:
            await stack.aclose()

    async def _answer(self, session: Session, prompt: Sequence[Block]) -> StopReason:
        reads = self._capabilities.fs is not None and self._capabilities.fs.read_text_file

        async def read_text(path: str) -> str:
            found = await self._editor.read_text_file(session_id=session.id, path=path)
            return found.content

        message = await PromptReader(session.folders, read_text if reads else None).read(prompt)
        if message.text.startswith("/"):
            words = message.text.removeprefix("/").strip()
            answer = None if message.files else await self._carry_out(session, words)
            if answer is not None:
                await session.send(text_update(answer))
                return "end_turn"
            name, _, rest = message.text.removeprefix("/").replace("\n", " \n", 1).partition(" ")
            command = _file_commands(session).get(name)
            if command is not None:
                message = msgspec.structs.replace(message, text=command.expand(rest.strip()))
        if not message.text.strip() and not message.files:
            raise InvalidRequest("The prompt is empty.", expected="a text or a file")
        return await session.answer(message)

    def _announce(self, session: Session) -> None:
        """Send the commands of a session."""
        update = AvailableCommandsUpdate(
            session_update="available_commands_update",
            available_commands=[*COMMANDS, *map(_available, _file_commands(session).values())],
        )
        task = asyncio.create_task(_send_quietly(session, update))
        self._announcements.add(task)
        task.add_done_callback(self._announcements.discard)

    async def _options(self, session: Session) -> list[Any]:
        """Return the options of a session: its model, if the models can be listed."""
        try:
            models = (await self._setup.client.list_models()).data
        except AntiphonError as error:
            self._setup.warn(f"the models cannot be listed: {error}")
            return []
        names = [model.id for model in models]
        default = next((model.id for model in models if model.default), "")
        current = session.model or default
        if current and current not in names:
            names.insert(0, current)
        if not names:
            return []
        options = [SessionConfigSelectOption(value=name, name=name) for name in names]
        return [
            SessionConfigOptionSelect(
                type="select",
                id=MODEL,
                name="Model",
                category="model",
                current_value=current or names[0],
                options=options,
            )
        ]

    async def _carry_out(self, session: Session, words: str) -> str | None:
        """Return the answer of a command; None if there is no such command."""
        match words.partition(" ")[0]:
            case "compact":
                done = await self._setup.client.compact(session.id, model=session.model or None)
                if done is None:
                    return "Nothing is old enough to be summed up."
                return f"Summed up: {done.tokens_before:,} -> {done.tokens_after:,} tokens."
            case "tools":
                names = [f"- `{tool.spec.name}`" for tool in session.tools()]
                return "\n".join(names) or "There are no tools."
            case "skills":
                await self._find_workspace(session)
                self._announce(session)
                found = [_describe(each) for each in session.workspace.found]
                if session.workspace.untrusted:
                    remedy = f"antiphon trust {shlex.quote(str(session.folders[0]))}"
                    found.append(f"\n`{remedy}` shows what is not trusted, and asks.")
                return "\n".join(found) or "There are no skills."
            case "servers":
                states = session.servers.states() if session.servers is not None else ()
                lines = [f"- {each.server}: {each.status} {each.why}".rstrip() for each in states]
                return "\n".join(lines) or "There are no MCP servers."
            case _:
                return None


def _file_commands(session: Session) -> dict[str, FileCommand]:
    """Return the slash commands from files by name."""
    return {each.name: each for each in session.workspace.commands}


def _available(command: FileCommand) -> AvailableCommand:
    hint = UnstructuredCommandInput(hint=clean(command.arguments)) if command.arguments else None
    return AvailableCommand(
        name=command.name,
        description=clean(command.meaning),
        input=None if hint is None else AvailableCommandInput(hint),
    )


def _describe(found: FoundFile) -> str:
    mark = "/" if found.kind == "command" else ""
    return f"- {found.kind} `{mark}{one_line(found.name)}`: {found.state}"


async def _send_quietly(session: Session, update: AvailableCommandsUpdate) -> None:
    with suppress(ConnectionError):
        await session.send(update)


def _folders(cwd: str, more: Sequence[str] | None) -> list[Path]:
    """Return the folders of a session. Raises `InvalidRequest`."""
    folders = [Path(folder) for folder in (cwd, *(more or ()))]
    for folder in folders:
        if "\0" in str(folder) or not folder.is_absolute() or not folder.is_dir():
            raise InvalidRequest(
                "A session works in a folder.",
                expected="an absolute path of a folder that exists",
                received=str(folder)[:200],
            )
    return folders


def _modes(session: Session) -> SessionModeState:
    return SessionModeState(current_mode_id=session.mode, available_modes=list(SESSION_MODES))


def _session_info(thread: Thread, cwd: str | None) -> SessionInfo:
    changed = datetime.fromtimestamp(thread.updated_at / 1000, UTC)
    return SessionInfo(
        session_id=thread.id,
        cwd=thread.metadata.get(FOLDER) or cwd or str(Path.home()),
        title=thread.title or None,
        updated_at=changed.isoformat(),
    )
