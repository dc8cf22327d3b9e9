"""MCP servers are added, restarted, switched off and removed over the web by those who may."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from antiphon.mcp.client.server_listing import ServerState
from antiphon.settings.paths import config_folder, data_folder
from antiphon.tools.consent import SessionGrants
from antiphon.tools.permissions import GrantsFile
from antiphon.tools.questions import tool_identity
from antiphon.types.accounts import LOCAL
from antiphon.types.messages import ToolCall, ToolResult
from antiphon.web.site import grants_file
from tests.support.terminal.mcp_servers import config, raw, run_locked_server
from tests.support.terminal.model import Model
from tests.support.web.named import browser_of
from tests.support.web.served import Served, up
from tests.support.web.visiting import FORGETFUL, HERE, Browser, Chat, open_chat

PROGRAM = [raw()["command"], *raw()["args"]]
PROXY = {"login": "proxy", "trusted_proxies": (HERE,)}


def own_file() -> Path:
    return config_folder(os.environ) / "mcp.json"


def configure(servers: dict[str, Any]) -> None:
    """Write the user's own servers to their file, as `antiphon mcp add` does."""
    own_file().parent.mkdir(parents=True, exist_ok=True)
    own_file().write_text(json.dumps({"mcpServers": servers, "other": "kept"}))


def read_servers() -> dict[str, Any]:
    file = json.loads(own_file().read_text())
    return file["mcpServers"]


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    """A web chat of one person, with two servers of their own: one works, one does not."""
    configure({"far": raw(), "broken": {"command": "/nowhere/at-all"}})
    async with open_chat(servers=True, web_mcp_programs=True) as chat:
        await wait_until_settled(chat, "broken")
        await wait_until_settled(chat, "far")
        yield chat


@pytest.fixture
async def browser(chat: Chat) -> Browser:
    return await chat.browser().arrive()


async def wait_until_settled(chat: Chat, name: str) -> ServerState:
    """Wait until the server is ready or has failed."""
    async with asyncio.timeout(60):
        while (state := chat.site.tools.server(name)).status in {"starting", "restarting"}:
            await chat.site.tools.wait_for_servers()
    return state


async def list_servers(browser: Browser) -> dict[str, Any]:
    return {each["name"]: each for each in (await browser.get("/api/servers")).json["data"]}


async def switch(browser: Browser, name: str, *, enabled: bool) -> Any:
    return await browser.open("PATCH", f"/api/servers/{name}", {"enabled": enabled})


async def test_the_user_of_the_machine_learns_where_servers_are_configured_and_their_targets(
    browser: Browser,
) -> None:
    listing = (await browser.get("/api/servers")).json
    servers = {each["name"]: each for each in listing["data"]}

    assert (listing["may_change"], listing["programs"], listing["file"]) == (
        True,
        True,
        str(own_file()),
    )
    assert servers["far"]["source"] == {
        "transport": "stdio",
        "file": str(own_file()),
        "is_own": True,
        "target": " ".join(PROGRAM),
    }
    assert (await browser.get("/api/me")).json["manages_servers"] is True


async def test_a_failed_server_is_restarted_once_its_program_exists(
    chat: Chat, browser: Browser
) -> None:
    configure({"far": raw(), "broken": raw()})
    answer = await browser.post("/api/servers/broken/restart", {})

    assert (answer.status_code, answer.json["status"]) == (200, "starting")
    assert (await wait_until_settled(chat, "broken")).status == "ready"


async def test_a_running_server_is_restarted_and_its_calls_say_so(
    chat: Chat, browser: Browser
) -> None:
    hanging_call = asyncio.create_task(call(chat, "far__hang"))
    answer = await browser.post("/api/servers/far/restart", {})
    result = await hanging_call

    assert answer.status_code == 200
    assert result.is_error
    assert "it was restarted" in result.output
    assert (await wait_until_settled(chat, "far")).status == "ready"
    assert not (await call(chat, "far__echo", x=1)).is_error


async def call(chat: Chat, tool: str, **arguments: Any) -> ToolResult:
    return await chat.site.tools.toolbox.call(ToolCall("c1", tool, json.dumps(arguments)))


