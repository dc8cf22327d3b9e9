"""How many tokens a model takes: by your own word, else by a list; what is not known stays so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from antiphon.providers.offers import Loaded, Offer

log = logging.getLogger(__name__)

WindowList = Callable[[Offer], int | None]
"""How many tokens the model takes that is offered there; None where the list does not know."""


class ModelWindows:
    """Says what models take. `find` knows where a model is to be had, `load` brings a list."""

    def __init__(self, find: Callable[[str], Offer], load: Callable[[], WindowList | None]) -> None:
        self._find = find
        self._list = Loaded(load)

    async def of(self, models: Sequence[str]) -> list[int | None]:
        """How many tokens each of these takes, in their order; None where that is not known."""
        offers = [self._find(model) for model in models]
        if all(offer.window or not offer.listed for offer in offers):
            return [offer.window for offer in offers]
        try:
            look_up = await self._list.get()
            if look_up is None:
                return [offer.window for offer in offers]
            # In a thread, for there may be hundreds, and each is looked for by many patterns.
            return await asyncio.to_thread(lambda: [_known(offer, look_up) for offer in offers])
        except Exception:  # other people's code: models are listed without their windows too
            log.exception("the list cannot say how much models take")
            return [offer.window for offer in offers]


def _known(offer: Offer, look_up: WindowList) -> int | None:
    return offer.window or (look_up(offer) if offer.listed else None)
