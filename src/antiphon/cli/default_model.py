"""Which model answers where none is named, and why: known before anything is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from antiphon.client.async_client import AsyncClient

if TYPE_CHECKING:
    from antiphon.runtime.runtime import Runtime


@runtime_checkable
class _EmbeddedTransport(Protocol):
    """A line into this process; known by its shape, so that `--server` need not load a runtime."""

    async def runtime(self) -> Runtime:
        """What answers there."""
        ...


async def find_default_model(client: AsyncClient) -> tuple[str, str] | None:
    """The model that the runtime in this process takes, and why; None where a server chooses.

    Raises `AntiphonError` where the runtime cannot be opened.
    """
    if isinstance(client.transport, _EmbeddedTransport):
        chosen = await (await client.transport.runtime()).choice()
        return chosen.model, chosen.why
    return None