async def test_a_server_is_switched_off_and_on_for_later_starts_too(
    chat: Chat, browser: Browser
) -> None:
    off_response = await switch(browser, "far", enabled=False)

    assert (off_response.status_code, off_response.json["status"]) == (200, "disabled")
    assert read_servers()["far"] == raw() | {"disabled": True}
    assert json.loads(own_file().read_text())["other"] == "kept"
    assert all(tool.server != "far" for tool in chat.site.tools.tools())
    restart_response = await browser.post("/api/servers/far/restart", {})
    assert restart_response.status_code == 422
    on_response = await switch(browser, "far", enabled=True)
    assert on_response.json["status"] == "starting"
    assert read_servers()["far"] == raw()
    assert (await wait_until_settled(chat, "far")).status == "ready"


async def test_a_removed_server_is_gone_and_its_tools_are_unknown(
    chat: Chat, browser: Browser
) -> None:
    delete_response = await browser.open("DELETE", "/api/servers/far")
    result = await call(chat, "far__echo")

    assert (delete_response.status_code, delete_response.json) == (200, {"name": "far"})
    assert set(read_servers()) == set(await list_servers(browser)) == {"broken"}
    assert (result.is_error, result.fault) == (True, "unknown_tool")
    assert (await browser.open("DELETE", "/api/servers/far")).status_code == 404


async def test_a_server_is_added_and_starts(chat: Chat, browser: Browser) -> None:
    body = {"name": "near", "command": PROGRAM, "env": {"LEVEL": "1", "PATH": None}}
    answer = await browser.post("/api/servers", body)

    assert (answer.status_code, answer.json["status"]) == (201, "starting"), answer.json
    assert read_servers()["near"] == raw() | {"env": {"LEVEL": "1", "PATH": "${PATH}"}}
    assert own_file().stat().st_mode & 0o077 == 0
    assert (await wait_until_settled(chat, "near")).status == "ready"
    assert "near__echo" in {tool.spec.name for tool in chat.site.tools.tools()}


async def test_an_address_is_added_with_headers_that_are_never_returned(
    chat: Chat, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKER", "sesame")
    async with run_locked_server() as url:
        body = {"name": "web", "url": url, "headers": {"Authorization": "Bearer ${TRACKER}"}}
        answer = await browser.post("/api/servers", body)
        state = await wait_until_settled(chat, "web")
        listing = await browser.get("/api/servers")

    assert answer.status_code == 201
    assert read_servers()["web"] == {"type": "http", "url": url, "headers": body["headers"]}
    assert state.status == "failed"
    assert (await list_servers(browser))["web"]["login"] == "antiphon mcp login web"
    assert "sesame" not in listing.text
    assert "TRACKER" not in listing.text


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x"},
        {"name": "x", "url": "http://a.example", "command": ["true"]},
        {"name": "x", "url": "file:///etc/passwd"},
        {"name": "x", "url": "http://a.example\n/"},
        {"name": "two words", "url": "http://a.example"},
        {"name": "../x", "command": ["true"]},
        {"name": "x" * 49, "command": ["true"]},
        {"name": "x", "command": [""]},
        {"name": "x", "command": ["a", "b\x00c"]},
        {"name": "x", "command": ["a"] * 201},
        {"name": "x", "command": ["true"], "env": {"A=B": "1"}},
        {"name": "x", "url": "http://a.example", "headers": {"A": "b\r\nC: d"}},
        {"name": "x", "url": "http://a.example", "headers": {"A:": "b"}},
        {"name": "x", "url": "http://a.example", "transport": "stdio"},
    ],
)
async def test_an_invalid_server_is_refused_and_not_written(browser: Browser, body: Any) -> None:
    old_servers = read_servers()
    answer = await browser.post("/api/servers", body)

    assert answer.status_code == 422, answer.json
    assert read_servers() == old_servers


async def test_a_name_that_is_taken_is_refused(chat: Chat, browser: Browser) -> None:
    answer = await browser.post("/api/servers", {"name": "far", "command": ["true"]})
    configure({"far": raw(), "broken": raw(), "later": raw()})
    second_answer = await browser.post("/api/servers", {"name": "later", "command": ["true"]})

    assert (answer.status_code, second_answer.status_code) == (409, 409)
    assert read_servers()["later"] == raw()


