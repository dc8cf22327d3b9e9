"""Projects, owners and their keys for providers in PostgreSQL, as functions of a connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec
from asyncpg.connection import Connection

from antiphon.engine.accounts import folded
from antiphon.people import Act, Holding, Project, ProviderKey
from antiphon.ports import AmendProject, Listing
from antiphon.stores import rules
from antiphon.stores.postgres import acts, keys
from antiphon.stores.postgres.connections import execute, rows, value
from antiphon.stores.postgres.records import remove_what_is_in

RUNS_ERASED = 200  # in one bite, with all their events


async def add_project(connection: Connection[Any], project: Project, act: Act) -> None:
    """See `Store.add_project`."""
    async with connection.transaction():
        await _write(connection, "add_project", project)
        await acts.note(connection, act)


async def projects(connection: Connection[Any]) -> Sequence[Project]:
    """See `Store.projects`."""
    return [_PROJECT.decode(doc) for (doc,) in await rows(connection, "projects")]


async def change_project(
    connection: Connection[Any], id: str, amend: AmendProject, act: Act, now: int | None
) -> Project | None:
    """See `Store.change_project`."""
    async with connection.transaction():
        doc = await value(connection, "project_for_update", id=id)
        if doc is None:
            raise rules.missing(Project, id)
        project = _PROJECT.decode(doc)
        changed = amend(project)
        if changed == project:
            return changed
        if changed is None:
            await execute(connection, "remove_project", id=id)
        else:
            await _write(connection, "save_project", changed)
        if changed is None or changed.disabled:
            await keys.revoke_those_of(connection, id, now)
        await acts.note(connection, act)
    return changed


async def keep_provider_key(
    connection: Connection[Any], key: ProviderKey, sealed: bytes, act: Act
) -> None:
    """See `Store.keep_provider_key`."""
    values = {"owner": key.owner, "provider": key.provider, "doc": msgspec.json.encode(key)}
    async with connection.transaction():
        await execute(connection, "keep_provider_key", sealed=sealed, **values)
        await acts.note(connection, act)


async def provider_keys(connection: Connection[Any], owner: str | None) -> Sequence[ProviderKey]:
    """See `Store.provider_keys`."""
    found = await rows(connection, "provider_keys", owner=owner)
    return [_PROVIDER_KEY.decode(doc) for (doc,) in found]


async def sealed_key(connection: Connection[Any], owner: str, provider: str) -> bytes | None:
    """See `Store.sealed_key`."""
    sealed: bytes | None = await value(connection, "sealed_key", owner=owner, provider=provider)
    return sealed


async def reseal_provider_key(
    connection: Connection[Any],
    owner: str,
    provider: str,
    before: bytes,
    sealed: bytes,
    act: Act,
) -> bool:
    """See `Store.reseal_provider_key`."""
    values = {"owner": owner, "provider": provider, "before": before, "sealed": sealed}
    async with connection.transaction():
        if not await value(connection, "reseal_provider_key", **values):
            return False
        await acts.note(connection, act)
    return True


async def drop_provider_key(
    connection: Connection[Any], owner: str, provider: str, act: Act
) -> None:
    """See `Store.drop_provider_key`."""
    async with connection.transaction():
        if not await value(connection, "drop_provider_key", owner=owner, provider=provider):
            raise rules.no_provider_key(owner, provider)
        await acts.note(connection, act)


async def owners(
    connection: Connection[Any], limit: int, after: str | None, only: str | None
) -> Listing:
    """See `Store.owners`."""
    values = {"after": after or "", "from": only or "", "only": only, "limit": limit + 1}
    found = [
        Holding(owner=owner, threads=threads, runs=runs, files=files, assistants=assistants)
        for owner, threads, runs, files, assistants in await rows(connection, "owners", **values)
    ]
    return Listing(found[:limit], len(found) > limit)


async def erase(connection: Connection[Any], owner: str, limit: int, now: int | None) -> int:
    """A bite of `Store.erase`: of the first kind that there is anything of."""
    async with connection.transaction():
        if erased := await _erase_runs(connection, owner, min(limit, RUNS_ERASED)):
            return erased
        if erased := await _erase_threads(connection, owner, limit):
            return erased
        for name in _ERASURES:
            if erased := await value(connection, name, owner=owner, limit=limit):
                return int(erased)
        erased = await value(connection, "erase_counters", owner=owner)
        blank = rules.erased(await value(connection, "now", now=now))
        return int(erased) + await keys.change_of(connection, owner, blank)


async def _erase_runs(connection: Connection[Any], owner: str, limit: int) -> int:
    """Runs with all that is theirs; how they are driven first, so that no event is added behind."""
    numbers = await value(connection, "runs_to_erase", owner=owner, limit=limit)
    if numbers:
        for name in ("drop_drives", "drop_events", "drop_actions", "drop_runs"):
            await execute(connection, name, runs=numbers)
    return len(numbers)


async def _erase_threads(connection: Connection[Any], owner: str, limit: int) -> int:
    """Messages of some threads, and these threads once they have none."""
    threads = await value(connection, "threads_to_erase", owner=owner)
    if not threads:
        return 0
    if erased := await value(connection, "erase_messages", threads=threads, limit=limit):
        return int(erased)
    for thread_id in threads[:limit]:
        await value(connection, "remove_thread", id=thread_id, owner=owner)
        await remove_what_is_in(connection, thread_id)
    return len(threads[:limit])


async def _write(connection: Connection[Any], name: str, project: Project) -> None:
    doc = msgspec.json.encode(project)
    try:
        await execute(connection, name, id=project.id, folded=folded(project.name), doc=doc)
    except asyncpg.UniqueViolationError as fault:
        raise rules.project_taken(project) from fault


_ERASURES = (
    *("erase_uploads", "erase_assistants", "erase_answers"),
    *("erase_spent", "erase_provider_keys"),
)

_PROJECT = msgspec.json.Decoder(Project)
_PROVIDER_KEY = msgspec.json.Decoder(ProviderKey)
