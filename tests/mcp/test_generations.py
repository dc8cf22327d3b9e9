"""The cache of protocols: a server that ignores the newest protocol delays one start only."""

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="the extra antiphon[mcp] is not installed")

from antiphon.mcp.client import server
from antiphon.mcp.client.server import (
    SLOW_START_SECONDS,
    ProtocolCache,
    ProtocolNegotiation,
    open_protocol_cache,
)
from antiphon.mcp.client.server_listing import ServerState
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.config.server_config import ServerConfig
from tests.support.mcp.serving import raw


@pytest.fixture
def protocol_cache(tmp_path: Path) -> ProtocolCache:
    return ProtocolCache(tmp_path / "of this user" / "known.json")


async def start(config: ServerConfig, protocol_cache: ProtocolCache) -> ServerState:
    """Start the server; return its state when it was ready."""
    async with (
        asyncio.timeout(60),
        AsyncMcpServerPool([config], delays=(), protocol_cache=protocol_cache) as servers,
    ):
        await servers.ready(50)
        return servers.states()[0]


async def test_a_deaf_server_in_the_cache_is_not_asked_again(
    protocol_cache: ProtocolCache, tmp_path: Path
):
    mark = tmp_path / "asked"  # the client would wait ten seconds for an answer
    config = raw("deaf", str(mark))
    protocol_cache.update(config, "1")
    state = await start(config, protocol_cache)

    assert state.status == "ready"
    assert not mark.exists()


async def test_a_server_that_dies_of_a_new_request_is_remembered(protocol_cache: ProtocolCache):
    assert not protocol_cache.is_legacy(raw("frail"))
    await start(raw("frail"), protocol_cache)

    while not protocol_cache.is_legacy(raw("frail")):
        await asyncio.sleep(0.01)
    state = await start(raw("frail"), protocol_cache)
    assert state.status == "ready"


async def test_a_server_that_refuses_at_once_is_asked_at_every_start(protocol_cache: ProtocolCache):
    state = await start(raw(), protocol_cache)

    assert state.protocol == "2025-11-25"
    assert not protocol_cache.is_legacy(raw())


async def test_a_server_that_no_longer_starts_with_the_old_protocol_is_asked_again_and_forgotten(
    protocol_cache: ProtocolCache,
):
    protocol_cache.update(raw("grown"), "1")
    state = await start(raw("grown"), protocol_cache)

    assert state.status == "ready"
    assert not protocol_cache.is_legacy(raw("grown"))


async def test_a_server_of_another_version_is_asked_at_its_next_start(
    protocol_cache: ProtocolCache,
):
    config = raw("deaf", env={"VERSION": "2"})
    protocol_cache.update(config, "1")
    await start(config, protocol_cache)

    while protocol_cache.is_legacy(config):
        await asyncio.sleep(0.01)


async def test_a_long_start_of_an_old_server_is_worth_remembering(protocol_cache: ProtocolCache):
    negotiation = ProtocolNegotiation(raw(), protocol_cache)
    await negotiation.load()
    negotiation.handle_ready(modern=False, version="1", seconds=SLOW_START_SECONDS + 1)

    assert negotiation.mode == "legacy"
    while not protocol_cache.is_legacy(raw()):
        await asyncio.sleep(0.01)


async def test_a_new_server_is_not_remembered(protocol_cache: ProtocolCache):
    negotiation = ProtocolNegotiation(raw(), protocol_cache)
    negotiation.handle_ready(modern=True, version="1", seconds=SLOW_START_SECONDS + 1)

    assert negotiation.mode == "auto"
    assert not protocol_cache.is_legacy(raw())


def test_servers_that_are_started_in_another_way_are_others(protocol_cache: ProtocolCache):
    protocol_cache.update(raw("deaf"), "1")

    assert protocol_cache.is_legacy(raw("deaf", name="another name", timeout=3.0))
    assert not protocol_cache.is_legacy(raw("good"))
    assert not protocol_cache.is_legacy(raw("deaf", cwd="/"))


def test_the_file_holds_no_address_and_has_a_limited_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(server, "MOST_REMEMBERED", 20)
    file = tmp_path / "antiphon/mcp-generations.json"
    protocol_cache = open_protocol_cache({"XDG_DATA_HOME": str(tmp_path)})
    for n in range(23):
        url = f"https://example.com/?key=secret{n}"
        protocol_cache.update(ServerConfig(name="x", transport="http", url=url), "1")

    assert "secret" not in file.read_text()
    assert file.read_text().count("version") == 20
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{"a": {"version": 1}}'])
def test_an_invalid_file_is_an_empty_cache_and_is_written_again(tmp_path: Path, content: bytes):
    file = tmp_path / "known.json"
    file.write_bytes(content)
    protocol_cache = ProtocolCache(file)
    assert not protocol_cache.is_legacy(raw())

    protocol_cache.update(raw(), "1")
    assert protocol_cache.is_legacy(raw())


def test_without_a_writable_file_nothing_is_remembered(tmp_path: Path):
    (tmp_path / "file").write_text("")
    protocol_cache = ProtocolCache(tmp_path / "file" / "known.json")

    protocol_cache.update(raw(), "1")
    protocol_cache.forget(raw())

    assert not protocol_cache.is_legacy(raw())
