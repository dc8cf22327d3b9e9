"""Operations on assistants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import (
    NewMessage,
    Operation,
    PastMessage,
    field_values,
    select_given_fields,
)
from antiphon.engine import validation
from antiphon.engine.context_window import cut_to_window
from antiphon.engine.snapshot import IdempotencyKey
from antiphon.engine.transitions import RunSpec
from antiphon.ports import DocumentStores, ResolvedModel, RunStore
from antiphon.runtime.attachments import inline_attachments
from antiphon.runtime.destinations import Destinations
from antiphon.runtime.responses import OperationHandler, delete_record, paginate
from antiphon.runtime.stored_files import check_files
from antiphon.settings.settings import Settings
from antiphon.types.accounts import Principal
from antiphon.types.errors import NotFound
from antiphon.types.folders import Folder
from antiphon.types.ids import Mint
from antiphon.types.messages import Message, parts, to_chat_completions
from antiphon.types.runs import Assistant, InstructionPart, McpServer, Run, Sampling, Thread


class AssistantService:
    """Creates, reads, changes and deletes assistants."""

    def __init__(
        self,
        store: RunStore,
        mint: Mint,
        open_model: Callable[[str, str], Awaitable[ResolvedModel]],
        check_servers: Callable[[Sequence[McpServer]], Awaitable[None]],
    ) -> None:
        self._store = store
        self._mint = mint
        self._open_model = open_model
        self._check_servers = check_servers
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.CreateAssistant: self._create_assistant,
            operations.ListAssistants: lambda operation, by, _: paginate(
                store, Assistant, by.owner, **field_values(operation)
            ),
            operations.GetAssistant: lambda operation, by, _: store.get(
                Assistant, by.owner, operation.assistant_id
            ),
            operations.UpdateAssistant: self._update_assistant,
            operations.DeleteAssistant: lambda operation, by, _: delete_record(
                store, Assistant, by.owner, operation.assistant_id
            ),
        }

    async def _create_assistant(
        self, operation: operations.CreateAssistant, by: Principal, once: IdempotencyKey | None
    ) -> object:
        validation.validate_unique_tools(operation.tools)
        validation.validate_sampling(operation.sampling)
        if operation.model is not None:
            await self._open_model(operation.model, by.owner)
        await self._check_servers(operation.mcp_servers)
        await check_files(self._store, by.owner, operation.file_ids)
        now = await self._store.now()
        assistant = Assistant(
            id=self._mint("asst"), created_at=now, updated_at=now, **field_values(operation)
        )
        return await self._store.put(by.owner, assistant, once)

    async def _update_assistant(
        self, operation: operations.UpdateAssistant, by: Principal, _: IdempotencyKey | None
    ) -> object:
        validation.validate_unique_tools(operation.tools)
        if isinstance(operation.sampling, Sampling):
            validation.validate_sampling(operation.sampling)
        if isinstance(operation.model, str):
            await self._open_model(operation.model, by.owner)
        if operation.mcp_servers is not msgspec.UNSET:
            await self._check_servers(operation.mcp_servers)
        if operation.file_ids is not msgspec.UNSET:
            await check_files(self._store, by.owner, operation.file_ids)
        changes = select_given_fields(operation, but="assistant_id") | {
            "updated_at": await self._store.now()
        }
        return await self._store.update_record(
            Assistant,
            by.owner,
            operation.assistant_id,
            lambda assistant: replace(assistant, **changes),
        )


_SHOWN = {b'"type":"image_url"': "images", b'"type":"file"': "files"}
"""Marks of pictures and files in a conversation's JSON, with the capability that each needs."""

_OPTIONS = [name for name in operations.RunCall.__struct_fields__ if name in Run.__struct_fields__]
"""Fields of a run that its request can set."""

_OPTIONS_OF = {
    kind: [name for name in _OPTIONS if name in kind.__struct_fields__]
    for kind in (operations.CreateRun, operations.Process, Assistant)
}
"""Those of them that each source can have."""

_NO_ASSISTANT = Assistant(id="", created_at=0, updated_at=0)
"""The assistant of a run that names none."""


