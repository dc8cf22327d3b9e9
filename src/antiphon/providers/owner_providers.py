"""Providers with keys of owners, kept open while in use and for a while after."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from hashlib import blake2b

from antiphon.ports import Provider
from antiphon.types.accounts import OwnerProviderKey
from antiphon.types.chunks import Chunk, ModelRequest

MOST = 500  # that are kept open; each may hold some connections that nobody uses


class RefCountedProvider:
    """Provider that closes once it was given up and its last reply has ended."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._replies = 0
        self._given_up = False

    async def stream(self, question: ModelRequest) -> AsyncGenerator[Sequence[Chunk], None]:
        """The reply, as it comes."""
        self._replies += 1
        try:
            async with aclosing(self._provider.stream(question)) as stream:
                async for chunks in stream:
                    yield chunks
        finally:
            self._replies -= 1
            if self._given_up:
                await self._close_unused()

    async def models(self) -> Sequence[str]:
        """The names that the provider lists."""
        return await self._provider.models()

    async def close(self) -> None:
        """Close it when nobody reads from it any more."""
        self._given_up = True
        await self._close_unused()

    async def _close_unused(self) -> None:
        if not self._replies:
            await self._provider.close()


class OwnerProviderPool:
    """Open providers of owners: one for each provider that an owner has a key for."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lent: OrderedDict[tuple[str, str], tuple[bytes, RefCountedProvider]] = OrderedDict()
        self._mixed_in = secrets.token_bytes(32)

    async def provider(
        self, owner: str, name: str, own: OwnerProviderKey, make: Callable[[], Awaitable[Provider]]
    ) -> Provider:
        """Return the owner's provider, opened if there is none with this key and address."""
        digest = self._digest(own)
        if known := self._find(owner, name, digest):
            return known
        made = RefCountedProvider(await make())
        if known := self._find(owner, name, digest):  # two asked at one time: the first has it
            await made.close()
            return known
        await self.give_up(owner, name)
        self._lent[owner, name] = (digest, made)
        while len(self._lent) > self._most:
            _, (_, oldest) = self._lent.popitem(last=False)
            await oldest.close()
        return made

    async def give_up(self, owner: str, name: str) -> None:
        """Drop the owner's key; replies in progress end normally."""
        if known := self._lent.pop((owner, name), None):
            await known[1].close()

    async def close(self) -> None:
        """Close all of them."""
        for _, lent in self._lent.values():
            await lent.close()

    def _find(self, owner: str, name: str, digest: bytes) -> RefCountedProvider | None:
        """The one that is there, if it has this key and address; it was used just now."""
        known = self._lent.get((owner, name))
        if known is None or known[0] != digest:
            return None
        self._lent.move_to_end((owner, name))
        return known[1]

    def _digest(self, own: OwnerProviderKey) -> bytes:
        """By what key and address are told apart; it tells nothing of the key."""
        said = f"{own.base_url or ''} {own.key}".encode()
        return blake2b(said, key=self._mixed_in, digest_size=32).digest()
