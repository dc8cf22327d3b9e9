"""Access by keys, scopes, and pages of other origins."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from antiphon.api.operations import OPERATIONS, path_fields
from antiphon.runtime.admin.keys import create_unaudited_key
from antiphon.server.auth import check_bind, check_origin
from antiphon.server.serve import run_server
from antiphon.types.errors import AntiphonError, BadSettings, InvalidRequest
from tests.support.server.served import SETTINGS, Served, eventually, serve

BEARER = "authorization"


async def test_a_key_is_kept_as_a_hash_and_has_256_random_bits(server: Served) -> None:
    store = server.runtime.store
    key, text = await create_unaudited_key(store, "ann", "laptop", ("write", "read"))
    stored_key = await store.find_key(key.prefix)

    assert stored_key is not None
    assert text.startswith(key.prefix)
    assert len(base64.urlsafe_b64decode(text[len(key.prefix) :] + "=")) == 32
    assert text[len(key.prefix) :] not in repr(await store.keys()) + repr(stored_key)
    assert key.scopes == ("read", "write")


@pytest.mark.parametrize("scopes", [(), ("root",), ("read", "root")])
async def test_a_key_has_scopes_that_exist(server: Served, scopes: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest):
        await create_unaudited_key(server.runtime.store, "ann", scopes=scopes)


async def test_the_scheme_may_be_written_in_any_case(server: Served) -> None:
    key = await server.key("ann")
    client = await server.client()

    answers = [
        await client.get("/v1/threads", headers={"Authorization": f"{scheme} {key}"})
        for scheme in ("Bearer", "bearer", "BEARER")
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200]


async def test_two_authorization_headers_are_none(server: Served) -> None:
    key = await server.key("ann")
    headers = [(BEARER, f"Bearer {key}"), (BEARER, f"Bearer {key}")]

    answer = await (await server.client()).get("/v1/threads", headers=headers)

    assert answer.status_code == 401


async def test_without_keys_loopback_is_the_owner_local(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/v1/threads", headers={BEARER: "Bearer whatever"})

    assert answer.status_code == 200


async def test_the_first_key_locks_the_server_at_once_for_its_bearer(server: Served) -> None:
    client = await server.client()
    thread_id = (await client.post("/v1/threads")).json()["id"]
    keyed_client = await server.client(await server.key("ann"))

    assert (await keyed_client.get(f"/v1/threads/{thread_id}")).status_code == 404


async def test_the_first_key_locks_the_server_within_seconds_for_callers_without_one(
    server: Served,
) -> None:
    client = await server.client()
    assert (await client.get("/v1/threads")).status_code == 200
    await server.key("ann")

    async def is_locked() -> bool:
        return (await client.get("/v1/threads")).status_code == 401

    await eventually(is_locked)


async def test_revoking_the_last_key_does_not_open_the_door(server: Served) -> None:
    key = await server.key("ann")
    await server.runtime.store.revoke_key(server.keys[key])

    for client in (await server.client(), await server.client(key)):
        assert (await client.get("/v1/threads")).status_code == 401


async def test_a_revoked_key_is_refused_within_seconds(server: Served) -> None:
    key = await server.key("ann")
    client = await server.client(key)
    assert (await client.get("/v1/threads")).status_code == 200
    await server.runtime.store.revoke_key(server.keys[key])

    async def is_refused() -> bool:
        return (await client.get("/v1/threads")).status_code == 401

    await eventually(is_refused)


async def test_a_revoked_key_administers_nothing_from_that_moment(server: Served) -> None:
    """A key that it made would remain valid, for instance."""
    key = await server.key("root", "admin")
    client = await server.client(key)
    assert (await client.get("/v1/keys")).status_code == 200
    await server.runtime.store.revoke_key(server.keys[key])

    answer = await client.post("/v1/keys", json={"name": "mine", "owner": "eve"})

    assert answer.status_code == 401
    assert [each.owner for each in await server.runtime.store.keys()] == ["root"]


HELD_REQUESTS: list[tuple[str, dict[str, Any] | None]] = [
    ("/v1/keys", {"name": "mine", "owner": "eve"}),
    ("/v1/process", {"message": {"content": "3 words"}}),
    ("/v1/files?name=a.txt", None),
    ("/v1/imports?owner=eve", None),
    (
        "/openai/v1/chat/completions",
        {"model": "demo", "messages": [{"role": "user", "content": "3 words"}]},
    ),
    ("/openai/v1/responses", {"model": "demo", "input": "3 words"}),
    (
        "/ai-sdk/v6/chat",
        {
            "id": "c",
            "messages": [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}],
        },
    ),
]
"""Requests whose body is held back until the key is revoked; a body without JSON is a file."""


@pytest.mark.parametrize(("path", "body"), HELD_REQUESTS, ids=[path for path, _ in HELD_REQUESTS])
async def test_a_request_whose_body_ends_after_its_key_does_nothing(
    server: Served, path: str, body: dict[str, Any] | None
) -> None:
    key = await server.key("root", "admin")
    client = await server.client(key)
    content = b"a file" if body is None else json.dumps(body).encode()
    is_half_sent, may_go_on = asyncio.Event(), asyncio.Event()

    async def send_in_two_parts() -> AsyncIterator[bytes]:
        yield content[:-1]
        is_half_sent.set()
        await may_go_on.wait()
        yield content[-1:]

    async def is_refused() -> bool:
        return (await client.get("/v1/threads")).status_code == 401

    headers = {"content-type": "application/zip" if body is None else "application/json"}
    request_task = asyncio.create_task(
        client.post(path, content=send_in_two_parts(), headers=headers)
    )
    await is_half_sent.wait()
    assert (await client.get("/v1/threads")).status_code == 200
    await server.runtime.store.revoke_key(server.keys[key])
    await eventually(is_refused)
    may_go_on.set()

    assert (await request_task).status_code == 401
    assert [each.owner for each in await server.runtime.store.keys()] == ["root"]
    other_client = await server.client(await server.key("root"))
    for collection in ("threads", "files"):
        assert (await other_client.get(f"/v1/{collection}")).json()["data"] == []


async def test_health_needs_no_key_and_metrics_do(server: Served) -> None:
    key = await server.key("ann")
    client = await server.client()
    answers = {
        path: (await client.get(path)).status_code
        for path in ("/healthz", "/readyz", "/openapi.json", "/metrics")
    }

    assert answers == {"/healthz": 200, "/readyz": 200, "/openapi.json": 200, "/metrics": 401}
    assert (await client.get("/healthz", headers={BEARER: f"Bearer {key}"})).status_code == 200


async def test_the_figures_of_all_owners_take_a_key_of_their_own(server: Served) -> None:
    status_by_scope = {}
    for scopes in (("read",), ("read", "write"), ("metrics",), ("admin",)):
        client = await server.client(await server.key("ann", *scopes))
        paths = ("/metrics", "/v1/threads")
        status_by_scope[scopes] = [(await client.get(path)).status_code for path in paths]

    assert status_by_scope == {
        ("read",): [403, 200],
        ("read", "write"): [403, 200],
        ("metrics",): [200, 403],
        ("admin",): [200, 200],
    }


# Pages of other origins, and host names that are not ours.


@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "127.0.0.1.evil.test",
        "localhost.evil.test",
        "localhost.",
        "",
        "0.0.0.0",
        "127.0.0.1:8000:1",
        "[::1",
        "[::1]x",
        "169.254.1.1",
        "127.0.0.1@evil.test",
    ],
)
async def test_without_keys_only_loopback_names_are_answered(
    client: httpx2.AsyncClient, host: str
) -> None:
    answer = await client.get("/v1/threads", headers={"host": host})

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.8.8.8:80", "[::1]", "[::1]:8000"]
)
async def test_every_loopback_name_is_answered(client: httpx2.AsyncClient, host: str) -> None:
    assert (await client.get("/v1/threads", headers={"host": host})).status_code == 200


async def test_two_host_headers_are_refused(server: Served) -> None:
    answer = await server.raw(
        b"GET /v1/threads HTTP/1.1\r\nHost: localhost\r\nHost: evil.test\r\n"
        b"Connection: close\r\n\r\n"
    )

    assert answer.startswith(b"HTTP/1.1 403 ")


async def test_with_a_key_any_name_is_answered(server: Served) -> None:
    client = await server.client(await server.key("ann"))

    async def is_answered() -> bool:
        answer = await client.get("/v1/threads", headers={"host": "chat.example"})
        return answer.status_code == 200

    await eventually(is_answered)


@pytest.mark.parametrize("with_key", [False, True])
@pytest.mark.parametrize("origin", ["https://evil.test", "null", "http://localhost:1", "file://"])
async def test_a_foreign_origin_is_refused(server: Served, origin: str, with_key: bool) -> None:
    client = await server.client(await server.key("ann") if with_key else None)

    for path in ("/v1/threads", "/healthz", "/openapi.json"):
        answer = await client.post(path, headers={"origin": origin})
        assert answer.status_code == 403


async def test_the_own_origin_is_answered(server: Served) -> None:
    client = await server.client()

    answer = await client.post("/v1/threads", headers={"origin": server.url})

    assert answer.status_code == 201


@given(st.binary(max_size=30), st.binary(max_size=30), st.booleans())
def test_any_host_and_origin_are_judged(host: bytes, origin: bytes, locked: bool) -> None:
    scope = {"type": "http", "headers": [(b"host", host), (b"origin", origin)]}

    with pytest.raises(AntiphonError):
        check_origin(scope, locked=locked)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.test", ""])
def test_another_address_is_bound_only_with_a_key(host: str) -> None:
    check_bind(host, has_keys=True)

    with pytest.raises(BadSettings):
        check_bind(host, has_keys=False)


async def test_a_server_without_keys_refuses_another_address() -> None:
    with pytest.raises(BadSettings):
        async with run_server(replace(SETTINGS, host="0.0.0.0")):
            pass


async def test_a_forwarding_header_does_not_change_the_address_of_a_client() -> None:
    async with serve() as server:
        client = await server.client()
        answer = await client.get("/v1/threads", headers={"x-forwarded-for": "10.0.0.1"})

    assert answer.status_code == 200


def test_no_field_of_a_path_is_missing_in_its_route() -> None:
    for call in OPERATIONS:
        assert set(path_fields(call)) <= set(call.__struct_fields__)
        assert msgspec.json.schema(call)