class RunSpecResolver:
    """Resolves run specifications; rejects what the model's provider does not support.

    `find_assistant` returns the assistant with an id that an owner may use. Raises `NotFound`.
    """

    def __init__(
        self,
        store: DocumentStores,
        find_assistant: Callable[[str, str], Awaitable[Assistant]],
        default_model: Callable[[], Awaitable[str]],
        open_model: Callable[[str, str], Awaitable[ResolvedModel]],
        check_servers: Callable[[Sequence[McpServer]], Awaitable[None]],
        destinations: Destinations,
        settings: Settings,
    ) -> None:
        self._store = store
        self._find_assistant = find_assistant
        self._default_model = default_model
        self._open_model = open_model
        self._check_servers = check_servers
        self._destinations = destinations
        self._defaults: dict[str, Any] = {name: getattr(settings, name, None) for name in _OPTIONS}

    async def resolve(
        self, operation: operations.CreateRun | operations.Process, owner: str
    ) -> RunSpec:
        """Return the run's specification. Raises `CallerError` where there can be no such run.

        A field that the request does not set is that of the assistant, else the setting of its
        name.
        """
        assistant = _NO_ASSISTANT
        if operation.assistant_id is not None:
            assistant = await self._find_assistant(operation.assistant_id, owner)
        validation.validate_unique_tools(operation.tools)
        options = self._defaults | _select_options(assistant) | _select_options(operation)
        options["model"] = operation.model or assistant.model or await self._default_model()
        draft = Run(id="", thread_id="", created_at=0, **options)
        await self._check_servers(draft.mcp_servers)
        opened = await self._open_model(draft.model, owner)
        validation.validate_sampling(draft.sampling)
        if not draft.mcp_servers:  # their tools are known only when the turn runs
            validation.validate_tool_choice(draft.sampling, draft.tools)
        validation.validate_provider_support(
            opened.name, opened.lacks, draft.sampling, draft.tools or draft.mcp_servers
        )
        await self._check_attachments(opened, operation, owner)
        return RunSpec(
            draft,
            self._destinations.of(opened, draft.mcp_servers),
            frozenset(opened.lacks),
            own_sampling=operation.sampling is not None,
        )

    async def read_folder(self, spec: RunSpec, folder_id: str | None, owner: str) -> RunSpec:
        """Return the specification of a run in this folder, with the folder's instructions."""
        parts: list[InstructionPart] = []
        if folder_id is not None:
            with suppress(NotFound):  # it is being deleted
                folder = await self._store.get(Folder, owner, folder_id)
                if folder.instructions.strip():
                    parts.append(InstructionPart("folder", folder.instructions, folder.name))
        draft = replace(spec.draft, instruction_parts=tuple(parts))
        return replace(spec, draft=draft, folder_id=folder_id)

    async def destination(self, run: Run, owner: str) -> str:
        """Return where this run's text would be sent from here. Raises `BadSettings`."""
        opened = await self._open_model(run.model, owner)
        return self._destinations.of(opened, run.mcp_servers)

    def serves(self, destination: str) -> bool:
        """Return whether a run with this destination can be run from here."""
        return self._destinations.serves(destination)

    async def _check_attachments(
        self,
        opened: ResolvedModel,
        operation: operations.CreateRun | operations.Process,
        owner: str,
    ) -> None:
        """Check that the provider takes the pictures and files of the thread and message."""
        missing = {mark: lack for mark, lack in _SHOWN.items() if lack in opened.lacks}
        if not missing:
            return
        documents: list[bytes] = []
        if operation.thread_id is not None:
            await self._store.get(Thread, owner, operation.thread_id)
            documents.append(cut_to_window(await self._store.context(operation.thread_id), None))
        if isinstance(operation, operations.Process):
            for new in list_added_messages(operation):
                message = Message(
                    id="",
                    thread_id="",
                    number=0,
                    role=new.role,
                    content=parts(new.content),
                    created_at=0,
                )
                documents.append(to_chat_completions(message))
        shown = await inline_attachments(b",".join(filter(None, documents)), self._store, owner)
        if found := [lack for mark, lack in missing.items() if mark in shown]:
            raise validation.lacks_error(opened.name, found)


def list_added_messages(operation: operations.Process) -> tuple[NewMessage | PastMessage, ...]:
    """Return the messages that the operation adds to its thread, in order."""
    return (
        operation.history if operation.message is None else (*operation.history, operation.message)
    )


def _select_options(
    source: operations.CreateRun | operations.Process | Assistant,
) -> dict[str, Any]:
    """Return the options of a run that a request or an assistant sets."""
    names = _OPTIONS_OF[type(source)]
    return {name: value for name in names if (value := getattr(source, name)) is not None}
