"""Owners are apart: every operation of the OpenAPI document, with every credential, and an id of
somebody else in every place that holds one.

Guarantees G29, S11, S12 and S23: what is another owner's is answered byte for byte like an id that
never was, nothing of theirs is in any answer, and nothing in the database has changed.
"""

from __future__ import annotations

import asyncio
import base64
import re
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import groupby, product
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from msgspec.structs import replace

from antiphon.runtime.wiring import open_dump
from antiphon.server import openapi
from antiphon.stores.dump import TABLES, Dump, Row, Table
from tests.support.providers.transcriber import serve_transcriber
from tests.support.server.operations import (
    Json,
    SampleRequest,
    build_sample_requests,
    find_unfilled_fields,
    make_unknown_id,
)
from tests.support.server.served import SETTINGS, Served, serve

TOOLS = [{"name": "get_flight_times", "parameters": {"type": "object", "properties": {}}}]
ASK = "When does the next LAX-JFK flight leave?"
BEARER = "authorization"
ACTING = "antiphon-owner"
PROVIDERS = {"ann": "mistral", "ben": "groq"}
THIRD = "cerebras"
"""Providers at which each owner has a key of their own."""
SECRET = base64.b64encode(bytes(32)).decode()  # seals those keys
SHOWN_LETTERS = 32  # letters of what was sent, in a problem
VARYING_HEADERS = ("date", "content-length", "x-request-id")  # two answers may differ in them

DOCUMENT: Json = msgspec.json.decode(openapi.build_document())
REQUESTS = list(build_sample_requests(DOCUMENT))
OWNED = [sample for sample in REQUESTS if sample.scope in (None, "read")]
ADMINISTRATIVE = [sample for sample in REQUESTS if sample not in OWNED]
IDEMPOTENT = [sample for sample in OWNED if "Idempotency-Key" in sample.header_names]
UNANSWERED = ("GET /v1/files/{file_id}/picture",)
"""Operations that these servers refuse to all alike, since they read no documents."""


@dataclass
class Owner:
    """Owner with a key, and the ids of one of everything that they have."""

    name: str
    client: httpx2.AsyncClient
    ids: dict[str, str]
    key: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def canary(self) -> str:
        """Word in every text of this owner."""
        return f"canary-of-{self.name}"

    async def send(self, sample: SampleRequest, fields: Json, **headers: str) -> httpx2.Response:
        header_fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return await sample.send(self.client, fields, self.headers | header_fields)


@dataclass
class TenantServer:
    """Server with owners who know nothing of one another, and its database."""

    server: Served
    database: str
    ann: Owner
    ben: Owner
    project: Owner  # whom people share, with keys of its own
    root: str  # a key that administers

    async def list_strangers(self) -> Sequence[Owner]:
        """Return everybody with a valid key to whom nothing of ann's belongs."""
        client = await self.server.client(self.root)
        return [
            self.ben,
            self.project,
            Owner("root", client, self.ben.ids, self.root),
            Owner("root for ben", client, self.ben.ids, self.root, {ACTING: "ben"}),
        ]

    async def read_tables(self) -> dict[str, list[Any]]:
        """Return all rows of all tables, except counters of requests."""
        rows: dict[str, list[Any]] = {}
        async with open_dump(self.database) as dump:
            assert dump is not None
            for table in TABLES:
                if table.name != "counters":
                    rows[table.name] = await _read_table(dump, table)
        # The grouping of events in rows does not matter.
        rows["events"] = [(run, b"\n".join(lines)) for run, lines in _group_by_run(rows["events"])]
        return rows


async def _read_table(dump: Dump, table: Table) -> list[Row]:
    all_rows: list[Row] = []
    place = table.start
    while rows := await dump.read(table, place):
        place = table.place(rows[-1])
        all_rows += rows
    return all_rows


