"""Programs that are killed while a task of an MCP server carries out a call: it runs once."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp", reason="the extra antiphon[mcp] is not installed")

from antiphon import Client
from antiphon.api.operations import NewMessage
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import Status
from tests.support import fork_python
from tests.support.cli.place import Place
from tests.support.client.four_ways import SETTINGS, serve_in_thread
from tests.support.harness import raw_http
from tests.support.harness.raw_http import ServerEvent
from tests.support.mcp.serving import SERVERS, lines_of, tasked_over_http
from tests.support.terminal.chatting import Chatting
from tests.support.terminal.consenting import deliberately
from tests.support.terminal.mcp_servers import config
from tests.support.terminal.model import Model

USE = {
    "message": {"content": "Use tasked job."},
    "mcp_servers": [{"name": "tasked", "require_approval": "never"}],
}
"""Asks a backend for a run that calls the tool."""
QUICK = {
    "ANTIPHON_LEASE_DURATION": "4",
    "ANTIPHON_EXPIRY_INTERVAL": "0.2",
    "ANTIPHON_HEARTBEAT_INTERVAL": "0.3",
}
DEADLINE = 120.0
PROGRAM = """\
import sys

from antiphon import Client, Consent, McpServerPool, Rules

allowed = Consent(Rules(allow=("*",)))
with McpServerPool.from_config("servers.json") as servers, Client() as client:
    servers.ready(60)
    source = {"text": "Use tasked job."} if len(sys.argv) == 1 else {"run_id": sys.argv[1]}
    for event in client.converse(toolbox=servers, consent=allowed, tool_timeout=600, **source):
        if event.type == "run.status":
            print(event.run_id, event.status.value, flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of the server with tasks."""
    folder = tmp_path / "server"
    folder.mkdir()
    return folder


@pytest.fixture(params=["stdio", "http"])
def server(request: pytest.FixtureRequest, folder: Path) -> Generator[dict[str, Any]]:
    """Return the server's configuration; over HTTP it lives on, over stdio it dies too."""
    if request.param == "http":
        with tasked_over_http(folder) as config:
            yield {"type": "http", "url": config.url}
    else:
        yield stdio_config(folder)


def stdio_config(folder: Path) -> dict[str, Any]:
    args = ["-I", "-S", str(SERVERS / "tasks.py"), str(folder), "stdio"]
    return {"command": sys.executable, "args": args}


def count_polls(folder: Path) -> int:
    return sum(line.startswith("tasks/get") for line in lines_of(folder, "log"))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.02)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def check_ran_once(folder: Path) -> None:
    """Check that the tool was called once, for all polls of one task, and nothing was cancelled."""
    log = lines_of(folder, "log")
    assert len(lines_of(folder, "ran")) == 1
    assert len({line for line in log if line.startswith("tasks/get")}) == 1
    assert not any(line.startswith("tasks/cancel") for line in log)
    assert "a request about a task without its header" not in log


@contextmanager
def killed_at_end(process: subprocess.Popen[bytes]) -> Generator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


# The backend.


@pytest.fixture
async def received() -> AsyncGenerator[list[ServerEvent]]:
    async with asyncio.timeout(DEADLINE):
        yield []


async def test_a_backend_that_is_killed_goes_on_with_the_task_of_its_call(
    serve: Callable[..., Any],
    server: dict[str, Any],
    folder: Path,
    tmp_path: Path,
    received: list[ServerEvent],
) -> None:
    config(tmp_path, {"tasked": {**server, "backend": True}})
    environ = {
        "ANTIPHON_CONFIG": str(tmp_path / "servers.json"),
        "ANTIPHON_BACKEND_MCP": "configured",
        **QUICK,
    }
    first = await serve(**environ)
    async with raw_http.open_request(first.url, "POST", "/v1/process", USE) as stream:
        async with aclosing(stream.events()) as events:
            async for each in events:
                received.append(each)
                if each.type == "message.completed":
                    break
        await until(lambda: count_polls(folder) > 1)
        run_id = received[0].json["run_id"]
        actions = (
            await raw_http.send_request(first.url, "GET", f"/v1/actions?run_id={run_id}")
        ).json["data"]
        await first.kill()
    before = count_polls(folder)
    second = await serve(**environ)
    await until(lambda: count_polls(folder) > before)
    (folder / "done").write_text("built")
    later_events = await raw_http.follow_run(second.url, run_id, received[-1].number)

    assert later_events[-1].json["status"] == "completed"
    outputs = [each.json["output"] for each in later_events if each.type == "tool_output.added"]
    assert outputs == ["built"]
    assert actions[0]["task"]["tool"] == "job"
    check_ran_once(folder)


