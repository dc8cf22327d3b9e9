"""The providers that transcribe and speak, where the backend is in this process."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from antiphon.client.async_client import AsyncClient


class Voice(Protocol):
    """Speech to text and text to speech, by providers."""

    @property
    def transcribed_by(self) -> str:
        """The provider that gets what is said; "" if there is none."""
        ...

    @property
    def spoken_by(self) -> str:
        """The provider that gets what is read aloud; "" if there is none."""
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


class VoiceProviders(NamedTuple):
    """The providers that get what is said and what is read aloud; "" if there is none."""

    transcribed_by: str = ""
    spoken_by: str = ""


async def find_voice_providers(client: AsyncClient) -> VoiceProviders:
    """Return the providers of the backend; none if it is elsewhere.

    The providers of a backend elsewhere are not known, so a person could not agree to them.
    """
    if not isinstance(client.transport, _InThisProcess):
        return VoiceProviders()
    voice = (await client.transport.runtime()).voice
    return VoiceProviders(voice.transcribed_by, voice.spoken_by)
