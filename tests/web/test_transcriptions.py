"""Dictation and reading aloud over the web, for people of the chat only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, MutableMapping
from io import BytesIO
from typing import Any

import pytest
from werkzeug.datastructures import FileStorage

from antiphon.api.operations import GetUsage
from antiphon.web.app import create_app
from antiphon.web.bridge import Bridge
from tests.support.providers.transcriber import FakeTranscriber, serve_transcriber
from tests.support.web.visiting import Browser, open_chat

pytestmark = pytest.mark.processes


@pytest.fixture
async def fake() -> AsyncIterator[FakeTranscriber]:
    async with serve_transcriber() as fake:
        yield fake


@pytest.fixture
async def browser(fake: FakeTranscriber) -> AsyncIterator[Browser]:
    providers = {"here": {"base_url": fake.url, "retries": 0}}
    async with open_chat(
        transcription_model="here:whisper", speech_model="here:tts", providers=providers
    ) as chat:
        yield await chat.browser().arrive()


async def send(
    browser: Browser, audio: bytes = b"sound", kind: str = "audio/webm;codecs=opus", **fields: str
) -> Any:
    file = FileStorage(BytesIO(audio), filename="speech", content_type=kind)
    provider = (await browser.get("/api/me")).json["transcribed_by"]
    fields = {"provider": provider} | fields
    return await browser.open(
        "POST", "/api/transcriptions", data={"file": file, **fields}, buffered=True
    )


async def speak(browser: Browser, text: str) -> Any:
    provider = (await browser.get("/api/me")).json["spoken_by"]
    return await browser.post("/api/speech", {"text": text, "provider": provider})


async def test_a_recording_comes_back_as_text_and_is_not_kept(
    browser: Browser, fake: FakeTranscriber
) -> None:
    answer = await send(browser, language="de")

    assert (answer.status_code, answer.json) == (200, {"text": "Good morning."})
    assert fake.recordings[0].audio == b"sound"
    assert fake.recordings[0].media_type == "audio/webm"
    assert fake.recordings[0].fields["language"] == "de"
    assert (await browser.get("/api/threads")).json["data"] == []


async def test_the_page_may_use_the_microphone_and_knows_where_the_sound_goes(
    browser: Browser, fake: FakeTranscriber
) -> None:
    page, me = await browser.get("/"), await browser.get("/api/me")

    assert "microphone=(self)" in page.headers["Permissions-Policy"]
    assert me.json["transcribed_by"] == f"here ({fake.url.removesuffix('/v1')})"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"audio": b""}, 422),
        ({"kind": "text/html"}, 422),
        ({"language": "x\r\ny"}, 422),
    ],
)
async def test_an_invalid_recording_is_refused_and_not_sent(
    browser: Browser, fake: FakeTranscriber, fields: dict[str, Any], status: int
) -> None:
    answer = await send(browser, **fields)

    assert answer.status_code == status
    assert fake.recordings == []


@pytest.mark.parametrize("provider", ["", "here (https://elsewhere.example)"])
async def test_nothing_is_sent_to_a_provider_that_the_person_did_not_agree_to(
    browser: Browser, fake: FakeTranscriber, provider: str
) -> None:
    me = (await browser.get("/api/me")).json

    transcription = await send(browser, provider=provider)
    speech = await browser.post("/api/speech", {"text": "Hello.", "provider": provider})

    for refusal, field in ((transcription, "transcribed_by"), (speech, "spoken_by")):
        assert (refusal.status_code, refusal.json["code"]) == (409, "conflict")
        assert me[field] in refusal.get_data(as_text=True)
    assert (fake.recordings, fake.texts) == ([], [])


async def test_an_error_of_the_provider_is_passed_on(
    browser: Browser, fake: FakeTranscriber
) -> None:
    fake.status, fake.body = 400, b'{"error": {"message": "The audio is too short."}}'

    answer = await send(browser)

    assert answer.status_code >= 400
    assert "The audio is too short." in answer.json["title"] + answer.json.get("detail", "")


async def test_without_the_setting_there_is_nothing_to_send_to() -> None:
    async with open_chat() as chat:
        browser = await chat.browser().arrive()

        assert (await browser.get("/api/me")).json["transcribed_by"] == ""
        assert "microphone=()" in (await browser.get("/")).headers["Permissions-Policy"]
        assert (await send(browser)).status_code == 404


async def test_a_text_comes_back_as_speech_that_the_page_may_play(
    browser: Browser, fake: FakeTranscriber
) -> None:
    speech = await speak(browser, "Hello.")
    page, me = await browser.get("/"), await browser.get("/api/me")

    assert (speech.status_code, speech.data) == (200, fake.speech)
    assert speech.headers["Content-Type"] == "audio/wav"
    assert speech.headers["X-Content-Type-Options"] == "nosniff"
    assert speech.headers["Cache-Control"] == "no-store"
    assert fake.texts[0]["input"] == "Hello."
    assert me.json["spoken_by"] == f"here ({fake.url.removesuffix('/v1')})"
    assert page.headers["Content-Security-Policy"].endswith("; media-src blob:")


async def test_a_text_that_cannot_be_spoken_is_refused_with_the_reason(
    browser: Browser, fake: FakeTranscriber
) -> None:
    empty_response = await speak(browser, "")
    long_response = await speak(browser, "x" * 4097)
    fake.status, fake.body = 400, b'{"error": {"message": "No such voice."}}'
    failed = await speak(browser, "Hello.")

    assert (empty_response.status_code, long_response.status_code) == (422, 422)
    assert "No such voice." in failed.json["title"] + failed.json.get("detail", "")
    assert len(fake.texts) == 1


@pytest.mark.parametrize("path", ["/api/speech", "/api/transcriptions"])
async def test_the_request_to_the_provider_ends_when_the_browser_leaves_and_its_work_is_counted(
    fake: FakeTranscriber, path: str
) -> None:
    providers = {"here": {"base_url": fake.url, "retries": 0}}
    models = {"transcription_model": "here:whisper", "speech_model": "here:tts"}
    fake.open.clear()
    async with open_chat(providers=providers, **models) as chat:
        browser = await chat.browser().arrive()
        me = (await browser.get("/api/me")).json
        bridge = Bridge(create_app(chat.site, is_bridged=True), largest=100_000)
        kind, body = make_body(path, me)
        to_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        to_browser: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        to_server.put_nowait({"type": "http.request", "body": body})
        headers = {
            "host": "localhost:8000",
            "origin": "http://localhost:8000",
            "content-type": kind,
            "cookie": f"antiphon_session={browser.cookie()}",
            "x-antiphon-csrf": browser.csrf,
        }
        request = asyncio.create_task(
            bridge(
                {
                    "type": "http",
                    "method": "POST",
                    "path": path,
                    "query_string": b"",
                    "headers": [(name.encode(), v.encode()) for name, v in headers.items()],
                    "client": ("127.0.0.1", 5),
                },
                to_server.get,
                to_browser.put,
            )
        )
        await fake.wait_for(1)
        to_server.put_nowait({"type": "http.disconnect"})

        async with asyncio.timeout(30):
            await request
            await fake.left.wait()
        (row,) = (await chat.site.client.transport.send(GetUsage())).rows
        assert to_browser.empty()
        assert (row.unpriced, row.runs) == (1, 0)
        bridge.close()


def make_body(path: str, me: dict[str, Any]) -> tuple[str, bytes]:
    """Return the media type and the body of a request for a text or a recording."""
    if path == "/api/speech":
        body = json.dumps({"text": "Hello.", "provider": me["spoken_by"]}).encode()
        return "application/json", body
    parts = {
        'name="provider"': me["transcribed_by"],
        'name="file"; filename="a"\r\nContent-Type: audio/webm': "sound",
    }
    form = "".join(
        f"--x\r\nContent-Disposition: form-data; {part}\r\n\r\n{value}\r\n"
        for part, value in parts.items()
    )
    return "multipart/form-data; boundary=x", f"{form}--x--\r\n".encode()


async def test_without_a_model_nothing_is_spoken_and_the_page_plays_nothing() -> None:
    async with open_chat() as chat:
        browser = await chat.browser().arrive()

        assert (await browser.get("/api/me")).json["spoken_by"] == ""
        assert "media-src" not in (await browser.get("/")).headers["Content-Security-Policy"]
        assert (await speak(browser, "Hello.")).status_code == 404
