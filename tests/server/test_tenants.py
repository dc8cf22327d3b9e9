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
"""For whom each has a key of their own."""
SECRET = base64.b64encode(bytes(32)).decode()  # seals those keys
SHOWN = 32  # letters of what was sent, in a problem
OWN_MOVES = ("date", "content-length", "x-request-id")  # headers in which two answers may differ

DOCUMENT: Json = msgspec.json.decode(openapi.build_document())
REQUESTS = list(build_sample_requests(DOCUMENT))
OWNED = [sample for sample in REQUESTS if sample.scope in (None, "read")]
ADMINISTRATIVE = [sample for sample in REQUESTS if sample not in OWNED]
IDEMPOTENT = [sample for sample in OWNED if "Idempotency-Key" in sample.header_names]
UNANSWERED = ("GET /v1/files/{file_id}/picture",)
"""Refused here to all alike, since these servers read no documents."""


@dataclass
class Owner:
    """Somebody with a key, and the ids of one of everything that they have."""

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
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await sample.send(self.client, fields, self.headers | named)


@dataclass
class Town:
    """A server with owners who know nothing of one another, and its database."""

    server: Served
    database: str
    ann: Owner
    ben: Owner
    project: Owner  # whom people share, with keys of its own
    root: str  # a key that administers

    async def strangers(self) -> Sequence[Owner]:
        """Everybody with a good key to whom nothing of ann's belongs."""
        client = await self.server.client(self.root)
        return [
            self.ben,
            self.project,
            Owner("root", client, self.ben.ids, self.root),
            Owner("root for ben", client, self.ben.ids, self.root, {ACTING: "ben"}),
        ]

    async def read_tables(self) -> dict[str, list[Any]]:
        """All rows of all tables, but for what counts requests."""
        rows: dict[str, list[Any]] = {}
        async with open_dump(self.database) as dump:
            assert dump is not None
            for table in TABLES:
                if table.name != "counters":
                    rows[table.name] = await _every(dump, table)
        # How events are put into rows is nobody's business.
        rows["events"] = [(run, b"\n".join(lines)) for run, lines in _by_run(rows["events"])]
        return rows


async def _every(dump: Dump, table: Table) -> list[Row]:
    found: list[Row] = []
    place = table.start
    while rows := await dump.read(table, place):
        place = table.place(rows[-1])
        found += rows
    return found


def _by_run(events: Sequence[Row]) -> Iterator[tuple[str, list[bytes]]]:
    for run_id, rows in groupby(events, lambda row: row[2]):
        yield run_id, [lines for *_, lines in rows]


FOR_OTHERS = ("link", "published")
"""Kinds of ids that are made for others to read."""


@dataclass
class Settled:
    """Contents of a database: owners, their keys, and the ids of their objects."""

    people: list[tuple[str, str, dict[str, str]]]
    root: str


async def _settle(database: str) -> Settled:
    async with serve(replace(SETTINGS, database=database, secret_key=SECRET)) as server:
        root = await server.key("root", "admin")
        admin = await server.client(root)
        project = (await admin.post("/v1/projects", json={"name": "moon"})).json()["id"]
        people = [await _settle_owner(server, name, root) for name in ("ann", "ben", project)]
    return Settled([(each.name, each.key, each.ids) for each in people], root)


@pytest.fixture(scope="session")
def settled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Settled]:
    """A file in which people have settled, to be copied."""
    path = tmp_path_factory.mktemp("settled") / "antiphon.db"
    return path, asyncio.run(_settle(f"sqlite:///{path}"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)])
async def town(
    request: pytest.FixtureRequest, tmp_path: Path, settled: tuple[Path, Settled]
) -> AsyncIterator[Town]:
    file, there = settled
    database = f"sqlite:///{tmp_path}/antiphon.db"
    if request.param == "postgresql":
        database = await request.getfixturevalue("postgres").create()
        there = await _settle(database)
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
            Owner(name, await server.client(key), dict(ids), key) for name, key, ids in there.people
        ]
        yield Town(server, database, *people, there.root)


async def _settle_owner(server: Served, name: str, root: str) -> Owner:
    key = await server.key(name)
    owner = Owner(name, await server.client(key), {}, key)
    admin = await server.client(root)
    person = await admin.post("/v1/people", json={"name": f"{name} {owner.canary}"})
    project = await admin.post("/v1/projects", json={"name": owner.canary})
    acts = await admin.get("/v1/acts")
    key_there = {"key": f"sk-{owner.canary}"}
    await owner.client.put(f"/v1/provider_keys/{PROVIDERS.get(name, THIRD)}", json=key_there)
    owner.ids |= await _things(owner) | {
        "person": person.json()["id"],
        "key": server.keys[key],
        "owner": name,
        "project": project.json()["id"],
        "provider": PROVIDERS.get(name, THIRD),
        "act": acts.json()["data"][0]["id"],
    }
    return owner


