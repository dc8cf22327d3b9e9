"""Operations on actions: the calls that wait for a client, and the claims of workers for tools."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import Listed, Operation, field_values
from antiphon.engine import actions
from antiphon.engine.snapshot import ChangeSet, IdempotencyKey, ReadSet, Snapshot
from antiphon.ports import ACTIONS, Bus, RunStore
from antiphon.runtime.notify import ChangeCommitter
from antiphon.runtime.responses import OperationHandler, paginate
from antiphon.types.accounts import Principal
from antiphon.types.errors import NotFound
from antiphon.types.ids import Mint
from antiphon.types.messages import Progress, TaskHandle
from antiphon.types.runs import Action, Run

CLAIM_PATIENCE = 5.0
"""Seconds that a waiting claim relies on notifications; claims that run out send none."""
SPARE_CANDIDATES = 16
"""Actions read beyond those wanted: other workers claim at the same time."""


class ActionService:
    """Lists and claims actions, and stores tool outputs."""

    def __init__(self, store: RunStore, bus: Bus, changes: ChangeCommitter, mint: Mint) -> None:
        self._store = store
        self._bus = bus
        self._changes = changes
        self._mint = mint
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.SubmitToolOutput: self._submit_tool_output,
            operations.SubmitToolOutputs: self._submit_tool_outputs,
            operations.ListActions: self._list_actions,
            operations.GetAction: lambda operation, by, _: store.get(
                Action, by.owner, operation.action_id
            ),
            operations.ClaimActions: self._claim_actions,
            operations.RenewClaim: self._renew_claim,
            operations.ReleaseClaim: self._release_claim,
            operations.SaveTask: self._save_task,
        }

    async def _submit_tool_output(
        self, operation: operations.SubmitToolOutput, by: Principal, _: IdempotencyKey | None
    ) -> Action:
        fields = field_values(operation)
        run_id = fields.pop("run_id")
        (action,) = await self._save_outputs(run_id, [operations.NewToolOutput(**fields)], by)
        return action

    async def _submit_tool_outputs(
        self, operation: operations.SubmitToolOutputs, by: Principal, _: IdempotencyKey | None
    ) -> Listed[Action]:
        return Listed(
            await self._save_outputs(operation.run_id, operation.outputs, by), has_more=False
        )

    async def _save_outputs(
        self, run_id: str, outputs: Sequence[operations.NewToolOutput], by: Principal
    ) -> tuple[Action, ...]:
        """Save the outputs in one transaction; a single one may be of an earlier turn, repeated."""
        call_id = outputs[0].tool_call_id
        read_set = ReadSet(owner=by.owner, run_id=run_id, tool_call_id=call_id, what="output")
        saved: tuple[Action, ...] = await self._changes.commit_and_notify(
            read_set, lambda records: actions.save_outputs(records, outputs, self._mint)
        )
        return saved

    async def _list_actions(
        self, operation: operations.ListActions, by: Principal, _: IdempotencyKey | None
    ) -> Listed[Action]:
        if operation.run_id is not None:
            await self._store.get(Run, by.owner, operation.run_id)
        return await paginate(self._store, Action, by.owner, **field_values(operation))

    async def _claim_actions(
        self, operation: operations.ClaimActions, by: Principal, _: IdempotencyKey | None
    ) -> Listed[Action]:
        """Claim what is pending; wait for something if nothing is."""
        clock = asyncio.get_running_loop().time
        until = clock() + operation.wait
        with self._bus.subscribe(ACTIONS) as subscription:
            while True:
                claimed = await self._claim_pending(operation, by.owner)
                left = until - clock()
                if claimed or left <= 0:
                    return Listed(claimed, has_more=False)
                await subscription.wait(min(left, CLAIM_PATIENCE))

    async def _claim_pending(
        self, operation: operations.ClaimActions, owner: str
    ) -> tuple[Action, ...]:
        """Claim actions one by one, each in a transaction, until there are enough or no more."""
        claimed: list[Action] = []
        while not claimed:
            page = await self._store.list(
                Action,
                owner,
                limit=operation.limit + SPARE_CANDIDATES,
                status="pending",
                name=operation.tools,
                claimable_at=await self._store.now(),
                thread_id=operation.thread_id,
                assistant_id=operation.assistant_id,
                model=operation.model,
                metadata=operation.metadata,
            )
            for action in page.data:
                if len(claimed) < operation.limit:
                    won = await self._claim(action, operation, owner)
                    claimed += [won] if won is not None else []
            if not page.data:
                break
        return tuple(claimed)

    async def _claim(
        self, action: Action, operation: operations.ClaimActions, owner: str
    ) -> Action | None:
        """Claim one action; None if another worker was faster, or the run has gone on."""

        def decide(records: Snapshot) -> ChangeSet | None:
            lease_ms = round(operation.lease * 1000)
            return actions.claim_action(records, action.tool_call_id, operation.worker, lease_ms)

        with suppress(NotFound):
            won: Action | None = await self._changes.commit_and_notify(
                _claim_reads(action, owner), decide
            )
            return won
        return None

    async def _renew_claim(
        self, operation: operations.RenewClaim, by: Principal, _: IdempotencyKey | None
    ) -> Action:
        given = operation.progress
        progress = None if given is None else Progress(given.done, given.total, given.message)
        lease_ms = round(operation.lease * 1000)
        return await self._change_claim(
            operation.action_id,
            by.owner,
            partial(
                actions.renew_claim, attempt=operation.attempt, lease_ms=lease_ms, progress=progress
            ),
        )

    async def _release_claim(
        self, operation: operations.ReleaseClaim, by: Principal, _: IdempotencyKey | None
    ) -> Action:
        release = partial(actions.release_claim, attempt=operation.attempt)
        return await self._change_claim(operation.action_id, by.owner, release)

    async def _save_task(
        self, operation: operations.SaveTask, by: Principal, _: IdempotencyKey | None
    ) -> Action:
        handle = TaskHandle(
            task_id=operation.task_id, origin=operation.origin, tool=operation.tool, created_at=0
        )
        action = await self._store.get(Action, by.owner, operation.action_id)
        read_set = replace(_claim_reads(action, by.owner), what="save_task")
        saved: Action = await self._changes.commit_and_notify(
            read_set,
            lambda records: actions.save_task(
                records, action.tool_call_id, handle, operation.attempt, self._mint
            ),
        )
        return saved

    async def _change_claim(
        self, action_id: str, owner: str, change: Callable[..., ChangeSet]
    ) -> Action:
        action = await self._store.get(Action, owner, action_id)
        changed: Action = await self._changes.commit_and_notify(
            _claim_reads(action, owner), lambda records: change(records, action.tool_call_id)
        )
        return changed


def _claim_reads(action: Action, owner: str) -> ReadSet:
    """Return what a change of this action's claim reads."""
    return ReadSet(
        owner=owner,
        run_id=action.run_id,
        tool_call_id=action.tool_call_id,
        what="claim_action",
    )
