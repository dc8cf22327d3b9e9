"""The looks of a conversation, as far as they can be measured: positions and visibility."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from playwright.async_api import Browser, FilePayload, Locator, expect

from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings
from tests.support.web.chats import Chat, chatting, wait_until

OPACITY = "(it) => Number(getComputedStyle(it).opacity)"

DIAGRAM = "```mermaid\ngraph TD\n  A --> B\n```\n"


def picture(side: int = 64) -> bytes:
    """Return a blue square as PNG."""
    rows = b"".join(b"\0" + b"\x20\x60\xd0" * side for _ in range(side))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", head),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        )
    )


async def exchange(chat: Chat, *pairs: tuple[str, str]) -> None:
    """Send each question, and have the model give its answer."""
    for question, answer in pairs:
        await chat.say(question)
        await (await chat.model.next_request()).answer(answer)
        await chat.sees(answer)
        await chat.wait_until_idle()


async def attach(chat: Chat, *names: str) -> None:
    """Attach pictures, and text files for names that end with `.txt`."""
    files: list[FilePayload] = [
        FilePayload(name=name, mimeType="text/plain", buffer=b"the sea is wide")
        if name.endswith(".txt")
        else FilePayload(name=name, mimeType="image/png", buffer=picture())
        for name in names
    ]
    await chat.page.set_input_files("input[type=file]", files=files)
    ready = chat.page.locator(".composer .attachment[data-state=ready]")
    await expect(ready).to_have_count(len(names))


async def box(element: Locator) -> dict[str, float]:
    """Return the edges and the middle of the element."""
    bounds = await element.bounding_box()
    assert bounds
    left, top = bounds["x"], bounds["y"]
    right, bottom = left + bounds["width"], top + bounds["height"]
    return {"left": left, "top": top, "right": right, "bottom": bottom, "x": (left + right) / 2}


async def wait_for_opacity(element: Locator, opacity: float) -> None:
    """Wait until the element has this opacity, at the end of its transitions."""
    handle = await element.element_handle()
    script = "([it, wanted]) => Number(getComputedStyle(it).opacity) === wanted"
    await wait_until(element.page, script, [handle, opacity])


@pytest.mark.slow
async def test_actions_of_a_message_are_seen_while_it_is_hovered_and_on_the_last_message(
    chat: Chat,
) -> None:
    await exchange(chat, ("One", "First"), ("Two", "Second"))
    first = chat.answers.first.get_by_role("button", name="Copy")
    last = chat.answers.last.get_by_role("button", name="Copy")

    await wait_for_opacity(last, 1)
    await wait_for_opacity(first, 0)
    await chat.answers.first.hover()
    await wait_for_opacity(first, 1)
    await chat.composer.hover()
    await wait_for_opacity(first, 0)
    await first.focus()
    await wait_for_opacity(first, 1)


@pytest.mark.slow
async def test_without_a_pointer_that_hovers_all_actions_are_seen(
    chat: Chat, chromium: Browser
) -> None:
    await exchange(chat, ("One", "First"), ("Two", "Second"))
    async with await chromium.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    ) as context:
        page = await context.new_page()
        await page.goto(f"{chat.up.url}/t/{chat.thread}")
        buttons = page.locator(".message-bar button")
        await expect(page.locator(".message.assistant")).to_have_count(2)

        assert {await each.evaluate(OPACITY) for each in await buttons.all()} == {1.0}


@pytest.mark.slow
async def test_a_message_says_when_it_was_written_and_which_model_answered(chat: Chat) -> None:
    await exchange(chat, ("One", "First"))
    details = chat.answers.last.locator(".message-about")

    await expect(details).to_contain_text("told")
    assert await details.locator("time").get_attribute("datetime")
    await wait_for_opacity(details, 0)
    await chat.answers.last.hover()
    await wait_for_opacity(details, 1)
    await expect(chat.asked.last.locator("time")).to_have_count(1)


@pytest.mark.slow
async def test_an_error_is_a_mark_and_beside_it_its_words_and_what_to_do(chat: Chat) -> None:
    await chat.say("One")
    await (await chat.model.next_request()).refuse(400, "There is no such model.")
    await chat.wait_until_idle()
    notice = chat.answers.last.locator(".notice")

    await expect(notice).to_contain_text("There is no such model.")
    await expect(notice).to_contain_text("choose another model")
    mark, words = await box(notice.locator(".icon").first), await box(notice.locator("p").first)
    button = await box(notice.get_by_role("button", name="Try again"))
    assert mark["right"] < words["left"]
    assert button["left"] == words["left"]
    assert button["top"] >= words["bottom"]


@pytest.mark.slow
async def test_the_way_back_to_the_latest_is_above_the_middle_of_the_composer(chat: Chat) -> None:
    await chat.say("One")
    await (await chat.model.next_request()).answer("Line.\n\n" * 80 + "Last line.")
    await chat.sees("Last line.")
    await chat.wait_until_idle()
    await chat.page.locator("#conversation").hover()
    await chat.page.mouse.wheel(0, -2000)
    latest = chat.page.locator(".latest")
    await expect(latest).to_be_visible()
    button, composer = await box(latest), await box(chat.page.locator(".composer"))

    assert abs(button["x"] - composer["x"]) <= 1
    assert button["bottom"] <= composer["top"]


@pytest.mark.slow
async def test_files_of_a_message_stand_one_kind_below_the_other(chat: Chat) -> None:
    await attach(chat, "one.png", "two.png", "notes.txt")
    await chat.say("Look.")
    await (await chat.model.next_request()).answer("I see.")
    await chat.wait_until_idle()
    message = chat.asked.last

    pictures, notes = (
        await box(message.locator(".pictures")),
        await box(message.locator(".attachment")),
    )
    text = await box(message.locator(".bubble"))
    assert pictures["bottom"] <= notes["top"]
    assert notes["bottom"] <= text["top"]
    assert pictures["right"] == notes["right"] == text["right"]


@pytest.mark.slow
async def test_files_are_seen_while_a_message_is_edited_and_can_be_left_out(chat: Chat) -> None:
    await attach(chat, "one.png", "notes.txt")
    await chat.say("Look.")
    await (await chat.model.next_request()).answer("I see.")
    await chat.wait_until_idle()
    await chat.composer.press("ArrowUp")
    rewrite = chat.page.locator(".rewrite")

    await expect(rewrite.locator(".attachment")).to_have_count(2)
    await rewrite.get_by_role("button", name="Remove notes.txt").click()
    await rewrite.locator("textarea").press("Enter")
    reply = await chat.model.next_request()
    parts = reply.messages[-1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url"]
    await reply.answer("I still see.")
    await chat.wait_until_idle()
    await expect(chat.asked.last.locator(".picture")).to_have_count(1)
    await expect(chat.asked.last.locator(".attachment")).to_have_count(0)


@pytest.mark.slow
async def test_a_picture_opens_in_a_light_box_by_keys_and_the_focus_returns(
    chat: Chat, axe: str
) -> None:
    await attach(chat, "one.png", "two.png")
    await chat.say("Look.")
    await (await chat.model.next_request()).answer("I see.")
    await chat.wait_until_idle()
    first = chat.asked.last.get_by_role("button", name="Enlarge one.png")
    await first.focus()
    await chat.page.keyboard.press("Enter")
    light_box = chat.page.get_by_role("dialog", name="Picture")

    await expect(light_box.get_by_role("img", name="one.png")).to_be_visible()
    assert await findings(chat.page, axe) == []
    await chat.page.keyboard.press("ArrowRight")
    await expect(light_box.get_by_role("img", name="two.png")).to_be_visible()
    await chat.page.keyboard.press("ArrowRight")
    await expect(light_box).to_contain_text("1 of 2")
    await expect(light_box.get_by_role("link", name="Save picture")).to_be_visible()
    await chat.page.keyboard.press("Escape")
    await expect(light_box).to_have_count(0)
    await expect(first).to_be_focused()


@pytest.mark.slow
async def test_versions_of_an_answer_are_switched_at_it_and_those_of_a_message_there(
    chat: Chat,
) -> None:
    await exchange(chat, ("One", "First"))
    await chat.page.get_by_role("button", name="Answer again").click()
    await (await chat.model.next_request()).answer("Second")
    await chat.sees("Second")
    await chat.wait_until_idle()

    await expect(chat.answers.last.locator(".branches")).to_contain_text("2/2")
    await expect(chat.page.locator(".branches")).to_have_count(1)
    await chat.answers.last.get_by_role("button", name="Previous version").press("Enter")
    await chat.sees("First")
    await expect(chat.answers.last.get_by_role("button", name="Next version")).to_be_focused()
    await chat.composer.press("ArrowUp")
    await chat.page.locator(".rewrite textarea").fill("Another")
    await chat.page.locator(".rewrite textarea").press("Enter")
    await (await chat.model.next_request()).answer("Third")
    await chat.sees("Third")
    await chat.wait_until_idle()
    await expect(chat.asked.last.locator(".branches")).to_contain_text("3/3")
    await expect(chat.page.locator(".branches")).to_have_count(1)


TOOLS = '''
from antiphon import tool

@tool
def shell(command: str, note: str = "") -> str:
    """Run a command."""
    return "ran"
'''


async def test_a_question_warns_of_what_its_arguments_hide(
    chromium: Browser, tmp_path: Path
) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    flags = ("--no-servers", "--tools", "tools.py", "--ask", "*")
    async with chatting(chromium, tmp_path, *flags) as chat:
        await chat.say("Do it.")
        reply = await chat.model.next_request()
        await reply.call("shell", {"command": "ls", "note": "Привет 👩\u200d💻"}, id="c1")
        await reply.end("tool_calls")
        card = chat.page.locator(".approval[data-open]")
        await expect(card.locator(".argument").nth(1)).to_contain_text("Привет")
        await expect(card.locator(".approval-warning")).to_have_count(0)
        name, value = card.locator(".argument-name").first, card.locator(".argument pre").first
        assert (await box(name))["right"] <= (await box(value))["left"]
        await card.get_by_role("button", name="Refuse").evaluate(
            "(button) => new Promise((read) => setTimeout(read, 350))"
        )
        await card.get_by_role("button", name="Refuse").click()
        reply = await chat.model.next_request()
        await reply.call("shell", {"command": "rm \u202e -rf /"}, id="c2")
        await reply.end("tool_calls")

        await expect(card.locator(".approval-warning")).to_contain_text("cannot be seen")


@pytest.mark.slow
async def test_the_head_of_code_is_in_lines_on_a_phone_in_german(chat: Chat) -> None:
    await set_language(chat, "de")
    await chat.page.set_viewport_size({"width": 390, "height": 844})
    await chat.say("Show it.")
    await (await chat.model.next_request()).answer(f"```javascript\nlet sea;\n```\n\n{DIAGRAM}")
    await chat.sees("let sea;")
    await chat.wait_until_idle()
    head = chat.page.locator(".code-head").first

    language = await box(head.locator(".code-language"))
    letters = await head.locator(".code-language").evaluate("it => getComputedStyle(it).fontSize")
    assert language["bottom"] - language["top"] < 2 * float(letters.removesuffix("px"))
    assert (await box(head.locator(".copy")))["right"] <= (await box(head))["right"]
    await expect(chat.page.locator(".artifact-title")).to_have_text("Diagramm")


@pytest.mark.slow
async def test_the_tags_of_a_thread_stand_uncut_beside_its_title(chat: Chat) -> None:
    await exchange(chat, ("How do the tides of the northern coast work?", "By the moon."))
    row = chat.page.locator(".thread")
    await row.get_by_role("button").click()
    await chat.page.get_by_role("menuitem", name="Tags").click()
    await chat.page.get_by_role("textbox", name="Tags, separated by commas").fill("coast")
    await chat.page.keyboard.press("Enter")
    await row.hover()

    title, tag = row.locator("a > .grow"), row.locator(".row-tag")
    assert (await box(title))["right"] <= (await box(tag))["left"]
    assert (await box(tag))["right"] <= (await box(row.get_by_role("button")))["left"]
    assert await tag.evaluate("it => it.scrollWidth <= it.clientWidth")


async def set_language(chat: Chat, language: str) -> None:
    """Show the page in this language."""
    prefs = f'{{"language": "{language}"}}'
    await chat.page.evaluate("prefs => localStorage.setItem('antiphon.prefs', prefs)", prefs)
    await chat.page.reload()
    await expect(chat.page.locator("html")).to_have_attribute("lang", language)


@pytest.mark.slow
async def test_on_a_narrow_phone_assistant_and_model_have_a_row_of_their_own(
    chat: Chat,
) -> None:
    me = await (await chat.context.request.get(f"{chat.up.url}/api/me")).json()
    headers = {"Origin": chat.up.url, "X-Antiphon-CSRF": me["csrf"]}
    body = {"name": "Poet", "instructions": "Verse only."}
    address = f"{chat.up.url}/api/assistants"
    assert (await chat.context.request.post(address, data=body, headers=headers)).ok
    await chat.page.set_viewport_size({"width": 320, "height": 568})
    await chat.open()
    await expect(chat.page.locator(".pick select")).to_be_visible()

    pickers = await box(chat.page.locator(".picker"))
    buttons = await box(chat.page.get_by_role("button", name="Attach files"))
    assert pickers["bottom"] <= buttons["top"]
    name = await box(chat.page.locator(".pick-button .clipped"))
    assert name["right"] - name["left"] > 40


@pytest.mark.slow
async def test_an_empty_chat_begins_at_its_greeting_however_low_the_window(chat: Chat) -> None:
    await chat.page.set_viewport_size({"width": 390, "height": 420})
    await chat.open()
    greeting = chat.page.get_by_role("heading", name="What would you like to know?")
    await expect(greeting).to_be_in_viewport(ratio=1)
    latest = chat.page.get_by_role("button", name="To the latest")
    await chat.page.locator("#conversation").hover()
    await chat.page.mouse.wheel(0, 300)
    await expect(greeting).not_to_be_in_viewport()
    await chat.page.mouse.wheel(0, -100)
    await expect(latest).to_have_count(0)

    await exchange(chat, ("How?", "So. " * 400))
    await expect(chat.page.get_by_role("button", name="Answer again")).to_be_in_viewport()