def _group_by_run(events: Sequence[Row]) -> Iterator[tuple[str, list[bytes]]]:
    for run_id, rows in groupby(events, lambda row: row[2]):
        yield run_id, [lines for *_, lines in rows]


FOR_OTHERS = ("link", "published")
"""Kinds of ids that are made for others to read."""


@dataclass
class StoredOwners:
    """Contents of a database: owners, their keys, and the ids of their objects."""

    people: list[tuple[str, str, dict[str, str]]]
    root: str


async def _store_owners(database: str) -> StoredOwners:
    async with serve(replace(SETTINGS, database=database, secret_key=SECRET)) as server:
        root = await server.key("root", "admin")
        admin = await server.client(root)
        project = (await admin.post("/v1/projects", json={"name": "moon"})).json()["id"]
        people = [await _settle_owner(server, name, root) for name in ("ann", "ben", project)]
    return StoredOwners([(each.name, each.key, each.ids) for each in people], root)


@pytest.fixture(scope="session")
def stored_owners(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StoredOwners]:
    """Return a database file in which owners have stored data, to be copied."""
    path = tmp_path_factory.mktemp("settled") / "antiphon.db"
    return path, asyncio.run(_store_owners(f"sqlite:///{path}"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)])
async def tenants(
    request: pytest.FixtureRequest, tmp_path: Path, stored_owners: tuple[Path, StoredOwners]
) -> AsyncIterator[TenantServer]:
    file, stored = stored_owners
    database = f"sqlite:///{tmp_path}/antiphon.db"
    if request.param == "postgresql":
        database = await request.getfixturevalue("postgres").create()
        stored = await _store_owners(database)
    else:
        shutil.copy(file, tmp_path / "antiphon.db")
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(serve_transcriber())
        settings = replace(
            SETTINGS,
            database=database,
            secret_key=SECRET,
            providers={"here": {"base_url": fake.url}},
            transcription_model="here:whisper",
            speech_model="here:tts",
        )
        server = await stack.enter_async_context(serve(settings))
        people = [
            Owner(name, await server.client(key), dict(ids), key)
            for name, key, ids in stored.people
        ]
        yield TenantServer(server, database, *people, stored.root)


async def _settle_owner(server: Served, name: str, root: str) -> Owner:
    key = await server.key(name)
    owner = Owner(name, await server.client(key), {}, key)
    admin = await server.client(root)
    person = await admin.post("/v1/people", json={"name": f"{name} {owner.canary}"})
    project = await admin.post("/v1/projects", json={"name": owner.canary})
    acts = await admin.get("/v1/acts")
    key_there = {"key": f"sk-{owner.canary}"}
    await owner.client.put(f"/v1/provider_keys/{PROVIDERS.get(name, THIRD)}", json=key_there)
    owner.ids |= await _create_data(owner) | {
        "person": person.json()["id"],
        "key": server.keys[key],
        "owner": name,
        "project": project.json()["id"],
        "provider": PROVIDERS.get(name, THIRD),
        "act": acts.json()["data"][0]["id"],
    }
    return owner


