"""Personal instructions and memories over the web: the user's own, and what runs may add."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from antiphon.settings.settings import Settings
from tests.support.terminal.model import Model, Reply
from tests.support.web.named import browser_of, many_may_come
from tests.support.web.served import Served, up
from tests.support.web.visiting import Browser, open_chat

SETTINGS = Settings(database="memory:", model="told")
MESSAGES = "/api/messages/process"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with open_chat() as chat:
        yield await chat.browser().arrive()


async def remember(browser: Browser, text: str) -> Any:
    return (await browser.open("POST", "/api/memories", {"text": text})).json


async def test_settings_and_memories_are_read_changed_and_deleted(browser: Browser) -> None:
    tea = await remember(browser, "Likes tea.")
    await remember(browser, "Speaks Basque.")
    settings = await browser.open("PATCH", "/api/personal", {"instructions": "Be brief."})
    path = f"/api/memories/{tea['id']}"
    change_response = await browser.open("PATCH", path, {"text": "Likes coffee."})
    personal = (await browser.get("/api/personal")).json

    assert settings.json["instructions"] == "Be brief."
    assert change_response.json["text"] == "Likes coffee."
    assert personal["settings"] == settings.json
    assert [each["text"] for each in personal["memories"]] == ["Speaks Basque.", "Likes coffee."]
    assert (await browser.open("DELETE", path)).status_code == 200
    assert (await browser.open("DELETE", path)).status_code == 404
    assert (await browser.open("DELETE", "/api/memories")).json == {"deleted": 1}


@pytest.mark.parametrize("text", ["", " ", "a\nb", "a\u202eb", "x" * 301, None, ["a"]])
async def test_a_text_that_no_memory_can_have_is_refused(browser: Browser, text: Any) -> None:
    answer = await browser.open("POST", "/api/memories", {"text": text})

    assert answer.status_code == 422
    assert (await browser.get("/api/personal")).json["memories"] == []


async def test_nobody_reaches_the_settings_or_memories_of_another_person() -> None:
    async with many_may_come() as chat:
        ann, ben = await browser_of(chat, "ann"), await browser_of(chat, "ben")
        memory = await remember(ann, "Likes tea.")
        await ann.open("PATCH", "/api/personal", {"instructions": "Ann's."})
        path = f"/api/memories/{memory['id']}"

        assert (await ben.open("PATCH", path, {"text": "Taken over."})).status_code == 404
        assert (await ben.open("DELETE", path)).status_code == 404
        assert (await ben.open("DELETE", "/api/memories")).json == {"deleted": 0}
        personal = (await ben.get("/api/personal")).json
        assert (personal["settings"]["instructions"], personal["memories"]) == ("", [])
        assert len((await ann.get("/api/personal")).json["memories"]) == 1


def offered_tools(reply: Reply) -> set[str]:
    return {each["function"]["name"] for each in reply.body.get("tools", ())}


async def ask(web_chat: Served, model: Model, **message: Any) -> set[str]:
    """Send a message; return the tools that the model is offered."""
    async with web_chat.post({"content": "Go", **message}) as stream:
        reply = await model.next_request()
        await reply.answer("Well.")
        await stream.end()
    return offered_tools(reply)


async def test_a_run_may_remember_where_it_has_all_tools_and_memory_is_on() -> None:
    async with (
        Model() as model,
        up(msgspec.structs.replace(SETTINGS, base_url=model.url), []) as web_chat,
    ):
        all_tools = await ask(web_chat, model)
        temporary_tools = await ask(web_chat, model, temporary=True)
        chosen_tools = await ask(web_chat, model, tools=["calculate"])
        no_tools = await ask(web_chat, model, tools=[])
        await web_chat.site.client.update_personal_settings(memory_enabled=False)
        tools_without_memory = await ask(web_chat, model)

    assert "calculate" in temporary_tools
    assert all_tools == temporary_tools | {"remember", "forget"}
    assert tools_without_memory == temporary_tools
    assert (chosen_tools, no_tools) == ({"calculate"}, set())


async def test_what_a_person_approves_is_remembered_and_no_lasting_answer_is_offered() -> None:
    async with (
        Model() as model,
        up(msgspec.structs.replace(SETTINGS, base_url=model.url), []) as web_chat,
        web_chat.post({"content": "I am a vegetarian."}) as stream,
    ):
        reply = await model.next_request()
        await reply.call("remember", {"text": "Is a vegetarian."}, id="c1")
        await reply.end("tool_calls")
        data = (await stream.until("data-approval"))["data"]
        run_id = stream.parts[0]["messageId"]
        answer = {"approved": True, "args_hash": data["argsHash"], "keep": "always"}
        await web_chat.ask(f"/api/runs/{run_id}/approvals/c1", answer)
        last_reply = await model.next_request()
        await last_reply.answer("Noted.")
        await stream.end()
        personal = (await web_chat.http.get("/api/personal")).json()
        grants = (await web_chat.http.get("/api/grants")).json()

    assert data["eachTime"] is True
    assert json.loads(last_reply.messages[-1]["content"])["remembered"] == "Is a vegetarian."
    (memory,) = personal["memories"]
    assert (memory["source"], memory["run_id"]) == ("assistant", run_id)
    assert not any(grants.values())
