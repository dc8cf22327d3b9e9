"""What a reply cost, in US dollars: by your own prices, else by a price list.

What is not known stays unknown. The list is loaded when the first reply needs it: by then that
reply has been streamed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from antiphon.providers.offers import Loaded, Offer
from antiphon.runs import Usage

log = logging.getLogger(__name__)

PriceList = Callable[[Offer, Usage], float | None]
"""What this usage costs where it is offered; None where the list does not know."""


class Prices:
    """Says what replies cost. `find` knows where a model is bought, `load` brings a price list."""

    def __init__(self, find: Callable[[str], Offer], load: Callable[[], PriceList | None]) -> None:
        self._find = find
        self._list = Loaded(load)

    async def cost(self, model: str, usage: Usage) -> float | None:
        """What `usage` of the model, named as in a run, cost; None where that is not known."""
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