async def _create_data(owner: Owner) -> dict[str, str]:
    """Create one of everything that an owner can have, full of words for nobody else."""
    client, canary = owner.client, owner.canary
    assistant_fields = {"name": canary, "instructions": canary, "metadata": {"canary": canary}}
    assistant = await client.post("/v1/assistants", json=assistant_fields)
    folder = await client.post("/v1/folders", json={"name": canary, "instructions": canary})
    file = await client.post("/v1/files", params={"name": f"{canary}.txt"}, content=canary)
    body = {"message": {"content": f"{ASK} {canary}"}, "tools": TOOLS}
    turn = await client.post("/v1/process", json=body)
    assert "event: action.required" in turn.text, turn.text
    run = (await client.get("/v1/runs")).json()["data"][0]
    action = (await client.get("/v1/actions", params={"run_id": run["id"]})).json()["data"][0]
    messages = await client.get("/v1/messages", params={"thread_id": run["thread_id"]})
    url = f"https://{canary}.invalid/"
    webhook = (await client.post("/v1/webhooks", json={"url": url})).json()["webhook"]["id"]
    event = (await client.post(f"/v1/webhooks/{webhook}/test")).json()["id"]
    await client.patch(f"/v1/webhooks/{webhook}", json={"enabled": False})  # nothing is sent
    schedule_fields = {
        "message": f"{ASK} {canary}",
        "name": canary,
        "cron": "@daily",
        "paused": True,
    }
    schedule = (await client.post("/v1/schedules", json=schedule_fields)).json()["id"]
    share = await client.post(f"/v1/threads/{run['thread_id']}/shares", json={"title": canary})
    started_run = (await client.post(f"/v1/schedules/{schedule}/run")).json()
    await _wait_until_ended(client, started_run["id"])
    await client.delete(f"/v1/threads/{started_run['thread_id']}")
    await client.patch("/v1/personal_settings", json={"instructions": canary})
    memory = (await client.post("/v1/memories", json={"text": f"{canary} {run['id']}"})).json()[
        "id"
    ]
    history = await client.get(f"/v1/schedules/{schedule}/occurrences")
    publishable = await client.post("/v1/assistants", json={"name": "For everyone"})
    await client.post(f"/v1/assistants/{publishable.json()['id']}/publish")
    await client.post("/v1/chat_imports", json={"name": canary, "size": 1000})
    # An owner has one import of chats at a time.
    chat_imports = (await client.get("/v1/chat_imports")).json()["data"]
    return {
        "import": chat_imports[0]["id"],
        "published": publishable.json()["id"],
        "schedule": schedule,
        "share": share.json()["share"]["id"],
        "link": share.json()["token"],
        "occurrence": history.json()["data"][0]["id"],
        "memory": memory,
        "webhook": webhook,
        "event": event,
        "assistant": assistant.json()["id"],
        "folder": folder.json()["id"],
        "thread": run["thread_id"],
        "message": messages.json()["data"][0]["id"],
        "reply": messages.json()["data"][1]["id"],
        "run": run["id"],
        "action": action["id"],
        "tool_call": action["tool_call_id"],
        "file": file.json()["id"],
    }


async def _wait_until_ended(client: httpx2.AsyncClient, run_id: str) -> None:
    after, has_ended = 0, False
    while not has_ended:
        cursor = {"after": after, "wait": 20}
        page = (await client.get(f"/v1/runs/{run_id}/log", params=cursor)).json()
        has_ended = page["ended"]
        after = max([after, *(each["number"] for each in page["data"])])


def _comparable_answer(
    answer: httpx2.Response, *renamed: tuple[str, str]
) -> tuple[int, Any, bytes]:
    """Return an answer as a stranger could compare it: without what differs in each answer."""
    headers = [
        (name, value) for name, value in answer.headers.items() if name not in VARYING_HEADERS
    ]
    content = answer.content
    for name, other in renamed:
        content = content.replace(name.encode(), other.encode())
    return answer.status_code, headers, content


def _authorization_headers(key: str) -> Iterator[dict[str, str]]:
    """Yield the header in each spelling that people use."""
    for name, scheme in product(("Authorization", "authorization"), ("Bearer", "bearer")):
        yield {name: f"{scheme} {key}"}


def _make_unknown_ids(ids: dict[str, str]) -> dict[str, str]:
    return {kind: make_unknown_id(name) for kind, name in ids.items()}


# The matrix is complete, and its requests are valid.


def test_no_operation_and_no_place_for_an_id_is_left_out() -> None:
    assert find_unfilled_fields(DOCUMENT) == set()


