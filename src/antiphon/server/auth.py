"""Authentication by key or by the token of a page, scopes, and checks of Origin and Host.

Without any key the server answers only loopback, as the single owner `local`. Once a key exists,
every request under `/v1` needs one. A revoked key counts as existing: revoking the last key does
not open the server again.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import time

import msgspec
from msgspec.structs import replace
from starlette.datastructures import Headers
from starlette.types import Scope

from antiphon.engine import sanitize
from antiphon.ports import AdminStore
from antiphon.runtime.admin import browser_tokens
from antiphon.runtime.admin.keys import PREFIX_LENGTH, SCOPES, SECRET_BYTES, SHAPE, digest
from antiphon.server.cors import CrossOrigin, is_cross_origin, own_origins
from antiphon.types.accounts import BrowserGrant, Key, Principal
from antiphon.types.addresses import is_loopback
from antiphon.types.errors import (
    BadSettings,
    Forbidden,
    InvalidRequest,
    TokenExpired,
    Unauthorized,
    Unavailable,
)

OWNER_HEADER = "antiphon-owner"
ACTOR_HEADER = "antiphon-actor"
BROWSER = "browser"
"""The scope of a page's token, which no key has."""
CLOSED = CrossOrigin(())
CACHE_SECONDS = 2.0  # lifetime of a cached lookup; a revocation must apply within 5 seconds
MAX_REMEMBERED = 10_000
START_PATIENCE = 15.0  # seconds until a server that starts gives up a store that does not answer
START_PAUSE = 0.1  # seconds before it asks again


async def has_keys(store: AdminStore) -> bool:
    """Return whether there are keys. Wait for a database that is busy while the server starts.

    Raises `Unavailable` if it does not answer within `START_PATIENCE`.
    """
    until = time.monotonic() + START_PATIENCE
    while True:
        try:
            return bool(await store.keys())
        except Unavailable:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(START_PAUSE)


class AdmittedCaller(msgspec.Struct, frozen=True):
    """The caller of a request. `token` is None if no key was needed; streams recheck it.

    `grant` has the rights of a page's token, whose only scope is `browser`; None for a key.
    """

    principal: Principal
    scopes: frozenset[str]
    token: str | None = None
    grant: BrowserGrant | None = None

    @property
    def owner(self) -> str:
        """The owner whose data the caller sees."""
        return self.principal.owner

    @property
    def share_key(self) -> tuple[str | None, str]:
        """Identity for fair sharing: the key, and the owner that it acts for."""
        return self.token, self.owner


