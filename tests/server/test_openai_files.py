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
    """A server, OpenAI's client of it, and ours."""

    served: Served
    client: AsyncOpenAI
    ours: AsyncClient

    async def upload(self, name: str = "haiku.txt", content: bytes = HAIKU, **more: Any) -> Any:
        more.setdefault("purpose", "user_data")
        return await self.client.files.create(file=(name, content, "text/plain"), **more)


@asynccontextmanager
async def open_place() -> AsyncIterator[Place]:
    async with (
        serve(SETTINGS) as served,
        AsyncClient(served.url) as ours,
        AsyncOpenAI(
            base_url=f"{served.url}/openai/v1", api_key="none", max_retries=0, timeout=20
        ) as client,
    ):
        yield Place(served, client, ours)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with open_place() as place:
        yield place


async def test_a_file_is_uploaded_read_and_deleted(place: Place) -> None:
    made = await place.upload(purpose="assistants")
    read = await place.client.files.retrieve(made.id)
    content = await place.client.files.content(made.id)

    assert made.id.startswith("file-")
    assert (made.filename, made.bytes, made.purpose) == ("haiku.txt", len(HAIKU), "assistants")
    assert (made.object, made.status, made.expires_at) == ("file", "processed", None)
    assert read == made
    assert content.content == HAIKU
    assert content.response.headers["content-disposition"].startswith("attachment")
    gone = await place.client.files.delete(made.id)
    assert (gone.id, gone.deleted, gone.object) == (made.id, True, "file")
    for attempt in (
        place.client.files.retrieve(made.id),
        place.client.files.content(made.id),
        place.client.files.delete(made.id),
    ):
        with pytest.raises(openai.NotFoundError, match="No such File object"):
            await attempt


async def test_a_file_is_the_same_one_in_the_native_api(place: Place) -> None:
    made = await place.upload()
    native = await place.ours.upload_file(b"x", "x.txt")

    listed = {upload.id: upload.purpose for upload in (await place.ours.list_files()).data}
    assert listed == {made.id.replace("file-", "file_"): "user_data", native.id: None}
    assert await place.ours.download_file(made.id.replace("file-", "file_")) == HAIKU
    assert (await place.client.files.retrieve(native.id)).purpose == "user_data"


async def test_files_are_listed_in_pages_by_purpose_and_in_both_orders(place: Place) -> None:
    made = [
        await place.upload(f"{n}.txt", purpose="vision" if n % 2 else "user_data") for n in range(5)
    ]

    assert [file async for file in place.client.files.list()] == made[::-1]
    assert [file async for file in place.client.files.list(order="asc", limit=2)] == made
    vision = await place.client.files.list(purpose="vision", order="asc")
    assert vision.data == made[1::2]
    page = await place.client.files.list(order="asc", limit=2, after=made[1].id)
    assert (page.data, page.has_more) == (made[2:4], True)
    assert (await place.client.files.list(purpose="batch")).data == []


async def test_a_file_that_expires_says_when(place: Place) -> None:
    made = await place.upload(expires_after={"anchor": "created_at", "seconds": 3600})

    assert made.expires_at == made.created_at + 3600
    assert (await place.client.files.retrieve(made.id)).expires_at == made.expires_at


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
        made = client.files.create(file=("haiku.txt", HAIKU), purpose="user_data")

        assert client.files.content(made.id).content == HAIKU
        assert [file.id for file in client.files.list()] == [made.id]
        assert client.files.delete(made.id).deleted

    async def work_in_thread() -> None:
        async with open_place() as place:
            with OpenAI(base_url=f"{place.served.url}/openai/v1", api_key="none") as client:
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
    ann, bob = await place.served.key("ann"), await place.served.key("bob")
    reader = await place.served.key("ann", "read")
    owner, other = place.client.with_options(api_key=ann), place.client.with_options(api_key=bob)
    made = await owner.files.create(file=("a.txt", HAIKU), purpose="user_data")

    assert (await other.files.list()).data == []
    for attempt in (
        other.files.retrieve(made.id),
        other.files.content(made.id),
        other.files.delete(made.id),
    ):
        with pytest.raises(openai.NotFoundError):
            await attempt
    with pytest.raises(openai.NotFoundError):
        await other.files.list(after=made.id)
    with pytest.raises(openai.PermissionDeniedError):
        await place.client.with_options(api_key=reader).files.delete(made.id)
    assert (await owner.files.content(made.id)).content == HAIKU
