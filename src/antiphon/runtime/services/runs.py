"""Operations on runs and turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import Listed, Operation, field_values
from antiphon.engine import transitions, validation
from antiphon.engine.destinations import DestinationUnknown, is_waiting, provider_name
from antiphon.engine.snapshot import (
    ChangeSet,
    Committed,
    IdempotencyKey,
    ReadSet,
    Snapshot,
    event_expired_error,
)
from antiphon.engine.threads import new_thread
from antiphon.engine.transitions import Claimant, RunSpec, TurnRequested
from antiphon.ports import Bus, RunStore
from antiphon.runtime.attachments import check_attachments
from antiphon.runtime.event_reader import PATIENCE, RunEventReader, SelectedEvents, parse_types
from antiphon.runtime.notify import ChangeCommitter
from antiphon.runtime.responses import OperationHandler, Response, paginate
from antiphon.runtime.services.assistants import RunSpecResolver, list_added_messages
from antiphon.settings.settings import Settings
from antiphon.types import errors, events
from antiphon.types.accounts import Principal
from antiphon.types.ids import Mint
from antiphon.types.messages import Message
from antiphon.types.runs import Run, RunLease, Status, Thread


class RunStarter(Protocol):
    """The worker of this process, which may claim a run in the change that begins its turn."""

    async def commit_and_start(
        self, owner: str, read_set: ReadSet, decide: Callable[..., ChangeSet | None]
    ) -> Committed:
        """Commit the change, with a claimant if the worker has a free slot; start a claimed run.

        `decide` receives the records, and the keyword argument `claimant`.
        """
        ...


class RunService:
    """Creates and lists runs, and requests their turns."""

    def __init__(
        self,
        store: RunStore,
        bus: Bus,
        changes: ChangeCommitter,
        mint: Mint,
        run_specs: RunSpecResolver,
        settings: Settings,
        starter: RunStarter,
    ) -> None:
        self._starter = starter
        self._store = store
        self._bus = bus
        self._changes = changes
        self._mint = mint
        self._run_specs = run_specs
        self._busy_timeout = settings.busy_timeout
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.CreateRun: self._create_run,
            operations.ListRuns: self._list_runs,
            operations.GetRun: self._get_run,
            operations.CancelRun: self._cancel_run,
            operations.ListEvents: self._list_events,
        }

    async def start_run(
        self,
        operation: operations.Process,
        by: Principal,
        once: IdempotencyKey | None,
        response: Mapping[str, Any] | None = None,
        expected_messages: int | None = None,
    ) -> TurnRequested | msgspec.Raw:
        """Create thread, message and run, as far as they are missing, in one transaction.

        `response` and `expected_messages` are as in `transitions.create_run`.
        """
        validation.validate_has_input(operation)
        validation.validate_temporary(operation)
        validation.validate_continues(operation)
        validation.validate_past_messages(operation.history, "history")
        for message in list_added_messages(operation):
            await check_attachments(self._store, message.content, by.owner)
        run_spec = await self._run_specs.resolve(operation, by.owner)

        def decide(
            records: Snapshot,
            spec: RunSpec,
            last_message: Message | None,
            claimant: Claimant | None,
        ) -> ChangeSet:
            thread = None
            if operation.thread_id is None:
                thread = new_thread(self._mint, records.now, temporary=operation.temporary)
            return transitions.create_run(
                records,
                spec,
                self._mint,
                by=by,
                if_busy=operation.if_busy,
                message=operation.message,
                history=operation.history,
                new_thread=thread,
                ask=True,
                fresh=operation.force_refresh,
                claimant=claimant,
                response=response,
                expected_messages=expected_messages,
                last_message=last_message,
            )

        begun: TurnRequested | msgspec.Raw = await self._commit_when_free(
            operation, by, once, run_spec, decide
        )
        return begun

    async def _create_run(
        self, operation: operations.CreateRun, by: Principal, once: IdempotencyKey | None
    ) -> object:
        validation.validate_continues(operation)
        run_spec = await self._run_specs.resolve(operation, by.owner)

        def decide(
            records: Snapshot,
            spec: RunSpec,
            last_message: Message | None,
            claimant: Claimant | None,
        ) -> ChangeSet:
            change = transitions.create_run(
                records,
                spec,
                self._mint,
                by=by,
                if_busy=operation.if_busy,
                claimant=claimant,
                last_message=last_message,
            )
            return change if change.more else replace(change, answer=change.answer.run)

        return await self._commit_when_free(operation, by, once, run_spec, decide)

    async def _commit_when_free(
        self,
        operation: operations.CreateRun | operations.Process,
        by: Principal,
        once: IdempotencyKey | None,
        spec: RunSpec,
        decide: Callable[..., ChangeSet],
    ) -> Any:
        """Create the run; with `if_busy` of `wait`, after the thread's active run has ended.

        The folder of the thread is known in the transaction. Where it has one, its instructions are
        read then, and the transaction is repeated. The message that a run continues is read before
        each transaction.
        """
        read_set = ReadSet(
            owner=by.owner,
            thread_id=operation.thread_id,
            idempotency_key=once,
            turn_log=operation.if_busy in ("interrupt", "rollback"),
            key_id=quota_key(by),
            personal=spec.draft.personal,
            what="run",
        )
        clock = asyncio.get_running_loop().time
        until = clock() + self._busy_timeout
        while True:
            last_message = None
            if operation.continues and operation.thread_id is not None:
                last_message = await find_last_message(self._store, operation.thread_id, by.owner)
            try:
                deciding = partial(decide, spec=spec, last_message=last_message)
                return (await self._starter.commit_and_start(by.owner, read_set, deciding)).answer
            except transitions.FolderMismatch as mismatch:
                spec = await self._run_specs.read_folder(spec, mismatch.folder_id, by.owner)
            except transitions.ThreadMovedOn:
                # No run is active, so there is none to wait for: read the last message again.
                if not operation.continues or operation.if_busy != "wait" or clock() >= until:
                    raise
            except errors.RunActive as busy:
                if operation.if_busy != "wait":
                    raise
                try:
                    async with asyncio.timeout_at(until):
                        await self._wait_for_end(str(busy.details["run_id"]))
                except TimeoutError:
                    hint = "Finish or cancel that run, or ask again to wait on."
                    raise errors.RunActive(
                        f"{busy.message} It was waited for {self._busy_timeout:g} seconds.",
                        **busy.details | {"hint": hint},
                    ) from None

    async def _wait_for_end(self, run_id: str) -> None:
        with self._bus.subscribe(run_id) as subscription:
            while True:
                try:
                    run = await self._store.get(Run, None, run_id)
                except errors.NotFound:
                    return
                if run.status.ended:
                    return
                await subscription.wait(PATIENCE)

    async def request_turn(
        self,
        run_id: str,
        by: Principal,
        once: IdempotencyKey | None,
        *,
        fresh: bool,
        response: Mapping[str, Any] | None = None,
    ) -> TurnRequested | msgspec.Raw:
        """Request the run's next turn; return `Raw` if a request with the same key was first.

        `response` is as in `transitions.request_turn`.
        """
        read_set = ReadSet(
            owner=by.owner, run_id=run_id, idempotency_key=once, key_id=quota_key(by), what="ask"
        )
        decide = partial(
            transitions.request_turn,
            by=by,
            fresh=fresh,
            serves=self._run_specs.serves,
            response=response,
        )
        try:
            committed = await self._starter.commit_and_start(by.owner, read_set, decide)
        except DestinationUnknown:  # a run of an earlier version: this request sets its destination
            run = await self._store.get(Run, by.owner, run_id)
            adopting = partial(decide, adopt=await self._run_specs.destination(run, by.owner))
            committed = await self._starter.commit_and_start(by.owner, read_set, adopting)
        requested: TurnRequested | msgspec.Raw = committed.answer
        return requested

    async def ensure_turn_requested(self, requested: TurnRequested, by: Principal) -> TurnRequested:
        """Return a stored response, and check that its turn is still requested.

        A turn that was requested, never took place and is no longer requested is requested again,
        so that a client that repeats its request does not wait in vain.
        """
        lease = await self._store.run_lease(requested.run.id)
        if lease.wanted or lease.turn_began_after != requested.after:
            return requested
        run = await self._store.get(Run, by.owner, requested.run.id)
        if run.status is Status.QUEUED:
            with suppress(errors.RunEnded):
                await self.request_turn(run.id, by, None, fresh=lease.fresh)
        return requested

    async def follow(
        self, operation: operations.Follow, owner: str
    ) -> RunEventReader | SelectedEvents:
        """Return a reader of a run's events above `after`. Raises `CallerError`."""
        types = None if operation.types is None else parse_types(operation.types)
        await self._check_position(operation.run_id, operation.after, owner)
        reader = RunEventReader(
            self._store, self._bus, operation.run_id, operation.after, whole=True
        )
        return reader if types is None else SelectedEvents(reader, types)

    async def forget_response(self, run_id: str, place: int, owner: str, keep: str) -> Run:
        """Delete the record of a run's response, as `transitions.forget_response`."""
        run: Run = await self._changes.commit_and_notify(
            ReadSet(owner=owner, run_id=run_id, what="forget_response"),
            partial(transitions.forget_response, place=place, keep=keep),
        )
        return run

    async def read_turn(self, run_id: str, after: int, owner: str) -> RunEventReader:
        """Return a reader of the turn that begins after this event. Raises `CallerError`."""
        await self._check_position(run_id, after, owner)
        return RunEventReader(self._store, self._bus, run_id, after, whole=False)

    async def _check_position(self, run_id: str, after: int, owner: str) -> None:
        """Check that events above `after` can be read. Raises `CallerError`."""
        await self._store.get(Run, owner, run_id)
        lease = await self._store.run_lease(run_id)
        if after > lease.last_event:
            raise errors.InvalidEventId(
                f"Run {run_id} has no event {after}.",
                expected=f"0 to {lease.last_event}",
                received=str(after),
                hint="0 is the start.",
                last_event=lease.last_event,
            )
        if after < lease.kept_after:
            raise event_expired_error(run_id, lease.kept_after, after)

    async def _list_events(
        self, operation: operations.ListEvents, by: Principal, _: IdempotencyKey | None
    ) -> operations.EventList:
        await self._check_position(operation.run_id, operation.after, by.owner)
        clock = asyncio.get_running_loop().time
        until = clock() + (operation.wait or 0.0)
        with self._bus.subscribe(operation.run_id) as subscription:
            while True:
                page = await self._store.read_events(operation.run_id, operation.after)
                left = until - clock()
                if page.lines or page.ended or left <= 0:
                    numbered = enumerate(map(events.decode, page.lines), page.first)
                    data = tuple(operations.LoggedEvent(*each) for each in numbered)
                    return operations.EventList(data, page.ended)
                await subscription.wait(min(left, PATIENCE))

    async def _list_runs(
        self, operation: operations.ListRuns, by: Principal, _: IdempotencyKey | None
    ) -> Listed[Run]:
        if operation.thread_id is not None:
            await self._store.get(Thread, by.owner, operation.thread_id)
        listed: Listed[Run] = await paginate(self._store, Run, by.owner, **field_values(operation))
        return replace(listed, data=await self._with_waiting_for(listed.data))

    async def _get_run(
        self, operation: operations.GetRun, by: Principal, _: IdempotencyKey | None
    ) -> Run:
        (run,) = await self._with_waiting_for(
            [await self._store.get(Run, by.owner, operation.run_id)]
        )
        return run

    async def _with_waiting_for(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Return the runs; those that cannot be run from here say what they wait for."""
        queued = [run.id for run in runs if run.status is Status.QUEUED and run.waiting_for is None]
        leases: Mapping[str, RunLease] = await self._store.run_leases(queued) if queued else {}
        found: list[Run] = []
        for run in runs:
            lease = leases.get(run.id)  # None also for a run that was deleted in between
            waits = lease is not None and is_waiting(run, lease)
            if lease is not None and waits and not self._run_specs.serves(lease.destination):
                found.append(replace(run, waiting_for=provider_name(lease)))
            else:
                found.append(run)
        return tuple(found)

    async def _cancel_run(
        self, operation: operations.CancelRun, by: Principal, _: IdempotencyKey | None
    ) -> Response:
        had_ended = False

        def decide(records: Snapshot) -> ChangeSet:
            nonlocal had_ended
            had_ended = records.run is not None and records.run.status.ended
            return transitions.cancel(records, self._mint, by)

        read_set = ReadSet(owner=by.owner, run_id=operation.run_id, turn_log=True, what="cancel")
        run = await self._changes.commit_and_notify(read_set, decide)
        return Response(run, 200 if had_ended else 202)


async def find_last_message(store: RunStore, thread_id: str, owner: str) -> Message | None:
    """Return the last message of the thread; None if it has none, or is unknown."""
    page = await store.list(Message, owner, limit=1, order="newest", thread_id=thread_id)
    return page.data[0] if page.data else None


def quota_key(by: Principal) -> str | None:
    """Return the key whose runs are counted; None for a key without limits on runs."""
    return by.key_id if by.limits.limit_runs else None
