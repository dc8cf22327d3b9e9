"""Operations on assistants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import Deleted, Listed, Operation, field_values, given_fields
from antiphon.engine import validation
from antiphon.ports import IdempotencyKey, ResolvedModel, RunStore
from antiphon.runtime.responses import OperationHandler, paginate
from antiphon.types.accounts import Principal
from antiphon.types.ids import Mint
from antiphon.types.runs import Assistant, McpServer, Sampling


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
            operations.ListAssistants: self._list_assistants,
            operations.GetAssistant: self._get_assistant,
            operations.UpdateAssistant: self._update_assistant,
            operations.DeleteAssistant: self._delete_assistant,
        }

    async def _create_assistant(
        self, call: operations.CreateAssistant, by: Principal, once: IdempotencyKey | None
    ) -> object:
        validation.validate_unique_tools(call.tools)
        validation.validate_sampling(call.sampling)
        if call.model is not None:
            await self._open_model(call.model, by.owner)
        await self._check_servers(call.mcp_servers)
        now = await self._store.now()
        assistant = Assistant(
            id=self._mint("asst"), created_at=now, updated_at=now, **field_values(call)
        )
        return await self._store.put(by.owner, assistant, once)

    async def _list_assistants(
        self, call: operations.ListAssistants, by: Principal, _: IdempotencyKey | None
    ) -> Listed[Assistant]:
        return await paginate(self._store, Assistant, by.owner, call.limit, call.after)

    async def _get_assistant(
        self, call: operations.GetAssistant, by: Principal, _: IdempotencyKey | None
    ) -> Assistant:
        return await self._store.get(Assistant, by.owner, call.assistant_id)

    async def _update_assistant(
        self, call: operations.UpdateAssistant, by: Principal, _: IdempotencyKey | None
    ) -> object:
        validation.validate_unique_tools(call.tools)
        if isinstance(call.sampling, Sampling):
            validation.validate_sampling(call.sampling)
        if isinstance(call.model, str):
            await self._open_model(call.model, by.owner)
        if call.mcp_servers is not msgspec.UNSET:
            await self._check_servers(call.mcp_servers)
        changes = given_fields(call, but="assistant_id") | {"updated_at": await self._store.now()}
        return await self._store.update_assistant(
            by.owner, call.assistant_id, lambda assistant: replace(assistant, **changes)
        )

    async def _delete_assistant(
        self, call: operations.DeleteAssistant, by: Principal, _: IdempotencyKey | None
    ) -> Deleted:
        await self._store.delete(Assistant, by.owner, call.assistant_id)
        return Deleted(call.assistant_id)
