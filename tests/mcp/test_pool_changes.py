"""MCP servers of a pool that change while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.sync_servers import McpServerPool
from antiphon.types.errors import BadSettings, NotFound
from antiphon.types.messages import ToolResult
from tests.support.mcp.serving import call, raw

SECONDS = 60.0


def statuses(pool: AsyncMcpServerPool) -> Sequence[tuple[str, str]]:
    return [(state.server, state.status) for state in pool.states()]


async def test_an_update_starts_new_servers_and_stops_removed_ones() -> None:
    unchanged_config = raw(name="kept")
    async with AsyncMcpServerPool([raw(name="old"), unchanged_config]) as pool:
        await pool.ready(SECONDS)
        hanging_call = asyncio.create_task(pool.call(call("kept__hang")))
        await pool.update([raw(name="new"), unchanged_config])
        await pool.ready(SECONDS)

        assert statuses(pool) == [("new", "ready"), ("kept", "ready")]
        assert not hanging_call.done()  # an unchanged server is not touched
        hanging_call.cancel()
        removed_result = await pool.call(call("old__echo"))
        assert (removed_result.fault, (await pool.call(call("new__echo"))).is_error) == (
            "unknown_tool",
            False,
        )


@pytest.mark.parametrize(
    ("configs", "reason"),
    [
        ([], "it was removed"),
        ([raw("good", "changed", name="far")], "it was restarted"),
        ([raw(name="far", enabled=False)], "it was switched off"),
    ],
    ids=["removed", "changed", "off"],
)
async def test_a_call_of_a_server_that_is_stopped_says_why(
    configs: list[ServerConfig], reason: str
) -> None:
    async with AsyncMcpServerPool([raw(name="far")]) as pool:
        await pool.ready(SECONDS)
        hanging_call = asyncio.create_task(pool.call(call("far__hang")))
        await asyncio.sleep(0)
        await pool.update(configs)
        result: ToolResult = await hanging_call

    assert (result.is_error, result.fault) == (True, "unavailable")
    assert reason in result.output


async def test_a_call_that_waits_for_a_start_is_told_that_the_server_was_removed() -> None:
    async with AsyncMcpServerPool([raw(name="far")]) as pool:
        await pool.ready(SECONDS)
        await pool.relaunch("far")
        await pool.ready(SECONDS)
        assert statuses(pool) == [("far", "ready")]
        await pool.update([])

        assert pool.states() == ()
        with pytest.raises(NotFound):
            await pool.relaunch("far")


async def test_two_servers_of_one_name_change_nothing() -> None:
    async with AsyncMcpServerPool([raw(name="far")]) as pool:
        await pool.ready(SECONDS)
        with pytest.raises(BadSettings):
            await pool.update([raw(name="far"), raw("evil", name="far")])

        assert statuses(pool) == [("far", "ready")]


async def test_a_pool_that_closes_during_an_update_leaves_nothing_running() -> None:
    async with AsyncMcpServerPool([raw(name="old")]) as pool:
        await pool.ready(SECONDS)
        update = asyncio.create_task(pool.update([raw(name="new")]))
        await asyncio.sleep(0)
    await update

    assert statuses(pool) == [("new", "closed")]


async def test_an_update_whose_caller_is_cancelled_is_carried_out_all_the_same() -> None:
    async with AsyncMcpServerPool([raw(name="old"), raw(name="far")]) as pool:
        await pool.ready(SECONDS)
        hanging_call = asyncio.create_task(pool.call(call("old__hang")))
        await asyncio.sleep(0)
        update = asyncio.create_task(pool.update([raw("good", "changed", name="far")]))
        await asyncio.sleep(0)
        update.cancel()
        with pytest.raises(asyncio.CancelledError):
            await update
        result: ToolResult = await hanging_call

        assert "it was removed" in result.output
        assert await pool.ready(SECONDS) == ()
        assert statuses(pool) == [("far", "ready")]


def test_the_same_holds_without_an_event_loop() -> None:
    with McpServerPool([raw(name="old")]) as pool:
        pool.update([raw(name="new")])
        assert pool.ready(SECONDS) == ()
        pool.relaunch("new")
        assert pool.ready(SECONDS) == ()
        assert [state.server for state in pool.states()] == ["new"]
