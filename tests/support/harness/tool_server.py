"""An MCP server in raw JSON lines: `tool_server.py LOG [TEXT]`, with a FIFO at `LOG.go`.

`look` answers at once, `linger` once something is written to the FIFO. Each call is a line in the
log. TEXT is the answer to each call; the word `picture` stands for a picture.
"""

import json
import sys

LOG = sys.argv[1]
TEXT = " ".join(sys.argv[2:])
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJg"
    "gg=="
)


def send(**message: object) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def answer_call(params: dict) -> dict:
    with open(LOG, "a") as log:
        print(json.dumps(params), file=log, flush=True)
    if params["name"] == "linger":
        with open(LOG + ".go") as go:
            go.read()
    if TEXT == "picture":
        return {"content": [{"type": "image", "data": PIXEL, "mimeType": "image/png"}]}
    return {"content": [{"type": "text", "text": TEXT or f"{params['name']} saw 16:35"}]}


def tool(name: str) -> dict:
    return {"name": name, "inputSchema": {"type": "object", "properties": {}}}


for line in sys.stdin:
    message = json.loads(line)
    match message.get("method"):
        case "initialize":
            version = message["params"]["protocolVersion"]
            info = {"name": "far", "version": "1"}
            result_info = {
                "protocolVersion": version,
                "capabilities": {"tools": {}},
                "serverInfo": info,
            }
            send(id=message["id"], result=result_info)
        case "tools/list":
            send(id=message["id"], result={"tools": [tool("look"), tool("linger")]})
        case "tools/call":
            send(id=message["id"], result=answer_call(message["params"]))
        case _ if "id" in message:
            send(id=message["id"], error={"code": -32601, "message": "no such method"})
