"""Each view of the page can be read and used by everybody: axe-core has no findings.

The short tests check each view once by all rules, and its colours in the dark theme; the long ones
check everything in all themes, on a phone too. Views of the administration are slow.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings, set_size, set_theme, wider
from tests.support.web.chats import Chat, chatting

WIDE, PHONE, NARROW = (1280, 800), (390, 844), (320, 640)
ANSWER = """A *list*, a table and code:

- one
- [two](https://example.org)

| a | b |
|---|---|
| 1 | 2 |

```python
print("hello")
```
"""
SECTIONS = (
    *("people", "projects", "usage", "runs", "keys", "provider_keys", "schedules", "webhooks"),
    *("owners", "models", "assistants", "servers", "acts"),
)
THEMES = ("light", "dark", "contrast")
TOOLS = '''
from antiphon import Blob, ToolResult, tool


@tool
def draw(at: str) -> ToolResult:
    """Draw a place."""
    picture = Blob(media_type="text/csv", data=b"a,b", name="sea.csv")
    return ToolResult("Drawn. " * 400, content=(picture,))


@tool
def fail(at: str) -> str:
    """Look at what is not there."""
    raise ValueError("There is no shore.")


@tool
def shell(command: str) -> str:
    """Run a command."""
    return "ran"
'''


@pytest_asyncio.fixture(loop_scope="session")
async def used_chat(chromium: Browser, tmp_path: Path) -> AsyncIterator[Chat]:
    """A page with a thread, an assistant and a key."""
    async with chatting(chromium, tmp_path, "--no-servers") as chat:
        await fill_chat(chat)
        yield chat


async def fill_chat(chat: Chat) -> None:
    await chat.say("Show me what you can write.")
    reply = await chat.model.next_request()
    await reply.think("A little of everything.")
    await reply.answer(ANSWER)
    await chat.wait_until_idle()
    me = await (await chat.context.request.get(f"{chat.up.url}/api/me")).json()
    headers = {"Origin": chat.up.url, "X-Antiphon-CSRF": me["csrf"]}
    bodies = {
        "assistants": {"name": "Poet", "instructions": "Verse only.", "starters": ["On rain"]},
        "admin/keys": {
            "name": "Report",
            "owner": "local",
            "scopes": ["read"],
            "limits": {"requests_per_minute": 60, "runs_at_once": 4, "tokens_per_day": 100_000},
        },
        "admin/projects": {"name": "Moon"},
        "admin/webhooks": {"owner": "local", "url": "https://hooks.invalid/antiphon"},
        "admin/schedules": {"owner": "local", "message": "Report.", "cron": "@daily"},
    }
    for kind, body in bodies.items():
        address = f"{chat.up.url}/api/{kind}"
        answer = await chat.context.request.post(address, data=body, headers=headers)
        assert answer.ok, await answer.text()
    address = f"{chat.up.url}/api/admin/provider_keys/openai/local"
    key = {"key": "sk-0123456789-abcdefgh", "base_url": "https://gateway.example.org/v1"}
    answer = await chat.context.request.put(address, data=key, headers=headers)
    assert answer.ok, await answer.text()


async def walk_views(chat: Chat) -> AsyncIterator[str]:
    """Open the views of conversations in turn, and yield the name of each."""
    await chat.sees("A list, a table and code")
    thread = f"/t/{chat.thread}"
    yield thread
    await open_address(chat, "/", "#composer")
    yield "/"
    dialogs = chat.page.locator(".topbar button[aria-haspopup=dialog]")
    await dialogs.last.click()
    yield "instructions"
    await chat.page.keyboard.press("Escape")
    await dialogs.first.click()
    await chat.page.locator("dialog input[name=every_tool]").uncheck()
    yield "options"
    await chat.page.keyboard.press("Escape")
    await chat.page.locator(".starters input[type=checkbox]").check()
    await expect(chat.page.locator(".temporary-mark")).to_be_visible()
    yield "a temporary chat"
    await open_address(chat, thread, 'a[href^="/r/"]')
    await chat.page.locator('a[href^="/r/"]').click()
    await expect(chat.page.locator(".step").first).to_be_visible()
    yield "a run"
    await open_address(chat, "/assistants", ".assistant")
    yield "/assistants"
    await open_address(chat, "/assistants/new", ".editor")
    yield "/assistants/new"
    token = await share(chat)
    await open_address(chat, f"/shared/{token}", ".shared-message")
    yield "a shared conversation"
    await open_address(chat, "/nowhere", ".lost")
    yield "/nowhere"


async def walk_sections(chat: Chat) -> AsyncIterator[str]:
    """Open the views of the administration in turn, and yield the address of each."""
    await open_address(chat, "/admin", ".page h2")
    for section in SECTIONS:
        link = chat.page.locator(f'.sections a[href="/admin/{section}"]')
        if not await link.is_visible():
            await chat.page.locator(".sections-button").click()
        await link.click()
        await expect(link).to_have_attribute("aria-current", "page")
        await expect(chat.page.locator(".waiting")).to_have_count(0)
        yield f"/admin/{section}"


async def share(chat: Chat) -> str:
    """Make a link to the thread of the page; return its token."""
    me = await (await chat.context.request.get(f"{chat.up.url}/api/me")).json()
    headers = {"Origin": chat.up.url, "X-Antiphon-CSRF": me["csrf"]}
    threads = await (await chat.context.request.get(f"{chat.up.url}/api/threads")).json()
    address = f"{chat.up.url}/api/threads/{threads['data'][0]['id']}/shares"
    answer = await chat.context.request.post(address, data={}, headers=headers)
    return str((await answer.json())["url"].rpartition("/")[2])


async def open_address(chat: Chat, address: str, sign: str) -> None:
    await chat.page.goto(chat.up.url + address)
    await expect(chat.page.locator(sign).first).to_be_visible()


VIEWS = [
    pytest.param(walk_views, id="conversations"),
    pytest.param(walk_sections, id="administration", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("walk", VIEWS)
async def test_every_view_is_faultless_and_fits_the_narrowest_phone(
    used_chat: Chat, axe: str, walk: Callable[[Chat], AsyncIterator[str]]
) -> None:
    german = '{"language": "de"}'  # which has the longest words
    await used_chat.page.evaluate("prefs => localStorage.setItem('antiphon.prefs', prefs)", german)
    await used_chat.page.reload()
    await expect(used_chat.page.locator("html")).to_have_attribute("lang", "de")
    faults_by_view = {}
    async for view in walk(used_chat):
        await set_size(used_chat.page, WIDE)
        faults_by_view[view] = await findings(used_chat.page, axe)
        await set_theme(used_chat.page, "dark")
        faults_by_view[f"{view}, dark"] = await findings(used_chat.page, axe, "color-contrast")
        await set_theme(used_chat.page, "light")
        await set_size(used_chat.page, NARROW)
        faults_by_view[f"{view}, narrow"] = await wider(used_chat.page)

    assert {view: faults for view, faults in faults_by_view.items() if faults} == {}


@pytest.mark.slow
async def test_the_sidebar_its_menu_and_the_settings_are_faultless(
    used_chat: Chat, axe: str
) -> None:
    page = used_chat.page
    await set_size(used_chat.page, PHONE)
    await open_address(used_chat, "/", "#composer")
    await page.get_by_role("button", name="Show sidebar").click()
    await page.locator(".thread").get_by_role("button").click()
    await expect(page.get_by_role("menu")).to_be_visible()
    faults = await findings(page, axe)
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Settings").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    faults += await findings(page, axe)

    assert faults == []


@pytest.mark.slow
async def test_tags_and_marked_threads_are_faultless_in_all_colours(
    used_chat: Chat, axe: str
) -> None:
    page = used_chat.page
    await set_size(used_chat.page, PHONE)
    await open_address(used_chat, "/", "#composer")
    await page.get_by_role("button", name="Show sidebar").click()
    await page.locator(".thread").get_by_role("button").click()
    await page.get_by_role("menuitem", name="Tags").click()
    await page.get_by_role("textbox", name="Tags, separated by commas").fill("work, two words")
    await page.keyboard.press("Enter")
    await page.locator(".side-filters .chip", has_text="work").click()
    await page.get_by_role("button", name="Select", exact=True).click()
    await page.locator(".thread").get_by_role("checkbox").check()
    bar = page.get_by_role("group", name="1 selected")
    await bar.get_by_role("button", name="Tags").click()
    faults = await findings(page, axe) + await wider(page)
    for theme in THEMES:
        await set_theme(used_chat.page, theme)
        faults += await findings(page, axe, "color-contrast")

    assert faults == []


async def test_calls_and_questions_are_faultless_in_all_colours_and_on_a_phone(
    chromium: Browser, tmp_path: Path, axe: str
) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    flags = ("--no-servers", "--tools", "tools.py", "--allow", "draw", "--allow", "fail")
    async with chatting(chromium, tmp_path, *flags, "--ask", "shell") as chat:
        await chat.say("Look.")
        reply = await chat.model.next_request()
        await reply.think("Where?")
        await reply.call("draw", {"at": "the sea " * 30}, id="c1")
        await reply.call("fail", {"at": "shore"}, id="c2", index=1)
        await reply.call("shell", {"command": "rm \u202e -rf /"}, id="c3", index=2)
        await reply.end("tool_calls")
        question = chat.page.locator(".approval")
        await expect(question).to_be_visible()
        await question.get_by_role("button", name="Edit").click()
        # The field takes the focus once it is drawn; the next message must not be typed before.
        await expect(question.get_by_label("Arguments, as you want them")).to_be_focused()
        await chat.say("And this waits.")
        await expect(chat.asked.nth(1)).to_contain_text("Will be sent")
        faults_by_view = {"asked": await _check_view(chat, axe)}
        await question.get_by_role("button", name="Refuse").first.click()
        await (await chat.model.next_request()).refuse(400, "no such thing")
        await (await chat.model.next_request()).answer("# Done\n\n### Well")
        await chat.sees("Well")
        await chat.wait_until_idle()
        await expect(chat.page.locator("a[download]")).to_have_count(1)
        faults_by_view["ended"] = await _check_view(chat, axe)

    assert {view: faults for view, faults in faults_by_view.items() if faults} == {}


async def _check_view(chat: Chat, axe: str) -> list[str]:
    """Return the faults of the current view, in all colours and on the narrowest phone."""
    faults = await findings(chat.page, axe)
    for theme in THEMES:
        await set_theme(chat.page, theme)
        faults += await findings(chat.page, axe, "color-contrast")
    await set_size(chat.page, NARROW)
    faults += await findings(chat.page, axe) + await wider(chat.page)
    await set_size(chat.page, WIDE)
    return faults


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("window", [WIDE, PHONE, NARROW])
@pytest.mark.parametrize("walk", [walk_views, walk_sections])
async def test_every_view_is_faultless_in_all_colours_and_sizes(
    used_chat: Chat,
    axe: str,
    walk: Callable[[Chat], AsyncIterator[str]],
    theme: str,
    window: tuple[int, int],
) -> None:
    await set_size(used_chat.page, window)
    faults_by_view = {}
    async for view in walk(used_chat):
        await set_theme(used_chat.page, theme)
        faults_by_view[view] = await findings(used_chat.page, axe) + await wider(used_chat.page)

    assert {view: faults for view, faults in faults_by_view.items() if faults} == {}
