"""Pages with other people's client libraries, from npm in Node, before a real server.

The pages of the AI SDK and of AG-UI are those of the documentation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from antiphon import AsyncClient, ToolSpec
from antiphon.testing.script import Script
from tests.support.docs.blocks import ROOT, blocks
from tests.support.server.served import SETTINGS, Served, serve
from tests.support.wires.node_programs import NodePrograms

HERE = Path(__file__).parents[1] / "support/wires"
PAGE = ROOT / "docs/how-to/page-chat.md"
SHOP = "https://shop.example.org"
PLACE = {"city": "Oslo"}

Play = Callable[..., Any]


def write_page(folder: Path, purpose: str, packages: dict[str, Path]) -> Path:
    """Write the page of the documentation, with the packages that it imports beside it."""
    (text,) = [block.text for block in blocks(PAGE) if block.purpose == purpose]
    (folder / "page.mjs").write_text(text, "utf-8")
    for name, package in packages.items():
        link = folder / "node_modules" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(package)
    return folder


@pytest.fixture(scope="module", params=[5, 6, 7])
def use_chat(
    request: pytest.FixtureRequest,
    npm_packages: Callable[[Path], Path],
    node: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[int, Play]]:
    """The page with `useChat`, of each major version of the AI SDK."""
    sdk: int = request.param
    package = npm_packages(HERE / "ui_clients") / f"ai{sdk}"
    folder = write_page(tmp_path_factory.mktemp("page"), "ai_sdk", {"ai": package})
    page = folder / "page.mjs"
    page.write_text(page.read_text().replace("/ai-sdk/v6/", f"/ai-sdk/v{sdk}/"))
    with NodePrograms(node, HERE / "page_programs/ai_sdk.mjs", folder) as programs:
        yield sdk, programs.ask


@pytest.fixture(scope="module", params=["agui0", "agui1"])
def http_agent(
    request: pytest.FixtureRequest,
    npm_packages: Callable[[Path], Path],
    node: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Play]:
    """The page with `HttpAgent`, of both versions of AG-UI."""
    package = npm_packages(HERE / "ag_ui_clients") / request.param
    folder = write_page(tmp_path_factory.mktemp("page"), "ag_ui", {"@ag-ui/client": package})
    with NodePrograms(node, HERE / "page_programs/ag_ui.mjs", folder) as programs:
        yield programs.ask


@pytest.fixture(scope="module", params=["ai_sdk", "ag_ui"])
def short_page(
    request: pytest.FixtureRequest,
    npm_packages: Callable[[Path], Path],
    node: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, Play]]:
    """The page of a few lines, which has no tools, with each library."""
    wire: str = request.param
    packages = {
        "ai_sdk": {"ai": npm_packages(HERE / "ui_clients") / "ai6"},
        "ag_ui": {"@ag-ui/client": npm_packages(HERE / "ag_ui_clients") / "agui1"},
    }
    folder = write_page(tmp_path_factory.mktemp("page"), f"{wire}_text", packages[wire])
    with NodePrograms(node, HERE / f"page_programs/{wire}.mjs", folder) as programs:
        yield wire, programs.ask


@pytest.fixture(scope="module")
def copilotkit(npm_packages: Callable[[Path], Path], node: Path) -> Iterator[Play]:
    folder = npm_packages(HERE / "copilotkit")
    with NodePrograms(node, HERE / "page_programs/copilotkit.mjs", folder) as programs:
        yield programs.ask


class Shop:
    """Server with a scripted model, and pages of a shop."""

    def __init__(self, server: Served, script: Script, ann: AsyncClient) -> None:
        self.server = server
        self.script = script
        self.ann = ann

    async def play(
        self, play: Play, name: str, token: Mapping[str, Any] | None = None, **page_options: Any
    ) -> Any:
        """Let a page do this in the chat of this name, with a token of its own."""
        fields: dict[str, Any] = {"session": "visitor", **(token or {})}
        browser_token = await self.ann.create_browser_token(origins=(SHOP,), **fields)
        page_input: dict[str, Any] = {"id": name, "server": self.server.url, "origin": SHOP}
        page_input["token"] = {
            "token": browser_token.token,
            "expires_at": browser_token.expires_at,
        }
        return await asyncio.to_thread(play, "page", {**page_input, **page_options})


@asynccontextmanager
async def open_shop() -> AsyncGenerator[Shop]:
    script = Script()
    settings = replace(SETTINGS, model=script.model, allowed_origins=(SHOP,))
    async with (
        serve(settings) as server,
        AsyncClient(server.url, api_key=await server.key("ann")) as ann,
    ):
        yield Shop(server, script, ann)


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_shop() as shop:
        yield shop


def outputs(script: Script) -> list[str]:
    return [message["content"] for message in script.messages if message["role"] == "tool"]


async def claim(shop: Shop, tool: str, output: str) -> None:
    """Run one call of this tool, as a worker for tools does."""
    (action,) = (await shop.ann.claim_actions(tools=(tool,), wait=20)).data
    await shop.ann.submit_tool_output(
        run_id=action.run_id,
        tool_call_id=action.tool_call_id,
        output=output,
        attempt=action.attempt,
    )


async def test_the_page_of_a_few_lines_goes_on_with_its_chat(
    shop: Shop, short_page: tuple[str, Play]
) -> None:
    wire, play = short_page
    shop.script.reply("You are in Oslo.").reply("You are welcome.")
    texts = ["Where am I?", "Thanks."]
    options: dict[str, Any] = {}
    if wire == "ai_sdk":
        options["doings"] = [["send", text] for text in texts]

    result = await shop.play(play, "c", texts=texts, **options)

    assert result.get("error") is None
    answers = [message for message in result["messages"] if message["role"] == "assistant"]
    assert len(answers) == 2
    assert "You are in Oslo." in str(answers[0])
    assert "You are welcome." in str(answers[1])


# The AI SDK.


async def test_the_page_of_the_ai_sdk_runs_its_tools(
    shop: Shop, use_chat: tuple[int, Play]
) -> None:
    _, play = use_chat
    shop.script.call("get_place").calls(("get_place", {}), ("get_place", {}))
    shop.script.reply("You are in Oslo.").reply("You are welcome.")

    result = await shop.play(play, "c", doings=[["send", "Where am I?"], ["send", "Thanks."]])

    assert (result["status"], result["error"]) == ("ready", None)
    assert result["ran"] == ["get_place"] * 3
    assert len(result["asked"]) == 4
    assert [message["role"] for message in result["messages"]] == ["user", "assistant"] * 2
    texts = [part["text"] for m in result["messages"] for part in m["parts"] if "text" in part]
    assert texts == ["Where am I?", "You are in Oslo.", "Thanks.", "You are welcome."]
    calls = [p for p in result["messages"][1]["parts"] if p["type"] == "tool-get_place"]
    assert [(call["state"], call["output"]) for call in calls] == [("output-available", PLACE)] * 3
    assert outputs(shop.script) == ['{"city":"Oslo"}'] * 3


async def test_a_page_of_the_ai_sdk_waits_for_a_worker_beside_its_own_tool(
    shop: Shop, use_chat: tuple[int, Play]
) -> None:
    _, play = use_chat
    helper = await shop.ann.create_assistant(name="h", tools=(ToolSpec("weather"),))
    shop.script.calls(("weather", {"city": "Oslo"}), ("get_place", {})).reply("Rain in Oslo.")
    token = {"assistant_id": helper.id}

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(claim(shop, "weather", "rain"))
        page_task = tasks.create_task(
            shop.play(play, "c", token, doings=[["send", "Is it raining here?"]])
        )

    result = page_task.result()
    assert (result["status"], result["error"]) == ("ready", None)
    assert result["ran"] == ["get_place"]
    assert len(result["asked"]) == 2
    parts = result["messages"][1]["parts"]
    (worker,) = [part for part in parts if part["type"] == "dynamic-tool"]
    assert (worker["state"], worker["output"]) == ("output-available", "rain")
    assert parts[-2]["text"] == "Rain in Oslo."


async def test_a_page_of_the_ai_sdk_runs_a_call_that_asks_after_its_approval(
    shop: Shop, use_chat: tuple[int, Play]
) -> None:
    sdk, play = use_chat
    shop.script.call("get_place").call("get_place").reply("You are in Oslo.").reply("A pity.")
    token, send = {"ask": ("get_*",)}, ["send", "Where am I?"]

    question_result = await shop.play(play, "a", token, doings=[send])
    if sdk == 5:  # it cannot ask people
        assert "get_place" in question_result["error"]
        assert question_result["ran"] == []
        return
    result = await shop.play(play, "b", token, doings=[send, ["approve", True]])

    assert question_result["ran"] == []
    assert question_result["messages"][1]["parts"][-1]["state"] == "approval-requested"
    assert (result["status"], result["error"]) == ("ready", None)
    assert result["ran"] == ["get_place"]
    (call,) = [p for p in result["messages"][1]["parts"] if p["type"] == "tool-get_place"]
    assert (call["state"], call["output"]) == ("output-available", PLACE)
    assert result["messages"][1]["parts"][-2]["text"] == "You are in Oslo."


async def test_a_page_of_the_ai_sdk_that_is_loaded_again_goes_on(
    shop: Shop, use_chat: tuple[int, Play]
) -> None:
    _, play = use_chat
    shop.script.call("get_place").reply("You are in Oslo.")
    browser_token = await shop.ann.create_browser_token(origins=(SHOP,), session="visitor")
    page = await shop.server.client(browser_token.token)
    text = {"type": "text", "text": "Where am I?"}
    tool: dict[str, Any] = {"get_place": {"parameters": {"type": "object", "properties": {}}}}
    body: dict[str, Any] = {
        "id": "c",
        "messages": [{"id": "m", "role": "user", "parts": [text]}],
        "tools": tool,
    }
    headers = {"origin": SHOP}
    await page.post("/ai-sdk/v6/chat", json=body, headers=headers)
    history = (await page.get("/ai-sdk/v6/chat/c/messages", headers=headers)).json()

    result = await shop.play(play, "c", doings=[["resume"]], messages=history["messages"])

    assert (result["status"], result["error"]) == ("ready", None)
    assert result["ran"] == ["get_place"]
    assert result["messages"][0]["id"] == "m"
    assert result["messages"][1]["parts"][-2]["text"] == "You are in Oslo."
    assert len(shop.script.requests) == 2


async def test_a_page_of_the_ai_sdk_shows_an_error_of_the_server(
    shop: Shop, use_chat: tuple[int, Play]
) -> None:
    _, play = use_chat
    shop.script.fail("provider_unavailable", "It is down.")

    result = await shop.play(play, "c", doings=[["send", "Hello?"]])
    refused_result = await shop.play(play, "thread_1", doings=[["send", "Hello?"]])

    assert result["status"] == "error"
    assert "It is down." in result["error"]
    assert "not_found" in refused_result["error"]


# AG-UI.


async def test_the_page_of_ag_ui_runs_its_tools(shop: Shop, http_agent: Play) -> None:
    shop.script.call("get_place").calls(("get_place", {}), ("get_place", {}))
    shop.script.reply("You are in Oslo.").reply("You are welcome.")

    result = await shop.play(http_agent, "c", texts=["Where am I?", "Thanks."])

    assert result.get("error") is None
    assert result["answers"] == ["You are in Oslo.", "You are welcome."]
    assert (result["asked"], result["complaints"]) == (4, [])
    assert outputs(shop.script) == ['{"city":"Oslo"}'] * 3


@pytest.mark.slow
async def test_copilotkit_runs_its_frontend_tools(shop: Shop, copilotkit: Play) -> None:
    shop.script.calls(("get_place", {}), ("fly", {})).reply("You are in Oslo.")

    result = await shop.play(
        copilotkit, "c", tools={"get_place": "Oslo", "fly": "flown"}, texts=["Where am I?"]
    )

    assert sorted(result["ran"]) == ["fly", "get_place"]
    assert result["messages"][-1]["content"] == "You are in Oslo."
    assert outputs(shop.script) == ["Oslo", "flown"]


@pytest.mark.slow
async def test_copilotkit_waits_for_a_worker_beside_its_frontend_tool(
    shop: Shop, copilotkit: Play
) -> None:
    helper = await shop.ann.create_assistant(name="h", tools=(ToolSpec("weather"),))
    shop.script.calls(("weather", {}), ("get_place", {})).reply("Rain in Oslo.")
    page_options: dict[str, Any] = {
        "tools": {"get_place": "Oslo"},
        "texts": ["Is it raining here?"],
    }

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(claim(shop, "weather", "rain"))
        page_task = tasks.create_task(
            shop.play(copilotkit, "c", {"assistant_id": helper.id}, **page_options)
        )

    assert page_task.result()["ran"] == ["get_place"]
    assert page_task.result()["messages"][-1]["content"] == "Rain in Oslo."
    assert outputs(shop.script) == ["rain", "Oslo"]


# The backend of a page.


@pytest.mark.parametrize("framework", ["fastapi", "flask"])
async def test_the_backend_of_the_documentation_gives_a_token(
    shop: Shop, framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(framework)
    monkeypatch.setenv("ANTIPHON_SERVER", shop.server.url)
    monkeypatch.setenv("ANTIPHON_API_KEY", await shop.server.key("ann"))
    texts = [block.text for block in blocks(PAGE) if block.purpose == "run"]
    (text,) = [text for text in texts if f"from {framework} import" in text]
    backend: dict[str, Any] = {"__name__": "backend"}

    def ask() -> Any:
        exec(compile(text, "backend.py", "exec"), backend)
        if framework == "flask":
            with backend["client"]:
                return backend["app"].test_client().post("/token").get_json()
        from starlette.testclient import TestClient

        with TestClient(backend["app"]) as client:
            return client.post("/token").json()

    token = await asyncio.to_thread(ask)
    page = await shop.server.client(token["token"])
    answer = await page.get("/ai-sdk/v6/chat/c/messages", headers={"origin": SHOP})

    assert answer.status_code == 200
    assert token["expires_at"] > await shop.server.runtime.store.now()