async def _things(owner: Owner) -> dict[str, str]:
    """One of everything that an owner can have, full of words that nobody else may see."""
    client, canary = owner.client, owner.canary
    named = {"name": canary, "instructions": canary, "metadata": {"canary": canary}}
    assistant = await client.post("/v1/assistants", json=named)
    folder = await client.post("/v1/folders", json={"name": canary, "instructions": canary})
    file = await client.post("/v1/files", params={"name": f"{canary}.txt"}, content=canary)
    asked = {"message": {"content": f"{ASK} {canary}"}, "tools": TOOLS}
    turn = await client.post("/v1/process", json=asked)
    assert "event: action.required" in turn.text, turn.text
    run = (await client.get("/v1/runs")).json()["data"][0]
    action = (await client.get("/v1/actions", params={"run_id": run["id"]})).json()["data"][0]
    messages = await client.get("/v1/messages", params={"thread_id": run["thread_id"]})
    url = f"https://{canary}.invalid/"
    webhook = (await client.post("/v1/webhooks", json={"url": url})).json()["webhook"]["id"]
    event = (await client.post(f"/v1/webhooks/{webhook}/test")).json()["id"]
    await client.patch(f"/v1/webhooks/{webhook}", json={"enabled": False})  # nothing is sent
    planned = {"message": f"{ASK} {canary}", "name": canary, "cron": "@daily", "paused": True}
    schedule = (await client.post("/v1/schedules", json=planned)).json()["id"]
    shared = await client.post(f"/v1/threads/{run['thread_id']}/shares", json={"title": canary})
    started = (await client.post(f"/v1/schedules/{schedule}/run")).json()
    await _wait_until_ended(client, started["id"])
    await client.delete(f"/v1/threads/{started['thread_id']}")
    await client.patch("/v1/personal_settings", json={"instructions": canary})
    memory = (await client.post("/v1/memories", json={"text": f"{canary} {run['id']}"})).json()[
        "id"
    ]
    history = await client.get(f"/v1/schedules/{schedule}/occurrences")
    published = await client.post("/v1/assistants", json={"name": "For everyone"})
    await client.post(f"/v1/assistants/{published.json()['id']}/publish")
    await client.post("/v1/chat_imports", json={"name": canary, "size": 1000})
    begun = (await client.get("/v1/chat_imports")).json()["data"]  # an owner has one at a time
    return {
        "import": begun[0]["id"],
        "published": published.json()["id"],
        "schedule": schedule,
        "share": shared.json()["share"]["id"],
        "link": shared.json()["token"],
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
    after, ended = 0, False
    while not ended:
        asked = {"after": after, "wait": 20}
        page = (await client.get(f"/v1/runs/{run_id}/log", params=asked)).json()
        ended = page["ended"]
        after = max([after, *(each["number"] for each in page["data"])])


def _comparable_answer(
    answer: httpx2.Response, *renamed: tuple[str, str]
) -> tuple[int, Any, bytes]:
    """An answer as a stranger could compare it: without what differs by itself."""
    headers = [(name, value) for name, value in answer.headers.items() if name not in OWN_MOVES]
    content = answer.content
    for name, other in renamed:
        content = content.replace(name.encode(), other.encode())
    return answer.status_code, headers, content


def _authorization_headers(key: str) -> Iterator[dict[str, str]]:
    """The header as people write it."""
    for name, scheme in product(("Authorization", "authorization"), ("Bearer", "bearer")):
        yield {name: f"{scheme} {key}"}


def _make_unknown_ids(ids: dict[str, str]) -> dict[str, str]:
    return {kind: make_unknown_id(name) for kind, name in ids.items()}


# The matrix is whole, and means something.


def test_no_operation_and_no_place_for_an_id_is_left_out() -> None:
    assert find_unfilled_fields(DOCUMENT) == set()


async def test_what_is_refused_to_others_is_answered_to_whom_it_belongs(town: Town) -> None:
    """In an order in which nothing is gone before it is asked for: the thread ends last."""
    last = ["DELETE /v1/memories", "POST /v1/runs/{run_id}/cancel", "GET /v1/runs/{run_id}/events"]

    def late(sample: SampleRequest) -> tuple[bool, int, str]:
        return (
            sample.method == "DELETE",
            last.index(sample.name) if sample.name in last else -1,
            sample.name,
        )

    for sample in sorted(OWNED, key=late):
        if sample.name in UNANSWERED:
            continue
        answer = await town.ann.send(sample, sample.fill(town.ann.ids))

        assert answer.status_code < 300 or answer.status_code == 409, (sample.name, answer.text)


# Who has no good key, or not one for this.


async def test_no_operation_opens_without_a_good_key(town: Town) -> None:
    server, good = town.server, town.ann.key
    revoked = await server.key("ann")
    await server.runtime.store.revoke_key(server.keys[revoked])
    expired = await server.key("ann")
    await server.runtime.store.change_key(
        server.keys[expired], lambda key: replace(key, expires_at=key.created_at)
    )
    bad: list[dict[str, str]] = [
        {},
        {BEARER: "Bearer"},
        {BEARER: f"Basic {good}"},
        {BEARER: good},
        {BEARER: f"Bearer {good}x"},
        {BEARER: f"Bearer {good[:-1]}"},
        {BEARER: f"Bearer {good[:15]}{'A' * 43}"},
        {BEARER: "Bearer ' OR 1=1--"},
        {"x-api-key": good},
        {"cookie": f"key={good}"},
        {ACTING: "ann"},
        *list(_authorization_headers(revoked))[::3],
        *list(_authorization_headers(expired))[1:3],
    ]
    client = await server.client()
    before = await town.read_tables()

    for sample, headers in product(REQUESTS, bad):
        answer = await sample.send(client, sample.fill(town.ann.ids), headers)

        assert answer.status_code == 401, (sample.name, headers)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert town.ann.canary not in answer.text
    for sample, headers in product(REQUESTS, (bad[0], bad[-1])):
        answer = await sample.send(client, sample.fill(town.ann.ids), headers)
        never = await sample.send(client, sample.fill(_make_unknown_ids(town.ann.ids)), headers)
        assert _comparable_answer(answer) == _comparable_answer(never), (sample.name, headers)
    assert await town.read_tables() == before


async def test_a_key_that_may_read_writes_nothing(town: Town) -> None:
    reader = await town.server.client(await town.server.key("ann", "read"))
    before = await town.read_tables()

    for sample in REQUESTS:
        if sample.endless or sample.name in UNANSWERED:
            continue  # one would follow the run for as long as that waits
        answer = await sample.send(reader, sample.fill(town.ann.ids))
        never = await sample.send(reader, sample.fill(_make_unknown_ids(town.ann.ids)))

        assert answer.status_code == (200 if sample.required_access == "read" else 403), (
            sample.name,
            answer.text,
        )
        assert sample.required_access == "read" or _comparable_answer(answer) == _comparable_answer(
            never
        ), sample.name
    assert await town.read_tables() == before


async def test_a_key_that_may_write_reads_nothing(town: Town) -> None:
    writer = await town.server.client(await town.server.key("ann", "write"))

    for sample in REQUESTS:
        if sample.required_access == "read":
            answer = await sample.send(writer, sample.fill(town.ann.ids))
            assert answer.status_code == 403, (sample.name, answer.text)
    assert (await writer.post("/v1/threads")).status_code == 201


async def test_only_a_key_that_may_administer_administers(town: Town) -> None:
    before = await town.read_tables()

    for sample in ADMINISTRATIVE:
        answer = await town.ben.send(sample, sample.fill(town.ann.ids))
        never = await town.ben.send(sample, sample.fill(_make_unknown_ids(town.ann.ids)))
        own = await town.ben.send(sample, sample.fill(town.ben.ids))

        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), sample.name
        assert _comparable_answer(answer) == _comparable_answer(never) == _comparable_answer(own), (
            sample.name
        )
    assert await town.read_tables() == before
    assert (await town.ben.client.head("/v1/people")).status_code == 403


