"""Signed addresses of previews, and the second origin that answers them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from antiphon.client.async_events import AsyncEvents
from antiphon.settings.settings import Settings
from antiphon.types.errors import BadSettings, NotFound
from antiphon.web.artifacts import LIFETIME, Ticket, find_block, read_lines, read_ticket, sign
from antiphon.web.policy import read_policy
from tests.support.terminal.model import Model
from tests.support.web.visiting import Browser, Chat, open_chat

FRAMED = {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": "cross-site", "Origin": None}
CODE = "<h1>Clock</h1>\n<script>tick()</script>"
ANSWER = f"Here:\n\n```html title=Clock\n{CODE}\n```\nDone."
TICKET = Ticket(
    owner="local",
    thread_id="thread_1",
    message_id="msg_1",
    start=3,
    end=5,
    digest="0",
    kind="html",
    scripts=True,
    page="http://localhost:8000",
    expires_at=1000,
)
SECRET = b"k" * 32


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    async with Model() as model:
        yield model


def with_model(model: Model) -> dict[str, Any]:
    """Return settings with which this model answers."""
    return {"model": "told", "base_url": model.url}


@pytest.fixture
async def chat(model: Model) -> AsyncIterator[Chat]:
    async with open_chat(**with_model(model)) as chat:
        yield chat


async def store_answer(
    chat: Chat, model: Model, owner: str = "local", text: str = ANSWER
) -> tuple[str, str]:
    """Have the model answer this; return the ids of the thread and of the run."""
    client = chat.site.client_for_owner(owner)
    thread = await client.create_thread()
    model.will_say(text)
    result = await client.ask("A clock, please.", thread_id=thread.id)
    return thread.id, result.run_id


async def request_preview(browser: Browser, thread: str, answer: str, **body: Any) -> TestResponse:
    request = {"code": CODE, "scripts": True, **body}
    return await browser.post(f"/api/threads/{thread}/previews/{answer}", request)


def frame_of(chat: Chat, address: str) -> tuple[Browser, str]:
    """Return a browser without cookies at the origin of this address, and the path there."""
    scheme, _, rest = address.partition("://")
    host, _, path = rest.partition("/")
    return chat.browser(f"{scheme}://{host}"), f"/{path}"


async def open_frame(chat: Chat, address: str) -> TestResponse:
    browser, path = frame_of(chat, address)
    return await browser.get(path, FRAMED)


async def test_a_block_is_shown_at_the_second_origin_under_a_closed_policy(
    chat: Chat, model: Model
) -> None:
    thread, answer = await store_answer(chat, model)
    browser = await chat.browser().arrive()
    preview = (await request_preview(browser, thread, answer)).json
    assert preview["address"].startswith("http://artifacts.localhost:8000/artifact/")
    assert preview["seconds"] == LIFETIME

    response = await open_frame(chat, preview["address"])
    policy = response.headers["Content-Security-Policy"].split("; ")
    assert (response.status_code, response.text) == (200, CODE)
    assert response.mimetype == "text/html"
    assert policy[:2] == ["sandbox allow-scripts", "default-src 'none'"]
    assert "connect-src 'none'" in policy
    assert policy[-1] == "frame-ancestors http://localhost:8000"
    assert response.headers["Connection-Allowlist"] == "()"
    assert response.headers["Origin-Agent-Cluster"] == "?1"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert "camera=()" in response.headers["Permissions-Policy"]
    assert "Set-Cookie" not in response.headers
    assert "X-Frame-Options" not in response.headers


async def test_a_block_that_was_cut_is_shown_with_its_rest(chat: Chat, model: Model) -> None:
    client = chat.site.client
    thread = await client.create_thread()
    runs: list[str] = []
    half = len(ANSWER) // 2

    async def read_to_end(events: AsyncEvents) -> str:
        async for _ in events:
            pass
        return str(events.run_id)

    for question, text, reason in (
        ("A clock, please.", ANSWER[:half], "length"),
        (None, ANSWER[half:], "stop"),
    ):
        events = client.converse(
            question, thread_id=thread.id, continues=question is None, raise_on_failure=False
        )
        read_task = asyncio.create_task(read_to_end(events))
        reply = await model.next_request()
        await reply.say(text)
        await reply.end(reason)
        runs.append(await read_task)
    branch = await client.fork_thread(thread.id)
    copied_id = (await client.list_messages(branch.id)).data[1].id
    browser = await chat.browser().arrive()

    for thread_id, shown_id in ((thread.id, runs[-1]), (branch.id, copied_id)):
        preview = (await request_preview(browser, thread_id, shown_id)).json
        response = await open_frame(chat, preview["address"])
        assert (response.status_code, response.text) == (200, CODE)


async def test_scripts_run_only_on_request_and_never_in_a_picture(chat: Chat, model: Model) -> None:
    browser = await chat.browser().arrive()
    thread, answer = await store_answer(chat, model)
    static_html = (await request_preview(browser, thread, answer, scripts=False)).json["address"]
    picture = "<svg><script>tick()</script></svg>"
    thread, answer = await store_answer(chat, model, text=f"~~~svg\n{picture}\n~~~")
    svg = (await request_preview(browser, thread, answer, code=picture)).json["address"]

    for address in (static_html, svg):
        policy = (await open_frame(chat, address)).headers["Content-Security-Policy"]
        assert policy.startswith("sandbox; default-src 'none'")
        assert "script-src" not in policy


async def test_a_diagram_has_only_the_scripts_of_the_chat_and_its_text_is_escaped(
    chat: Chat, model: Model
) -> None:
    code = "graph TD\n  A --> B[</pre><script>1</script>]"
    thread, answer = await store_answer(chat, model, text=f"```mermaid\n{code}\n```")
    browser = await chat.browser().arrive()
    address = (await request_preview(browser, thread, answer, code=code)).json["address"]
    response = await open_frame(chat, address)
    second_response = await open_frame(chat, address)
    policy = response.headers["Content-Security-Policy"]

    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert policy != second_response.headers["Content-Security-Policy"]
    assert "<script>1" not in response.text
    second_origin, _ = frame_of(chat, address)
    script = await second_origin.get("/artifact/mermaid.js", {**FRAMED, "Sec-Fetch-Dest": "script"})
    assert script.status_code == 200
    assert b"mermaid" in script.data[-400:]
    assert (await browser.get("/artifact/mermaid.js")).status_code == 421
    page = (await browser.get("/")).text
    version = page.partition("/static/")[2].partition("/")[0]
    assert (await browser.get(f"/static/{version}/chat/vendor/mermaid.js")).status_code == 404


async def test_the_page_may_frame_the_second_origin_and_knows_of_it(chat: Chat) -> None:
    browser = await chat.browser().arrive()

    page = (await browser.get("/")).headers["Content-Security-Policy"]
    assert page.endswith("; frame-src http://artifacts.localhost:8000")
    assert (await browser.get("/api/me")).json["previews"] is True


async def test_the_two_origins_serve_nothing_of_each_other(chat: Chat, model: Model) -> None:
    thread, answer = await store_answer(chat, model)
    address = (await request_preview(await chat.browser().arrive(), thread, answer)).json["address"]
    second, path = frame_of(chat, address)

    for other_path in (
        "/",
        "/api/me",
        "/api/threads",
        "/static/x/chat/main.mjs",
        "/login",
        "/nothing",
    ):
        refusal = await second.get(other_path, FRAMED)
        assert refusal.status_code == 421, other_path
        assert "Set-Cookie" not in refusal.headers
    response = await chat.browser().get(path, FRAMED)
    assert response.status_code == 421
    assert "tick" not in response.text


@pytest.mark.parametrize("destination", [None, "document", "script", "empty", "embed", "object"])
async def test_only_a_frame_is_answered(chat: Chat, model: Model, destination: str | None) -> None:
    thread, answer = await store_answer(chat, model)
    address = (await request_preview(await chat.browser().arrive(), thread, answer)).json["address"]
    browser, path = frame_of(chat, address)

    refusal = await browser.get(path, {**FRAMED, "Sec-Fetch-Dest": destination})
    assert refusal.status_code == 403
    assert "tick" not in refusal.text


async def test_a_forged_or_changed_address_is_refused(chat: Chat, model: Model) -> None:
    thread, answer = await store_answer(chat, model)
    address = (await request_preview(await chat.browser().arrive(), thread, answer)).json["address"]
    base, _, signed_ticket = address.rpartition("/")
    content, _, signature = signed_ticket.partition(".")
    forgeries = [
        *(f"{content}.{signature[:-2]}AA", f"{content[:-4]}AAAA.{signature}", content, "x.y"),
        *(f"{content}.", f".{signature}", "é.é", sign(TICKET, b"another"), "A" * 5000),
    ]

    for forgery in forgeries:
        assert (await open_frame(chat, f"{base}/{forgery}")).status_code == 404, forgery
    assert (await open_frame(chat, address)).status_code == 200


async def test_an_address_ends_with_its_thread_and_with_its_block(chat: Chat, model: Model) -> None:
    thread, answer = await store_answer(chat, model)
    address = (await request_preview(await chat.browser().arrive(), thread, answer)).json["address"]
    ticket = read_ticket(address.rpartition("/")[2], chat.site.secret, time.time())
    base = address.rpartition("/")[0]
    other_ticket = sign(msgspec.structs.replace(ticket, start=0), chat.site.secret)

    assert (await open_frame(chat, f"{base}/{other_ticket}")).status_code == 404
    assert (await open_frame(chat, address)).status_code == 200
    await chat.site.client.delete_thread(thread)
    assert (await open_frame(chat, address)).status_code == 404


async def test_nobody_gets_an_address_for_the_answers_of_others(model: Model) -> None:
    async with open_chat(
        login="password", allowed_hosts=("chat.lan",), **with_model(model)
    ) as chat:
        ann = await chat.person("Ann")
        await chat.person("Bob")
        thread, answer = await store_answer(chat, model, ann.id)
        at_ann = await chat.browser().log_in("Ann")
        at_bob = await chat.browser().log_in("Bob")

        assert (await request_preview(at_bob, thread, answer)).status_code == 404
        address = (await request_preview(at_ann, thread, answer)).json["address"]
        ticket = read_ticket(address.rpartition("/")[2], chat.site.secret, time.time())
        as_bob = msgspec.structs.replace(ticket, owner="person_other")
        base = address.rpartition("/")[0]
        assert (
            await open_frame(chat, f"{base}/{sign(as_bob, chat.site.secret)}")
        ).status_code == 404
        assert (await open_frame(chat, address)).status_code == 200


@pytest.mark.parametrize("code", ["<b>not there</b>", "Done.", "Here:", f"{CODE}\n```\nDone."])
async def test_only_a_block_of_the_answer_is_signed(chat: Chat, model: Model, code: str) -> None:
    thread, answer = await store_answer(chat, model)

    refusal = await request_preview(await chat.browser().arrive(), thread, answer, code=code)
    assert refusal.status_code == 404
    assert "no such artifact" in refusal.text


async def test_without_a_second_origin_no_address_is_given_out(model: Model) -> None:
    async with open_chat(public_url="https://chat.example.org", **with_model(model)) as chat:
        thread, answer = await store_answer(chat, model)
        browser = await chat.browser("https://chat.example.org").arrive()

        refusal = await request_preview(browser, thread, answer)
        assert refusal.status_code == 422
        assert "artifact_origin" in refusal.text
        assert (await browser.get("/api/me")).json["previews"] is False
        policy = (await browser.get("/")).headers["Content-Security-Policy"]
        assert "frame-src" not in policy


async def test_a_configured_origin_is_used_under_every_name(model: Model) -> None:
    public_url, artifact_origin = "https://chat.example.org", "https://artifacts.example.net"
    async with open_chat(
        public_url=public_url, artifact_origin=f"{artifact_origin}/", **with_model(model)
    ) as chat:
        thread, answer = await store_answer(chat, model)
        address = (
            await request_preview(await chat.browser(public_url).arrive(), thread, answer)
        ).json["address"]

        response = await open_frame(chat, address)
        assert address.startswith(f"{artifact_origin}/artifact/")
        assert response.headers["Content-Security-Policy"].endswith(f"frame-ancestors {public_url}")
        local = await chat.browser("http://artifacts.localhost:8000").get("/", FRAMED)
        assert local.status_code == 421


@pytest.mark.parametrize(
    ("origin", "complaint"),
    [
        ("http://artifacts.example.org", "over https only"),
        ("https://chat.example.org", "a host name of its own"),
        ("https://chat.example.org:8443", "a host name of its own"),
        ("https://other.lan", "a host name of its own"),
    ],
)
def test_an_origin_that_would_share_cookies_is_refused(origin: str, complaint: str) -> None:
    settings = Settings(
        public_url="https://chat.example.org",
        allowed_hosts=("other.lan",),
        artifact_origin=origin,
    )
    with pytest.raises(BadSettings, match=complaint):
        read_policy(settings)


# Functions without I/O.


def test_an_address_expires() -> None:
    signed_ticket = sign(TICKET, SECRET)

    assert read_ticket(signed_ticket, SECRET, 999.0) == TICKET
    with pytest.raises(NotFound, match="expired"):
        read_ticket(signed_ticket, SECRET, 1000.0)


@pytest.mark.parametrize(
    ("message", "code", "expected"),
    [
        ("```html\na\n```", "a", ("html", "a")),
        ("~~~~HTML x\r\na\r\nb\r\n~~~~", "a\nb", ("html", "a\nb")),
        ("- here:\n\n  ```svg\n  <svg/>\n  ```", "<svg/>", ("svg", "  <svg/>")),
        ("```html\na\n", "a", ("html", "a")),  # cut off
        ("```html\n\na\n\n```", "\na\n\n\n", ("html", "\na")),
        ("```html\n\n```", "\n\n", None),
        ("```python\na\n```", "a", None),
        ("```html\na\nb\n```", "a", None),
        ("````html\na\n```\nb\n`````", "a\n```\nb", ("html", "a\n```\nb")),
        ("````html\na\n```\nb\n````", "a", None),
        ("html\na", "a", None),
        ("", "a", None),
    ],
)
def test_a_block_is_found_by_its_code(
    message: str, code: str, expected: tuple[str, str] | None
) -> None:
    block = find_block(message, code)

    assert (block and (block.kind, block.text)) == expected
    if block:
        assert read_lines(message, block.start, block.end) == block.text


@given(st.text(max_size=200), st.text(min_size=1, max_size=60))
def test_a_block_is_never_text_from_elsewhere(message: str, code: str) -> None:
    block = find_block(message, code)

    assert block is None or "".join(block.text.split()) == "".join(code.split())
