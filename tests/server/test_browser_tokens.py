"""Tokens for pages in browsers, and what pages of other origins may do: G31."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from antiphon import AsyncClient, Client
from antiphon.api.operations import OPERATIONS
from antiphon.runtime.admin.browser_tokens import MARK, read_grant, sign_grant
from antiphon.runtime.admin.keys import KeyService
from antiphon.runtime.runtime import mint
from antiphon.settings.loading import load
from antiphon.types.accounts import BrowserGrant, Principal
from antiphon.types.errors import (
    AntiphonError,
    BadSettings,
    InvalidRequest,
    NotFound,
    TokenExpired,
    Unauthorized,
)
from tests.support.server.served import SETTINGS, Served, eventually, serve

SHOP = "https://shop.example.org"
OTHER = "https://other.example.org"
SECRET = bytes(range(32))
OPEN = replace(SETTINGS, allowed_origins=(SHOP, OTHER))
MESSAGES = "/ai-sdk/v6/chat/any/messages"


@asynccontextmanager
async def open_server(**settings: Any) -> AsyncIterator[Served]:
    async with serve(replace(OPEN, **settings)) as server:
        yield server


@pytest.fixture
async def shop() -> AsyncIterator[Served]:
    """Run a server that pages of two origins may use."""
    async with open_server() as server:
        yield server


async def ask(
    server: Served, token: str, path: str = MESSAGES, origin: str | None = SHOP, **options: Any
) -> httpx2.Response:
    """Return the answer to a page of this origin."""
    headers = {"origin": origin} if origin else {}
    client = await server.client(token)
    return await client.request(options.pop("method", "GET"), path, headers=headers, **options)


async def make_token(server: Served, key: str, **fields: Any) -> str:
    client = await server.client(key)
    body = {"origins": [SHOP], **fields}
    answer = await client.post("/v1/browser_tokens", json=body)
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


# Contents.


def make_grant(**fields: Any) -> BrowserGrant:
    return BrowserGrant(
        owner="ann", key="ak_000000000000", origins=(SHOP,), expires_at=1, session="s", **fields
    )


def test_a_token_says_what_was_signed() -> None:
    signed_grant = make_grant(model="demo")

    assert read_grant(sign_grant(signed_grant, SECRET), SECRET) == signed_grant


@given(place=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=6))
def test_a_changed_token_is_none(place: int, bit: int) -> None:
    token = sign_grant(make_grant(), SECRET)
    at = place % len(token)
    forged_token = token[:at] + chr(ord(token[at]) ^ (1 << bit)) + token[at + 1 :]

    with pytest.raises(Unauthorized):
        read_grant(forged_token, SECRET)


@given(st.text(max_size=300))
def test_whatever_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(Unauthorized):
        read_grant(MARK + text, SECRET)


def test_a_token_of_another_installation_is_none() -> None:
    with pytest.raises(Unauthorized):
        read_grant(sign_grant(make_grant(), SECRET), bytes(32))


def test_a_token_that_no_header_can_hold_is_refused_when_it_is_made() -> None:
    with pytest.raises(InvalidRequest):
        sign_grant(
            replace(make_grant(), origins=tuple(f"https://{'x' * 400}{n}" for n in range(20))),
            SECRET,
        )


# Creation.


async def test_a_token_lasts_a_quarter_of_an_hour_and_is_shown_once(shop: Served) -> None:
    async with AsyncClient(shop.url, api_key=await shop.key("ann")) as client:
        token = await client.create_browser_token(origins=(SHOP,))

    remaining = token.expires_at - await shop.runtime.store.now()
    assert 890_000 < remaining <= 900_000
    assert (token.owner, token.origins, token.thread_id) == ("ann", (SHOP,), None)
    assert token.session
    assert token.token not in repr(token)


async def test_the_sync_client_makes_tokens_without_a_server() -> None:
    with Client(settings=SETTINGS) as client:
        thread = client.create_thread()
        token = client.create_browser_token(origins=(SHOP,), thread_id=thread.id, expires_in=60)

    assert (token.owner, token.thread_id, token.session) == ("local", thread.id, None)


WRONG: list[tuple[dict[str, Any], type[AntiphonError]]] = [
    ({"origins": []}, InvalidRequest),
    ({"origins": ["*"]}, InvalidRequest),
    ({"origins": ["null"]}, InvalidRequest),
    ({"origins": ["https://shop.example.org/"]}, InvalidRequest),
    ({"origins": ["https://shop.example.org\n"]}, InvalidRequest),
    ({"origins": ["https://ann@shop.example.org"]}, InvalidRequest),
    ({"expires_in": 3601}, InvalidRequest),
    ({"expires_in": 0}, InvalidRequest),
    ({"thread_id": "thread_1", "session": "mine"}, InvalidRequest),
    ({"assistant_id": "asst_1", "model": "demo"}, InvalidRequest),
    ({"thread_id": "thread_1"}, NotFound),
    ({"assistant_id": "asst_1"}, NotFound),
]


async def test_a_token_is_bound_to_what_exists(shop: Served) -> None:
    client = await shop.client(await shop.key("ann"))
    for fields, error in WRONG:
        answer = await client.post("/v1/browser_tokens", json={"origins": [SHOP], **fields})

        assert answer.json()["code"] == error.code, fields


async def test_an_origin_that_is_none_is_told_how_one_is_written(shop: Served) -> None:
    client = await shop.client(await shop.key("ann"))

    answer = await client.post("/v1/browser_tokens", json={"origins": [f"{SHOP}/"]})

    problem = answer.json()
    assert "without a slash at its end" in problem["expected"]
    assert "regex" not in problem["detail"]
    assert problem["where"] == "$.origins[0]"


async def test_a_token_for_the_thread_of_another_owner_is_not_made(shop: Served) -> None:
    bob = await shop.client(await shop.key("bob"))
    thread = (await bob.post("/v1/threads")).json()["id"]
    ann = await shop.client(await shop.key("ann"))

    answer = await ann.post("/v1/browser_tokens", json={"origins": [SHOP], "thread_id": thread})

    assert answer.status_code == 404


async def test_a_key_that_only_reads_makes_no_token(shop: Served) -> None:
    client = await shop.client(await shop.key("ann", "read"))

    answer = await client.post("/v1/browser_tokens", json={"origins": [SHOP]})

    assert answer.status_code == 403


# Rights.


async def test_a_token_opens_no_operation_of_the_api(shop: Served) -> None:
    token = await make_token(shop, await shop.key("ann", "admin"))

    for call in OPERATIONS:
        method, path = call.route.split(" ")
        answer = await ask(shop, token, path, method=method)

        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), call


@pytest.mark.parametrize("path", ["/metrics", "/openai/v1/models"])
async def test_a_token_opens_nothing_else(shop: Served, path: str) -> None:
    token = await make_token(shop, await shop.key("ann", "admin"))

    answer = await ask(shop, token, path, origin=None)

    assert answer.status_code == 403


async def test_a_token_acts_for_no_other_owner(shop: Served) -> None:
    token = await make_token(shop, await shop.key("ann", "admin", "write"))
    client = await shop.client(token)

    answer = await client.get(MESSAGES, headers={"origin": SHOP, "antiphon-owner": "bob"})

    assert answer.status_code == 403


async def test_a_token_of_another_origin_is_refused(shop: Served) -> None:
    token = await make_token(shop, await shop.key("ann"))

    for origin in (OTHER, None, "null", f"{SHOP}.evil.example", f"{SHOP}:8443"):
        assert (await ask(shop, token, origin=origin)).status_code == 403, origin


async def test_a_page_of_the_servers_own_origin_reads_without_the_header() -> None:
    async with open_server() as shop:
        own_origin = shop.url
        token = await make_token(shop, await shop.key("ann"), origins=[own_origin])
        client = await shop.client(token)

        answers = [
            await client.get(MESSAGES, headers={"sec-fetch-site": "same-origin"}),
            await client.get(MESSAGES, headers={"sec-fetch-site": "cross-site"}),
            await client.get(MESSAGES),
        ]

    assert [answer.status_code for answer in answers] == [200, 403, 403]


async def test_an_expired_token_is_refused_with_an_error_of_its_own(shop: Served) -> None:
    store = shop.runtime.store
    await shop.key("ann")
    (key,) = await store.keys()
    old_grant = BrowserGrant(
        owner="ann", key=key.prefix, origins=(SHOP,), expires_at=await store.now(), session="s"
    )

    answer = await ask(shop, sign_grant(old_grant, await store.installation_secret()))

    assert answer.status_code == 401
    assert answer.json()["code"] == TokenExpired.code
    assert answer.headers["access-control-allow-origin"] == SHOP


async def test_a_token_ends_with_its_key(shop: Served) -> None:
    key = await shop.key("ann")
    token = await make_token(shop, key)
    assert (await ask(shop, token)).status_code == 200

    await KeyService(shop.runtime.store, mint).revoke(shop.keys[key], Principal())

    async def is_refused() -> bool:
        return (await ask(shop, token)).status_code == 401

    await eventually(is_refused)


async def test_a_key_speaks_for_its_own_owner_alone(shop: Served) -> None:
    store = shop.runtime.store
    await shop.key("ann")
    (key,) = await store.keys()
    expires_at = await store.now() + 60_000
    forged_grant = BrowserGrant(owner="bob", key=key.prefix, origins=(SHOP,), expires_at=expires_at)

    answer = await ask(shop, sign_grant(forged_grant, await store.installation_secret()))

    assert answer.status_code == 401


async def test_an_administrator_makes_tokens_for_visitors(shop: Served) -> None:
    admin = await shop.client(await shop.key("ops", "admin"))
    headers = {"antiphon-owner": "visitor-1"}

    answer = await admin.post("/v1/browser_tokens", json={"origins": [SHOP]}, headers=headers)

    assert answer.json()["owner"] == "visitor-1"
    assert (await ask(shop, answer.json()["token"])).status_code == 200


async def test_a_token_of_a_server_without_keys_ends_with_the_first_key(shop: Served) -> None:
    client = await shop.client()
    token = (await client.post("/v1/browser_tokens", json={"origins": [SHOP]})).json()["token"]
    assert (await ask(shop, token)).status_code == 200

    await shop.key("ann")

    assert (await ask(shop, token)).status_code == 401


async def test_nothing_of_a_token_is_secret_but_its_signature(shop: Served) -> None:
    key = await shop.key("ann")
    token = await make_token(shop, key)

    text = token.removeprefix(MARK).partition(".")[0]
    payload = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))

    assert key not in token
    assert key[len(payload["key"]) :] not in json.dumps(payload)


# Pages of other origins.


async def test_without_the_setting_no_page_of_another_origin_is_answered(server: Served) -> None:
    client = await server.client()

    answer = await client.get("/v1/threads", headers={"origin": SHOP})

    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "vary" not in (await client.get("/v1/threads")).headers


@pytest.mark.parametrize(
    "path", ["/v1/threads", "/openai/v1/chat/completions", "/ai-sdk/v6/chat", "/ag-ui/v1/run"]
)
async def test_a_preflight_is_answered_without_a_key(shop: Served, path: str) -> None:
    await shop.key("ann")
    headers = {
        "origin": SHOP,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-lang",
    }

    answer = await (await shop.client()).options(path, headers=headers)

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert (
        answer.headers["access-control-allow-headers"] == headers["access-control-request-headers"]
    )
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["https://evil.example", f"{SHOP}:8443", "http://shop.example.org"]
)
async def test_origins_match_exactly(shop: Served, origin: str) -> None:
    headers = {"origin": origin, "access-control-request-method": "POST"}

    answer = await (await shop.client()).options("/v1/threads", headers=headers)

    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


async def test_an_origin_may_be_written_with_the_port_of_its_scheme() -> None:
    async with open_server(allowed_origins=(f"{SHOP}:443",)) as shop:
        token = await make_token(shop, await shop.key("ann"), origins=[f"{SHOP}:443"])

        assert (await ask(shop, token)).status_code == 200


async def test_a_page_reads_answers_and_errors(shop: Served) -> None:
    client = await shop.client(await shop.key("ann"))

    answers = [
        await client.get("/v1/threads", headers={"origin": SHOP}),
        await client.get("/v1/threads/thread_1", headers={"origin": SHOP}),
        await client.get("/v1/nothing", headers={"origin": SHOP}),
    ]

    assert [answer.status_code for answer in answers] == [200, 404, 404]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == SHOP
        exposed_headers = answer.headers["access-control-expose-headers"].split(", ")
        assert {"x-request-id", "x-should-retry"} <= set(exposed_headers)


async def test_odd_names_of_headers_are_not_sent_back(shop: Served) -> None:
    headers = {
        "origin": SHOP,
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-a<script>",
    }

    answer = await (await shop.client()).options("/v1/threads", headers=headers)

    assert "access-control-allow-headers" not in answer.headers


async def test_a_page_of_an_allowed_origin_needs_a_token_where_no_key_exists(shop: Served) -> None:
    client = await shop.client()

    answer = await client.get("/v1/threads", headers={"origin": SHOP})

    assert answer.status_code == 401
    assert (await client.get("/v1/threads")).status_code == 200


async def test_pages_of_allowed_origins_do_not_reach_the_metrics(shop: Served) -> None:
    client = await shop.client(await shop.key("ann", "metrics"))

    answer = await client.get("/metrics", headers={"origin": SHOP})

    assert answer.status_code == 403


@pytest.mark.parametrize("origin", ["*", "shop.example.org", "https://shop.example.org/"])
def test_a_setting_that_is_no_origin_is_refused(origin: str, tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="allowed_origins"):
        load({"allowed_origins": origin}, {"HOME": str(tmp_path)}, tmp_path)
