"""MCP servers for programs without an event loop: the same servers, in a `with` block."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="the extra antiphon[mcp] is not installed")

from antiphon import Client, Consent, McpServerPool, Rules, Settings
from antiphon.mcp.client.client_features import Elicitation, ElicitationAnswer
from antiphon.tools.gate import Gate
from antiphon.types.errors import BadSettings, NotFound, Unavailable
from antiphon.types.events import ToolOutputAdded
from antiphon.types.messages import Progress, Text, ToolResult
from tests.support.mcp.serving import SERVERS, RecordingHost, call, raw, whole
from tests.support.tools.call_clock import RECHECK_SECONDS, CallClock

EMBEDDED = Settings(model="demo", database="memory:", demo_delay=0)
ALLOW_ALL = Rules(allow=("*",))


def test_a_conversation_uses_the_tools_of_the_servers():
    with McpServerPool([raw()]) as servers, Client(settings=EMBEDDED) as client:
        assert servers.ready(60) == ()
        events = list(
            client.converse("Please use raw__echo", toolbox=servers, consent=Consent(ALLOW_ALL))
        )
        second = list(
            client.converse("Please use raw__echo", toolbox=servers, consent=Consent(ALLOW_ALL))
        )

    for each in (events, second):
        (output,) = [event for event in each if isinstance(event, ToolOutputAdded)]
        assert not output.is_error


def test_resources_prompts_and_completions_work_too():
    with McpServerPool([whole(mode="legacy")]) as servers:
        servers.ready(60)
        resources = {each.uri for each in servers.resources("whole")}
        (template,) = servers.resource_templates("whole")
        note = servers.read_resource("whole", "note://7")
        prompts = [each.name for each in servers.prompts("whole")]
        prompt = servers.get_prompt("whole", "city", {"name": "Paris"})
        values = servers.complete("whole", "name", "Par", prompt="city")
        (state,) = servers.states()
        with pytest.raises(NotFound):
            servers.read_resource("whole", "nothing://here")
        with pytest.raises(NotFound):
            servers.restart("nobody")

    assert "note://all" in resources
    assert template.uri_template == "note://{number}"
    assert note == (Text("note 7"),)
    assert prompts == ["city"]
    assert prompt.messages[0].content == (Text("Tell me of Paris, dry."),)
    assert values.values[0] == "Paris"
    assert state.status == "ready"


def test_changes_of_resources_are_reported():
    host = RecordingHost()
    with McpServerPool([raw()], host) as servers, Client(settings=EMBEDDED) as client:
        servers.ready(60)
        servers.set_logging_level("raw", "info")
        servers.subscribe("raw", "note://1")
        for _ in client.converse(
            "Please use raw__touch", toolbox=servers, consent=Consent(ALLOW_ALL)
        ):
            pass
        servers.unsubscribe("raw", "note://1")

    assert host.heard.get_nowait() == ("updated", "raw", "note://1")


async def test_progress_is_reported_on_the_loop_of_the_caller():
    reports: list[tuple[Progress, int]] = []
    with McpServerPool([whole()]) as servers:
        await asyncio.to_thread(servers.ready, 60)
        await servers.call(
            call("whole__steps"), lambda each: reports.append((each, threading.get_ident()))
        )

    assert [each.done for each, _ in reports] == [1, 2, 3]
    assert {thread for _, thread in reports} == {threading.get_ident()}


async def test_cancelling_a_call_reaches_the_server(tmp_path: Path):
    mark = tmp_path / "cancelled"
    started = asyncio.Event()
    with McpServerPool([raw("good", str(mark))]) as servers:
        await asyncio.to_thread(servers.ready, 60)
        task = asyncio.create_task(servers.call(call("raw__hang"), lambda each: started.set()))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(wait_for_file, mark)

    assert "requestId" in mark.read_text()


async def test_a_persons_time_to_think_counts_on_neither_loop(call_clock: CallClock):
    class Slow(RecordingHost):
        async def ask(self, question: Elicitation) -> ElicitationAnswer:
            await call_clock.think()
            return ElicitationAnswer("accept", {"x": "well"})

    with McpServerPool([raw(timeout=RECHECK_SECONDS)], Slow()) as servers:
        await asyncio.to_thread(servers.ready, 60)
        result = await Gate(servers, seconds=RECHECK_SECONDS).call(call("raw__ask"))

    assert json.loads(result.output)["action"] == "accept"


async def test_a_pool_that_is_closed_during_a_call_fails_the_call():
    started = asyncio.Event()
    with McpServerPool([raw()]) as servers:
        await asyncio.to_thread(servers.ready, 60)
        task = asyncio.create_task(servers.call(call("raw__hang"), lambda each: started.set()))
        await started.wait()
        await asyncio.to_thread(servers.__exit__, None, None, None)
        result = await task

    assert result.fault == "unavailable"


async def test_servers_are_unavailable_outside_of_their_block():
    servers = McpServerPool([raw()])
    assert (await servers.call(call("raw__echo"))).fault == "unavailable"
    with servers:
        await asyncio.to_thread(servers.ready, 60)
    late_result: ToolResult = await servers.call(call("raw__echo"))

    assert late_result.fault == "unavailable"
    with pytest.raises(Unavailable):
        await asyncio.to_thread(servers.resources, "raw")


def test_the_servers_of_a_file_are_used_as_they_are_written(tmp_path: Path):
    file = tmp_path / "server_config.json"
    good = {"command": sys.executable, "args": ["-I", "-S", str(SERVERS / "raw.py")]}
    bad = {"command": "x", "env": {"KEY": "${NOT_SET_ANYWHERE}"}}
    file.write_text(json.dumps({"mcpServers": {"good": good, "bad": bad}}))
    with McpServerPool.from_config(file) as servers:
        (missing,) = servers.ready(60)
        names = {tool.spec.name for tool in servers.tools()}
        statuses = {state.server: state.status for state in servers.states()}

    assert "good__echo" in names
    assert statuses == {"good": "ready", "bad": "failed"}
    assert "NOT_SET_ANYWHERE" in missing.why


def test_a_missing_file_is_reported(tmp_path: Path):
    with pytest.raises(BadSettings, match="cannot be read"):
        McpServerPool.from_config(tmp_path / "nothing.json")


LEFT_OPEN = f"""
import sys
from antiphon import McpServerPool
from antiphon.mcp.config.server_config import ServerConfig

args = ("-I", "-S", {str(SERVERS / "raw.py")!r})
servers = McpServerPool([ServerConfig(name="raw", command=sys.executable, args=args)]).__enter__()
print(servers.ready(60), flush=True)
"""


@pytest.mark.slow
def test_a_program_that_leaves_its_servers_open_ends_all_the_same():
    completed = subprocess.run(
        [sys.executable, "-c", LEFT_OPEN], capture_output=True, text=True, timeout=120, check=False
    )

    assert (completed.returncode, completed.stdout, completed.stderr) == (0, "()\n", "")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_program_that_is_interrupted_ends_its_servers(tmp_path: Path):
    program = LEFT_OPEN.replace(".__enter__()", "") + (
        "import time\n"
        "with servers:\n"
        "    servers.ready(60)\n"
        f"    open({str(tmp_path / 'ready')!r}, 'w').close()\n"
        "    time.sleep(60)\n"
    )
    program = program.replace("print(servers.ready(60), flush=True)\n", "")
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    wait_for_file(tmp_path / "ready")
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    pids = [int(pid) for each in children for pid in each.read_text().split()]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def wait_for_file(file: Path) -> None:
    while not file.exists():
        time.sleep(0.01)
