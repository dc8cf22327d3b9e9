"""Logins by a proxy in front that names the user: the header counts from this proxy alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.web.visiting import Browser, Chat, Headers, open_chat

PROXY, STRANGER = "10.0.0.1", "198.51.100.7"
SECONDS_TO_END = 60.0


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    async with open_chat(
        login="proxy",
        allowed_hosts=("chat.lan",),
        trusted_proxies=(PROXY, "unix"),
        proxy_user_header="Remote-User",
    ) as chat:
        yield chat


def browser_through(chat: Chat, name: str, peer: str = PROXY) -> Browser:
    return chat.browser("http://chat.lan", peer, {"Remote-User": name})


async def name_of(browser: Browser) -> str:
    """Return the name of the user that the web chat sees."""
    return (await browser.get("/api/me")).json["person"]["name"]


@pytest.mark.parametrize("peer", [PROXY, "", "::ffff:10.0.0.1"])
async def test_a_person_whom_the_proxy_names_is_logged_in_at_once(chat: Chat, peer: str) -> None:
    ann = await browser_through(chat, "ann", peer).arrive()

    assert await name_of(ann) == "ann"
    assert (await ann.post("/api/messages/process", {"content": "hi"})).status_code == 200


async def test_the_same_name_is_the_same_person(chat: Chat) -> None:
    for name in ("ann", "bob", "ann"):
        await browser_through(chat, name).arrive()

    people = (await chat.site.client.list_people()).data
    assert [(person.name, person.role, person.subject) for person in people] == [
        ("ann", "user", "proxy|ann"),
        ("bob", "user", "proxy|bob"),
    ]


@pytest.mark.parametrize("path", ["/", "/api/me", "/healthz", "/static/x/y"])
@pytest.mark.parametrize("peer", [STRANGER, "127.0.0.1", "10.0.0.2"])
async def test_anybody_else_who_names_a_person_is_refused(chat: Chat, path: str, peer: str) -> None:
    refusal = await browser_through(chat, "ann", peer).get(path)

    assert refusal.status_code == 403
    assert "Remote-User" in refusal.json["detail"]


async def test_a_request_past_the_proxy_is_not_logged_in(chat: Chat) -> None:
    cookie = (await browser_through(chat, "ann").arrive()).cookie()

    for peer in (STRANGER, PROXY):
        browser = chat.browser("http://chat.lan", peer).takes(str(cookie))
        assert (await browser.get("/api/me")).status_code == 401


async def test_a_cookie_of_one_person_is_none_of_another(chat: Chat) -> None:
    ann = await browser_through(chat, "ann").arrive()
    bob = browser_through(chat, "bob").takes(str(ann.cookie()))
    bob.csrf = ann.csrf

    assert (await bob.post("/api/logout", {})).status_code == 401
    await bob.arrive()
    assert await name_of(bob) == "bob"
    assert bob.csrf != ann.csrf


@pytest.mark.parametrize(
    "headers",
    [
        {"Remote-User": "ann,bob"},
        {"Remote-User": "ann\x7f"},
        {"Remote-User": "x" * 129},
        {"Remote-User": "ann\u00ad"},
    ],
)
async def test_a_header_that_names_nobody_or_two_is_refused(chat: Chat, headers: Headers) -> None:
    refusal = await chat.browser("http://chat.lan", PROXY, headers).get("/api/me")

    assert refusal.status_code == 403


@pytest.mark.parametrize("name", ["", "   "])
async def test_without_a_name_there_is_nobody(chat: Chat, name: str) -> None:
    assert (await browser_through(chat, name).get("/api/me")).status_code == 401


async def test_names_may_have_any_letters(chat: Chat) -> None:
    sent_name = "Zoë 王".encode().decode("latin-1")  # as a server hands it on

    assert await name_of(await browser_through(chat, sent_name).arrive()) == "Zoë 王"


async def test_a_disabled_person_is_logged_out_within_seconds(chat: Chat) -> None:
    ann = await browser_through(chat, "ann").arrive()
    (person,) = (await chat.site.client.list_people()).data
    await chat.site.client.update_person(person.id, disabled=True)

    async with asyncio.timeout(SECONDS_TO_END):
        while (await ann.get("/api/threads")).status_code == 200:
            await asyncio.sleep(0.1)
    assert (await ann.get("/api/me")).json["code"] == "sign_in_refused"
    assert (await ann.get("/")).status_code == 200


async def test_ending_all_logins_makes_each_browser_log_in_again(chat: Chat) -> None:
    first, second = (
        await browser_through(chat, "ann").arrive(),
        await browser_through(chat, "ann").arrive(),
    )
    await first.post("/api/logout/everywhere", {})

    async with asyncio.timeout(SECONDS_TO_END):
        while (await second.get("/api/threads")).status_code == 200:
            await asyncio.sleep(0.1)
    await second.arrive()
    assert await name_of(second) == "ann"


async def test_with_another_kind_of_login_the_header_means_nothing() -> None:
    async with open_chat(login="password", trusted_proxies=(PROXY,)) as chat:
        browser = chat.browser(peer=PROXY, headers={"X-Forwarded-User": "ann"})

        assert (await browser.get("/api/me")).status_code == 401
