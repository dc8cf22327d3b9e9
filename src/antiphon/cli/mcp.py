"""MCP servers as tools, and Antiphon as an MCP server.

A server is a command or a URL that `add` writes to your mcp.json; `list` and `test` show the
servers and their state, `login` opens a login page. Files of a folder start servers only once they
are trusted: `antiphon trust`.

`antiphon mcp serve` offers threads and assistants as tools to other programs: over stdin and stdout
to the program that starts it, or with --http to all programs on this machine.
"""

from __future__ import annotations

import hmac
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager, redirect_stdout
from importlib import import_module
from typing import Any

from antiphon.cli import mcp_servers, trust
from antiphon.cli.flags import CLIENT, RUNTIME, run_interruptibly, settings_parser
from antiphon.client.async_client import AsyncClient
from antiphon.ports import LOCAL
from antiphon.runtime.runtime import open_store
from antiphon.server.auth import AccessControl, check_scope
from antiphon.server.limits import RequestQuota
from antiphon.settings.loading import LoadedSettings, refuse_untrusted
from antiphon.settings.settings import Settings
from antiphon.settings.trust import FolderFile
from antiphon.tools.functions import Function, load
from antiphon.types.errors import BadSettings, Forbidden, Unauthorized, install_hint

FLAGS = mcp_servers.FLAGS
OF_SERVE = (*RUNTIME, *CLIENT, "port", "tool_timeout", "max_parallel_tools", "allowed_paths")

Admit = Callable[[MutableMapping[str, Any]], Awaitable[None]]
"""Lets an ASGI request in by its scope, or raises `Unauthorized` or `Forbidden`."""


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the actions and their arguments."""
    actions: Any = parser.add_subparsers(
        dest="action",
        required=True,
        metavar="|".join((*mcp_servers.ACTIONS, "serve")),
        parser_class=mcp_servers.SplitParser,
    )
    mcp_servers.arguments(actions, flags)
    serve = actions.add_parser(
        "serve",
        parents=[settings_parser((*FLAGS, *OF_SERVE))],
        help="offer threads and assistants to other programs",
    )
    serve.set_defaults(flags=OF_SERVE)
    serve.add_argument(
        "--http", action="store_true", help="serve over HTTP on this machine, at --port and /mcp"
    )
    serve.add_argument(
        "--assistants", action="store_true", help="also offer each assistant as a tool"
    )
    serve.add_argument(
        "--tools",
        action="append",
        default=[],
        metavar="MODULE[:FUNCTION]",
        help="a Python function that the model may call, as for `antiphon ask`; can be repeated",
    )


def decide(args: Namespace, file: FolderFile) -> bool:
    """Ignore the file with a note; `serve` needs it trusted."""
    return refuse_untrusted(file) if args.action == "serve" else trust.ignore_file(file)


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Run one action; return the exit code."""
    if args.action != "serve":
        return mcp_servers.run(args, loaded)
    settings = loaded.settings
    serving = _import_mcp("antiphon.mcp.server.server")
    with redirect_stdout(sys.stderr):  # tools may print; stdout carries the protocol
        functions = [function for spec in args.tools for function in load(spec, settings)]
    return run_interruptibly(lambda: _run_server(serving, args, settings, functions))


async def _run_server(
    serving: Any, args: Namespace, settings: Settings, functions: Sequence[Function]
) -> int:
    async with AsyncClient(settings=settings) as client:
        opening = serving.open_handlers(client, settings, functions, each_assistant=args.assistants)
        async with opening as handlers:
            if args.http:
                async with _open_admission(settings) as admit:
                    await serving.serve_http(handlers, settings, admit)
            else:
                await serving.serve_stdio(handlers)
    return 0


@asynccontextmanager
async def _open_admission(settings: Settings) -> AsyncGenerator[Admit]:
    """Yield the check of HTTP requests: a key of this database, once there is one.

    With --server, the key is that of this process for the server.
    """
    if settings.server is not None:
        yield _require_key(settings.api_key)
        return
    async with open_store(settings) as store:
        access = AccessControl(store, was_locked=bool(await store.keys()))
        requests = RequestQuota(store)

        async def admit(scope: MutableMapping[str, Any]) -> None:
            caller = await access.admit(scope)
            check_scope(caller, "write")
            await requests.admit(caller.principal)
            if caller.owner != LOCAL:
                raise Forbidden("The key is another owner's, whose threads are not offered here.")

        yield admit


def _require_key(key: str | None) -> Admit:
    async def admit(scope: MutableMapping[str, Any]) -> None:
        given: bytes = dict(scope["headers"]).get(b"authorization", b"")
        if key is not None and not hmac.compare_digest(given, f"Bearer {key}".encode()):
            raise Unauthorized("This server asks for the key of the server behind it.")

    return admit


def _import_mcp(name: str) -> Any:
    """Import a module of the extra `mcp`. Raises `BadSettings` if it is not installed."""
    try:
        return import_module(name)
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        raise BadSettings("MCP is not installed.", hint=install_hint("mcp")) from missing
