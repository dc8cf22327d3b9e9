"""The model that answers if none is named, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from antiphon.client.async_client import AsyncClient

if TYPE_CHECKING:
    from antiphon.runtime.runtime import Runtime


@runtime_checkable
class _EmbeddedTransport(Protocol):
    """Structural type of a transport into this process, so that `--server` loads no runtime."""

    async def runtime(self) -> Runtime:
        """Return the runtime."""
        ...


async def find_default_model(client: AsyncClient) -> tuple[str, str] | None:
    """Return the default model of the runtime in this process, and why; None with a server.

    Raises `AntiphonError` if the runtime cannot be opened.
    """
    if isinstance(client.transport, _EmbeddedTransport):
        chosen = await (await client.transport.runtime()).choice()
        return chosen.model, chosen.why
    return None
