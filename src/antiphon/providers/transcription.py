"""Speech to text by a server with OpenAI's form of `audio/transcriptions`."""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

import msgspec

from antiphon.engine.sanitize import sanitize_text
from antiphon.providers.audio_endpoint import AudioEndpoint
from antiphon.providers.usage import parse_audio_seconds, parse_audio_usage
from antiphon.types.errors import ProviderProtocol
from antiphon.types.runs import Usage

SUFFIXES = {
    "audio/webm": "webm",
    "audio/ogg": "ogg",
    "audio/mp4": "mp4",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/flac": "flac",
    "audio/x-m4a": "m4a",
    "video/webm": "webm",
    "video/mp4": "mp4",
}
"""Media types of recordings, and the suffixes by which servers know them."""
SECONDS = 120.0
"""A transcription may take this long; a local model takes about as long as was spoken."""
MAX_ANSWER_BYTES = 1_000_000


class TranscriptionResult(NamedTuple):
    """Text of a recording, and the tokens or the seconds that the server counted."""

    text: str
    usage: Usage
    seconds: float


class Transcriber:
    """Transcribes recordings by one model of a server."""

    def __init__(self, endpoint: AudioEndpoint, *, seconds: float = SECONDS) -> None:
        self.place = endpoint.place
        self._endpoint = endpoint
        self._seconds = seconds

    async def transcribe(
        self, audio: bytes, media_type: str, language: str = "", prompt: str = ""
    ) -> TranscriptionResult:
        """Return the text of a recording. Raises `ProviderError`.

        `language` is a code such as `de`, `prompt` has words that occur in it; "" if unknown.
        """
        fields = {"model": self._endpoint.model, "response_format": "json"}
        if language:
            fields["language"] = language
        if prompt:
            fields["prompt"] = prompt
        boundary = secrets.token_hex(16)
        body = _encode_form(boundary, fields, f"speech.{SUFFIXES[media_type]}", media_type, audio)
        answer = await self._endpoint.post(
            "audio/transcriptions",
            body,
            f"multipart/form-data; boundary={boundary}",
            "application/json",
            seconds=self._seconds,
            max_bytes=MAX_ANSWER_BYTES,
        )
        return self._read(answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()

    def _read(self, answer: bytes) -> TranscriptionResult:
        try:
            found = msgspec.json.decode(answer, type=_Transcription)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            words = self._endpoint.describe(answer)
            raise ProviderProtocol(f"The answer is not a transcription: {words}.") from error
        return TranscriptionResult(
            sanitize_text(found.text).strip(),
            parse_audio_usage(found.usage),
            parse_audio_seconds(found.usage),
        )


class _Transcription(msgspec.Struct):
    text: str
    usage: Any = None


def _encode_form(
    boundary: str, fields: dict[str, str], name: str, media_type: str, content: bytes
) -> bytes:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {media_type}\r\n\r\n"
    )
    return b"".join(("".join(parts).encode(), content, f"\r\n--{boundary}--\r\n".encode()))
