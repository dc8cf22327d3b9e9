"""Dispatches the operations of administration: people, projects, keys, runs, usage.

They concern the installation, so no owner is checked; the server checks the caller's scope. Tokens
for pages are among them, as they are made of keys.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import IO, Any, TypeVar

from antiphon.api import operations
from antiphon.api.operations import (
    BackendServer,
    Listed,
    LiveRun,
    NewKey,
    Operation,
    OwnerImport,
    UsageReport,
)
from antiphon.ports import Store
from antiphon.runtime.admin import audit
from antiphon.runtime.admin.accounts import AccountService, ProjectService
from antiphon.runtime.admin.browser_tokens import BrowserTokenService
from antiphon.runtime.admin.export import Archive
from antiphon.runtime.admin.keys import KeyService
from antiphon.runtime.admin.owners import OwnerService
from antiphon.runtime.responses import to_listed
from antiphon.types import errors
from antiphon.types.accounts import AuditEntry, Caller, Key, Person, Principal, Project, day
from antiphon.types.ids import Mint
from antiphon.types.runs import DAY

T = TypeVar("T", Person, Key, Project)

_Handler = Callable[[Any, Principal], Awaitable[Any]]

MOST_ROWS = 10_000  # of one report: a month of hundreds of people

_DAY_MS = DAY * 1000


class AdminDispatcher:
    """Executes operations of administration; `servers` lists the MCP servers and their states."""

    def __init__(
        self,
        store: Store,
        mint: Mint,
        servers: Callable[[], Sequence[BackendServer]],
        owners: OwnerService,
        max_token_age: float,
    ) -> None:
        accounts = AccountService(store, mint)
        keys = KeyService(store, mint)
        projects = ProjectService(store, mint)
        self._store = store
        self._mint = mint
        self._keys = keys
        self._servers = servers
        self._owners = owners
        self._handlers: Mapping[type[Operation[Any]], _Handler] = {
            operations.CreatePerson: accounts.create,
            operations.ListPeople: lambda operation, _: _page(
                store.people(), operation.limit, operation.after
            ),
            operations.GetPerson: lambda operation, _: accounts.get(operation.person_id),
            operations.UpdatePerson: accounts.update,
            operations.DeletePerson: lambda operation, by: accounts.delete(operation.person_id, by),
            operations.SignIn: accounts.sign_in,
            operations.CreateKey: self._create_key,
            operations.ListKeys: lambda operation, _: _page(
                store.keys(), operation.limit, operation.after
            ),
            operations.UpdateKey: keys.update,
            operations.RevokeKey: lambda operation, by: keys.revoke(operation.key_id, by),
            operations.CreateProject: projects.create,
            operations.ListProjects: lambda operation, _: _page(
                store.projects(), operation.limit, operation.after
            ),
            operations.GetProject: lambda operation, _: projects.get(operation.project_id),
            operations.UpdateProject: projects.update,
            operations.DeleteProject: lambda operation, by: projects.delete(
                operation.project_id, by
            ),
            operations.ListActs: self._list_acts,
            operations.RecordAct: self._record_act,
            operations.ListLiveRuns: self._list_live_runs,
            operations.GetUsage: self._get_usage,
            operations.ListServers: self._list_servers,
            operations.GetCaller: self._get_caller,
            operations.CreateBrowserToken: BrowserTokenService(store, max_token_age).create,
            **owners.handlers,
        }

    def handles(self, operation: Operation[Any]) -> bool:
        """Return whether this is an operation of administration."""
        return type(operation) in self._handlers

    async def dispatch(self, operation: Operation[Any], by: Principal) -> Any:
        """Execute the operation."""
        return await self._handlers[type(operation)](operation, by)

    async def export(self, operation: operations.ExportOwner, by: Principal) -> Archive:
        """Return everything of an owner as an archive. Raises `NotFound`."""
        return await self._owners.export(operation, by)

    async def import_owner(
        self, operation: operations.ImportOwner, file: IO[bytes], by: Principal
    ) -> OwnerImport:
        """Import the archive in this file, which is seekable."""
        return await self._owners.import_owner(operation, file, by)

    async def _create_key(self, operation: operations.CreateKey, by: Principal) -> NewKey:
        return NewKey(*await self._keys.create(operation, by))

    async def _list_acts(self, operation: operations.ListActs, _: Principal) -> Listed[AuditEntry]:
        return to_listed(
            await self._store.audit_entries(operation.limit, operation.after, operation.owner)
        )

    async def _record_act(self, operation: operations.RecordAct, by: Principal) -> AuditEntry:
        entry = await audit.create_entry(
            self._store, self._mint, by, operation.what, operation.target
        )
        await self._store.append_audit_entry(entry)
        return entry

    async def _list_live_runs(
        self, operation: operations.ListLiveRuns, _: Principal
    ) -> Listed[LiveRun]:
        page = await self._store.live_runs(operation.limit, operation.after)
        live = [LiveRun(run, owner) for owner, run in page.data]
        last = live[-1].run.id if live and page.has_more else None
        return Listed(live, has_more=page.has_more, next=last)

    async def _get_usage(self, operation: operations.GetUsage, _: Principal) -> UsageReport:
        since = day(await self._store.now() - (operation.days - 1) * _DAY_MS)
        rows = await self._store.usage(since, MOST_ROWS + 1)
        return UsageReport(since, rows[:MOST_ROWS], cut=len(rows) > MOST_ROWS)

    async def _list_servers(
        self, _operation: operations.ListServers, _: Principal
    ) -> Listed[BackendServer]:
        return Listed(tuple(self._servers()), has_more=False)

    async def _get_caller(self, _operation: operations.GetCaller, by: Principal) -> Caller:
        return Caller(owner=by.owner, key_id=by.key_id)


async def _page(
    reading: Coroutine[Any, Any, Sequence[T]], limit: int, after: str | None
) -> Listed[T]:
    """Return a page of a list that is short enough to be read whole. Raises `NotFound`."""
    everything = await reading
    begin = 0
    if after is not None:
        places = [place for place, each in enumerate(everything, 1) if each.id == after]
        if not places:
            raise errors.NotFound(f"There is nothing with the id {after!r} in this list.")
        begin = places[0]
    data = everything[begin : begin + limit]
    more = begin + limit < len(everything)
    return Listed(data, has_more=more, next=data[-1].id if more else None)
