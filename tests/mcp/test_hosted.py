"""MCP servers that runs name: which ones are allowed, how long they are held, and their owners."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from antiphon.mcp.hosted import Allowed, ServerPool
from antiphon.ports import Toolbox
from antiphon.runtime.backend_servers import NoServers
from antiphon.tools.egress_policy import EgressPolicy, parse_exemptions
from antiphon.types.errors import Forbidden, InvalidRequest
from antiphon.types.messages import ToolCall
from antiphon.types.runs import McpServer
from tests.support.mcp.serving import raw, serve_whole, whole

pytest.importorskip("mcp")


@asynccontextmanager
async def open_pool(
    allowed: Allowed = "configured", *private: str, **seconds: float
) -> AsyncIterator[ServerPool]:
    servers = ServerPool(
        allowed, [raw(name="far"), whole()], EgressPolicy(parse_exemptions(private)), **seconds
    )
    try:
        async with asyncio.timeout(60):
            yield servers
    finally:
        await servers.close()


async def call_text(toolbox: Toolbox, name: str, arguments: str = "{}") -> str:
    return (await toolbox.call(ToolCall("act_1", name, arguments))).output


def names(toolbox: Toolbox) -> Sequence[str]:
    return [tool.spec.name for tool in toolbox.tools()]


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/mcp",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://[::ffff:a9fe:a9fe]/latest",
        "https://[fd00::1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://192.168.1.1:8443/",
        "https://localhost/",
        "https://localhost./",
        "https://far.localhost/",
        "https://user:password@mcp.example/",
        "https://mcp.example@127.0.0.1/",
        "https://mcp.example\\@127.0.0.1/",
        "https://mcp.example:0/",
        "https://mcp.example:99999/",
        "https://mcp.example:port/",
        "https://",
        "https:///path",
        "https://mcp.exa mple/",
        "https://mcp.example/\r\nx: y",
        "http://mcp.example/",
        "http://93.184.216.34/",
        "ht\ntps://mcp.example/",
        "file:///etc/passwd",
        "gopher://mcp.example/",
        "stdio:rm",
        "//mcp.example/",
        "mcp.example",
        "",
    ],
)
async def test_an_address_that_leads_into_a_private_network_or_nowhere_is_refused(url: str) -> None:
    async with open_pool("urls") as servers:
        with pytest.raises(InvalidRequest) as error_info:
            await servers.check_allowed([McpServer("new", url)])
        assert error_info.value.details["where"] == "$.mcp_servers[0].url"


@pytest.mark.parametrize(
    "url", ["https://mcp.example/mcp", "https://93.184.216.34:8443/", "HTTPS://MCP.example"]
)
async def test_public_addresses_may_be_named(url: str) -> None:
    async with open_pool("urls") as servers:
        await servers.check_allowed([McpServer("new", url)])


async def test_a_host_that_the_operator_allows_may_be_private_and_without_https() -> None:
    async with open_pool("urls", "10.0.0.0/8:80", "wiki.corp") as servers:
        await servers.check_allowed(
            [McpServer("a", "http://10.1.2.3/"), McpServer("b", "http://wiki.corp")]
        )
        for url in ("http://10.1.2.3:81/", "http://other.corp/", "https://192.168.0.1/"):
            with pytest.raises(InvalidRequest):
                await servers.check_allowed([McpServer("c", url)])


async def test_the_operator_decides_which_servers_may_be_named() -> None:
    far, new = McpServer("far"), McpServer("new", "https://mcp.example/")
    off = NoServers()
    with pytest.raises(Forbidden):
        await off.check_allowed([far])
    await off.check_allowed([])
    async with open_pool("configured") as configured, open_pool("urls") as urls:
        await configured.check_allowed([far])
        await urls.check_allowed([far, new])
        with pytest.raises(Forbidden):
            await configured.check_allowed([far, new])
        with pytest.raises(InvalidRequest):
            await configured.check_allowed([McpServer("unheard-of")])
        with pytest.raises(InvalidRequest):
            await configured.check_allowed([far, far])


async def test_a_configured_server_is_started_when_it_is_first_held_and_shared() -> None:
    async with open_pool() as servers, servers.hold("ann", [McpServer("far")]) as first:
        assert "far__echo" in names(first)
        assert not [name for name in names(first) if name.startswith("whole")]
        async with servers.hold("bob", [McpServer("far")]) as second:
            assert await call_text(first, "far__echo", '{"x":1}') == '{"x": 1}'
            assert await call_text(second, "far__echo", '{"x":2}') == '{"x": 2}'
            assert first.tools()[0] is second.tools()[0]


async def test_a_server_that_was_forbidden_meanwhile_offers_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serve_whole("http") as port:
        new = McpServer("new", f"http://127.0.0.1:{port}/mcp")
        async with (
            open_pool("configured", f"127.0.0.1:{port}") as servers,
            servers.hold("ann", [new]) as toolbox,
        ):
            assert not names(toolbox)
            assert not servers.connections
            result = await toolbox.call(ToolCall("act_1", "new__echo", "{}"))
            assert (result.is_error, result.fault) == (True, "unavailable")
    assert "new" in caplog.text


async def test_a_server_that_does_not_answer_is_named_in_the_log_and_delays_only_the_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    seconds = 4.0  # more than a busy machine takes for the second one
    servers = ServerPool("configured", [raw("silent", name="mute")], list_seconds=seconds)
    clock = asyncio.get_running_loop().time
    async with asyncio.timeout(60):
        start = clock()
        async with servers.hold("ann", [McpServer("mute")]) as toolbox:
            assert not names(toolbox)
        assert clock() - start >= seconds
        start = clock()
        async with servers.hold("ann", [McpServer("mute")]):
            assert clock() - start < seconds
        await servers.close()
    assert "mute" in caplog.text


async def test_a_server_at_an_address_belongs_to_its_owner_and_is_released_after_a_while() -> None:
    with serve_whole("http") as port:
        new = McpServer("new", f"http://127.0.0.1:{port}/mcp")
        async with open_pool("urls", f"127.0.0.1:{port}", idle_seconds=3_600.0) as servers:
            async with servers.hold("ann", [new]) as first, servers.hold("bob", [new]) as second:
                assert await call_text(first, "new__echo", '{"text":"hi"}') == "hi"
                assert first.tools()[0] is not second.tools()[0]
            async with servers.hold("ann", [new]) as third:
                assert third.tools()[0] is first.tools()[0]
                servers._idle_seconds = 0.1
                async with servers.hold("bob", [new]):
                    pass
            await wait_until_closed(servers)
            async with servers.hold("ann", [new]) as later:
                assert await call_text(later, "new__echo", '{"text":"ho"}') == "ho"


async def wait_until_closed(servers: ServerPool) -> None:
    """Wait until all unused connections are closed."""
    while servers.connections:
        await asyncio.sleep(0.02)
