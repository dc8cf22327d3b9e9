"""Keys that owners have at providers: each run is asked with its owner's, and none is ever told."""

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


def settings(upstream: Upstream, folder: Path, **more: Any) -> Settings:
    return replace(
        SETTINGS,
        database=f"sqlite:///{folder}/antiphon.db",
        providers={"openai": {"base_url": upstream.url, "key": "sk-house", "retries": 0}},
        **more,
    )


@pytest.fixture
async def server(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(settings(upstream, tmp_path)) as server:
        yield server


async def client_of(server: Served, owner: str, *scopes: str) -> httpx2.AsyncClient:
    return await server.client(await server.key(owner, *scopes))


async def put(client: httpx2.AsyncClient, key: str, provider: str = "openai") -> httpx2.Response:
    return await client.put(f"{KEYS}/{provider}", json={"key": key})


async def run(client: httpx2.AsyncClient, name: str = "ok") -> dict[str, Any]:
    """A run on the recording provider, when it has ended."""
    asked = {"message": {"content": "Hi"}, "model": f"openai:quirk:{name}", "background": True}
    begun = await client.post("/v1/process", json=asked)
    if begun.status_code != 202:
        return dict(begun.json())
    run_id = begun.json()["id"]
    ended: dict[str, Any] = {}

    async def over() -> bool:
        ended.update((await client.get(f"/v1/runs/{run_id}")).json())
        return ended["status"] in ("completed", "failed")

    await eventually(over)
    return ended


def list_sent_keys(upstream: Upstream) -> list[str]:
    return [
        request.headers["authorization"].removeprefix("Bearer ") for request in upstream.requests
    ]


async def test_each_run_is_asked_with_its_owners_key_and_nobody_elses(
    server: Served, upstream: Upstream
) -> None:
    ann, ben, cem = [await client_of(server, name) for name in ("ann", "ben", "cem")]
    assert (await put(ann, CANARY)).status_code == 200
    assert (await put(ben, OTHER)).status_code == 200

    for client in (ann, ben, cem, ann):
        assert (await run(client))["status"] == "completed"

    assert list_sent_keys(upstream) == [CANARY, OTHER, "sk-house", CANARY]


async def test_a_key_is_written_and_never_read(server: Served) -> None:
    ann, ben = [await client_of(server, name) for name in ("ann", "ben")]

    kept = await put(ann, f" {CANARY}\n")
    listed = await ann.get(KEYS)

    assert kept.json()["hint"] == "...ghij"
    assert listed.json()["data"] == [kept.json()]
    assert CANARY[:12] not in kept.text + listed.text
    assert (await ben.get(KEYS)).json()["data"] == []
    assert (await ben.delete(f"{KEYS}/openai")).status_code == 404
    assert (await ann.delete(f"{KEYS}/openai")).json() == {"id": "openai", "deleted": True}
    assert (await ann.get(KEYS)).json()["data"] == []
    assert (await ann.delete(f"{KEYS}/openai")).status_code == 404


async def test_nothing_is_told_of_the_end_of_a_short_key(server: Served) -> None:
    ann = await client_of(server, "ann")

    assert (await put(ann, "sk-short")).json()["hint"] == ""


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
    async with Upstream() as elsewhere:
        asked = {"key": CANARY, "base_url": elsewhere.url}
        address = "/v1/owners/ann/provider_keys/openai"

        assert (await ann.put(address, json=asked)).status_code == 403
        kept = await admin.put(address, json=asked)
        assert kept.json()["base_url"] == elsewhere.url
        await put(ben, OTHER)
        assert (await run(ann))["status"] == "completed"
        assert list_sent_keys(elsewhere) == [CANARY]
    assert upstream.requests == []

    everybodys = await admin.get("/v1/all_provider_keys")
    assert [(key["owner"], key["provider"]) for key in everybodys.json()["data"]] == [
        ("ann", "openai"),
        ("ben", "openai"),
    ]
    assert (await ann.get("/v1/all_provider_keys")).status_code == 403
    acting = {"Antiphon-Owner": "ann"}
    assert (await admin.delete(f"{KEYS}/openai", headers=acting)).status_code == 200
    for wrong in ("file:///etc/passwd", "https://u:p@h/v1", "https://h/{HOME}"):
        answer = await admin.put(address, json={"key": CANARY, "base_url": wrong})
        assert answer.status_code == 422


async def test_a_key_that_reads_sets_none(server: Served) -> None:
    reader = await client_of(server, "ann", "read")

    assert (await put(reader, CANARY)).status_code == 403
    assert (await reader.delete(f"{KEYS}/openai")).status_code == 403
    assert (await reader.get(KEYS)).status_code == 200


@asynccontextmanager
async def two(upstream: Upstream, folder: Path) -> AsyncGenerator[tuple[Served, Served]]:
    secret = new_key()
    asked = settings(upstream, folder, secret_key=secret)
    async with serve(asked) as one, serve(asked) as other:
        yield one, other


async def test_another_process_takes_up_a_new_key_and_lets_go_of_a_deleted_one_within_seconds(
    upstream: Upstream, tmp_path: Path
) -> None:
    async with two(upstream, tmp_path) as (one, other):
        token = await one.key("ann")
        here, there = await one.client(token), await other.client(token)
        await run(there)
        assert list_sent_keys(upstream) == ["sk-house"]

        for key in (CANARY, OTHER, None):
            await (put(here, key) if key else here.delete(f"{KEYS}/openai"))
            async with asyncio.timeout(60):
                while list_sent_keys(upstream)[-1] != (key or "sk-house"):
                    await asyncio.sleep(0.4)  # between two looks
                    await run(there)


@pytest.mark.parametrize("changed", [{"secret_key": None}, {"secret_key": new_key()}])
async def test_without_the_key_that_sealed_it_a_run_says_plainly_what_is_wrong(
    upstream: Upstream, tmp_path: Path, changed: dict[str, Any]
) -> None:
    first = new_key()
    async with serve(settings(upstream, tmp_path, secret_key=first)) as server:
        await put(await client_of(server, "ann"), CANARY)

    async with serve(settings(upstream, tmp_path, **changed)) as server:
        refused = await run(await client_of(server, "ann"))
        unconcerned = await run(await client_of(server, "ben"))

    assert refused["code"] == "bad_settings"
    assert "own key for openai cannot be opened" in refused["detail"]
    assert "secret_key" in refused["expected"]
    assert CANARY not in str(refused)
    assert first not in str(refused)
    assert unconcerned["status"] == "completed"

    old = settings(upstream, tmp_path, secret_key=new_key(), old_secret_keys=(first,))
    async with serve(old) as server:
        assert (await run(await client_of(server, "ann")))["status"] == "completed"
    assert list_sent_keys(upstream)[-1] == CANARY


@pytest.mark.parametrize("where", [{}, {"key_parameter": "key"}])
async def test_a_key_is_found_nowhere_but_at_its_provider(
    upstream: Upstream, tmp_path: Path, caplog: pytest.LogCaptureFixture, where: dict[str, str]
) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    asked = settings(upstream, tmp_path)
    table = {**asked.providers["openai"], **where}
    async with serve(replace(asked, providers={"openai": table})) as server:
        ann = await client_of(server, "ann")
        admin = await client_of(server, "ops", "admin")
        said.append((await put(ann, CANARY)).text)
        for scenario in ("ok", "401"):  # which repeats the key that it was sent
            ended = await run(ann, scenario)
            said.append(str(ended))
            said.append((await ann.get(f"/v1/runs/{ended['id']}/events")).text)
        for address in ADDRESSES:
            answer = await admin.get(address)
            assert answer.status_code == 200, address
            said.append(answer.content.decode("latin-1"))
        during = _bytes_in(tmp_path)

    if where:
        assert [request.path.partition("?key=")[2] for request in upstream.requests] == [CANARY] * 2
        assert all("authorization" not in request.headers for request in upstream.requests)
    else:
        assert list_sent_keys(upstream) == [CANARY, CANARY]
    for sink in (*said, caplog.text, during, _bytes_in(tmp_path)):
        assert CANARY not in sink
        assert CANARY[3:20] not in sink


def _bytes_in(folder: Path) -> str:
    return "".join(
        file.read_bytes().decode("latin-1") for file in folder.rglob("*") if file.is_file()
    )
