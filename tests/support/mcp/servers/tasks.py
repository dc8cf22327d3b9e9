"""A server of raw JSON whose tools run as tasks, over stdio or HTTP.

tasks.py FOLDER stdio|http [PORT]

It speaks protocol 2026-07-28 with the extension io.modelcontextprotocol/tasks, and stores all its
tasks as files in FOLDER, so that they survive the process. The arguments of `job` control it: its
first states are `states`, one for each tasks/get, and then always `last`. The file `done` in FOLDER
completes every task with its text. `ran` has a line for each call of a tool, `log` one for each
request. Over HTTP it prints its port.
"""

import json
import os
import sys
import threading
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Json = dict[str, Any]

FOLDER = Path(sys.argv[1])
EXTENSION = "io.modelcontextprotocol/tasks"
TASKS = FOLDER / "tasks"
LOCK = threading.Lock()
JOB: Json = {
    "name": "job",
    "description": "A long job.",
    "inputSchema": {"type": "object", "properties": {}},
}
STRICT: Json = {**JOB, "name": "strict", "outputSchema": {"type": "object", "required": ["total"]}}
DECLARED = not (FOLDER / "undeclared").exists()


def append(file: str, line: str) -> None:
    handle = os.open(FOLDER / file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


def write(task: Json) -> None:
    new_file = TASKS / f"{task['id']}.new"
    new_file.write_text(json.dumps(task))
    new_file.replace(TASKS / f"{task['id']}.json")


def discover(params: Json) -> Json:
    capabilities: Json = {"tools": {}}
    if DECLARED:
        capabilities["extensions"] = {EXTENSION: {}}
    return {
        "supportedVersions": ["2026-07-28"],
        "capabilities": capabilities,
        "ttlMs": 0,
        "cacheScope": "private",
    }


def initialize(params: Json) -> Json:
    append("log", json.dumps(params["capabilities"], sort_keys=True))
    return {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "old", "version": "1"},
    }


def list_tools(params: Json) -> Json:
    return {"tools": [JOB, STRICT], "ttlMs": 0, "cacheScope": "private"}


def call_tool(params: Json) -> Json:
    meta = params["_meta"]
    capabilities = meta.get("io.modelcontextprotocol/clientCapabilities", {})
    append("ran", meta.get("antiphon/call-id", "?"))
    if EXTENSION not in capabilities.get("extensions", {}) and "rude" not in params["arguments"]:
        return text("done without a task")
    arguments: Json = params.get("arguments") or {}
    task: Json = {"id": uuid.uuid4().hex, "polls": 0, "answers": {}, **arguments}
    write(task)
    return {**envelope(task, "working"), "resultType": "task", **arguments.get("created", {})}


def envelope(task: Json, status: str) -> Json:
    return {
        "taskId": task["id"],
        "status": status,
        "createdAt": "2026-07-28T10:00:00Z",
        "lastUpdatedAt": "2026-07-28T10:00:00Z",
        "ttlMs": None,
        "pollIntervalMs": 10,
    }


def text(content: str) -> Json:
    return {"content": [{"type": "text", "text": content}]}


def find(params: Json) -> Json:
    file = TASKS / f"{params['taskId']}.json"
    if not file.exists():
        raise LookupError
    task: Json = json.loads(file.read_text())
    return task


def get_task(params: Json) -> Json:
    task = find(params)
    states = task.get("states", [])
    polls = task["polls"]
    write({**task, "polls": polls + 1})
    if task.get("cancelled"):
        return envelope(task, "cancelled")
    if polls < len(states):
        state = states[polls]
    elif (FOLDER / "done").exists() and (output := (FOLDER / "done").read_text()):
        # It is empty while the test writes it.
        state = {"status": "completed", "result": text(output)}
    elif task.get("asks"):
        state = asking(task)
    else:
        state = task.get("last", {"status": "working"})
    if state.get("error_code"):
        raise KeyError(state["error_code"])
    if state.get("exit"):
        os._exit(1)
    return {**envelope(task, "working"), **state}


def asking(task: Json) -> Json:
    """Return the requests that are not answered yet; without any, complete with the answers."""
    unanswered = {
        key: request for key, request in task["asks"].items() if key not in task["answers"]
    }
    if unanswered:
        return {"status": "input_required", "inputRequests": unanswered}
    return {"status": "completed", "result": text(json.dumps(task["answers"], sort_keys=True))}


def update_task(params: Json) -> Json:
    task = find(params)
    append("answers", json.dumps(params["inputResponses"], sort_keys=True))
    write({**task, "answers": {**task["answers"], **params["inputResponses"]}})
    return {}


def cancel_task(params: Json) -> Json:
    write({**find(params), "cancelled": True})
    return {}


METHODS: dict[str, Callable[[Json], Json]] = {
    "initialize": initialize,
    "server/discover": discover,
    "tools/list": list_tools,
    "tools/call": call_tool,
    "tasks/get": get_task,
    "tasks/update": update_task,
    "tasks/cancel": cancel_task,
}


def answer(message: Json) -> Json | None:
    """Return the answer to a request, None to a notification."""
    if "id" not in message:
        return None
    method, params = message.get("method", ""), message.get("params", {})
    response: Json = {"jsonrpc": "2.0", "id": message["id"]}
    if method not in METHODS:
        return {**response, "error": {"code": -32601, "message": f"no {method} here"}}
    try:
        with LOCK:
            append("log", f"{method} {params.get('taskId', '')}".strip())
            result = METHODS[method](params)
    except LookupError as error:
        code = error.args[0] if error.args else -32602
        return {**response, "error": {"code": code, "message": "Task not found"}}
    return {**response, "result": {"resultType": "complete", **result}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        task_id = message.get("params", {}).get("taskId")
        if task_id is not None and self.headers.get("Mcp-Name") != task_id:
            append("log", "a request about a task without its header")
            response: Json = {"jsonrpc": "2.0", "id": message["id"]}
            answer_message: Json | None = {
                **response,
                "error": {"code": -32020, "message": "Header mismatch"},
            }
        else:
            answer_message = answer(message)
        body = b"" if answer_message is None else json.dumps(answer_message).encode()
        self.send_response(202 if answer_message is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_response(405)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    TASKS.mkdir(exist_ok=True)
    if sys.argv[2] == "http":
        port = int(sys.argv[3]) if len(sys.argv) > 3 else 0
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.daemon_threads = True
        print(server.server_port, flush=True)
        server.serve_forever()
    for line in sys.stdin:
        if (answer_message := answer(json.loads(line))) is not None:
            sys.stdout.write(json.dumps(answer_message) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
