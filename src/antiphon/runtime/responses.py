"""Responses to operations, and pages of lists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from antiphon.api.operations import Deleted, Listed
from antiphon.engine.snapshot import IdempotencyKey
from antiphon.ports import FilterValue, RecordPage, RunStore
from antiphon.types.accounts import Principal

OperationHandler = Callable[[Any, Principal, IdempotencyKey | None], Awaitable[Any]]
"""Executes an operation for a principal, under an idempotency key if there is one."""


class Response(msgspec.Struct, frozen=True):
    """The response to an operation: `value` has the operation's `answer` type.

    For a repeated request with the same idempotency key, `value` is the stored response's JSON as
    `msgspec.Raw` and `replayed` is true.
    """

    value: Any
    status: int
    replayed: bool = False


def to_listed(page: RecordPage) -> Listed[Any]:
    """Convert a page of the store to the API's form, with the id to continue after."""
    last = page.data[-1].id if page.data and page.has_more else None
    return Listed(tuple(page.data), has_more=page.has_more, next=last)


async def paginate(
    store: RunStore,
    kind: type[Any],
    owner: str,
    limit: int,
    after: str | None,
    **where: FilterValue,
) -> Listed[Any]:
    """Return a page of an owner's records of a kind, as `Store.list` finds them."""
    return to_listed(await store.list(kind, owner, limit=limit, after=after, **where))


async def delete_record(store: RunStore, kind: type[Any], owner: str, id: str) -> Deleted:
    """Delete an owner's record of a kind. Raises `NotFound`."""
    await store.delete(kind, owner, id)
    return Deleted(id)
