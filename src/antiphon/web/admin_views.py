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


class RunOverview(msgspec.Struct, frozen=True):
    """A run as the list shows it: nothing of what is said in it."""

    id: str
    thread_id: str
    status: str
    model: str
    created_at: int


class OwnedRun(msgspec.Struct, frozen=True):
    """A run that has not ended, and whose it is."""

    run: RunOverview
    owner: str
    person: str


class NamedUsageRow(UsageRow, frozen=True, kw_only=True):
    """What was spent, and by whom."""

    person: str


class UsageTable(msgspec.Struct, frozen=True):
    """Rows since a day; `cut` where there were more."""

    data: Sequence[NamedUsageRow]
    since: str
    cut: bool


class ServerRow(msgspec.Struct, frozen=True):
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


class NamedOwnerTotals(OwnerTotals, frozen=True, kw_only=True):
    """How much somebody has, and who that is."""

    name: str
    kind: Kind


class NamedProviderKey(ProviderKey, frozen=True, kw_only=True):
    """That an owner has a key at a provider, and who that is."""

    person: str


class NamedAuditEntry(AuditEntry, frozen=True, kw_only=True):
    """Something that was done, with the names of who did it and whom it was about."""

    who: str
    whose: str


class AuditPage(msgspec.Struct, frozen=True):
    """A page of the audit log; `next` is what to ask for after it."""

    data: Sequence[NamedAuditEntry]
    next: str | None


async def list_owners(client: AsyncClient) -> list[NamedOwnerTotals]:
    """Everybody who has something."""
    names = await _read_names(client)
    return [
        NamedOwnerTotals(
            **msgspec.structs.asdict(held),
            name=names.get(held.owner, held.owner),
            kind=_owner_kind(held.owner, names),
        )
        async for held in client.paginate(ListOwners())
    ]


async def list_provider_keys(client: AsyncClient) -> list[NamedProviderKey]:
    """Those of everybody."""
    names = await _read_names(client)
    return [
        NamedProviderKey(**msgspec.structs.asdict(key), person=names.get(key.owner, key.owner))
        for key in (await client.list_all_provider_keys()).data
    ]


async def list_audit_entries(
    client: AsyncClient, after: str | None, owner: str | None
) -> AuditPage:
    """A page of what administrators did."""
    page = await client.list_acts(after=after, owner=owner)
    names = await _read_names(client)
    data = [
        NamedAuditEntry(
            **msgspec.structs.asdict(act),
            who=names.get(act.actor, act.actor),
            whose=names.get(act.owner or act.target, act.owner or ""),
        )
        for act in page.data
    ]
    return AuditPage(data, page.next)


async def list_live_runs(client: AsyncClient) -> list[OwnedRun]:
    """The newest of the runs that have not ended."""
    names = await _read_names(client)
    live: list[OwnedRun] = []
    async for each in client.paginate(ListLiveRuns()):
        run = each.run
        told = RunOverview(run.id, run.thread_id, run.status.value, run.model, run.created_at)
        live.append(OwnedRun(told, each.owner, names.get(each.owner, each.owner)))
        if len(live) == MOST_RUNS:
            break
    return live


async def read_usage(client: AsyncClient, asked: GetUsage) -> UsageTable:
    """What was used, by whom."""
    report = await client.transport.send(asked)
    names = await _read_names(client)
    rows = [
        NamedUsageRow(**msgspec.structs.asdict(row), person=names.get(row.owner, row.owner))
        for row in report.rows
    ]
    return UsageTable(rows, report.since, report.cut)


async def list_servers(site: Site) -> list[ServerRow]:
    """Those of the web chat first."""
    there = (await site.client.list_servers()).data
    return [
        *(
            ServerRow(state.server, state.status, state.why, "web")
            for state in site.tools.servers()
        ),
        *(ServerRow(each.name, each.status, each.problem, "backend") for each in there),
    ]


async def list_shared_assistants(site: Site) -> list[SharedAssistant]:
    """Those of everybody that have a link."""
    return [each async for each in _shared(site)]


async def _shared(site: Site) -> AsyncIterator[SharedAssistant]:
    names = await _read_names(site.client)
    for owner in dict.fromkeys((LOCAL_USER.owner, *names)):
        async for each in site.client_for_owner(owner).paginate(ListAssistants(limit=100)):
            token = assistants.link_token(site.secret, owner, each)
            if token is not None:
                by = names.get(owner, "")
                yield SharedAssistant(each.id, each.name, each.model, token, owner, by)


async def _read_names(client: AsyncClient) -> Mapping[str, str]:
    """What people and projects are called, by the owner that they are."""
    names = {person.id: person.name async for person in client.paginate(ListPeople())}
    return names | {project.id: project.name async for project in client.paginate(ListProjects())}


def _owner_kind(owner: str, names: Mapping[str, str]) -> Kind:
    match owner.partition("_")[0]:
        case "person" if owner in names:
            return "person"
        case "proj" if owner in names:
            return "project"
        case _:
            return "everybody" if owner == LOCAL_USER.owner else "other"
