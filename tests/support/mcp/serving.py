"""MCP servers for tests, and a host that answers them."""

import asyncio
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from antiphon.mcp.client.client_features import (
    Elicitation,
    ElicitationAnswer,
    SamplingReply,
    SamplingRequest,
    ServerLogLine,
)
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.types.messages import ToolCall
from tests.support import fork_server

SERVERS = Path(__file__).parent / "servers"


def raw(*behaviour: str, name: str = "raw", **more: Any) -> ServerConfig:
    """Return the server in raw JSON lines, which starts fast and has this behaviour."""
    args = ("-I", "-S", str(SERVERS / "raw.py"), *behaviour)
    return ServerConfig(name=name, command=sys.executable, args=args, **more)


def whole(**more: Any) -> ServerConfig:
    """Return the server with every feature of the protocol, over stdio."""
    command, *args = start_whole("stdio")
    return ServerConfig(name="whole", command=command, args=(*args,), **more)


def tasked(folder: Path, *, name: str = "tasked", **more: Any) -> ServerConfig:
    """Return the server whose tools run as tasks, over stdio."""
    args = ("-I", "-S", str(SERVERS / "tasks.py"), str(folder), "stdio")
    return ServerConfig(name=name, command=sys.executable, args=args, **more)


@contextmanager
def tasked_over_http(folder: Path, *, name: str = "tasked", **more: Any) -> Generator[ServerConfig]:
    """Run the server whose tools run as tasks, over HTTP."""
    command = [sys.executable, "-I", "-S", str(SERVERS / "tasks.py"), str(folder), "http"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
            yield ServerConfig(name=name, transport="http", url=url, **more)
        finally:
            process.kill()


def lines_of(folder: Path, file: str) -> list[str]:
    """Return the lines that a server has written to one of its files."""
    return (folder / file).read_text().splitlines() if (folder / file).exists() else []


def start_whole(transport: str) -> list[str]:
    """Return the command of that server: a fork, because its library takes a second to load."""
    return [*fork_server.command("tests.support.mcp.servers.whole:main"), transport]


def call(tool: str, /, **arguments: Any) -> ToolCall:
    return ToolCall("c1", tool, msgspec.json.encode(arguments).decode())


@contextmanager
def serve_whole(transport: str) -> Generator[int]:
    """Run the server with every feature over HTTP or SSE; yield its port."""
    with subprocess.Popen(start_whole(transport), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


class RecordingHost:
    """Host that gives the answers of a test, and records questions and notifications."""

    asks = True
    samples = True

    def __init__(self, *answers: ElicitationAnswer) -> None:
        self.answers = list(answers)
        self.questions: list[Elicitation] = []
        self.wanted: list[SamplingRequest] = []
        self.logged: list[ServerLogLine] = []
        self.heard: asyncio.Queue[Sequence[str]] = asyncio.Queue()

    async def ask(self, question: Elicitation) -> ElicitationAnswer:
        self.questions.append(question)
        return self.answers.pop(0)

    async def sample(self, wanted: SamplingRequest) -> SamplingReply | None:
        self.wanted.append(wanted)
        return SamplingReply(text="well", model="m1")

    def log(self, line: ServerLogLine) -> None:
        self.logged.append(line)
        self.heard.put_nowait(("logged", line.server, line.text))

    def resource_updated(self, server: str, uri: str) -> None:
        self.heard.put_nowait(("updated", server, uri))

    def elicitation_completed(self, server: str, id: str) -> None:
        self.heard.put_nowait(("finished", server, id))
