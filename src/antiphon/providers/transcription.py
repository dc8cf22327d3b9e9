"""Speech to text by a server with OpenAI's form of `audio/transcriptions`."""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec

from antiphon.engine.sanitize import sanitize_text
from antiphon.providers.failures import Redactor, body_error_text
from antiphon.providers.http import DEFAULT_LIMITS, Endpoint, HttpLimits
from antiphon.providers.usage import parse_audio_usage
from antiphon.types.addresses import origin
from antiphon.types.errors import BadSettings, ProviderProtocol, ProviderUnavailable
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
_MODEL = re.compile(r"[!-~]{1,200}")


class Transcribed(NamedTuple):
    """Text of a recording, and the tokens that the server counted."""

    text: str
    usage: Usage


class Transcriber:
    """Transcribes recordings by one model of one server, which `place` names for people."""

    def __init__(
        self,
        base_url: str,
        key: str | None,
        model: str,
        *,
        provider: str = "",
        key_header: str | None = None,
        limits: HttpLimits = DEFAULT_LIMITS,
        seconds: float = SECONDS,
    ) -> None:
        if not _MODEL.fullmatch(model):
            raise BadSettings(
                "The model of `transcription_model` has no usable name.",
                expected="provider:name, the name of printable ASCII without blanks",
                received=model[:100],
            )
        self.place = f"{provider} ({origin(base_url)})" if provider else origin(base_url)
        self._redact = Redactor(key)
        auth: dict[str, str] = {}
        if key is not None:
            auth = {key_header: key} if key_header else {"Authorization": f"Bearer {key}"}
        self._endpoint = Endpoint(base_url, auth, self._redact, limits=limits)
        self._model = model
        self._seconds = seconds

    async def transcribe(
        self, audio: bytes, media_type: str, language: str = "", prompt: str = ""
    ) -> Transcribed:
        """Return the text of a recording. Raises `ProviderError`.

        `language` is a code such as `de`, `prompt` has words that occur; "" if unknown.
        """
        fields = {"model": self._model, "response_format": "json"}
        if language:
            fields["language"] = language
        if prompt:
            fields["prompt"] = prompt
        boundary = secrets.token_hex(16)
        body = _encode_form(boundary, fields, f"speech.{SUFFIXES[media_type]}", media_type, audio)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Accept": "application/json",
        }
        answer = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                async with aclosing(
                    self._endpoint.post("audio/transcriptions", body, headers)
                ) as pieces:
                    async for piece in pieces:
                        answer += piece
                        if len(answer) > MAX_ANSWER_BYTES:
                            raise ProviderProtocol(
                                f"The transcription is longer than {MAX_ANSWER_BYTES} bytes."
                            )
        except TimeoutError as error:
            raise ProviderUnavailable(
                f"The transcription took longer than {self._seconds:g} seconds."
            ) from error
        return self._read(bytes(answer))

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()

    def _read(self, answer: bytes) -> Transcribed:
        try:
            found = msgspec.json.decode(answer, type=_Transcription)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            words = self._redact(body_error_text(answer) or "") or self._redact.sample(answer)
            raise ProviderProtocol(f"The answer is not a transcription: {words}.") from error
        return Transcribed(sanitize_text(found.text).strip(), parse_audio_usage(found.usage))


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
