"""`/openai/v1/audio`: transcriptions and speech, by the models of the operator's settings."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from antiphon.api.operation import convert
from antiphon.api.operations import (
    MAX_AUDIO_BYTES,
    CreateSpeech,
    CreateTranscription,
    SpokenText,
    VoiceName,
)
from antiphon.engine import sanitize
from antiphon.server.files import read_form
from antiphon.server.gateway import Gateway
from antiphon.server.openai.answer_headers import name_ignored
from antiphon.server.requests import RequestContext
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.runs import Usage

MAX_FIELDS = 16
FORM_BYTES = 100_000
"""Bytes of a form around its recording."""

_TYPES = {
    "webm": "audio/webm",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "mp4": "audio/mp4",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "mpeg": "audio/mpeg",
    "mpga": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
}
"""Media types by the suffixes that OpenAI names; clients often send no type of audio."""
_TRANSCRIPTION_IGNORED = (
    "chunking_strategy",
    "include",
    "include[]",
    "temperature",
    "timestamp_granularities",
    "timestamp_granularities[]",
)


class SpeechRequest(msgspec.Struct, frozen=True):
    """The fields of a request for speech that are honoured."""

    input: SpokenText
    voice: VoiceName | None = None


class Audio:
    """Answers requests for transcriptions and speech."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def transcribe(self, context: RequestContext) -> None:
        """Answer `POST /audio/transcriptions`."""
        body = await self._gateway.read_body(context, MAX_AUDIO_BYTES + FORM_BYTES)
        sent = await read_form(context, body, MAX_FIELDS)
        fields = dict(sent.fields)
        sanitize.validate_text(fields)
        _check_model(fields.get("model"), self._gateway.settings.transcription_model)
        form = fields.get("response_format") or "json"
        if form not in ("json", "text"):
            raise _make_unserved_error("response_format", "json or text", form)
        if fields.get("stream", "").lower() not in ("", "false"):
            raise _make_unserved_error(
                "stream", "false: a transcription comes whole", fields["stream"]
            )
        media_type = sent.media_type  # as declared if it is known, else by the name
        if media_type.partition(";")[0] not in _TYPES.values():
            media_type = _TYPES.get(sent.name.rpartition(".")[2].lower(), media_type)
        operation = convert(
            {
                "audio": sent.content,
                "media_type": media_type,
                "language": fields.get("language") or None,
                "prompt": fields.get("prompt") or None,
            },
            CreateTranscription,
        )
        work = self._gateway.api(context).ask(operation)
        done = await self._gateway.connections.run_while_connected(context, work)
        ignored = name_ignored(name for name in _TRANSCRIPTION_IGNORED if name in fields)
        if form == "text":
            text = f"{done.text}\n".encode()
            await context.respond(200, text, b"text/plain; charset=utf-8", ignored)
            return
        answer: dict[str, Any] = {"text": done.text}
        if done.usage != Usage():
            answer["usage"] = _usage_object(done.usage)
        elif done.seconds:
            answer["usage"] = {"type": "duration", "seconds": done.seconds}
        await context.respond_json(200, answer, ignored)

    async def speak(self, context: RequestContext) -> None:
        """Answer `POST /audio/speech` with the audio."""
        fields = await self._gateway.read_object(context)
        _check_model(fields.get("model"), self._gateway.settings.speech_model)
        for name, served in (("response_format", "mp3"), ("speed", 1), ("stream_format", "audio")):
            if fields.get(name) not in (None, served):
                raise _make_unserved_error(name, json.dumps(served), fields[name])
        request = convert(fields, SpeechRequest)
        operation = CreateSpeech(request.input, request.voice)
        work = self._gateway.api(context).ask(operation)
        done = await self._gateway.connections.run_while_connected(context, work)
        ignored = name_ignored(["instructions"] if "instructions" in fields else [])
        await context.respond(200, done.audio, done.media_type.encode(), ignored)


def _check_model(given: object, model: str | None) -> None:
    """Check that a request names the model of the setting, with or without its provider.

    Without the setting the operation says so.
    """
    if model is None or given in (model, model.partition(":")[2] or model):
        return
    raise NotFound(
        f"The model `{str(given)[:100]}` does not exist for audio.",
        expected=model,
        where="$.model",
    )


def _make_unserved_error(name: str, expected: str, received: object) -> InvalidRequest:
    return InvalidRequest(
        f"This `{name}` is not served.",
        expected=expected,
        received=str(received)[:64],
        where=f"$.{name}",
    )


def _usage_object(usage: Usage) -> dict[str, Any]:
    return {
        "type": "tokens",
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
