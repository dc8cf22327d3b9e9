"""The web chat and the backend on one port: each guards what is its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
import msgspec
import pytest

from antiphon.client.async_client import AsyncClient
from antiphon.runtime.embedded_transport import AsyncEmbeddedTransport
from antiphon.runtime.runtime import Runtime
from antiphon.server.serve import IsClosing, run_server
from antiphon.types.errors import BadSettings
from antiphon.web.app import open_asgi_app
from antiphon.web.bridge import Bridge
from tests.support.web.visiting import FORGETFUL, PASSWORD

SETTINGS = msgspec.structs.replace(FORGETFUL, port=0)


@asynccontextmanager
async def open_server(**changes: object) -> AsyncGenerator[httpx2.AsyncClient]:
    """Run a server with a web chat and yield an HTTP client of it."""
    settings = msgspec.structs.replace(SETTINGS, **changes)

    @asynccontextmanager
    async def open_companion(runtime: Runtime, closing: IsClosing) -> AsyncGenerator[Bridge]:
        client = AsyncClient.over(AsyncEmbeddedTransport.over(runtime))
        await client.create_person("ann", password=PASSWORD)
        async with open_asgi_app(settings, client, closing, servers=False) as bridge:
            yield bridge

    async with (
        run_server(settings, open_companion=open_companion) as address,
        httpx2.AsyncClient(base_url=address, timeout=20, trust_env=False) as client,
    ):
        yield client


async def test_without_a_login_the_backend_beside_the_chat_needs_no_key() -> None:
    async with open_server() as client:
        assert (await client.get("/v1/threads")).status_code == 200
        assert (await client.get("/")).status_code == 200


async def test_where_people_log_in_the_backend_asks_for_a_key() -> None:
    async with open_server(login="password") as client:
        for headers in ({}, {"Antiphon-Owner": "local"}, {"Host": "chat.lan"}):
            assert (await client.get("/v1/threads", headers=headers)).status_code == 401
        login = {"name": "ann", "password": PASSWORD}
        assert (await client.post("/api/login", json=login)).status_code == 200
        assert (await client.get("/api/threads")).status_code == 200
        assert (await client.get("/v1/threads")).status_code == 401  # a cookie is no key


@pytest.mark.parametrize("host", ["rebound.example", "localhost.rebound.example:8000"])
async def test_a_foreign_host_meets_the_guard_of_the_side_that_it_asks(host: str) -> None:
    async with open_server() as client:
        for path, status in (("/", 421), ("/api/me", 421), ("/v1/threads", 403)):
            assert (await client.get(path, headers={"Host": host})).status_code == status


async def test_a_request_with_two_host_headers_is_refused() -> None:
    async with open_server() as client:
        address = client.base_url
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: rebound.example\r\n\r\n")
        status = await reader.readline()
        writer.close()

        assert status.split()[1] in (b"400", b"421")


async def test_a_header_with_an_underscore_is_not_taken_for_the_one_with_hyphens() -> None:
    async with open_server(login="proxy", trusted_proxies=("127.0.0.1",)) as client:
        forged_header = {"X_Forwarded_User": "boss"}

        assert (await client.get("/api/me", headers=forged_header)).status_code == 401
        name_header = {"X-Forwarded-User": "ann"}
        assert (
            await client.get("/api/me", headers={**forged_header, **name_header})
        ).status_code == 200


async def test_a_name_that_is_sent_twice_is_nobody() -> None:
    async with open_server(login="proxy", trusted_proxies=("127.0.0.1",)) as client:
        name_headers = [("X-Forwarded-User", "boss"), ("X-Forwarded-User", "ann")]

        assert (await client.get("/api/me", headers=name_headers)).status_code == 403


async def test_a_server_with_a_login_and_an_allowed_host_may_listen_anywhere() -> None:
    async with open_server(host="0.0.0.0", login="password", allowed_hosts=("chat.lan",)) as client:
        assert (await client.get("/", headers={"Host": "chat.lan"})).status_code == 200


@pytest.mark.parametrize("changes", [{}, {"login": "password"}, {"login": "oidc"}])
async def test_a_server_without_a_login_or_an_allowed_host_does_not_listen_anywhere(
    changes: dict[str, object],
) -> None:
    with pytest.raises(BadSettings):
        async with open_server(host="0.0.0.0", **changes):
            pass
