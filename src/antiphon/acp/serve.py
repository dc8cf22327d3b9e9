"""Run the agent on stdin and stdout."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import cast

from acp.core import run_agent
from acp.interfaces import Agent

from antiphon.acp.agent import COMMANDS, AcpAgent
from antiphon.acp.json_rpc import LineTransport
from antiphon.acp.session import SessionSetup
from antiphon.api.operations import Options
from antiphon.client.async_client import AsyncClient
from antiphon.settings.paths import data_folder
from antiphon.settings.settings import Settings
from antiphon.skills.workspace import load_workspace
from antiphon.tools.functions import Function, Functions
from antiphon.tools.permissions import NAME, GrantsFile
from antiphon.types.errors import InvalidRequest
from antiphon.types.terminal_safe import clean

MAX_MESSAGE = 50 * 1024 * 1024
"""Bytes of one message: a prompt may carry pictures."""


async def serve_stdio(
    settings: Settings,
    functions: Sequence[Function],
    options: Options,
    *,
    allow_all: bool,
    with_servers: bool,
) -> int:
    """Serve the editor until it closes stdin; return the exit code.

    With `allow_all`, sessions begin in the mode in which every tool runs that is not denied.
    Whatever tools print goes to stderr, for stdout is the protocol's.
    """
    try:
        reader, writer = await _open_streams()
    except ValueError as error:
        raise InvalidRequest(
            "An editor talks to this command through pipes.",
            expected="stdin and stdout that are pipes",
            received="a file",
        ) from error
    if sys.stdin.isatty():
        _warn("this command is started by an editor, and waits for its requests; Ctrl+D ends it")
    with redirect_stdout(sys.stderr):
        async with AsyncClient(settings=settings) as client:
            setup = SessionSetup(
                client=client,
                settings=settings,
                functions=tuple(functions),
                own_tools=tuple(Functions(functions).tools()),
                grants=GrantsFile(data_folder(os.environ) / NAME, _warn),
                options=options,
                warn=_warn,
                mode="allow" if allow_all else "ask",
                with_servers=with_servers,
                find_workspace=lambda folder: load_workspace(
                    folder,
                    settings,
                    with_tools=with_servers,
                    reserved={command.name for command in COMMANDS},
                ),
            )
            agent = AcpAgent(setup)
            try:
                await run_agent(
                    cast("Agent", agent),  # whose methods the library types as coroutine functions
                    LineTransport(reader, writer),
                    use_unstable_protocol=True,  # fork and close
                    observers=[agent.observe],
                )
            finally:
                await agent.close()
    return 0


async def _open_streams() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return streams over copies of stdin and stdout, so that closing them closes neither."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MAX_MESSAGE)
    protocol = asyncio.StreamReaderProtocol(reader)
    await loop.connect_read_pipe(lambda: protocol, os.fdopen(os.dup(sys.stdin.fileno()), "rb"))
    copy = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    transport, flow = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, copy)
    return reader, asyncio.StreamWriter(transport, flow, None, loop)


def _warn(text: str) -> None:
    print(f"antiphon: {clean(text)}", file=sys.stderr)
