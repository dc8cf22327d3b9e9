"""What calls are answered, and lists page by page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from antiphon.api.operations import Listed
from antiphon.ports import RecordPage, Store

OperationHandler = Callable[..., Awaitable[Any]]
"""Answers a call of a principal, under what makes it be done once, if anything does."""


class Response(msgspec.Struct, frozen=True):
    """What a call is answered: `value` is of the call's `answer` type.

    Where the call was answered before under the same idempotency key, `value` is that answer's JSON
    as `msgspec.Raw`.
    """

    value: Any
    status: int
    replayed: bool = False


def to_listed(page: RecordPage) -> Listed[Any]:
    """A page as callers get it, with the id of the last to ask on from."""
    last = page.data[-1].id if page.data and page.has_more else None
    return Listed(tuple(page.data), has_more=page.has_more, next=last)


async def paginate(
    store: Store,
    kind: type[Any],
    owner: str,
    limit: int,
    after: str | None,
    **where: str | None,
) -> Listed[Any]:
    """A page of an owner's things of a kind, as `Store.list` finds them."""
    return to_listed(await store.list(kind, owner, limit=limit, after=after, **where))
