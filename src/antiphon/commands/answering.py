"""Which model answers where none is named, and why: known before anything is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from antiphon.client.aio import AsyncClient

if TYPE_CHECKING:
    from antiphon.providers.catalog import Choice
    from antiphon.runtime import Runtime


@runtime_checkable
class _Embedded(Protocol):
    """A line into this process; known by its shape, so that `--server` need not load a runtime."""

    async def runtime(self) -> Runtime:
        """What answers there."""
        ...


async def choice(client: AsyncClient) -> Choice | None:
    """The choice of the runtime in this process; None where a server makes it, and does not tell.

    Raises `AntiphonError` where the runtime cannot be opened.
    """
    if isinstance(client.line, _Embedded):
        return await (await client.line.runtime()).choice()
    return None
