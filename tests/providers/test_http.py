"""Requests to a provider's server through a proxy of the environment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from antiphon.providers.failures import Redactor
from antiphon.providers.http import Auth, Endpoint
from antiphon.types.errors import ProviderUnavailable

MODELS = "http://models.example/v1"


@asynccontextmanager
async def run_proxy() -> AsyncIterator[tuple[str, list[str]]]:
    """Run a proxy that records the heads of requests, and answers them itself."""
    heads: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://user:secret@{host}:{port}", heads


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a netrc file with a password for any host."""
    file = tmp_path / "netrc"
    file.write_text("default login me password canary\n")
    monkeypatch.setenv("NETRC", str(file))


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer key"}])
async def test_a_provider_gets_no_password_of_a_netrc_file(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    async with run_proxy() as (proxy, heads):
        monkeypatch.setenv("http_proxy", proxy)
        endpoint = Endpoint(MODELS, Auth(headers=headers), Redactor())
        body = await endpoint.get("models")
        await endpoint.close()

    (head,) = heads
    assert body == b"{}"
    assert head.startswith("GET http://models.example/v1/models HTTP/1.1")
    assert "Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=" in head
    authorization_lines = [line for line in head.splitlines() if line.startswith("Authorization")]
    assert authorization_lines == [f"{name}: {value}" for name, value in headers.items()]


async def test_hosts_of_no_proxy_are_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_proxy() as (proxy, heads):
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "models.invalid")
        endpoint = Endpoint("http://models.invalid/v1", Auth(), Redactor())
        with pytest.raises(ProviderUnavailable):
            await endpoint.get("models")
        await endpoint.close()

    assert heads == []
