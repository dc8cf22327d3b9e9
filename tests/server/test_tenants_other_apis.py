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
VARYING_HEADERS = ("date", "content-length", "x-request-id", "antiphon-run", "antiphon-thread")


@dataclass(frozen=True)
class RequestTemplate:
    """Request; `<kind>` in its path, query, headers and body is the id of such a thing."""

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
        text = json.dumps([self.route, self.body, self.query, self.headers])
        return {kind for kind in KINDS if f"<{kind}>" in text}

    async def send(
        self, client: httpx2.AsyncClient, ids: Mapping[str, str], **headers: str
    ) -> httpx2.Response:
        def fill(value: Any) -> Any:
            text = json.dumps(value)
            for kind, id_ in ids.items():
                text = text.replace(f"<{kind}>", id_)
            return json.loads(text)

        options: Json = {} if self.body is None else {"json": fill(self.body)}
        if self.file:
            options = {
                "files": {"file": (self.file, b"a")},
                "data": {"purpose": "user_data", "model": "whisper"},
            }
        return await client.request(
            self.method,
            fill(self.route.split(" ")[1]),
            params=fill(dict(self.query)),
            headers=fill(dict(self.headers)) | headers,
            **options,
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

TEMPLATES = [
    RequestTemplate(f"GET {OPENAI}/models"),
    RequestTemplate(f"GET {OPENAI}/models/<assistant>"),
    RequestTemplate(CHAT, {"model": "<assistant>", "messages": HI}),
    RequestTemplate(
        CHAT, {"model": "demo", "messages": HI}, headers={"Antiphon-Thread": "<thread>"}
    ),
    RequestTemplate(
        CHAT,
        {
            "model": "demo",
            "messages": [_message(TEXT, {"type": "file", "file": {"file_id": "<file>"}})],
        },
    ),
    RequestTemplate(RESPONSES, {"model": "<assistant>", "input": "3 words"}),
    RequestTemplate(
        RESPONSES, {"model": "demo", "input": "2 words", "previous_response_id": "<response>"}
    ),
    RequestTemplate(
        RESPONSES, {"model": "demo", "input": "2 words", "conversation": "<conversation>"}
    ),
    RequestTemplate(
        RESPONSES,
        {
            "model": "demo",
            "input": "2 words",
            "conversation": "<conversation>",
            "store": False,
        },
    ),
    RequestTemplate(
        RESPONSES, {"model": "demo", "input": [*HI, {"type": "item_reference", "id": "<item>"}]}
    ),
    RequestTemplate(
        RESPONSES,
        {"model": "demo", "input": [_message({"type": "input_file", "file_id": "<file>"})]},
    ),
    RequestTemplate(
        RESPONSES,
        {"model": "demo", "input": [_message({"type": "input_image", "file_id": "<file>"})]},
    ),
    RequestTemplate(
        RESPONSES,
        {
            "model": "demo",
            "previous_response_id": "<waiting>",
            "tools": TOOLS,
            "input": [{"type": "function_call_output", "call_id": "<call>", "output": "17:00"}],
        },
    ),
    RequestTemplate(
        f"{RESPONSES}/input_tokens",
        {"model": "<assistant>", "input": "2 words", "previous_response_id": "<response>"},
    ),
    RequestTemplate(
        f"{RESPONSES}/input_tokens", {"model": "demo", "conversation": "<conversation>"}
    ),
    RequestTemplate(
        f"{RESPONSES}/input_tokens",
        {"model": "demo", "input": [*HI, {"type": "item_reference", "id": "<item>"}]},
    ),
    RequestTemplate(
        f"{RESPONSES}/compact", {"model": "demo", "previous_response_id": "<response>"}
    ),
    RequestTemplate(f"{RESPONSES}/compact", {"model": "demo", "conversation": "<conversation>"}),
    RequestTemplate(f"GET {OPENAI}/responses/<response>"),
    RequestTemplate(
        f"GET {OPENAI}/responses/<response>", query={"stream": "true", "starting_after": "1"}
    ),
    RequestTemplate(f"GET {OPENAI}/responses/<response>/input_items"),
    RequestTemplate(f"GET {OPENAI}/responses/<response>/input_items", query={"after": "<asked>"}),
    RequestTemplate(f"POST {OPENAI}/responses/<waiting>/cancel"),
    RequestTemplate(f"DELETE {OPENAI}/responses/<waiting>"),
    RequestTemplate(f"POST {OPENAI}/audio/speech", {"model": "tts", "input": "Hello."}),
    RequestTemplate(f"POST {OPENAI}/audio/transcriptions", file="a.webm"),
    RequestTemplate(f"POST {OPENAI}/files", file="a.txt"),
    RequestTemplate(f"GET {OPENAI}/files"),
    RequestTemplate(f"GET {OPENAI}/files", query={"after": "<file>"}),
    RequestTemplate(f"GET {OPENAI}/files/<file>"),
    RequestTemplate(f"GET {OPENAI}/files/<file>/content"),
    RequestTemplate(f"DELETE {OPENAI}/files/<other_file>"),
    RequestTemplate(f"POST {OPENAI}/conversations", {}),
    RequestTemplate(
        f"POST {OPENAI}/conversations", {"items": [{"type": "item_reference", "id": "<item>"}]}
    ),
    RequestTemplate(
        f"POST {OPENAI}/conversations",
        {"items": [_message({"type": "input_file", "file_id": "<file>"})]},
    ),
    RequestTemplate(f"GET {CONVERSATION}"),
    RequestTemplate(f"POST {CONVERSATION}", {"metadata": {"taken": "over"}}),
    RequestTemplate(f"POST {CONVERSATION}/items", {"items": HI}),
    RequestTemplate(
        f"POST {CONVERSATION}/items", {"items": [{"type": "item_reference", "id": "<item>"}]}
    ),
    RequestTemplate(f"GET {CONVERSATION}/items"),
    RequestTemplate(f"GET {CONVERSATION}/items", query={"after": "<said>"}),
    RequestTemplate(f"GET {CONVERSATION}/items/<said>"),
    RequestTemplate(f"DELETE {OPENAI}/conversations/<other_conversation>/items/<last>"),
    RequestTemplate(f"DELETE {OPENAI}/conversations/<other_conversation>"),
    RequestTemplate(f"POST {AI_SDK}/chat", {"id": "<thread>", "messages": [UI_MESSAGE]}),
    RequestTemplate(
        f"POST {AI_SDK}/chat",
        {"id": "<thread>", "messages": [UI_MESSAGE], "assistantId": "<assistant>"},
    ),
    RequestTemplate(f"GET {AI_SDK}/chat/<thread>/stream"),
    RequestTemplate(f"GET {AI_SDK}/chat/<thread>/messages"),
    RequestTemplate(f"POST {AI_SDK}/chat/<thread>/stop"),
    RequestTemplate(f"POST {AG_UI}/run", RUN | {"threadId": "<thread>", "messages": [USER]}),
    RequestTemplate(
        f"POST {AG_UI}/run",
        RUN
        | {
            "threadId": "<thread>",
            "messages": [USER],
            "forwardedProps": {"assistantId": "<assistant>"},
        },
    ),
    RequestTemplate(f"GET {AG_UI}/threads/<thread>/stream"),
    RequestTemplate(f"GET {AG_UI}/threads/<thread>/messages"),
    RequestTemplate(f"POST {AG_UI}/threads/<thread>/stop"),
]
UNTESTED_ROUTES = {f"GET {OPENAI}/responses"}
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
class TenantServer:
    server: Served
    database: str
    ann: Owner
    ben: Owner

    async def read_tables(self) -> dict[str, list[Row]]:
        """Return all rows of all tables, except counters of requests."""
        rows_by_table: dict[str, list[Row]] = {}
        async with open_dump(self.database) as dump:
            assert dump is not None
            for table in TABLES:
                if table.name in ("counters", "events"):  # events are put into rows together
                    continue
                place, rows = table.start, rows_by_table.setdefault(table.name, [])
                while page := await dump.read(table, place):
                    place = table.place(page[-1])
                    rows += page
        return rows_by_table


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)])
async def tenants(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TenantServer]:
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
        people = [await _store_owner(server, name) for name in ("ann", "ben")]
        yield TenantServer(server, database, *people)