class AccessControl:
    """Authenticates callers by key or by the token of a page; lookups are cached for seconds.

    `was_locked` is the last result of `is_locked`, for code that must not wait for the store.
    """

    def __init__(self, store: AdminStore, *, was_locked: bool) -> None:
        self.was_locked = was_locked
        self._store = store
        self._secret: bytes | None = None
        self._known: dict[str, tuple[float, Key, bytes]] = {}
        self._open_until = 0.0

    async def admit(self, scope: Scope, *, fresh: bool = False) -> AdmittedCaller:
        """Return the caller of this request. Raises `Unauthorized` and `Forbidden`.

        With `fresh`, the key is read from the store, so that a revocation counts at once.
        """
        token = _bearer_token(scope)
        if token is not None and token.startswith(browser_tokens.MARK):
            caller = await self._authenticate_page(token)
            if caller.grant is not None:
                check_page_origin(scope, caller.grant)
            return caller
        if fresh and token is not None:
            self._known.pop(token[:PREFIX_LENGTH], None)
        if await self.is_locked(fresh=token is not None):
            return await self._authenticate(token)
        if is_cross_origin(scope):
            raise Unauthorized(
                "A page of another origin needs a token.",
                expected="Authorization: Bearer TOKEN",
                hint="Your backend makes one with POST /v1/browser_tokens.",
            )
        return _admit_loopback(scope)

    async def is_still_admitted(self, caller: AdmittedCaller, *, fresh: bool = False) -> bool:
        """Return whether an admitted caller would still be admitted; `fresh` as for `admit`."""
        if caller.token is None:
            return not await self.is_locked()
        if fresh:
            self._known.pop(caller.token[:PREFIX_LENGTH], None)
        try:
            if caller.grant is None:
                await self._authenticate(caller.token)
            else:
                await self._authenticate_page(caller.token)
        except Unauthorized:
            return False
        return True

    async def is_locked(self, *, fresh: bool = False) -> bool:
        """Return whether a key is needed. `fresh` bypasses a cached no."""
        if not self.was_locked and (fresh or time.monotonic() >= self._open_until):
            self.was_locked = bool(await self._store.keys())
            self._open_until = time.monotonic() + CACHE_SECONDS
        return self.was_locked

    async def _authenticate(self, token: str | None) -> AdmittedCaller:
        if token is None:
            raise Unauthorized(
                "This server asks for a key.",
                expected="Authorization: Bearer KEY",
                hint="Antiphon's programs read ANTIPHON_API_KEY, OpenAI's clients OPENAI_API_KEY.",
            )
        if SHAPE.fullmatch(token):
            key, kept_digest = await self._find_key(token[:PREFIX_LENGTH])
            given = digest(token, await self._installation_secret())
            if (
                hmac.compare_digest(given, kept_digest)
                and key is not None
                and key.revoked_at is None
            ):
                actor = key.person_id or key.id
                principal = Principal(
                    owner=key.owner, key_id=key.id, actor=actor, limits=key.limits
                )
                return AdmittedCaller(principal, frozenset(key.scopes), token)
        raise Unauthorized(
            "The key is unknown, revoked or expired.",
            expected="a key that `antiphon keys create` gave out",
        )

    async def _authenticate_page(self, token: str) -> AdmittedCaller:
        """Return the caller of a page's token. Raises `Unauthorized`, also once it has expired."""
        grant = browser_tokens.read_grant(token, await self._installation_secret())
        if await self._store.now() >= grant.expires_at:
            raise TokenExpired(
                "The token of the page has expired.",
                hint="Ask your own backend for a new one; it calls POST /v1/browser_tokens.",
            )
        key = (await self._find_key(grant.key))[0] if grant.key else None
        stands = (
            key is not None
            and key.revoked_at is None
            and (key.owner == grant.owner or "admin" in key.scopes)
        )
        if not stands and (grant.key or await self.is_locked(fresh=True)):
            raise Unauthorized(
                "The key of the page's token is revoked or expired.",
                hint="Create tokens with a key that stands.",
            )
        principal = Principal(owner=grant.owner)
        if key is not None:
            actor = key.person_id or key.id
            principal = replace(principal, key_id=key.id, actor=actor, limits=key.limits)
        return AdmittedCaller(principal, frozenset({BROWSER}), token, grant)

    async def _installation_secret(self) -> bytes:
        if self._secret is None:
            self._secret = await self._store.installation_secret()
        return self._secret

    async def _find_key(self, prefix: str) -> tuple[Key | None, bytes]:
        """Return the key with this prefix, and its digest.

        Without such a key, return None and a digest that no key has: the caller compares it too, so
        that both cases take the same time.
        """
        now = time.monotonic()
        remembered = self._known.get(prefix)
        if remembered and now < remembered[0]:
            return remembered[1], remembered[2]
        self._known.pop(prefix, None)
        found = await self._store.find_key(prefix)
        if found is None:
            return None, bytes(SECRET_BYTES)
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        key, seconds = await self._with_expiry(found[0])
        self._known[prefix] = (now + seconds, key, found[1])
        return key, found[1]

    async def _with_expiry(self, key: Key) -> tuple[Key, float]:
        """Return the key, revoked if it has expired, and the seconds to cache it."""
        if key.expires_at is None:
            return key, CACHE_SECONDS
        left = (key.expires_at - await self._store.now()) / 1000
        if left <= 0:
            return replace(key, revoked_at=key.expires_at), CACHE_SECONDS
        return key, min(left, CACHE_SECONDS)


def apply_delegation(caller: AdmittedCaller, scope: Scope) -> AdmittedCaller:
    """Return the caller with the owner and actor of `Antiphon-Owner` and `Antiphon-Actor`.

    Both headers are for administrators. Raises `Forbidden` and `InvalidRequest`.
    """
    owner, actor = _read_header(scope, OWNER_HEADER), _read_header(scope, ACTOR_HEADER)
    if owner is None and actor is None:
        return caller
    check_scope(caller, "admin")
    return replace(caller, principal=caller.principal.on_behalf_of(owner=owner, actor=actor))


