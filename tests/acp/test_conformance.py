"""The cases of acpx's conformance profile `acp-core-v1`, sent to `antiphon acp` as raw lines.

The list of cases is public (openclaw/acpx, `conformance/profiles`); its runner is in no package, so
the cases are written here from their names and from `conformance/spec/v1.md`. Where a case uses a
command of its mock agent, such as `write FILE`, a tool of this agent takes its place.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support import fork_server

SECONDS = 300
INVALID_PARAMS = -32602
TOOLS = '''
from pathlib import Path

from antiphon import tool


@tool(consent=True)
def read_note(path: str) -> str:
    """Read a note."""
    return Path(path).read_text()


@tool(consent=True)
def write_note(path: str, content: str) -> str:
    """Write a note."""
    Path(path).write_text(content)
    return f"wrote {path}"
'''

Json = dict[str, Any]


class Wire:
    """An agent's process and every message of it. `allow` is the answer to its questions."""

    def __init__(self, folder: Path) -> None:
        self.allow = True
        self.folder = folder
        self.initialized: Json = {}
        self.messages: list[Json] = []
        """Everything that the agent sent, in order."""
        self.questions: list[Json] = []
        self._ids = count(1)
        tools = folder / "notes.py"
        tools.write_text(TOOLS)
        homes = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
        command = (*fork_server.command(), "acp", "--model", "demo")
        self.process = subprocess.Popen(
            [*command, "--tools", str(tools)],
            cwd=folder,
            env=os.environ | homes,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read_lines, daemon=True).start()

    def send(self, method: str, params: Any) -> int:
        """Send a request and return its id."""
        number = next(self._ids)
        self._write({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        return number

    def notify(self, method: str, params: Any) -> None:
        self._write({"jsonrpc": "2.0", "method": method, "params": params})

    def wait(self, number: int) -> Json:
        """Return the response to a request; answer the agent's questions meanwhile."""
        while True:
            for message in self.messages:
                if message.get("id") == number and "method" not in message:
                    return message
            self.take()

    def take(self) -> Json:
        """Return the next message of the agent."""
        message: Json = json.loads(self._lines.get(timeout=SECONDS))
        assert message["jsonrpc"] == "2.0"
        self.messages.append(message)
        if message.get("method") == "session/request_permission":
            self.questions.append(message["params"])
            kind = "allow_once" if self.allow else "reject_once"
            options = message["params"]["options"]
            (option_id,) = [each["optionId"] for each in options if each["kind"] == kind]
            outcome = {"outcome": {"outcome": "selected", "optionId": option_id}}
            self._write({"jsonrpc": "2.0", "id": message["id"], "result": outcome})
        return message

    def call(self, method: str, params: Any) -> Json:
        """Send a request and return its response, which is a result or an error."""
        return self.wait(self.send(method, params))

    def open_session(self) -> str:
        result = self.call("session/new", {"cwd": str(self.folder), "mcpServers": []})["result"]
        session: str = result["sessionId"]
        return session

    def begin_prompt(self, session: object, text: str, *more: Json) -> int:
        blocks = [{"type": "text", "text": text}, *more]
        return self.send("session/prompt", {"sessionId": session, "prompt": blocks})

    def prompt(self, session: object, text: str, *more: Json) -> Json:
        return self.wait(self.begin_prompt(session, text, *more))

    def updates(self, session: str) -> list[Json]:
        """Return the updates of a session, in order."""
        return [
            message["params"]["update"]
            for message in self.messages
            if message.get("method") == "session/update"
            and message["params"]["sessionId"] == session
        ]

    def text(self, session: str) -> str:
        """Return the text of the agent in a session."""
        return "".join(
            update["content"]["text"]
            for update in self.updates(session)
            if update["sessionUpdate"] == "agent_message_chunk"
        )

    def await_text(self, session: str) -> None:
        """Wait until an answer of the session has begun."""
        while not self.text(session):
            self.take()

    def close(self) -> int:
        """Close the stdin of the process, and return its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(SECONDS)

    def _write(self, message: Json) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    wire = Wire(tmp_path_factory.mktemp("agent"))
    try:
        capabilities = {"fs": {"readTextFile": True, "writeTextFile": True}}
        params = {"protocolVersion": 1, "clientCapabilities": capabilities}
        wire.initialized = wire.call("initialize", params)["result"]
        yield wire
        assert wire.close() == 0
    finally:
        with wire.process:
            wire.process.kill()


@pytest.fixture
def wire(agent: Wire) -> Wire:
    """Return the agent without its earlier messages; its questions are answered with yes."""
    agent.allow = True
    agent.messages.clear()
    agent.questions.clear()
    return agent


def test_initialize_handshake(wire: Wire) -> None:
    assert wire.initialized["protocolVersion"] == 1
    assert isinstance(wire.initialized["agentCapabilities"], dict)


def test_session_new_basic(wire: Wire) -> None:
    first, second = wire.open_session(), wire.open_session()

    assert first.strip()
    assert first != second


def test_session_prompt_single_turn(wire: Wire) -> None:
    session = wire.open_session()

    response = wire.prompt(session, "5 words")

    assert response["result"]["stopReason"] == "end_turn"
    assert wire.text(session) == "One voice calls and another"
    update_kinds = [update["sessionUpdate"] for update in wire.updates(session)]
    assert update_kinds.index("agent_thought_chunk") < update_kinds.index("agent_message_chunk")


def test_session_update_termination(wire: Wire) -> None:
    """Every update of a prompt comes before its response."""
    session = wire.open_session()
    number = wire.begin_prompt(session, "400 words")
    response = wire.wait(number)
    update_count = len(wire.updates(session))

    wire.call("session/set_mode", {"sessionId": session, "modeId": "ask"})

    assert wire.messages.index(response) > 1
    assert len(wire.updates(session)) == update_count


def test_session_cancel_in_flight(wire: Wire) -> None:
    session = wire.open_session()
    number = wire.begin_prompt(session, "100000 words")
    wire.await_text(session)

    wire.notify("session/cancel", {"sessionId": session})

    assert wire.wait(number)["result"]["stopReason"] == "cancelled"


def test_session_cancel_idle(wire: Wire) -> None:
    session = wire.open_session()
    wire.notify("session/cancel", {"sessionId": session})
    wire.notify("session/cancel", {"sessionId": "thread_of_nobody"})

    assert wire.prompt(session, "3 words")["result"]["stopReason"] == "end_turn"
    response_ids = [m["id"] for m in wire.messages if "method" not in m]
    assert len(response_ids) == 2  # a notification has no answer, and no error either


def test_session_prompt_multi_turn(wire: Wire) -> None:
    session = wire.open_session()
    responses = [wire.prompt(session, "3 words"), wire.prompt(session, "3 words")]

    token_counts = [each["used"] for each in wire.updates(session) if "used" in each]
    assert [each["result"]["stopReason"] for each in responses] == ["end_turn"] * 2
    assert token_counts[1] > token_counts[0]  # the model was sent the first exchange too


@pytest.mark.parametrize("prompt", ["no list", None, [{"type": "nothing"}], [7]])
def test_errors_invalid_params(wire: Wire, prompt: object) -> None:
    session = wire.open_session()

    response = wire.call("session/prompt", {"sessionId": session, "prompt": prompt})

    assert response["error"]["code"] == INVALID_PARAMS


@pytest.mark.parametrize("session", [7, None, ["x"], {}])
def test_errors_invalid_prompt_session_type(wire: Wire, session: object) -> None:
    assert wire.prompt(session, "Hello")["error"]["code"] == INVALID_PARAMS


@pytest.mark.parametrize("cwd", [None, 7, "", "relative", "/no/such/folder", "/tmp/a\0b"])
def test_errors_invalid_params_cwd(wire: Wire, cwd: object) -> None:
    response = wire.call("session/new", {"cwd": cwd, "mcpServers": []})

    assert response["error"]["code"] == INVALID_PARAMS


def test_errors_unknown_session(wire: Wire) -> None:
    response = wire.prompt("thread_of_nobody", "Hello")

    assert response["error"]["code"] == -32002
    assert "thread_of_nobody" in response["error"]["message"]


@pytest.mark.parametrize("text", ["echo", "echo  ", "/nothing of this name", "späte 🐝 \u202e"])
def test_session_prompt_echo_empty_and_unrecognized(wire: Wire, text: str) -> None:
    session = wire.open_session()

    assert wire.prompt(session, text)["result"]["stopReason"] == "end_turn"
    assert wire.text(session)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_prompt_is_refused(wire: Wire, text: str) -> None:
    session = wire.open_session()

    assert wire.prompt(session, text)["error"]["code"] == INVALID_PARAMS
    assert wire.prompt(session, "3 words")["result"]["stopReason"] == "end_turn"


def test_session_prompt_structured_blocks(wire: Wire) -> None:
    session = wire.open_session()
    link = {"type": "resource_link", "uri": "https://example.com/x", "name": "x"}
    resource = {"uri": "file:///a.txt", "mimeType": "text/plain", "text": "All about bees."}

    response = wire.prompt(
        session, "What is in these?", link, {"type": "resource", "resource": resource}
    )

    assert response["result"]["stopReason"] == "end_turn"
    assert wire.text(session)


@pytest.mark.parametrize("allow", [True, False])
def test_permissions_read(wire: Wire, allow: bool) -> None:
    wire.allow = allow
    note = wire.folder / "read.txt"
    note.write_text("all about bees")
    session = wire.open_session()

    response = wire.prompt(session, f'Use read_note with "{note}"')

    (question,) = wire.questions
    assert question["sessionId"] == session
    assert question["toolCall"]["rawInput"] == {"path": str(note)}
    assert response["result"]["stopReason"] == "end_turn"
    assert find_last_status(wire, session) == ("completed" if allow else "failed")
    assert ("all about bees" in json.dumps(wire.updates(session))) == allow


@pytest.mark.parametrize("allow", [True, False])
def test_permissions_write(wire: Wire, allow: bool) -> None:
    wire.allow = allow
    note = wire.folder / f"written-{allow}.txt"
    session = wire.open_session()

    response = wire.prompt(session, f'Use write_note with "{note}" and "hello"')

    assert response["result"]["stopReason"] == "end_turn"
    assert find_last_status(wire, session) == ("completed" if allow else "failed")
    assert note.exists() == allow
    assert (f"wrote {note}" in wire.text(session)) == allow


def find_last_status(wire: Wire, session: str) -> str:
    """Return the last status of the only tool call of a session."""
    calls = [update for update in wire.updates(session) if "toolCallId" in update]
    assert len({call["toolCallId"] for call in calls}) == 1
    status: str = [call["status"] for call in calls if "status" in call][-1]
    return status


def test_session_prompt_background_completion(wire: Wire) -> None:
    """A prompt of one session goes on while another session is answered."""
    slow, quick = wire.open_session(), wire.open_session()
    number = wire.begin_prompt(slow, "100000 words")
    wire.await_text(slow)

    response = wire.prompt(quick, "3 words")

    assert response["result"]["stopReason"] == "end_turn"
    assert not [m for m in wire.messages if m.get("id") == number and "method" not in m]
    wire.notify("session/cancel", {"sessionId": slow})
    assert wire.wait(number)["result"]["stopReason"] == "cancelled"
    number = wire.begin_prompt(slow, "200 words")
    assert wire.wait(number)["result"]["stopReason"] == "end_turn"


def test_session_cancel_followup_prompt(wire: Wire) -> None:
    session = wire.open_session()
    number = wire.begin_prompt(session, "100000 words")
    wire.await_text(session)
    wire.notify("session/cancel", {"sessionId": session})
    wire.wait(number)
    cut_text = wire.text(session)

    response = wire.prompt(session, "3 words")

    assert response["result"]["stopReason"] == "end_turn"
    assert wire.text(session).removeprefix(cut_text) == "One voice calls"
