"""Calls over HTTP: how they are read, and what the answer looks like."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from msgspec.structs import replace

from tests.support.server.served import SETTINGS, Served, serve

PROBLEM = "application/problem+json"


async def test_a_call_is_answered_with_its_own_status(client: httpx2.AsyncClient) -> None:
    created = await client.post("/v1/threads", json={"title": "Flights"})
    fetched = await client.get(f"/v1/threads/{created.json()['id']}")

    assert (created.status_code, fetched.status_code) == (201, 200)
    assert fetched.json() == created.json()


async def test_a_call_without_fields_needs_no_body(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/v1/threads")).status_code == 201


async def test_fields_of_a_query_are_numbers_where_numbers_are_wanted(
    client: httpx2.AsyncClient,
) -> None:
    for _ in range(3):
        await client.post("/v1/threads")

    page = (await client.get("/v1/threads", params={"limit": "2"})).json()
    second_page = (await client.get("/v1/threads", params={"after": page["next"]})).json()

    assert [len(page["data"]), len(second_page["data"])] == [2, 1]


async def test_fields_of_a_body_are_not_guessed_at(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/runs", json={"thread_id": "t", "max_turns": "5"})

    assert answer.status_code == 422
    assert answer.json()["where"] == "$.max_turns"
    assert (answer.json()["expected"], answer.json()["received"]) == ("int", "str")


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/v1/threads?colour=red", None),
        ("GET", "/v1/threads?limit=1&limit=2", None),
        ("GET", "/v1/threads?limit=many", None),
        ("GET", "/v1/threads?limit=0", None),
        ("GET", "/v1/messages?order=activity", None),
        ("GET", "/v1/messages?metadata=team", None),
        ("GET", "/v1/runs?metadata[team]=red&metadata[team]=blue", None),
        ("GET", "/v1/runs?metadata[team]=red&metadata=blue", None),
        ("GET", "/v1/runs?limit[a]=1", None),
        ("GET", f"/v1/runs?metadata[{'k' * 65}]=v", None),
        ("GET", "/v1/runs?status=happy", None),
        ("POST", "/v1/actions/claim", {"tools": []}),
        ("POST", "/v1/actions/claim", {"tools": ["a"], "wait": 61}),
        ("POST", "/v1/actions/claim", {"tools": ["a"], "lease": 0.5}),
        ("GET", "/v1/threads/x?thread_id=y", None),
        ("DELETE", "/v1/threads/x?force=1", None),
        ("POST", "/v1/threads?title=t", {}),
        ("POST", "/v1/threads", {"colour": "red"}),
        ("POST", "/v1/threads", ["title"]),
        ("POST", "/v1/threads", {"title": "t" * 513}),
        ("PATCH", "/v1/threads/x", {"thread_id": "y"}),
        ("POST", "/v1/messages", {"thread_id": "t", "content": "hi", "role": "assistant"}),
        ("GET", f"/v1/threads/{'x' * 129}", None),
    ],
)
async def test_what_a_call_does_not_take_is_refused(
    client: httpx2.AsyncClient, method: str, target: str, body: object
) -> None:
    answer = await client.request(method, target, **({"json": body} if body is not None else {}))

    assert answer.status_code == 422
    assert answer.headers["content-type"] == PROBLEM
    assert answer.json()["code"] == "invalid_request"


async def test_a_missing_field_is_named(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/messages", json={"thread_id": "t"})

    assert "content" in answer.json()["expected"]


async def test_the_same_key_and_body_get_the_same_answer(client: httpx2.AsyncClient) -> None:
    key = {"idempotency-key": "once"}
    first = await client.post("/v1/threads", json={"title": "a"}, headers=key)
    repeated = await client.post("/v1/threads", json={"title": "a"}, headers=key)
    conflict = await client.post("/v1/threads", json={"title": "b"}, headers=key)

    assert first.json() == repeated.json()
    assert "idempotency-replayed" not in first.headers
    assert repeated.headers["idempotency-replayed"] == "true"
    assert (repeated.status_code, conflict.status_code) == (201, 409)
    assert conflict.json()["code"] == "idempotency_conflict"


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "caf\xe9"])
async def test_an_unusable_idempotency_key_is_refused(client: httpx2.AsyncClient, key: str) -> None:
    headers = [(b"idempotency-key", key.encode("latin-1"))]

    answer = await client.post("/v1/threads", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("target", ["/", "/v1", "/v1/nothing", "/v1/threads/", "/v2/threads"])
async def test_an_unknown_address_is_a_problem(client: httpx2.AsyncClient, target: str) -> None:
    answer = await client.get(target)

    assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "TRACE", "BREW"])
async def test_an_unknown_method_is_a_problem_that_names_the_known_ones(
    server: Served, method: str
) -> None:
    answer = await server.raw(
        f"{method} /v1/threads HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )

    if method == "BREW":  # the parser knows the registered methods, and no others
        assert answer.startswith(b"HTTP/1.1 400 ")
    else:
        assert answer.startswith(b"HTTP/1.1 405 ")
        assert b"\r\nallow: GET, HEAD, OPTIONS, POST\r\n" in answer
    assert PROBLEM.encode() in answer


async def test_options_tells_what_an_address_does(client: httpx2.AsyncClient) -> None:
    answer = await client.options("/v1/threads/x")

    assert answer.status_code == 204
    assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH"


async def test_head_is_get_without_the_body(client: httpx2.AsyncClient) -> None:
    head_answer, get_answer = await client.head("/v1/threads"), await client.get("/v1/threads")

    assert head_answer.status_code == 200
    assert head_answer.content == b""
    assert head_answer.headers["content-length"] == get_answer.headers["content-length"]


async def test_a_stream_has_no_head(client: httpx2.AsyncClient) -> None:
    assert (await client.head("/v1/runs/x/events")).status_code == 405


async def test_health_and_readiness(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "alive"}
    assert (await client.get("/readyz")).json() == {"status": "ready"}


async def test_metrics_count_answers_by_route_and_events_by_type(
    client: httpx2.AsyncClient,
) -> None:
    await client.get("/v1/threads/one")
    await client.get("/v1/threads/two")
    await client.post("/v1/process", json={"message": {"content": "hi"}})

    text = (await client.get("/metrics")).text

    assert 'antiphon_http_requests_total{route="/v1/threads/{thread_id}",status="404"} 2' in text
    assert 'antiphon_events_sent_total{type="turn.ended"} 1' in text
    assert "antiphon_first_event_seconds_count 1" in text
    assert "antiphon_streams_open 0" in text


async def test_above_the_limit_of_open_requests_the_answer_is_to_come_back_later() -> None:
    async with serve(replace(SETTINGS, max_requests=1)) as server:
        client = await server.client()
        run = await _resting_run(client)
        async with client.stream("GET", f"/v1/runs/{run}/events") as stream:
            assert stream.status_code == 200
            answer = await client.get("/v1/threads")
            health = await client.get("/healthz")

    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1
    assert health.status_code == 200


async def test_requests_on_one_connection_are_answered_in_order(server: Served) -> None:
    get = b"GET /v1/threads/%b HTTP/1.1\r\nHost: localhost\r\n%b\r\n"

    answers = await server.raw(get % (b"a", b"") + get % (b"b", b"Connection: close\r\n"))

    assert answers.count(b"HTTP/1.1 404 ") == 2


async def test_many_calls_at_once_are_all_answered(client: httpx2.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.post("/v1/threads") for _ in range(50)))

    assert len({answer.json()["id"] for answer in answers}) == 50


async def _resting_run(client: httpx2.AsyncClient) -> str:
    thread = (await client.post("/v1/threads")).json()["id"]
    return (await client.post("/v1/runs", json={"thread_id": thread})).json()["id"]
