"""Permanent grants in the web chat: visible to and revocable by their user alone."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import expect

from antiphon.settings.paths import data_folder
from antiphon.tools.permissions import GrantsFile
from antiphon.tools.questions import ToolIdentity
from antiphon.types.accounts import LOCAL
from antiphon.types.messages import Hints
from antiphon.web.site import grants_file
from tests.support.web.chats import chatting
from tests.support.web.visiting import HERE, Browser, Chat, open_chat


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    async with open_chat(login="proxy", trusted_proxies=(HERE,)) as chat:
        yield chat


async def person(chat: Chat, name: str) -> Browser:
    return await chat.browser(headers={"X-Forwarded-User": name}).arrive()


def tool_identity_of(server: str, tool: str) -> ToolIdentity:
    return ToolIdentity(
        server=server,
        origin="here",
        own_name=tool,
        description=f"It is {tool}.\u202e",
        parameters={},
        hints=Hints(),
    )


def allow(folder: Path, owner: str, *tools: tuple[str, str]) -> GrantsFile:
    file = grants_file(folder, owner)
    file.parent.mkdir(parents=True, exist_ok=True)
    grants = GrantsFile(file)
    grants.add([tool_identity_of(*each) for each in tools])
    return grants


async def test_each_person_sees_and_revokes_their_lasting_permissions(chat: Chat) -> None:
    ann, ben = await person(chat, "ann"), await person(chat, "ben")
    folder = data_folder(os.environ)
    owners = [(await each.get("/api/me")).json["person"]["id"] for each in (ann, ben)]
    tools = (("far", "touch"), ("far", "echo"), ("", "shell"))
    anns_grants, bens_grants = (allow(folder, owner, *tools) for owner in owners)

    grants = (await ann.get("/api/grants")).json["data"]
    assert [(each["server"], each["tool"]) for each in grants] == list(tools)
    assert grants[0]["description"] == "It is touch.<U+202E>"
    revoke_response = await ann.post("/api/grants/revoke", {"server": "far", "tool": "touch"})
    assert revoke_response.json == {"revoked": 1}
    assert anns_grants.find("far", "touch") is None
    assert (await ann.post("/api/grants/revoke", {"server": "far"})).json == {"revoked": 1}
    assert (await ann.post("/api/grants/revoke", {"server": "no"})).json == {"revoked": 0}
    assert [each.own_name for each in anns_grants.all()] == ["shell"]
    assert len(bens_grants.all()) == len((await ben.get("/api/grants")).json["data"]) == 3


@pytest.mark.slow
async def test_the_settings_list_lasting_permissions_and_revoke_them(
    chromium: Chromium, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / "antiphon"
    folder.mkdir(parents=True)
    grants = allow(folder, LOCAL, ("far", "touch"), ("", "shell"))
    async with chatting(chromium, tmp_path, "--no-servers") as chat:
        await chat.page.get_by_role("button", name="Settings").click()
        rows = chat.page.locator(".grants li")
        await expect(rows).to_have_count(2)
        await expect(rows.first).to_contain_text("touch far")
        await chat.page.get_by_role("button", name="Ask again before touch runs").click()
        await expect(rows).to_have_count(1)

    assert [each.own_name for each in grants.all()] == ["shell"]
