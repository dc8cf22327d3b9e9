"""Filters of lists, on records in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from antiphon.ports import FilterValue
from antiphon.stores.record_query import KINDS
from antiphon.types.messages import Message
from antiphon.types.runs import Action, Run


def matches_filters(record: Any, run: Run | None, where: Mapping[str, FilterValue]) -> bool:
    """Return whether the filters find the record; `run` is that of an action.

    The filters are those of `RunStore.list`, without its scopes and those of threads.
    """
    if not (_has_status(record, where.get("status")) and _is_rated(record, where.get("rating"))):
        return False
    for name, document in KINDS[type(record)].fields.items():
        source = record if document == "doc" else run
        if not _has_value(getattr(source, name, None), where.get(name)):
            return False
    after, before = where.get("created_after"), where.get("created_before")
    if isinstance(after, int) and record.created_at <= after:
        return False
    if isinstance(before, int) and record.created_at >= before:
        return False
    expires = where.get("expires_before")
    if isinstance(expires, int) and not (record.expires_at and record.expires_at < expires):
        return False
    now = where.get("claimable_at")
    return not isinstance(now, int) or (isinstance(record, Action) and record.is_claimable(now))


def _has_status(record: Any, status: FilterValue) -> bool:
    return status is None or getattr(record, "status", None) == status


def _is_rated(record: Any, rating: FilterValue) -> bool:
    if rating is None:
        return True
    feedback = record.feedback if isinstance(record, Message) else None
    return feedback is not None and rating in ("any", feedback.rating)


def _has_value(value: Any, wanted: FilterValue) -> bool:
    match wanted:
        case None:
            return True
        case Mapping():
            pairs: dict[str, str] = value or {}
            return all(pairs.get(key) == text for key, text in wanted.items())
        case str():
            return bool(value == wanted)
        case Sequence():
            return value in wanted
        case _:
            return bool(value == wanted)
