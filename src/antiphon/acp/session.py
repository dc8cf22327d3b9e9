"""One session of an editor: a thread, its MCP servers, its mode and model, and its prompts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, Self

import msgspec
from acp.helpers import SessionUpdate as HelperUpdate
from acp.interfaces import Client
from acp.schema import (
    ConfigOptionUpdate,
    Cost,
    SessionInfoUpdate,
    StopReason,
    UsageUpdate,
)

from antiphon.acp.permissions import PermissionAsker
from antiphon.acp.updates import HistoryEncoder, UpdateEncoder
from antiphon.api.operations import Content, ListModels, ListRuns, Options
from antiphon.client.async_client import AsyncClient
from antiphon.client.async_events import AsyncEvents
from antiphon.client.export import load_joined_messages
from antiphon.client.mentions import PreparedMessage, upload_attachments
from antiphon.client.thread_families import cancel_sent_run, find_newest_run
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.settings.settings import Settings
from antiphon.skills.workspace import NO_WORKSPACE, Workspace
from antiphon.tools.consent import Consent, GrantStore
from antiphon.tools.functions import Function
from antiphon.tools.hooks import ToolHooks
from antiphon.tools.permission_modes import (
    PermissionMode,
    add_plan_instructions,
    mode_rules,
)
from antiphon.tools.tool_events import ToolEvent
from antiphon.types.errors import AntiphonError, InvalidRequest, RunError
from antiphon.types.events import Numbered, UsageAdded
from antiphon.types.messages import Tool
from antiphon.types.run_ends import find_run_end
from antiphon.types.runs import Reason, Status, Usage

SERVERS_SECONDS = 30.0
"""For all MCP servers of a session, before its first prompt is sent."""
SessionUpdate = HelperUpdate | ConfigOptionUpdate | UsageUpdate

CANCEL_SECONDS = 5.0
RUNS_PER_PAGE = 100
MARK = "acp_prompt"
"""Metadata key of a run with the mark of the prompt that it answers."""

STOP_REASONS: Mapping[Reason | None, StopReason] = {
    "length": "max_tokens",
    "content_filter": "refusal",
}


def find_stop_reason(reason: Reason | None) -> StopReason | None:
    """Return the stop reason of an incomplete run; None where its error is sent instead."""
    if find_run_end(Status.INCOMPLETE, reason).limit_reached:
        return "max_turn_requests"
    return STOP_REASONS.get(reason)


class SessionSetup(msgspec.Struct, frozen=True):
    """Parts that all sessions of a process share. `mode` is that of a new session.

    `find_workspace` finds the skills, instructions and slash commands of a working folder.
    """

    client: AsyncClient
    settings: Settings
    functions: tuple[Function, ...]
    own_tools: tuple[Tool, ...]
    grants: GrantStore
    options: Options
    warn: Callable[[str], None]
    mode: PermissionMode = "ask"
    with_servers: bool = True
    find_workspace: Callable[[Path], Workspace] = lambda folder: NO_WORKSPACE


Send = Callable[[SessionUpdate], Awaitable[None]]
"""Sends an update of a session to the editor."""


class Session:
    """A thread as an editor works with it. One prompt runs at a time.

    `folders` are the session's working folder and further ones; `servers` its MCP servers.
    `workspace` are the skills, instructions and slash commands for its working folder.
    """

    def __init__(
        self,
        setup: SessionSetup,
        editor: Client,
        thread_id: str,
        folders: Sequence[Path],
        servers: AsyncMcpServerPool | None,
    ) -> None:
        self.id = thread_id
        self.workspace = NO_WORKSPACE
        self.folders = tuple(folders)
        self.servers = servers
        self.mode: PermissionMode = setup.mode
        self.model = setup.settings.model or ""
        self._setup = setup
        self._editor = editor
        self._title = ""
        self._events: AsyncEvents | None = None
        self._last_turn = Usage()
        self._prompt: asyncio.Task[StopReason] | None = None
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._is_cancelled = False
        self._is_ending = False
        self._mark = ""
        self._consent = Consent(
            mode_rules(setup.mode, setup.settings),
            grants=setup.grants,
            asker=PermissionAsker(editor, thread_id, str(folders[0])),
            warn=setup.warn,
        )
        self._hooks = ToolHooks(setup.settings.hooks, folder=folders[0], warn=setup.warn)

    def set_mode(self, mode: PermissionMode) -> None:
        """Apply another mode from the next tool call on."""
        self.mode = mode
        self._consent.rules = mode_rules(mode, self._setup.settings)

    def tools(self) -> Sequence[Tool]:
        """Return the program's functions, and the tools of skills and of servers that are ready."""
        served = self.servers.tools() if self.servers is not None else ()
        return (*self._setup.own_tools, *self.workspace.skills.tools(), *served)

    async def send(self, update: SessionUpdate) -> None:
        """Send an update to the editor. Raises `ConnectionError`."""
        await self._editor.session_update(session_id=self.id, update=update)

    async def replay(self) -> None:
        """Send every message of the thread as an update."""
        encoder = HistoryEncoder(str(self.folders[0]), self.tools())
        async for message in load_joined_messages(self._setup.client, self.id):
            for update in encoder.encode(message):
                await self.send(update)

    async def prompt(self, answer: Coroutine[Any, Any, StopReason]) -> StopReason:
        """Answer a prompt by this coroutine, which `cancel` stops wherever it is.

        Raises `AntiphonError`, also for a run that fails.
        """
        if self._is_ending:
            answer.close()
            raise InvalidRequest(
                "This session is being closed, or opened again.",
                hint="Send the prompt once it is open.",
            )
        if self._prompt is not None:
            answer.close()
            raise InvalidRequest(
                "A prompt of this session is being answered.",
                hint="Cancel it, or wait for its end.",
            )
        self._is_cancelled = False
        self._is_idle.clear()
        self._mark = token_hex(8)
        self._prompt = asyncio.create_task(answer)
        try:
            return await self._prompt
        except asyncio.CancelledError:
            if not self._is_cancelled:
                raise
            await self._cancel_run()
            return "cancelled"
        finally:
            self._prompt = self._events = None
            self._is_idle.set()

    async def cancel(self) -> None:
        """Stop the prompt that is answered, and its tools; do nothing without one."""
        if self._prompt is not None and not self._is_cancelled:
            self._is_cancelled = True
            self._prompt.cancel()  # and with it the tools

    async def stop(self) -> None:
        """Stop the prompt that is answered, and wait until its tools and its run have ended.

        No other prompt begins.
        """
        self._is_ending = True
        await self.cancel()
        await self._is_idle.wait()

    async def _cancel_run(self) -> None:
        """Cancel the run of a stopped prompt, so that the next prompt does not finish it.

        If the run's id has not arrived, the mark of the prompt identifies the run.
        """
        if self._events is None:  # nothing was sent
            return
        client, run_id = self._setup.client, self._events.run_id
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await cancel_sent_run(client, run_id, self.id, MARK, self._mark)
        except (AntiphonError, TimeoutError) as error:
            self._setup.warn(f"the run could not be cancelled: {error}")

    async def close(self) -> None:
        """Stop for good, and delete the thread if nothing was said in it."""
        self._is_ending = True
        await self.cancel()
        with suppress(AntiphonError):
            if not (await self._setup.client.get_thread(self.id)).messages:
                await self._setup.client.delete_thread(self.id)

    async def answer(self, message: PreparedMessage) -> StopReason:
        """Answer a message; a run that was left unfinished is finished first.

        Raises `AntiphonError`, also for a run that fails.
        """
        client = self._setup.client
        if self.servers is not None:
            for state in await self.servers.ready(SERVERS_SECONDS):
                self._setup.warn(f"the MCP server {state.server} is not there: {state.why}")
        newest = await find_newest_run(client, self.id)
        if newest is not None and not newest.status.ended:
            await self._stream(None, newest.id)
        events = await self._stream(await upload_attachments(client, message))
        await self._report(events)
        return self._stop_reason(events)

    def _converse(
        self, content: Content | None, run_id: str | None, sender: _Sender
    ) -> AsyncEvents:
        options = self._setup.options.copy()
        if run_id is None:
            options["thread_id"] = self.id
            options["metadata"] = {**options.get("metadata", {}), MARK: self._mark}
            if self.model:
                options["model"] = self.model
            if added := add_plan_instructions(self.mode, self.workspace.instructions):
                options["additional_instructions"] = added
        settings = self._setup.settings
        return self._setup.client.converse(
            content,
            tools=(*self._setup.functions, self.workspace.skills),
            toolbox=self.servers,
            run_id=run_id,
            consent=self._consent,
            hooks=self._hooks,
            on_tool_event=sender.put_tool_event,
            max_tools=settings.max_parallel_tools,
            tool_timeout=settings.tool_timeout,
            raise_on_failure=False,
            **options,
        )

    async def _stream(self, content: Content | None, run_id: str | None = None) -> AsyncEvents:
        """Send the events of a run and of its tools, in order; return them, read to the end."""
        encoder = UpdateEncoder(str(self.folders[0]), self.tools)
        async with _Sender(self.send, encoder) as sender:
            self._events = events = self._converse(content, run_id, sender)
            async with events:
                async for batch in events.batches():
                    for _, event in batch:
                        if isinstance(event, UsageAdded):
                            self._last_turn = event.usage
                    await sender.send_events(batch)
        return events

    async def _report(self, events: AsyncEvents) -> None:
        """Send the title of the thread, the tokens in the model's context, and the cost so far.

        The cost is that of all runs of the thread, in US dollars. What is not known is left out.
        """
        client = self._setup.client
        with suppress(AntiphonError):
            thread = await client.get_thread(self.id)
            if thread.title != self._title:
                self._title = thread.title
                await self.send(
                    SessionInfoUpdate(session_update="session_info_update", title=thread.title)
                )
            run = await client.get_run(events.run_id or "")
            listed = await client.transport.send(ListModels(model=run.model))
            sizes = [each.context_tokens for each in listed.data if each.id == run.model]
            if sizes and sizes[0]:
                spent = Usage()
                async for each in client.paginate(ListRuns(self.id, limit=RUNS_PER_PAGE)):
                    spent += each.usage
                cost = None if spent.cost is None else Cost(amount=spent.cost, currency="USD")
                used = self._last_turn.input_tokens + self._last_turn.output_tokens
                await self.send(
                    UsageUpdate(session_update="usage_update", used=used, size=sizes[0], cost=cost)
                )

    def _stop_reason(self, events: AsyncEvents) -> StopReason:
        match events.status:
            case Status.COMPLETED:
                return "end_turn"
            case Status.CANCELLED:
                return "cancelled"
            case Status.INCOMPLETE if (stop := find_stop_reason(events.reason)) is not None:
                return stop
            case _:
                events.raise_for_status()
                raise RunError("The run ended without an answer.")


