"""The nginx of the cluster, in front of servers of this test."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from tests.support.ports import find_port

NGINX = shutil.which("nginx")
pytestmark = pytest.mark.skipif(
    NGINX is None, reason="NOT RUN, FOR NGINX IS NOT HERE (apt-get install nginx-light)"
)
SECONDS = 60
STREAM = (
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    "transfer-encoding: chunked\r\n\r\n{size:x}\r\n{text}\r\n"
)


class Server:
    """Answers each request with its name, the first piece of a stream that `release` ends."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heads: list[str] = []
        self.release = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head.decode())
                piece = STREAM.format(size=len(self.name), text=self.name)
                writer.write(piece.encode())
                await writer.drain()
                await self.release.wait()
                writer.write(b"0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def _run_cluster(
    folder: Path, servers: Sequence[Server]
) -> AsyncGenerator[httpx2.AsyncClient]:
    """Run nginx with the cluster's own file, in which only addresses and folders are replaced."""
    config = (Path(__file__).parents[2] / "deploy/nginx/nginx.conf").read_text()
    async with AsyncExitStack() as stack:
        for name in ("antiphon-1", "antiphon-2", "antiphon-3", "web"):
            port = find_port()
            for server in servers:
                if server.name == name:
                    listener = await asyncio.start_server(server.answer, "127.0.0.1", port)
                    await stack.enter_async_context(listener)
            config = config.replace(f"{name}:8000", f"127.0.0.1:{port}")
        port = find_port()
        config = re.sub(r"listen 8080", f"listen 127.0.0.1:{port}", config)
        config = config.replace("/tmp/", f"{folder}/").replace("/dev/stderr", f"{folder}/error")
        file = folder / "nginx.conf"
        file.write_text("daemon off;\n" + config)
        command = [str(NGINX), "-e", str(folder / "error"), "-c", str(file)]
        config_test = await asyncio.create_subprocess_exec(
            *command, "-t", stderr=asyncio.subprocess.PIPE
        )
        _, errors = await config_test.communicate()
        assert config_test.returncode == 0, errors.decode()
        program = await asyncio.create_subprocess_exec(*command)
        try:
            yield await stack.enter_async_context(_open_client(port, folder))
        finally:
            for server in servers:
                server.release.set()
            program.terminate()
            await program.wait()


@asynccontextmanager
async def _open_client(port: int, folder: Path) -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS) as client:
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    answer = await client.get("/nginx-health")
                except httpx2.TransportError:
                    await asyncio.sleep(0.02)
                    continue
                assert answer.status_code == 204, (folder / "error").read_text()
                break
        yield client


async def _read_first_piece(client: httpx2.AsyncClient, path: str, **headers: str) -> str:
    """Return the first piece of a stream that has not ended."""
    async with client.stream("GET", path, headers=headers) as stream:
        return (await anext(stream.aiter_raw())).decode()


async def test_the_address_that_a_browser_claims_is_not_passed_on(tmp_path: Path) -> None:
    servers = [Server(name) for name in ("antiphon-1", "antiphon-2", "antiphon-3", "web")]
    async with _run_cluster(tmp_path, servers) as client:
        claims = {"X-Forwarded-For": "203.0.113.7, 198.51.100.9"}
        async with client.stream("GET", "/", headers=claims) as stream:
            await anext(stream.aiter_raw())

    head = servers[-1].heads[0].lower().splitlines()
    assert [line for line in head if line.startswith("x-forwarded-for")] == [
        "x-forwarded-for: 127.0.0.1"
    ]


async def test_each_server_is_asked_in_turn_and_streams_come_as_they_are_written(
    tmp_path: Path,
) -> None:
    servers = [Server(name) for name in ("antiphon-1", "antiphon-2", "antiphon-3", "web")]
    async with _run_cluster(tmp_path, servers) as client:
        names = [await _read_first_piece(client, "/v1/runs/run_1/events") for _ in range(6)]
        page = await _read_first_piece(client, "/")
        metrics_status = (await client.get("/metrics")).status_code

    assert sorted(names) == sorted(["antiphon-1", "antiphon-2", "antiphon-3"] * 2)
    assert page == "web"
    assert metrics_status == 404
    assert f"host: {client.base_url.netloc.decode()}" in servers[0].heads[0].lower()


async def test_the_servers_are_asked_for_every_api_and_upgraded_for_a_websocket_alone(
    tmp_path: Path,
) -> None:
    server = Server("antiphon-2")
    async with _run_cluster(tmp_path, [server, Server("web")]) as client:
        for path in ("/v1/threads", "/openai/v1/models", "/ai-sdk/chat", "/ag-ui/v1/run"):
            assert await _read_first_piece(client, path) == "antiphon-2"
        assert await _read_first_piece(client, "/openai/chat") == "web"
        for name in ("websocket", "h2c"):
            await _read_first_piece(
                client, "/openai/v1/responses", connection="upgrade", upgrade=name
            )

    *plain_heads, websocket, other = [head.lower() for head in server.heads]
    assert "upgrade: websocket\r\nconnection: upgrade\r\n" in websocket
    assert not any("upgrade" in head for head in (*plain_heads, other))


async def test_a_server_that_is_down_is_skipped(tmp_path: Path) -> None:
    async with _run_cluster(tmp_path, [Server("antiphon-2")]) as client:
        names = {await _read_first_piece(client, "/v1/threads") for _ in range(5)}

    assert names == {"antiphon-2"}
