"""Keys with limits and an end, enforced exactly, however many servers there are."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.runtime.runtime import Runtime
from antiphon.types.accounts import DAY_MS, MINUTE_MS, Limits, Principal
from tests.support.server.served import SETTINGS, Served, eventually, serve

RACERS = 32
EXPIRY = 8
"""Seconds within which a few requests are answered, on a machine however busy."""


@pytest.fixture
async def servers(database: str) -> AsyncIterator[Sequence[Served]]:
    """Run two servers on one database."""
    async with AsyncExitStack() as stack:
        settings = replace(SETTINGS, database=database)
        yield [await stack.enter_async_context(serve(settings)) for _ in range(2)]


async def limited_client(server: Served, **limits: int) -> httpx2.AsyncClient:
    """Return a client whose key has these limits."""
    return await server.client((await make_key(server.runtime, limits=Limits(**limits))).token)


async def make_key(runtime: Runtime, **fields: Any) -> operations.NewKey:
    call = operations.CreateKey("a test", "ann", **fields)
    key: operations.NewKey = (await runtime.dispatcher.dispatch(call, Principal())).value
    return key


async def run_within_minute(attempt: Callable[[], Awaitable[Any]]) -> Any:
    """Return the result of an attempt during which no new minute began."""
    while True:
        start = time.time_ns() // 1_000_000 // MINUTE_MS
        result = await attempt()
        if time.time_ns() // 1_000_000 // MINUTE_MS == start:
            return result


def statuses(answers: Sequence[httpx2.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


# Requests


async def test_of_many_requests_at_once_as_many_are_answered_as_a_minute_may_have(
    servers: Sequence[Served],
) -> None:
    async def attempt() -> Counter[int]:
        key = (await make_key(servers[0].runtime, limits=Limits(requests_per_minute=5))).token
        clients = [await server.client(key) for server in servers]
        requests = (clients[number % 2].get("/v1/threads") for number in range(RACERS))
        return statuses(await asyncio.gather(*requests))

    assert await run_within_minute(attempt) == {200: 5, 429: RACERS - 5}


async def test_a_caller_that_asks_too_often_is_told_when_to_ask_again(server: Served) -> None:
    async def attempt() -> httpx2.Response:
        client = await limited_client(server, requests_per_minute=1)
        await client.get("/v1/threads")
        return await client.get("/v1/threads")

    answer = await run_within_minute(attempt)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (429, "quota_exceeded")
    assert problem["limit"] == "requests_per_minute"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert problem["expected"] == "at most 1 a minute"


async def test_health_readiness_and_metrics_are_not_counted(server: Served) -> None:
    async def attempt() -> Counter[int]:
        scopes = ("read", "metrics")
        key = await make_key(server.runtime, limits=Limits(requests_per_minute=1), scopes=scopes)
        client = await server.client(key.token)
        paths = ("/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/threads")
        return statuses([await client.get(path) for path in paths])

    assert await run_within_minute(attempt) == {200: 5}


async def test_a_limit_that_is_raised_holds_within_seconds(server: Served) -> None:
    key = await make_key(server.runtime, limits=Limits(requests_per_minute=1))
    client = await server.client(key.token)
    await client.get("/v1/threads")
    change = operations.UpdateKey(key.key.id, limits=operations.NewLimits(requests_per_minute=None))
    await server.runtime.dispatcher.dispatch(change, Principal())

    async def is_unlimited() -> bool:
        return statuses([await client.get("/v1/threads") for _ in range(3)]) == {200: 3}

    await eventually(is_unlimited)


# Runs


async def test_of_many_runs_at_once_no_more_are_begun_than_may_be(
    servers: Sequence[Served],
) -> None:
    key = (await make_key(servers[0].runtime, limits=Limits(runs_at_once=3))).token
    clients = [await server.client(key) for server in servers]
    threads = [(await clients[0].post("/v1/threads")).json()["id"] for _ in range(RACERS)]

    async def begin(number: int) -> httpx2.Response:
        return await clients[number % 2].post("/v1/runs", json={"thread_id": threads[number]})

    answers = await asyncio.gather(*map(begin, range(RACERS)))
    assert statuses(answers) == {201: 3, 429: RACERS - 3}
    refusal = next(answer.json() for answer in answers if answer.status_code == 429)
    assert (refusal["code"], refusal["limit"]) == ("quota_exceeded", "runs_at_once")

    runs = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    await clients[1].post(f"/v1/runs/{runs[0]}/cancel")
    second_answers = [
        await begin(number) for number in range(RACERS) if answers[number].status_code == 429
    ]
    assert statuses(second_answers) == {201: 1, 429: RACERS - 4}


async def test_a_run_that_makes_way_makes_room_for_the_next(server: Served) -> None:
    client = await limited_client(server, runs_at_once=1)
    thread = (await client.post("/v1/threads")).json()["id"]

    answers = [
        await client.post("/v1/runs", json={"thread_id": thread, "if_busy": "interrupt"})
        for _ in range(3)
    ]

    assert statuses(answers) == {201: 3}


async def test_another_keys_runs_are_not_counted(server: Served) -> None:
    clients = [await limited_client(server, runs_at_once=1) for _ in range(2)]
    threads = [(await client.post("/v1/threads")).json()["id"] for client in clients]

    answers = [
        await client.post("/v1/runs", json={"thread_id": thread})
        for client, thread in zip(clients, threads, strict=True)
    ]

    assert statuses(answers) == {201: 2}


# Tokens


async def test_once_the_tokens_of_the_day_are_used_no_run_begins_and_none_goes_on(
    server: Served,
) -> None:
    client = await limited_client(server, tokens_per_day=1)
    body = {"thread_id": (await client.post("/v1/threads")).json()["id"]}
    run_id = (await client.post("/v1/runs", json=body)).json()["id"]
    first = await client.post("/v1/process", json={"message": {"content": "2 words"}})
    assert first.status_code == 200

    refusals = [
        await client.post("/v1/process", json={"message": {"content": "2 words"}}),
        await client.post("/v1/process", json={"run_id": run_id}),
        await client.post("/v1/completions", json={"run_id": run_id}),
    ]

    assert statuses(refusals) == {429: 3}
    assert {answer.json()["limit"] for answer in refusals} == {"tokens_per_day"}
    assert 1 <= int(refusals[0].headers["retry-after"]) <= DAY_MS // 1000


async def test_clients_of_openai_do_not_wait_for_tokens_of_another_day(server: Served) -> None:
    client = await limited_client(server, tokens_per_day=1)
    body = {"model": "demo", "input": "3 words"}
    await client.post("/openai/v1/responses", json=body)

    answer = await client.post("/openai/v1/responses", json=body)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (429, "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"


# End of keys


async def test_a_key_opens_nothing_once_its_time_has_come(server: Served) -> None:
    client = await server.client((await make_key(server.runtime, expires_in=EXPIRY)).token)
    assert (await client.get("/v1/threads")).status_code == 200

    async def is_refused() -> bool:
        return (await client.get("/v1/threads")).status_code == 401

    await eventually(is_refused)


async def test_a_stream_ends_soon_after_its_key(server: Served) -> None:
    client = await server.client((await make_key(server.runtime, expires_in=EXPIRY)).token)
    thread = (await client.post("/v1/threads")).json()["id"]
    run = (await client.post("/v1/runs", json={"thread_id": thread})).json()["id"]

    async with asyncio.timeout(60), client.stream("GET", f"/v1/runs/{run}/events") as events:
        assert events.status_code == 200
        async for _ in events.aiter_raw():
            pass


async def test_the_keys_of_a_project_open_nothing_once_it_is_disabled(server: Served) -> None:
    admin = await server.client(await server.key("root", "admin"))
    project = (await admin.post("/v1/projects", json={"name": "Moon"})).json()
    body = {"name": "ours", "owner": project["id"]}
    client = await server.client((await admin.post("/v1/keys", json=body)).json()["token"])
    assert (await client.post("/v1/threads")).status_code == 201

    answer = await admin.patch(f"/v1/projects/{project['id']}", json={"disabled": True})
    assert answer.json()["disabled"]

    async def is_refused() -> bool:
        return (await client.get("/v1/threads")).status_code == 401

    await eventually(is_refused)
    assert (await admin.post("/v1/keys", json=body)).status_code == 409


# The audit log


async def test_the_audit_log_tells_who_did_what_and_no_secret(server: Served) -> None:
    root = await make_key(server.runtime, scopes=("admin",))
    admin = await server.client(root.token)
    admin.headers["antiphon-actor"] = "person_root"
    person = (await admin.post("/v1/people", json={"name": "Eve", "password": "a secret!"})).json()
    await admin.patch(f"/v1/people/{person['id']}", json={"password": "another!"})
    body = {"name": "laptop", "owner": person["id"], "limits": {"runs_at_once": 2}}
    token = (created := (await admin.post("/v1/keys", json=body)).json())["token"]
    key = created["key"]["id"]
    await admin.patch(f"/v1/keys/{key}", json={"limits": {"tokens_per_day": 5}})
    await admin.patch(f"/v1/keys/{key}", json={"name": "desk"})
    await admin.delete(f"/v1/keys/{key}")
    await admin.delete(f"/v1/people/{person['id']}")

    answer = await admin.get("/v1/acts", params={"owner": person["id"]})

    acts = answer.json()["data"]
    assert [(act["what"], act["target"]) for act in reversed(acts)] == [
        ("person.created", person["id"]),
        ("person.changed", person["id"]),
        ("key.created", key),
        ("limits.changed", key),
        ("key.changed", key),
        ("key.revoked", key),
        ("person.removed", person["id"]),
    ]
    assert {act["actor"] for act in acts} == {"person_root"}
    assert {act["details"]["key"] for act in acts} == {root.key.id}
    limits = next(act["details"] for act in acts if act["what"] == "limits.changed")
    assert (limits["runs_at_once"], limits["tokens_per_day"]) == ("2", "5")
    for secret in (token, root.token, "a secret!", "another!", "argon2", "Eve", "laptop"):
        assert secret not in answer.text


async def test_an_actor_who_is_not_named_is_the_person_of_the_key_or_the_key(
    server: Served,
) -> None:
    root = await make_key(server.runtime, scopes=("admin",))
    person_key = await make_key(server.runtime, scopes=("admin",), person_id="person_ann")
    for key in (root, person_key):
        client = await server.client(key.token)
        await client.post("/v1/projects", json={"name": key.key.id})

    acts = (await client.get("/v1/acts", params={"limit": 2})).json()["data"]

    assert [act["actor"] for act in acts] == ["person_ann", root.key.id]


async def test_only_an_administrator_may_act_as_somebody(server: Served) -> None:
    key = await server.key("ann", "read", "write")
    client = await server.client(key)
    headers = {"antiphon-actor": "person_root"}

    assert (await client.get("/v1/threads", headers=headers)).status_code == 403
