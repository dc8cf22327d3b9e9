"""A session that another tab has renewed: the page goes on with it."""

from __future__ import annotations

from tests.support.web.chats import Chat


async def test_a_tab_goes_on_with_the_session_that_another_tab_has_renewed(chat: Chat) -> None:
    chat.model.will_say("Well.")
    await chat.say("Hello")
    await chat.settled()
    await chat.context.clear_cookies()
    await chat.tab()

    await chat.page.evaluate(RENAME, chat.thread)
    saved = await chat.context.request.get(f"{chat.up.url}/api/threads/{chat.thread}")

    assert (await saved.json())["title"] == "Another name"


RENAME = """async (id) => {
  const base = document.querySelector('script[src$="main.mjs"]').src.replace("main.mjs", "");
  const { patch } = await import(base + "api.mjs");
  await patch(`/api/threads/${id}`, { title: "Another name" });
}"""
