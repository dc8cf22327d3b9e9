"""Transcription by a provider, where the backend is in this process."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from antiphon.client.async_client import AsyncClient
from antiphon.types.errors import NotFound


class Voice(Protocol):
    """Transcription by a provider."""

    @property
    def transcribed_by(self) -> str:
        """The provider that gets what is said; "" if there is none."""
        ...

    async def transcribe(self, audio: bytes, media_type: str, language: str = "") -> str:
        """Return what is said in a recording."""
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
    """Return the provider that transcribes; "" if there is none, or the backend is elsewhere."""
    if not isinstance(client.transport, _InThisProcess):
        return ""
    return (await client.transport.runtime()).voice.transcribed_by


async def transcribe(client: AsyncClient, audio: bytes, media_type: str, language: str = "") -> str:
    """Return what is said in a recording. Raises `NotFound` where nothing is transcribed."""
    if not isinstance(client.transport, _InThisProcess):
        raise NotFound("Nothing is transcribed here: the backend is another process.")
    return await (await client.transport.runtime()).voice.transcribe(audio, media_type, language)
