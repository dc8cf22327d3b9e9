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
"""How many tokens models take: all of them, or by patterns of their names."""
_MILLION = 1_000_000


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """US dollars for a million tokens. Without `cached`, what was in a cache costs as the rest."""

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
    """Vendor of a model and the model's name there.

    `own` are prices and `windows` sizes by patterns of names; the first match counts. A list knows
    the vendor by its `address`, or by our name of a `vendor` reached in another way.
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
        """True if a list may have the model: no list has models on this machine."""
        return self.vendor is not None or bool(self.address and not is_local_url(self.address))

    def _fitting(self, by_names: Mapping[str, T]) -> T | None:
        fitting = (one for names, one in by_names.items() if fnmatchcase(self.model, names))
        return next(fitting, None)


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


# What a reply cost, in US dollars: by your own prices, else by a price list.


log = logging.getLogger(__name__)

PriceList = Callable[[Offer, Usage], float | None]
"""What this usage costs where it is offered; None where the list does not know."""


class Prices:
    """Says what replies cost. `find` knows where a model is bought, `load` brings a price list."""

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
        except Exception:  # other people's code: a reply is not lost because its price is
            log.exception("the price list cannot say what %s costs", model)
            return None


# How many tokens a model takes: by your own word, else by a list; what is not known stays so.


WindowList = Callable[[Offer], int | None]
"""How many tokens the model takes that is offered there; None where the list does not know."""


class ModelWindows:
    """Says what models take. `find` knows where a model is to be had, `load` brings a list."""

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
            # In a thread, for there may be hundreds, and each is looked for by many patterns.
            return await asyncio.to_thread(lambda: [_window_of(offer, look_up) for offer in offers])
        except Exception:  # other people's code: models are listed without their windows too
            log.exception("the list cannot say how much models take")
            return [offer.window for offer in offers]


def _window_of(offer: Offer, look_up: WindowList) -> int | None:
    return offer.window or (look_up(offer) if offer.listed else None)