async def test_requests_that_are_refused_to_others_are_answered_to_the_owner(
    tenants: TenantServer,
) -> None:
    """Nothing is deleted before it is asked for: the requests are sorted, the thread comes last."""
    last = ["DELETE /v1/memories", "POST /v1/runs/{run_id}/cancel", "GET /v1/runs/{run_id}/events"]

    def order_key(sample: SampleRequest) -> tuple[bool, int, str]:
        return (
            sample.method == "DELETE",
            last.index(sample.name) if sample.name in last else -1,
            sample.name,
        )

    for sample in sorted(OWNED, key=order_key):
        if sample.name in UNANSWERED:
            continue
        answer = await tenants.ann.send(sample, sample.fill(tenants.ann.ids))

        assert answer.status_code < 300 or answer.status_code == 409, (sample.name, answer.text)


# Callers without a valid key, or without the right for this.


async def test_no_operation_opens_without_a_good_key(tenants: TenantServer) -> None:
    server, valid_key = tenants.server, tenants.ann.key
    revoked_key = await server.key("ann")
    await server.runtime.store.revoke_key(server.keys[revoked_key])
    expired_key = await server.key("ann")
    await server.runtime.store.change_key(
        server.keys[expired_key], lambda key: replace(key, expires_at=key.created_at)
    )
    bad_headers: list[dict[str, str]] = [
        {},
        {BEARER: "Bearer"},
        {BEARER: f"Basic {valid_key}"},
        {BEARER: valid_key},
        {BEARER: f"Bearer {valid_key}x"},
        {BEARER: f"Bearer {valid_key[:-1]}"},
        {BEARER: f"Bearer {valid_key[:15]}{'A' * 43}"},
        {BEARER: "Bearer ' OR 1=1--"},
        {"x-api-key": valid_key},
        {"cookie": f"key={valid_key}"},
        {ACTING: "ann"},
        *list(_authorization_headers(revoked_key))[::3],
        *list(_authorization_headers(expired_key))[1:3],
    ]
    client = await server.client()
    before = await tenants.read_tables()

    for sample, headers in product(REQUESTS, bad_headers):
        answer = await sample.send(client, sample.fill(tenants.ann.ids), headers)

        assert answer.status_code == 401, (sample.name, headers)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert tenants.ann.canary not in answer.text
    for sample, headers in product(REQUESTS, (bad_headers[0], bad_headers[-1])):
        answer = await sample.send(client, sample.fill(tenants.ann.ids), headers)
        unknown_answer = await sample.send(
            client, sample.fill(_make_unknown_ids(tenants.ann.ids)), headers
        )
        assert _comparable_answer(answer) == _comparable_answer(unknown_answer), (
            sample.name,
            headers,
        )
    assert await tenants.read_tables() == before


async def test_a_key_that_may_read_writes_nothing(tenants: TenantServer) -> None:
    reader = await tenants.server.client(await tenants.server.key("ann", "read"))
    before = await tenants.read_tables()

    for sample in REQUESTS:
        if sample.endless or sample.name in UNANSWERED:
            continue  # a follower would wait for as long as the run waits
        answer = await sample.send(reader, sample.fill(tenants.ann.ids))
        unknown_answer = await sample.send(reader, sample.fill(_make_unknown_ids(tenants.ann.ids)))

        assert answer.status_code == (200 if sample.required_access == "read" else 403), (
            sample.name,
            answer.text,
        )
        assert sample.required_access == "read" or _comparable_answer(answer) == _comparable_answer(
            unknown_answer
        ), sample.name
    assert await tenants.read_tables() == before


async def test_a_key_that_may_write_reads_nothing(tenants: TenantServer) -> None:
    writer = await tenants.server.client(await tenants.server.key("ann", "write"))

    for sample in REQUESTS:
        if sample.required_access == "read":
            answer = await sample.send(writer, sample.fill(tenants.ann.ids))
            assert answer.status_code == 403, (sample.name, answer.text)
    assert (await writer.post("/v1/threads")).status_code == 201


