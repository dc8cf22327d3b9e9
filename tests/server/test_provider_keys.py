"""Owners' keys at providers: each run uses the key of its owner, and no key is ever revealed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace

from antiphon.runtime.admin.encryption import new_key
from antiphon.settings.settings import Settings
from tests.support.providers.upstream import Upstream
from tests.support.server.served import SETTINGS, Served, eventually, serve

CANARY = "sk-canary-0123456789-abcdefghij"
OTHER = "sk-other-9876543210-klmnopqrst"
KEYS = "/v1/provider_keys"
ADDRESSES = (
    *("/v1/all_provider_keys", "/v1/acts", "/v1/owners", "/v1/owners/ann/export"),
    *("/v1/keys", "/metrics", "/openapi.json"),
)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


def settings(upstream: Upstream, folder: Path, **options: Any) -> Settings:
    return replace(
        SETTINGS,
        database=f"sqlite:///{folder}/antiphon.db",
        providers={"openai": {"base_url": upstream.url, "key": "sk-house", "retries": 0}},
        **options,
    )


@pytest.fixture
async def server(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(settings(upstream, tmp_path)) as server:
        yield server


async def client_of(server: Served, owner: str, *scopes: str) -> httpx2.AsyncClient:
    return await server.client(await server.key(owner, *scopes))


async def put_key(
    client: httpx2.AsyncClient, key: str, provider: str = "openai"
) -> httpx2.Response:
    return await client.put(f"{KEYS}/{provider}", json={"key": key})


async def run(client: httpx2.AsyncClient, name: str = "ok") -> dict[str, Any]:
    """Start a run on the recording provider; return it when it has ended."""
    body = {"message": {"content": "Hi"}, "model": f"openai:quirk:{name}", "background": True}
    answer = await client.post("/v1/process", json=body)
    if answer.status_code != 202:
        return dict(answer.json())
    run_id = answer.json()["id"]
    last_fields: dict[str, Any] = {}

    async def has_ended() -> bool:
        last_fields.update((await client.get(f"/v1/runs/{run_id}")).json())
        return last_fields["status"] in ("completed", "failed")

    await eventually(has_ended)
    return last_fields


def list_sent_keys(upstream: Upstream) -> list[str]:
    return [
        request.headers["authorization"].removeprefix("Bearer ") for request in upstream.requests
    ]


async def test_each_run_is_asked_with_its_owners_key_and_nobody_elses(
    server: Served, upstream: Upstream
) -> None:
    ann, ben, cem = [await client_of(server, name) for name in ("ann", "ben", "cem")]
    assert (await put_key(ann, CANARY)).status_code == 200
    assert (await put_key(ben, OTHER)).status_code == 200

    for client in (ann, ben, cem, ann):
        assert (await run(client))["status"] == "completed"

    assert list_sent_keys(upstream) == [CANARY, OTHER, "sk-house", CANARY]


async def test_a_key_is_written_and_never_read(server: Served) -> None:
    ann, ben = [await client_of(server, name) for name in ("ann", "ben")]

    answer = await put_key(ann, f" {CANARY}\n")
    list_answer = await ann.get(KEYS)

    assert answer.json()["hint"] == "...ghij"
    assert list_answer.json()["data"] == [answer.json()]
    assert CANARY[:12] not in answer.text + list_answer.text
    assert (await ben.get(KEYS)).json()["data"] == []
    assert (await ben.delete(f"{KEYS}/openai")).status_code == 404
    assert (await ann.delete(f"{KEYS}/openai")).json() == {"id": "openai", "deleted": True}
    assert (await ann.get(KEYS)).json()["data"] == []
    assert (await ann.delete(f"{KEYS}/openai")).status_code == 404


async def test_nothing_is_told_of_the_end_of_a_short_key(server: Served) -> None:
    ann = await client_of(server, "ann")

    assert (await put_key(ann, "sk-short")).json()["hint"] == ""


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        ("demo", {"key": CANARY}),
        ("nope", {"key": CANARY}),
        ("openai", {"key": ""}),
        ("openai", {"key": "   "}),
        ("openai", {"key": f"{CANARY}\r\nX-Evil: 1"}),
        ("openai", {"key": f"{CANARY}\u00e4"}),
        ("openai", {"key": CANARY * 200}),
        ("openai", {"key": CANARY, "base_url": "https://evil.example/v1"}),
        ("openai", {"key": [CANARY]}),
        ("openai", {}),
    ],
)
async def test_what_is_no_key_is_refused_and_not_repeated(
    server: Served, provider: str, body: Any
) -> None:
    ann = await client_of(server, "ann")

    answer = await ann.put(f"{KEYS}/{provider}", json=body)

    assert answer.status_code == 422, answer.text
    assert CANARY[:12] not in answer.text
    assert (await ann.get(KEYS)).json()["data"] == []


async def test_only_administrators_say_where_a_key_goes_and_see_everybodys(
    server: Served, upstream: Upstream
) -> None:
    ann, ben = await client_of(server, "ann"), await client_of(server, "ben")
    admin = await client_of(server, "ops", "admin")
    async with Upstream() as other_upstream:
        body = {"key": CANARY, "base_url": other_upstream.url}
        address = "/v1/owners/ann/provider_keys/openai"

        assert (await ann.put(address, json=body)).status_code == 403
        put_answer = await admin.put(address, json=body)
        assert put_answer.json()["base_url"] == other_upstream.url
        await put_key(ben, OTHER)
        assert (await run(ann))["status"] == "completed"
        assert list_sent_keys(other_upstream) == [CANARY]
    assert upstream.requests == []

    everybodys = await admin.get("/v1/all_provider_keys")
    assert [(key["owner"], key["provider"]) for key in everybodys.json()["data"]] == [
        ("ann", "openai"),
        ("ben", "openai"),
    ]
    assert (await ann.get("/v1/all_provider_keys")).status_code == 403
    headers = {"Antiphon-Owner": "ann"}
    assert (await admin.delete(f"{KEYS}/openai", headers=headers)).status_code == 200
    for bad_url in ("file:///etc/passwd", "https://u:p@h/v1", "https://h/{HOME}"):
        answer = await admin.put(address, json={"key": CANARY, "base_url": bad_url})
        assert answer.status_code == 422


async def test_a_key_that_reads_sets_none(server: Served) -> None:
    reader = await client_of(server, "ann", "read")

    assert (await put_key(reader, CANARY)).status_code == 403
    assert (await reader.delete(f"{KEYS}/openai")).status_code == 403
    assert (await reader.get(KEYS)).status_code == 200


@asynccontextmanager
async def open_two_servers(
    upstream: Upstream, folder: Path
) -> AsyncGenerator[tuple[Served, Served]]:
    secret = new_key()
    settings_ = settings(upstream, folder, secret_key=secret)
    async with serve(settings_) as one, serve(settings_) as other:
        yield one, other


async def test_another_process_takes_up_a_new_key_and_lets_go_of_a_deleted_one_within_seconds(
    upstream: Upstream, tmp_path: Path
) -> None:
    async with open_two_servers(upstream, tmp_path) as (first, second):
        token = await first.key("ann")
        first_client, second_client = await first.client(token), await second.client(token)
        await run(second_client)
        assert list_sent_keys(upstream) == ["sk-house"]

        for key in (CANARY, OTHER, None):
            await (put_key(first_client, key) if key else first_client.delete(f"{KEYS}/openai"))
            async with asyncio.timeout(60):
                while list_sent_keys(upstream)[-1] != (key or "sk-house"):
                    await asyncio.sleep(0.4)  # between two looks
                    await run(second_client)


@pytest.mark.parametrize("changes", [{"secret_key": None}, {"secret_key": new_key()}])
async def test_without_the_key_that_sealed_it_a_run_says_plainly_what_is_wrong(
    upstream: Upstream, tmp_path: Path, changes: dict[str, Any]
) -> None:
    first = new_key()
    async with serve(settings(upstream, tmp_path, secret_key=first)) as server:
        await put_key(await client_of(server, "ann"), CANARY)

    async with serve(settings(upstream, tmp_path, **changes)) as server:
        failed_run = await run(await client_of(server, "ann"))
        other_run = await run(await client_of(server, "ben"))

    assert failed_run["code"] == "bad_settings"
    assert "own key for openai cannot be opened" in failed_run["detail"]
    assert "secret_key" in failed_run["expected"]
    assert CANARY not in str(failed_run)
    assert first not in str(failed_run)
    assert other_run["status"] == "completed"

    old_settings = settings(upstream, tmp_path, secret_key=new_key(), old_secret_keys=(first,))
    async with serve(old_settings) as server:
        assert (await run(await client_of(server, "ann")))["status"] == "completed"
    assert list_sent_keys(upstream)[-1] == CANARY


@pytest.mark.parametrize("options", [{}, {"key_parameter": "key"}])
async def test_a_key_is_found_nowhere_but_at_its_provider(
    upstream: Upstream, tmp_path: Path, caplog: pytest.LogCaptureFixture, options: dict[str, str]
) -> None:
    caplog.set_level(logging.DEBUG)
    texts: list[str] = []
    plain_settings = settings(upstream, tmp_path)
    table = {**plain_settings.providers["openai"], **options}
    async with serve(replace(plain_settings, providers={"openai": table})) as server:
        ann = await client_of(server, "ann")
        admin = await client_of(server, "ops", "admin")
        texts.append((await put_key(ann, CANARY)).text)
        for scenario in ("ok", "401"):  # the second one repeats the key that it was sent
            ended_run = await run(ann, scenario)
            texts.append(str(ended_run))
            texts.append((await ann.get(f"/v1/runs/{ended_run['id']}/events")).text)
        for address in ADDRESSES:
            answer = await admin.get(address)
            assert answer.status_code == 200, address
            texts.append(answer.content.decode("latin-1"))
        files_before_end = _bytes_in(tmp_path)

    if options:
        assert [request.path.partition("?key=")[2] for request in upstream.requests] == [CANARY] * 2
        assert all("authorization" not in request.headers for request in upstream.requests)
    else:
        assert list_sent_keys(upstream) == [CANARY, CANARY]
    for text in (*texts, caplog.text, files_before_end, _bytes_in(tmp_path)):
        assert CANARY not in text
        assert CANARY[3:20] not in text


def _bytes_in(folder: Path) -> str:
    return "".join(
        file.read_bytes().decode("latin-1") for file in folder.rglob("*") if file.is_file()
    )