class _Sender:
    """Sends the updates of a run in the order in which they were put; a context manager."""

    def __init__(self, send: Send, encoder: UpdateEncoder) -> None:
        self._send = send
        self._encoder = encoder
        self._updates: asyncio.Queue[SessionUpdate] = asyncio.Queue()
        self._failure: Exception | None = None

    async def __aenter__(self) -> Self:
        self._sending = asyncio.create_task(self._send_all())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                await self._wait()
        finally:
            self._sending.cancel()

    def put_tool_event(self, event: ToolEvent) -> None:
        """Send what happens to a tool, soon."""
        for update in self._encoder.encode_tool_event(event):
            self._updates.put_nowait(update)

    async def send_events(self, batch: Iterable[Numbered]) -> None:
        """Send events; return when the editor has them. Raises `ConnectionError`."""
        for update in self._encoder.encode(event for _, event in batch):
            self._updates.put_nowait(update)
        await self._wait()

    async def _wait(self) -> None:
        await self._updates.join()
        if self._failure is not None:
            raise self._failure

    async def _send_all(self) -> None:
        while True:
            update = await self._updates.get()
            try:
                if self._failure is None:
                    await self._send(update)
            except (ConnectionError, OSError) as error:
                self._failure = error
            finally:
                self._updates.task_done()
