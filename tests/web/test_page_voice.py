"""Reading aloud and dictation, in a browser whose speech and recognition are fakes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Route, expect

from tests.support.providers.transcriber import FakeTranscriber, serve_transcriber
from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings
from tests.support.web.chats import Chat, chatting, wait_until

VOICE = """() => {
  window.spoken = [];
  window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; } };
  const voices = [
    { name: "Ada", lang: "en-GB", voiceURI: "ada", localService: true },
    { name: "Far", lang: "de-DE", voiceURI: "far", localService: false },
  ];
  const synthesis = {
    getVoices: () => voices,
    speak: (utterance) => window.spoken.push(utterance),
    cancel: () => window.spoken.forEach((utterance) => (utterance.cancelled = true)),
    addEventListener() {},
    removeEventListener() {},
  };
  Object.defineProperty(window, "speechSynthesis", { configurable: true, value: synthesis });
}"""
FAKE_RECOGNITION = """() => {
  window.webkitSpeechRecognition = window.SpeechRecognition = class {
    start() { window.ears = this; this.onstart(); }
    stop() { this.onend(); }
    abort() { this.aborted = true; this.onend(); }
  };
}"""
MICROPHONE = """() => {
  window.opened = 0;
  window.recorded = 0;
  window.tracks = [];
  const start = MediaRecorder.prototype.start;
  MediaRecorder.prototype.start = function (...args) {
    window.recorded = 0;
    this.addEventListener("dataavailable", ({ data }) => (window.recorded += data.size));
    return start.apply(this, args);
  };
  navigator.mediaDevices.getUserMedia = async () => {
    const context = new AudioContext();
    const destination = context.createMediaStreamDestination();
    const tone = context.createOscillator();
    tone.connect(destination);
    tone.start();
    window.tracks.push(...destination.stream.getTracks());
    window.opened += 1;
    return destination.stream;
  };
}"""
HAS_RECORDED = "(times) => window.opened === times && window.recorded > 0"
RECOGNIZE = "(text) => window.ears.onresult({ results: [[{ transcript: text }]] })"
LIST_SPOKEN = "() => window.spoken.map(({ text, rate, voice }) => [text, rate, voice?.name ?? ''])"


@asynccontextmanager
async def chatting_by_voice(
    chromium: Browser, tmp_path: Path, *flags: str
) -> AsyncIterator[tuple[Chat, FakeTranscriber]]:
    """Open a chat whose provider transcribes and speaks, in a browser whose microphone hums."""
    async with serve_transcriber() as fake:
        # The last base URL counts: the model of the page is not asked.
        all_flags = ("--no-servers", "--base-url", fake.url, *flags)
        async with chatting(chromium, tmp_path, *all_flags, fresh=True) as chat:
            await chat.page.add_init_script(f"({MICROPHONE})()")
            await chat.page.reload()
            yield chat, fake


DICTATION_FLAGS = ("--transcription-model", "whisper")


async def answer(chat: Chat, text: str) -> None:
    await chat.say("Well?")
    await (await chat.model.next_request()).answer(text)
    await chat.wait_until_idle()


@pytest.mark.slow
async def test_an_answer_is_read_aloud_with_the_chosen_voice_until_it_is_stopped(
    chat: Chat, axe: str
) -> None:
    page = chat.page
    await page.evaluate(VOICE)
    await page.get_by_role("button", name="Settings").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Voice for reading aloud").select_option("far")
    await expect(dialog).to_contain_text("which gets the text")
    await dialog.get_by_label("Speed").select_option("1.5")
    violations = await findings(page, axe)
    await page.keyboard.press("Escape")
    await answer(chat, "It is **so**. `x = 1`")
    assert await page.evaluate(LIST_SPOKEN) == []

    button = page.get_by_role("button", name="Read aloud")
    await button.press("Enter")
    assert await page.evaluate(LIST_SPOKEN) == [["It is so .", 1.5, "Far"], ["x = 1", 1.5, "Far"]]
    stop = page.get_by_role("button", name="Stop reading")
    await expect(stop).to_have_attribute("aria-pressed", "true")
    await stop.press("Enter")
    assert await page.evaluate("window.spoken.every(({ cancelled }) => cancelled)")
    await expect(button).to_be_visible()
    assert violations == []


@pytest.mark.slow
async def test_new_answers_are_read_by_themselves_only_where_that_is_wanted(chat: Chat) -> None:
    page = chat.page
    await page.evaluate(VOICE)
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_role("dialog").get_by_label("Read new answers aloud").check()
    await page.keyboard.press("Escape")
    await answer(chat, "One.")
    await chat.wait_until("() => window.spoken.length === 1")
    await page.get_by_role("button", name="New chat").first.click()

    assert await page.evaluate("window.spoken[0].text") == "One."
    await chat.wait_until("() => window.spoken[0].cancelled")

    # An answer that is complete before the page has drawn any of it.
    await page.evaluate("() => { window.requestAnimationFrame = () => 0; }")
    await answer(chat, "Two.")
    await chat.wait_until("() => window.spoken.length === 2")
    assert await page.evaluate("window.spoken[1].text") == "Two."


@pytest.mark.slow
async def test_what_is_dictated_stands_in_the_field_and_is_not_sent(
    chromium: Browser, tmp_path: Path, axe: str
) -> None:
    async with chatting(
        chromium, tmp_path, "--no-servers", "--web-dictation", "browser", fresh=True
    ) as chat:
        page = chat.page
        await page.add_init_script(f"({FAKE_RECOGNITION})()")
        await page.reload()
        await chat.composer.fill("Before after")
        await page.evaluate("document.querySelector('#composer').setSelectionRange(6, 6)")
        await page.get_by_role("button", name="Dictate").press("Enter")
        stop = page.get_by_role("button", name="Stop dictating")
        await expect(stop).to_have_attribute("aria-pressed", "true")
        violations = await findings(page, axe)
        await page.evaluate(RECOGNIZE, "the mid")
        await page.evaluate(RECOGNIZE, "the middle")
        await expect(chat.composer).to_have_value("Before the middle after")

        await chat.composer.press_sequentially("!")
        await page.evaluate(RECOGNIZE, "the middle of it")
        await expect(chat.composer).to_have_value("Before the middle! after")
        assert await page.evaluate("window.ears.aborted")
        await page.get_by_role("button", name="Dictate").press("Enter")
        await page.evaluate("window.ears.onerror({ error: 'not-allowed' })")
        await expect(page.locator(".toasts")).to_contain_text("use the microphone")
        count = "async () => (await (await fetch('/api/threads')).json()).data.length"
        assert await page.evaluate(count) == 0
        assert violations == []


async def test_without_the_setting_there_is_no_dictation_and_no_microphone(chat: Chat) -> None:
    shell = await chat.context.request.get(chat.up.url)

    assert "microphone=()" in shell.headers["permissions-policy"]
    await expect(chat.page.get_by_role("button", name="Dictate")).to_have_count(0)


async def test_what_is_said_goes_to_the_provider_only_after_consent(
    chromium: Browser, tmp_path: Path, axe: str
) -> None:
    async with chatting_by_voice(chromium, tmp_path, *DICTATION_FLAGS) as (chat, fake):
        page = chat.page
        await chat.composer.fill("Before")
        await page.get_by_role("button", name="Dictate").press("Enter")
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text(f"sends it to {fake.url.removesuffix('/v1')}")
        violations = await findings(page, axe)
        await dialog.get_by_role("button", name="Cancel").click()
        assert await page.evaluate("window.opened") == 0

        await page.get_by_role("button", name="Dictate").press("Enter")
        await dialog.get_by_role("button", name="Record and send").click()
        stop = page.get_by_role("button", name="Stop dictating")
        await expect(stop).to_have_attribute("aria-pressed", "true")
        await wait_until(page, HAS_RECORDED, 1)
        await stop.press("Enter")
        await expect(chat.composer).to_have_value("Before Good morning.")
        (recording,) = fake.recordings
        assert recording.fields["language"] == "en"
        assert recording.media_type == "audio/webm"
        assert len(recording.audio) > 100
        assert await page.evaluate("window.tracks.every((track) => track.readyState === 'ended')")

        fake.status, fake.body = 400, b'{"error": {"message": "Too short."}}'
        await page.get_by_role("button", name="Dictate").press("Enter")
        await wait_until(page, HAS_RECORDED, 2)
        await stop.press("Enter")
        await expect(page.locator(".toasts")).to_contain_text("Too short.")
        await expect(chat.composer).to_have_value("Before Good morning.")
        assert violations == []


async def test_a_recording_waits_for_consent_where_the_provider_has_changed_since_the_page_opened(
    chromium: Browser, tmp_path: Path
) -> None:
    old_provider = {"transcribed_by": "before (https://before.example)"}

    async def answer_as_before(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, json=await answer.json() | old_provider)
        old_provider.clear()

    async with chatting_by_voice(chromium, tmp_path, *DICTATION_FLAGS) as (chat, fake):
        page = chat.page
        dictate = page.get_by_role("button", name="Dictate")
        await expect(dictate).to_be_visible()  # `/api/me` is read before the route begins
        # The route stays: the browser loses requests that are sent in the moment a route ends.
        await page.route("**/api/me", answer_as_before)
        await page.reload()
        await dictate.click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("before.example")
        await dialog.get_by_role("button", name="Record and send").click()
        await wait_until(page, HAS_RECORDED, 1)
        await page.get_by_role("button", name="Stop dictating").click()

        provider = fake.url.removesuffix("/v1")
        await expect(dialog).to_contain_text(f"another provider now: {provider}")
        assert fake.recordings == []
        await dialog.get_by_role("button", name="Send", exact=True).click()
        await expect(chat.composer).to_have_value("Good morning.")
        assert len(fake.recordings) == 1


BROKEN_RECORDER = """(where) => {
  const Real = window.MediaRecorder;
  window.MediaRecorder = class extends Real {
    constructor(...args) {
      if (where === "constructor") throw new DOMException("none", "NotSupportedError");
      super(...args);
    }
    start() { throw new DOMException("none", "InvalidStateError"); }
  };
}"""
HAVE_TRACKS_ENDED = """() => window.tracks.length > 0
  && window.tracks.every((track) => track.readyState === "ended")"""


async def test_dictation_keeps_to_its_chat_and_leaves_no_microphone_on(
    chromium: Browser, tmp_path: Path
) -> None:
    async with chatting_by_voice(chromium, tmp_path, *DICTATION_FLAGS) as (chat, fake):
        page = chat.page
        dictate = page.get_by_role("button", name="Dictate")
        stop = page.get_by_role("button", name="Stop dictating")
        new_chat = page.get_by_role("button", name="New chat").first
        await chat.say("Well?")  # without an answer: the transcriber serves as the model
        await page.wait_for_url("**/t/*")
        await chat.wait_until_idle()
        thread = chat.thread
        await chat.composer.fill("Here")
        await dictate.click()
        await page.get_by_role("button", name="Record and send").click()
        await wait_until(page, HAS_RECORDED, 1)

        # The user leaves the chat while the page waits for the text.
        fake.open.clear()
        await stop.click()
        await new_chat.click()
        await expect(chat.composer).to_have_value("")
        fake.open.set()
        await expect(page.locator(".toasts")).to_contain_text("in the draft of the chat")
        await expect(chat.composer).to_have_value("")

        # The user leaves the chat during the recording.
        await chat.open(f"/t/{thread}")
        await expect(chat.composer).to_have_value("Here Good morning.")
        await dictate.click()
        await wait_until(page, HAS_RECORDED, 1)
        await new_chat.click()
        await expect(page.locator(".toasts")).to_contain_text("in the draft of the chat")
        assert await page.evaluate(HAVE_TRACKS_ENDED)
        await expect(chat.composer).to_have_value("")
        await page.go_back()
        await expect(chat.composer).to_have_value("Here Good morning. Good morning.")
        assert len(fake.recordings) == 2

        for broken_part in ("start", "constructor"):
            await page.evaluate(BROKEN_RECORDER, broken_part)
            await dictate.click()
            await chat.wait_until(HAVE_TRACKS_ENDED)
            await expect(dictate).to_have_attribute("aria-pressed", "false")
        await expect(page.locator(".toasts")).to_contain_text("did not work")


RECORD_PLAYED_AUDIO = """() => {
  window.played = [];
  const play = HTMLMediaElement.prototype.play;
  HTMLMediaElement.prototype.play = function () {
    this.addEventListener("ended", () => window.played.push(this.src));
    return play.call(this);
  };
}"""


@pytest.mark.slow
async def test_a_provider_reads_aloud_for_those_who_agree_and_the_browser_if_it_fails(
    chromium: Browser, tmp_path: Path, axe: str
) -> None:
    async with chatting_by_voice(chromium, tmp_path, "--speech-model", "tts") as (chat, fake):
        page = chat.page
        await page.evaluate(VOICE)
        await page.evaluate(RECORD_PLAYED_AUDIO)
        await page.get_by_role("button", name="Settings").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Try it").click()
        assert await page.evaluate("window.spoken.length") == 1
        assert fake.texts == []

        await expect(dialog).to_contain_text(f"sent to {fake.url.removesuffix('/v1')}")
        await dialog.get_by_label("Read aloud by").check()
        violations = await findings(page, axe)
        await dialog.get_by_role("button", name="Try it").click()
        await chat.wait_until("() => window.played.length === 1")
        assert (await page.evaluate("window.played"))[0].startswith("blob:")
        assert fake.texts[0]["input"] == "This is how answers are read aloud."
        assert await page.evaluate("window.spoken.length") == 1

        fake.status, fake.body = 400, b'{"error": {"message": "No such voice."}}'
        await dialog.get_by_role("button", name="Try it").click()
        await expect(page.locator(".toasts")).to_contain_text("The voice of the browser reads")
        await expect(page.locator(".toasts")).to_contain_text("No such voice.")
        assert await page.evaluate("window.spoken.length") == 2
        assert violations == []
