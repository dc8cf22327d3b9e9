"""What a run shall be: what its call says, then its assistant, then the settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from antiphon.api import operations
from antiphon.engine import validation
from antiphon.engine.context_window import cut_to_window
from antiphon.engine.transitions import RunSpec
from antiphon.ports import ResolvedModel, Store
from antiphon.runtime.attachments import inline_attachments
from antiphon.runtime.destinations import Destinations
from antiphon.types.messages import Message, chat, parts
from antiphon.types.runs import Assistant, McpServer, Run, Thread

T = TypeVar("T")

_SHOWN = {b'"type":"image_url"': "images", b'"type":"file"': "files"}
"""How pictures and files stand in a conversation as the model gets it."""

_NOBODY = Assistant(id="", created_at=0, updated_at=0)
"""The assistant of a run that names none."""


class RunSpecResolver:
    """Puts them together, and refuses what the model's provider has not got."""

    def __init__(
        self,
        store: Store,
        default_model: Callable[[], Awaitable[str]],
        open_model: Callable[[str, str], Awaitable[ResolvedModel]],
        refuse_servers: Callable[[Sequence[McpServer]], Awaitable[None]],
        destinations: Destinations,
    ) -> None:
        self._store = store
        self._default_model = default_model
        self._open_model = open_model
        self._refuse_servers = refuse_servers
        self._destinations = destinations

    async def resolve(self, call: operations.CreateRun | operations.Process, owner: str) -> RunSpec:
        """Raises `CallerError` where there can be no such run."""
        assistant = _NOBODY
        if call.assistant_id is not None:
            assistant = await self._store.get(Assistant, owner, call.assistant_id)
        validation.validate_unique_tools(call.tools)
        tools = _first(call.tools, assistant.tools)
        servers = _first(call.mcp_servers, assistant.mcp_servers)
        await self._refuse_servers(servers)
        sampling = _first(call.sampling, assistant.sampling)
        model = call.model or assistant.model or await self._default_model()
        opened = await self._open_model(model, owner)
        validation.validate_sampling(sampling)
        if not servers:  # what these offer is known when the model is asked
            validation.validate_tool_choice(sampling, tools)
        validation.validate_provider_support(opened.name, opened.lacks, sampling, tools or servers)
        await self._refuse_unshowable(opened, call, owner)
        return RunSpec(
            model=model,
            assistant_id=call.assistant_id,
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
            destination=self._destinations.of(opened, servers),
        )

    async def destination(self, run: Run, owner: str) -> str:
        """Return where the words of this run would go from here. Raises `BadSettings`."""
        opened = await self._open_model(run.model, owner)
        return self._destinations.of(opened, run.mcp_servers)

    def serves(self, destination: str) -> bool:
        """Return whether a run with this destination can be driven from here."""
        return self._destinations.serves(destination)

    async def _refuse_unshowable(
        self, opened: ResolvedModel, call: operations.CreateRun | operations.Process, owner: str
    ) -> None:
        """No picture and no file, in the thread or new, that the model's provider does not take."""
        missing = {mark: lack for mark, lack in _SHOWN.items() if lack in opened.lacks}
        if not missing:
            return
        said: list[bytes] = []
        if call.thread_id is not None:
            await self._store.get(Thread, owner, call.thread_id)
            said.append(cut_to_window(await self._store.context(call.thread_id), None))
        if isinstance(call, operations.Process) and call.message is not None:
            said.append(chat(_unsent(call.message)))
        shown = await inline_attachments(b",".join(filter(None, said)), self._store, owner)
        if found := [lack for mark, lack in missing.items() if mark in shown]:
            raise validation.unsupported_error(opened.name, found)


def _unsent(new: operations.NewMessage) -> Message:
    return Message(
        id="", thread_id="", number=0, role=new.role, content=parts(new.content), created_at=0
    )


def _first(given: T | None, fallback: T) -> T:
    return fallback if given is None else given
