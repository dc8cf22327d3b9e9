"""Reading aloud and dictation, by a browser whose voice and ears the test sees."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.support.providers.transcriber import serve_transcriber
from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings
from tests.support.web.chats import Chat, chatting

VOICE = """() => {
  window.spoken = [];
  window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; } };
  const voices = [
    { name: "Ada", lang: "en-GB", voiceURI: "ada", localService: true },
    { name: "Far", lang: "de-DE", voiceURI: "far", localService: false },
  ];
  const heard = {
    getVoices: () => voices,
    speak: (said) => window.spoken.push(said),
    cancel: () => window.spoken.forEach((said) => (said.cancelled = true)),
    addEventListener() {},
    removeEventListener() {},
  };
  Object.defineProperty(window, "speechSynthesis", { configurable: true, value: heard });
}"""
EARS = """() => {
  window.webkitSpeechRecognition = window.SpeechRecognition = class {
    start() { window.ears = this; this.onstart(); }
    stop() { this.onend(); }
    abort() { this.aborted = true; this.onend(); }
  };
}"""
MICROPHONE = """() => {
  window.opened = 0;
  window.tracks = [];
  navigator.mediaDevices.getUserMedia = async () => {
    const sound = new AudioContext();
    const into = sound.createMediaStreamDestination();
    const tone = sound.createOscillator();
    tone.connect(into);
    tone.start();
    window.tracks.push(...into.stream.getTracks());
    window.opened += 1;
    return into.stream;
  };
}"""
HEARD = "(said) => window.ears.onresult({ results: [[{ transcript: said }]] })"
SPOKEN = "() => window.spoken.map(({ text, rate, voice }) => [text, rate, voice?.name ?? ''])"


async def answer(chat: Chat, text: str) -> None:
    await chat.say("Well?")
    await (await chat.model.next_request()).answer(text)
    await chat.wait_until_idle()


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
    found = await findings(page, axe)
    await page.keyboard.press("Escape")
    await answer(chat, "It is **so**. `x = 1`")
    assert await page.evaluate(SPOKEN) == []

    button = page.get_by_role("button", name="Read aloud")
    await button.press("Enter")
    assert await page.evaluate(SPOKEN) == [["It is so .", 1.5, "Far"], ["x = 1", 1.5, "Far"]]
    stop = page.get_by_role("button", name="Stop reading")
    await expect(stop).to_have_attribute("aria-pressed", "true")
    await stop.press("Enter")
    assert await page.evaluate("window.spoken.every(({ cancelled }) => cancelled)")
    await expect(button).to_be_visible()
    assert found == []


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


@pytest.mark.slow
async def test_what_is_dictated_stands_in_the_field_and_is_not_sent(
    chromium: Browser, tmp_path: Path, axe: str
) -> None:
    async with chatting(
        chromium, tmp_path, "--no-servers", "--web-dictation", "browser", fresh=True
    ) as chat:
        page = chat.page
        await page.add_init_script(f"({EARS})()")
        await page.reload()
        await chat.composer.fill("Before after")
        await page.evaluate("document.querySelector('#composer').setSelectionRange(6, 6)")
        await page.get_by_role("button", name="Dictate").press("Enter")
        stop = page.get_by_role("button", name="Stop dictating")
        await expect(stop).to_have_attribute("aria-pressed", "true")
        found = await findings(page, axe)
        await page.evaluate(HEARD, "the mid")
        await page.evaluate(HEARD, "the middle")
        await expect(chat.composer).to_have_value("Before the middle after")

        await chat.composer.press_sequentially("!")
        await page.evaluate(HEARD, "the middle of it")
        await expect(chat.composer).to_have_value("Before the middle! after")
        assert await page.evaluate("window.ears.aborted")
        await page.get_by_role("button", name="Dictate").press("Enter")
        await page.evaluate("window.ears.onerror({ error: 'not-allowed' })")
        await expect(page.locator(".toasts")).to_contain_text("use the microphone")
        count = "async () => (await (await fetch('/api/threads')).json()).data.length"
        assert await page.evaluate(count) == 0
        assert found == []


async def test_without_the_setting_there_is_no_dictation_and_no_microphone(chat: Chat) -> None:
    shell = await chat.context.request.get(chat.up.url)

    assert "microphone=()" in shell.headers["permissions-policy"]
    await expect(chat.page.get_by_role("button", name="Dictate")).to_have_count(0)


async def test_what_is_said_goes_to_the_provider_only_after_consent(
    chromium: Browser, tmp_path: Path, axe: str
) -> None:
    async with serve_transcriber() as fake:
        # The last base URL counts: the model of the page is not asked.
        flags = ("--no-servers", "--base-url", fake.url, "--transcription-model", "whisper")
        async with chatting(chromium, tmp_path, *flags, fresh=True) as chat:
            page = chat.page
            await page.add_init_script(f"({MICROPHONE})()")
            await page.reload()
            await chat.composer.fill("Before")
            await page.get_by_role("button", name="Dictate").press("Enter")
            dialog = page.get_by_role("dialog")
            await expect(dialog).to_contain_text(f"sent to {fake.url.removesuffix('/v1')}")
            found = await findings(page, axe)
            await dialog.get_by_role("button", name="Cancel").click()
            assert await page.evaluate("window.opened") == 0

            await page.get_by_role("button", name="Dictate").press("Enter")
            await dialog.get_by_role("button", name="Record and send").click()
            stop = page.get_by_role("button", name="Stop dictating")
            await expect(stop).to_have_attribute("aria-pressed", "true")
            await chat.wait_until("() => window.opened === 1")
            await stop.press("Enter")
            await expect(chat.composer).to_have_value("Before Good morning.")
            (recording,) = fake.recordings
            assert recording.fields["language"] == "en"
            assert recording.media_type == "audio/webm"
            assert len(recording.audio) > 100
            assert await page.evaluate(
                "window.tracks.every((track) => track.readyState === 'ended')"
            )

            fake.status, fake.body = 400, b'{"error": {"message": "Too short."}}'
            await page.get_by_role("button", name="Dictate").press("Enter")
            await chat.wait_until("() => window.opened === 2")
            await stop.press("Enter")
            await expect(page.locator(".toasts")).to_contain_text("Too short.")
            await expect(chat.composer).to_have_value("Before Good morning.")
            assert found == []
