"""Projects, owners and their keys for providers in SQLite, as functions of a connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from antiphon.engine.accounts import folded
from antiphon.people import Act, Holding, Project, ProviderKey
from antiphon.ports import AmendProject, Listing
from antiphon.stores import rules
from antiphon.stores.sqlite import acts, keys, reads
from antiphon.stores.sqlite.reads import SQL


def add_project(connection: sqlite3.Connection, project: Project, act: Act) -> None:
    """See `Store.add_project`."""
    _write(connection, "add_project", project)
    acts.note(connection, act)


def projects(connection: sqlite3.Connection) -> Sequence[Project]:
    """See `Store.projects`."""
    return [_PROJECT.decode(doc) for (doc,) in reads.every(connection, "projects")]


def change_project(
    connection: sqlite3.Connection, id: str, amend: AmendProject, act: Act, now: int
) -> Project | None:
    """See `Store.change_project`."""
    row = reads.one(connection, "project", id)
    if row is None:
        raise rules.missing(Project, id)
    project = _PROJECT.decode(row[0])
    changed = amend(project)
    if changed == project:
        return changed
    if changed is None:
        connection.execute(SQL["remove_project"], (id,))
    else:
        _write(connection, "save_project", changed)
    if changed is None or changed.disabled:
        keys.change_of(connection, id, rules.revoked(now))
    acts.note(connection, act)
    return changed


def keep_provider_key(
    connection: sqlite3.Connection, key: ProviderKey, sealed: bytes, act: Act
) -> None:
    """See `Store.keep_provider_key`."""
    values = (key.owner, key.provider, sealed, msgspec.json.encode(key))
    connection.execute(SQL["keep_provider_key"], values)
    acts.note(connection, act)


def provider_keys(connection: sqlite3.Connection, owner: str | None) -> Sequence[ProviderKey]:
    """See `Store.provider_keys`."""
    if owner is None:
        rows = reads.every(connection, "provider_keys")
    else:
        rows = reads.every(connection, "provider_keys_of", owner)
    return [_PROVIDER_KEY.decode(doc) for (doc,) in rows]


def sealed_key(connection: sqlite3.Connection, owner: str, provider: str) -> bytes | None:
    """See `Store.sealed_key`."""
    row = reads.one(connection, "sealed_key", owner, provider)
    return bytes(row[0]) if row else None


def reseal_provider_key(
    connection: sqlite3.Connection,
    owner: str,
    provider: str,
    before: bytes,
    sealed: bytes,
    act: Act,
) -> bool:
    """See `Store.reseal_provider_key`."""
    values = (sealed, owner, provider, before)
    if connection.execute(SQL["reseal_provider_key"], values).rowcount == 0:
        return False
    acts.note(connection, act)
    return True


def drop_provider_key(connection: sqlite3.Connection, owner: str, provider: str, act: Act) -> None:
    """See `Store.drop_provider_key`."""
    if connection.execute(SQL["drop_provider_key"], (owner, provider)).rowcount == 0:
        raise rules.no_provider_key(owner, provider)
    acts.note(connection, act)


def owners(
    connection: sqlite3.Connection, limit: int, after: str | None, only: str | None
) -> Listing:
    """See `Store.owners`."""
    holdings: list[Holding] = []
    owner = _next(connection, after or "", only)
    while owner is not None and len(holdings) < limit:
        holdings.append(_holding(connection, owner))
        owner = _next(connection, owner, only)
    return Listing(holdings, owner is not None)


def erase(connection: sqlite3.Connection, owner: str, limit: int, now: int) -> int:
    """A bite of `Store.erase`: of the first kind that there is anything of."""
    values = {"owner": owner, "limit": limit}
    for statement in _ERASURES:
        if erased := connection.execute(SQL[statement], values).rowcount:
            return erased
    erased = connection.execute(SQL["erase_counters"], (owner,)).rowcount
    return erased + keys.change_of(connection, owner, rules.erased(now))


def _next(connection: sqlite3.Connection, after: str, only: str | None) -> str | None:
    values = {"after": after, "from": only or "", "only": only}
    row: tuple[str | None] = connection.execute(SQL["next_owner"], values).fetchone()
    return row[0]


def _holding(connection: sqlite3.Connection, owner: str) -> Holding:
    row = connection.execute(SQL["holding"], {"owner": owner}).fetchone()
    threads, runs, files, assistants = row
    return Holding(owner=owner, threads=threads, runs=runs, files=files, assistants=assistants)


def _write(connection: sqlite3.Connection, statement: str, project: Project) -> None:
    values = {
        "id": project.id,
        "folded": folded(project.name),
        "doc": msgspec.json.encode(project),
    }
    try:
        connection.execute(SQL[statement], values)
    except sqlite3.IntegrityError as fault:
        raise rules.project_taken(project) from fault


_ERASURES = (
    "erase_events",
    "erase_actions",
    "erase_runs",
    "erase_segments",
    "erase_messages",
    "erase_threads",
    "erase_uploads",
    "erase_assistants",
    "erase_answers",
    "erase_spent",
    "erase_provider_keys",
)
"""What is of many rows goes before what it belongs to, so that no bite is large."""

_PROJECT = msgspec.json.Decoder(Project)
_PROVIDER_KEY = msgspec.json.Decoder(ProviderKey)
