"""Dictation and reading aloud, by the models of the operator's settings."""

from __future__ import annotations

import re

import msgspec
from flask import Blueprint, Response, request

from antiphon.api.operations import MAX_AUDIO_BYTES, SpokenText
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.web.http import NO_STORE, json_response, read_form_file, read_json
from antiphon.web.session import current_client, current_site, current_user
from antiphon.web.voice_providers import find_voice_providers

routes = Blueprint("voice", __name__)

_LANGUAGE = re.compile(r"[a-z]{2}", re.ASCII)


class TranscribedText(msgspec.Struct, frozen=True):
    """Text of a recording."""

    text: str


@routes.post("/api/transcriptions")
def transcribe_recording() -> Response:
    """Transcribe the recording of the form; its usage alone is kept."""
    site, user = current_site(), current_user()
    if site.settings.login != "none":
        site.limits.recordings.take(user.id)
    language = request.form.get("language", "")
    if language and not _LANGUAGE.fullmatch(language):
        raise InvalidRequest(
            "The language is not a code of two letters.", expected="en", received=language[:20]
        )
    file, audio = read_form_file(MAX_AUDIO_BYTES)
    if not site.run(find_voice_providers(site.client)).transcribed_by:
        raise NotFound(
            "Dictation by a provider is off here.",
            hint="An operator can set `transcription_model`, for `antiphon up`.",
        )
    client = current_client()
    done = site.run(client.create_transcription(audio, file.mimetype, language or None))
    return json_response(TranscribedText(done.text))


class TextToSpeak(msgspec.Struct, frozen=True):
    """Text that is read aloud."""

    text: SpokenText


@routes.post("/api/speech")
def speak_text() -> Response:
    """Send the text as speech; its usage alone is kept."""
    site, user = current_site(), current_user()
    if site.settings.login != "none":
        site.limits.speech.take(user.id)
    body = read_json(TextToSpeak)
    if not site.run(find_voice_providers(site.client)).spoken_by:
        raise NotFound(
            "Reading aloud by a provider is off here.",
            hint="An operator can set `speech_model`, for `antiphon up`.",
        )
    spoken = site.run(current_client().create_speech(body.text))
    return Response(spoken.audio, 200, NO_STORE, content_type=spoken.media_type)