def check_scope(caller: AdmittedCaller, needed: str) -> None:
    """Raise `Forbidden` unless the key has this scope, or `admin`, which includes all."""
    if not caller.scopes & {needed, "admin"}:
        raise Forbidden(
            "The key does not open this.",
            expected=f"a key with scope {needed}",
            received=", ".join(sorted(caller.scopes)),
        )


def check_page_origin(scope: Scope, grant: BrowserGrant) -> None:
    """Raise `Forbidden` unless a page of one of the grant's origins sends the request.

    Browsers leave out `Origin` where a page reads from its own origin; `Sec-Fetch-Site` says so.
    """
    headers = Headers(scope=scope)
    origins = {origin.lower() for origin in headers.getlist("origin")}
    if not origins and headers.get("sec-fetch-site") == "same-origin":
        origins = set(own_origins(scope)) & set(grant.origins)
    if len(origins) != 1 or not origins <= set(grant.origins):
        raise Forbidden(
            "The token is for pages of another origin.",
            expected="Origin: one of the origins that the token was created for",
        )


def check_origin(scope: Scope, *, locked: bool, cross_origin: CrossOrigin = CLOSED) -> None:
    """Raise `Forbidden` for a browser's request from a page of another origin.

    Origins that `cross_origin` allows pass. Without keys, also raise it for a Host that is no
    loopback name: DNS rebinding sends such a Host.
    """
    headers = Headers(scope=scope)
    hosts = headers.getlist("host")
    if not locked and (len(hosts) != 1 or not is_loopback(_host_name(hosts[0]))):
        raise Forbidden(
            "Without keys this server answers loopback names only.",
            expected="Host: localhost or a loopback address",
            hint="`antiphon keys create` makes a key, and then any name will do.",
        )
    own = own_origins(scope)
    for origin in headers.getlist("origin"):
        if origin.lower() not in own and not cross_origin.allows(origin):
            raise Forbidden(
                "The request comes from a page of another origin.",
                expected="no Origin, this server's own, or one of the setting allowed_origins",
                hint="Allow the origin, or let your own server stand between the page and this"
                " one.",
            )


def check_bind(host: str, has_keys: bool) -> None:
    """Raise `BadSettings` for an address that others can reach while no key exists."""
    if not has_keys and not is_loopback(host):
        raise BadSettings(
            "Without a key this server listens on loopback only.",
            expected="--host 127.0.0.1, or a key",
            received=f"--host {host}",
            hint="`antiphon keys create` makes a key.",
        )


def _read_header(scope: Scope, header: str) -> str | None:
    given = Headers(scope=scope).getlist(header)
    if len(given) > 1:
        raise InvalidRequest(
            f"The header {header.title()} is given more than once.",
            expected="one of it",
            received=str(len(given)),
        )
    return sanitize.validate_owner(given[0]) if given else None


def _bearer_token(scope: Scope) -> str | None:
    given = Headers(scope=scope).getlist("authorization")
    if not given:
        return None
    scheme, _, token = given[0].partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized(
            "The Authorization header cannot be used.", expected="Authorization: Bearer KEY"
        )
    return token.strip()


def _admit_loopback(scope: Scope) -> AdmittedCaller:
    client = scope.get("client")
    if client and not is_loopback(client[0]):
        raise Unauthorized(
            "Without keys this server answers its own machine only.",
            hint="`antiphon keys create` makes a key.",
        )
    return AdmittedCaller(Principal(), frozenset(SCOPES))


def _host_name(host: str) -> str:
    """Return the host of a Host header, without port and IPv6 brackets; empty if malformed."""
    if host.startswith("["):
        inside, end, rest = host[1:].partition("]")
        return inside if end and re.fullmatch(r"(:[0-9]{1,5})?", rest, re.ASCII) else ""
    name, _, port = host.partition(":")
    return name if re.fullmatch(r"[0-9]{0,5}", port, re.ASCII) else ""