async def test_only_a_key_that_may_administer_administers(tenants: TenantServer) -> None:
    before = await tenants.read_tables()

    for sample in ADMINISTRATIVE:
        answer = await tenants.ben.send(sample, sample.fill(tenants.ann.ids))
        unknown_answer = await tenants.ben.send(
            sample, sample.fill(_make_unknown_ids(tenants.ann.ids))
        )
        own_answer = await tenants.ben.send(sample, sample.fill(tenants.ben.ids))

        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), sample.name
        assert (
            _comparable_answer(answer)
            == _comparable_answer(unknown_answer)
            == _comparable_answer(own_answer)
        ), sample.name
    assert await tenants.read_tables() == before
    assert (await tenants.ben.client.head("/v1/people")).status_code == 403


async def test_an_administrator_is_never_forbidden_to_administer(tenants: TenantServer) -> None:
    root = await tenants.server.client(tenants.root)

    for sample in sorted(ADMINISTRATIVE, key=lambda sample: sample.method == "DELETE"):
        answer = await sample.send(root, sample.fill(tenants.ann.ids))

        assert answer.status_code != 401, sample.name
        assert '"code":"forbidden"' not in answer.text, (sample.name, answer.text)


async def test_nobody_acts_for_another_without_being_an_administrator(
    tenants: TenantServer,
) -> None:
    reader = await tenants.server.client(await tenants.server.key("ben", "read"))
    before = await tenants.read_tables()

    for sample, client in product(REQUESTS, (tenants.ben.client, reader)):
        fields = sample.fill(tenants.ann.ids)
        answers = [
            await sample.send(client, fields, {header: name})
            for header in (ACTING, "Antiphon-Owner", "Antiphon-Actor")
            for name in ("ann", "nobody")
        ]

        assert {answer.status_code for answer in answers} == {403}, sample.name
        assert len({answer.content for answer in answers}) == 1, sample.name
    assert await tenants.read_tables() == before


# Other people's ids.


async def test_other_peoples_ids_are_answered_like_ids_that_never_were(
    tenants: TenantServer,
) -> None:
    before = await tenants.read_tables()

    for stranger, sample in product(await tenants.list_strangers(), OWNED):
        for path in sample.id_paths():
            if sample.id_at(path).kind in FOR_OTHERS:
                continue
            place, foreign_id = ".".join(path), tenants.ann.ids[sample.id_at(path).kind]
            unknown_id = make_unknown_id(foreign_id)
            foreign_answer = await stranger.send(
                sample, sample.fill(stranger.ids, **{place: foreign_id})
            )
            unknown_answer = await stranger.send(
                sample, sample.fill(stranger.ids, **{place: unknown_id})
            )

            message = f"{sample.name} by {place} as {stranger.name}: {foreign_answer.text}"
            assert _comparable_answer(foreign_answer) == _comparable_answer(
                unknown_answer, (unknown_id, foreign_id)
            ), message
            # A request about many threads has a result for each.
            results = [] if foreign_answer.status_code == 404 else foreign_answer.json()["data"]
            assert all(each.get("code") == "not_found" for each in results), message
            assert tenants.ann.canary not in foreign_answer.text, message
    assert await tenants.read_tables() == before


async def test_nothing_of_others_is_in_what_somebody_can_read(tenants: TenantServer) -> None:
    for sample in OWNED:
        if sample.method == "GET" and not sample.endless and sample.name not in UNANSWERED:
            for fields in (
                sample.fill(tenants.ben.ids),
                _without_after(sample.fill(tenants.ben.ids)),
            ):
                answer = await tenants.ben.send(sample, fields)
                assert answer.status_code == 200, (sample.name, answer.text)
                _check_nothing_of(tenants.ann, answer)
    search_answer = await tenants.ben.client.get("/v1/threads", params={"q": "canary"})
    _check_nothing_of(tenants.ann, search_answer)
    assert [each["id"] for each in search_answer.json()["data"]] == [tenants.ben.ids["thread"]]


def _without_after(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if name != "after"}


