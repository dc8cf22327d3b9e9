"""Audio of OpenAI's API, as the official Python client sees it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import NamedTuple

import httpx2
import openai
import pytest
from msgspec.structs import replace
from openai import AsyncOpenAI

from tests.support.providers.transcriber import FakeTranscriber, serve_transcriber
from tests.support.server.served import SETTINGS, serve


class Place(NamedTuple):
    """OpenAI's client of a server, and the server that it asks."""

    client: AsyncOpenAI
    fake: FakeTranscriber


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with serve_transcriber() as fake:
        settings = replace(
            SETTINGS,
            providers={"here": {"base_url": fake.url, "retries": 0}},
            transcription_model="here:whisper-1",
            speech_model="here:tts-1",
        )
        async with (
            serve(settings) as server,
            AsyncOpenAI(
                base_url=f"{server.url}/openai/v1", api_key="none", max_retries=0, timeout=20
            ) as client,
        ):
            yield Place(client, fake)


async def test_a_recording_comes_back_as_text(place: Place) -> None:
    transcriptions = place.client.audio.transcriptions
    transcription = await transcriptions.create(
        file=("talk.flac", b"\x00sound", "application/octet-stream"),
        model="whisper-1",
        language="de",
        prompt="Antiphon",
    )
    text = await transcriptions.create(
        file=("talk.webm", b"sound"), model="here:whisper-1", response_format="text"
    )

    assert transcription.text == "Good morning."
    assert str(text).strip() == "Good morning."
    first, second = place.fake.recordings
    assert (first.audio, first.media_type, first.name) == (
        b"\x00sound",
        "audio/flac",
        "speech.flac",
    )
    assert (first.fields["language"], first.fields["prompt"]) == ("de", "Antiphon")
    assert second.media_type.endswith("/webm")


async def test_tokens_are_told_and_what_is_ignored_is_named(place: Place) -> None:
    usage = {"type": "tokens", "input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
    place.fake.body = json.dumps({"text": "So.", "usage": usage}).encode()

    answer = await place.client.audio.transcriptions.with_raw_response.create(
        file=("talk.mp3", b"sound"), model="whisper-1", temperature=0.5
    )

    assert json.loads(answer.content) == {"text": "So.", "usage": usage}
    assert answer.headers["antiphon-ignored"] == "temperature"


@pytest.mark.parametrize("path", ["audio/transcriptions", "files"])
@pytest.mark.parametrize("headers", [{}, {"content-type": "audio/webm"}])
async def test_a_body_that_is_no_form_is_refused(
    place: Place, path: str, headers: dict[str, str]
) -> None:
    url = f"{place.client.base_url}{path}"
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.post(url, content=b"sound", headers=headers)

    assert answer.status_code == 400
    assert "form" in answer.json()["error"]["message"]


async def test_a_known_suffix_stands_for_a_media_type_that_is_not_known(place: Place) -> None:
    file = ("talk.mp3", b"sound", "audio/mp3")
    await place.client.audio.transcriptions.create(file=file, model="whisper-1")

    assert place.fake.recordings[0].media_type == "audio/mpeg"


async def test_a_text_is_spoken(place: Place) -> None:
    speech = await place.client.audio.speech.create(model="tts-1", voice="nova", input="Hello.")

    assert speech.content == place.fake.speech
    assert speech.response.headers["content-type"] == "audio/wav"
    assert place.fake.texts[0]["voice"] == "nova"


async def test_what_is_not_served_is_refused_with_the_field(place: Place) -> None:
    file = ("talk.mp3", b"sound")
    create, speak = place.client.audio.transcriptions.create, place.client.audio.speech.create

    with pytest.raises(openai.NotFoundError, match="does not exist") as unknown_excinfo:
        await create(file=file, model="gpt-9")
    with pytest.raises(openai.BadRequestError, match="response_format"):
        await create(file=file, model="whisper-1", response_format="srt")
    with pytest.raises(openai.BadRequestError, match="stream"):
        await create(file=file, model="whisper-1", stream=True)
    with pytest.raises(openai.BadRequestError):
        await create(file=file, model="whisper-1", language="deutsch")
    with pytest.raises(openai.BadRequestError):
        await create(file=("talk.txt", b"words"), model="whisper-1")
    with pytest.raises(openai.BadRequestError, match="response_format"):
        await speak(model="tts-1", voice="nova", input="Hello.", response_format="opus")
    with pytest.raises(openai.BadRequestError) as long_excinfo:
        await speak(model="tts-1", voice="nova", input="x" * 4097)

    assert (unknown_excinfo.value.param, long_excinfo.value.param) == ("model", "input")
    assert place.fake.recordings == []
    assert place.fake.texts == []


async def test_without_the_settings_nothing_is_served() -> None:
    async with (
        serve(SETTINGS) as server,
        AsyncOpenAI(base_url=f"{server.url}/openai/v1", api_key="none", max_retries=0) as client,
    ):
        with pytest.raises(openai.NotFoundError, match="transcription_model"):
            await client.audio.transcriptions.create(file=("a.mp3", b"a"), model="whisper-1")
        with pytest.raises(openai.NotFoundError, match="speech_model"):
            await client.audio.speech.create(model="tts-1", voice="nova", input="Hello.")
