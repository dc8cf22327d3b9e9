"""One conversation over plain HTTP: the model calls a tool, and this program runs it.

    antiphon serve
    python examples/hello.py http://127.0.0.1:8000

The model is the offline `demo` unless the second argument names another, such as `openai:gpt-5`.
If the server requires a key, set ANTIPHON_API_KEY.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import httpx2

from antiphon.types.terminal_safe import clean
from antiphon.wires.sse import Decoder

QUESTION = "When does the next LAX-JFK flight leave?"
TOOL = {
    "name": "get_flight_times",
    "description": "Departure and arrival of the next flight between two airports.",
    "parameters": {
        "type": "object",
        "properties": {
            "departure": {"type": "string", "description": "IATA code"},
            "arrival": {"type": "string", "description": "IATA code"},
        },
        "required": ["departure", "arrival"],
    },
}
TIMETABLE = {
    ("LAX", "JFK"): {"departure_time": "16:35", "arrival_time": "00:55", "flight": "AN 12"}
}


def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
    """Look up a flight. The tool runs in this process; the server only receives its output."""
    return TIMETABLE.get((departure, arrival), {"error": "no such flight"})


def main(url: str, model: str = "demo") -> None:
    """Ask the question, run the tools that the model calls, and print the answer."""
    key = os.environ.get("ANTIPHON_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx2.Client(base_url=url, headers=headers, timeout=60) as http:
        print(f"You ask: {QUESTION}\n")
        first = {
            "message": {"role": "user", "content": QUESTION},
            "model": model,
            "tools": [TOOL],
        }
        manifest = turn(http, first)
        while manifest:
            for action in manifest["actions"]:
                output = json.dumps(get_flight_times(**action["arguments"]))
                print(f"  here: get_flight_times(**{action['arguments']}) = {output}")
                submit(http, manifest["run_id"], action["tool_call_id"], output)
            manifest = turn(http, {"run_id": manifest["run_id"]})


def turn(http: httpx2.Client, body: dict[str, Any]) -> dict[str, Any] | None:
    """Stream one turn; return the manifest of its tool calls, None if it has none."""
    print(f"> POST /v1/process {json.dumps(body)[:72]}...")
    manifest: dict[str, Any] | None = None
    why = ""
    for event in events(http, body):
        match event:
            case {"type": "run.status", "status": status}:
                print(f"  run.status: {status}")
                error: dict[str, Any] = event.get("error") or {}
                why = f"{error.get('code', '')}: {error.get('message', event.get('reason', ''))}"
            case {"type": "text.delta", "text": text}:
                print(text, end="", flush=True)
            case {"type": "tool_call.ready", "name": name, "arguments": arguments}:
                print(f"  tool_call.ready: {name} {arguments}")
            case {"type": "message.completed", "message": {"content": [_, *_]}}:
                print()
            case {"type": "action.required"}:
                manifest = event
                print(f"  action.required: {len(event['actions'])} to run; they are saved")
            case {"type": "turn.ended", "status": "failed" | "incomplete" as status}:
                sys.exit(f"  turn.ended: {status}; {clean(why)}")
            case {"type": "turn.ended", "status": status}:
                print(f"  turn.ended: {status}")
            case _:
                pass
    print("< the server closed the connection and holds nothing in memory\n")
    return manifest


def events(http: httpx2.Client, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of one turn as they arrive."""
    decoder = Decoder()
    with http.stream("POST", "/v1/process", json=body) as response:
        check(response)
        for piece in response.iter_raw():
            yield from (json.loads(frame.data) for frame in decoder.feed(piece))


def submit(http: httpx2.Client, run_id: str, tool_call_id: str, output: str) -> None:
    """Submit one output; when this returns, the output is durable."""
    body = {"run_id": run_id, "tool_call_id": tool_call_id, "output": output}
    response = http.post("/v1/submit_tool_output", json=body)
    check(response)
    print(f"> POST /v1/submit_tool_output\n< {response.status_code}: saved\n")


def check(response: httpx2.Response) -> None:
    """End the program with the server's message if the response is an error."""
    if response.is_error:
        problem = json.loads(response.read())
        parts = [problem[part] for part in ("detail", "expected", "hint") if part in problem]
        sys.exit(f"{problem['code']}: {'; '.join(parts)}")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["http://127.0.0.1:8000"])
