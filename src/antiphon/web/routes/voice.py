"""Dictation by the model of the operator's setting."""

from __future__ import annotations

import re

import msgspec
from flask import Blueprint, Response, request

from antiphon.types.errors import InvalidRequest
from antiphon.web.http import json_response, read_form_file
from antiphon.web.session import current_site, current_user
from antiphon.web.transcription import transcribe

routes = Blueprint("voice", __name__)

MAX_RECORDING = 10_000_000
"""Bytes of a recording that are read."""
_LANGUAGE = re.compile(r"[a-z]{2}", re.ASCII)


class TranscribedText(msgspec.Struct, frozen=True):
    """What is said in a recording."""

    text: str


@routes.post("/api/transcriptions")
def transcribe_recording() -> Response:
    """Transcribe the recording of the form; nothing of it is kept."""
    site, user = current_site(), current_user()
    if site.settings.login != "none":
        site.limits.recordings.take(user.id)
    language = request.form.get("language", "")
    if language and not _LANGUAGE.fullmatch(language):
        raise InvalidRequest(
            "The language is not a code of two letters.", expected="en", received=language[:20]
        )
    file, audio = read_form_file(MAX_RECORDING)
    text = site.run(transcribe(site.client, audio, file.mimetype, language))
    return json_response(TranscribedText(text))
