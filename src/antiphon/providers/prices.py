"""What a reply cost, in US dollars: by your own prices, else by a price list.

What is not known stays unknown. A price list may be an extra and take a while to load, so it is
loaded in a thread, once, when the first reply needs it: by then that reply has been streamed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec
from msgspec import Meta

from antiphon.addresses import leads_here
from antiphon.runs import DOLLAR_DIGITS, Usage

log = logging.getLogger(__name__)

Dollars = Annotated[float, Meta(ge=0, le=1_000_000)]
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

    `own` are prices by patterns of names, the first that fits counts. A price list knows the seller
    by its `address`, or by our name of a `vendor` that is reached in another way.
    """

    model: str
    own: Mapping[str, Price] = {}
    address: str | None = None
    vendor: str | None = None

    @property
    def price(self) -> Price | None:
        """The own price for this model."""
        fitting = (one for names, one in self.own.items() if fnmatchcase(self.model, names))
        return next(fitting, None)

    @property
    def listed(self) -> bool:
        """Whether a price list may have it: nobody lists what runs on this machine."""
        return self.vendor is not None or bool(self.address and not leads_here(self.address))


PriceList = Callable[[Offer, Usage], float | None]
"""What this usage costs where it is offered; None where the list does not know."""


class Prices:
    """Says what replies cost. `find` knows where a model is bought, `load` brings a price list."""

    def __init__(self, find: Callable[[str], Offer], load: Callable[[], PriceList | None]) -> None:
        self._find = find
        self._load = load
        self._loading: asyncio.Task[PriceList | None] | None = None

    async def cost(self, model: str, usage: Usage) -> float | None:
        """What `usage` of the model, named as in a run, cost; None where that is not known."""
        offer = self._find(model)
        if offer.price:
            return offer.price.of(usage)
        if not offer.listed:
            return None
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(self._load))
        try:
            look_up = await asyncio.shield(self._loading)
            return look_up(offer, usage) if look_up else None
        except Exception:  # other people's code: a reply is not lost because its price is
            log.exception("the price list cannot say what %s costs", model)
            return None