async def test_permissions_of_a_terminal_hold_for_a_server_that_is_found_later(
    chat: Chat, browser: Browser
) -> None:
    grants = await allow_for_good(chat, "far__echo")
    [echo] = [tool_identity(t) for t in chat.site.tools.tools() if t.spec.name == "far__echo"]
    configure({"broken": raw()})
    await browser.post("/api/servers/reload", {})
    assert grants.find("far", "echo") is None  # the server was removed
    file = grants_file(data_folder(os.environ), LOCAL)
    GrantsFile(file).add([echo])  # as a terminal chat does that runs the server meanwhile
    configure({"broken": raw(), "far": raw()})
    await browser.post("/api/servers/reload", {})

    assert grants.find("far", "echo") is not None


async def test_servers_that_a_terminal_has_configured_are_found_on_request(
    chat: Chat, browser: Browser
) -> None:
    configure({"new": raw(), "far": raw("evil")})
    answer = await browser.post("/api/servers/reload", {})

    assert answer.status_code == 200
    assert answer.json["changes"] == {"added": ["new"], "changed": ["far"], "removed": ["broken"]}
    assert [each["name"] for each in answer.json["servers"]["data"]] == ["new", "far"]
    assert (await wait_until_settled(chat, "new")).status == "ready"
    assert (await browser.post("/api/servers/reload", {})).json["changes"] == {
        "added": [],
        "changed": [],
        "removed": [],
    }


async def test_a_file_that_cannot_be_read_changes_nothing(chat: Chat, browser: Browser) -> None:
    own_file().write_text("{")
    answer = await browser.post("/api/servers/reload", {})

    assert answer.status_code == 422
    assert set(await list_servers(browser)) == {"far", "broken"}
    assert chat.site.tools.server("far").status == "ready"


