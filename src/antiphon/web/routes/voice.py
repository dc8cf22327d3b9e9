"""Dictation by the model of the operator's setting."""

from __future__ import annotations

import re

import msgspec
from flask import Blueprint, Response, request

from antiphon.api.operations import MAX_AUDIO_BYTES
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.web.http import json_response, read_form_file
from antiphon.web.session import current_client, current_site, current_user
from antiphon.web.transcription import find_transcriber

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
    if not site.run(find_transcriber(site.client)):
        raise NotFound(
            "Dictation by a provider is off here.",
            hint="An operator can set `transcription_model`, for `antiphon up`.",
        )
    client = current_client()
    done = site.run(client.create_transcription(audio, file.mimetype, language or None))
    return json_response(TranscribedText(done.text))
