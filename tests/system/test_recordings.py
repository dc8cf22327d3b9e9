"""Recorded replies of real providers pass a server and the SDK unchanged in meaning.

Our own recordings are always played. `ANTIPHON_RECORDINGS` names a folder with more of them: files
of one JSON payload to a line, `*.chunks.txt`. What they mean is read a second time here, in a few
lines that share nothing with the program.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from antiphon import Client
from antiphon.api.operations import NewMessage
from antiphon.types import events
from antiphon.types.messages import ToolSpec
from tests.support.harness.servers import environment

OWN_FOLDER = Path(__file__).parents[1] / "recordings"
OTHER_FOLDER = os.environ.get("ANTIPHON_RECORDINGS")


def _recordings() -> dict[str, list[bytes]]:
    """Return every recorded reply by its name; a file may hold several, told apart by their ids."""
    replies: dict[str, list[bytes]] = {}
    for folder in filter(None, (OWN_FOLDER, OTHER_FOLDER and Path(OTHER_FOLDER))):
        for path in sorted(folder.glob("*.chunks.txt")):
            ids: list[str] = []
            for line in filter(bytes.strip, path.read_bytes().splitlines()):
                name = json.loads(line).get("id")
                if name and name not in ids:
                    ids.append(name)
                reply = f"{path.name.removesuffix('.chunks.txt')}-{max(1, len(ids))}"
                replies.setdefault(reply, []).append(line)
    return replies


REPLIES = _recordings()


@dataclass
class Meaning:
    """Meaning of a reply. `tokens`: input, output, cache, reasoning."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    tokens: tuple[int, int, int, int] = (0, 0, 0, 0)
    finish: str | None = None


def read_meaning(lines: Sequence[bytes]) -> Meaning:
    """Return what is said, thought, called and counted in these payloads, as a second reader."""
    meaning, calls = Meaning(), {}
    for payload in map(json.loads, lines):
        if usage := payload.get("usage"):
            meaning.tokens = _count_tokens(usage)
        for choice in payload.get("choices", ()):
            meaning.finish = choice.get("finish_reason") or meaning.finish
            delta = choice.get("delta") or {}
            meaning.reasoning += delta.get("reasoning_content") or delta.get("reasoning") or ""
            content = delta.get("content") or ""
            for part in [{"text": content}] if isinstance(content, str) else content:
                meaning.text += part.get("text", "")
                meaning.reasoning += "".join(each["text"] for each in part.get("thinking", ()))
            for piece in delta.get("tool_calls") or ():
                key = piece["index"] if "index" in piece else piece["id"]
                name, arguments = calls.get(key, ("", ""))
                function = piece["function"]
                name = name or function.get("name") or ""
                calls[key] = (name, arguments + (function.get("arguments") or ""))
    meaning.calls = [(name, arguments or "{}") for name, arguments in calls.values()]
    return meaning


def _count_tokens(usage: Any) -> tuple[int, int, int, int]:
    """Count tokens. All but the input is output: some count reasoning beside the completion."""
    input_details = usage.get("prompt_tokens_details") or {}
    output_details = usage.get("completion_tokens_details") or {}
    return (
        usage["prompt_tokens"],
        usage["total_tokens"] - usage["prompt_tokens"],
        input_details.get("cached_tokens") or 0,
        output_details.get("reasoning_tokens") or 0,
    )


class _Player(BaseHTTPRequestHandler):
    """Plays the recording that the request names as its model."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for line in REPLIES[body["model"]]:
            self.wfile.write(b"data: " + line + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Return the SDK before a server of its own, before the player."""
    database = tmp_path_factory.mktemp("recordings") / "antiphon.db"
    with ThreadingHTTPServer(("127.0.0.1", 0), _Player) as player:
        threading.Thread(target=player.serve_forever, args=(0.01,), daemon=True).start()
        base_url = f"http://127.0.0.1:{player.server_port}/v1"
        command = ["-m", "antiphon", "serve", "--port", "0", "--base-url", base_url]
        settings = {"ANTIPHON_DATABASE": f"sqlite:///{database}", "ANTIPHON_MODEL": "text-1"}
        with subprocess.Popen(
            [sys.executable, *command],
            env=environment(settings),
            stderr=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stderr
            line = next(line for line in server.stderr if line.startswith("listening on"))
            with Client(line.split()[-1]) as client:
                yield client
            server.terminate()
            server.stderr.close()
        player.shutdown()


@pytest.mark.parametrize("name", REPLIES)
def test_what_a_provider_sent_comes_out_as_it_was_meant(name: str, client: Client) -> None:
    expected = read_meaning(REPLIES[name])
    tools = [
        ToolSpec(tool_name) for tool_name in sorted({tool_name for tool_name, _ in expected.calls})
    ]

    turn = client.process(message=NewMessage("go"), model=name, tools=tools)
    received = list(turn)

    actual = Meaning(
        text="".join(each.text for each in received if isinstance(each, events.TextDelta)),
        reasoning="".join(
            each.text for each in received if isinstance(each, events.ReasoningDelta)
        ),
        calls=[
            (each.name, each.arguments)
            for each in received
            if isinstance(each, events.ToolCallReady)
        ],
        tokens=_tokens(received),
        finish=expected.finish,
    )
    assert actual == expected
    assert turn.status is not None
    assert (turn.status.value, turn.reason) == _end(expected)
    (message,) = [each.message for each in received if isinstance(each, events.MessageCompleted)]
    assert (message.text, message.reasoning or "") == (expected.text, expected.reasoning)
    assert [(call.name, call.arguments) for call in message.tool_calls] == expected.calls
    assert client.get_message(message.id) == message
    actions = client.list_actions(str(turn.run_id)).data
    assert [(action.name, action.arguments) for action in actions] == [
        (tool_name, json.loads(arguments)) for tool_name, arguments in expected.calls
    ]


def test_there_are_recordings_of_real_providers() -> None:
    if not OTHER_FOLDER:
        pytest.skip("ANTIPHON_RECORDINGS names no folder: only our own recordings were played")
    assert len(REPLIES) > len(list(OWN_FOLDER.glob("*.chunks.txt")))


def _tokens(received: Sequence[events.Event]) -> tuple[int, int, int, int]:
    (usage,) = [each.usage for each in received if isinstance(each, events.UsageAdded)]
    return usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens


def _end(expected: Meaning) -> tuple[str, str | None]:
    if expected.finish == "length":
        return "incomplete", "length"
    return ("action_required" if expected.calls else "completed"), None
