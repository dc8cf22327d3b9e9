"""Destinations of words that are sent to providers: equal where they go to the same place.

Which account pays is not part of it: a key may be replaced while a run waits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from antiphon.addresses import origin
from antiphon.runs import Destination

DIGEST_BYTES = 16

_FAMILIES = {
    "bedrock": ("AWS", "BEDROCK"),
    "vertexai": ("GOOGLE", "VERTEX", "CLOUD_ML"),
    "vertexaianthropic": ("GOOGLE", "VERTEX", "CLOUD_ML", "ANTHROPIC"),
    "gemini": ("GEMINI", "GOOGLE"),
    "azureanthropic": ("AZURE", "ANTHROPIC"),
}
"""With what the variables begin by which a vendor's library finds its server; else its name."""

_PLACE = re.compile(
    r"_(BASE_URL|API_BASE|ENDPOINT|ENDPOINT_URL.*|HOST|URL|REGION|LOCATION|PROJECT)$"
)
"""How the variables end that name a server, a region or a project, and never a key."""


def at_address(provider: str, base_url: str) -> Destination:
    """Return where words go that are sent to the server at this address."""
    return Destination(provider, origin(base_url), _digest(base_url.rstrip("/")))


def of_vendor(provider: str, environ: Mapping[str, str]) -> Destination:
    """Return where a vendor's library sends words, which looks into the environment."""
    families = _FAMILIES.get(provider, (provider.upper(),))
    places = sorted(
        f"{name}={value}"
        for name, value in environ.items()
        if name.startswith(families) and _PLACE.search(name)
    )
    return Destination(provider, "", _digest(provider, *places))


def of_plugin(provider: str, loaded_from: str) -> Destination:
    """Return where a plugin sends words: wherever its code does."""
    return Destination(provider, "", _digest(provider, loaded_from))


def _digest(*said: str) -> str:
    text = msgspec.json.encode(said)
    return blake2b(text, digest_size=DIGEST_BYTES, person=b"destination").hexdigest()
