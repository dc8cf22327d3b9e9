"""A server that does not answer the newest protocol's question costs its time once, not always."""

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
def known(tmp_path: Path) -> ProtocolCache:
    return ProtocolCache(tmp_path / "of this user" / "known.json")


async def start(config: ServerConfig, known: ProtocolCache) -> ServerState:
    """The server when it was ready."""
    async with (
        asyncio.timeout(60),
        AsyncMcpServerPool([config], delays=(), protocol_cache=known) as servers,
    ):
        await servers.ready(50)
        return servers.states()[0]


async def test_what_is_known_of_a_deaf_server_is_not_found_out_again(
    known: ProtocolCache, tmp_path: Path
):
    mark = tmp_path / "asked"  # it would be waited for for ten seconds
    config = raw("deaf", str(mark))
    known.update(config, "1")
    state = await start(config, known)

    assert state.status == "ready"
    assert not mark.exists()


async def test_a_server_that_dies_of_the_question_is_remembered(known: ProtocolCache):
    assert not known.is_legacy(raw("frail"))
    await start(raw("frail"), known)

    while not known.is_legacy(raw("frail")):
        await asyncio.sleep(0.01)
    state = await start(raw("frail"), known)
    assert state.status == "ready"


async def test_a_server_that_says_no_at_once_is_asked_at_every_start(known: ProtocolCache):
    state = await start(raw(), known)

    assert state.protocol == "2025-11-25"
    assert not known.is_legacy(raw())


async def test_a_server_that_starts_that_way_no_more_is_asked_again_and_forgotten(
    known: ProtocolCache,
):
    known.update(raw("grown"), "1")
    state = await start(raw("grown"), known)

    assert state.status == "ready"
    assert not known.is_legacy(raw("grown"))


async def test_a_server_of_another_version_is_asked_at_its_next_start(known: ProtocolCache):
    config = raw("deaf", env={"VERSION": "2"})
    known.update(config, "1")
    await start(config, known)

    while known.is_legacy(config):
        await asyncio.sleep(0.01)


async def test_a_long_start_of_an_old_server_is_worth_remembering(known: ProtocolCache):
    approach = ProtocolNegotiation(raw(), known)
    await approach.load()
    approach.handle_ready(modern=False, version="1", seconds=SLOW_START_SECONDS + 1)

    assert approach.mode == "legacy"
    while not known.is_legacy(raw()):
        await asyncio.sleep(0.01)


async def test_nothing_is_learnt_of_a_new_server(known: ProtocolCache):
    approach = ProtocolNegotiation(raw(), known)
    approach.handle_ready(modern=True, version="1", seconds=SLOW_START_SECONDS + 1)

    assert approach.mode == "auto"
    assert not known.is_legacy(raw())


def test_servers_that_are_started_otherwise_are_others(known: ProtocolCache):
    known.update(raw("deaf"), "1")

    assert known.is_legacy(raw("deaf", name="another name", timeout=3.0))
    assert not known.is_legacy(raw("good"))
    assert not known.is_legacy(raw("deaf", cwd="/"))


def test_the_file_holds_no_address_and_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "MOST_REMEMBERED", 20)
    file = tmp_path / "antiphon/mcp-generations.json"
    known = open_protocol_cache({"XDG_DATA_HOME": str(tmp_path)})
    for n in range(23):
        url = f"https://example.com/?key=secret{n}"
        known.update(ServerConfig(name="x", transport="http", url=url), "1")

    assert "secret" not in file.read_text()
    assert file.read_text().count("version") == 20
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{"a": {"version": 1}}'])
def test_a_file_that_is_none_knows_nothing_and_is_written_anew(tmp_path: Path, content: bytes):
    file = tmp_path / "known.json"
    file.write_bytes(content)
    known = ProtocolCache(file)
    assert not known.is_legacy(raw())

    known.update(raw(), "1")
    assert known.is_legacy(raw())


def test_where_nothing_can_be_written_nothing_is_remembered(tmp_path: Path):
    (tmp_path / "file").write_text("")
    known = ProtocolCache(tmp_path / "file" / "known.json")

    known.update(raw(), "1")
    known.forget(raw())

    assert not known.is_legacy(raw())
