"""How API keys are made, and told from others."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Sequence
from hashlib import blake2b

from antiphon import ids
from antiphon.errors import InvalidRequest
from antiphon.ports import Key, Store

SCOPES = ("read", "write", "admin")
SECRET_BYTES = 32  # 256 bits to be believed by

_MARK = "ak_"
_PREFIX_BYTES = 9  # 72 bits to be found by
PREFIX_LENGTH = len(_MARK) + 12
SHAPE = re.compile(r"ak_[A-Za-z0-9_-]{12}[A-Za-z0-9_-]{43}", re.ASCII)


async def make_key(
    store: Store, owner: str, name: str = "", scopes: Sequence[str] = ("read", "write")
) -> tuple[Key, str]:
    """A new key and its text, which is told now and never again: the store keeps a hash."""
    if not scopes or not set(scopes) <= set(SCOPES):
        raise InvalidRequest(
            "A key needs scopes that exist.",
            expected=f"some of {', '.join(SCOPES)}",
            received=", ".join(scopes) or "none",
        )
    prefix = _MARK + _text(secrets.token_bytes(_PREFIX_BYTES))
    token = prefix + _text(secrets.token_bytes(SECRET_BYTES))
    now = await store.now()
    key = Key(
        id=ids.make("key", now, secrets.token_bytes(ids.RANDOM_BYTES)),
        owner=owner,
        name=name,
        prefix=prefix,
        scopes=tuple(scope for scope in SCOPES if scope in scopes),
        created_at=now,
    )
    await store.keep_key(key, digest(token, await store.secret()))
    return key, token


def digest(token: str, installation: bytes) -> bytes:
    """The hash by which a key is known in this installation."""
    return blake2b(token.encode(), key=installation, digest_size=SECRET_BYTES).digest()


def _text(random: bytes) -> str:
    return base64.urlsafe_b64encode(random).rstrip(b"=").decode()
