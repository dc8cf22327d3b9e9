"""Owners are apart also in OpenAI's API and on the wires for pages: every route, with every
credential, and an id of somebody else in every place that holds one.

Guarantee G29. The operations of the OpenAPI document are in `test_tenants`.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace

from antiphon.runtime.wiring import open_dump
from antiphon.server.openai import paths as openai
from antiphon.server.page_wires import paths as page_wires
from antiphon.stores.dump import TABLES, Row
from tests.support.providers.transcriber import serve_transcriber
from tests.support.server.served import SETTINGS, Served, eventually, serve

Json = dict[str, Any]

AI_SDK, AG_UI = page_wires.AI_SDK.replace("{version}", "v6"), page_wires.AG_UI
OPENAI = openai.PREFIX
TOOLS = [{"type": "function", "name": "get_flight_times", "parameters": {"type": "object"}}]
ASK = "When does the next LAX-JFK flight leave?"
OWN_MOVES = ("date", "content-length", "x-request-id", "antiphon-run", "antiphon-thread")


@dataclass(frozen=True)
class Ask:
    """A request; `<kind>` in its path, query, headers and body is the id of such a thing."""

    route: str
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    file: str = ""

    @property
    def method(self) -> str:
        return self.route.split(" ")[0]

    @property
    def kinds(self) -> set[str]:
        whole = json.dumps([self.route, self.body, self.query, self.headers])
        return {kind for kind in KINDS if f"<{kind}>" in whole}

    async def send(
        self, client: httpx2.AsyncClient, ids: Mapping[str, str], **headers: str
    ) -> httpx2.Response:
        def fill(value: Any) -> Any:
            text = json.dumps(value)
            for kind, its in ids.items():
                text = text.replace(f"<{kind}>", its)
            return json.loads(text)

        more: Json = {} if self.body is None else {"json": fill(self.body)}
        if self.file:
            more = {
                "files": {"file": (self.file, b"a")},
                "data": {"purpose": "user_data", "model": "whisper"},
            }
        return await client.request(
            self.method,
            fill(self.route.split(" ")[1]),
            params=fill(dict(self.query)),
            headers=fill(dict(self.headers)) | headers,
            **more,
        )


def _message(*content: Json) -> Json:
    return {"role": "user", "content": [*content]}


CHAT, RESPONSES = f"POST {OPENAI}/chat/completions", f"POST {OPENAI}/responses"
HI = [{"role": "user", "content": "3 words"}]
TEXT = {"type": "text", "text": "3 words"}
CONVERSATION = f"{OPENAI}/conversations/<conversation>"
UI_MESSAGE = {"id": "m1", "role": "user", "parts": [TEXT]}
RUN = {"state": {}, "tools": [], "context": [], "forwardedProps": {}, "runId": "r1"}
USER = {"id": "m1", "role": "user", "content": "3 words"}

ASKS = [
    Ask(f"GET {OPENAI}/models"),
    Ask(f"GET {OPENAI}/models/<assistant>"),
    Ask(CHAT, {"model": "<assistant>", "messages": HI}),
    Ask(CHAT, {"model": "demo", "messages": HI}, headers={"Antiphon-Thread": "<thread>"}),
    Ask(
        CHAT,
        {
            "model": "demo",
            "messages": [_message(TEXT, {"type": "file", "file": {"file_id": "<file>"}})],
        },
    ),
    Ask(RESPONSES, {"model": "<assistant>", "input": "3 words"}),
    Ask(RESPONSES, {"model": "demo", "input": "2 words", "previous_response_id": "<response>"}),
    Ask(RESPONSES, {"model": "demo", "input": "2 words", "conversation": "<conversation>"}),
    Ask(
        RESPONSES,
        {
            "model": "demo",
            "input": "2 words",
            "conversation": "<conversation>",
            "store": False,
        },
    ),
    Ask(RESPONSES, {"model": "demo", "input": [*HI, {"type": "item_reference", "id": "<item>"}]}),
    Ask(
        RESPONSES,
        {"model": "demo", "input": [_message({"type": "input_file", "file_id": "<file>"})]},
    ),
    Ask(
        RESPONSES,
        {"model": "demo", "input": [_message({"type": "input_image", "file_id": "<file>"})]},
    ),
    Ask(
        RESPONSES,
        {
            "model": "demo",
            "previous_response_id": "<waiting>",
            "tools": TOOLS,
            "input": [{"type": "function_call_output", "call_id": "<call>", "output": "17:00"}],
        },
    ),
    Ask(
        f"{RESPONSES}/input_tokens",
        {"model": "<assistant>", "input": "2 words", "previous_response_id": "<response>"},
    ),
    Ask(f"{RESPONSES}/input_tokens", {"model": "demo", "conversation": "<conversation>"}),
    Ask(
        f"{RESPONSES}/input_tokens",
        {"model": "demo", "input": [*HI, {"type": "item_reference", "id": "<item>"}]},
    ),
    Ask(f"{RESPONSES}/compact", {"model": "demo", "previous_response_id": "<response>"}),
    Ask(f"{RESPONSES}/compact", {"model": "demo", "conversation": "<conversation>"}),
    Ask(f"GET {OPENAI}/responses/<response>"),
    Ask(f"GET {OPENAI}/responses/<response>", query={"stream": "true", "starting_after": "1"}),
    Ask(f"GET {OPENAI}/responses/<response>/input_items"),
    Ask(f"GET {OPENAI}/responses/<response>/input_items", query={"after": "<asked>"}),
    Ask(f"POST {OPENAI}/responses/<waiting>/cancel"),
    Ask(f"DELETE {OPENAI}/responses/<waiting>"),
    Ask(f"POST {OPENAI}/audio/speech", {"model": "tts", "input": "Hello."}),
    Ask(f"POST {OPENAI}/audio/transcriptions", file="a.webm"),
    Ask(f"POST {OPENAI}/files", file="a.txt"),
    Ask(f"GET {OPENAI}/files"),
    Ask(f"GET {OPENAI}/files", query={"after": "<file>"}),
    Ask(f"GET {OPENAI}/files/<file>"),
    Ask(f"GET {OPENAI}/files/<file>/content"),
    Ask(f"DELETE {OPENAI}/files/<other_file>"),
    Ask(f"POST {OPENAI}/conversations", {}),
    Ask(f"POST {OPENAI}/conversations", {"items": [{"type": "item_reference", "id": "<item>"}]}),
    Ask(
        f"POST {OPENAI}/conversations",
        {"items": [_message({"type": "input_file", "file_id": "<file>"})]},
    ),
    Ask(f"GET {CONVERSATION}"),
    Ask(f"POST {CONVERSATION}", {"metadata": {"taken": "over"}}),
    Ask(f"POST {CONVERSATION}/items", {"items": HI}),
    Ask(f"POST {CONVERSATION}/items", {"items": [{"type": "item_reference", "id": "<item>"}]}),
    Ask(f"GET {CONVERSATION}/items"),
    Ask(f"GET {CONVERSATION}/items", query={"after": "<said>"}),
    Ask(f"GET {CONVERSATION}/items/<said>"),
    Ask(f"DELETE {OPENAI}/conversations/<other_conversation>/items/<last>"),
    Ask(f"DELETE {OPENAI}/conversations/<other_conversation>"),
    Ask(f"POST {AI_SDK}/chat", {"id": "<thread>", "messages": [UI_MESSAGE]}),
    Ask(
        f"POST {AI_SDK}/chat",
        {"id": "<thread>", "messages": [UI_MESSAGE], "assistantId": "<assistant>"},
    ),
    Ask(f"GET {AI_SDK}/chat/<thread>/stream"),
    Ask(f"GET {AI_SDK}/chat/<thread>/messages"),
    Ask(f"POST {AI_SDK}/chat/<thread>/stop"),
    Ask(f"POST {AG_UI}/run", RUN | {"threadId": "<thread>", "messages": [USER]}),
    Ask(
        f"POST {AG_UI}/run",
        RUN
        | {
            "threadId": "<thread>",
            "messages": [USER],
            "forwardedProps": {"assistantId": "<assistant>"},
        },
    ),
    Ask(f"GET {AG_UI}/threads/<thread>/stream"),
    Ask(f"GET {AG_UI}/threads/<thread>/messages"),
    Ask(f"POST {AG_UI}/threads/<thread>/stop"),
]
UNMEANT = {f"GET {OPENAI}/responses"}
"""Opens WebSockets, whose messages are requests to create responses."""

KINDS = (
    *("assistant", "thread", "file", "other_file", "response", "waiting", "call"),
    *("item", "asked", "conversation", "other_conversation", "said", "last"),
)


@dataclass
class Owner:
    name: str
    client: httpx2.AsyncClient
    ids: Mapping[str, str]
    key: str

    @property
    def canary(self) -> str:
        return f"canary-of-{self.name}"


@dataclass
class Town:
    server: Served
    database: str
    ann: Owner
    ben: Owner

    async def read_tables(self) -> dict[str, list[Row]]:
        """All rows of all tables, but for what counts requests."""
        found: dict[str, list[Row]] = {}
        async with open_dump(self.database) as dump:
            assert dump is not None
            for table in TABLES:
                if table.name in ("counters", "events"):  # events are put into rows together
                    continue
                place, rows = table.start, found.setdefault(table.name, [])
                while page := await dump.read(table, place):
                    place = table.place(page[-1])
                    rows += page
        return found


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)])
async def town(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Town]:
    database = f"sqlite:///{tmp_path}/antiphon.db"
    if request.param == "postgresql":
        database = await request.getfixturevalue("postgres").create()
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(serve_transcriber())
        settings = replace(
            SETTINGS,
            database=database,
            providers={"here": {"base_url": fake.url}},
            transcription_model="here:whisper",
            speech_model="here:tts",
        )
        server = await stack.enter_async_context(serve(settings))
        people = [await _settle(server, name) for name in ("ann", "ben")]
        yield Town(server, database, *people)


async def _settle(server: Served, name: str) -> Owner:
    key = await server.key(name)
    client, canary = await server.client(key), f"canary-of-{name}"
    owner = Owner(name, client, {}, key)

    async def make(path: str, body: Json) -> Json:
        answer = await client.post(path, json=body)
        assert answer.status_code < 300, (path, answer.text)
        made: Json = answer.json()
        return made

    named = {"name": canary, "instructions": canary, "metadata": {"canary": canary}}
    assistant = await make("/v1/assistants", named)
    files = [
        await client.post(
            f"{OPENAI}/files", files={"file": (f"{canary}.txt", canary.encode())}, data=_PURPOSE
        )
        for _ in range(2)
    ]
    items = [{"role": "user", "content": canary}]
    conversations = [await make(f"{OPENAI}/conversations", {"items": items}) for _ in range(2)]
    said, last = [
        (await client.get(f"{OPENAI}/conversations/{each['id']}/items")).json()["data"][0]["id"]
        for each in conversations
    ]
    response = await make(f"{OPENAI}/responses", {"model": "demo", "input": f"{ASK} {canary}"})
    asked = (await client.get(f"{OPENAI}/responses/{response['id']}/input_items")).json()
    waiting = await make(
        f"{OPENAI}/responses", {"model": "demo", "input": f"{ASK} {canary}", "tools": TOOLS}
    )
    (call,) = (item for item in waiting["output"] if item["type"] == "function_call")
    thread = await make("/v1/threads", {"title": canary})
    owner.ids = {
        "assistant": assistant["id"],
        "thread": thread["id"],
        "file": files[0].json()["id"],
        "other_file": files[1].json()["id"],
        "response": response["id"],
        "item": response["output"][0]["id"],
        "asked": asked["data"][0]["id"],
        "waiting": waiting["id"],
        "call": call["call_id"],
        "conversation": conversations[0]["id"],
        "other_conversation": conversations[1]["id"],
        "said": said,
        "last": last,
    }
    return owner


_PURPOSE = {"purpose": "user_data"}


_SUFFIX = re.compile(r"[0-9a-z]{8,}")
"""What is random in an id."""


def _comparable(
    answer: httpx2.Response, *renamed: tuple[str, str]
) -> tuple[int, list[tuple[str, str]], str]:
    text = answer.text
    for name, other in renamed:
        text = text.replace(name, other)
    headers = [each for each in answer.headers.items() if each[0] not in OWN_MOVES]
    return answer.status_code, headers, text


async def _rest(town: Town) -> None:
    """Wait until what requests kept for a moment is deleted."""

    async def is_clear() -> bool:
        found = await town.ben.client.get("/v1/threads", params={"temporary": "true"})
        return not found.json()["data"]

    await eventually(is_clear)


def test_no_route_is_left_out() -> None:
    asked = {f"{ask.method} {_template(ask.route.split(' ')[1])}" for ask in ASKS}
    routes = {f"{method} {_template(path)}" for method, path in openai.ROUTES}
    routes |= {f"{method} {_template(path)}" for method, path in page_wires.ROUTES}

    assert routes - asked == UNMEANT


def _template(path: str) -> str:
    path = path.replace(page_wires.AI_SDK, AI_SDK)
    return "/".join("*" if part[:1] in ("{", "<") else part for part in path.split("/"))


async def test_what_is_refused_to_others_is_answered_to_whom_it_belongs(town: Town) -> None:
    for ask in sorted(ASKS, key=lambda ask: ask.method == "DELETE"):
        answer = await ask.send(town.ann.client, town.ann.ids)
        assert answer.status_code < 300, (ask, answer.text)


async def test_nothing_opens_without_a_good_key(town: Town) -> None:
    revoked = await town.server.key("ann")
    await town.server.runtime.store.revoke_key(town.server.keys[revoked])
    stranger, before = await town.server.client(), await town.read_tables()
    bad: list[dict[str, str]] = [
        {},
        {"authorization": f"Bearer {town.ann.key}x"},
        {"authorization": f"Bearer {revoked}"},
        {"authorization": "Bearer none"},
        {"x-api-key": town.ann.key},
        {"api-key": town.ann.key},
        {"openai-organization": "ann"},
    ]
    for ask in ASKS:
        for headers in bad:
            answer = await ask.send(stranger, town.ann.ids, **headers)

            assert answer.status_code == 401, (ask, headers, answer.text)
            assert town.ann.canary not in answer.text
    assert await town.read_tables() == before


async def test_a_key_has_only_the_rights_of_its_scope(town: Town) -> None:
    reader = await town.server.client(await town.server.key("ann", "read"))
    writer = await town.server.client(await town.server.key("ann", "write"))
    watcher = await town.server.client(await town.server.key("ann", "metrics"))
    before = await town.read_tables()

    for ask in ASKS:
        answer = await ask.send(reader, town.ann.ids)
        assert (answer.status_code < 300) == (ask.method == "GET"), (ask, answer.text)
        refused = [await ask.send(watcher, town.ann.ids)]
        refused += [await ask.send(writer, town.ann.ids)] if ask.method == "GET" else [answer]
        for each in refused:
            assert each.status_code == 403, (ask, each.text)
            assert town.ann.canary not in each.text
    assert await town.read_tables() == before


async def test_nobody_acts_for_another_without_being_an_administrator(town: Town) -> None:
    before = await town.read_tables()

    for ask in ASKS:
        for header in ("Antiphon-Owner", "Antiphon-Actor"):
            answer = await ask.send(town.ben.client, town.ann.ids, **{header: "ann"})
            assert answer.status_code == 403, (ask, answer.text)
    assert await town.read_tables() == before


async def test_other_peoples_ids_are_answered_like_ids_that_never_were(town: Town) -> None:
    before = await town.read_tables()

    for ask in ASKS:
        for kind in sorted(ask.kinds):
            theirs = town.ann.ids[kind]
            suffix = _SUFFIX.findall(theirs)[0][2:20]  # the end is the place in a run
            never = theirs.replace(suffix, suffix[::-1])
            foreign = await ask.send(town.ben.client, {**town.ben.ids, kind: theirs})
            unknown = await ask.send(town.ben.client, {**town.ben.ids, kind: never})

            about = f"{ask} by {kind}: {foreign.text}"
            counts = (kind, ask.route) == ("assistant", f"{RESPONSES}/input_tokens")
            assert foreign.status_code in (400, 403, 404) or counts, about  # any name of a model
            assert _comparable(foreign) == _comparable(unknown, (suffix[::-1], suffix)), about
            assert town.ann.canary not in foreign.text, about
    await _rest(town)
    assert await town.read_tables() == before


async def test_nothing_of_others_is_in_what_somebody_can_read(town: Town) -> None:
    for ask in ASKS:
        answer = await ask.send(town.ben.client, town.ben.ids)
        assert town.ann.canary not in answer.text, ask
        for theirs in town.ann.ids.values():
            assert theirs not in answer.text, ask
