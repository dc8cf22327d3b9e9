"""What goes on in the whole installation, with the names of those whose it is.

`owner` is the id by which the backend knows somebody, `person` what they are called.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from antiphon.calls import GetUsage, ListAssistants, ListLiveRuns, ListPeople
from antiphon.client.aio import AsyncClient
from antiphon.people import Spent
from antiphon.web import sharing
from antiphon.web.session import LOCAL

if TYPE_CHECKING:
    from antiphon.web.site import Site

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


class Used(Spent, frozen=True, kw_only=True):
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


async def live_runs(client: AsyncClient) -> list[LiveRun]:
    """The newest of the runs that have not ended."""
    names = await _names(client)
    live: list[LiveRun] = []
    async for each in client.every(ListLiveRuns()):
        run = each.run
        told = Running(run.id, run.thread_id, run.status.value, run.model, run.created_at)
        live.append(LiveRun(told, each.owner, names.get(each.owner, each.owner)))
        if len(live) == MOST_RUNS:
            break
    return live


async def usage(client: AsyncClient, asked: GetUsage) -> Usage:
    """What was used, by whom."""
    report = await client.line.send(asked)
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
    for owner in dict.fromkeys((LOCAL.owner, *names)):
        async for each in site.client_for(owner).every(ListAssistants(limit=100)):
            token = sharing.token(site.secret, owner, each)
            if token is not None:
                by = names.get(owner, "")
                yield SharedAssistant(each.id, each.name, each.model, token, owner, by)


async def _names(client: AsyncClient) -> Mapping[str, str]:
    """What everybody is called, by the owner that they are."""
    return {person.id: person.name async for person in client.every(ListPeople())}
