"""The manners of the page: its scrolling, its announcements and its keys."""

from __future__ import annotations

import pytest
from playwright.async_api import Locator, expect

from tests.support.web.accessible import WATCH_FIELD
from tests.support.web.chats import Chat

PARAGRAPHS = "\n\n".join(f"Paragraph {number} of an answer." for number in range(60))


def latest(chat: Chat) -> Locator:
    """Return the button that scrolls to the end."""
    return chat.page.locator(".latest")


async def wait_for_end(chat: Chat) -> None:
    """Wait until the end of the conversation is in view."""
    await chat.wait_until(
        "() => { const it = document.getElementById('conversation');"
        " return it.scrollHeight - it.clientHeight - it.scrollTop <= 1 && it.scrollTop > 0; }"
    )


async def scroll_position(chat: Chat) -> float:
    """Return the pixels above the visible part."""
    above: float = await chat.page.locator("#conversation").evaluate("it => it.scrollTop")
    return above


@pytest.mark.slow
async def test_the_end_stays_in_view_until_the_reader_scrolls_up(chat: Chat) -> None:
    await chat.say("Tell me.")
    reply = await chat.model.next_request()
    await reply.say(PARAGRAPHS)
    await chat.sees("Paragraph 59")
    await wait_for_end(chat)
    await expect(latest(chat)).to_have_count(0)

    await chat.page.locator("#conversation").hover()
    await chat.page.mouse.wheel(0, -30)
    await expect(latest(chat)).to_be_visible()
    position = await scroll_position(chat)
    await reply.say(f"\n\n{PARAGRAPHS}\n\nThe last one.")
    await chat.sees("The last one.")
    await reply.end()
    await chat.wait_until_idle()
    assert await scroll_position(chat) == position

    await latest(chat).click()
    await wait_for_end(chat)
    await expect(latest(chat)).to_have_count(0)


@pytest.mark.slow
async def test_an_answer_is_announced_at_its_begin_and_end_and_never_in_pieces(chat: Chat) -> None:
    regions = "#conversation[aria-live], #conversation[role=log], #conversation [aria-live]"
    await chat.page.evaluate(LISTEN)
    await chat.say("Tell me.")
    reply = await chat.model.next_request()
    await reply.say("It is **forty")
    await chat.sees("forty")
    await expect(chat.page.locator("[data-announced=status]")).to_contain_text("is answering")
    await reply.answer("-two**.")
    await chat.wait_until_idle()

    await expect(chat.page.locator("[data-announced=log]")).to_have_text("It is forty-two.")
    await expect(chat.page.locator("[data-announced=status]")).to_contain_text("complete")
    assert await chat.page.evaluate("window.announced") == [
        "The assistant is answering.",
        "The answer is complete.",
        "It is forty-two.",
    ]
    await expect(chat.page.locator(regions)).to_have_count(0)
    await expect(chat.composer).to_be_focused()


LISTEN = """() => {
  window.announced = [];
  const record = (changes) => changes.forEach(({addedNodes}) =>
    addedNodes.forEach((node) => window.announced.push(node.textContent)));
  for (const region of document.querySelectorAll("[data-announced]"))
    new MutationObserver(record).observe(region, {childList: true, subtree: true});
}"""


async def test_a_sent_message_that_is_edited_takes_the_very_next_key(chat: Chat) -> None:
    await chat.exchange("One", "First")
    await chat.page.evaluate(WATCH_FIELD, ".rewrite textarea")
    await chat.composer.press("ArrowUp")

    assert await chat.page.evaluate("window.fieldWhenShown") == [True, 3, 3]


@pytest.mark.slow
async def test_a_comment_and_a_title_take_the_very_next_key(chat: Chat) -> None:
    await chat.exchange("One", "First")
    await chat.page.evaluate(WATCH_FIELD, ".feedback input")
    await chat.page.get_by_role("button", name="Bad answer").click()
    comment = await chat.page.evaluate("window.fieldWhenShown")
    await chat.page.evaluate(WATCH_FIELD, ".threads li > input")
    await chat.page.locator(".thread").hover()
    await chat.page.locator(".thread").get_by_role("button").click()
    await chat.page.get_by_role("menuitem", name="Rename").click()

    assert comment == [True, 0, 0]
    assert await chat.page.evaluate("window.fieldWhenShown") == [True, 0, 3]


