"""Prices and context windows from the genai-prices package, never fetched.

If an application lets that library update its prices, the updated ones are used here too.
"""

from __future__ import annotations

from genai_prices import Usage as Tokens
from genai_prices.data_snapshot import get_snapshot

from antiphon.providers.model_info import Offer
from antiphon.types.runs import DOLLAR_DIGITS, Usage

SELLERS = {
    "anthropic": "anthropic",
    "azureanthropic": "azure",
    "bedrock": "aws",
    "cohere": "cohere",
    "databricks": "databricks",
    "gemini": "google",
    "minimax": "minimax",
    "ovhcloud": "ovhcloud",
    "vertexai": "google",
    "vertexaianthropic": "google",
    "zai": "zai",
}
"""The list's names of vendors that have no known address, by our names."""

MOVED = {"https://api.together.ai/v1": "https://api.together.xyz/v1"}
"""Former addresses, under which the list has the server, by the current ones."""

get_snapshot()  # slow, so it is loaded with this module and not at the first query


def cost(offer: Offer, usage: Usage) -> float | None:
    """Return the cost of this usage by the list; None for an unknown vendor or model."""
    seller, address = _seller(offer), _address(offer)
    if seller is None and address is None:
        return None
    tokens = Tokens(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
    )
    try:
        found = get_snapshot().calc(tokens, offer.model, seller, address, None)
    except (LookupError, ValueError):  # not in the list, or priced by units that are not counted
        return None
    # The list has 0 for models without a price; these are not free.
    return round(float(found.total_price), DOLLAR_DIGITS) or None


def context_tokens(offer: Offer) -> int | None:
    """Return the model's context window by the list; None if unknown."""
    seller, address = _seller(offer), _address(offer)
    if seller is None and address is None:
        return None
    try:
        _, model = get_snapshot().find_provider_model(offer.model, None, seller, address)
    except LookupError:
        return None
    return model.context_window


def _seller(offer: Offer) -> str | None:
    return SELLERS.get(offer.vendor or "")


def _address(offer: Offer) -> str | None:
    return MOVED.get(offer.address, offer.address) if offer.address else None
