"""The provider that transcribes dictation, where the backend is in this process."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from antiphon.client.async_client import AsyncClient


class Voice(Protocol):
    """Transcription by a provider."""

    @property
    def transcribed_by(self) -> str:
        """The provider that gets what is said; "" if there is none."""
        ...


class _HasVoice(Protocol):
    @property
    def voice(self) -> Voice: ...


@runtime_checkable
class _InThisProcess(Protocol):
    """Transport into this process, known by its shape: the web chat does not import the runtime."""

    async def runtime(self) -> _HasVoice:
        """Return the runtime."""
        ...


async def find_transcriber(client: AsyncClient) -> str:
    """Return the provider that transcribes; "" if there is none, or the backend is elsewhere.

    Of a backend elsewhere the provider is not known, and nobody could agree to what it gets.
    """
    if not isinstance(client.transport, _InThisProcess):
        return ""
    return (await client.transport.runtime()).voice.transcribed_by
