"""Logs of MCP servers that send too many lines."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.mcp_servers import config
from tests.support.terminal.model import Model

FLOODING = """
import json, sys

def send(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)

for line in sys.stdin:
    message = json.loads(line)
    match message.get("method"):
        case "initialize":
            version = min(message["params"]["protocolVersion"], "2025-11-25")
            caps = {"tools": {}, "logging": {}, "resources": {"subscribe": True}}
            send(id=message["id"], result={"protocolVersion": version, "capabilities": caps,
                                        "serverInfo": {"name": "flooding", "version": "1"}})
        case "tools/list":
            tool = {"name": "pour", "inputSchema": {"type": "object"}}
            send(id=message["id"], result={"tools": [tool]})
        case "tools/call":
            for _ in range(1_000):
                send(**json.loads(sys.argv[1]))
            send(id=message["id"], result={"content": [{"type": "text", "text": "poured"}]})
        case _ if "id" in message:
            send(id=message["id"], error={"code": -32601, "message": "no"})
"""
LOGGED = {"method": "notifications/message", "params": {"level": "error", "data": "drip"}}
UPDATED = {"method": "notifications/resources/updated", "params": {"uri": "drip://drip"}}


@pytest.mark.slow
@pytest.mark.parametrize("notification", [LOGGED, UPDATED], ids=["log", "updates"])
async def test_a_server_that_floods_is_heard_twenty_times_and_then_counted(
    tmp_path: Path, notification: dict[str, object]
) -> None:
    program = tmp_path / "flooding.py"
    program.write_text(FLOODING)
    server = {
        "command": sys.executable,
        "args": ["-I", "-S", str(program), json.dumps(notification)],
    }
    flags = (*config(tmp_path, {"tap": server}), "--allow", "tap:*")
    async with Model() as model, Chatting(model, *flags, home=tmp_path, rows=40) as chat:
        await chat.sees("tap is there")
        chat.say("Pour")
        reply = await model.next_request()
        await reply.call("tap__pour", id="c1")
        await reply.end("tool_calls")
        reply = await model.next_request()
        await reply.answer("It is poured.")
        await chat.sees("tap says a lot: 980 lines were left out.")

        assert sum("tap: " in row for row in chat.rows) == 20
