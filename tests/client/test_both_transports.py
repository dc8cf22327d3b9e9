"""Both transports refuse the same requests with the same words."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon.api.operations import (
    CreateAssistant,
    CreateMessage,
    CreateThread,
    GetThread,
    ListThreads,
    Operation,
    UpdateThread,
)
from antiphon.client.async_client import AsyncClient
from antiphon.client.sync_client import Client
from antiphon.server.serve import run_server
from antiphon.settings.settings import Settings
from antiphon.types import errors
from antiphon.types.errors import AntiphonError
from antiphon.types.messages import Text, ToolSpec
from antiphon.types.runs import Sampling

SETTINGS = Settings(model="demo", database="memory:", demo_delay=0, port=0, shutdown_timeout=0.1)


@pytest.fixture
async def clients() -> AsyncIterator[tuple[AsyncClient, AsyncClient]]:
    async with (
        run_server(SETTINGS) as url,
        AsyncClient(url) as remote,
        AsyncClient(settings=SETTINGS) as embedded,
    ):
        yield remote, embedded


def operation_with_parameter(value: Any) -> Operation[Any]:
    return CreateAssistant(tools=(ToolSpec("t", "", {"a": [value]}),))


def nest(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "call",
    [
        CreateThread(title="a\0b"),
        CreateThread(title="\udc80"),
        CreateThread(metadata={"a\0": "b"}),
        UpdateThread("thread_\0", title="a"),
        UpdateThread("thread_\udc80", title="a"),
        GetThread("\0"),
        ListThreads(q="\ud800"),
        CreateMessage("thread_a", "a\0"),
        CreateMessage("thread_a", (Text("\udc80"),)),
        operation_with_parameter("\0"),
        operation_with_parameter({"\ud800": 1}),
        operation_with_parameter(2**63),
        operation_with_parameter(-(2**70)),
        operation_with_parameter(float("nan")),
        operation_with_parameter(nest(100)),
        CreateAssistant(sampling=Sampling(temperature=float("inf"))),
        CreateAssistant(sampling=Sampling(seed=2**64)),
        CreateAssistant(name="a" * 300),
    ],
)
async def test_what_cannot_be_kept_is_refused_in_the_same_words(
    clients: tuple[AsyncClient, AsyncClient], call: Operation[Any]
):
    refusals: list[AntiphonError] = []
    for client in clients:
        with pytest.raises((errors.InvalidRequest, errors.TooLarge)) as error_info:
            await client.transport.send(call)
        refusals.append(error_info.value)

    one, other = refusals
    assert (one.code, one.message, _error_fields(one)) == (
        other.code,
        other.message,
        _error_fields(other),
    )


async def test_nesting_without_end_is_refused(clients: tuple[AsyncClient, AsyncClient]):
    for client in clients:
        with pytest.raises(errors.TooLarge):
            await client.transport.send(operation_with_parameter(nest(10_000)))


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\0.txt", "a\r\nb", "\udce9.txt", "", ".."])
async def test_a_name_that_is_none_is_refused_in_the_same_words(
    clients: tuple[AsyncClient, AsyncClient], name: str
):
    refusals: list[AntiphonError] = []
    for client in clients:
        with pytest.raises(errors.InvalidRequest) as error_info:
            await client.transport.upload(name, "text/plain", b"x")
        refusals.append(error_info.value)

    one, other = refusals
    assert (one.code, one.message, _error_fields(one)) == (
        other.code,
        other.message,
        _error_fields(other),
    )


@pytest.mark.parametrize(
    "media_type", ["text/plain\r\nSet-Cookie: a=b", "", "Text/Plain; a=b", "é"]
)
async def test_a_media_type_is_kept_in_the_same_words(
    clients: tuple[AsyncClient, AsyncClient], media_type: str
):
    one, other = [await client.transport.upload("a.txt", media_type, b"x") for client in clients]

    assert one.media_type == other.media_type


async def test_a_file_that_cannot_be_named_cannot_be_asked_for(
    clients: tuple[AsyncClient, AsyncClient],
):
    for client in clients:
        with pytest.raises(errors.InvalidRequest):
            await client.download_file("file_\udc80")


def _error_fields(error: AntiphonError) -> dict[str, Any]:
    return {name: value for name, value in error.details.items() if name != "request_id"}


async def test_a_file_is_read_in_pieces_by_sync_transports_too():
    def read(client: Client) -> bytes:
        upload = client.upload_file(b"old pond" * 100_000, "haiku.txt")
        return b"".join(client.transport.read_file(upload.id))

    with Client(settings=SETTINGS) as client:
        embedded = await asyncio.to_thread(read, client)
    async with run_server(SETTINGS) as url:
        with Client(url) as client:
            remote = await asyncio.to_thread(read, client)

    assert embedded == remote == b"old pond" * 100_000


def test_a_client_of_this_process_belongs_to_one_event_loop() -> None:
    client = AsyncClient(settings=SETTINGS)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        first.run_until_complete(client.create_thread())
        for use in (client.create_thread, client.close):
            with pytest.raises(errors.InvalidRequest, match="another event loop"):
                second.run_until_complete(use())
    finally:
        first.run_until_complete(client.close())
        first.close()
        second.close()


async def test_a_page_of_a_list_iterates_over_the_pages_after_it(
    clients: tuple[AsyncClient, AsyncClient],
) -> None:
    for client in clients:
        thread_ids = [(await client.create_thread(str(number))).id for number in range(5)]

        page = await client.list_threads(limit=2, order="oldest")

        assert [each.id for each in page.data] == thread_ids[:2]
        assert [each.id async for each in page] == thread_ids