async def test_who_may_administer_is_never_told_that_they_may_not(town: Town) -> None:
    root = await town.server.client(town.root)

    for sample in sorted(ADMINISTRATIVE, key=lambda sample: sample.method == "DELETE"):
        answer = await sample.send(root, sample.fill(town.ann.ids))

        assert answer.status_code != 401, sample.name
        assert '"code":"forbidden"' not in answer.text, (sample.name, answer.text)


async def test_nobody_acts_for_another_without_being_an_administrator(town: Town) -> None:
    reader = await town.server.client(await town.server.key("ben", "read"))
    before = await town.read_tables()

    for sample, client in product(REQUESTS, (town.ben.client, reader)):
        fields = sample.fill(town.ann.ids)
        answers = [
            await sample.send(client, fields, {header: name})
            for header in (ACTING, "Antiphon-Owner", "Antiphon-Actor")
            for name in ("ann", "nobody")
        ]

        assert {answer.status_code for answer in answers} == {403}, sample.name
        assert len({answer.content for answer in answers}) == 1, sample.name
    assert await town.read_tables() == before


# Other people's ids.


async def test_other_peoples_ids_are_answered_like_ids_that_never_were(town: Town) -> None:
    before = await town.read_tables()

    for stranger, sample in product(await town.strangers(), OWNED):
        for path in sample.id_paths():
            if sample.id_at(path).kind in FOR_OTHERS:
                continue
            place, theirs = ".".join(path), town.ann.ids[sample.id_at(path).kind]
            never = make_unknown_id(theirs)
            foreign = await stranger.send(sample, sample.fill(stranger.ids, **{place: theirs}))
            unknown = await stranger.send(sample, sample.fill(stranger.ids, **{place: never}))

            about = f"{sample.name} by {place} as {stranger.name}: {foreign.text}"
            assert _comparable_answer(foreign) == _comparable_answer(unknown, (never, theirs)), (
                about
            )
            # A request about many threads has a result for each.
            results = [] if foreign.status_code == 404 else foreign.json()["data"]
            assert all(each.get("code") == "not_found" for each in results), about
            assert town.ann.canary not in foreign.text, about
    assert await town.read_tables() == before