async def test_a_server_whose_reference_is_missing_says_which(
    chat: Chat, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_THERE", raising=False)
    body = {"name": "odd", "command": [*PROGRAM, "${NOT_THERE}"]}
    answer = await browser.post("/api/servers", body)

    assert (answer.status_code, answer.json["status"]) == (201, "failed")
    assert answer.json["problem"] == "the variable NOT_THERE is not set"
    monkeypatch.setenv("NOT_THERE", "good")
    assert (await browser.post("/api/servers/odd/restart", {})).json["status"] == "starting"
    assert (await wait_until_settled(chat, "odd")).status == "ready"


async def test_programs_are_added_only_where_the_setting_allows_it() -> None:
    async with open_chat(servers=True) as chat:
        browser = await chat.browser().arrive()
        listing = (await browser.get("/api/servers")).json
        answer = await browser.post("/api/servers", {"name": "near", "command": PROGRAM})

        assert (listing["may_change"], listing["programs"]) == (True, False)
        assert answer.status_code == 403
        assert "web_mcp_programs" in answer.json["expected"]
        assert not own_file().exists()
        assert list(chat.site.tools.servers()) == []


async def test_servers_of_a_given_file_are_restarted_and_not_changed(tmp_path: Path) -> None:
    _, file = config(tmp_path, {"far": raw()})
    old_text = Path(file).read_text()
    async with open_chat(servers=True, config=file, web_mcp_programs=True) as chat:
        browser = await chat.browser().arrive()
        await wait_until_settled(chat, "far")
        source = (await list_servers(browser))["far"]["source"]
        restart_response = await browser.post("/api/servers/far/restart", {})
        refusals = [
            await switch(browser, "far", enabled=False),
            await browser.open("DELETE", "/api/servers/far"),
            await browser.post("/api/servers", {"name": "near", "command": PROGRAM}),
        ]
        await wait_until_settled(chat, "far")

    assert (source["file"], source["is_own"]) == (file, False)
    assert restart_response.status_code == 200
    assert [each.status_code for each in refusals] == [409, 409, 409]
    assert all(file in each.text for each in refusals)
    assert Path(file).read_text() == old_text


async def test_servers_of_a_folder_say_how_they_are_approved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cloned"
    folder.mkdir()
    (folder / ".mcp.json").write_text(json.dumps({"mcpServers": {"theirs": raw()}}))
    monkeypatch.chdir(folder)
    async with open_chat(servers=True) as chat:
        browser = await chat.browser().arrive()
        listing = (await browser.get("/api/servers")).json

    assert listing["data"] == []
    assert "antiphon trust .mcp.json" in listing["unapproved"][0]


async def test_a_server_with_a_table_in_the_settings_is_changed_there() -> None:
    configure({"far": raw()})
    async with open_chat(
        servers=True, settings=msgspec.structs.replace(FORGETFUL, servers={"far": {"timeout": 9}})
    ) as chat:
        browser = await chat.browser().arrive()
        source = (await list_servers(browser))["far"]["source"]
        answer = await browser.open("DELETE", "/api/servers/far")

    assert (source["is_own"], Path(source["file"]).name) == (False, "antiphon.toml")
    assert answer.status_code == 409
    assert "far" in read_servers()


MUTATIONS = [
    ("POST", "/api/servers", {"name": "near", "url": "http://a.example"}),
    ("POST", "/api/servers/reload", {}),
    ("POST", "/api/servers/far/restart", {}),
    ("PATCH", "/api/servers/far", {"enabled": False}),
    ("DELETE", "/api/servers/far", None),
]


async def test_people_who_are_no_administrators_see_servers_and_change_none() -> None:
    configure({"far": raw()})
    async with open_chat(servers=True, **PROXY) as chat:
        await wait_until_settled(chat, "far")
        browser = await browser_of(chat, "ann")
        answers = [await browser.open(*each) for each in MUTATIONS]
        listing = (await browser.get("/api/servers")).json

        assert [answer.status_code for answer in answers] == [403] * len(MUTATIONS)
        assert read_servers() == {"far": raw()}
        assert chat.site.tools.server("far").status == "ready"
        assert (listing["may_change"], listing["file"], listing["unapproved"]) == (False, "", [])
        assert (listing["data"][0]["source"], listing["data"][0]["login"]) == (None, "")
        assert (await browser.get("/api/me")).json["manages_servers"] is False


REQUESTED = "requested"
FOREIGN_HEADERS: list[dict[str, str]] = [
    {"Origin": "http://evil.example"},
    {"Host": "evil.example"},
    {"X-Antiphon-CSRF": "wrong"},
    {"Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", FOREIGN_HEADERS, ids=min)
async def test_pages_of_strangers_change_no_server(
    chat: Chat, browser: Browser, headers: dict[str, str]
) -> None:
    answers = [await browser.open(*each, headers=headers) for each in MUTATIONS]

    assert {answer.status_code for answer in answers} <= {403, 421}
    assert set(read_servers()) == {"far", "broken"}
    assert chat.site.tools.server("far").status == "ready"


async def log_in_admin(chat: Chat) -> Browser:
    """Return the browser of an administrator of an installation with logins."""
    browser = await browser_of(chat, "ada")
    me = (await browser.get("/api/me")).json["person"]["id"]
    await chat.site.client.update_person(me, role="admin")
    async with asyncio.timeout(30):
        while (await browser.get("/api/me")).json["person"]["role"] != "admin":
            pass
    return browser


async def test_administrators_see_no_secrets_in_the_arguments_and_addresses_of_the_operator() -> (
    None
):
    far = {"command": raw()["command"], "args": [*raw()["args"], "good", "--token=sesame"]}
    web = {"url": "http://user:sesame@127.0.0.1:9/sesame?key=sesame"}
    configure({"far": far, "web": web})
    async with open_chat(servers=True, **PROXY) as chat:
        browser = await log_in_admin(chat)
        listing = await browser.get("/api/servers")
        targets = {
            name: each["source"]["target"] for name, each in (await list_servers(browser)).items()
        }

    assert targets == {"far": far["command"], "web": "http://127.0.0.1"}
    assert "sesame" not in listing.text


async def test_addresses_of_an_administrator_are_reached_only_where_tools_may_go() -> None:
    async with run_locked_server() as url, open_chat(servers=True, **PROXY) as chat:
        browser = await log_in_admin(chat)
        answer = await browser.post("/api/servers", {"name": "inside", "url": url})
        state = await wait_until_settled(chat, "inside")

    assert answer.status_code == 201
    assert read_servers()["inside"] == {"type": "http", "url": url, "guarded": True}
    assert state.status == "failed"
    assert "not a public address" in state.why


async def test_an_administrator_sends_no_other_secrets_of_the_machine_than_those_for_servers() -> (
    None
):
    values = {
        "${ANTIPHON_SECRET_KEY}": 403,
        "Bearer ${OPENAI_API_KEY:-none}": 403,
        "${env:HOME}": 403,
        "${keyring:antiphon/token}": 403,
        "${MCP_TRACKER:-none}": 201,
        "blue": 201,
    }
    url = "http://127.0.0.1:9/mcp"
    async with open_chat(servers=True, **PROXY) as chat:
        browser = await log_in_admin(chat)
        statuses = {
            value: (
                await browser.post(
                    "/api/servers", {"name": f"s{n}", "url": url, "headers": {"X-Key": value}}
                )
            ).status_code
            for n, value in enumerate(values)
        }
        in_url = await browser.post(
            "/api/servers", {"name": "y", "url": "http://127.0.0.1:9/${OPENAI_API_KEY}"}
        )

    assert statuses == values
    assert in_url.status_code == 403


async def allow_for_good(chat: Chat, tool_name: str, owner: str = LOCAL) -> GrantsFile:
    """Have the owner allow this tool for good; return the file of their grants."""
    file = grants_file(data_folder(os.environ), owner)
    file.parent.mkdir(parents=True, exist_ok=True)
    grants = GrantsFile(file)
    [tool] = [each for each in chat.site.tools.tools() if each.spec.name == tool_name]
    grants.add([tool_identity(tool)])
    return grants


@pytest.mark.parametrize("owner", [LOCAL, "person_x"])
async def test_a_server_that_was_removed_and_added_again_inherits_no_permission(
    chat: Chat, browser: Browser, owner: str
) -> None:
    grants = await allow_for_good(chat, "far__echo", owner)
    assert grants.find("far", "echo") is not None
    await browser.open("DELETE", "/api/servers/far")
    add_response = await browser.post("/api/servers", {"name": "far", "command": PROGRAM})
    await wait_until_settled(chat, "far")

    assert add_response.status_code == 201
    assert grants.find("far", "echo") is None


async def test_permissions_of_a_session_end_with_the_server(chat: Chat, browser: Browser) -> None:
    session = chat.site.relays._sessions.setdefault("thread_x", SessionGrants())
    [echo] = [each for each in chat.site.tools.tools() if each.spec.name == "far__echo"]
    session.add([tool_identity(echo)])
    await browser.open("DELETE", "/api/servers/far")

    assert session.all() == ()


async def test_a_server_with_another_environment_is_asked_about_again(
    chat: Chat, browser: Browser
) -> None:
    grants = await allow_for_good(chat, "far__echo")
    await browser.post("/api/servers/far/restart", {})
    await wait_until_settled(chat, "far")
    assert grants.find("far", "echo") is not None  # the server is the same
    await switch(browser, "far", enabled=False)
    await switch(browser, "far", enabled=True)
    await wait_until_settled(chat, "far")
    assert grants.find("far", "echo") is not None
    configure({"far": raw() | {"env": {"TARGET": "production"}}, "broken": raw()})
    await browser.post("/api/servers/reload", {})

    assert grants.find("far", "echo") is None


@pytest.mark.parametrize("remaining", [[], ["far"]], ids=["removed", "another"])
async def test_a_change_whose_permissions_cannot_be_revoked_is_not_taken_over(
    chat: Chat, browser: Browser, remaining: list[str]
) -> None:
    grants = await allow_for_good(chat, "far__echo")
    file = grants_file(data_folder(os.environ), LOCAL)
    changed_server = raw() | {"env": {"TARGET": "production"}}
    configure(dict.fromkeys(remaining, changed_server))
    with make_unwritable(file):
        first_response = await browser.post("/api/servers/reload", {})
    configure({"far": changed_server})
    second_response = await browser.post("/api/servers/reload", {})

    assert (first_response.status_code, second_response.status_code) == (422, 200)
    assert grants.find("far", "echo") is None


@contextmanager
def make_unwritable(file: Path) -> Iterator[None]:
    """Make the file unwritable: a folder takes the place of its lock."""
    lock = file.with_suffix(".lock")
    lock.unlink()
    lock.mkdir()
    yield
    lock.rmdir()


async def test_the_audit_log_says_which_administrator_did_what_to_a_server() -> None:
    configure({"far": raw(), "old": raw()})
    async with open_chat(servers=True, **PROXY) as chat:
        await wait_until_settled(chat, "far")
        browser = await log_in_admin(chat)
        ada = (await browser.get("/api/me")).json["person"]["id"]
        await browser.post("/api/servers", {"name": "new", "url": "http://127.0.0.1:9/mcp"})
        await browser.post("/api/servers", {"name": "new", "url": "http://127.0.0.1:9/mcp"})
        await browser.post("/api/servers/far/restart", {})
        await switch(browser, "far", enabled=False)
        restart_response = await browser.post("/api/servers/far/restart", {})
        await switch(browser, "far", enabled=True)
        await browser.open("DELETE", "/api/servers/old")
        await browser.open("DELETE", "/api/servers/old")
        configure({"far": raw()})
        switch_response = await switch(browser, "new", enabled=False)
        configure({"far": raw("good", "more"), "terminal": raw()})
        await browser.post("/api/servers/reload", {})
        acts = (await chat.site.client.list_acts()).data
        adas_acts = [
            (act.what.removeprefix("mcp_server."), act.target)
            for act in reversed(acts)
            if act.what.startswith("mcp_server.") and act.actor == ada
        ]

    assert (restart_response.status_code, switch_response.status_code) == (422, 404)
    assert adas_acts == [
        ("added", "new"),
        ("restarted", "far"),
        ("disabled", "far"),
        ("enabled", "far"),
        ("removed", "old"),
        ("added", "terminal"),
        ("changed", "far"),
        ("removed", "new"),
    ]


async def test_without_servers_nothing_is_managed() -> None:
    async with open_chat() as chat:
        browser = await chat.browser().arrive()
        listing = (await browser.get("/api/servers")).json
        answer = await browser.post("/api/servers", {"name": "x", "url": "http://a.example"})

    assert listing["may_change"] is False
    assert (answer.status_code, "--no-servers" in answer.text) == (409, True)


@pytest.mark.parametrize("replacement", [None, raw("good", "more")], ids=["gone", "another"])
async def test_a_call_that_waits_for_an_answer_does_not_reach_a_later_server(
    replacement: dict[str, Any] | None,
) -> None:
    configure({"far": raw()})
    async with Model() as model, up_with_servers(model) as web_chat:
        await web_chat.site.tools.wait_for_servers()
        async with web_chat.post({"content": "Go"}) as stream:
            reply = await model.next_request()
            await reply.call("far__echo", {"x": 1}, id="c1")
            await reply.end("tool_calls")
            question = (await stream.until("data-approval"))["data"]
            csrf = (await web_chat.http.get("/api/me")).json()["csrf"]
            headers = {"Origin": web_chat.url, "X-Antiphon-CSRF": csrf}
            delete_response = await web_chat.http.delete("/api/servers/far", headers=headers)
            if replacement is not None:
                body = {"name": "far", "command": [replacement["command"], *replacement["args"]]}
                await web_chat.http.post("/api/servers", json=body, headers=headers)
                await web_chat.site.tools.wait_for_servers()
            run_id = stream.parts[0]["messageId"]
            answer = {"approved": True, "args_hash": question["argsHash"], "keep": "always"}
            await web_chat.ask(f"/api/runs/{run_id}/approvals/c1", answer)
            if replacement is not None:  # another program has the name: a person is asked about it
                while (question := (await stream.until("data-approval"))["data"])[
                    "state"
                ] != REQUESTED:
                    pass
                assert question["changed"] is True
                answer = {"approved": False, "args_hash": question["argsHash"]}
                await web_chat.ask(f"/api/runs/{run_id}/approvals/c1", answer)
            last_reply = await model.next_request()
            await last_reply.answer("Well.")
            await stream.end()
        grants = (await web_chat.http.get("/api/grants")).json()["data"]

    assert delete_response.status_code == 200
    output = last_reply.messages[-1]["content"]
    assert ("There is no tool far__echo" if replacement is None else "refused") in output
    assert grants == []


def up_with_servers(model: Model) -> AbstractAsyncContextManager[Served]:
    settings = msgspec.structs.replace(
        FORGETFUL, model="told", base_url=model.url, web_mcp_programs=True
    )
    return up(settings, servers=True)
