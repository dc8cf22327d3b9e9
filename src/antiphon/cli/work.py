"""Run the tools of conversations that wait for them, until Ctrl+C or SIGTERM.

A worker claims the pending calls of its tools, whichever run they are of, runs them here, and
submits their outputs; the runs go on without their clients. Any number of workers, on any machines,
share the calls: each call is run by one. If a worker dies, its calls are claimed by others after
--lease seconds.

Tools are Python functions of --tools, and those of the configured MCP servers (`antiphon mcp list`)
or only of --config. There is nobody to approve tools: functions may run, and tools of MCP servers
that --allow, a setting or an earlier "always" of yours allows. --yes allows all that is not denied.

The first Ctrl+C or SIGTERM lets running tools end within --grace seconds, then gives their calls
back; a second one ends the worker at once.

Exit codes: 0 ended by a signal, or nothing left with --until-idle; 1 failed, 2 wrong usage, 5 a
setting cannot be used, or a key is missing or refused.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

from antiphon.cli.ask import RefusalNotes, make_consent, run_servers, wait_for_servers
from antiphon.cli.console import note
from antiphon.cli.flags import CLIENT, RUNTIME, TOOLS, run_interruptibly
from antiphon.client.async_client import AsyncClient
from antiphon.client.tool_worker import LEASE_SECONDS, worker_name
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.settings import Settings
from antiphon.tools.functions import Function
from antiphon.tools.hooks import ToolHooks
from antiphon.tools.tool_events import ToolBegan, ToolEnded, ToolEvent
from antiphon.tools.tool_loading import open_tools
from antiphon.types.errors import InvalidRequest

FLAGS = (
    *RUNTIME,
    *CLIENT,
    *TOOLS,
)
GRACE_SECONDS = 10.0


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the tools, the filters and the times."""
    parser.add_argument(
        "--tools",
        action="append",
        default=[],
        metavar="MODULE[:FUNCTION]",
        help="a Python function to run, or all that @tool marks in a module; a path to a .py file"
        " does too; can be repeated",
    )
    parser.add_argument(
        "--no-mcp", action="store_true", help="start no MCP server; only --tools are run"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="allow every tool not denied")
    parser.add_argument("--name", metavar="NAME", help="the worker's name (default: host:process)")
    parser.add_argument("--thread", metavar="ID", help="only calls of this thread")
    parser.add_argument("--assistant", metavar="ID", help="only calls of this assistant's runs")
    parser.add_argument(
        "--metadata",
        action="append",
        default=[],
        type=_pair,
        metavar="KEY=VALUE",
        help="only calls of runs with this pair in their metadata; can be repeated",
    )
    parser.add_argument(
        "--lease",
        type=partial(_parse_seconds, 1),
        default=LEASE_SECONDS,
        metavar="SECONDS",
        help="after a worker's death its calls are free again so late (default: 30)",
    )
    parser.add_argument(
        "--grace",
        type=partial(_parse_seconds, 0),
        default=GRACE_SECONDS,
        metavar="SECONDS",
        help="time that running tools have at the end (default: 10)",
    )
    parser.add_argument(
        "--until-idle", action="store_true", help="end when no call is pending, for schedulers"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="write only problems to stderr")


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Work until a signal."""
    settings = loaded.settings
    with open_tools(args.tools, settings) as tools:
        if args.no_mcp and not tools:
            raise InvalidRequest("a worker needs tools", expected="--tools, or MCP servers")
        return run_interruptibly(lambda: _work(args, tools, settings))


async def _work(args: Namespace, tools: Sequence[Function], settings: Settings) -> int:
    log = _WorkLog(settings, quiet=args.quiet)
    starting = nullcontext() if args.no_mcp else run_servers(settings)
    async with starting as servers, AsyncClient(settings=settings) as client:
        if servers is not None:
            await wait_for_servers(servers)
        elif not tools:
            raise InvalidRequest(
                "a worker needs tools",
                expected="--tools, or MCP servers",
                hint="`antiphon mcp list` lists your servers.",
            )
        name = args.name or worker_name()
        log.write(f"{name} waits for calls at {settings.server or 'the database of this machine'}")
        try:
            await client.work(
                tools,
                toolbox=servers,
                thread_id=args.thread,
                assistant_id=args.assistant,
                metadata=dict(args.metadata) or None,
                worker=name,
                lease=args.lease,
                consent=make_consent(settings, yes=args.yes),
                hooks=ToolHooks(settings.hooks, warn=lambda text: note(f"antiphon: {text}")),
                on_tool_event=log.on_tool_event,
                max_tools=settings.max_parallel_tools,
                tool_timeout=settings.tool_timeout,
                grace=args.grace,
                until_idle=args.until_idle,
            )
        except asyncio.CancelledError:
            log.write("ended")
    return 0


class _WorkLog:
    """Notes each call and its end on stderr."""

    def __init__(self, settings: Settings, *, quiet: bool) -> None:
        self._quiet = quiet
        self._refusals = RefusalNotes(settings)
        self._names: dict[str, str] = {}

    def write(self, text: str) -> None:
        """Write a line, unless only problems are wanted."""
        if not self._quiet:
            note(f"antiphon: {text}")

    def on_tool_event(self, event: ToolEvent) -> None:
        """Note a call that begins or ends."""
        self._refusals.note(event)
        match event:
            case ToolBegan(call=call):
                self._names[call.id] = call.name
                self.write(f"{call.name} runs ({call.id})")
            case ToolEnded(tool_call_id=id, result=result, seconds=seconds):
                name = self._names.pop(id, "the tool")
                how = f"failed: {result.output[:200]}" if result.is_error else "is done"
                self.write(f"{name} {how} ({id}, {seconds:.1f} s)")
            case _:
                pass


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ArgumentTypeError(f"wanted KEY=VALUE, got {text!r}")
    return key, value


def _parse_seconds(least: int, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not least <= seconds <= 3_600:
        raise ArgumentTypeError(f"wanted seconds from {least} to 3600, got {text!r}")
    return seconds
