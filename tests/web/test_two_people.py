"""Two people: neither reaches what belongs to the other, by any request at any time."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.web.every_route import ROWS, routes
from tests.support.web.visiting import HERE, Browser, Chat, open_chat

FLIGHT = "When does the next flight leave from LAX to JFK?"
SECONDS = 60

BODIES: dict[str, dict[str, Any]] = {
    "PATCH /api/threads/<thread_id>": {"title": "mine now"},
    "POST /api/threads/<thread_id>/branch": {"message_id": "<message_id>"},
    "PUT /api/threads/<thread_id>/feedback/<shown_id>": {"rating": "up"},
    "POST /api/threads/<thread_id>/previews/<shown_id>": {"code": "<b></b>"},
    "PATCH /api/assistants/<assistant_id>": {"name": "mine now"},
    "POST /api/chat_imports/<import_id>/pieces": {"offset": 0, "content": "YQ=="},
    "PATCH /api/memories/<memory_id>": {"text": "Rows."},
    "POST /api/runs/<run_id>/approvals/<path:call_id>": {
        "approved": True,
        "args_hash": "<args_hash>",
    },
}
QUERIES = {"GET /api/threads/<thread_id>/export": "?as=json"}
NEEDS_AN_ARTIFACT = "/previews/<shown_id>"
"""Tested in `test_artifacts.py`: this answer has none."""
NEEDS_A_DOCUMENT = ("/pages/<number>", "/picture")
"""Tested in `test_documents.py`: the text of a file is read in the background."""
NEEDS_A_PUBLISHED_ASSISTANT = "/api/published_assistants/<assistant_id>/copies"
"""Tested in `test_page_published.py`: this one is taken back."""
NEEDS_AN_UPLOAD = ("/start", "/pieces")
"""Tested in `test_page_imports.py`: an import that waits for its file cannot be started."""
ENDS_SOMETHING = ("/stop", "/approvals/<path:call_id>")


class Tools:
    """A function of the app; `call_count` counts its calls."""

    def __init__(self) -> None:
        self.call_count = 0

    def get_flight_times(self, departure: str, arrival: str) -> str:
        """The next flight."""
        self.call_count += 1
        return "16:35"


@pytest.fixture
def tools() -> Tools:
    return Tools()


@pytest.fixture
async def chat(tools: Tools) -> AsyncIterator[Chat]:
    async with open_chat(
        login="proxy",
        trusted_proxies=(HERE,),
        ask=("get_flight_times",),
        tools=[tools.get_flight_times],
    ) as chat:
        yield chat


async def person(chat: Chat, name: str) -> Browser:
    return await chat.browser(headers={"X-Forwarded-User": name}).arrive()


async def begin_run(browser: Browser) -> dict[str, str]:
    """Begin a run with a tool call that waits for approval."""
    answer = await browser.post("/api/messages/process", {"content": FLIGHT})
    async with asyncio.timeout(SECONDS):
        text = await asyncio.to_thread(read_until_question, answer)
    answer.close()
    values = {name: _last_value(text, name) for name in ("argsHash", "toolCallId", "messageId")}
    (thread,) = (await browser.get("/api/threads")).json["data"]
    (message,) = (await browser.get(f"/api/threads/{thread['id']}/messages")).json["messages"]
    share_response = await browser.post(f"/api/threads/{thread['id']}/shares", {})
    return {
        "share_id": share_response.json["share"]["id"],
        "thread_id": thread["id"],
        "run_id": values["messageId"],
        "shown_id": values["messageId"],
        "call_id": values["toolCallId"],
        "args_hash": values["argsHash"],
        "message_id": message["id"],
        "file_id": (await upload(browser)).json["id"],
        "assistant_id": (await browser.post("/api/assistants", {"name": "A"})).json["id"],
        "folder_id": (await browser.post("/api/folders", {"name": "Sea"})).json["id"],
        "import_id": (await browser.post("/api/chat_imports", {"name": "a", "size": 9})).json["id"],
        "memory_id": (await browser.post("/api/memories", {"text": "Sails."})).json["id"],
    }


def read_until_question(answer: TestResponse) -> str:
    text = b""
    for piece in answer.response:
        text += piece if isinstance(piece, bytes) else piece.encode()
        if b"data-approval" in text:
            break
    return text.decode()


def _last_value(text: str, name: str) -> str:
    return re.findall(rf'"{name}":"([^"]+)"', text)[-1]


async def upload(browser: Browser) -> TestResponse:
    content = {"file": (io.BytesIO(b"secret of ann"), "a.txt")}
    return await browser.open("POST", "/api/files", data=content)


def personal_routes(chat: Chat) -> list[str]:
    """Return the routes about one thing of a person, with those that delete it last.

    Servers and administration are the installation's.
    """
    own_routes = [
        route
        for route in routes(chat.app)
        if "<" in route
        and (path := route.partition(" ")[2]).startswith("/api/")
        and not path.startswith(("/api/admin/", "/api/servers/"))
    ]
    final = ("DELETE /api/threads/<thread_id>",)  # with it, its links end
    return sorted(
        own_routes, key=lambda route: (route.startswith("DELETE"), route in final, -len(route))
    )


async def request_route(browser: Browser, route: str, ids: dict[str, str]) -> TestResponse:
    """Send the request of this route about the records of these ids."""
    method, _, path = route.replace("<path:", "<").partition(" ")
    body = json.dumps(BODIES.get(route, {}))
    for name, value in {"token": "shared_token_1", "number": "1", **ids}.items():
        path = path.replace(f"<{name}>", value)
        body = body.replace(f"<{name}>", value)
    data = None if method == "GET" else json.loads(body)
    return await browser.open(method, path + QUERIES.get(route, ""), data)


async def read_lists(browser: Browser, ids: dict[str, str]) -> list[Any]:
    """Return the lists of a person and the messages of this thread."""
    return [
        (await browser.get(path)).json
        for path in (
            "/api/threads",
            f"/api/threads/{ids['thread_id']}/messages",
            "/api/assistants",
            "/api/folders",
            "/api/personal",
        )
    ]


async def test_each_call_of_one_person_is_about_nothing_when_another_makes_it(
    chat: Chat, tools: Tools
) -> None:
    ann, bob = await person(chat, "ann"), await person(chat, "bob")
    ids = await begin_run(ann)
    old_state = await read_lists(ann, ids)

    statuses = {}
    for route in personal_routes(chat):
        answer = await request_route(bob, route, ids)
        statuses[route] = answer.status_code
        answer.close()
    assert {route: status for route, status in statuses.items() if status != 404} == {}
    assert await read_lists(ann, ids) == old_state
    assert tools.call_count == 0


async def test_the_same_calls_work_for_the_person_whose_things_they_are_about(
    chat: Chat, tools: Tools
) -> None:
    ann = await person(chat, "ann")
    ids = await begin_run(ann)
    approval = await request_route(ann, "POST /api/runs/<run_id>/approvals/<path:call_id>", ids)
    assert approval.json == {"state": "approved"}
    await asyncio.to_thread(
        (await request_route(ann, "GET /api/runs/<run_id>/stream", ids)).get_data
    )
    assert tools.call_count == 1

    statuses = {}
    for route in personal_routes(chat):
        tested_elsewhere = (
            *(*ENDS_SOMETHING, NEEDS_AN_ARTIFACT, *NEEDS_A_DOCUMENT),
            *(NEEDS_A_PUBLISHED_ASSISTANT, *NEEDS_AN_UPLOAD),
        )
        if "<token>" not in route and not route.endswith(tested_elsewhere):
            answer = await request_route(ann, route, ids)
            statuses[route] = answer.status_code
            answer.close()
    assert len(statuses) > 8
    assert {route: status for route, status in statuses.items() if status >= 400} == {}


async def test_after_its_end_a_run_is_not_there_for_another_either(chat: Chat) -> None:
    ann, bob = await person(chat, "ann"), await person(chat, "bob")
    ids = await begin_run(ann)
    assert (await request_route(ann, "POST /api/runs/<run_id>/stop", ids)).status_code == 200

    for route in (
        "GET /api/runs/<run_id>/stream",
        "GET /api/messages/process/<thread_id>/stream",
        "GET /api/threads/<thread_id>/messages",
    ):
        assert (await request_route(bob, route, ids)).status_code == 404


async def test_what_another_has_is_not_taken_into_a_message(chat: Chat) -> None:
    ann, bob = await person(chat, "ann"), await person(chat, "bob")
    ids = await begin_run(ann)

    for body in (
        {"content": "hi", "thread_id": ids["thread_id"]},
        {"content": "hi", "assistant_id": ids["assistant_id"]},
        {"content": "hi", "attachments": [ids["file_id"]]},
        {"content": [{"type": "file", "file_id": ids["file_id"]}]},
    ):
        refusal = await bob.post("/api/messages/process", body)
        assert refusal.status_code == 404, body
        refusal.close()


def test_the_table_of_routes_has_a_row_for_every_call_of_these_tests() -> None:
    assert set(BODIES) <= set(ROWS)


async def test_the_same_name_of_a_message_is_another_message_of_another_person(chat: Chat) -> None:
    ann, bob = await person(chat, "ann"), await person(chat, "bob")
    body = {"content": "What is mine?", "message_id": "the_same_name_1"}

    answers = [await browser.post("/api/messages/process", body) for browser in (ann, bob)]
    streams = [await asyncio.to_thread(answer.get_data, as_text=True) for answer in answers]
    assert len({_last_value(text, "messageId") for text in streams}) == 2
    for browser in (ann, bob):
        assert len((await browser.get("/api/threads")).json["data"]) == 1


async def test_nothing_that_is_named_in_a_message_is_opened_or_begun(
    chat: Chat, tmp_path: Path
) -> None:
    ann = await person(chat, "ann")
    old_tools = (await ann.get("/api/me")).json["tools"]
    connections: list[object] = []
    listener = await asyncio.start_server(lambda *line: connections.append(line), "127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/x"
    command = {"command": "touch", "args": [str(tmp_path / "begun")], "url": address}
    more = {
        "mcp_servers": {"evil": command},
        "mcpServers": {"evil": command},
        "servers": [command],
        "provider": {"base_url": address, "api_key": "sk-1"},
        "base_url": address,
        "files": [{"url": address}],
    }
    part = {"type": "text", "text": address}

    async with listener:
        for path, body in (
            ("/api/messages/process", {"content": [part], **more}),
            ("/api/assistants", {"name": address, "instructions": address, **more}),
        ):
            answer = await ann.post(path, body)
            text = await asyncio.to_thread(answer.get_data, as_text=True)
            assert answer.status_code in (200, 422), text
            assert "evil" not in text
        assert connections == []
    assert not (tmp_path / "begun").exists()
    assert (await ann.get("/api/me")).json["tools"] == old_tools
