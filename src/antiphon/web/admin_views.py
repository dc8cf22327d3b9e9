"""What goes on in the whole installation, with the names of those whose it is.

`owner` is the id by which the backend knows somebody, `person` what they are called.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from antiphon.api.operations import (
    GetUsage,
    ListAssistants,
    ListLiveRuns,
    ListOwners,
    ListPeople,
    ListProjects,
)
from antiphon.client.async_client import AsyncClient
from antiphon.types.accounts import AuditEntry, OwnerTotals, ProviderKey, UsageRow
from antiphon.web import assistants
from antiphon.web.people import LOCAL_USER

if TYPE_CHECKING:
    from antiphon.web.site import Site

Kind = Literal["person", "project", "everybody", "other"]

MOST_RUNS = 500  # a list that is longer tells a person nothing more


class Running(msgspec.Struct, frozen=True):
    """A run as the list shows it: nothing of what is said in it."""

    id: str
    thread_id: str
    status: str
    model: str
    created_at: int


class LiveRun(msgspec.Struct, frozen=True):
    """A run that has not ended, and whose it is."""

    run: Running
    owner: str
    person: str


class Used(UsageRow, frozen=True, kw_only=True):
    """What was spent, and by whom."""

    person: str


class Usage(msgspec.Struct, frozen=True):
    """Rows since a day; `cut` where there were more."""

    data: Sequence[Used]
    since: str
    cut: bool


class Server(msgspec.Struct, frozen=True):
    """An MCP server: one of the web chat's tools, or one that the backend runs itself."""

    name: str
    status: str
    problem: str
    side: Literal["web", "backend"]


class SharedAssistant(msgspec.Struct, frozen=True):
    """An assistant that has a link; `by` is what its owner is called."""

    id: str
    name: str
    model: str | None
    token: str | None
    owner: str
    by: str


class Owned(OwnerTotals, frozen=True, kw_only=True):
    """How much somebody has, and who that is."""

    name: str
    kind: Kind


class OwnKey(ProviderKey, frozen=True, kw_only=True):
    """That an owner has a key at a provider, and who that is."""

    person: str


class Done(AuditEntry, frozen=True, kw_only=True):
    """Something that was done, with the names of who did it and whom it was about."""

    who: str
    whose: str


class Acts(msgspec.Struct, frozen=True):
    """A page of the audit log; `next` is what to ask for after it."""

    data: Sequence[Done]
    next: str | None


async def owners(client: AsyncClient) -> list[Owned]:
    """Everybody who has something."""
    names = await _names(client)
    return [
        Owned(
            **msgspec.structs.asdict(held),
            name=names.get(held.owner, held.owner),
            kind=_kind(held.owner, names),
        )
        async for held in client.paginate(ListOwners())
    ]


async def provider_keys(client: AsyncClient) -> list[OwnKey]:
    """Those of everybody."""
    names = await _names(client)
    return [
        OwnKey(**msgspec.structs.asdict(key), person=names.get(key.owner, key.owner))
        for key in (await client.list_all_provider_keys()).data
    ]


async def acts(client: AsyncClient, after: str | None, owner: str | None) -> Acts:
    """A page of what administrators did."""
    page = await client.list_acts(after=after, owner=owner)
    names = await _names(client)
    data = [
        Done(
            **msgspec.structs.asdict(act),
            who=names.get(act.actor, act.actor),
            whose=names.get(act.owner or act.target, act.owner or ""),
        )
        for act in page.data
    ]
    return Acts(data, page.next)


async def live_runs(client: AsyncClient) -> list[LiveRun]:
    """The newest of the runs that have not ended."""
    names = await _names(client)
    live: list[LiveRun] = []
    async for each in client.paginate(ListLiveRuns()):
        run = each.run
        told = Running(run.id, run.thread_id, run.status.value, run.model, run.created_at)
        live.append(LiveRun(told, each.owner, names.get(each.owner, each.owner)))
        if len(live) == MOST_RUNS:
            break
    return live


async def usage(client: AsyncClient, asked: GetUsage) -> Usage:
    """What was used, by whom."""
    report = await client.transport.send(asked)
    names = await _names(client)
    rows = [
        Used(**msgspec.structs.asdict(row), person=names.get(row.owner, row.owner))
        for row in report.rows
    ]
    return Usage(rows, report.since, report.cut)


async def servers(site: Site) -> list[Server]:
    """Those of the web chat first."""
    there = (await site.client.list_servers()).data
    return [
        *(Server(state.server, state.status, state.why, "web") for state in site.tools.servers()),
        *(Server(each.name, each.status, each.problem, "backend") for each in there),
    ]


async def shared_assistants(site: Site) -> list[SharedAssistant]:
    """Those of everybody that have a link."""
    return [each async for each in _shared(site)]


async def _shared(site: Site) -> AsyncIterator[SharedAssistant]:
    names = await _names(site.client)
    for owner in dict.fromkeys((LOCAL_USER.owner, *names)):
        async for each in site.client_for_owner(owner).paginate(ListAssistants(limit=100)):
            token = assistants.token(site.secret, owner, each)
            if token is not None:
                by = names.get(owner, "")
                yield SharedAssistant(each.id, each.name, each.model, token, owner, by)


async def _names(client: AsyncClient) -> Mapping[str, str]:
    """What people and projects are called, by the owner that they are."""
    names = {person.id: person.name async for person in client.paginate(ListPeople())}
    return names | {project.id: project.name async for project in client.paginate(ListProjects())}


def _kind(owner: str, names: Mapping[str, str]) -> Kind:
    match owner.partition("_")[0]:
        case "person" if owner in names:
            return "person"
        case "proj" if owner in names:
            return "project"
        case _:
            return "everybody" if owner == LOCAL_USER.owner else "other"
