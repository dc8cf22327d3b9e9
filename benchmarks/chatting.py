"""The terminal chat as a program: its first prompt, a whole answer, and how soon it stops.

With `MCP_CLI=/path/to/mcp-cli` that program's prompt is waited for as well. Its answers are not
compared: before the first one it fetches a tokenizer from the internet.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from pathlib import Path

from benchmarks.bench import PYTHON, Bench, rounds
from benchmarks.report import Figure, Row, row
from benchmarks.terminals import Terminal, terminal

LINE_EDITOR = "import prompt_toolkit.application, prompt_toolkit.layout; print('> ', flush=True)"
SERVER = """\
from mcp.server.mcpserver import MCPServer

MCPServer("small").run()
"""
PROMPT, READY = b"> ", b"/help"
SETTLED = 4.0
_STAMP = re.compile(rb"@(\d{16})")


async def measure(bench: Bench) -> list[Row]:
    """Each in a terminal of its own, with a model that sends what is wanted."""
    return [
        *await _starting(bench),
        *await _stopping(bench),
        *await _whole_answers(bench),
    ]


async def _starting(bench: Bench) -> list[Row]:
    home = bench.folder / "home"
    home.mkdir()
    (bench.folder / "server.py").write_text(SERVER)
    command = {"command": sys.executable, "args": [str(bench.folder / "server.py")]}
    servers = {"mcpServers": {f"server{number}": command for number in range(3)}}
    (bench.folder / "mcp.json").write_text(json.dumps(servers))
    ways = {
        "editor": (sys.executable, "-c", LINE_EDITOR),
        "alone": (*PYTHON, "antiphon", "chat", "--model", "demo"),
        "servers": _with_servers(bench.folder),
        "help": (*PYTHON, "antiphon", "--help"),
        "nothing": (sys.executable, "-c", "print('usage')"),
    }

    async def seconds(way: str) -> float:
        said = b"usage" if way in ("help", "nothing") else PROMPT
        began = time.perf_counter()
        async with terminal(home, *ways[way]) as watched:
            return await watched.says(said) - began

    times = bench.pick(1, 5, 11)
    editor, alone, servers_, helped, nothing = await rounds(times, seconds, list(ways), "s")
    idle: list[float] = []
    for _ in range(bench.pick(1, 3, 5)):
        async with terminal(home, *ways["servers"]) as watched:
            await watched.says(READY)
            await asyncio.sleep(SETTLED)  # the servers start behind the prompt
            idle.append(watched.child.rss())
    return [
        _later("first prompt", alone, editor),
        _later("first prompt, three MCP servers configured", servers_, editor),
        row("antiphon --help", helped, "python -c print", nothing, target="0.2 s", at_most=0.2),
        row(
            "chat at rest with three servers, RSS",
            Figure(tuple(idle), "MB"),
            target="at most 80 MB",
            at_most=80.0,
        ),
        *await _peer(bench, home, servers_),
    ]


async def _peer(bench: Bench, home: Path, ours: Figure) -> list[Row]:
    program = os.environ.get("MCP_CLI")
    if program is None:
        return []
    config = ("--config-file", str(bench.folder / "mcp.json"), "--server", "server0")
    command = ("env", "OPENAI_API_KEY=none", program, "chat", "--provider", "openai", *config)
    seconds: list[float] = []
    rss: list[float] = []
    for _ in range(bench.pick(1, 3, 5)):
        began = time.perf_counter()
        async with terminal(home, *command) as watched:
            seconds.append(await watched.says(b"You:") - began)
            await asyncio.sleep(SETTLED)
            rss.append(watched.child.rss())
    return [
        row("first prompt of mcp-cli, one server", Figure(tuple(seconds), "s"), "ours", ours),
        row("mcp-cli at rest with one server, RSS", Figure(tuple(rss), "MB")),
    ]


def _with_servers(folder: Path) -> tuple[str, ...]:
    config = str(folder / "mcp.json")
    return (*PYTHON, "antiphon", "chat", "--model", "demo", "--config", config)


def _later(what: str, figure: Figure, editor: Figure) -> Row:
    return row(
        what,
        figure,
        "importing the line editor",
        editor,
        target="at most 0.15 s later",
        ratio=lambda mine, theirs: mine.median - theirs.median,
        ratio_at_most=0.15,
    )


async def _stopping(bench: Bench) -> list[Row]:
    times = bench.pick(2, 20, 50)
    stops: list[float] = []
    lags: list[float] = []
    async with bench.upstream() as upstream:
        url = upstream.child.address + "/v1"
        async with terminal(bench.folder, *_chat(bench, url, "paced-50-5000")) as chat:
            await chat.says(READY)
            for number in range(1, times + 1):
                before = len(chat.written)
                chat.type("Go on.\r")
                await _read_stamps(chat, before, 5)
                lags += _lags(chat.written[before:])
                pressed = chat.type("\x03")
                stops.append((await chat.says(b"[stopped]", number) - pressed) * 1e3)
    return [
        row(f"Ctrl+C until it has stopped, {times} times in one chat", Figure(tuple(stops), "ms")),
        row(
            "the slowest of them",
            Figure((max(stops),), "ms"),
            target="at most 100 ms",
            at_most=100.0,
        ),
        row(
            "from a chunk's sending to its being seen",
            Figure(tuple(lags), "ms"),
            target="at most 100 ms",
            at_most=100.0,
        ),
    ]


async def _read_stamps(chat: Terminal, after: int, count: int) -> None:
    while len(_STAMP.findall(chat.written[after:])) < count:
        await chat.says(b"@", chat.written.count(b"@") + 1)


def _lags(written: bytes) -> list[float]:
    """Milliseconds since the newest chunk that is seen was sent, as it is first seen."""
    stamps = [int(stamp) for stamp in _STAMP.findall(written)]
    return [(time.monotonic_ns() // 1000 - max(stamps)) / 1e3] if stamps else []


async def _whole_answers(bench: Bench) -> list[Row]:
    tokens = bench.pick(500, 8_000, 32_000)
    model = f"flood-{tokens}"
    mine: list[float] = []
    theirs: list[float] = []
    async with bench.upstream() as upstream:
        url = upstream.child.address + "/v1"
        for _ in range(bench.pick(1, 2, 3)):
            async with terminal(bench.folder, *_chat(bench, url, model)) as chat:
                await chat.says(READY)
                before = chat.child.cpu()
                chat.type("Go on.\r")
                await _footer(chat)
                mine.append(chat.child.cpu() - before)
            loop = (*PYTHON, "benchmarks.terminals", url, model)
            async with terminal(bench.folder, *loop) as bare:
                await bare.says(b"[ended]")
                theirs.append(bare.child.cpu())
    return [
        row(
            f"CPU of an answer of {tokens:,} chunks at once, all kept and set",
            Figure(tuple(mine), "s"),
            "openai's loop, start included",
            Figure(tuple(theirs), "s"),
            target="at most 1.5 times",
            ratio_at_most=1.5,
        )
    ]


async def _footer(chat: Terminal) -> None:
    """The answer is whole: the line with its seconds is there."""
    while not re.search(rb"\d+\.\d s[,\x1b\r]", chat.written):
        await chat.says(b"\n", chat.written.count(b"\n") + 1)


def _chat(bench: Bench, url: str, model: str) -> tuple[str, ...]:
    database = f"sqlite:///{bench.folder / model}.db"
    named = ("--base-url", url, "--model", model, "--database", database)
    return (*PYTHON, "antiphon", "chat", *named)
