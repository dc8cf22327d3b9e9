"""API keys: creation, hashing, limits, revocation."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Sequence
from hashlib import blake2b

import msgspec
from msgspec.structs import asdict, replace

from antiphon.api import operations
from antiphon.engine import sanitize
from antiphon.ports import AdminStore
from antiphon.runtime.admin import audit
from antiphon.types import ids
from antiphon.types.accounts import AuditAction, Key, Limits, Principal
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.ids import Mint

SCOPES = ("read", "write", "metrics", "admin")
SECRET_BYTES = 32  # 256 bits that prove the key

_MARK = "ak_"
_PREFIX_BYTES = 9  # 72 bits by which the key is found
PREFIX_LENGTH = len(_MARK) + 12
SHAPE = re.compile(r"ak_[A-Za-z0-9_-]{12}[A-Za-z0-9_-]{43}", re.ASCII)


class KeyService:
    """Service for an installation's API keys. `mint` creates the ids of audit entries."""

    def __init__(self, store: AdminStore, mint: Mint) -> None:
        self._store = store
        self._mint = mint

    async def create(self, operation: operations.CreateKey, by: Principal) -> tuple[Key, str]:
        """Create a key; return it and its text, which cannot be read later: the store has a hash.

        Raises `InvalidRequest`, and `Conflict` for a project that is disabled.
        """
        owner = sanitize.validate_owner(operation.owner)
        now = await self._store.now()
        key, token = new_key(now, owner, operation.name, operation.scopes)
        key = replace(
            key,
            limits=operation.limits,
            person_id=operation.person_id,
            expires_at=None if operation.expires_in is None else now + operation.expires_in * 1000,
        )
        details = {"scopes": " ".join(key.scopes), **_limit_details(operation.limits)}
        entry = await audit.create_entry(
            self._store, self._mint, by, "key.created", key.id, owner, **details
        )
        await self._store.add_key(
            key, digest(token, await self._store.installation_secret()), entry
        )
        return key, token

    async def update(self, operation: operations.UpdateKey, by: Principal) -> Key:
        """Change a key's name or limits. Raises `NotFound`."""
        limits = {
            name: value
            for name, value in asdict(operation.limits).items()
            if value is not msgspec.UNSET
        }
        named = {} if operation.name is msgspec.UNSET else {"name": operation.name}

        def amend(key: Key) -> Key:
            return replace(key, limits=replace(key.limits, **limits), **named)

        key = await self._get(operation.key_id)
        what: AuditAction = "limits.changed" if limits else "key.changed"
        details = _limit_details(amend(key).limits) if limits else {"changed": "name"}
        entry = await audit.create_entry(
            self._store, self._mint, by, what, key.id, key.owner, **details
        )
        return await self._store.change_key(key.id, amend, entry)

    async def revoke(self, key_id: str, by: Principal) -> Key:
        """Revoke a key. Raises `NotFound`."""
        key = await self._get(key_id)
        entry = await audit.create_entry(
            self._store, self._mint, by, "key.revoked", key.id, key.owner
        )
        return await self._store.revoke_key(key.id, entry)

    async def _get(self, key_id: str) -> Key:
        for key in await self._store.keys():
            if key.id == key_id:
                return key
        raise NotFound(f"There is no key {key_id!r}.")


async def create_unaudited_key(
    store: AdminStore, owner: str, name: str = "", scopes: Sequence[str] = ("read", "write")
) -> tuple[Key, str]:
    """Create a key without an audit entry: for programs that set up their own installation."""
    key, token = new_key(await store.now(), owner, name, scopes)
    await store.add_key(key, digest(token, await store.installation_secret()))
    return key, token


def new_key(now: int, owner: str, name: str, scopes: Sequence[str]) -> tuple[Key, str]:
    """Return a new key and its text. Raises `InvalidRequest` for unknown scopes."""
    if not scopes or not set(scopes) <= set(SCOPES):
        raise InvalidRequest(
            "A key needs scopes that exist.",
            expected=f"some of {', '.join(SCOPES)}",
            received=", ".join(scopes) or "none",
        )
    prefix = _MARK + _text(secrets.token_bytes(_PREFIX_BYTES))
    key = Key(
        id=ids.make("key", now, secrets.token_bytes(ids.RANDOM_BYTES)),
        owner=owner,
        name=name,
        prefix=prefix,
        scopes=tuple(scope for scope in SCOPES if scope in scopes),
        created_at=now,
    )
    return key, prefix + _text(secrets.token_bytes(SECRET_BYTES))


def digest(token: str, installation: bytes) -> bytes:
    """Return the hash by which the installation finds a key."""
    return blake2b(token.encode(), key=installation, digest_size=SECRET_BYTES).digest()


def _limit_details(limits: Limits) -> dict[str, str]:
    """Return the key's limits for the audit log."""
    return {name: str(value) for name, value in asdict(limits).items() if value is not None}


def _text(random: bytes) -> str:
    return base64.urlsafe_b64encode(random).rstrip(b"=").decode()