def _check_nothing_of(owner: Owner, answer: httpx2.Response) -> None:
    assert owner.canary not in answer.text
    for kind in ("assistant", "folder", "thread", "message", "run", "action", "file"):
        assert owner.ids[kind] not in answer.text


@pytest.mark.parametrize("where", ["Last-Event-ID", "after"])
async def test_the_place_in_a_stream_tells_nothing_of_others_runs(
    tenants: TenantServer, where: str
) -> None:
    (follow,) = (sample for sample in OWNED if "Last-Event-ID" in sample.header_names)
    foreign_id, own_id = tenants.ann.ids["run"], tenants.ben.ids["run"]
    unknown_id = make_unknown_id(foreign_id)

    async def read_events(run_id: str, after: str) -> httpx2.Response:
        fields = {"run_id": run_id} | ({"after": after} if where == "after" else {})
        headers = {where: after} if where != "after" else {}
        return await follow.send(tenants.ben.client, fields, headers)

    for after in ("0", "1", "999999", "-1", foreign_id, "' OR 1=1--"):
        foreign_answer, unknown_answer = (
            await read_events(foreign_id, after),
            await read_events(unknown_id, after),
        )
        assert _comparable_answer(foreign_answer) == _comparable_answer(
            unknown_answer, (unknown_id, foreign_id)
        ), after
        assert foreign_answer.status_code in (404, 400, 422), after
    foreign_answer, unknown_answer = (
        await read_events(own_id, foreign_id),
        await read_events(own_id, unknown_id),
    )
    assert _comparable_answer(foreign_answer) == _comparable_answer(
        unknown_answer, (unknown_id[:SHOWN_LETTERS], foreign_id[:SHOWN_LETTERS])
    )
    assert foreign_answer.status_code in (400, 422)


async def test_an_idempotency_key_of_somebody_else_means_nothing(tenants: TenantServer) -> None:
    for number, sample in enumerate(IDEMPOTENT):
        fields = sample.fill(await _prepare_ids(tenants.ann, sample))
        headers = {"Idempotency-Key": f"shared-{number}"}
        ann_answer = await tenants.ann.send(sample, fields, **headers)
        repeated = await tenants.ann.send(sample, fields, **headers)
        assert (ann_answer.status_code < 300, repeated.content) == (True, ann_answer.content), (
            ann_answer.text
        )

        ben_answer = await tenants.ben.send(sample, fields, **headers)
        ben_other_answer = await tenants.ben.send(
            sample, fields, **{"Idempotency-Key": f"another-{number}"}
        )

        assert "idempotency-replayed" not in ben_answer.headers
        if any(sample.id_at(path).kind not in FOR_OTHERS for path in sample.id_paths()):
            assert (ben_answer.status_code, _comparable_answer(ben_answer)) == (
                404,
                _comparable_answer(ben_other_answer),
            ), sample.name
        else:
            assert ben_answer.status_code == ann_answer.status_code, sample.name
            public = {tenants.ann.ids["published"]}  # a copy names its original
            assert not ({*_list_ids(ben_answer)} & {*_list_ids(ann_answer)}) - public, sample.name


def _list_ids(answer: httpx2.Response) -> list[str]:
    return re.findall(r"[a-z]+_[0-9a-z]{20,}", answer.text)


async def _prepare_ids(owner: Owner, sample: SampleRequest) -> dict[str, str]:
    """Return ids of things in a state that accepts the request."""
    if "tool_call_id" in sample.fields:
        return await _create_data(owner)
    thread = (await owner.client.post("/v1/threads")).json()["id"]
    message = await owner.client.post(
        "/v1/messages", json={"thread_id": thread, "content": "Hello."}
    )
    ids = owner.ids | {"thread": thread, "message": message.json()["id"]}
    if "run_id" in sample.fields:
        run = await owner.client.post("/v1/runs", json={"thread_id": thread})
        ids["run"] = run.json()["id"]
    return ids
