"""Published assistants of all owners: finding one, and the name of its author."""

from __future__ import annotations

from antiphon.engine.published import limit_to_others
from antiphon.ports import AdminStore
from antiphon.types.errors import NotFound
from antiphon.types.runs import Assistant


async def find_author(store: AdminStore, owner: str) -> str | None:
    """Return the name of an owner, "" without an account; None if it is disabled."""
    account = await store.find_person(id=owner)
    if account is not None:
        return None if account.person.disabled else account.person.name
    for project in await store.projects():
        if project.id == owner:
            return None if project.disabled else project.name
    return ""


async def find_published(store: AdminStore, assistant_id: str) -> tuple[str, Assistant]:
    """Return a published assistant, as others may use it, and its author's name.

    Raises `NotFound`, also while the author's account is disabled.
    """
    found = (await store.find_records(Assistant, [assistant_id])).get(assistant_id)
    if found is not None and found[1].published_at is not None:
        author = await find_author(store, found[0])
        if author is not None:
            return author, limit_to_others(found[1])
    raise NotFound(
        f"There is no published assistant {assistant_id[:64]}.",
        hint="Its author may have taken it back.",
    )