async def test_a_run_that_is_cancelled_cancels_the_task_of_its_call(
    serve: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    config(tmp_path, {"tasked": {**stdio_config(folder), "backend": True}})
    environ = {
        "ANTIPHON_CONFIG": str(tmp_path / "servers.json"),
        "ANTIPHON_BACKEND_MCP": "configured",
    }
    server = await serve(**environ)
    run_id = (
        await raw_http.send_request(server.url, "POST", "/v1/process", {**USE, "background": True})
    ).json["id"]
    await until(lambda: count_polls(folder) > 1)
    await raw_http.send_request(server.url, "POST", f"/v1/runs/{run_id}/cancel")
    await until(lambda: any(line.startswith("tasks/cancel") for line in lines_of(folder, "log")))


async def test_a_backend_that_is_stopped_in_order_leaves_the_task_to_the_next(
    serve: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    config(tmp_path, {"tasked": {**stdio_config(folder), "backend": True}})
    environ = {
        "ANTIPHON_CONFIG": str(tmp_path / "servers.json"),
        "ANTIPHON_BACKEND_MCP": "configured",
        "ANTIPHON_SHUTDOWN_TIMEOUT": "0.5",
        **QUICK,
    }
    first = await serve(**environ)
    run_id = (
        await raw_http.send_request(first.url, "POST", "/v1/process", {**USE, "background": True})
    ).json["id"]
    await until(lambda: count_polls(folder) > 1)
    await first.stop_cleanly()
    (folder / "done").write_text("built")
    second = await serve(**environ)
    turn_events = await raw_http.follow_run(second.url, run_id)

    assert turn_events[-1].json["status"] == "completed"
    check_ran_once(folder)


# Workers for tools, programs with the SDK, and chats.


def test_a_worker_that_is_killed_leaves_the_task_to_the_next(
    server: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    config(tmp_path, {"tasked": server})
    spec = ToolSpec("tasked__job", "A long job.", {"type": "object", "properties": {}})
    work = ("work", "--config", "servers.json", "--allow", "*", "--lease", "1", "--quiet")
    with serve_in_thread(SETTINGS) as url, Client(url) as client:
        place.environ["ANTIPHON_SERVER"] = url
        question = NewMessage("Use tasked job.")
        events = client.process(message=question, tools=(spec,), background=False)
        list(events)
        run_id = events.run_id or ""
        with killed_at_end(place.start(*work)):
            wait_until(lambda: count_polls(folder) > 1)
            (pending_action,) = client.list_actions(run_id).data
        before = count_polls(folder)
        with killed_at_end(place.start(*work)):
            wait_until(lambda: count_polls(folder) > before)
            (folder / "done").write_text("built")
            list(client.events(run_id))
        (action,) = client.list_actions(run_id).data
        run = client.get_run(run_id)

    assert pending_action.task is not None
    assert (action.output, action.task) == ("built", None)
    assert action.attempt >= 2
    assert run.status is Status.COMPLETED
    check_ran_once(folder)


def test_a_worker_that_is_stopped_in_order_leaves_the_task_to_the_next(
    folder: Path, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    config(tmp_path, {"tasked": stdio_config(folder)})
    spec = ToolSpec("tasked__job", "A long job.", {"type": "object", "properties": {}})
    work = ("work", "--config", "servers.json", "--allow", "*", "--grace", "0", "--quiet")
    with serve_in_thread(SETTINGS) as url, Client(url) as client:
        place.environ["ANTIPHON_SERVER"] = url
        question = NewMessage("Use tasked job.")
        events = client.process(message=question, tools=(spec,), background=False)
        list(events)
        with killed_at_end(place.start(*work)) as worker:
            wait_until(lambda: count_polls(folder) > 1)
            worker.terminate()
            worker.wait(DEADLINE)
        (folder / "done").write_text("built")
        with killed_at_end(place.start(*work)):
            list(client.events(events.run_id or ""))

    check_ran_once(folder)


def test_a_program_that_is_killed_goes_on_with_the_task_of_its_run(
    server: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    config(tmp_path, {"tasked": server})
    (tmp_path / "program.py").write_text(PROGRAM)

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = fork_python.command("program.py", *arguments)
        return subprocess.Popen(command, cwd=tmp_path, env=place.environ, stdout=subprocess.PIPE)

    with killed_at_end(start()) as program:
        wait_until(lambda: count_polls(folder) > 1)
    assert program.stdout is not None
    before = count_polls(folder)
    threads = place.threads()
    run_id = json.loads(place.run("runs", "list", "--json").stdout)[0]["id"]
    with killed_at_end(start(run_id)) as second_program:
        wait_until(lambda: count_polls(folder) > before)
        (folder / "done").write_text("built")
        output, _ = second_program.communicate(timeout=DEADLINE)

    assert len(threads) == 1
    assert output.decode().splitlines()[-1] == f"{run_id} completed"
    check_ran_once(folder)


def test_a_question_that_is_interrupted_cancels_the_task_of_its_call(
    folder: Path, tmp_path: Path
) -> None:
    place = Place(tmp_path)
    config(tmp_path, {"tasked": stdio_config(folder)})
    command = ("ask", "Use tasked job.", "--config", "servers.json", "--allow", "*")
    with killed_at_end(place.start(*command)) as process:
        wait_until(lambda: count_polls(folder) > 1)
        process.send_signal(signal.SIGINT)
        process.wait(DEADLINE)

    assert any(line.startswith("tasks/cancel") for line in lines_of(folder, "log"))


async def test_a_chat_in_which_an_answer_is_stopped_cancels_the_task_of_its_call(
    folder: Path, tmp_path: Path
) -> None:
    flags = config(tmp_path, {"tasked": stdio_config(folder)})
    async with Model() as model, Chatting(model, *flags, "--allow", "*", home=tmp_path) as chat:
        await chat.ready()
        await chat.sees("tasked")
        chat.say("Build it")
        reply = await model.next_request()
        await reply.call("tasked__job", {}, id="call-1")
        await reply.end("tool_calls")
        await until(lambda: count_polls(folder) > 1)
        chat.press("escape")
        await chat.sees("[stopped]")
        await until(lambda: any("tasks/cancel" in line for line in lines_of(folder, "log")))


async def test_a_chat_that_is_killed_goes_on_with_the_task_of_its_call(
    server: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    flags = config(tmp_path, {"tasked": server})
    async with Model() as model:
        async with Chatting(model, *flags, "--allow", "*", home=tmp_path) as chat:
            await chat.ready()
            await chat.sees("tasked")
            chat.say("Build it")
            reply = await model.next_request()
            await reply.call("tasked__job", {}, id="call-1")
            await reply.end("tool_calls")
            await until(lambda: count_polls(folder) > 1)
            chat.kill()
            await chat.wait()
        before = count_polls(folder)
        async with Chatting(model, *flags, "--allow", "*", "--resume", home=tmp_path) as chat:
            await chat.sees("Tool calls wait in this thread: tasked__job")
            await deliberately(chat, "y", "This thread has an unfinished run")
            await until(lambda: count_polls(folder) > before)
            (folder / "done").write_text("built of stone")
            await (await model.next_request()).answer("It is built.")
            await chat.sees("It is built.")

        assert model.requests[-1]["messages"][-1]["content"] == "built of stone"
    check_ran_once(folder)
