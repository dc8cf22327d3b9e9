"""Operations on speech, by the models of the operator's settings."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from antiphon.api.operation import Name, Operation
from antiphon.types.runs import Usage

MAX_AUDIO_BYTES = 10_000_000
"""Of one recording: some ten minutes as browsers record speech."""

Recording = Annotated[bytes, Meta(max_length=MAX_AUDIO_BYTES)]
LanguageCode = Annotated[str, Meta(pattern="^[a-z]{2}$", title="a code of two letters, such as en")]
MAX_SPEECH_CHARACTERS = 4_096
"""Of one text: the most that OpenAI takes."""

TranscriptionPrompt = Annotated[str, Meta(max_length=2_000)]
SpokenText = Annotated[str, Meta(min_length=1, max_length=MAX_SPEECH_CHARACTERS)]
VoiceName = Annotated[str, Meta(min_length=1, max_length=100)]


class Transcription(msgspec.Struct, frozen=True, kw_only=True):
    """The text of a recording, and the model that transcribed it.

    `usage` has the tokens that the provider counted; it is empty if the provider counts `seconds`
    of the recording, which are 0 if it counts tokens or nothing.
    """

    text: str
    model: str
    usage: Usage = Usage()
    seconds: float = 0.0


class Speech(msgspec.Struct, frozen=True, kw_only=True):
    """A text as speech, and the model that spoke it; `audio` is base64 in JSON, usually of MP3."""

    audio: bytes
    media_type: str
    model: str


class CreateTranscription(Operation[Transcription], frozen=True):
    """Transcribe a recording by the model of the setting `transcription_model` (404 without it).

    `audio` has at most 10 MB; in JSON it is base64, within the server's `max_body`. `media_type` is
    that of a recording: WebM, Ogg, MP4, MP3, WAV or FLAC. `language` is that of the speech, and
    `prompt` has words that occur in it; both are hints. Nothing is kept but the usage. An owner has
    two recordings transcribed at once (429).
    """

    route: ClassVar[str] = "POST /v1/transcriptions"
    answer: ClassVar[Any] = Transcription

    audio: Recording
    media_type: Name
    language: LanguageCode | None = None
    prompt: TranscriptionPrompt | None = None


class CreateSpeech(Operation[Speech], frozen=True):
    """Speak a text by the model of the setting `speech_model` (404 without it).

    `voice` is one of the provider's, by default that of the setting `speech_voice`. Nothing is kept
    but the usage. An owner has two texts spoken at once (429).
    """

    route: ClassVar[str] = "POST /v1/speech"
    answer: ClassVar[Any] = Speech

    text: SpokenText
    voice: VoiceName | None = None
