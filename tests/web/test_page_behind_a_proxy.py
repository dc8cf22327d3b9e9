"""A user whom a proxy names needs no login, and may send a limited number of messages a minute."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Browser, expect

from tests.support.terminal.model import Model
from tests.support.web.browser import open_context
from tests.support.web.chats import WATCH, Chat, Installation


async def test_a_user_who_sends_too_many_messages_in_a_minute_is_told_so_and_loses_nothing(
    chromium: Browser, tmp_path: Path
) -> None:
    login = ("--login", "proxy", "--trusted-proxies", "127.0.0.1", "--web-rate", "1")
    async with Model() as model:
        flags = ("--base-url", model.url, "--model", "told", "--no-servers", *login)
        async with Installation(tmp_path, *flags) as up, open_context(chromium) as context:
            await context.set_extra_http_headers({"X-Forwarded-User": "bo"})
            await context.add_init_script(WATCH)
            chat = Chat(up, model, context, await context.new_page())
            await chat.open()
            model.will_say("First.")
            await chat.say("One")
            await chat.sees("First.")
            await chat.wait_until_idle()
            await chat.say("Two")
            await expect(chat.asked.nth(1).get_by_role("alert")).to_contain_text("messages")
            await expect(chat.asked.nth(1)).to_contain_text("sent by itself")
            await chat.page.reload()
            await expect(chat.asked.nth(1)).to_contain_text("Two")
            await expect(chat.asked.nth(1).get_by_role("alert")).to_contain_text("messages")

            assert len(model.requests) == 1
            await chat.faultless()
