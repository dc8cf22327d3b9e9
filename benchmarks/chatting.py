"""The terminal chat as a program: its first prompt, a whole answer, and how soon it stops.

With `MCP_CLI=/path/to/mcp-cli` the first prompt of that program is measured as well. Its answers
are not compared: before the first one it fetches a tokenizer from the internet.
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
SETTLE_SECONDS = 4.0
_STAMP = re.compile(rb"@(\d{16})")


async def measure(bench: Bench) -> list[Row]:
    """Measure start, stop and whole answers, each in a new terminal with a scripted model."""
    return [
        *await _measure_start(bench),
        *await _measure_stop(bench),
        *await _measure_whole_answers(bench),
    ]


async def _measure_start(bench: Bench) -> list[Row]:
    home = bench.folder / "home"
    home.mkdir()
    (bench.folder / "server.py").write_text(SERVER)
    command = {"command": sys.executable, "args": [str(bench.folder / "server.py")]}
    servers = {"mcpServers": {f"server{number}": command for number in range(3)}}
    (bench.folder / "mcp.json").write_text(json.dumps(servers))
    commands = {
        "editor": (sys.executable, "-c", LINE_EDITOR),
        "alone": (*PYTHON, "antiphon", "chat", "--model", "demo"),
        "servers": _chat_with_servers(bench.folder),
        "help": (*PYTHON, "antiphon", "--help"),
        "nothing": (sys.executable, "-c", "print('usage')"),
    }

    async def measure_seconds(name: str) -> float:
        expected = b"usage" if name in ("help", "nothing") else PROMPT
        began = time.perf_counter()
        async with terminal(home, *commands[name]) as program:
            return await program.wait_for_output(expected) - began

    times = bench.pick(1, 5, 11)
    editor, chat, chat_with_servers, help_text, python = await rounds(
        times, measure_seconds, list(commands), "s"
    )
    idle: list[float] = []
    for _ in range(bench.pick(1, 3, 5)):
        async with terminal(home, *commands["servers"]) as program:
            await program.wait_for_output(READY)
            await asyncio.sleep(SETTLE_SECONDS)  # the servers start after the prompt
            idle.append(program.child.rss())
    return [
        _compare_with_editor("first prompt", chat, editor),
        _compare_with_editor(
            "first prompt, three MCP servers configured", chat_with_servers, editor
        ),
        row("antiphon --help", help_text, "python -c print", python, target="0.2 s", at_most=0.2),
        row(
            "chat at rest with three servers, RSS",
            Figure(tuple(idle), "MB"),
            target="at most 80 MB",
            at_most=80.0,
        ),
        *await _measure_mcp_cli(bench, home, chat_with_servers),
    ]


async def _measure_mcp_cli(bench: Bench, home: Path, antiphon: Figure) -> list[Row]:
    mcp_cli = os.environ.get("MCP_CLI")
    if mcp_cli is None:
        return []
    config = ("--config-file", str(bench.folder / "mcp.json"), "--server", "server0")
    command = ("env", "OPENAI_API_KEY=none", mcp_cli, "chat", "--provider", "openai", *config)
    seconds: list[float] = []
    rss: list[float] = []
    for _ in range(bench.pick(1, 3, 5)):
        began = time.perf_counter()
        async with terminal(home, *command) as program:
            seconds.append(await program.wait_for_output(b"You:") - began)
            await asyncio.sleep(SETTLE_SECONDS)
            rss.append(program.child.rss())
    return [
        row("first prompt of mcp-cli, one server", Figure(tuple(seconds), "s"), "ours", antiphon),
        row("mcp-cli at rest with one server, RSS", Figure(tuple(rss), "MB")),
    ]


def _chat_with_servers(folder: Path) -> tuple[str, ...]:
    config = str(folder / "mcp.json")
    return (*PYTHON, "antiphon", "chat", "--model", "demo", "--config", config)


def _compare_with_editor(what: str, figure: Figure, editor: Figure) -> Row:
    return row(
        what,
        figure,
        "importing the line editor",
        editor,
        target="at most 0.15 s later",
        ratio=lambda measured, baseline: measured.median - baseline.median,
        ratio_at_most=0.15,
    )


async def _measure_stop(bench: Bench) -> list[Row]:
    times = bench.pick(2, 20, 50)
    stops: list[float] = []
    lags: list[float] = []
    async with bench.upstream() as upstream:
        url = upstream.child.address + "/v1"
        async with terminal(bench.folder, *_chat_command(bench, url, "paced-50-5000")) as chat:
            await chat.wait_for_output(READY)
            for number in range(1, times + 1):
                before = len(chat.written)
                chat.type("Go on.\r")
                await _read_stamps(chat, before, 5)
                lags += _lags(chat.written[before:])
                pressed_at = chat.type("\x03")
                stops.append((await chat.wait_for_output(b"[stopped]", number) - pressed_at) * 1e3)
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
        await chat.wait_for_output(b"@", chat.written.count(b"@") + 1)


def _lags(written: bytes) -> list[float]:
    """Return the milliseconds since the newest visible chunk was sent; none without a chunk."""
    stamps = [int(stamp) for stamp in _STAMP.findall(written)]
    return [(time.monotonic_ns() // 1000 - max(stamps)) / 1e3] if stamps else []


async def _measure_whole_answers(bench: Bench) -> list[Row]:
    tokens = bench.pick(500, 8_000, 32_000)
    model = f"flood-{tokens}"
    chat_cpu: list[float] = []
    loop_cpu: list[float] = []
    async with bench.upstream() as upstream:
        url = upstream.child.address + "/v1"
        for _ in range(bench.pick(1, 2, 3)):
            async with terminal(bench.folder, *_chat_command(bench, url, model)) as chat:
                await chat.wait_for_output(READY)
                before = chat.child.cpu()
                chat.type("Go on.\r")
                await _wait_for_footer(chat)
                chat_cpu.append(chat.child.cpu() - before)
            loop_command = (*PYTHON, "benchmarks.terminals", url, model)
            async with terminal(bench.folder, *loop_command) as loop:
                await loop.wait_for_output(b"[ended]")
                loop_cpu.append(loop.child.cpu())
    return [
        row(
            f"CPU of an answer of {tokens:,} chunks at once, all kept and set",
            Figure(tuple(chat_cpu), "s"),
            "openai's loop, start included",
            Figure(tuple(loop_cpu), "s"),
            target="at most 1.5 times",
            ratio_at_most=1.5,
        )
    ]


async def _wait_for_footer(chat: Terminal) -> None:
    """Wait for the line with the answer's seconds, which ends an answer."""
    while not re.search(rb"\d+\.\d s[,\x1b\r]", chat.written):
        await chat.wait_for_output(b"\n", chat.written.count(b"\n") + 1)


def _chat_command(bench: Bench, url: str, model: str) -> tuple[str, ...]:
    database = f"sqlite:///{bench.folder / model}.db"
    options = ("--base-url", url, "--model", model, "--database", database)
    return (*PYTHON, "antiphon", "chat", *options)