async def _store_owner(server: Served, name: str) -> Owner:
    key = await server.key(name)
    client, canary = await server.client(key), f"canary-of-{name}"
    owner = Owner(name, client, {}, key)

    async def make(path: str, body: Json) -> Json:
        answer = await client.post(path, json=body)
        assert answer.status_code < 300, (path, answer.text)
        created: Json = answer.json()
        return created

    assistant_fields = {"name": canary, "instructions": canary, "metadata": {"canary": canary}}
    assistant = await make("/v1/assistants", assistant_fields)
    files = [
        await client.post(
            f"{OPENAI}/files", files={"file": (f"{canary}.txt", canary.encode())}, data=_PURPOSE
        )
        for _ in range(2)
    ]
    items = [{"role": "user", "content": canary}]
    conversations = [await make(f"{OPENAI}/conversations", {"items": items}) for _ in range(2)]
    first_message, last = [
        (await client.get(f"{OPENAI}/conversations/{each['id']}/items")).json()["data"][0]["id"]
        for each in conversations
    ]
    response = await make(f"{OPENAI}/responses", {"model": "demo", "input": f"{ASK} {canary}"})
    input_items = (await client.get(f"{OPENAI}/responses/{response['id']}/input_items")).json()
    waiting_response = await make(
        f"{OPENAI}/responses", {"model": "demo", "input": f"{ASK} {canary}", "tools": TOOLS}
    )
    (call,) = (item for item in waiting_response["output"] if item["type"] == "function_call")
    thread = await make("/v1/threads", {"title": canary})
    owner.ids = {
        "assistant": assistant["id"],
        "thread": thread["id"],
        "file": files[0].json()["id"],
        "other_file": files[1].json()["id"],
        "response": response["id"],
        "item": response["output"][0]["id"],
        "asked": input_items["data"][0]["id"],
        "waiting": waiting_response["id"],
        "call": call["call_id"],
        "conversation": conversations[0]["id"],
        "other_conversation": conversations[1]["id"],
        "said": first_message,
        "last": last,
    }
    return owner


