"""Provider: streams the replies of models."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol

import msgspec

from antiphon.types.chunks import Chunk, ModelRequest
from antiphon.types.runs import (
    Deadlines,
    Destination,
)

TakeNow = Callable[[Sequence[Chunk]], bool]
"""Takes chunks of a reply at once; returns False if they must be yielded instead."""


def take_none(chunks: Sequence[Chunk]) -> bool:
    """Take nothing: all chunks are yielded."""
    return False


class Provider(Protocol):
    """Streams one reply as chunks and translates every foreign error.

    Never retries after the first chunk.
    """

    def stream(
        self, request: ModelRequest, take_now: TakeNow = take_none
    ) -> AsyncGenerator[Sequence[Chunk], None]:
        """Yield the reply's chunks as they arrive, in lists; an empty list is a sign of life.

        Chunks that arrive while the caller waits may go to `take_now`, which wakes no task. Those
        that it does not take are yielded. What it raises is raised here.

        A `Finish` marks the end; without one the reply counts as cut. Raises only `ProviderError`
        and `Cut`. Closing the generator closes the connection.
        """
        ...

    async def models(self) -> Sequence[str]:
        """Return the names of the models; empty if the provider has no list."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class ResolvedModel(msgspec.Struct, frozen=True, kw_only=True):
    """The provider that a model's name resolves to, and the terms of its use.

    `provider` knows the model as `model`; `name` is the provider's name. `deadlines` are the
    provider's own, where it has any. `lacks` lists what a run cannot ask of it: settings, values of
    settings (`tool_choice.required`), and `tools`, `images` and `files`. `destination` is where the
    text of its runs is sent.
    """

    provider: Provider
    model: str
    name: str = ""
    deadlines: Deadlines = Deadlines()
    lacks: frozenset[str] = frozenset()
    destination: Destination | None = None