@pytest.mark.slow
async def test_the_sheet_of_keys_opens_closes_and_gives_the_focus_back(chat: Chat) -> None:
    await chat.composer.focus()
    await chat.page.keyboard.press("Control+/")
    sheet = chat.page.get_by_role("dialog", name="Keyboard")
    await expect(sheet).to_contain_text("Stop the answer")
    await chat.page.keyboard.press("Tab")
    await chat.page.keyboard.press("Tab")
    await expect(sheet.locator(".shortcuts")).to_be_focused()  # so that keys scroll it
    await chat.page.keyboard.press("Escape")
    await expect(sheet).to_have_count(0)
    await expect(chat.composer).to_be_focused()

    await chat.page.keyboard.type("?")
    await expect(chat.composer).to_have_value("?")
    await chat.composer.fill("")
    await chat.composer.blur()
    await chat.page.keyboard.press("?")
    await expect(sheet).to_be_visible()


@pytest.mark.slow
async def test_esc_closes_a_dialog_before_it_stops_an_answer(chat: Chat) -> None:
    await chat.say("Tell me.")
    reply = await chat.model.next_request()
    await reply.say("It is ")
    await chat.sees("It is")

    await chat.page.keyboard.press("Control+/")
    await chat.page.keyboard.press("Escape")
    await expect(chat.page.get_by_role("dialog")).to_have_count(0)
    await reply.say("still told.")
    await chat.sees("still told.")
    await chat.page.keyboard.press("Escape")
    await chat.wait_until_idle()

    await expect(chat.answers).to_have_attribute("data-status", "cancelled")


@pytest.mark.slow
async def test_keys_begin_a_chat_search_and_copy(chat: Chat) -> None:
    await chat.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await chat.say("Tell me.")
    await (await chat.model.next_request()).answer("It is **42**.")
    await chat.wait_until_idle()

    await chat.page.keyboard.press("Control+Shift+C")
    await chat.wait_until("async () => await navigator.clipboard.readText() === 'It is **42**.'")
    await chat.page.keyboard.press("Control+k")
    await expect(chat.page.get_by_role("searchbox")).to_be_focused()
    await chat.page.keyboard.press("Control+Shift+O")
    await expect(chat.answers).to_have_count(0)
    await expect(chat.composer).to_be_focused()


@pytest.mark.slow
async def test_targets_are_large_enough_for_fingers_on_a_phone(chat: Chat) -> None:
    await chat.page.set_viewport_size({"width": 360, "height": 700})
    await chat.say("Look.")
    reply = await chat.model.next_request()
    await reply.call("get_flight_times", {"departure": "LAX", "arrival": "JFK"}, id="c0")
    await reply.end("tool_calls")
    await (await chat.model.next_request()).answer("At five.")
    await chat.wait_until_idle()
    await expect(chat.page.locator(".tool")).to_contain_text("16:35")

    assert await chat.page.evaluate(LIST_SMALL_TARGETS) == []
    assert await chat.page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )


LIST_SMALL_TARGETS = """() => [...document.querySelectorAll("main button, main a[href]")]
  .filter((it) => it.checkVisibility() && !it.closest(".visually-hidden"))
  .map((it) => [it.getAttribute("aria-label") ?? it.textContent, it.getBoundingClientRect()])
  .filter(([, {height}]) => height > 0 && height < 44)
  .map(([name, {width, height}]) => `${name}: ${width} x ${height}`)"""

LIST_TRANSITIONS = """() => {
  document.documentElement.dataset.theme = "dark";
  const transitions = document.getAnimations().filter((it) => it instanceof CSSTransition);
  return transitions.map(({effect}) => effect.target.outerHTML.slice(0, 80));
}"""


@pytest.mark.slow
async def test_nothing_moves_for_a_reader_who_prefers_reduced_motion(chat: Chat) -> None:
    await chat.page.emulate_media(reduced_motion="reduce")
    await chat.say("Look.")
    reply = await chat.model.next_request()
    await reply.think("Hm.")
    spinner = chat.page.locator(".reasoning .spinner")

    await expect(spinner).to_be_visible()
    assert await spinner.evaluate("it => getComputedStyle(it).animationIterationCount") == "1"
    await reply.answer("Done.")
    await chat.wait_until_idle()


async def test_a_new_theme_colours_everything_at_once_for_a_reader_who_prefers_reduced_motion(
    chat: Chat,
) -> None:
    await chat.page.emulate_media(reduced_motion="reduce")
    await chat.say("Look.")
    await (await chat.model.next_request()).answer("- One\n- Two")
    await chat.wait_until_idle()

    assert await chat.page.evaluate(LIST_TRANSITIONS) == []
