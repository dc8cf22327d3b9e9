"""Antiphon as an MCP server: the official client calls it over stdin and stdout and over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from antiphon import Client as Antiphon
from antiphon import Settings, ToolSpec
from antiphon.settings.extras import install_hint
from tests.support import fork_server
from tests.support.cli.place import SECONDS, Place
from tests.support.cli.scripted_upstream import Upstream

Connect = Callable[..., AbstractAsyncContextManager[Client]]


def parameters(place: Place, *flags: str, **environ: str) -> StdioServerParameters:
    command, *arguments = fork_server.command()
    return StdioServerParameters(
        command=command,
        args=[*arguments, "mcp", "serve", *flags],
        env={**place.environ, **environ},
        cwd=str(place.root),
    )


@contextmanager
def serve_http(place: Place, *flags: str, **environ: str) -> Iterator[str]:
    """Start a server over HTTP, yield its address, and stop it in order by a signal."""
    command = ("mcp", "serve", "--http", "--port", "0", *flags)
    with place.start(*command, environ=environ, stdout=subprocess.DEVNULL) as process:
        assert process.stderr
        output = b""
        while b"listening on " not in output or not output.endswith(b"\n"):
            piece = os.read(process.stderr.fileno(), 4096)
            assert piece, output.decode()
            output += piece
        try:
            yield output.decode().rpartition("listening on ")[2].strip()
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=SECONDS)
    assert process.returncode == 128 + signal.SIGTERM


@asynccontextmanager
async def over_stdio(place: Place, *flags: str, mode: Any = "auto", **environ: str) -> Any:
    async with Client(parameters(place, *flags, **environ), mode=mode) as client:
        yield client


@asynccontextmanager
async def over_http(place: Place, *flags: str, mode: Any = "auto", **environ: str) -> Any:
    with serve_http(place, *flags, **environ) as address:
        async with Client(address, mode=mode) as client:
            yield client


@pytest.fixture(params=[over_stdio, over_http])
def connect(request: pytest.FixtureRequest) -> Connect:
    open_client: Connect = request.param
    return open_client


def texts(result: CallToolResult) -> list[str]:
    return [part.text for part in result.content if part.type == "text"]


def open_embedded(place: Place) -> Antiphon:
    return Antiphon(settings=Settings(model="demo", database=f"sqlite:///{place.database}"))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_tools_say_what_they_do_take_and_give(
    place: Place, connect: Connect, mode: str
) -> None:
    async with connect(place, mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}

    assert [*tools] == ["ask", "list_assistants", "list_threads", "read_thread"]
    assert all(tool.description and tool.output_schema for tool in tools.values())
    assert [tool.annotations.read_only_hint for tool in tools.values() if tool.annotations] == [
        *(False, True, True, True),
    ]
    assert not any(tool.annotations.destructive_hint for tool in tools.values() if tool.annotations)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_question_is_answered_and_its_progress_is_reported(
    place: Place, connect: Connect, mode: str
) -> None:
    reports: list[tuple[float, str | None]] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        reports.append((done, message))

    async with connect(place, mode=mode, ANTIPHON_DEMO_DELAY="0.025") as client:
        result = await client.call_tool("ask", {"text": "Say 40 words"}, progress_callback=progress)

    assert not result.is_error, texts(result)
    answer = result.structured_content
    assert answer["status"] == "completed"
    assert texts(result)[0] == answer["text"]
    assert answer["thread_id"] in texts(result)[1]
    assert len(reports) > 1
    assert [done for done, _ in reports] == sorted({done for done, _ in reports})
    assert all(message and answer["text"].startswith(message) for _, message in reports)


async def test_a_thread_goes_on_and_can_be_found_and_read(place: Place, connect: Connect) -> None:
    async with connect(place) as client:
        first = await client.call_tool("ask", {"text": "Remember the plum"})
        thread_id = first.structured_content["thread_id"]
        second = await client.call_tool("ask", {"text": "And now?", "thread_id": thread_id})
        search = await client.call_tool("list_threads", {"query": "plum"})
        page = await client.call_tool("read_thread", {"thread_id": thread_id, "limit": 3})
        rest = await client.call_tool(
            "read_thread", {"thread_id": thread_id, "after": page.structured_content["next"]}
        )

    assert second.structured_content["thread_id"] == thread_id
    assert [thread["id"] for thread in search.structured_content["threads"]] == [thread_id]
    assert json.loads(texts(search)[0]) == search.structured_content
    messages = [*page.structured_content["messages"], *rest.structured_content["messages"]]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2
    assert [messages[0]["text"], messages[2]["text"]] == ["Remember the plum", "And now?"]


async def test_threads_are_resources(place: Place, connect: Connect) -> None:
    async with connect(place) as client:
        answer = (await client.call_tool("ask", {"text": "Hello"})).structured_content
        (resource,) = (await client.list_resources()).resources
        (template,) = (await client.list_resource_templates()).resource_templates
        (content,) = (await client.read_resource(resource.uri)).contents
        with pytest.raises(MCPError, match="no"):
            await client.read_resource("antiphon://threads/thread_none")
        with pytest.raises(MCPError, match="no such resource"):
            await client.read_resource("file:///etc/passwd")

    assert resource.uri == f"antiphon://threads/{answer['thread_id']}"
    assert template.uri_template == "antiphon://threads/{thread_id}"
    assert "## user\n\nHello\n\n## assistant\n\n" in content.text


BAD_CALLS: list[tuple[str, dict[str, Any], str]] = [
    ("ask", {"text": "Hi", "thread_id": "thread_none"}, "not_found"),
    ("ask", {"text": "Hi", "assistant_id": "asst_none"}, "not_found"),
    ("ask", {"text": "Hi", "model": "nobody:nothing"}, "nobody"),
    ("ask", {"text": ""}, "invalid_request"),
    ("ask", {"words": "Hi"}, "wanted: "),
    ("read_thread", {"thread_id": "thread_none"}, "not_found"),
    ("list_threads", {"limit": 0}, "invalid_request"),
    ("list_threads", {"after": "thread_none"}, "not_found"),
    ("forget_everything", {}, "There is no tool forget_everything"),
]


async def test_what_cannot_be_is_a_result_that_says_why(place: Place, connect: Connect) -> None:
    async with connect(place) as client:
        results = [await client.call_tool(name, arguments) for name, arguments, _ in BAD_CALLS]

    assert [result.is_error for result in results] == [True] * len(BAD_CALLS)
    texts_of_results = [texts(result)[0] for result in results]
    assert [
        text
        for text, (_, _, part) in zip(texts_of_results, BAD_CALLS, strict=True)
        if part not in text
    ] == []


async def wait_for_status(place: Place, expected: str) -> None:
    """Wait until the one run of the one thread is in this status."""
    async with asyncio.timeout(SECONDS):
        while True:
            with open_embedded(place) as client:
                threads = client.list_threads().data
                runs = client.list_runs(threads[0].id).data if threads else []
            if [str(run.status) for run in runs] == [expected]:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_cancelling_the_call_cancels_the_run(
    place: Place, connect: Connect, mode: str
) -> None:
    started = asyncio.Event()

    async def progress(done: float, total: float | None, message: str | None) -> None:
        started.set()

    async with connect(place, mode=mode, ANTIPHON_DEMO_DELAY="0.05") as client:
        call = asyncio.create_task(
            client.call_tool("ask", {"text": "Say 5000 words"}, progress_callback=progress)
        )
        await asyncio.wait_for(started.wait(), SECONDS)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

        await wait_for_status(place, "cancelled")


async def test_a_program_that_leaves_in_the_middle_cancels_its_run(place: Place) -> None:
    started = asyncio.Event()

    async def progress(done: float, total: float | None, message: str | None) -> None:
        started.set()

    async with over_stdio(place, ANTIPHON_DEMO_DELAY="0.05") as client:
        call = asyncio.create_task(
            client.call_tool("ask", {"text": "Say 5000 words"}, progress_callback=progress)
        )
        await asyncio.wait_for(started.wait(), SECONDS)
    await asyncio.gather(call, return_exceptions=True)

    await wait_for_status(place, "cancelled")


async def test_a_model_that_fails_is_a_result_that_says_so(
    place: Place, upstream: Upstream
) -> None:
    upstream.status = 401
    environ = {"ANTIPHON_BASE_URL": upstream.url, "ANTIPHON_MODEL": "custom"}
    async with over_stdio(place, **environ) as client:
        result = await client.call_tool("ask", {"text": "Hello"})

    assert result.is_error
    assert "is failed" in texts(result)[0]


async def test_a_cut_answer_is_given_as_such(place: Place, upstream: Upstream) -> None:
    upstream.text("half an", finish="length")
    environ = {"ANTIPHON_BASE_URL": upstream.url, "ANTIPHON_MODEL": "custom"}
    async with over_stdio(place, **environ) as client:
        answer = (await client.call_tool("ask", {"text": "Hello"})).structured_content

    assert (answer["text"], answer["status"], answer["reason"]) == (
        "half an",
        "incomplete",
        "length",
    )


async def test_every_assistant_can_be_a_tool(place: Place) -> None:
    with open_embedded(place) as client:
        poet = client.create_assistant(name="The Poet \x1b[2J", model="demo")
        client.create_assistant(name="The Poet", model="demo")
    async with over_stdio(place, "--assistants") as mcp:
        tools = [tool for tool in (await mcp.list_tools()).tools if tool.name != "ask"]
        poet_tools = [tool for tool in tools if tool.name.startswith("ask_the_poet")]
        answer = await mcp.call_tool(poet_tools[-1].name, {"text": "A verse"})
        assistants = (await mcp.call_tool("list_assistants", {})).structured_content["assistants"]
    with open_embedded(place) as client:
        (run,) = client.list_runs(answer.structured_content["thread_id"]).data

    assert len({tool.name for tool in poet_tools}) == 2
    assert "\x1b" not in str(poet_tools)
    assert run.assistant_id == poet.id
    assert poet.id in [assistant["id"] for assistant in assistants]


async def test_a_tool_that_only_another_program_can_run_is_refused_and_the_run_goes_on(
    place: Place,
) -> None:
    with open_embedded(place) as client:
        spec = ToolSpec("open_the_door", "Opens the door.")
        butler = client.create_assistant(name="Butler", model="demo", tools=(spec,))
    async with over_stdio(place) as mcp:
        answer = await mcp.call_tool(
            "ask", {"text": "Please use open_the_door", "assistant_id": butler.id}
        )
    (thread,) = place.threads()

    assert answer.structured_content["status"] == "completed"
    (output,) = [message for message in thread["messages"] if message["role"] == "tool"]
    assert output["is_error"]
    assert "open_the_door" in output["content"][0]["text"]


async def test_a_run_may_call_the_tools_that_the_server_was_given(
    place: Place, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(
        "from antiphon import tool\nprint('loaded')\n\n@tool\ndef open_the_door() -> str:\n"
        "    print('creak')\n    return 'it is open'\n"
    )
    async with over_stdio(place, "--tools", "own.py") as mcp:
        answer = await mcp.call_tool("ask", {"text": "Please use open_the_door"})

    assert "it is open" in answer.structured_content["text"]


async def test_it_stands_in_front_of_a_server_too(place: Place) -> None:
    with place.start("serve", "--port", "0") as backend:
        assert backend.stderr
        output = b""
        while b"listening on " not in output or not output.endswith(b"\n"):
            output += os.read(backend.stderr.fileno(), 4096)
        address = output.decode().rpartition("listening on ")[2].strip()
        async with over_stdio(place, "--server", address, ANTIPHON_DATABASE="memory:") as mcp:
            answer = await mcp.call_tool("ask", {"text": "Hello"})
        backend.terminate()
        backend.communicate(timeout=SECONDS)
    (thread,) = place.threads()

    assert thread["thread"]["id"] == answer.structured_content["thread_id"]


# Over stdin and stdout


def test_it_ends_when_stdin_does(place: Place) -> None:
    result = place.run("mcp", "serve", stdin="")

    assert (result.returncode, result.stdout) == (0, "")


def test_stdout_carries_the_protocol_and_nothing_else(place: Place) -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "0"},
        },
    }
    result = place.run("mcp", "serve", stdin=f"rubbish\n{json.dumps(hello)}\n")

    lines = [json.loads(line) for line in result.stdout.splitlines()]
    (answer,) = [line for line in lines if line.get("id") == 1]
    assert answer["result"]["serverInfo"]["name"] == "antiphon"
    assert all(line["jsonrpc"] == "2.0" for line in lines)


def test_a_line_that_is_too_long_is_no_message_and_the_next_one_is(place: Place) -> None:
    ping = '{"jsonrpc":"2.0","id":7,"method":"ping"}'
    result = place.run("mcp", "serve", stdin=f"{'x' * 17_000_000}\n{ping}\n")

    assert result.returncode == 0
    assert 7 in [json.loads(line).get("id") for line in result.stdout.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_stdin_is_open(place: Place, number: signal.Signals) -> None:
    with place.start("mcp", "serve", stdin=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(SECONDS) == 128 + number


@pytest.mark.slow
def test_without_the_extra_it_says_what_to_install(place: Place) -> None:
    (place.root / "mcp.py").write_text("raise ModuleNotFoundError('no', name='mcp')")
    result = place.run("mcp", "serve", stdin="", environ={"PYTHONPATH": str(place.root)})

    assert result.returncode == 5
    assert install_hint("mcp") in result.stderr


# Over HTTP


def test_over_http_only_names_of_this_machine_are_answered(place: Place) -> None:
    with serve_http(place) as address, httpx2.Client() as client:
        port = httpx2.URL(address).port
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        accept = {"accept": "application/json, text/event-stream"}

        def status(**headers: str) -> int:
            return client.post(address, json=ping, headers={**accept, **headers}).status_code

        refusals = [
            status(host="evil.test"),
            status(host=f"127.0.0.1.evil.test:{port}"),
            status(host="127.0.0.1:1"),
            status(origin="https://evil.test"),
            status(origin="null"),
        ]
        accepted_status = status(host=f"localhost:{port}", origin=f"http://localhost:{port}")

    assert all(each in (401, 403, 421) for each in refusals)
    assert accepted_status not in (401, 403, 421)


def test_what_a_stranger_sends_over_http_is_on_nobody_s_screen(place: Place) -> None:
    command = ("mcp", "serve", "--http", "--port", "0")
    with place.start(*command, stdout=subprocess.DEVNULL) as process:
        assert process.stderr
        output = b""
        while not output.endswith(b"/mcp\n"):
            output += os.read(process.stderr.fileno(), 4096)
        port = int(output.rpartition(b":")[2].partition(b"/")[0])
        for host in (b"evil\x9b[2J", b"evil.test"):
            with socket.create_connection(("127.0.0.1", port), SECONDS) as stranger:
                stranger.sendall(
                    b"POST /mcp HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\n"
                    b"content-type: application/json\r\nhost: " + host + b"\r\n\r\n"
                )
                while stranger.recv(4096):
                    pass
        process.terminate()
        rest = process.communicate(timeout=SECONDS)[1]

    assert b"evil" not in output + rest


async def test_over_http_a_key_is_needed_once_there_is_one(place: Place) -> None:
    key = place.run("keys", "create", "mine").stdout.strip()
    other_key = place.run("keys", "create", "theirs", "--owner", "somebody").stdout.strip()
    read_key = place.run("keys", "create", "reading", "--scope", "read").stdout.strip()

    with serve_http(place) as address:
        async with httpx2.AsyncClient() as client:
            statuses = [
                (await client.post(address, headers={"authorization": authorization})).status_code
                for authorization in (
                    "",
                    f"Bearer {key}x",
                    f"Bearer {other_key}",
                    f"Bearer {read_key}",
                )
            ]
        headers = {"authorization": f"Bearer {key}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=SECONDS) as http,
            Client(streamable_http_client(address, http_client=http)) as mcp,
        ):
            answer = await mcp.call_tool("ask", {"text": "Hello"})

    assert statuses == [401, 401, 403, 403]
    assert answer.structured_content["status"] == "completed"


async def test_over_http_the_limits_of_a_key_hold_for_its_runs(place: Place) -> None:
    limited_key = place.run("keys", "create", "trial", "--tokens-per-day", "1").stdout.strip()
    free_key = place.run("keys", "create", "mine").stdout.strip()

    async def ask(address: str, key: str) -> CallToolResult:
        headers = {"authorization": f"Bearer {key}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=SECONDS) as http,
            Client(streamable_http_client(address, http_client=http)) as mcp,
        ):
            return await mcp.call_tool("ask", {"text": "Hello"})

    with serve_http(place) as address:
        first, second = await ask(address, limited_key), await ask(address, limited_key)
        third = await ask(address, free_key)

    assert (first.is_error, second.is_error, third.is_error) == (False, True, False)
    assert "quota_exceeded" in texts(second)[0]


async def test_over_http_a_key_beyond_its_requests_is_told_when_to_come_again(place: Place) -> None:
    key = place.run("keys", "create", "trial", "--requests-per-minute", "1").stdout.strip()

    with serve_http(place) as address:
        async with httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}) as client:
            answers = [await client.post(address) for _ in range(3)]  # in two minutes at most

    statuses = [answer.status_code for answer in answers]
    assert 429 in statuses
    assert 500 not in statuses
    assert int(answers[statuses.index(429)].headers["retry-after"]) <= 60


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "a test", "version": "1"},
    },
}


async def test_over_http_a_request_that_is_held_back_until_its_key_is_revoked_asks_nothing(
    place: Place,
) -> None:
    key = place.run("keys", "create", "mine").stdout.strip()
    key_id = re.search(r"key_\w+", place.run("keys", "list").stdout)
    assert key_id is not None
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "ask", "arguments": {"text": "Hello"}},
    }
    content, go = json.dumps(call).encode(), asyncio.Event()

    async def hold() -> AsyncIterator[bytes]:
        yield content[:-1]
        await go.wait()
        yield content[-1:]

    with serve_http(place) as address:
        headers = {
            "authorization": f"Bearer {key}",
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
        }
        async with httpx2.AsyncClient(headers=headers, timeout=SECONDS) as http:
            session = await http.post(address, json=INITIALIZE)
            http.headers["mcp-session-id"] = session.headers["mcp-session-id"]
            await http.post(address, json={"jsonrpc": "2.0", "method": "notifications/initialized"})
            request = asyncio.create_task(http.post(address, content=hold()))
            ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
            assert (await http.post(address, json=ping)).status_code == 200
            place.run("keys", "revoke", key_id[0])
            async with asyncio.timeout(SECONDS):
                while (await http.post(address, json=ping)).status_code != 401:
                    await asyncio.sleep(0.1)
            go.set()
            assert (await request).status_code == 401
    with open_embedded(place) as client:
        assert client.list_threads().data == []


async def test_over_http_a_question_ends_with_its_key(place: Place) -> None:
    key = place.run("keys", "create", "mine").stdout.strip()
    key_id = re.search(r"key_\w+", place.run("keys", "list").stdout)
    assert key_id is not None
    started = asyncio.Event()

    async def progress(done: float, total: float | None, message: str | None) -> None:
        started.set()

    with serve_http(place, ANTIPHON_DEMO_DELAY="1") as address:
        async with (
            httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=SECONDS) as http,
            Client(streamable_http_client(address, http_client=http)) as mcp,
        ):
            question = asyncio.create_task(
                mcp.call_tool("ask", {"text": "Say 900 words"}, progress_callback=progress)
            )
            await asyncio.wait_for(started.wait(), SECONDS)
            place.run("keys", "revoke", key_id[0])
            result = await asyncio.wait_for(question, SECONDS)
    with open_embedded(place) as client:
        (run,) = client.list_runs().data

    assert result.is_error
    assert "unauthorized" in texts(result)[0]
    assert run.status == "cancelled"


async def test_over_http_in_front_of_a_server_its_key_is_needed(place: Place) -> None:
    environ = {"ANTIPHON_SERVER": "http://127.0.0.1:1", "ANTIPHON_API_KEY": "ak_secret"}
    with serve_http(place, **environ) as address:
        async with httpx2.AsyncClient() as client:
            statuses = [
                (await client.post(address, headers={"authorization": authorization})).status_code
                for authorization in ("", "Bearer ak_other", "Bearer ak_secret")
            ]

    assert statuses[:2] == [401, 401]
    assert statuses[2] != 401


def test_a_port_that_is_taken_is_reported(place: Place) -> None:
    with serve_http(place) as address:
        port = str(httpx2.URL(address).port)
        result = place.run("mcp", "serve", "--http", "--port", port)

    assert result.returncode == 5
    assert f"Port {port} of 127.0.0.1 cannot be listened on" in result.stderr
