"""MCP servers over the web: their state, and their prompts and resources for a message."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.web.routes import servers
from antiphon.web.routes.servers import fits_template
from tests.support.terminal.mcp_servers import config, raw, whole
from tests.support.web.named import browser_of
from tests.support.web.visiting import HERE, Browser, Chat, open_chat


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Chat]:
    """A web chat with servers, behind a proxy that names the user."""
    servers = {"whole": whole(), "evil": raw("evil"), "broken": {"command": "/nowhere/at-all"}}
    _, file = config(tmp_path, servers)
    async with open_chat(servers=True, config=file, login="proxy", trusted_proxies=(HERE,)) as chat:
        await wait_until_started(chat)
        yield chat


@pytest.fixture
async def browser(chat: Chat) -> Browser:
    return await browser_of(chat, "ann")


async def wait_until_started(chat: Chat) -> None:
    while any(state.status == "starting" for state in chat.site.tools.servers()):
        await chat.site.tools.wait_for_servers()


async def fill_in(browser: Browser, prompt: str, **arguments: str) -> Any:
    body = {"name": prompt, "arguments": arguments}
    return await browser.post("/api/servers/whole/prompts", body)


async def test_servers_are_listed_with_their_state_and_what_they_offer(browser: Browser) -> None:
    servers = {each["name"]: each for each in (await browser.get("/api/servers")).json["data"]}

    assert (servers["whole"]["status"], servers["broken"]["status"]) == ("ready", "failed")
    assert (servers["whole"]["has_prompts"], servers["whole"]["has_resources"]) == (True, True)
    assert servers["whole"]["tools"] > 3
    assert "nowhere" in servers["broken"]["problem"]


async def test_error_output_of_servers_is_shown_to_administrators_only(
    chat: Chat, browser: Browser
) -> None:
    states = chat.site.tools.servers()
    visible_states = (await browser.get("/api/servers")).json["data"]

    assert len(visible_states) == len(states)
    assert all(each["stderr"] == "" for each in visible_states)


async def test_a_prompt_is_filled_in_and_only_returned(chat: Chat, browser: Browser) -> None:
    catalog = (await browser.get("/api/servers/whole")).json
    [city] = catalog["prompts"]
    fill_response = await fill_in(browser, "city", name="Bern", tone="warm")

    assert city["name"] == "city"
    assert [(each["name"], each["required"]) for each in city["arguments"]] == [
        ("name", True),
        ("tone", False),
    ]
    assert fill_response.json == {"text": "Tell me of Bern, warm.", "files": []}
    assert (await chat.site.client.list_threads()).data == []


async def test_a_resource_becomes_a_file_of_the_person_who_asked(
    chat: Chat, browser: Browser
) -> None:
    resources = (await browser.get("/api/servers/whole")).json["resources"]
    text_response = await browser.post("/api/servers/whole/resources", {"uri": "note://all"})
    picture_response = await browser.post("/api/servers/whole/resources", {"uri": "pic://one"})
    bob = await browser_of(chat, "bob")

    assert {each["uri"] for each in resources} == {"note://all", "pic://one"}
    assert (text_response.status_code, text_response.json["text"]) == (201, "")
    [file] = text_response.json["files"]
    assert (file["name"], file["media_type"], file["size"]) == ("all", "text/plain", 10)
    assert (await browser.get(f"/api/files/{file['id']}")).data == b"many notes"
    assert (await bob.get(f"/api/files/{file['id']}")).status_code == 404
    # Its bytes are no picture, whatever the server says of them.
    assert picture_response.json["files"][0]["media_type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/servers/unknown/prompts", {"name": "city"}, 404),
        ("/api/servers/whole/prompts", {"name": "unknown"}, 422),
        ("/api/servers/whole/prompts", {"name": ""}, 422),
        ("/api/servers/whole/prompts", {"name": "city", "arguments": {"name": 3}}, 422),
        ("/api/servers/whole/prompts", {"name": "city", "arguments": {"name": "x" * 100_001}}, 422),
        ("/api/servers/whole/resources", {"uri": "other://1"}, 404),
        ("/api/servers/whole/resources", {"uri": "file:///etc/passwd"}, 404),
        ("/api/servers/whole/resources", {}, 422),
        ("/api/servers/broken/prompts", {"name": "city"}, 503),
    ],
)
async def test_a_request_for_something_a_server_does_not_have_is_a_problem_in_words(
    browser: Browser, path: str, body: Any, status: int
) -> None:
    answer = await browser.post(path, body)

    assert answer.status_code == status, answer.json
    assert answer.mimetype == "application/problem+json"


async def test_a_resource_that_is_too_large_is_refused(tmp_path: Path) -> None:
    _, file = config(tmp_path, {"whole": whole()})
    async with open_chat(servers=True, config=file, max_upload=5) as chat:
        await wait_until_started(chat)
        browser = await chat.browser().arrive()
        answer = await browser.post("/api/servers/whole/resources", {"uri": "note://all"})

    assert answer.status_code == 413


async def test_only_resources_that_a_server_lists_are_asked_for(
    chat: Chat, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    uris: list[str] = []
    read_resource = chat.site.tools.read_resource

    async def record(server: str, uri: str) -> Any:
        uris.append(uri)
        return await read_resource(server, uri)

    monkeypatch.setattr(chat.site.tools, "read_resource", record)
    for uri in ("note://all", "note://7", "file:///etc/passwd", "note://a/b", "note://.."):
        await browser.post("/api/servers/whole/resources", {"uri": uri})

    assert uris == ["note://all", "note://7"]


@pytest.mark.parametrize(
    ("template", "uri", "fits"),
    [
        ("a://{x}", "a://1", True),
        ("a://{x}", "a://1/2", False),
        ("a://{+x}", "a://1/2", True),
        ("a://{+x}", "a://1/../2", False),
        ("a://{x}/b/{y}", "a://1/b/2", True),
        ("a://{x}/b/{y}", "a://1/c/2", False),
        ("a://{x}.txt", "a://1.txt", True),
        ("a://{x}.txt", "a://1.pdf", False),
        ("a://a{x}a", "a://a", False),
        ("a://b", "a://b", True),
        ("a://b", "a://bc", False),
        ("{+x}", "file:///etc/passwd", True),
    ],
)
def test_an_address_fits_a_template_by_its_literals(template: str, uri: str, fits: bool) -> None:
    assert fits_template(template, uri) is fits


async def test_a_resource_of_too_many_files_is_refused(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "MAX_FILES", 0)
    answer = await browser.post("/api/servers/whole/resources", {"uri": "note://all"})

    assert answer.status_code == 413
    assert "at most 0 files" in answer.text


async def test_names_of_a_hostile_server_are_data(browser: Browser) -> None:
    catalog = (await browser.get("/api/servers/evil")).json
    name = catalog["prompts"][0]["name"]
    answer = await browser.post("/api/servers/evil/prompts", {"name": name})

    assert answer.status_code >= 400
    assert "\x1b" not in answer.text
