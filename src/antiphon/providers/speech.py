"""Text to speech by a server with OpenAI's form of `audio/speech`."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from antiphon.providers.audio_endpoint import AudioEndpoint
from antiphon.types.errors import ProviderProtocol

SECONDS = 60.0
"""A passage of speech may take this long."""
MAX_ANSWER_BYTES = 10_000_000


class SpeechResult(NamedTuple):
    """Audio of a text."""

    audio: bytes
    media_type: str


class Speaker:
    """Converts texts to speech by one model of a server."""

    def __init__(self, endpoint: AudioEndpoint, *, seconds: float = SECONDS) -> None:
        self.place = endpoint.place
        self._endpoint = endpoint
        self._seconds = seconds

    async def speak(self, text: str, voice: str) -> SpeechResult:
        """Return the text as speech of this voice, usually MP3. Raises `ProviderError`."""
        fields = {
            "model": self._endpoint.model,
            "input": text,
            "voice": voice,
            "response_format": "mp3",
        }
        answer = await self._endpoint.post(
            "audio/speech",
            msgspec.json.encode(fields),
            "application/json",
            "audio/*",
            seconds=self._seconds,
            max_bytes=MAX_ANSWER_BYTES,
        )
        media_type = _audio_type(answer)
        if media_type is None:
            words = self._endpoint.describe(answer)
            raise ProviderProtocol(f"The answer is not audio in a known format: {words}.")
        return SpeechResult(answer, media_type)

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()


def _audio_type(content: bytes) -> str | None:
    """Return the media type by the first bytes: some servers ignore the requested format."""
    match content[:12]:
        case head if head.startswith(b"ID3") or (head[:1] == b"\xff" and head[1:2] >= b"\xe0"):
            return "audio/mpeg"
        case head if head.startswith(b"RIFF") and head.endswith(b"WAVE"):
            return "audio/wav"
        case head if head.startswith(b"OggS"):
            return "audio/ogg"
        case head if head.startswith(b"fLaC"):
            return "audio/flac"
        case _:
            return None
