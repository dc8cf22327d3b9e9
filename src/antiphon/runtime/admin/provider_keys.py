"""Owners' own provider keys: stored encrypted, decrypted only for their owners' runs.

A stored key cannot be read back: only its provider and its last characters are returned.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from antiphon.ports import AdminStore
from antiphon.runtime.admin import audit
from antiphon.types.accounts import OwnerProviderKey, Principal, ProviderKey
from antiphon.types.errors import BadSettings
from antiphon.types.ids import Mint

CACHE_SECONDS = 2.0  # that a key is cached; a key that was deleted elsewhere is used as long
MAX_REMEMBERED = 10_000
_HINT_LENGTH = 4  # last characters of a key, by which a person recognizes it
_MIN_LENGTH = 20  # characters of a key that has a hint


class Cipher(Protocol):
    """Encrypts bytes, bound to their context."""

    def encrypt(self, plain: bytes, about: Sequence[str]) -> bytes:
        """Return the ciphertext."""
        ...

    def decrypt(self, sealed: bytes, about: Sequence[str]) -> bytes:
        """Return the plaintext of this context. Raises `BadSettings`."""
        ...

    def is_current(self, sealed: bytes) -> bool:
        """Return whether the ciphertext was made with the current key."""
        ...

    @property
    def fingerprints(self) -> Sequence[str]:
        """Fingerprints of the keys that decrypt, the one that encrypts first."""
        ...


class ProviderKeyService:
    """Stores and finds provider keys. `cipher` is called on first use."""

    def __init__(
        self,
        store: AdminStore,
        mint: Mint,
        seal: Callable[[], Cipher],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._mint = mint
        self._create_cipher = seal
        self._cipher: Cipher | None = None
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], tuple[float, OwnerProviderKey | None]] = (
            OrderedDict()
        )

    async def put(
        self, owner: str, provider: str, own: OwnerProviderKey, by: Principal
    ) -> ProviderKey:
        """Store the owner's key for the provider. Raises `BadSettings` without a cipher."""
        own = OwnerProviderKey(key=own.key.strip(), base_url=own.base_url)
        key = ProviderKey(
            owner=owner,
            provider=provider,
            # By which people recognize the key; of a short one nothing is shown.
            hint=f"...{own.key[-_HINT_LENGTH:]}" if len(own.key) >= _MIN_LENGTH else "",
            base_url=own.base_url,
            created_at=await self._store.now(),
        )
        sealed = self._get_cipher().encrypt(msgspec.json.encode(own), (owner, provider))
        entry = await audit.create_entry(
            self._store, self._mint, by, "provider_key.kept", provider, owner
        )
        await self._store.save_provider_key(key, sealed, entry)
        self._known.pop((owner, provider), None)
        return key

    async def list(self, owner: str | None) -> Sequence[ProviderKey]:
        """Return the keys of an owner, or all."""
        return await self._store.provider_keys(owner)

    async def delete(self, owner: str, provider: str, by: Principal) -> None:
        """Delete the owner's key. Raises `NotFound`."""
        entry = await audit.create_entry(
            self._store, self._mint, by, "provider_key.removed", provider, owner
        )
        await self._store.delete_provider_key(owner, provider, entry)
        self._known.pop((owner, provider), None)

    async def get(self, owner: str, provider: str) -> OwnerProviderKey | None:
        """Return the owner's key, if any. Raises `BadSettings` if it cannot be decrypted."""
        now = self._clock()
        known = self._known.get((owner, provider))
        if known is not None and now < known[0]:
            return known[1]
        sealed = await self._store.find_encrypted_key(owner, provider)
        own = None
        if sealed is not None:
            own = msgspec.json.decode(self._decrypt(sealed, owner, provider), type=OwnerProviderKey)
        self._known[owner, provider] = (now + CACHE_SECONDS, own)
        self._known.move_to_end((owner, provider))
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return own

    def key_fingerprints(self) -> Sequence[str]:
        """Return the fingerprints of the keys that decrypt here; none without a cipher."""
        try:
            return self._get_cipher().fingerprints
        except BadSettings:
            return ()

    async def reencrypt(self, by: Principal) -> int:
        """Encrypt again with the current key what an older key encrypted; return how many keys."""
        renewed = 0
        for key in await self._store.provider_keys(None):
            sealed = await self._store.find_encrypted_key(key.owner, key.provider)
            if sealed is None or self._get_cipher().is_current(sealed):
                continue
            owner, provider = key.owner, key.provider
            again = self._get_cipher().encrypt(
                self._decrypt(sealed, owner, provider), (owner, provider)
            )
            entry = await audit.create_entry(
                self._store, self._mint, by, "provider_key.kept", provider, owner
            )
            # A key that was replaced or deleted meanwhile stays as it is.
            renewed += await self._store.replace_encrypted_key(
                owner, provider, sealed, again, entry
            )
        return renewed

    async def count_undecryptable(self) -> int:
        """Return how many keys cannot be decrypted. Raises `BadSettings` without a cipher."""
        lost = 0
        for key in await self._store.provider_keys(None):
            sealed = await self._store.find_encrypted_key(key.owner, key.provider)
            if sealed is not None and not self._can_decrypt(sealed, key.owner, key.provider):
                lost += 1
        return lost

    def _can_decrypt(self, sealed: bytes, owner: str, provider: str) -> bool:
        seal = self._get_cipher()
        try:
            seal.decrypt(sealed, (owner, provider))
        except BadSettings:
            return False
        return True

    def _decrypt(self, sealed: bytes, owner: str, provider: str) -> bytes:
        try:
            return self._get_cipher().decrypt(sealed, (owner, provider))
        except BadSettings as wrong:
            raise BadSettings(
                f"The owner's own key for {provider} cannot be opened. {wrong.message}",
                **wrong.details,
            ) from wrong

    def _get_cipher(self) -> Cipher:
        if self._cipher is None:
            self._cipher = self._create_cipher()
        return self._cipher