async def test_nothing_of_others_is_in_what_somebody_can_read(town: Town) -> None:
    for sample in OWNED:
        if sample.method == "GET" and not sample.endless and sample.name not in UNANSWERED:
            for fields in (sample.fill(town.ben.ids), _without_after(sample.fill(town.ben.ids))):
                answer = await town.ben.send(sample, fields)
                assert answer.status_code == 200, (sample.name, answer.text)
                _nothing_of(town.ann, answer)
    searched = await town.ben.client.get("/v1/threads", params={"q": "canary"})
    _nothing_of(town.ann, searched)
    assert [each["id"] for each in searched.json()["data"]] == [town.ben.ids["thread"]]


def _without_after(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if name != "after"}


def _nothing_of(owner: Owner, answer: httpx2.Response) -> None:
    assert owner.canary not in answer.text
    for kind in ("assistant", "folder", "thread", "message", "run", "action", "file"):
        assert owner.ids[kind] not in answer.text


@pytest.mark.parametrize("where", ["Last-Event-ID", "after"])
async def test_the_place_in_a_stream_tells_nothing_of_others_runs(town: Town, where: str) -> None:
    (follow,) = (sample for sample in OWNED if "Last-Event-ID" in sample.header_names)
    theirs, own = town.ann.ids["run"], town.ben.ids["run"]
    never = make_unknown_id(theirs)

    async def read_events(run_id: str, after: str) -> httpx2.Response:
        fields = {"run_id": run_id} | ({"after": after} if where == "after" else {})
        headers = {where: after} if where != "after" else {}
        return await follow.send(town.ben.client, fields, headers)

    for after in ("0", "1", "999999", "-1", theirs, "' OR 1=1--"):
        foreign, unknown = await read_events(theirs, after), await read_events(never, after)
        assert _comparable_answer(foreign) == _comparable_answer(unknown, (never, theirs)), after
        assert foreign.status_code in (404, 400, 422), after
    foreign, unknown = await read_events(own, theirs), await read_events(own, never)
    assert _comparable_answer(foreign) == _comparable_answer(
        unknown, (never[:SHOWN], theirs[:SHOWN])
    )
    assert foreign.status_code in (400, 422)


async def test_an_idempotency_key_of_somebody_else_means_nothing(town: Town) -> None:
    for number, sample in enumerate(IDEMPOTENT):
        fields = sample.fill(await _at_rest(town.ann, sample))
        once = {"Idempotency-Key": f"shared-{number}"}
        anns = await town.ann.send(sample, fields, **once)
        again = await town.ann.send(sample, fields, **once)
        assert (anns.status_code < 300, again.content) == (True, anns.content), anns.text

        bens = await town.ben.send(sample, fields, **once)
        other = await town.ben.send(sample, fields, **{"Idempotency-Key": f"another-{number}"})

        assert "idempotency-replayed" not in bens.headers
        if any(sample.id_at(path).kind not in FOR_OTHERS for path in sample.id_paths()):
            assert (bens.status_code, _comparable_answer(bens)) == (
                404,
                _comparable_answer(other),
            ), sample.name
        else:
            assert bens.status_code == anns.status_code, sample.name
            public = {town.ann.ids["published"]}  # a copy names its original
            assert not ({*_list_ids(bens)} & {*_list_ids(anns)}) - public, sample.name


def _list_ids(answer: httpx2.Response) -> list[str]:
    return re.findall(r"[a-z]+_[0-9a-z]{20,}", answer.text)


async def _at_rest(owner: Owner, sample: SampleRequest) -> dict[str, str]:
    """Return ids of things in a state that accepts the request."""
    if "tool_call_id" in sample.fields:
        return await _things(owner)
    thread = (await owner.client.post("/v1/threads")).json()["id"]
    said = await owner.client.post("/v1/messages", json={"thread_id": thread, "content": "Hello."})
    ids = owner.ids | {"thread": thread, "message": said.json()["id"]}
    if "run_id" in sample.fields:
        run = await owner.client.post("/v1/runs", json={"thread_id": thread})
        ids["run"] = run.json()["id"]
    return ids