_PURPOSE = {"purpose": "user_data"}


_SUFFIX = re.compile(r"[0-9a-z]{8,}")
"""The random part of an id."""


def _comparable(
    answer: httpx2.Response, *renamed: tuple[str, str]
) -> tuple[int, list[tuple[str, str]], str]:
    text = answer.text
    for name, other in renamed:
        text = text.replace(name, other)
    headers = [each for each in answer.headers.items() if each[0] not in VARYING_HEADERS]
    return answer.status_code, headers, text


async def _wait_for_deletion(tenants: TenantServer) -> None:
    """Wait until what requests stored for a moment is deleted."""

    async def is_clear() -> bool:
        page = await tenants.ben.client.get("/v1/threads", params={"temporary": "true"})
        return not page.json()["data"]

    await eventually(is_clear)


def test_no_route_is_left_out() -> None:
    tested_routes = {
        f"{template.method} {_template(template.route.split(' ')[1])}" for template in TEMPLATES
    }
    routes = {f"{method} {_template(path)}" for method, path in openai.ROUTES}
    routes |= {f"{method} {_template(path)}" for method, path in page_wires.ROUTES}

    assert routes - tested_routes == UNTESTED_ROUTES


def _template(path: str) -> str:
    path = path.replace(page_wires.AI_SDK, AI_SDK)
    return "/".join("*" if part[:1] in ("{", "<") else part for part in path.split("/"))


async def test_requests_that_are_refused_to_others_are_answered_to_the_owner(
    tenants: TenantServer,
) -> None:
    for template in sorted(TEMPLATES, key=lambda template: template.method == "DELETE"):
        answer = await template.send(tenants.ann.client, tenants.ann.ids)
        assert answer.status_code < 300, (template, answer.text)


