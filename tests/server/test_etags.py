"""Responses that a client already has are not sent again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.support.server.served import serve


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with serve() as server:
        yield await server.client()


async def test_a_record_that_has_not_changed_is_not_sent_again(client: httpx2.AsyncClient) -> None:
    thread = (await client.post("/v1/threads", json={"title": "a"})).json()
    path = f"/v1/threads/{thread['id']}"
    first = await client.get(path)
    headers = {"if-none-match": first.headers["etag"]}

    unchanged = await client.get(path, headers=headers)
    listed_among = await client.get(
        path, headers={"if-none-match": f'"x", {first.headers["etag"]}'}
    )
    await client.patch(path, json={"title": "b"})
    changed = await client.get(path, headers=headers)

    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["etag"] == first.headers["etag"]
    assert listed_among.status_code == 304
    assert (changed.status_code, changed.json()["title"]) == (200, "b")
    assert changed.headers["etag"] != first.headers["etag"]


async def test_lists_have_tags_and_changes_have_none(client: httpx2.AsyncClient) -> None:
    empty = await client.get("/v1/threads")
    created = await client.post("/v1/threads", json={})
    list_answer = await client.get("/v1/threads", headers={"if-none-match": empty.headers["etag"]})

    assert "etag" not in created.headers
    assert list_answer.status_code == 200


@pytest.mark.parametrize("tag", ["", '"', "W/", '"æ"', "x" * 5_000])
async def test_a_tag_that_is_none_of_ours_gets_the_record(
    client: httpx2.AsyncClient, tag: str
) -> None:
    answer = await client.get("/v1/threads", headers={"if-none-match": tag.encode()})

    assert answer.status_code == 200
