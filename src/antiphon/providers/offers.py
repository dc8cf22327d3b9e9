"""Where a model is to be had, and what you and a list know of it: its prices, its window.

The list may be an extra and take a while to load, so it is loaded in a thread, once, when it is
first needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from antiphon.addresses import leads_here
from antiphon.runs import DOLLAR_DIGITS, Usage

T = TypeVar("T")

Dollars = Annotated[float, Meta(ge=0, le=1_000_000)]
Tokens = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Windows = Tokens | dict[str, Tokens]
"""How many tokens models take: all of them, or by patterns of their names."""
_MILLION = 1_000_000


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """US dollars for a million tokens. Without `cached`, what was in a cache costs as the rest."""

    input: Dollars
    output: Dollars
    cached: Dollars | None = None

    def of(self, usage: Usage) -> float:
        """What these tokens cost."""
        cached = self.input if self.cached is None else self.cached
        dollars = (
            (usage.input_tokens - usage.cached_tokens) * self.input
            + usage.cached_tokens * cached
            + usage.output_tokens * self.output
        )
        return round(dollars / _MILLION, DOLLAR_DIGITS)


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model's replies are bought: its name there, and whose prices hold.

    `own` are prices by patterns of names, the first that fits counts, and so are `windows`. A list
    knows the seller by its `address`, or by our name of a `vendor` that is reached in another way.
    """

    model: str
    own: Mapping[str, Price] = {}
    windows: Windows | None = None
    address: str | None = None
    vendor: str | None = None

    @property
    def price(self) -> Price | None:
        """The own price for this model."""
        return self._fitting(self.own)

    @property
    def window(self) -> int | None:
        """The own window of this model, in tokens."""
        if isinstance(self.windows, dict):
            return self._fitting(self.windows)
        return self.windows

    @property
    def listed(self) -> bool:
        """Whether a list may have it: nobody lists what runs on this machine."""
        return self.vendor is not None or bool(self.address and not leads_here(self.address))

    def _fitting(self, by_names: Mapping[str, T]) -> T | None:
        fitting = (one for names, one in by_names.items() if fnmatchcase(self.model, names))
        return next(fitting, None)


class Loaded(Generic[T]):
    """What takes a while to load: in a thread, once, when it is first asked for."""

    def __init__(self, load: Callable[[], T]) -> None:
        self._load = load
        self._loading: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """It, loaded. Raises what loading raised."""
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(self._load))
        return await asyncio.shield(self._loading)
