"""Dictation and reading aloud, by the models of the operator's settings."""

from __future__ import annotations

import re

import msgspec
from flask import Blueprint, Response, request

from antiphon.api.operations import MAX_AUDIO_BYTES, SpokenText
from antiphon.types.errors import Conflict, InvalidRequest, NotFound
from antiphon.web.http import read_form_file, read_json
from antiphon.web.session import current_client, current_site, current_user
from antiphon.web.streamed_responses import JSON, TypedBody, respond_when_made
from antiphon.web.voice_providers import find_voice_providers

routes = Blueprint("voice", __name__)

_LANGUAGE = re.compile(r"[a-z]{2}", re.ASCII)


class TranscribedText(msgspec.Struct, frozen=True):
    """Text of a recording."""

    text: str


@routes.post("/api/transcriptions")
def transcribe_recording() -> Response:
    """Transcribe the recording of the form; its usage alone is kept.

    It ends when the browser leaves.
    """
    site, user = current_site(), current_user()
    if site.settings.login != "none":
        site.limits.recordings.take(user.id)
    language = request.form.get("language", "")
    if language and not _LANGUAGE.fullmatch(language):
        raise InvalidRequest(
            "The language is not a code of two letters.", expected="en", received=language[:20]
        )
    file, audio = read_form_file(MAX_AUDIO_BYTES)
    provider = site.run(find_voice_providers(site.client)).transcribed_by
    if not provider:
        raise NotFound(
            "Dictation by a provider is off here.",
            hint="An operator can set `transcription_model`, for `antiphon up`.",
        )
    _check_consent(request.form.get("provider", ""), provider)
    client, media_type = current_client(), file.mimetype

    async def transcribe() -> bytes:
        done = await client.create_transcription(audio, media_type, language or None)
        return msgspec.json.encode(TranscribedText(done.text))

    return respond_when_made(transcribe, JSON)


class TextToSpeak(msgspec.Struct, frozen=True):
    """Text that is read aloud, and the provider that the person agreed to."""

    text: SpokenText
    provider: str = ""


@routes.post("/api/speech")
def speak_text() -> Response:
    """Send the text as speech; its usage alone is kept. It ends when the reader leaves."""
    site, user = current_site(), current_user()
    if site.settings.login != "none":
        site.limits.speech.take(user.id)
    body = read_json(TextToSpeak)
    provider = site.run(find_voice_providers(site.client)).spoken_by
    if not provider:
        raise NotFound(
            "Reading aloud by a provider is off here.",
            hint="An operator can set `speech_model`, for `antiphon up`.",
        )
    _check_consent(body.provider, provider)
    client = current_client()

    async def speak() -> TypedBody:
        spoken = await client.create_speech(body.text)
        return TypedBody(spoken.audio, spoken.media_type)

    return respond_when_made(speak)


def _check_consent(agreed: str, provider: str) -> None:
    """Raise `Conflict` unless the person agreed to this provider.

    An open page may know the provider of before the last start.
    """
    if agreed != provider:
        raise Conflict(
            "The provider is not the one that the person agreed to. Nothing was sent there.",
            expected=provider,
            received=agreed[:200] or "none",
            hint="Read `GET /api/me`, ask the person, and send the request again.",
        )