async def test_nothing_opens_without_a_good_key(tenants: TenantServer) -> None:
    revoked_key = await tenants.server.key("ann")
    await tenants.server.runtime.store.revoke_key(tenants.server.keys[revoked_key])
    anonymous, before = await tenants.server.client(), await tenants.read_tables()
    bad_headers: list[dict[str, str]] = [
        {},
        {"authorization": f"Bearer {tenants.ann.key}x"},
        {"authorization": f"Bearer {revoked_key}"},
        {"authorization": "Bearer none"},
        {"x-api-key": tenants.ann.key},
        {"api-key": tenants.ann.key},
        {"openai-organization": "ann"},
    ]
    for template in TEMPLATES:
        for headers in bad_headers:
            answer = await template.send(anonymous, tenants.ann.ids, **headers)

            assert answer.status_code == 401, (template, headers, answer.text)
            assert tenants.ann.canary not in answer.text
    assert await tenants.read_tables() == before


async def test_a_key_has_only_the_rights_of_its_scope(tenants: TenantServer) -> None:
    reader = await tenants.server.client(await tenants.server.key("ann", "read"))
    writer = await tenants.server.client(await tenants.server.key("ann", "write"))
    watcher = await tenants.server.client(await tenants.server.key("ann", "metrics"))
    before = await tenants.read_tables()

    for template in TEMPLATES:
        answer = await template.send(reader, tenants.ann.ids)
        assert (answer.status_code < 300) == (template.method == "GET"), (template, answer.text)
        refusals = [await template.send(watcher, tenants.ann.ids)]
        refusals += (
            [await template.send(writer, tenants.ann.ids)] if template.method == "GET" else [answer]
        )
        for each in refusals:
            assert each.status_code == 403, (template, each.text)
            assert tenants.ann.canary not in each.text
    assert await tenants.read_tables() == before


async def test_nobody_acts_for_another_without_being_an_administrator(
    tenants: TenantServer,
) -> None:
    before = await tenants.read_tables()

    for template in TEMPLATES:
        for header in ("Antiphon-Owner", "Antiphon-Actor"):
            answer = await template.send(tenants.ben.client, tenants.ann.ids, **{header: "ann"})
            assert answer.status_code == 403, (template, answer.text)
    assert await tenants.read_tables() == before


async def test_other_peoples_ids_are_answered_like_ids_that_never_were(
    tenants: TenantServer,
) -> None:
    before = await tenants.read_tables()

    for template in TEMPLATES:
        for kind in sorted(template.kinds):
            foreign_id = tenants.ann.ids[kind]
            suffix = _SUFFIX.findall(foreign_id)[0][2:20]  # the end is the place in a run
            unknown_id = foreign_id.replace(suffix, suffix[::-1])
            foreign_answer = await template.send(
                tenants.ben.client, {**tenants.ben.ids, kind: foreign_id}
            )
            unknown_answer = await template.send(
                tenants.ben.client, {**tenants.ben.ids, kind: unknown_id}
            )

            message = f"{template} by {kind}: {foreign_answer.text}"
            is_count = (kind, template.route) == ("assistant", f"{RESPONSES}/input_tokens")
            # Tokens are counted for any name of a model.
            assert foreign_answer.status_code in (400, 403, 404) or is_count, message
            assert _comparable(foreign_answer) == _comparable(
                unknown_answer, (suffix[::-1], suffix)
            ), message
            assert tenants.ann.canary not in foreign_answer.text, message
    await _wait_for_deletion(tenants)
    assert await tenants.read_tables() == before


async def test_nothing_of_others_is_in_what_somebody_can_read(tenants: TenantServer) -> None:
    for template in TEMPLATES:
        answer = await template.send(tenants.ben.client, tenants.ben.ids)
        assert tenants.ann.canary not in answer.text, template
        for foreign_id in tenants.ann.ids.values():
            assert foreign_id not in answer.text, template
