"""The list of prices and windows that genai-prices keeps: as old as the package, never fetched.

An application that has that library update its prices itself gets the newer ones here too.
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
"""The list's names of vendors that no address tells of, by ours."""

MOVED = {"https://api.together.ai/v1": "https://api.together.xyz/v1"}
"""The addresses that the list has for servers which have another by now."""

get_snapshot()  # takes a moment: it shall pass while this module loads, not at the first look


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
    except (LookupError, ValueError):  # not there, or priced by what is not counted here
        return None
    # Nothing is what models cost that are listed without a price; that does not make them free.
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
