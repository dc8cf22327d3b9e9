"""Every face finds and starts the same MCP servers, and skips the others for the same reason.

There are four: a good server, a disabled one, one with a variable that is not set, and one in a
file of the working folder that the user has not approved.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import antiphon
from antiphon import McpServerPool, Settings
from antiphon.mcp.hosted import create_servers
from antiphon.mcp.startup import start_servers
from antiphon.web.tools import open_toolset
from tests.support.cli.place import Place
from tests.support.terminal.chatting import Chatting
from tests.support.terminal.mcp_servers import raw
from tests.support.terminal.model import Model

REASON = "the variable NOT_SET_ANYWHERE is not set"
UNAPPROVED = ".mcp.json names MCP servers (theirs), which start once you have approved them"
STATES = {"good": "ready", "off": "disabled", "broken": "failed"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    own_file = tmp_path / "config/antiphon/mcp.json"
    own_file.parent.mkdir(parents=True)
    servers = {
        "good": {**raw(), "backend": True},
        "off": {**raw(), "disabled": True, "env": {"KEY": "${NOT_SET_ANYWHERE}"}},
        "broken": {**raw(), "backend": True, "env": {"KEY": "${NOT_SET_ANYWHERE}"}},
    }
    own_file.write_text(json.dumps({"mcpServers": servers}))
    (tmp_path / ".mcp.json").write_text(json.dumps({"mcpServers": {"theirs": raw()}}))
    return place


@pytest.fixture
def same_process(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Run this process with the folders and environment of `place`."""
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, place.environ[name])
    monkeypatch.chdir(place.root)
    return place


async def test_the_function_that_starts_them_names_the_skipped_with_the_reason(
    same_process: Place,
) -> None:
    async with start_servers(Settings()) as (pool, usable):
        assert await pool.ready(30) == ()
        states = {state.server: state.status for state in pool.states()}

    assert states == {"good": "ready", "off": "disabled"}
    assert [(each.server, each.why) for each in usable.problems] == [("broken", REASON)]
    assert [(each.file.name, each.servers) for each in usable.unapproved] == [
        (".mcp.json", ("theirs",))
    ]


def test_the_sdk_has_the_same_servers(same_process: Place) -> None:
    with McpServerPool.from_config() as servers:
        (broken,) = servers.ready(30)
        states = {state.server: state.status for state in servers.states()}

    assert (broken.server, broken.why) == ("broken", REASON)
    assert states == STATES


@pytest.mark.parametrize("action", [("test",), ("list", "--test")])
def test_mcp_test_and_mcp_list_have_the_same_servers(place: Place, action: tuple[str, ...]) -> None:
    completed = place.run("mcp", *action, "--json")

    rows = json.loads(completed.stdout)
    probes = [row.get("state", row) for row in rows]
    assert {probe["server"]: probe["status"] for probe in probes} == STATES
    assert [probe["why"] for probe in probes if probe["server"] == "broken"] == [REASON]
    assert UNAPPROVED in completed.stderr


def test_ask_has_the_same_servers(place: Place) -> None:
    completed = place.run("ask", "--require", "good", "Hello")

    assert completed.returncode == 0
    assert f"the MCP server broken cannot be used: {REASON}\n" in completed.stderr
    assert UNAPPROVED in completed.stderr
    assert place.run("ask", "--require", "off", "Hello").returncode == 6


@pytest.mark.slow
async def test_a_chat_has_the_same_servers(place: Place) -> None:
    async with Model() as model, Chatting(model, home=place.root, columns=200) as chat:
        await chat.sees("good is there: 14 tools")
        chat.say("/servers")
        await chat.sees("disabled")

        assert f"The MCP server broken cannot be used: {REASON}" in chat.text
        assert UNAPPROVED in chat.text


def test_the_doctor_has_the_same_servers(place: Place) -> None:
    output = place.run("doctor").stdout

    assert "servers: good\n" in output
    assert f"broken cannot be used: {REASON}\n" in output
    assert ".mcp.json starts nothing yet: theirs" in output


async def test_the_web_chat_has_the_same_servers(
    same_process: Place, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_toolset(Settings()) as tools:
        await tools.wait_for_servers()
        states = {state.server: state.status for state in tools.servers()}

    assert states == {"good": "ready", "off": "disabled", "broken": "failed"}
    assert f"the MCP server broken cannot be used: {REASON}" in caplog.messages


async def test_a_backend_has_those_of_the_same_servers_that_are_for_it(
    same_process: Place, caplog: pytest.LogCaptureFixture
) -> None:
    servers = create_servers(Settings(backend_mcp="configured"))

    assert [(each.name, each.status, each.problem) for each in servers.states()] == [
        ("good", "idle", ""),
        ("broken", "unusable", REASON),
    ]
    assert f"the MCP server broken cannot be used: {REASON}" in caplog.messages


def test_no_face_makes_a_pool_or_looks_for_servers_by_itself() -> None:
    package = Path(antiphon.__file__).parent
    callers: dict[str, set[str]] = {}
    for file in package.rglob("*.py"):
        text = file.read_text()
        if "AsyncMcpServerPool(" not in text and "find_servers(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                callers.setdefault(name, set()).add(str(file.relative_to(package)))

    assert callers["AsyncMcpServerPool"] == {
        "mcp/startup.py",
        "acp/servers.py",  # of the servers that an editor passes on
        "mcp/hosted.py",  # one server at a time, when a run names it
        "mcp/sync_servers.py",  # of configurations that the caller gives
    }
    assert callers["discovery.find_servers"] == {"mcp/startup.py"}
    assert callers["create_authorizer"] == {"mcp/startup.py"}
