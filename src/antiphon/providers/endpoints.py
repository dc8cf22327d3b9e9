"""The `[providers.NAME]` tables of the settings: merged with known providers, and validated."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, TypeVar, cast, get_args
from urllib.parse import urlsplit

import msgspec

from antiphon.providers.model_info import Price
from antiphon.providers.quirks import Quirks
from antiphon.providers.servers import SERVERS, VENDORS, Lack, ServerTerms, Terms, Vendor
from antiphon.types.accounts import OwnerProviderKey
from antiphon.types.addresses import origin
from antiphon.types.errors import BadSettings, InvalidRequest
from antiphon.types.runs import Destination

Table = Mapping[str, Any]
T = TypeVar("T", bound=Terms)

_KEY_PLACES = ("key_header", "key_parameter")
"""Fields that say where the key is sent; each excludes the other."""


def merge_servers(tables: Mapping[str, Table]) -> dict[str, ServerTerms]:
    """Return all servers, those of the settings first.

    A table for a known server changes only the fields that it gives.
    """
    own = {
        name: _parse_server(name, table)
        for name, table in tables.items()
        if not _is_vendor_table(name, table)
    }
    return own | {name: server for name, server in SERVERS.items() if name not in own}


def merge_vendors(tables: Mapping[str, Table]) -> dict[str, Vendor]:
    """Return all vendors.

    A table without an address changes a vendor's terms; a table with one defines a server.
    """
    vendors = dict(VENDORS)
    for name, table in tables.items():
        if _is_vendor_table(name, table):
            terms = _convert(name, table, Terms)
            fields = {field: getattr(terms, field) for field in table}
            vendors[name] = msgspec.structs.replace(vendors[name], **fields)
    return vendors


def _is_vendor_table(name: str, table: Table) -> bool:
    return name in VENDORS and "base_url" not in table


def _parse_server(name: str, table: Table) -> ServerTerms:
    if name == "demo" or ":" in name or not name:
        raise BadSettings(
            f"[providers.{name}] can never be asked.",
            expected="a name that is not demo, without a colon",
            received=name,
        )
    known = SERVERS.get(name)
    if known is None and "base_url" not in table:
        _check_names(f"[providers.{name}]", table, ServerTerms.__struct_fields__)
        raise BadSettings(
            f"[providers.{name}] has no address, and is none of the known providers.",
            expected='base_url = "https://..."',
            hint=_suggest(name, [*SERVERS, *VENDORS]),
        )
    placed = [field for field in _KEY_PLACES if table.get(field)]
    if len(placed) > 1:
        raise BadSettings(
            f"[providers.{name}] sends the key in two places.",
            expected="one of " + ", ".join(_KEY_PLACES),
            received=" and ".join(placed),
        )
    base: dict[str, Any] = msgspec.to_builtins(known) if known else {}
    if placed:
        base.update(dict.fromkeys(_KEY_PLACES))
    merged = {**base, **table}
    if isinstance(quirks := table.get("quirks"), dict):  # merged field by field
        merged["quirks"] = {**base.get("quirks", {}), **quirks}
    return _convert(name, merged, ServerTerms)


def _convert(name: str, table: Table, kind: type[T]) -> T:
    where = f"[providers.{name}]"
    _check_names(where, table, kind.__struct_fields__)
    if isinstance(quirks := table.get("quirks"), dict):
        named = map(str, cast("Table", quirks))
        _check_names(f"`quirks` of {where}", named, Quirks.__struct_fields__)
    if isinstance(lacks := table.get("lacks"), list):
        named = map(str, cast("list[object]", lacks))
        _check_names(f"`lacks` of {where}", named, get_args(Lack))
    if isinstance(prices := table.get("prices"), dict):
        for price in cast("dict[str, object]", prices).values():
            named = map(str, cast("Table", price) if isinstance(price, dict) else ())
            _check_names(f"`prices` of {where}", named, Price.__struct_fields__)
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise BadSettings(f"{where} cannot be used: {error}.") from error


def _check_names(where: str, given: Iterable[str], known: Collection[str]) -> None:
    """Raise `BadSettings` for unknown names: they are likely misspelled."""
    for name in given:
        if name not in known:
            raise BadSettings(
                f"{where} cannot be used: it knows no `{name}`.",
                expected=", ".join(known),
                received=name,
                hint=_suggest(name, known),
            )


def _suggest(name: str, known: Collection[str]) -> str | None:
    near = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    return f"did you mean `{near[0]}`?" if near else None


# Validation of addresses and keys.


def check_owner_key(
    provider: str, terms: Terms | None, own: OwnerProviderKey, takers: Sequence[str]
) -> None:
    """Raise `InvalidRequest` for an owner's key that the provider cannot use.

    `takers` are the providers that accept keys of owners.
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
        text = validate_key(own.key)
        validate_base_url(own.base_url or "https://localhost")
    except BadSettings as wrong:
        raise InvalidRequest(wrong.message, **wrong.details) from wrong
    if text is None:
        raise InvalidRequest("The key is empty.", expected="the provider's key")


