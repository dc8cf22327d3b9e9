"""Tokens for pages in browsers: signed statements of what a page may do.

A token is `bt_`, its grant as JSON in base64url, a dot, and a keyed hash of both. Nothing is
stored: a process that has the installation's secret verifies it. A token ends with its time, and
with its key.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from hashlib import blake2b

import msgspec
from msgspec.structs import asdict

from antiphon.api.browser_tokens import BrowserToken, CreateBrowserToken
from antiphon.ports import AdminStore
from antiphon.types.accounts import BrowserGrant, Principal
from antiphon.types.addresses import normal_origin
from antiphon.types.errors import InvalidRequest, NotFound, Unauthorized
from antiphon.types.runs import Assistant, Thread

MARK = "bt_"
MAX_LENGTH = 8_192
"""Longest token, in characters: the header of a request has room for it."""
DEFAULT_SECONDS = 900

_SIGNATURE_BYTES = 32
_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(BrowserGrant)


class BrowserTokenService:
    """Creates tokens for pages; none lasts longer than `max_age` seconds."""

    def __init__(self, store: AdminStore, max_age: float) -> None:
        self._store = store
        self._max_age = max_age

    async def create(self, operation: CreateBrowserToken, by: Principal) -> BrowserToken:
        """Create a token. Raises `InvalidRequest`, and `NotFound` for a thread or an assistant."""
        seconds = operation.expires_in
        if seconds is None:
            seconds = int(max(1, min(DEFAULT_SECONDS, self._max_age)))
        if seconds > self._max_age:
            raise InvalidRequest(
                "The token would last too long.",
                expected=f"at most {self._max_age:g} seconds, the setting max_token_age",
                received=str(seconds),
                where="$.expires_in",
            )
        if operation.assistant_id is not None and operation.model is not None:
            raise InvalidRequest(
                "A token names an assistant or a model.", expected="one of them", received="both"
            )
        if operation.thread_id is not None and operation.session is not None:
            raise InvalidRequest(
                "A token opens one thread, or those of a session.",
                expected="thread_id or session",
                received="both",
            )
        if operation.thread_id is not None:
            await self._check_owner(Thread, operation.thread_id, by.owner)
        if operation.assistant_id is not None:
            await self._check_owner(Assistant, operation.assistant_id, by.owner)
        session = operation.session
        if operation.thread_id is None and session is None:
            session = secrets.token_urlsafe(12)
        grant = BrowserGrant(
            owner=by.owner,
            key=await self._key_prefix(by),
            origins=tuple(dict.fromkeys(map(normal_origin, operation.origins))),
            expires_at=await self._store.now() + seconds * 1000,
            thread_id=operation.thread_id,
            session=session,
            assistant_id=operation.assistant_id,
            model=operation.model,
            ask=operation.ask,
        )
        token = sign_grant(grant, await self._store.installation_secret())
        shown = {name: value for name, value in asdict(grant).items() if name != "key"}
        return BrowserToken(token=token, **shown)

    async def _check_owner(self, kind: type[Thread | Assistant], id: str, owner: str) -> None:
        found = (await self._store.find_records(kind, [id])).get(id)
        if found is None or found[0] != owner:
            raise NotFound(f"There is no {kind.__name__.lower()} {id!r}.")

    async def _key_prefix(self, by: Principal) -> str:
        if by.key_id is None:
            return ""
        for key in await self._store.keys():
            if key.id == by.key_id:
                return key.prefix
        raise Unauthorized("The key was revoked.", hint="Ask for a new one.")


def sign_grant(grant: BrowserGrant, installation: bytes) -> str:
    """Return the token of a grant. Raises `InvalidRequest` if it would be too long."""
    text = base64.urlsafe_b64encode(_encode(grant)).rstrip(b"=").decode()
    token = f"{MARK}{text}.{_signature(text, installation)}"
    if len(token) > MAX_LENGTH:
        raise InvalidRequest(
            "The token would be too long for a header.",
            expected=f"at most {MAX_LENGTH} characters",
            received=str(len(token)),
            hint="Name fewer origins.",
        )
    return token


def read_grant(token: str, installation: bytes) -> BrowserGrant:
    """Return the grant of a token that this installation signed, which may have expired.

    Takes the same time for every wrong signature. Raises `Unauthorized`.
    """
    text, _, signature = token.removeprefix(MARK).partition(".")
    wanted = _signature(text[:MAX_LENGTH], installation)
    if len(token) <= MAX_LENGTH and hmac.compare_digest(signature.encode(), wanted.encode()):
        try:
            return _decoder.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (msgspec.DecodeError, binascii.Error, ValueError):
            pass  # signed by another version
    raise Unauthorized(
        "The token of the page is not one of this server.",
        expected="a token that POST /v1/browser_tokens returned",
    )


def _signature(text: str, installation: bytes) -> str:
    digest = blake2b(
        text.encode("utf-8", "replace"),
        key=installation,
        digest_size=_SIGNATURE_BYTES,
        person=b"browser token",
    ).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
