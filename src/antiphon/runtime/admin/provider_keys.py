"""Keys that owners have of their own at providers: kept sealed, opened for their runs alone.

They are written and never read back: all that is told of one is for which provider it is, and how
it ends.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from antiphon.ports import Store
from antiphon.runtime.admin import audit
from antiphon.types.accounts import OwnerProviderKey, Principal, ProviderKey
from antiphon.types.errors import BadSettings
from antiphon.types.ids import Mint

MEMORY_SECONDS = 2.0  # how long a look-up is believed; a key that was removed elsewhere ends then
MAX_REMEMBERED = 10_000
_TOLD = 4  # letters of its end by which a person knows a key again
_LONG_ENOUGH = 20  # letters, of a key of which so much may be told


class Cipher(Protocol):
    """Seals bytes, bound to what they are about."""

    def encrypt(self, plain: bytes, about: Sequence[str]) -> bytes:
        """The bytes as they may be kept."""
        ...

    def decrypt(self, sealed: bytes, about: Sequence[str]) -> bytes:
        """What was sealed about this. Raises `BadSettings`."""
        ...

    def is_current(self, sealed: bytes) -> bool:
        """Whether it was sealed as it would be now."""
        ...

    @property
    def fingerprints(self) -> Sequence[str]:
        """By what the keys are known that open, the one that seals first."""
        ...


class ProviderKeyService:
    """Keeps and finds them. `seal` is asked for when it is first needed."""

    def __init__(
        self,
        store: Store,
        mint: Mint,
        seal: Callable[[], Cipher],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._mint = mint
        self._make_seal = seal
        self._seal: Cipher | None = None
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], tuple[float, OwnerProviderKey | None]] = (
            OrderedDict()
        )

    async def put(
        self, owner: str, provider: str, own: OwnerProviderKey, by: Principal
    ) -> ProviderKey:
        """From now on this is the owner's key there. Raises `BadSettings` without a seal."""
        own = OwnerProviderKey(key=own.key.strip(), base_url=own.base_url)
        key = ProviderKey(
            owner=owner,
            provider=provider,
            hint=_hint(own.key),
            base_url=own.base_url,
            created_at=await self._store.now(),
        )
        sealed = self._sealing().encrypt(msgspec.json.encode(own), (owner, provider))
        act = await audit.create_entry(
            self._store, self._mint, by, "provider_key.kept", provider, owner
        )
        await self._store.keep_provider_key(key, sealed, act)
        self._known.pop((owner, provider), None)
        return key

    async def list(self, owner: str | None) -> Sequence[ProviderKey]:
        """An owner's, or everybody's."""
        return await self._store.provider_keys(owner)

    async def delete(self, owner: str, provider: str, by: Principal) -> None:
        """The owner has no such key any more. Raises `NotFound`."""
        act = await audit.create_entry(
            self._store, self._mint, by, "provider_key.removed", provider, owner
        )
        await self._store.drop_provider_key(owner, provider, act)
        self._known.pop((owner, provider), None)

    async def get(self, owner: str, provider: str) -> OwnerProviderKey | None:
        """The owner's key there, if there is one. Raises `BadSettings` if it cannot be opened."""
        now = self._clock()
        known = self._known.get((owner, provider))
        if known is not None and now < known[0]:
            return known[1]
        sealed = await self._store.sealed_key(owner, provider)
        own = None if sealed is None else self._opened(sealed, owner, provider)
        self._known[owner, provider] = (now + MEMORY_SECONDS, own)
        self._known.move_to_end((owner, provider))
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return own

    def key_fingerprints(self) -> Sequence[str]:
        """Return by what the keys are known that open owners' keys here; none without a seal."""
        try:
            return self._sealing().fingerprints
        except BadSettings:
            return ()

    async def reencrypt(self, by: Principal) -> int:
        """Seal with today's key what an older one has sealed; says how many those were."""
        renewed = 0
        for key in await self._store.provider_keys(None):
            sealed = await self._store.sealed_key(key.owner, key.provider)
            if sealed is None or self._sealing().is_current(sealed):
                continue
            owner, provider = key.owner, key.provider
            again = self._sealing().encrypt(self._plain(sealed, owner, provider), (owner, provider))
            act = await audit.create_entry(
                self._store, self._mint, by, "provider_key.kept", provider, owner
            )
            # Whoever has given another key meanwhile, or taken it away, shall have it so.
            renewed += await self._store.reseal_provider_key(owner, provider, sealed, again, act)
        return renewed

    async def count_undecryptable(self) -> int:
        """How many there are that cannot be opened. Raises `BadSettings` without a seal."""
        lost = 0
        for key in await self._store.provider_keys(None):
            sealed = await self._store.sealed_key(key.owner, key.provider)
            if sealed is not None and not self._opens(sealed, key.owner, key.provider):
                lost += 1
        return lost

    def _opens(self, sealed: bytes, owner: str, provider: str) -> bool:
        seal = self._sealing()
        try:
            seal.decrypt(sealed, (owner, provider))
        except BadSettings:
            return False
        return True

    def _opened(self, sealed: bytes, owner: str, provider: str) -> OwnerProviderKey:
        return msgspec.json.decode(self._plain(sealed, owner, provider), type=OwnerProviderKey)

    def _plain(self, sealed: bytes, owner: str, provider: str) -> bytes:
        try:
            return self._sealing().decrypt(sealed, (owner, provider))
        except BadSettings as wrong:
            raise BadSettings(
                f"The owner's own key for {provider} cannot be opened. {wrong.message}",
                **wrong.details,
            ) from wrong

    def _sealing(self) -> Cipher:
        if self._seal is None:
            self._seal = self._make_seal()
        return self._seal


def _hint(key: str) -> str:
    """How it ends, by which a person knows it again; nothing of a short one."""
    return f"...{key[-_TOLD:]}" if len(key) >= _LONG_ENOUGH else ""
