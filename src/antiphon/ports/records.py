"""Transactions, a clock and pages of records, which all ports of a store have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

FilterValue = str | bool | int | Sequence[str] | Mapping[str, str] | None
"""Value of one filter of a list of records; None matches everything."""


class RecordPage(msgspec.Struct, frozen=True):
    """One page of a list, and whether there is more."""

    data: Sequence[Any]
    has_more: bool


class RecordStore(Protocol):
    """A port of a store.

    Each method is one transaction; a failure leaves nothing behind. A method raises `Unavailable`
    when the store cannot be reached. Time is the store's clock.
    """

    async def now(self) -> int:
        """Return the store's time, ms since 1970."""
        ...
