"""Resolves the specification of a new run: from its request, its assistant, then the settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from antiphon.api import operations
from antiphon.engine import validation
from antiphon.engine.context_window import cut_to_window
from antiphon.engine.transitions import RunSpec
from antiphon.ports import ResolvedModel, RunStore
from antiphon.runtime.attachments import inline_attachments
from antiphon.runtime.destinations import Destinations
from antiphon.types.messages import Message, parts, to_chat_completions
from antiphon.types.runs import Assistant, McpServer, Run, Thread

T = TypeVar("T")

_SHOWN = {b'"type":"image_url"': "images", b'"type":"file"': "files"}
"""Marks of pictures and files in a conversation's JSON, with the capability that each needs."""

_NO_ASSISTANT = Assistant(id="", created_at=0, updated_at=0)
"""The assistant of a run that names none."""


class RunSpecResolver:
    """Resolves run specifications; rejects what the model's provider does not support."""

    def __init__(
        self,
        store: RunStore,
        default_model: Callable[[], Awaitable[str]],
        open_model: Callable[[str, str], Awaitable[ResolvedModel]],
        check_servers: Callable[[Sequence[McpServer]], Awaitable[None]],
        destinations: Destinations,
    ) -> None:
        self._store = store
        self._default_model = default_model
        self._open_model = open_model
        self._check_servers = check_servers
        self._destinations = destinations

    async def resolve(self, call: operations.CreateRun | operations.Process, owner: str) -> RunSpec:
        """Return the run's specification. Raises `CallerError` where there can be no such run."""
        assistant = _NO_ASSISTANT
        if call.assistant_id is not None:
            assistant = await self._store.get(Assistant, owner, call.assistant_id)
        validation.validate_unique_tools(call.tools)
        tools = _first(call.tools, assistant.tools)
        servers = _first(call.mcp_servers, assistant.mcp_servers)
        await self._check_servers(servers)
        sampling = _first(call.sampling, assistant.sampling)
        model = call.model or assistant.model or await self._default_model()
        opened = await self._open_model(model, owner)
        validation.validate_sampling(sampling)
        if not servers:  # their tools are known only when the turn runs
            validation.validate_tool_choice(sampling, tools)
        validation.validate_provider_support(opened.name, opened.lacks, sampling, tools or servers)
        await self._check_attachments(opened, call, owner)
        draft = Run(
            id="",
            thread_id="",
            created_at=0,
            assistant_id=call.assistant_id,
            model=model,
            instructions=_first(call.instructions, assistant.instructions),
            tools=tools,
            mcp_servers=servers,
            sampling=sampling,
            deadlines=call.deadlines,
            background=call.background,
            max_turns=call.max_turns,
            max_attempts=call.max_attempts,
            on_expiry=call.on_expiry,
            expires_in=call.expires_in,
            metadata=call.metadata,
        )
        return RunSpec(draft, self._destinations.of(opened, servers))

    async def destination(self, run: Run, owner: str) -> str:
        """Return where this run's text would be sent from here. Raises `BadSettings`."""
        opened = await self._open_model(run.model, owner)
        return self._destinations.of(opened, run.mcp_servers)

    def serves(self, destination: str) -> bool:
        """Return whether a run with this destination can be run from here."""
        return self._destinations.serves(destination)

    async def _check_attachments(
        self, opened: ResolvedModel, call: operations.CreateRun | operations.Process, owner: str
    ) -> None:
        """Check that the provider takes the pictures and files of the thread and message."""
        missing = {mark: lack for mark, lack in _SHOWN.items() if lack in opened.lacks}
        if not missing:
            return
        said: list[bytes] = []
        if call.thread_id is not None:
            await self._store.get(Thread, owner, call.thread_id)
            said.append(cut_to_window(await self._store.context(call.thread_id), None))
        if isinstance(call, operations.Process) and call.message is not None:
            new = call.message
            message = Message(
                id="",
                thread_id="",
                number=0,
                role=new.role,
                content=parts(new.content),
                created_at=0,
            )
            said.append(to_chat_completions(message))
        shown = await inline_attachments(b",".join(filter(None, said)), self._store, owner)
        if found := [lack for mark, lack in missing.items() if mark in shown]:
            raise validation.lacks_error(opened.name, found)


def _first(given: T | None, fallback: T) -> T:
    return fallback if given is None else given
