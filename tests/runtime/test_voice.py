"""Recordings go to the operator's model, come back as text or as a clear error, and are counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from antiphon.api.operations import (
    MAX_AUDIO_BYTES,
    CreateSpeech,
    CreateTranscription,
    Speech,
    Transcription,
)
from antiphon.providers.catalog import Catalog
from antiphon.runtime.services import voice
from antiphon.runtime.services.voice import VoiceService
from antiphon.settings.settings import Settings
from antiphon.stores.memory.store import MemoryStore
from antiphon.types import errors
from antiphon.types.accounts import Key, Limits, Principal, UsageRow
from antiphon.types.runs import Usage
from tests.support.providers.transcriber import FakeTranscriber, Recording, serve_transcriber

KEY = "sk-secret-of-the-operator"
BY = Principal(owner="ann")


@pytest.fixture
async def fake() -> AsyncIterator[FakeTranscriber]:
    async with serve_transcriber() as fake:
        yield fake


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(lambda: 1_000_000)


def create_service(store: MemoryStore, settings: Settings) -> VoiceService:
    return VoiceService(store, Catalog(settings, {}), settings)


async def transcribe(
    service: VoiceService,
    audio: bytes = b"sound",
    media_type: str = "audio/webm",
    language: str | None = None,
    *,
    by: Principal = BY,
) -> Transcription:
    call = CreateTranscription(audio, media_type, language)
    transcription: Transcription = await service.handlers[CreateTranscription](call, by, None)
    return transcription


@pytest.fixture
async def service(fake: FakeTranscriber, store: MemoryStore) -> AsyncIterator[VoiceService]:
    table = {"base_url": fake.url, "key": KEY, "retries": 0}
    settings = Settings(
        base_url="http://127.0.0.1:1/elsewhere",
        transcription_model="here:whisper-1",
        speech_model="here:tts-1",
        speech_voice="nova",
        providers={"here": table},
    )
    service = create_service(store, settings)
    yield service
    await service.close()


async def test_a_recording_is_sent_to_the_named_server_with_its_key(
    service: VoiceService, fake: FakeTranscriber
) -> None:
    transcription = await transcribe(service, b"\x00\r\n--sound", "audio/webm;codecs=opus", "de")

    assert transcription == Transcription(text="Good morning.", model="here:whisper-1")
    fields = {"model": "whisper-1", "response_format": "json", "language": "de"}
    assert fake.recordings == [
        Recording(fields, "speech.webm", "audio/webm", b"\x00\r\n--sound", f"Bearer {KEY}")
    ]
    assert service.transcribed_by == f"here ({fake.url.removesuffix('/v1')})"


async def test_a_key_goes_into_the_query_where_the_server_wants_it_there(
    fake: FakeTranscriber, store: MemoryStore
) -> None:
    table = {"base_url": fake.url, "key": KEY, "key_parameter": "key"}
    service = create_service(
        store, Settings(transcription_model="here:whisper-1", providers={"here": table})
    )

    await transcribe(service, b"sound", "audio/ogg")
    await service.close()

    assert fake.recordings[0].key == KEY


async def test_a_name_without_a_known_provider_is_at_the_base_url(
    fake: FakeTranscriber, store: MemoryStore
) -> None:
    settings = Settings(base_url=fake.url, transcription_model="Systran/faster-whisper:small")
    service = create_service(store, settings)

    assert (await transcribe(service, b"sound", "audio/ogg")).text == "Good morning."
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

    with pytest.raises(expected) as excinfo:
        await transcribe(service)

    assert KEY not in excinfo.value.message


@pytest.mark.parametrize(
    ("audio", "media_type", "expected"),
    [
        (b"", "audio/webm", errors.InvalidRequest),
        (b"sound", "text/html", errors.InvalidRequest),
        (b"sound", "audio/webm\r\nX-Evil: 1", errors.InvalidRequest),
        (b"s" * (MAX_AUDIO_BYTES + 1), "audio/webm", errors.TooLarge),
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
        await transcribe(service, audio, media_type)

    assert fake.recordings == []


async def test_without_the_setting_nothing_is_transcribed(store: MemoryStore) -> None:
    service = create_service(store, Settings())

    assert service.transcribed_by == ""
    with pytest.raises(errors.NotFound, match="Nothing is transcribed"):
        await transcribe(service)


@pytest.mark.parametrize("model", ["openai:whisper-1", "nowhere:whisper", "whisper", "openai:a b"])
async def test_a_setting_that_cannot_be_used_says_so_with_the_first_recording(
    model: str, store: MemoryStore
) -> None:
    settings = Settings(transcription_model=model)
    service = create_service(store, settings)

    assert service.transcribed_by == model.partition(":")[0]
    with pytest.raises(errors.BadSettings):
        await transcribe(service)


async def test_one_person_has_two_recordings_transcribed_at_once_and_leaves_room_for_others(
    service: VoiceService, fake: FakeTranscriber
) -> None:
    fake.open.clear()
    tasks = [asyncio.create_task(transcribe(service)) for _ in range(voice.PER_OWNER)]
    await fake.wait_for(voice.PER_OWNER)

    with pytest.raises(errors.TooMany, match="2 of your recordings") as excinfo:
        await transcribe(service)
    other_task = asyncio.create_task(transcribe(service, by=Principal(owner="ben")))
    await fake.wait_for(voice.PER_OWNER + 1)
    fake.open.set()

    assert excinfo.value.details["retry_after"] > 0
    assert [each.text for each in await asyncio.gather(*tasks, other_task)] == ["Good morning."] * 3
    assert (await transcribe(service)).text == "Good morning."


async def test_a_process_sends_only_so_many_recordings_at_once(
    service: VoiceService, fake: FakeTranscriber
) -> None:
    fake.open.clear()
    owners = [Principal(owner=f"person{number}") for number in range(voice.AT_ONCE)]
    tasks = [asyncio.create_task(transcribe(service, by=by)) for by in owners]
    await fake.wait_for(voice.AT_ONCE)

    with pytest.raises(errors.Overloaded):
        await transcribe(service)

    fake.open.set()
    await asyncio.gather(*tasks)


async def test_tokens_of_a_transcription_count_for_its_owner_and_its_key(
    service: VoiceService, fake: FakeTranscriber, store: MemoryStore
) -> None:
    limits = Limits(tokens_per_day=60)
    await store.add_key(
        Key(id="key_1", prefix="p", name="", owner="ann", created_at=0, limits=limits), b""
    )
    by = Principal(owner="ann", key_id="key_1", limits=limits)
    usage = {"type": "tokens", "input_tokens": 50, "output_tokens": 10, "total_tokens": 60}
    fake.body = json.dumps({"text": "So.", "usage": usage}).encode()

    transcription = await transcribe(service, by=by)
    with pytest.raises(errors.QuotaExceeded, match="60 tokens today"):
        await transcribe(service, by=by)

    assert transcription.usage == Usage(input_tokens=50, output_tokens=10)
    assert len(fake.recordings) == 1
    assert await store.usage("1970-01-01", 10) == [
        UsageRow(
            day="1970-01-01",
            owner="ann",
            model="here:whisper-1",
            unpriced=1,
            input_tokens=50,
            output_tokens=10,
        )
    ]


async def test_transcriptions_that_count_seconds_are_unpriced_and_failed_ones_do_not_count(
    service: VoiceService, fake: FakeTranscriber, store: MemoryStore
) -> None:
    fake.body = json.dumps({"text": "So.", "usage": {"type": "duration", "seconds": 3}}).encode()
    assert (await transcribe(service)).seconds == 3
    await transcribe(service)
    fake.status = 400
    with pytest.raises(errors.ProviderRejected):
        await transcribe(service)

    (row,) = await store.usage("1970-01-01", 10)
    assert (row.unpriced, row.runs, row.input_tokens, row.audio_seconds) == (2, 0, 0, 6)


async def test_a_transcription_is_counted_though_its_caller_leaves_before_its_cost_is_known(
    fake: FakeTranscriber, store: MemoryStore
) -> None:
    is_asked, cost_is_known = asyncio.Event(), asyncio.Event()

    async def cost(model: str, usage: Usage) -> float:
        is_asked.set()
        await cost_is_known.wait()
        return 0.25

    usage_fields = {"type": "tokens", "input_tokens": 7, "output_tokens": 2}
    fake.body = json.dumps({"text": "So.", "usage": usage_fields}).encode()
    settings = Settings(base_url=fake.url, transcription_model="some/other:small")
    service = VoiceService(store, Catalog(settings, {}), settings, cost)
    request_task = asyncio.create_task(transcribe(service))
    await is_asked.wait()
    request_task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request_task
    cost_is_known.set()
    await service.close()

    (row,) = await store.usage("1970-01-01", 10)
    assert (row.cost, row.input_tokens) == (0.25, 7)


@pytest.mark.parametrize("seconds", [True, -1, 10**9, "3", None])
async def test_seconds_that_cannot_be_are_not_counted(
    service: VoiceService, fake: FakeTranscriber, store: MemoryStore, seconds: object
) -> None:
    usage = {"type": "duration", "seconds": seconds}
    fake.body = json.dumps({"text": "So.", "usage": usage}).encode()
    await transcribe(service)

    (row,) = await store.usage("1970-01-01", 10)
    assert (row.unpriced, row.audio_seconds) == (1, 0)


async def speak(
    service: VoiceService, text: str = "Hello.", voice: str | None = None, *, by: Principal = BY
) -> Speech:
    speech: Speech = await service.handlers[CreateSpeech](CreateSpeech(text, voice), by, None)
    return speech


async def test_a_text_is_spoken_by_the_voice_of_the_setting_or_by_another_one_and_counted(
    service: VoiceService, fake: FakeTranscriber, store: MemoryStore
) -> None:
    speech = await speak(service)
    await speak(service, voice="echo")

    assert speech == Speech(audio=fake.speech, media_type="audio/wav", model="here:tts-1")
    assert fake.texts[0] == {
        "model": "tts-1",
        "input": "Hello.",
        "voice": "nova",
        "response_format": "mp3",
    }
    assert fake.texts[1]["voice"] == "echo"
    assert service.spoken_by == f"here ({fake.url.removesuffix('/v1')})"
    (row,) = await store.usage("1970-01-01", 10)
    assert (row.model, row.unpriced, row.runs) == ("here:tts-1", 2, 0)


@pytest.mark.parametrize(
    ("status", "body", "speech", "expected"),
    [
        (401, b'{"error": {"message": "sk-secret-of-the-operator"}}', b"", errors.ProviderAuth),
        (400, b'{"error": {"message": "No such voice"}}', b"", errors.ProviderRejected),
        (500, b"oops", b"", errors.ProviderUnavailable),
        (200, b"", b"<html><script>", errors.ProviderProtocol),
        (200, b"", b"", errors.ProviderError),
        (200, b"", b"ID3" + bytes(10_000_000), errors.ProviderProtocol),
    ],
)
async def test_what_goes_wrong_with_speech_is_a_clear_error_without_the_key(
    service: VoiceService,
    fake: FakeTranscriber,
    status: int,
    body: bytes,
    speech: bytes,
    expected: type[errors.AntiphonError],
) -> None:
    fake.status, fake.body, fake.speech = status, body, speech

    with pytest.raises(expected) as excinfo:
        await speak(service)

    assert KEY not in excinfo.value.message


async def test_without_the_setting_and_without_words_nothing_is_spoken(
    service: VoiceService, fake: FakeTranscriber, store: MemoryStore
) -> None:
    silent_service = create_service(store, Settings())

    assert silent_service.spoken_by == ""
    with pytest.raises(errors.NotFound, match="Nothing is spoken"):
        await speak(silent_service)
    with pytest.raises(errors.InvalidRequest):
        await speak(service, " \n")
    assert fake.texts == []


async def test_one_person_has_two_texts_spoken_at_once(
    service: VoiceService, fake: FakeTranscriber
) -> None:
    fake.open.clear()
    tasks = [asyncio.create_task(speak(service)) for _ in range(voice.PER_OWNER)]
    await fake.wait_for(voice.PER_OWNER)

    with pytest.raises(errors.TooMany, match="2 of your texts"):
        await speak(service)

    fake.open.set()
    await asyncio.gather(*tasks)
