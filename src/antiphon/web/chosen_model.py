"""Which model answers where none is named, and why."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from antiphon.client.aio import AsyncClient


class Choice(Protocol):
    """A model as `provider:name`, and the reason in words."""

    @property
    def model(self) -> str:
        """The model."""
        ...

    @property
    def why(self) -> str:
        """The reason."""
        ...


class _Choosing(Protocol):
    async def choice(self) -> Choice: ...


@runtime_checkable
class _Embedded(Protocol):
    """A line into this process, known by its shape: the web chat knows no runtime."""

    async def runtime(self) -> _Choosing:
        """What answers there."""
        ...


async def chosen(client: AsyncClient) -> tuple[str | None, str]:
    """The model, None where it is not known, and why it is that one."""
    if isinstance(client.line, _Embedded):
        choice = await (await client.line.runtime()).choice()
        return choice.model, choice.why
    listed = (await client.list_models()).data
    usual = next((model.id for model in listed if model.default), None)
    return usual, "the server's choice"
