"""Transcription of what people say, by the model of the setting `transcription_model`."""

from __future__ import annotations

from antiphon.providers.catalog import Catalog
from antiphon.providers.transcription import SUFFIXES, Transcriber
from antiphon.settings.settings import Settings
from antiphon.types.errors import BadSettings, InvalidRequest, NotFound, Overloaded, TooLarge

MAX_AUDIO_BYTES = 10_000_000
"""Of one recording: some ten minutes as browsers record speech."""
AT_ONCE = 8
"""Recordings of all people that a process sends at once: each is held in memory."""
RETRY_SECONDS = 5


class VoiceService:
    """Sends recordings to the operator's model; nothing of them is kept here."""

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self._catalog = catalog
        self._model = settings.transcription_model
        self._transcriber: Transcriber | None = None
        self._running = 0

    @property
    def transcribed_by(self) -> str:
        """The provider that gets what is said, and its address; "" if off."""
        if self._model is None:
            return ""
        try:
            return self._open(self._model).place
        except BadSettings:  # the first recording is answered with the reason
            return self._model.partition(":")[0]

    async def transcribe(self, audio: bytes, media_type: str, language: str = "") -> str:
        """Return what is said in a recording.

        `media_type` is without parameters, `language` a code of two letters, "" if unknown. Raises
        `NotFound` if no model is set, `InvalidRequest`, `TooLarge`, `Overloaded`, `ProviderError`.
        """
        if self._model is None:
            raise NotFound(
                "Nothing is transcribed here.",
                hint="An operator can set `transcription_model`, for instance openai:whisper-1.",
            )
        if media_type not in SUFFIXES:
            raise InvalidRequest(
                "The recording has a media type that is not transcribed.",
                expected=", ".join(SUFFIXES),
                received=media_type[:100],
            )
        if not audio:
            raise InvalidRequest("The recording is empty.", expected="audio", received="0 bytes")
        if len(audio) > MAX_AUDIO_BYTES:
            raise TooLarge(
                "The recording is too long.", expected=f"at most {MAX_AUDIO_BYTES} bytes"
            )
        if self._running >= AT_ONCE:
            raise Overloaded("Too much is being transcribed.", retry_after=RETRY_SECONDS)
        transcriber = self._open(self._model)
        self._running += 1
        try:
            return await transcriber.transcribe(audio, media_type, language)
        finally:
            self._running -= 1

    async def close(self) -> None:
        """Close the connections."""
        if self._transcriber is not None:
            await self._transcriber.close()

    def _open(self, model: str) -> Transcriber:
        if self._transcriber is None:
            self._transcriber = self._catalog.open_transcriber(model)
        return self._transcriber
