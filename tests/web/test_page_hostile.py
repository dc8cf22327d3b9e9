"""Words of strangers in every place of the page that shows them: none of them acts."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.async_api import Browser, expect

from tests.support.web.chats import Chat, chatting

MARKUP = '"><img src=//evil.example/x onerror=alert(1)><script>alert(2)</script>{title}'
NAMES = ("__proto__", "constructor", "toString", "hasOwnProperty")
HOSTILE_KEYS = json.dumps({"a": MARKUP, "polluted": 1}).replace('"a"', '"__proto__"')
TOOLS = """
from antiphon import tool


@tool
def constructor(at: str = "") -> dict[str, object]:
    \"\"\"Return keys that no object should have.\"\"\"
    return {"__proto__": {"polluted": "yes"}, "constructor": {"prototype": {"polluted": 1}}}
"""
WATCH_ACTIONS = """
window.listened = [];
for (const name of ["alert", "prompt", "confirm", "open"]) {
  window[name] = () => window.listened.push(name);
}
const listen = window.addEventListener;
window.addEventListener = function (kind, ...rest) {
  if (kind === "message") window.listened.push(kind);
  return listen.call(this, kind, ...rest);
};
"""
LIST_ACTIONS = """() => ({
  listened: window.listened,
  cookie: document.cookie,
  polluted: [({}).polluted, ({}).a, ...Object.keys(Object.prototype)].filter(Boolean),
  strange: [...document.querySelectorAll("iframe, object, embed, img, script:not([src])")]
    .map((it) => it.outerHTML),
  workers: navigator.serviceWorker?.controller ?? null,
})"""
NO_ACTION: dict[str, object] = {
    "listened": [],
    "cookie": "",
    "polluted": [],
    "strange": [],
    "workers": None,
}


async def test_no_word_of_a_stranger_acts_wherever_it_is_shown(
    chromium: Browser, tmp_path: Path
) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    flags = ("--no-servers", "--web-title", MARKUP, "--tools", str(tmp_path / "tools.py"))
    async with chatting(chromium, tmp_path, *flags, fresh=True) as chat:
        await chat.context.add_init_script(WATCH_ACTIONS)
        await chat.open()
        await chat.say(MARKUP)
        reply = await chat.model.next_request()
        await reply.think(MARKUP)
        for number, name in enumerate(NAMES):
            arguments = HOSTILE_KEYS if number % 2 else {"at": MARKUP}
            await reply.call("constructor", arguments, id=name, index=number)
        await reply.end("tool_calls")
        await (await chat.model.next_request()).refuse(400, MARKUP)
        await chat.wait_until_idle()
        await expect(chat.page.locator(".message.assistant")).to_contain_text(
            "constructor", timeout=15_000
        )
        await give_hostile_names(chat)

        for path in (f"/t/{chat.thread}", "/assistants", "/admin/usage", "/admin/assistants"):
            await chat.open(path)
            await expect(chat.page.locator("main")).not_to_be_empty()
            assert await chat.page.evaluate(LIST_ACTIONS) == NO_ACTION, path
        await chat.open("/assistants")
        await expect(chat.page.locator("main")).to_contain_text("<script>alert(2)")


async def give_hostile_names(chat: Chat) -> None:
    """Give the thread and an assistant names with markup."""
    me = await (await chat.context.request.get(f"{chat.up.url}/api/me")).json()
    headers = {"X-Antiphon-CSRF": me["csrf"], "Origin": chat.up.url}
    send = chat.context.request
    title = f"{chat.up.url}/api/threads/{chat.thread}"
    assistant = {"name": MARKUP, "instructions": MARKUP, "starters": [MARKUP]}
    for answer in (
        await send.patch(title, data={"title": MARKUP}, headers=headers),
        await send.post(f"{chat.up.url}/api/assistants", data=assistant, headers=headers),
    ):
        assert answer.ok, await answer.text()
