"""Notifications of the browser while the page is not in view, which a person has asked for."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings
from tests.support.web.chats import Chat

BROWSER = """() => {
  window.notifications = [];
  window.asked = 0;
  window.Notification = class extends EventTarget {
    static permission = "default";
    static async requestPermission() {
      window.asked += 1;
      return (this.permission = window.allows ? "granted" : "denied");
    }
    constructor(title, options) {
      super();
      window.notifications.push([title, options.body]);
    }
  };
}"""
"""A browser that records notifications: the browser of the tests denies and shows none."""
LOOK_AWAY = """() => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


async def answer(chat: Chat, text: str) -> None:
    await chat.say(text)
    await (await chat.model.next_request()).answer("Done.")
    await chat.wait_until_idle()


async def test_a_notification_names_the_chat_and_not_what_was_said(chat: Chat, axe: str) -> None:
    page = chat.page
    await page.evaluate(BROWSER)
    await page.evaluate("window.allows = true")
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_label("Notifications of the browser").check()
    violations = await findings(page, axe)
    await page.keyboard.press("Escape")
    await answer(chat, "In view")
    assert await page.evaluate("window.notifications") == []
    await page.evaluate(LOOK_AWAY)
    await answer(chat, "Another one")
    notifications = await page.evaluate("window.notifications")
    assert notifications == [["Antiphon", "An answer is complete: In view"]]
    assert violations == []

    await page.get_by_role("button", name="Settings").click()
    await page.get_by_label("Notifications of the browser").uncheck()
    await page.keyboard.press("Escape")
    await answer(chat, "And no more")
    assert len(await page.evaluate("window.notifications")) == 1


@pytest.mark.slow
async def test_a_page_asks_for_no_notifications_by_itself_and_says_that_they_are_refused(
    chat: Chat,
) -> None:
    await chat.page.evaluate(BROWSER)
    await answer(chat, "Hello")
    assert await chat.page.evaluate("window.asked") == 0
    await chat.page.get_by_role("button", name="Settings").click()
    box = chat.page.get_by_label("Notifications of the browser")
    for times in (1, 2):
        await box.click()
        await expect(chat.page.get_by_role("dialog").get_by_role("alert")).to_contain_text(
            "does not allow notifications"
        )
        await expect(box).not_to_be_checked()
        assert await chat.page.evaluate("window.asked") == times
