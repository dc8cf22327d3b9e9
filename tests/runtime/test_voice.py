"""Recordings go to the operator's model and come back as text, or as a clear error."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from antiphon.providers.catalog import Catalog
from antiphon.runtime import voice
from antiphon.runtime.voice import VoiceService
from antiphon.settings.settings import Settings
from antiphon.types import errors
from tests.support.providers.transcriber import FakeTranscriber, Recording, serve_transcriber

KEY = "sk-secret-of-the-operator"


@pytest.fixture
async def fake() -> AsyncIterator[FakeTranscriber]:
    async with serve_transcriber() as fake:
        yield fake


@pytest.fixture
async def service(fake: FakeTranscriber) -> AsyncIterator[VoiceService]:
    table = {"base_url": fake.url, "key": KEY, "retries": 0}
    settings = Settings(
        base_url="http://127.0.0.1:1/elsewhere",
        transcription_model="here:whisper-1",
        providers={"here": table},
    )
    service = VoiceService(Catalog(settings, {}), settings)
    yield service
    await service.close()


async def test_a_recording_is_sent_to_the_named_server_with_its_key(
    service: VoiceService, fake: FakeTranscriber
) -> None:
    text = await service.transcribe(b"\x00\r\n--sound", "audio/webm", "de")

    assert text == "Good morning."
    fields = {"model": "whisper-1", "response_format": "json", "language": "de"}
    assert fake.recordings == [
        Recording(fields, "speech.webm", "audio/webm", b"\x00\r\n--sound", f"Bearer {KEY}")
    ]
    assert service.transcribed_by == f"here ({fake.url.removesuffix('/v1')})"


async def test_a_name_without_a_known_provider_is_at_the_base_url(fake: FakeTranscriber) -> None:
    settings = Settings(base_url=fake.url, transcription_model="Systran/faster-whisper:small")
    service = VoiceService(Catalog(settings, {}), settings)

    assert await service.transcribe(b"sound", "audio/ogg") == "Good morning."
    assert fake.recordings[0].fields["model"] == "Systran/faster-whisper:small"
    assert fake.recordings[0].key is None
    await service.close()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (
            401,
            b'{"error": {"message": "No such key sk-secret-of-the-operator"}}',
            errors.ProviderAuth,
        ),
        (400, b'{"error": {"message": "Too short"}}', errors.ProviderRejected),
        (429, b"{}", errors.ProviderRateLimited),
        (500, b"oops", errors.ProviderUnavailable),
        (200, b"<html>", errors.ProviderProtocol),
        (200, b'{"text": 7}', errors.ProviderProtocol),
        (200, b'{"text": "' + b"x" * 1_000_001 + b'"}', errors.ProviderProtocol),
    ],
)
async def test_what_goes_wrong_there_is_a_clear_error_without_the_key(
    service: VoiceService,
    fake: FakeTranscriber,
    status: int,
    body: bytes,
    expected: type[errors.AntiphonError],
) -> None:
    fake.status, fake.body = status, body

    with pytest.raises(expected) as failed:
        await service.transcribe(b"sound", "audio/webm")

    assert KEY not in failed.value.message


@pytest.mark.parametrize(
    ("audio", "media_type", "expected"),
    [
        (b"", "audio/webm", errors.InvalidRequest),
        (b"sound", "text/html", errors.InvalidRequest),
        (b"sound", "audio/webm\r\nX-Evil: 1", errors.InvalidRequest),
        (b"s" * (voice.MAX_AUDIO_BYTES + 1), "audio/webm", errors.TooLarge),
    ],
)
async def test_what_is_no_recording_is_not_sent(
    service: VoiceService,
    fake: FakeTranscriber,
    audio: bytes,
    media_type: str,
    expected: type[errors.AntiphonError],
) -> None:
    with pytest.raises(expected):
        await service.transcribe(audio, media_type)

    assert fake.recordings == []


async def test_without_the_setting_nothing_is_transcribed() -> None:
    service = VoiceService(Catalog(Settings(), {}), Settings())

    assert service.transcribed_by == ""
    with pytest.raises(errors.NotFound, match="Nothing is transcribed"):
        await service.transcribe(b"sound", "audio/webm")


@pytest.mark.parametrize("model", ["openai:whisper-1", "nowhere:whisper", "whisper", "openai:a b"])
async def test_a_setting_that_cannot_be_used_says_so_with_the_first_recording(model: str) -> None:
    settings = Settings(transcription_model=model)
    service = VoiceService(Catalog(settings, {}), settings)

    assert service.transcribed_by == model.partition(":")[0]
    with pytest.raises(errors.BadSettings):
        await service.transcribe(b"sound", "audio/webm")
