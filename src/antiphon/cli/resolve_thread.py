"""Find a thread by its id, the beginning of its id, or `last`."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.api.operations import ListThreads
from antiphon.client.sync_client import Client
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.runs import Run, Thread

LAST = "last"
PREFIX = "thread_"
PAGE = 100


def last_answered(newest: Sequence[Run]) -> str | None:
    """Return the thread of the newest run; None if there is none."""
    return newest[0].thread_id if newest else None


def resolve_thread(client: Client, said: str) -> Thread:
    """Return the thread. Raises `NotFound` for none, `InvalidRequest` for several."""
    if said == LAST:
        return client.get_thread(_last(client))
    try:
        return client.get_thread(said)
    except NotFound:
        found = _find_by_prefix(client, said)
        if found is None:
            raise
        return found


def _last(client: Client) -> str:
    thread_id = last_answered(client.list_runs(limit=1).data)
    if thread_id is None:
        raise NotFound("nothing was answered here yet", hint="`antiphon ask` begins a thread.")
    return thread_id


def _find_by_prefix(client: Client, said: str) -> Thread | None:
    wanted = PREFIX + said.removeprefix(PREFIX)
    found = None
    for thread in client.paginate(ListThreads(limit=PAGE)):
        if wanted == PREFIX or not thread.id.startswith(wanted):
            continue
        if found is not None:
            raise InvalidRequest(
                f"more than one thread begins with {said}", expected="more letters of the id"
            )
        found = thread
    return found
