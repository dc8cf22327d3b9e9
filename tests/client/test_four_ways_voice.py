"""Recordings are transcribed and texts are spoken, in all four ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from antiphon import errors
from tests.support.client.four_ways import SETTINGS, Ways, four_ways, in_all_ways
from tests.support.providers.transcriber import silence, transcriber_in_thread


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with transcriber_in_thread() as fake:
        providers = {"here": {"base_url": fake.url}}
        settings = replace(
            SETTINGS,
            transcription_model="here:whisper",
            speech_model="here:tts",
            providers=providers,
        )
        with four_ways(settings) as ways:
            yield ways


@in_all_ways
def test_a_recording_comes_back_as_text_and_is_counted(client: Any) -> object:
    transcription = client.create_transcription(b"\x00sound\xff", "audio/webm", language="de")
    with pytest.raises(errors.InvalidRequest) as wrong_type:
        client.create_transcription(b"sound", "text/html")
    with pytest.raises(errors.InvalidRequest) as empty_recording:
        client.create_transcription(b"", "audio/webm")

    assert (transcription.text, transcription.model) == ("Good morning.", "here:whisper")
    (row,) = client.get_usage().rows
    assert (row.model, row.runs, row.unpriced) == ("here:whisper", 0, 1)
    return transcription, wrong_type.value, empty_recording.value


@in_all_ways
def test_a_text_comes_back_as_speech(client: Any) -> object:
    speech = client.create_speech("Hello.", voice="nova")
    with pytest.raises(errors.InvalidRequest) as error_info:
        client.create_speech("")

    assert (speech.audio, speech.media_type) == (silence(), "audio/wav")
    return speech, error_info.value
