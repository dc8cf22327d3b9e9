"""Assistants over the web: they are created, changed, and shared by links."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from msgspec.structs import replace
from werkzeug.test import TestResponse

from antiphon.types.messages import Tool, ToolSpec
from antiphon.web.assistants import AssistantView, select_tools
from antiphon.web.tools import Toolset
from tests.support.web.named import browser_of, many_may_come
from tests.support.web.visiting import Browser, Chat, open_chat

PIRATE = {
    "name": "Pirate",
    "model": "demo",
    "instructions": "Talk like a pirate.",
    "tools": ["calculate"],
    "mcp_servers": [],
    "starters": ["Where is the treasure?", "Sing!"],
    "max_tool_calls": 5,
    "max_output_tokens": 1000,
}


@pytest.fixture
async def chat_without_login() -> AsyncIterator[Chat]:
    """A web chat without a login."""
    async with open_chat() as chat:
        yield chat


@pytest.fixture
async def browser(chat_without_login: Chat) -> Browser:
    return await chat_without_login.browser().arrive()


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    async with many_may_come() as chat:
        yield chat


async def make_assistant(browser: Browser, **fields: Any) -> dict[str, Any]:
    answer = await browser.post("/api/assistants", {**PIRATE, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json


async def make_link(browser: Browser, assistant: dict[str, Any]) -> str:
    """Make a link to the assistant; return its token."""
    answer = await browser.post(f"/api/assistants/{assistant['id']}/share", {})
    assert answer.json["url"].endswith(f"/a/{answer.json['token']}")
    return answer.json["token"]


async def take_link(browser: Browser, token: str) -> TestResponse:
    return await browser.post(f"/api/shared/{token}", {})


@pytest.mark.parametrize(
    ("tools", "servers", "expected"),
    [
        (None, None, {"plain", "far__a", "far__b", "near__a"}),
        (None, (), {"plain"}),
        (None, ("far",), {"plain", "far__a", "far__b"}),
        ((), None, set()),
        ((), ("far",), {"far__a", "far__b"}),
        (("near__a",), (), {"near__a"}),
        (("near__a",), None, {"near__a"}),
        (("plain", "near__a"), ("far",), {"plain", "near__a", "far__a", "far__b"}),
    ],
)
def test_tools_may_be_selected_by_their_own_name_or_by_their_server(
    tools: tuple[str, ...] | None, servers: tuple[str, ...] | None, expected: set[str]
) -> None:
    class Mixed:
        def tools(self) -> list[Tool]:
            names = ("plain", "far__a", "far__b", "near__a")
            parts = [(name, name.partition("__")) for name in names]
            return [
                Tool(spec=ToolSpec(name), server=server if separator else None, own_name=own_name)
                for name, (server, separator, own_name) in parts
            ]

    card = AssistantView(
        id="a",
        name="",
        model=None,
        instructions=None,
        tools=tools,
        mcp_servers=servers,
        starters=(),
        created_at=1,
        updated_at=1,
    )
    assert {spec.name for spec in select_tools(cast("Toolset", Mixed()), card)} == expected


# A user's own assistants.


async def test_an_assistant_is_kept_as_it_was_made(browser: Browser) -> None:
    assistant = await make_assistant(browser)
    [row] = (await browser.get("/api/assistants")).json["data"]
    detail = (await browser.get(f"/api/assistants/{assistant['id']}")).json

    assert {key: assistant[key] for key in PIRATE} == PIRATE
    assert assistant["shared"] is None
    assert row == detail == assistant


async def test_an_assistant_may_use_all_tools_unless_some_are_named(
    browser: Browser,
) -> None:
    assistant = (await browser.post("/api/assistants", {"name": "Plain"})).json

    assert (assistant["tools"], assistant["mcp_servers"]) == (None, None)
    assert assistant["starters"] == []


async def test_given_fields_change_and_the_rest_stays(browser: Browser) -> None:
    assistant = await make_assistant(browser)
    address = f"/api/assistants/{assistant['id']}"
    await browser.open("PATCH", address, {"starters": ["Ahoy?"], "model": None})
    changed_assistant = (await browser.open("PATCH", address, {"tools": None})).json

    assert changed_assistant["starters"] == ["Ahoy?"]
    assert (
        changed_assistant["model"],
        changed_assistant["tools"],
        changed_assistant["mcp_servers"],
    ) == (None, None, [])
    assert changed_assistant["instructions"] == PIRATE["instructions"]
    assert (changed_assistant["max_tool_calls"], changed_assistant["max_output_tokens"]) == (
        5,
        1000,
    )


async def test_limits_are_changed_and_taken_back_and_other_settings_stay(
    browser: Browser, chat_without_login: Chat
) -> None:
    assistant = await make_assistant(browser)
    stored_assistant = await chat_without_login.site.client.get_assistant(assistant["id"])
    sampling = replace(stored_assistant.sampling, temperature=0.5)
    await chat_without_login.site.client.update_assistant(assistant["id"], sampling=sampling)
    address = f"/api/assistants/{assistant['id']}"
    limits = {"max_tool_calls": 7, "max_output_tokens": None}
    changed_assistant = (await browser.open("PATCH", address, limits)).json
    updated_assistant = await chat_without_login.site.client.get_assistant(assistant["id"])

    assert (changed_assistant["max_tool_calls"], changed_assistant["max_output_tokens"]) == (
        7,
        None,
    )
    assert (
        updated_assistant.sampling.temperature,
        updated_assistant.sampling.max_output_tokens,
    ) == (0.5, None)


async def test_a_deleted_assistant_is_gone(browser: Browser) -> None:
    assistant = await make_assistant(browser)
    address = f"/api/assistants/{assistant['id']}"
    delete_response = await browser.open("DELETE", address)

    assert delete_response.json["deleted"] is True
    assert (await browser.get(address)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"name": 7},
        {"starters": ["x" * 301]},
        {"starters": ["x"] * 7},
        {"tools": ["x" * 128] * 40},
        {"tools": ["x" * 129]},
        {"name": "a\0b"},
        {"model": "nobody:nothing"},
        {"max_tool_calls": 0},
        {"max_output_tokens": -1},
        [],
    ],
)
async def test_a_body_that_is_no_assistant_is_refused(browser: Browser, body: Any) -> None:
    answer = await browser.post("/api/assistants", body)

    assert 400 <= answer.status_code < 500
    assert answer.mimetype == "application/problem+json"


async def test_servers_and_tools_of_a_body_are_names_and_nothing_else(browser: Browser) -> None:
    command = {"name": "x", "command": "touch /tmp/x"}
    answer = await browser.post("/api/assistants", {"mcp_servers": [command]})

    assert answer.status_code == 422


async def test_a_run_is_offered_the_tools_that_its_assistant_may_use(
    browser: Browser, chat_without_login: Chat
) -> None:
    limited_assistant = await make_assistant(browser, tools=["calculate", "gone"])
    unlimited_assistant = await make_assistant(browser, tools=None)
    for assistant in (limited_assistant, unlimited_assistant):
        message = {"content": "Hi", "assistant_id": assistant["id"]}
        await browser.post("/api/messages/process", message)
    newest_run, previous_run = (await chat_without_login.site.client.list_runs(limit=2)).data

    assert [spec.name for spec in previous_run.tools] == ["calculate"]
    assert {"calculate", "current_time"} < {spec.name for spec in newest_run.tools}
    assert previous_run.instructions == PIRATE["instructions"]


async def test_a_message_to_an_assistant_that_does_not_exist_is_refused(
    browser: Browser, chat_without_login: Chat
) -> None:
    message = {"content": "Hi", "assistant_id": "asst_gone"}
    answer = await browser.post("/api/messages/process", message)

    assert answer.status_code == 404
    assert not (await chat_without_login.site.client.list_threads()).data


# Shared assistants.


async def test_a_link_shows_a_card_and_gives_a_copy(chat: Chat) -> None:
    ann, bob = await browser_of(chat, "ann"), await browser_of(chat, "bob")
    assistant = await make_assistant(ann)
    token = await make_link(ann, assistant)
    card = (await bob.get(f"/api/shared/{token}")).json
    copy = (await take_link(bob, token)).json

    assert card == {
        "name": "Pirate",
        "model": "demo",
        "starters": PIRATE["starters"],
        "by": "ann",
    }
    assert {key: copy[key] for key in PIRATE} == PIRATE
    assert copy["id"] != assistant["id"]
    assert copy["shared"] is None


async def test_a_copy_belongs_to_its_user_and_is_the_same_each_time(chat: Chat) -> None:
    ann, bob = await browser_of(chat, "ann"), await browser_of(chat, "bob")
    assistant = await make_assistant(ann)
    token = await make_link(ann, assistant)
    copy = (await take_link(bob, token)).json
    await bob.open("PATCH", f"/api/assistants/{copy['id']}", {"name": "Parrot"})
    await ann.open("PATCH", f"/api/assistants/{assistant['id']}", {"instructions": "Rhyme."})
    second_copy = (await take_link(bob, token)).json

    assert (second_copy["id"], second_copy["name"]) == (copy["id"], "Parrot")
    assert second_copy["instructions"] == PIRATE["instructions"]
    assert len((await bob.get("/api/assistants")).json["data"]) == 1
    assert (await ann.get(f"/api/assistants/{assistant['id']}")).json["name"] == "Pirate"


async def test_an_author_who_opens_their_own_link_gets_their_assistant(chat: Chat) -> None:
    ann = await browser_of(chat, "ann")
    assistant = await make_assistant(ann)
    opened_assistant = (await take_link(ann, await make_link(ann, assistant))).json

    assert opened_assistant["id"] == assistant["id"]
    assert len((await ann.get("/api/assistants")).json["data"]) == 1


async def test_a_link_is_the_same_until_it_is_taken_back_and_then_leads_nowhere(
    chat: Chat,
) -> None:
    ann, bob = await browser_of(chat, "ann"), await browser_of(chat, "bob")
    assistant = await make_assistant(ann)
    address = f"/api/assistants/{assistant['id']}"
    token = await make_link(ann, assistant)
    assert await make_link(ann, assistant) == token
    assert (await ann.get(address)).json["shared"] == token
    unshared_assistant = (await ann.open("DELETE", f"{address}/share")).json
    second_token = await make_link(ann, assistant)

    assert unshared_assistant["shared"] is None
    assert second_token != token
    for answer in (await bob.get(f"/api/shared/{token}"), await take_link(bob, token)):
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")


async def test_a_link_begins_as_the_address_that_the_browser_has_open(chat: Chat) -> None:
    through_proxy = {
        "X-Forwarded-User": "ann",
        "X-Forwarded-Proto": "https",
        "Origin": "https://localhost:8000",
    }
    ann = await chat.browser(headers=through_proxy).arrive()
    assistant = await make_assistant(ann)
    answer = await ann.post(f"/api/assistants/{assistant['id']}/share", {})

    assert answer.json["url"] == f"https://localhost:8000/a/{answer.json['token']}"


async def test_the_link_of_a_deleted_assistant_leads_nowhere(chat: Chat) -> None:
    ann, bob = await browser_of(chat, "ann"), await browser_of(chat, "bob")
    assistant = await make_assistant(ann)
    token = await make_link(ann, assistant)
    await ann.open("DELETE", f"/api/assistants/{assistant['id']}")

    assert (await take_link(bob, token)).status_code == 404


async def test_a_forged_link_leads_nowhere(chat: Chat) -> None:
    ann, bob = await browser_of(chat, "ann"), await browser_of(chat, "bob")
    token = await make_link(ann, await make_assistant(ann))
    other_letter = "B" if token[5] != "B" else "C"
    for forged_token in (
        token[:5] + other_letter + token[6:],
        token[:-2],
        token + "AAAA",
        "x",
        "%00",
        "é" * 9,
    ):
        answer = await bob.get(f"/api/shared/{forged_token}")
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")


async def test_an_assistant_of_another_person_is_unknown_but_for_its_link(chat: Chat) -> None:
    ann, bob = await browser_of(chat, "ann"), await browser_of(chat, "bob")
    address = f"/api/assistants/{(await make_assistant(ann))['id']}"

    for answer in (
        await bob.get(address),
        await bob.open("PATCH", address, {"name": "mine"}),
        await bob.open("DELETE", address),
        await bob.post(f"{address}/share", {}),
        await bob.open("DELETE", f"{address}/share"),
    ):
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert (await ann.get(address)).json["name"] == "Pirate"
