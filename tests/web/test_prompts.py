"""A user's own prompts over the web: kept at the backend, for the user alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon.web.prompts import PURPOSE
from tests.support.web.named import browser_of, many_may_come
from tests.support.web.visiting import Browser, Chat, open_chat

GREET = {"name": "greet", "text": "Greet {{whom}}.", "starter": True}
SUM = {"name": "Summe-1_ä", "text": "Sum it up.", "starter": False}


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    """A web chat without a login."""
    async with open_chat() as chat:
        yield chat


@pytest.fixture
async def browser(chat: Chat) -> Browser:
    return await chat.browser().arrive()


async def save(browser: Browser, data: list[Any], version: str | None = None) -> Any:
    return await browser.open("PUT", "/api/prompts", {"data": data, "version": version})


async def test_prompts_are_kept_in_their_order(browser: Browser, chat: Chat) -> None:
    empty_list = (await browser.get("/api/prompts")).json
    saved_list = (await save(browser, [GREET, SUM])).json
    changed_list = (await save(browser, [SUM], saved_list["version"])).json

    assert empty_list == {"data": [], "version": None}
    assert saved_list["data"] == [GREET, SUM]
    assert (await browser.get("/api/prompts")).json == changed_list
    assert changed_list["data"] == [SUM]
    files = (await chat.site.client.list_files(purpose=PURPOSE)).data
    assert [file.id for file in files] == [changed_list["version"]]


async def test_without_prompts_there_is_no_file(browser: Browser, chat: Chat) -> None:
    saved_list = (await save(browser, [GREET])).json
    emptied_list = (await save(browser, [], saved_list["version"])).json

    assert emptied_list == {"data": [], "version": None}
    assert (await chat.site.client.list_files(purpose=PURPOSE)).data == []


async def test_a_list_that_was_changed_elsewhere_is_not_overwritten(browser: Browser) -> None:
    saved_list = (await save(browser, [GREET])).json
    for version in (None, "file_other"):
        late_save = await save(browser, [SUM], version)
        assert (late_save.status_code, late_save.json["code"]) == (409, "conflict")

    assert (await browser.get("/api/prompts")).json == saved_list


@pytest.mark.parametrize(
    "data",
    [
        [{"name": "", "text": "x"}],
        [{"name": "two words", "text": "x"}],
        [{"name": "line\n", "text": "x"}],
        [{"name": "x" * 41, "text": "x"}],
        [{"name": "x", "text": ""}],
        [{"name": "x", "text": "x" * 8001}],
        [{"name": "x", "text": "a\0b"}],
        [{"name": f"x{number}", "text": "x"} for number in range(101)],
        [{"name": "Same", "text": "x"}, {"name": "same", "text": "y"}],
        "none",
    ],
)
async def test_a_body_that_is_no_list_of_prompts_is_refused(browser: Browser, data: Any) -> None:
    answer = await save(browser, data)

    assert 400 <= answer.status_code < 500
    assert answer.mimetype == "application/problem+json"
    assert (await browser.get("/api/prompts")).json == {"data": [], "version": None}


async def test_a_file_that_another_program_wrote_is_no_list_and_is_replaced(
    browser: Browser, chat: Chat
) -> None:
    bad_file = await chat.site.client.upload_file(b"{", "odd.json", purpose=PURPOSE)
    prompts = (await browser.get("/api/prompts")).json
    saved_list = (await save(browser, [GREET], bad_file.id)).json

    assert prompts == {"data": [], "version": bad_file.id}
    assert saved_list["data"] == [GREET]
    assert len((await chat.site.client.list_files(purpose=PURPOSE)).data) == 1


async def test_prompts_are_their_users_alone() -> None:
    async with many_may_come() as chat:
        ann, bob = await browser_of(chat, "ann"), await browser_of(chat, "bob")
        saved_list = (await save(ann, [GREET])).json
        bobs_prompts = (await bob.get("/api/prompts")).json
        refusal = await save(bob, [SUM], saved_list["version"])

        assert bobs_prompts == {"data": [], "version": None}
        assert refusal.status_code == 409
        assert (await ann.get("/api/prompts")).json == saved_list
