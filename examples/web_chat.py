"""The web chat's message, step by step, numbered as docs/flows/web.md draws it.

    python examples/web_chat.py                                  # a runtime in this process
    python examples/web_chat.py --server http://127.0.0.1:8000   # or a server, as `serve` says

`process_message` is the body of a view in a web framework; it returns lines of server-sent events.
In Flask:

    @app.post("/api/messages/process")
    def process():
        lines = process_message(client, request.json["content"])
        return Response(lines, mimetype="text/event-stream")

No framework is needed to try it: as a program, this file also plays the browser.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

from antiphon import Action, AntiphonError, Client, Functions, RunError, Status
from antiphon.types import events
from antiphon.wires.sse import Decoder

log = logging.getLogger("web_chat")

QUESTION = "When does the next flight from LAX to JFK leave?"
TIMETABLE = {("LAX", "JFK"): {"departure_time": "16:35", "arrival_time": "00:55"}}


def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
    """Departure and arrival of the next flight between two airports.

    Args:
        departure: IATA code of the airport of departure.
        arrival: IATA code of the airport of arrival.
    """
    return TIMETABLE.get((departure, arrival), {"error": "no such flight"})


def tool_handler(name: str, arguments: dict[str, Any]) -> dict[str, str]:
    """Run the tool that the model called; if this raises, the model gets the error."""
    log.info("15. tool_handler(%r, %r)", name, arguments)
    match name:
        case "get_flight_times":
            return get_flight_times(**arguments)
        case _:
            raise LookupError(f"there is no tool {name}")


def process_message(
    client: Client, content: str, thread_id: str | None = None, model: str | None = None
) -> Iterator[str]:
    """Save a user's message, start a run, and return the response."""
    thread = client.get_thread(thread_id) if thread_id else client.create_thread()
    message = client.create_message(thread.id, content)
    log.info("2. create_message")
    log.info("3. POST /v1/messages: message %d is saved", message.number)
    tools = Functions([get_flight_times]).specs()
    run = client.create_run(thread.id, model=model, tools=tools)
    log.info("4. create_run")
    log.info("5. POST /v1/runs: the run is %s", run.status)
    log.info("6. the streaming response is returned")
    return response(client, run.id)


def response(client: Client, run_id: str) -> Iterator[str]:
    """Yield the chunks for the browser, and the error if the run does not complete."""
    try:
        yield from generate_chunks(client, run_id)
    except RunError as error:
        yield status("failed", run_id=run_id, error=error.full_message)


def generate_chunks(client: Client, run_id: str) -> Iterator[str]:
    """Yield the chunks: the events of each turn, the status of each tool, the end."""
    sync_stream = client.sync_stream()
    with closing(sync_stream):
        log.info("7. sync_stream.setup, sync_stream.stream_chunks")
        sync_stream.setup(run_id=run_id)
        log.info("8. POST /v1/completions")
        for event in sync_stream.stream_chunks():
            yield sse(event.type, events.encode(event))
    log.info("9. sync_stream.close")

    # Once for each turn with tool calls: the flow draws one, a model may need more.
    while client.get_run(run_id).status is Status.ACTION_REQUIRED:
        log.info("10. the run's status is action_required")
        for action in execute(client, run_id):
            log.info("19. status: complete")
            yield status("complete", tool=action.name, tool_call_id=action.tool_call_id)

        final_stream = client.sync_stream()
        with closing(final_stream):
            log.info("20. final_stream.setup, final_stream.stream_chunks")
            final_stream.setup(run_id=run_id)
            log.info("21. POST /v1/completions")
            for event in final_stream.stream_chunks():
                yield sse(event.type, events.encode(event))
        log.info("22. final_stream.close")

    log.info("23. status: done")
    yield status("done", run_id=run_id, run_status=client.get_run(run_id).status)
    log.info("24. the generator finishes")


def execute(client: Client, run_id: str) -> list[Action]:
    """Steps 11 to 18: run the tools; return when all outputs are saved."""
    log.info("11. poll_and_execute_action")
    log.info("12. the SDK's loop: 13. GET /v1/runs/{id}, 14. GET /v1/actions")
    actions = client.poll_and_execute_action(run_id, tool_handler)
    for action in actions:
        log.info("16. the result of %s is %s", action.name, action.output)
        log.info("17. POST /v1/messages: the action is %s", action.status)
    log.info("18. poll_and_execute_action returns %d action(s)", len(actions))
    return actions


def status(state: str, **about: Any) -> str:
    """Return a status event for the page, which is not an event of the model."""
    return sse("status", json.dumps({"status": state, **about}).encode())


def sse(event: str, data: bytes) -> str:
    """Return one server-sent event; the data is JSON, so it has no line breaks."""
    return f"event: {event}\ndata: {data.decode()}\n\n"


def main() -> int:
    """Play the browser: post one message, show the response, return the exit code."""
    parser = argparse.ArgumentParser(description="The twenty-four steps of the web chat.")
    parser.add_argument("--server", help="an address; without one ANTIPHON_SERVER, then embedded")
    parser.add_argument("--model", default="demo", help="provider:name; the offline demo if unset")
    arguments = parser.parse_args()
    logging.basicConfig(format="[%(message)s]", stream=sys.stdout)
    log.setLevel(logging.INFO)
    with Client(arguments.server) as client:
        log.info("1. POST /api/messages/process")
        return show(process_message(client, QUESTION, model=arguments.model))


def show(lines: Iterable[str]) -> int:
    """Print the answer as text and all other events by name; return the exit code."""
    decoder = Decoder()
    code, in_text = 1, False
    for line in lines:
        for frame in decoder.feed(line.encode()):
            data = json.loads(frame.data)
            if in_text and frame.event != "text.delta":
                print()
            in_text = frame.event == "text.delta"
            match frame.event:
                case "text.delta":
                    print(data["text"], end="", flush=True)
                case "reasoning.delta" | "tool_call.delta":
                    pass
                case "status":
                    print(f"    page: status {frame.data}")
                    code = 0 if data.get("run_status") == "completed" else 1
                    if data["status"] == "failed":
                        print(data["error"], file=sys.stderr)
                case name:
                    print(f"    page: {name}")
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AntiphonError as error:
        sys.exit(error.full_message)
