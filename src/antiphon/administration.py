"""Answers the calls of administration: people, keys, what runs and what it cost, servers.

They are nobody's in particular, so no owner is looked at; whether the caller may ask is seen to
where they came in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from antiphon import calls, errors
from antiphon.accounts import Accounts
from antiphon.calls import BackendServer, Call, Listed, LiveRun, NewKey, UsageReport
from antiphon.engine import kept
from antiphon.keys import make_key
from antiphon.people import Key, Person, day
from antiphon.ports import Store
from antiphon.runs import DAY

T = TypeVar("T", Person, Key)

MOST_ROWS = 10_000  # of one report: a month of hundreds of people

_DAY_MS = DAY * 1000


class Administration:
    """Answers for the installation; `servers` says which MCP servers it has, and how they are."""

    def __init__(
        self,
        store: Store,
        accounts: Accounts,
        servers: Callable[[], Sequence[BackendServer]],
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._servers = servers
        self._answers: Mapping[type[Call[Any]], Callable[[Any], Awaitable[Any]]] = {
            calls.CreatePerson: accounts.create,
            calls.ListPeople: self._list_people,
            calls.GetPerson: self._get_person,
            calls.UpdatePerson: accounts.update,
            calls.DeletePerson: self._delete_person,
            calls.SignIn: accounts.sign_in,
            calls.CreateKey: self._create_key,
            calls.ListKeys: self._list_keys,
            calls.RevokeKey: self._revoke_key,
            calls.ListLiveRuns: self._list_live_runs,
            calls.GetUsage: self._get_usage,
            calls.ListServers: self._list_servers,
        }

    def answers(self, call: Call[Any]) -> bool:
        """Whether this call is one of administration."""
        return type(call) in self._answers

    async def answer(self, call: Call[Any]) -> Any:
        """Do what it asks."""
        return await self._answers[type(call)](call)

    async def _list_people(self, call: calls.ListPeople) -> Listed[Person]:
        return _page(await self._store.people(), call.limit, call.after)

    async def _get_person(self, call: calls.GetPerson) -> Person:
        return await self._accounts.get(call.person_id)

    async def _delete_person(self, call: calls.DeletePerson) -> calls.Deleted:
        return await self._accounts.delete(call.person_id)

    async def _create_key(self, call: calls.CreateKey) -> NewKey:
        owner = kept.owner(call.owner)
        return NewKey(*await make_key(self._store, owner, call.name, call.scopes))

    async def _list_keys(self, call: calls.ListKeys) -> Listed[Key]:
        return _page(await self._store.keys(), call.limit, call.after)

    async def _revoke_key(self, call: calls.RevokeKey) -> Key:
        return await self._store.revoke_key(call.key_id)

    async def _list_live_runs(self, call: calls.ListLiveRuns) -> Listed[LiveRun]:
        page = await self._store.live_runs(call.limit, call.after)
        live = [LiveRun(run, owner) for owner, run in page.data]
        last = live[-1].run.id if live and page.has_more else None
        return Listed(live, has_more=page.has_more, next=last)

    async def _get_usage(self, call: calls.GetUsage) -> UsageReport:
        since = day(await self._store.now() - (call.days - 1) * _DAY_MS)
        rows = await self._store.spent(since, MOST_ROWS + 1)
        return UsageReport(since, rows[:MOST_ROWS], cut=len(rows) > MOST_ROWS)

    async def _list_servers(self, _: calls.ListServers) -> Listed[BackendServer]:
        return Listed(tuple(self._servers()), has_more=False)


def _page(everything: Sequence[T], limit: int, after: str | None) -> Listed[T]:
    """A page of a list that is short enough to be read whole. Raises `NotFound`."""
    begin = 0
    if after is not None:
        places = [place for place, each in enumerate(everything, 1) if each.id == after]
        if not places:
            raise errors.NotFound(f"There is nothing with the id {after!r} in this list.")
        begin = places[0]
    data = everything[begin : begin + limit]
    more = begin + limit < len(everything)
    return Listed(data, has_more=more, next=data[-1].id if more else None)
