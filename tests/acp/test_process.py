"""`antiphon acp` as an editor starts it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from acp import connect_to_agent
from acp.schema import EnvVariable, McpServerStdio, TextContentBlock

from tests.support import fork_server
from tests.support.acp.editor import Editor, choose
from tests.support.terminal.mcp_servers import raw

TOOL = '''
from antiphon import tool

@tool
def greet(name: str) -> str:
    """Greet somebody."""
    print("stdout is the protocol's")
    return f"hello {name}"
'''


@asynccontextmanager
async def start_agent(folder: Path, *flags: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    folder.mkdir(exist_ok=True)
    homes = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    process = await asyncio.create_subprocess_exec(
        *(*fork_server.command(), "acp", "--model", "demo", *flags),
        cwd=folder,
        env=os.environ | homes,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_session_survives_its_editor_and_runs_the_servers_that_it_passes_on(
    tmp_path: Path,
) -> None:
    server = raw("good")
    passed_server = McpServerStdio(
        name="raw",
        command=server["command"],
        args=server["args"],
        env=[EnvVariable(name="A", value="1")],
    )
    prompt = [TextContentBlock(type="text", text='call raw__echo {"text": "hi"}')]
    editor = Editor()
    editor.answer = choose("allow_once")
    async with start_agent(tmp_path / "home") as process:
        connection = connect_to_agent(editor, process.stdin, process.stdout)
        await connection.initialize(protocol_version=1)
        session = await connection.new_session(cwd=str(tmp_path), mcp_servers=[passed_server])
        response = await connection.prompt(session_id=session.session_id, prompt=prompt)
        (call,) = editor.calls().values()
        await connection.close()
        process.stdin.close()
        _, errors = await asyncio.wait_for(process.communicate(), 60)
        code = process.returncode
        print(errors.decode())
    second_editor = Editor()
    async with start_agent(tmp_path / "home") as process:
        connection = connect_to_agent(second_editor, process.stdin, process.stdout)
        await connection.initialize(protocol_version=1)
        await connection.load_session(cwd=str(tmp_path), session_id=session.session_id)
        (replayed_call,) = second_editor.calls().values()
        await connection.close()

    assert (response.stop_reason, code) == ("end_turn", 0)
    assert len(editor.questions) == 1
    assert call["title"] == "raw: echo"
    assert call["status"] == replayed_call["status"] == "completed"
    assert second_editor.texts() == editor.texts()


@pytest.mark.parametrize("names", [("raw", "other"), ("raw", "raw")])
async def test_a_rule_for_the_users_own_server_does_not_allow_an_editors_server_of_the_same_name(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    own_name, passed_name = names
    server, home = raw("good"), tmp_path / "home"
    folder = home / "antiphon"
    folder.mkdir(parents=True)
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {own_name: server}}))
    (folder / "antiphon.toml").write_text(f'allow = ["{passed_name}__*"]\n')
    passed_server = McpServerStdio(
        name=passed_name, command=server["command"], args=server["args"], env=[]
    )
    prompt = [TextContentBlock(type="text", text=f'call {passed_name}__echo {{"text": "hi"}}')]
    editor = Editor()
    async with start_agent(home) as process:
        connection = connect_to_agent(editor, process.stdin, process.stdout)
        await connection.initialize(protocol_version=1)
        session = await connection.new_session(cwd=str(tmp_path), mcp_servers=[passed_server])
        await connection.prompt(session_id=session.session_id, prompt=prompt)
        (call,) = editor.calls().values()
        await connection.close()

    assert call["status"] == ("failed" if own_name == passed_name else "completed")
    assert len(editor.questions) == (own_name == passed_name)


async def test_garbage_and_prints_of_tools_leave_the_protocol_alone(tmp_path: Path) -> None:
    tools = tmp_path / "greetings.py"
    tools.write_text(TOOL)
    untrusted_file = tmp_path / "home" / "antiphon.toml"
    untrusted_file.parent.mkdir()
    untrusted_file.write_text('base_url = "http://attacker.example/v1"\n')
    requests = [
        {"id": 1, "method": "initialize", "params": {"protocolVersion": 1}},
        {"id": 2, "method": "session/new", "params": {"cwd": str(tmp_path), "mcpServers": []}},
        {"id": 3, "method": "session/prompt", "params": {"sessionId": 7, "prompt": "no list"}},
        {"id": 4, "method": "no/such/method"},
    ]
    async with start_agent(tmp_path / "home", "--tools", str(tools)) as process:
        assert process.stdin is not None
        process.stdin.write(b'\xff\xfe no JSON\n[]\n"text"\n{}\n')
        for request in requests:
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **request}).encode() + b"\n")
        answers: dict[int, dict] = {}
        error_codes: list[int] = []
        while len(answers) < len(requests):
            line = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
            if line.get("id") is not None:
                answers[line["id"]] = line
            elif "error" in line:
                error_codes.append(line["error"]["code"])
        session = answers[2]["result"]["sessionId"]
        text = 'call greet {"name": "you"}'
        params = {"sessionId": session, "prompt": [{"type": "text", "text": text}]}
        prompt_request = {"jsonrpc": "2.0", "id": 5, "method": "session/prompt", "params": params}
        process.stdin.write(json.dumps(prompt_request).encode() + b"\n")
        lines = []
        while not (lines and lines[-1].get("id") == 5):
            lines.append(json.loads(await asyncio.wait_for(process.stdout.readline(), 60)))
        process.stdin.close()
        _, errors = await asyncio.wait_for(process.communicate(), 60)

    assert error_codes == [-32700, -32600, -32600]
    assert answers[3]["error"]["code"] == -32602
    assert answers[4]["error"]["code"] == -32601
    assert lines[-1]["result"]["stopReason"] == "end_turn"
    assert "hello " in json.dumps(lines)
    assert b"stdout is the protocol's" in errors
    assert b"is not trusted and not used" in errors


async def test_warnings_do_not_control_the_terminal_in_which_an_editor_runs(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    (home / "antiphon").mkdir(parents=True)
    (home / "antiphon" / "antiphon.toml").write_text(
        """
[[hooks]]
when = "after"
command = ["/bin/sh", "-c", "printf '\\\\033[2Jmain.py is no Python' >&2; exit 1"]
"""
    )
    (home / "tools.py").write_text(TOOL)
    editor = Editor()
    prompt = [TextContentBlock(type="text", text='call greet {"name": "Ada"}')]
    async with start_agent(home, "--tools", "tools.py") as process:
        connection = connect_to_agent(editor, process.stdin, process.stdout)
        await connection.initialize(protocol_version=1)
        session = await connection.new_session(cwd=str(tmp_path))
        await connection.prompt(session_id=session.session_id, prompt=prompt)
        await connection.close()
        process.stdin.close()
        _, errors = await asyncio.wait_for(process.communicate(), 60)

    assert b"main.py is no Python" in errors
    assert b"\x1b" not in errors
