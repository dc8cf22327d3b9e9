"""Providers opened with owners' keys: a pool that closes the least recently used."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from hashlib import blake2b

from antiphon.ports import Provider, TakeNow, take_none
from antiphon.types.accounts import OwnerProviderKey
from antiphon.types.chunks import Chunk, ModelRequest

MAX_OPEN = 500  # each may hold some idle connections


class RefCountedProvider:
    """Provider that closes when it has been released and its last reply has ended."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._replies = 0
        self._given_up = False

    async def stream(
        self, request: ModelRequest, take_now: TakeNow = take_none
    ) -> AsyncGenerator[Sequence[Chunk], None]:
        """Stream the reply."""
        self._replies += 1
        try:
            async with aclosing(self._provider.stream(request, take_now)) as stream:
                async for chunks in stream:
                    yield chunks
        finally:
            self._replies -= 1
            if self._given_up:
                await self._close_unused()

    async def models(self) -> Sequence[str]:
        """Return the names that the provider lists."""
        return await self._provider.models()

    async def close(self) -> None:
        """Close the provider after its last reply."""
        self._given_up = True
        await self._close_unused()

    async def _close_unused(self) -> None:
        if not self._replies:
            await self._provider.close()


class OwnerProviderPool:
    """Open providers by owner and name; the least recently used is closed first."""

    def __init__(self, most: int = MAX_OPEN) -> None:
        self._most = most
        self._open: OrderedDict[tuple[str, str], tuple[bytes, RefCountedProvider]] = OrderedDict()
        self._hash_key = secrets.token_bytes(32)

    async def provider(
        self, owner: str, name: str, own: OwnerProviderKey, make: Callable[[], Awaitable[Provider]]
    ) -> Provider:
        """Return the owner's provider; open one unless this key and address are open already."""
        credentials = f"{own.base_url or ''} {own.key}".encode()
        digest = blake2b(credentials, key=self._hash_key, digest_size=32).digest()
        if known := self._find(owner, name, digest):
            return known
        made = RefCountedProvider(await make())
        if known := self._find(owner, name, digest):  # a concurrent call was first
            await made.close()
            return known
        await self.give_up(owner, name)
        self._open[owner, name] = (digest, made)
        while len(self._open) > self._most:
            _, (_, oldest) = self._open.popitem(last=False)
            await oldest.close()
        return made

    async def give_up(self, owner: str, name: str) -> None:
        """Close the owner's provider; replies in progress end normally."""
        if known := self._open.pop((owner, name), None):
            await known[1].close()

    async def close(self) -> None:
        """Close all providers."""
        for _, provider in self._open.values():
            await provider.close()

    def _find(self, owner: str, name: str, digest: bytes) -> RefCountedProvider | None:
        """Return the open provider if its digest is this; mark it as just used."""
        known = self._open.get((owner, name))
        if known is None or known[0] != digest:
            return None
        self._open.move_to_end((owner, name))
        return known[1]