def validate_base_url(base_url: str) -> str:
    """Return the base URL. Raises `BadSettings` unless a path can be appended and errors show it.

    The error shows the URL without user, password and query.
    """
    try:
        parts = urlsplit(base_url)
        (parts.hostname or "").encode("idna")  # raises for a name that cannot be looked up
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        shown = parts._replace(
            netloc=parts.netloc.rpartition("@")[2], query="", fragment=""
        ).geturl()
    except ValueError as error:
        raise _base_url_error(base_url.rpartition("@")[2]) from error
    if not usable or parts.username is not None or set("?#{}") & set(base_url):
        raise _base_url_error(shown)
    return base_url


def _base_url_error(shown: str) -> BadSettings:
    return BadSettings(
        "The base URL cannot be used.",
        expected="http:// or https://, a host, and no user, password, query or braces in it",
        received=shown,
    )


def validate_key(given: str | None) -> str | None:
    """Return the key without surrounding whitespace, such as the newline at a file's end.

    An empty key is None. Raises `BadSettings` for a key that no header can carry.
    """
    text = (given or "").strip()
    if not (text.isascii() and text.isprintable()):
        raise BadSettings(
            "The provider's key cannot be sent.", expected="printable ASCII", received="other"
        )
    return text or None


# Destinations: equal if requests go to the same place.


DIGEST_BYTES = 16

_FAMILIES = {
    "bedrock": ("AWS", "BEDROCK"),
    "vertexai": ("GOOGLE", "VERTEX", "CLOUD_ML"),
    "vertexaianthropic": ("GOOGLE", "VERTEX", "CLOUD_ML", "ANTHROPIC"),
    "gemini": ("GEMINI", "GOOGLE"),
    "azureanthropic": ("AZURE", "ANTHROPIC"),
}
"""Prefixes of the variables by which a vendor's library finds its server, if not its name."""

_PLACE = re.compile(
    r"_(BASE_URL|API_BASE|ENDPOINT|ENDPOINT_URL.*|HOST|URL|REGION|LOCATION|PROJECT)$"
)
"""Endings of variables that name a server, a region or a project, and never a key."""


def server_destination(provider: str, base_url: str) -> Destination:
    """Return the destination of requests to the server at this address."""
    return Destination(provider, origin(base_url), _digest(base_url.rstrip("/")))


def vendor_destination(provider: str, environ: Mapping[str, str]) -> Destination:
    """Return the destination of a vendor's requests, which its library reads from `environ`."""
    families = _FAMILIES.get(provider, (provider.upper(),))
    places = sorted(
        f"{name}={value}"
        for name, value in environ.items()
        if name.startswith(families) and _PLACE.search(name)
    )
    return Destination(provider, "", _digest(provider, *places))


def plugin_destination(provider: str, loaded_from: str) -> Destination:
    """Return the destination of a plugin's requests, known only by the plugin's code."""
    return Destination(provider, "", _digest(provider, loaded_from))


def _digest(*values: str) -> str:
    text = msgspec.json.encode(values)
    return blake2b(text, digest_size=DIGEST_BYTES, person=b"destination").hexdigest()
