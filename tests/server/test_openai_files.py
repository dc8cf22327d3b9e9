"""Files of OpenAI's API, as the official Python client sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from antiphon import AsyncClient
from tests.support.server.served import SETTINGS, Served, serve

HAIKU = b"old pond\na frog leaps in\nwater's sound\n"


class Place(NamedTuple):
    """Server, OpenAI's client of it, and our client."""

    server: Served
    client: AsyncOpenAI
    native_client: AsyncClient

    async def upload(self, name: str = "haiku.txt", content: bytes = HAIKU, **options: Any) -> Any:
        options.setdefault("purpose", "user_data")
        return await self.client.files.create(file=(name, content, "text/plain"), **options)


@asynccontextmanager
async def open_place() -> AsyncIterator[Place]:
    async with (
        serve(SETTINGS) as server,
        AsyncClient(server.url) as native_client,
        AsyncOpenAI(
            base_url=f"{server.url}/openai/v1", api_key="none", max_retries=0, timeout=20
        ) as client,
    ):
        yield Place(server, client, native_client)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with open_place() as place:
        yield place


async def test_a_file_is_uploaded_read_and_deleted(place: Place) -> None:
    created = await place.upload(purpose="assistants")
    retrieved = await place.client.files.retrieve(created.id)
    content = await place.client.files.content(created.id)

    assert created.id.startswith("file-")
    assert (created.filename, created.bytes, created.purpose) == (
        "haiku.txt",
        len(HAIKU),
        "assistants",
    )
    assert (created.object, created.status, created.expires_at) == ("file", "processed", None)
    assert retrieved == created
    assert content.content == HAIKU
    assert content.response.headers["content-disposition"].startswith("attachment")
    deleted = await place.client.files.delete(created.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (created.id, True, "file")
    for attempt in (
        place.client.files.retrieve(created.id),
        place.client.files.content(created.id),
        place.client.files.delete(created.id),
    ):
        with pytest.raises(openai.NotFoundError, match="No such File object"):
            await attempt


async def test_a_file_is_the_same_one_in_the_native_api(place: Place) -> None:
    created = await place.upload()
    native = await place.native_client.upload_file(b"x", "x.txt")

    purposes = {
        upload.id: upload.purpose for upload in (await place.native_client.list_files()).data
    }
    assert purposes == {created.id.replace("file-", "file_"): "user_data", native.id: None}
    assert await place.native_client.download_file(created.id.replace("file-", "file_")) == HAIKU
    assert (await place.client.files.retrieve(native.id)).purpose == "user_data"


async def test_files_are_listed_in_pages_by_purpose_and_in_both_orders(place: Place) -> None:
    files = [
        await place.upload(f"{n}.txt", purpose="vision" if n % 2 else "user_data") for n in range(5)
    ]

    assert [file async for file in place.client.files.list()] == files[::-1]
    assert [file async for file in place.client.files.list(order="asc", limit=2)] == files
    vision = await place.client.files.list(purpose="vision", order="asc")
    assert vision.data == files[1::2]
    page = await place.client.files.list(order="asc", limit=2, after=files[1].id)
    assert (page.data, page.has_more) == (files[2:4], True)
    assert (await place.client.files.list(purpose="batch")).data == []


async def test_a_file_that_expires_says_when(place: Place) -> None:
    created = await place.upload(expires_after={"anchor": "created_at", "seconds": 3600})

    assert created.expires_at == created.created_at + 3600
    assert (await place.client.files.retrieve(created.id)).expires_at == created.expires_at


async def test_an_upload_with_a_key_is_stored_once(place: Place) -> None:
    headers = {"Idempotency-Key": "one"}

    first = await place.upload(extra_headers=headers)
    second = await place.upload(extra_headers=headers)
    with pytest.raises(openai.BadRequestError):
        await place.upload(purpose="vision", extra_headers=headers)

    assert first == second
    assert len((await place.client.files.list()).data) == 1


def test_the_synchronous_client_does_the_same() -> None:
    def work(client: OpenAI) -> None:
        created = client.files.create(file=("haiku.txt", HAIKU), purpose="user_data")

        assert client.files.content(created.id).content == HAIKU
        assert [file.id for file in client.files.list()] == [created.id]
        assert client.files.delete(created.id).deleted

    async def work_in_thread() -> None:
        async with open_place() as place:
            with OpenAI(base_url=f"{place.server.url}/openai/v1", api_key="none") as client:
                await asyncio.to_thread(work, client)

    asyncio.run(work_in_thread())


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"purpose": "world domination"}, "purpose"),
        ({"purpose": ""}, "purpose"),
        ({"expires_after": {"anchor": "created_at", "seconds": 1}}, "expires_after"),
        ({"expires_after": {"anchor": "now", "seconds": 3600}}, "expires_after"),
        ({"expires_after": {"anchor": "created_at"}}, "expires_after"),
        ({"expires_after": {"anchor": "created_at", "seconds": 10**12}}, "expires_after"),
        ({"name": "../../etc/passwd"}, "name"),
    ],
)
async def test_a_bad_upload_is_refused_and_nothing_is_kept(
    place: Place, change: dict[str, Any], param: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as excinfo:
        await place.upload(**change)

    assert param is None or excinfo.value.param == param
    assert (await place.client.files.list()).data == []


@pytest.mark.parametrize("query", [{"limit": "10001"}, {"limit": "-1"}, {"order": "up"}])
async def test_a_bad_query_is_refused(place: Place, query: dict[str, str]) -> None:
    with pytest.raises(openai.BadRequestError):
        await place.client.files.list(extra_query=query)


async def test_too_large_a_file_is_refused(place: Place) -> None:
    with pytest.raises(openai.APIStatusError) as excinfo:
        await place.upload(content=b"x" * 1_100_000)

    assert excinfo.value.status_code == 413


async def test_files_of_others_are_not_there(place: Place) -> None:
    ann, bob = await place.server.key("ann"), await place.server.key("bob")
    reader = await place.server.key("ann", "read")
    owner, other = place.client.with_options(api_key=ann), place.client.with_options(api_key=bob)
    created = await owner.files.create(file=("a.txt", HAIKU), purpose="user_data")

    assert (await other.files.list()).data == []
    for attempt in (
        other.files.retrieve(created.id),
        other.files.content(created.id),
        other.files.delete(created.id),
    ):
        with pytest.raises(openai.NotFoundError):
            await attempt
    with pytest.raises(openai.NotFoundError):
        await other.files.list(after=created.id)
    with pytest.raises(openai.PermissionDeniedError):
        await place.client.with_options(api_key=reader).files.delete(created.id)
    assert (await owner.files.content(created.id)).content == HAIKU
