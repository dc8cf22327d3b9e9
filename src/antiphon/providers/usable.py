"""With what a provider can be asked: an address, a key."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from antiphon.errors import BadSettings, InvalidRequest
from antiphon.people import OwnKey
from antiphon.providers.servers import Terms
from antiphon.providers.vendors import Vendor


def check_own(provider: str, terms: Terms | None, own: OwnKey, takers: Sequence[str]) -> None:
    """Raise `InvalidRequest` for an owner's key that nobody could be asked with.

    `takers` are the providers that take one.
    """
    if terms is None:
        raise InvalidRequest(
            f"Owners have no keys of their own for the provider {provider!r}.",
            expected="one of " + ", ".join(sorted(takers)),
            received=provider,
        )
    if isinstance(terms, Vendor) and own.base_url and not terms.movable:
        raise InvalidRequest(f"The provider {provider} is asked at its own address only.")
    try:
        text = key(own.key)
        address(own.base_url or "https://localhost")
    except BadSettings as wrong:
        raise InvalidRequest(wrong.message, **wrong.details) from wrong
    if text is None:
        raise InvalidRequest("The key is empty.", expected="the provider's key")


def address(base_url: str) -> str:
    """The base of addresses: a path is put behind it, and errors show it."""
    try:
        parts = urlsplit(base_url)
        (parts.hostname or "").encode("idna")  # raises for a name that cannot be looked up
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        shown = parts._replace(
            netloc=parts.netloc.rpartition("@")[2], query="", fragment=""
        ).geturl()
    except ValueError as error:
        raise _unusable(base_url.rpartition("@")[2]) from error
    if not usable or parts.username is not None or set("?#{}") & set(base_url):
        raise _unusable(shown)
    return base_url


def _unusable(shown: str) -> BadSettings:
    return BadSettings(
        "The base URL cannot be used.",
        expected="http:// or https://, a host, and no user, password, query or braces in it",
        received=shown,
    )


def key(given: str | None) -> str | None:
    """The key as it may stand in a header; a newline at its end is what files leave there."""
    text = (given or "").strip()
    if not (text.isascii() and text.isprintable()):
        raise BadSettings(
            "The provider's key cannot be sent.", expected="printable ASCII", received="other"
        )
    return text or None
