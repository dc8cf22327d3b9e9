"""Model information: vendor, price and context window, from the settings or a list.

The list may be an extra and slow to load, so it is loaded in a thread, once, when first needed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from antiphon.types.addresses import is_local_url
from antiphon.types.runs import DOLLAR_DIGITS, Usage

T = TypeVar("T")

Dollars = Annotated[float, Meta(ge=0, le=1_000_000)]
Tokens = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Windows = Tokens | dict[str, Tokens]
"""Context windows in tokens: one for all models, or by patterns of their names."""
_MILLION = 1_000_000


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """US dollars for a million tokens. Without `cached`, cached input tokens cost as others."""

    input: Dollars
    output: Dollars
    cached: Dollars | None = None

    def of(self, usage: Usage) -> float:
        """Return the cost of these tokens."""
        cached = self.input if self.cached is None else self.cached
        dollars = (
            (usage.input_tokens - usage.cached_tokens) * self.input
            + usage.cached_tokens * cached
            + usage.output_tokens * self.output
        )
        return round(dollars / _MILLION, DOLLAR_DIGITS)


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """Vendor of a model, and the model's name there.

    `own` are the prices and `windows` the context windows of the settings, by patterns of names;
    the first match counts. A list finds the vendor by its `address`, or by our name of a `vendor`
    whose address is not known.
    """

    model: str
    own: Mapping[str, Price] = {}
    windows: Windows | None = None
    address: str | None = None
    vendor: str | None = None

    @property
    def price(self) -> Price | None:
        """The price in the settings, if any."""
        return self._find_by_name(self.own)

    @property
    def window(self) -> int | None:
        """The context window in the settings, in tokens."""
        if isinstance(self.windows, dict):
            return self._find_by_name(self.windows)
        return self.windows

    @property
    def listed(self) -> bool:
        """True if a list may contain the model; no list contains models on this machine."""
        return self.vendor is not None or bool(self.address and not is_local_url(self.address))

    def _find_by_name(self, by_names: Mapping[str, T]) -> T | None:
        matches = (value for names, value in by_names.items() if fnmatchcase(self.model, names))
        return next(matches, None)


class LazyValue(Generic[T]):
    """Value that takes a while to load: loaded in a thread, once, at the first use."""

    def __init__(self, load: Callable[[], T]) -> None:
        self._load = load
        self._loading: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Return the value. Raises the errors of loading."""
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(self._load))
        return await asyncio.shield(self._loading)


# Costs in US dollars: by the prices of the settings, else by a price list.


log = logging.getLogger(__name__)

PriceList = Callable[[Offer, Usage], float | None]
"""Returns the cost of this usage; None if the list does not know the model."""


class Prices:
    """Prices of models. `find` returns the offer of a model, `load` a price list."""

    def __init__(self, find: Callable[[str], Offer], load: Callable[[], PriceList | None]) -> None:
        self._find = find
        self._list = LazyValue(load)

    async def cost(self, model: str, usage: Usage) -> float | None:
        """Return the cost of `usage` of the model, named as in a run; None if unknown."""
        offer = self._find(model)
        if offer.price:
            return offer.price.of(usage)
        if not offer.listed:
            return None
        try:
            look_up = await self._list.get()
            return look_up(offer, usage) if look_up else None
        except Exception:  # foreign code: an unknown price must not lose the reply
            log.exception("the price list cannot say what %s costs", model)
            return None


# Context windows: by the settings, else by a list.


WindowList = Callable[[Offer], int | None]
"""Returns a model's context window in tokens; None if the list does not know the model."""


class ModelWindows:
    """Context windows of models. `find` returns the offer of a model, `load` a list."""

    def __init__(self, find: Callable[[str], Offer], load: Callable[[], WindowList | None]) -> None:
        self._find = find
        self._list = LazyValue(load)

    async def of(self, models: Sequence[str]) -> list[int | None]:
        """Return the context window of each of these models, in order; None if unknown."""
        offers = [self._find(model) for model in models]
        if all(offer.window or not offer.listed for offer in offers):
            return [offer.window for offer in offers]
        try:
            look_up = await self._list.get()
            if look_up is None:
                return [offer.window for offer in offers]

            def find_window(offer: Offer) -> int | None:
                return offer.window or (look_up(offer) if offer.listed else None)

            # In a thread: there may be hundreds, and each is matched against many patterns.
            return await asyncio.to_thread(lambda: [find_window(offer) for offer in offers])
        except Exception:  # foreign code: models are listed without their windows then
            log.exception("the list cannot say how much models take")
            return [offer.window for offer in offers]
