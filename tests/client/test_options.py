"""Options of a client: headers, timeouts, retries, the default model, the HTTP client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from inspect import signature
from pathlib import Path
from typing import Any, get_overloads

import httpx2
import pytest

from antiphon.client.async_client import AsyncClient
from antiphon.client.options import ClientOptions, ConversationOptions
from antiphon.client.sync_client import Client
from antiphon.server.serve import run_server
from antiphon.settings.settings import Settings
from antiphon.types.errors import (
    BadSettings,
    ConnectionLost,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from tests.support.client.cut_server import CutServer, Plain, serving
from tests.support.client.four_ways import serve_in_thread

SETTINGS = Settings(model="demo", database="memory:", demo_delay=0, port=0, shutdown_timeout=0.1)
THREADS = Plain(200, b'{"data":[],"has_more":false,"next":null}')
BUSY = Plain(503, b'{"code":"unavailable"}')


@pytest.fixture
def server() -> Iterator[CutServer]:
    with serving() as server:
        yield server


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with run_server(SETTINGS) as url:
        yield url


@pytest.mark.parametrize("kind", [AsyncClient, Client])
def test_type_checkers_accept_each_parameter_of_ask(kind: type[AsyncClient | Client]) -> None:
    parameters = signature(kind.ask).parameters.keys() - {"self", "options"}
    for overload in get_overloads(kind.ask):
        declared = signature(overload).parameters.keys() | ConversationOptions.__annotations__
        assert parameters <= declared


def test_headers_go_with_each_request_and_more_are_added_by_a_copy(server: CutServer) -> None:
    server.plays([], [THREADS, THREADS, THREADS])
    with Client(server.address, api_key="the-key", headers={"X-Team": "moon"}) as client:
        client.list_threads()
        client.with_options(headers={"X-Trip": "7", "User-Agent": "rocket"}).list_threads()
        client.list_threads()

    first, second, third = (request.headers for request in server.requests)
    assert (first["x-team"], first["authorization"]) == ("moon", "Bearer the-key")
    assert first["user-agent"].startswith("antiphon/")
    assert (second["x-team"], second["x-trip"], second["user-agent"]) == ("moon", "7", "rocket")
    assert "x-trip" not in third


async def test_headers_of_an_async_client_go_with_each_request_too(server: CutServer) -> None:
    server.plays([], [THREADS])
    async with AsyncClient(server.address, api_key="k", headers={"X-Team": "moon"}) as client:
        await client.list_threads()

    assert server.requests[0].headers["x-team"] == "moon"


@pytest.mark.parametrize(("max_retries", "requests"), [(0, 1), (2, 3)])
def test_a_request_is_repeated_as_often_as_is_allowed(
    server: CutServer, max_retries: int, requests: int
) -> None:
    server.plays([], [BUSY] * 10)
    with (
        Client(server.address, api_key="k", max_retries=max_retries) as client,
        pytest.raises(Unavailable),
    ):
        client.list_threads()

    assert len(server.requests) == requests


def test_retries_of_a_copy_are_its_own(server: CutServer) -> None:
    server.plays([], [BUSY, THREADS])
    with Client(server.address, api_key="k", max_retries=0) as client:
        assert client.with_options(max_retries=1).list_threads().data == []


async def test_an_answer_that_takes_too_long_is_not_waited_for(address: str) -> None:
    async with AsyncClient(address, api_key="k", timeout=1e-9, max_retries=0) as client:
        with pytest.raises(ConnectionLost):
            await client.list_threads()
        assert (await client.with_options(timeout=60).list_threads()).data == []


@pytest.mark.parametrize("embedded", [True, False])
async def test_a_model_is_that_of_new_runs_that_name_none(address: str, embedded: bool) -> None:
    client = (
        AsyncClient(model="demo:small", settings=SETTINGS)
        if embedded
        else AsyncClient(address, api_key="k", model="demo:small")
    )
    async with client:
        default_result = await client.ask("Hello")
        named_result = await client.ask("Hello", model="demo")
        other_result = await client.with_options(model="demo:large").ask("Hello")

        models = [
            (await client.get_run(each.run_id)).model
            for each in (default_result, named_result, other_result)
        ]
    assert models == ["demo:small", "demo", "demo:large"]


async def test_a_client_of_ones_own_is_used_and_left_open(address: str) -> None:
    requests: list[httpx2.Request] = []

    async def note(request: httpx2.Request) -> None:
        requests.append(request)

    async with httpx2.AsyncClient(event_hooks={"request": [note]}) as own_client:
        async with AsyncClient(address, api_key="the-key", http_client=own_client) as client:
            await client.list_threads()

        assert str(requests[0].url).startswith(f"{address}/v1/threads")
        assert requests[0].headers["authorization"] == "Bearer the-key"
        assert not own_client.is_closed


async def test_a_turn_that_has_ended_leaves_its_connection_to_the_next(address: str) -> None:
    addresses: set[object] = set()

    async def note(response: httpx2.Response) -> None:
        addresses.add(response.extensions["network_stream"].get_extra_info("client_addr"))

    async with (
        httpx2.AsyncClient(event_hooks={"response": [note]}) as own_client,
        AsyncClient(address, api_key="the-key", http_client=own_client) as client,
    ):
        for _ in range(3):
            await client.ask("Hello", model="demo")

    assert len(addresses) == 1


async def test_a_client_of_the_other_kind_is_refused() -> None:
    with (
        httpx2.Client() as sync_client,
        pytest.raises(BadSettings, match="given http_client") as first_error,
    ):
        AsyncClient("http://127.0.0.1:9", api_key="k", http_client=sync_client)  # type: ignore[arg-type]
    async with httpx2.AsyncClient() as async_client:
        with pytest.raises(BadSettings, match="given http_client") as second_error:
            Client("http://127.0.0.1:9", api_key="k", http_client=async_client)  # type: ignore[arg-type]

    expected = [each.value.details["expected"] for each in (first_error, second_error)]
    assert expected == ["an httpx2.AsyncClient", "an httpx2.Client"]


def test_a_database_of_a_program_needs_no_settings(tmp_path: Path) -> None:
    file = tmp_path / "mine.db"
    with Client(database=f"sqlite:///{file}", model="demo") as client:
        client.create_thread(title="Kept")

    assert file.exists()
    with Client(database=f"sqlite:///{file}") as client:
        assert [thread.title for thread in client.list_threads().data] == ["Kept"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"timeout": 0}, "needs time"),
        ({"timeout": float("nan")}, "needs time"),
        ({"max_retries": -1}, "cannot be repeated"),
        ({"headers": {"a b": "c"}}, "header 'a b' cannot be sent"),
        ({"headers": {"a": "c\r\nx: y"}}, "header 'a' cannot be sent"),
        ({"headers": {"a": "ü"}}, "header 'a' cannot be sent"),
        ({"headers": {"Content-Type": "text/plain"}}, "set by each request itself"),
        ({"headers": {"Idempotency-Key": "k"}}, "set by each request itself"),
        ({"headers": {"Accept-Encoding": "gzip"}}, "set by each request itself"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(BadSettings, match=expected):
        Client("http://127.0.0.1:9", api_key="k", **options)
    with pytest.raises(BadSettings, match=expected):
        ClientOptions(**options)


@pytest.mark.parametrize(
    "options",
    [{"timeout": 5}, {"max_retries": 1}, {"headers": {"a": "b"}}, {"http_client": object()}],
)
def test_options_about_a_server_are_refused_without_one(options: dict[str, Any]) -> None:
    with pytest.raises(BadSettings, match="about a server") as error_info:
        Client(settings=SETTINGS, **options)
    assert error_info.value.details["received"] == next(iter(options))


def test_a_copy_without_a_server_takes_none_either() -> None:
    with Client(settings=SETTINGS) as client, pytest.raises(BadSettings, match="about a server"):
        client.with_options(timeout=5)


def test_a_server_and_a_database_are_one_too_many() -> None:
    with pytest.raises(BadSettings, match="has its own database"):
        Client("http://127.0.0.1:9", api_key="k", database="memory:")


@pytest.mark.parametrize("embedded", [True, False])
async def test_a_closed_client_says_so(address: str, embedded: bool) -> None:
    client = AsyncClient(settings=SETTINGS) if embedded else AsyncClient(address, api_key="k")
    copy = client.with_options(model="demo")
    await client.list_threads()
    await client.close()

    for closed in (client, copy):
        with pytest.raises(InvalidRequest, match="This client is closed"):
            await closed.list_threads()


def test_a_closed_sync_client_says_so() -> None:
    client = Client(settings=SETTINGS)
    client.list_threads()
    client.close()

    with pytest.raises(InvalidRequest, match="This client is closed"):
        client.list_threads()


@pytest.mark.parametrize("embedded", [True, False])
def test_a_client_that_is_closed_while_its_tool_runs_says_so(embedded: bool) -> None:
    with nullcontext() if embedded else serve_in_thread(SETTINGS) as url:
        close_during_a_tool(Client(url, settings=SETTINGS))


def close_during_a_tool(client: Client) -> None:
    running = threading.Event()

    async def get_flight_times(departure: str, arrival: str) -> None:
        running.set()
        await asyncio.Event().wait()

    def close() -> None:
        running.wait()
        client.close()

    closer = threading.Thread(target=close)
    closer.start()
    try:
        with pytest.raises(InvalidRequest, match="This client is closed"):
            client.ask("When does the next LAX-JFK flight leave?", tools=[get_flight_times])
    finally:
        running.set()
        closer.join()


async def test_an_error_has_the_status_and_the_id_of_its_request(address: str) -> None:
    headers = {"X-Request-Id": "mine-1.2"}
    async with AsyncClient(address, api_key="k", headers=headers) as client:
        with pytest.raises(NotFound) as error_info:
            await client.get_thread("thread_none")

    assert (error_info.value.http_status, error_info.value.request_id) == (404, "mine-1.2")


@pytest.mark.parametrize("request_id", [None, "a b", "x" * 129, ""])
async def test_a_request_without_a_usable_id_is_given_one(
    address: str, request_id: str | None
) -> None:
    async with httpx2.AsyncClient(base_url=address) as client:
        headers = {} if request_id is None else {"x-request-id": request_id}
        answers = [await client.get("/healthz", headers=headers) for _ in range(2)]

    ids = [answer.headers["x-request-id"] for answer in answers]
    assert all(each.startswith("req_") for each in ids)
    assert ids[0] != ids[1]
