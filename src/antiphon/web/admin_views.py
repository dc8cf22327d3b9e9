"""Lists of the whole installation for administrators, with the names of owners.

`owner` is the id that the backend uses, `person` the name of that owner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from antiphon.types.schedules import Schedule
from antiphon.types.webhooks import Webhook
from antiphon.web import assistants
from antiphon.web.people import LOCAL_USER

if TYPE_CHECKING:
    from antiphon.web.site import Site

Kind = Literal["person", "project", "everybody", "other"]

MOST_RUNS = 500  # a longer list is of no use


class RunOverview(msgspec.Struct, frozen=True):
    """Run in the list, without any of its contents."""

    id: str
    thread_id: str
    status: str
    model: str
    created_at: int


class OwnedRun(msgspec.Struct, frozen=True):
    """Run that has not ended, and its owner."""

    run: RunOverview
    owner: str
    person: str


class NamedUsageRow(UsageRow, frozen=True, kw_only=True):
    """Row of usage with the name of its owner."""

    person: str


class UsageTable(msgspec.Struct, frozen=True):
    """Rows of usage since a day; `cut` if there were more."""

    data: Sequence[NamedUsageRow]
    since: str
    cut: bool


class AdminServerRow(msgspec.Struct, frozen=True):
    """MCP server of the web chat's tools, or one that the backend runs."""

    name: str
    status: str
    problem: str
    side: Literal["web", "backend"]


class SharedAssistant(msgspec.Struct, frozen=True):
    """Assistant that has a link or is published; `by` is the name of its owner."""

    id: str
    name: str
    model: str | None
    token: str | None
    owner: str
    by: str
    published: bool = False


class NamedOwnerTotals(OwnerTotals, frozen=True, kw_only=True):
    """Totals of an owner, with their name."""

    name: str
    kind: Kind


class NamedProviderKey(ProviderKey, frozen=True, kw_only=True):
    """Key of an owner at a provider, with the owner's name."""

    person: str


class NamedWebhook(Webhook, frozen=True, kw_only=True):
    """Webhook with its owner, and the owner's name."""

    owner: str
    person: str


class NamedSchedule(Schedule, frozen=True, kw_only=True):
    """Schedule with its owner, and the owner's name."""

    owner: str
    person: str


class NamedAuditEntry(AuditEntry, frozen=True, kw_only=True):
    """Audit entry with the names of actor and owner."""

    who: str
    whose: str


class AuditPage(msgspec.Struct, frozen=True):
    """Page of the audit log; `next` is the cursor of the page after it."""

    data: Sequence[NamedAuditEntry]
    next: str | None


async def list_owners(client: AsyncClient) -> list[NamedOwnerTotals]:
    """Return every owner of data with their totals."""
    names = await _read_names(client)
    return [
        NamedOwnerTotals(
            **msgspec.structs.asdict(totals),
            name=names.get(totals.owner, totals.owner),
            kind=_owner_kind(totals.owner, names),
        )
        async for totals in client.paginate(ListOwners())
    ]


async def list_provider_keys(client: AsyncClient) -> list[NamedProviderKey]:
    """Return the provider keys of all owners."""
    names = await _read_names(client)
    return [
        NamedProviderKey(**msgspec.structs.asdict(key), person=names.get(key.owner, key.owner))
        for key in (await client.list_all_provider_keys()).data
    ]


async def list_webhooks(client: AsyncClient) -> list[NamedWebhook]:
    """Return the webhooks of all owners."""
    names = await _read_names(client)
    return [
        NamedWebhook(
            **msgspec.structs.asdict(each.webhook),
            owner=each.owner,
            person=names.get(each.owner, each.owner),
        )
        for each in (await client.list_all_webhooks()).data
    ]


async def list_schedules(client: AsyncClient) -> list[NamedSchedule]:
    """Return the schedules of all owners."""
    names = await _read_names(client)
    return [
        NamedSchedule(
            **msgspec.structs.asdict(each.schedule),
            owner=each.owner,
            person=names.get(each.owner, each.owner),
        )
        for each in (await client.list_all_schedules()).data
    ]


async def list_audit_entries(
    client: AsyncClient, after: str | None, owner: str | None
) -> AuditPage:
    """Return a page of the audit log."""
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
    """Return the newest runs that have not ended."""
    names = await _read_names(client)
    live: list[OwnedRun] = []
    async for each in client.paginate(ListLiveRuns()):
        run = each.run
        overview = RunOverview(run.id, run.thread_id, run.status.value, run.model, run.created_at)
        live.append(OwnedRun(overview, each.owner, names.get(each.owner, each.owner)))
        if len(live) == MOST_RUNS:
            break
    return live


async def read_usage(client: AsyncClient, query: GetUsage) -> UsageTable:
    """Return usage rows with the names of owners."""
    report = await client.transport.send(query)
    names = await _read_names(client)
    rows = [
        NamedUsageRow(**msgspec.structs.asdict(row), person=names.get(row.owner, row.owner))
        for row in report.rows
    ]
    return UsageTable(rows, report.since, report.cut)


async def list_servers(site: Site) -> list[AdminServerRow]:
    """Return the MCP servers, those of the web chat first."""
    there = (await site.client.list_servers()).data
    return [
        *(
            AdminServerRow(state.server, state.status, state.why, "web")
            for state in site.tools.servers()
        ),
        *(AdminServerRow(each.name, each.status, each.problem, "backend") for each in there),
    ]


async def list_shared_assistants(site: Site) -> list[SharedAssistant]:
    """Return all assistants that have a link or are published."""
    names = await _read_names(site.client)
    shared: list[SharedAssistant] = []
    for owner in dict.fromkeys((LOCAL_USER.owner, *names)):
        async for each in site.client_for_owner(owner).paginate(ListAssistants(limit=100)):
            token = assistants.link_token(site.secret, owner, each)
            published = each.published_at is not None
            if token is not None or published:
                by = names.get(owner, "")
                shared.append(
                    SharedAssistant(each.id, each.name, each.model, token, owner, by, published)
                )
    return shared


async def _read_names(client: AsyncClient) -> Mapping[str, str]:
    """Return the names of people and projects by owner id."""
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
