"""MCP servers as tools, and Antiphon as an MCP server.

A server is a command or a URL that `add` writes to your mcp.json; `list` and `test` show the
servers and their state, `login` opens a login page. Files of a folder start servers only once they
are trusted: `antiphon trust`.

`antiphon mcp serve` offers threads and assistants as tools to other programs: over stdin and stdout
to the program that starts it, or with --http to all programs on this machine.
"""

from __future__ import annotations

import hmac
import os
import re
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import ExitStack, asynccontextmanager, redirect_stdout
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from antiphon.cli import trust
from antiphon.cli.console import note, print_list
from antiphon.cli.flags import CLIENT, RUNTIME, Parser, run_interruptibly, settings_parser
from antiphon.cli.mcp_connections import (
    ServerProbe,
    find_and_report,
    log_in,
    log_out,
    probe_servers,
    run_test,
)
from antiphon.client.async_client import AsyncClient
from antiphon.mcp import startup
from antiphon.mcp.config import discovery
from antiphon.mcp.config.server_config import ParsedServer
from antiphon.runtime.embedded_transport import AsyncEmbeddedTransport
from antiphon.runtime.runtime import open_store
from antiphon.server.auth import AccessControl, check_scope
from antiphon.server.limits import RequestQuota
from antiphon.settings.extras import install_hint
from antiphon.settings.loading import LoadedSettings, refuse_untrusted
from antiphon.settings.paths import data_folder
from antiphon.settings.settings import Settings
from antiphon.settings.trust import FolderFile
from antiphon.tools.functions import Function
from antiphon.tools.permissions import revoke_server_grants
from antiphon.tools.tool_loading import open_tools
from antiphon.types.accounts import LOCAL
from antiphon.types.errors import (
    BadSettings,
    Forbidden,
    InvalidRequest,
    Unauthorized,
)

FLAGS = ("config", "private_hosts")
OF_SERVE = (*RUNTIME, *CLIENT, "port", "tool_timeout", "max_parallel_tools", "allowed_paths")

Admit = Callable[[MutableMapping[str, Any]], Awaitable[Any]]
"""Lets an ASGI request in by its scope, or raises `Unauthorized` or `Forbidden`."""


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the actions and their arguments."""
    actions: Any = parser.add_subparsers(
        dest="action",
        required=True,
        metavar="|".join((*ACTIONS, "serve")),
        parser_class=SplitParser,
    )
    _server_arguments(actions, flags)
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
        return ACTIONS[args.action](args, loaded.settings)
    settings = loaded.settings
    serving = _import_mcp("antiphon.mcp.server.server")
    with ExitStack() as stack:
        with redirect_stdout(sys.stderr):  # tools may print; stdout carries the protocol
            functions = stack.enter_context(open_tools(args.tools, settings))
        return run_interruptibly(lambda: _run_server(serving, args, settings, functions))


# The MCP servers that are written down: add and remove, list, trust.


class ServerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A configured server; references in `target` are not resolved, so it holds no secret."""

    name: str
    transport: str
    target: str
    origin: str
    enabled: bool
    problem: str = ""
    ignored: tuple[str, ...] = ()
    state: ServerProbe | None = None


class SplitParser(Parser):
    """Parser that takes all arguments after `--` as a server's command."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Namespace | None = None
    ) -> tuple[Namespace, list[str]]:
        """Parse the arguments before `--`."""
        given = list(sys.argv[1:] if args is None else args)
        namespace = namespace or Namespace()
        at = given.index("--") if "--" in given else len(given)
        if at < len(given):
            namespace.behind = given[at + 1 :]
        return super().parse_known_args(given[:at], namespace)


def _server_arguments(actions: Any, flags: ArgumentParser) -> None:
    """Add the actions on servers that are written down."""
    add = actions.add_parser(
        "add",
        parents=[flags],
        help="add a server to your own mcp.json",
        usage="antiphon mcp add [options] NAME (-- COMMAND ARGS... | --url URL)",
        description="Write a server down in your own mcp.json, or in the file of --config.",
        epilog="Secrets are better referred to than written: ${VAR}, ${keyring:service/name}.",
    )
    add.add_argument("name", metavar="NAME", help="letters, digits, - and _")
    add.add_argument("command", nargs="*", metavar="COMMAND", help="a program and its arguments")
    add.add_argument("--url", help="the URL of a server over HTTP")
    add.add_argument("--sse", action="store_true", help="use the older HTTP with SSE")
    add.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME:VALUE",
        help="a header to send with requests",
    )
    add.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="a variable for the program; without a value, that of the environment at its start",
    )
    add.add_argument("--replace", action="store_true", help="replace a server of that name")
    listing = actions.add_parser("list", parents=[flags], help="list servers and their origins")
    listing.add_argument("--test", action="store_true", help="start each, and show its state")
    listing.add_argument("--json", action="store_true", help="as one JSON list")
    remove = actions.add_parser("remove", parents=[flags], help="remove a server")
    remove.add_argument("name", metavar="NAME")
    test = actions.add_parser(
        "test", parents=[flags], help="start a server, or all, and show what it offers or its error"
    )
    test.add_argument("name", nargs="?", metavar="NAME")
    test.add_argument("--json", action="store_true", help="as one JSON list")
    login = actions.add_parser("login", parents=[flags], help="log in at a server, in a browser")
    login.add_argument("name", metavar="NAME")
    login.add_argument("--no-browser", action="store_true", help="only print the URL")
    logout = actions.add_parser("logout", parents=[flags], help="forget a login")
    logout.add_argument("name", metavar="NAME")
    review = actions.add_parser("trust", parents=[flags], help="as `antiphon trust FILE`")
    review.add_argument("file", metavar="FILE")
    review.add_argument("--yes", action="store_true", help="do not ask")


def _add(args: Namespace, settings: Settings) -> int:
    name: str = args.name
    entry = _config_entry(args)
    discovery.check_entry(name, entry)
    own = discovery.open_own_file(settings, os.environ)
    replaced = own.add(name, entry, replace=args.replace)
    revoke_server_grants(data_folder(os.environ), name)
    note(
        f"antiphon: {name} is {'replaced' if replaced else 'added'} in {own.file};"
        f" antiphon mcp test {name} tries it."
    )
    program = entry.get("command", "")
    words = [program if os.path.dirname(program) else "", *entry.get("args", ())]
    relative = next(filter(_is_relative, words), None)
    if relative is not None:
        note(
            f"antiphon: the server starts in an empty folder, so {relative} leads nowhere."
            " '${PWD}', in single quotes, is the folder in which you start Antiphon."
        )
    _note_missing_extra()
    return 0


def _is_relative(word: str) -> bool:
    """Return whether an argument is a path that begins at the working folder."""
    starts_here = word in (".", "..") or word.startswith(("./", "../", ".\\", "..\\"))
    return starts_here or (not os.path.isabs(word) and os.path.isfile(word))


def _note_missing_extra() -> None:
    if not startup.has_extra():
        note(f"antiphon: MCP servers need an extra to be started. {install_hint('mcp')}")


def _config_entry(args: Namespace) -> dict[str, Any]:
    """Return the server as an entry of `mcpServers` JSON."""
    command = [*args.command, *getattr(args, "behind", ())]
    if bool(command) == bool(args.url):
        raise InvalidRequest(
            "a server is a program or an address",
            expected="-- COMMAND ARGS..., or --url URL",
            hint="antiphon mcp add time -- uvx mcp-server-time",
        )
    if args.url:
        entry: dict[str, Any] = {"type": "sse" if args.sse else "http", "url": args.url}
        if args.header:
            entry["headers"] = dict(_split_pair(each, ":") for each in args.header)
        return entry
    entry = {"command": command[0], "args": command[1:]}
    if args.env:
        entry["env"] = dict(
            _split_pair(each, "=") if "=" in each else (each, f"${{{each}}}") for each in args.env
        )
    return entry


def _split_pair(text: str, between: str) -> tuple[str, str]:
    name, found, value = text.partition(between)
    if not (found and name.strip()):
        raise InvalidRequest("this is no pair", expected=f"NAME{between}VALUE", received=name)
    return name.strip(), value.strip()


def _remove(args: Namespace, settings: Settings) -> int:
    name: str = args.name
    own = discovery.open_own_file(settings, os.environ)
    if (shown := own.remove(name)) is not None:
        revoke_server_grants(data_folder(os.environ), shown)
        note(f"antiphon: {name} is removed from {own.file}.")
        return 0
    written_in = find_and_report(settings).get(name).origin
    raise InvalidRequest(
        f"the server {name} is not in {own.file}", hint=f"it is in {written_in}: change it there."
    )


def _list(args: Namespace, settings: Settings) -> int:
    found = find_and_report(settings)
    results: list[ServerProbe] = []
    code = run_interruptibly(lambda: probe_servers(found, settings, results)) if args.test else 0
    tried = {each.server: each for each in results}
    listed = [_server_row(each, tried.get(each.config.name)) for each in found.servers]
    head = ("name", "transport", "command or url", "from", "state")
    none = "No MCP server is configured; `antiphon mcp add --help` says how."
    print_list(listed, head, _row, none, as_json=args.json)
    if listed and not (args.json or args.test):
        _note_missing_extra()
    return code


def _server_row(server: ParsedServer, tried: ServerProbe | None) -> ServerRow:
    config = server.config
    return ServerRow(
        name=config.name,
        transport=config.transport,
        target=(
            shlex.join((config.command, *config.args))
            if config.transport == "stdio"
            else _PASSWORD.sub(r"\1****@", config.url)
        ),
        origin=server.origin,
        enabled=config.enabled,
        problem=server.problem,
        ignored=server.ignored,
        state=tried,
    )


def _row(each: ServerRow) -> tuple[str, ...]:
    if each.state is not None:
        state = ": ".join(part for part in (each.state.status, each.state.why) if part)
    elif not each.enabled:
        state = "disabled"
    else:
        state = each.problem
    if each.ignored:
        state = f"{state} (means nothing here: {', '.join(each.ignored)})".strip()
    return each.name, each.transport, each.target, each.origin, state


_PASSWORD = re.compile(r"(://)[^/@\s]+@")


ACTIONS: Mapping[str, Callable[[Namespace, Settings], int]] = {
    "add": _add,
    "list": _list,
    "remove": _remove,
    "test": run_test,
    "login": log_in,
    "logout": log_out,
    "trust": lambda args, settings: trust.review_and_trust([Path(args.file)], yes=args.yes),
}


# Antiphon as an MCP server.


async def _run_server(
    serving: Any, args: Namespace, settings: Settings, functions: Sequence[Function]
) -> int:
    async with AsyncClient(settings=settings) as client:
        opening = serving.open_handlers(client, settings, functions, each_assistant=args.assistants)
        async with opening as handlers:
            if args.http:
                async with _open_admission(settings, client, serving.Admission) as admit:
                    await serving.serve_http(handlers, settings, admit)
            else:
                await serving.serve_stdio(handlers)
    return 0


@asynccontextmanager
async def _open_admission(
    settings: Settings, client: AsyncClient, make_admission: Callable[..., Any]
) -> AsyncGenerator[Admit]:
    """Yield the check of HTTP requests: a key of this database, once there is one.

    The client of an admission has the limits of the key. With --server, the key is that of this
    process for the server.
    """
    transport = client.transport
    if not isinstance(transport, AsyncEmbeddedTransport):
        yield _require_key(settings.api_key, make_admission(client, _stand))
        return
    async with open_store(settings) as store:
        access = AccessControl(store, was_locked=bool(await store.keys()))
        requests = RequestQuota(store)

        async def admit(scope: MutableMapping[str, Any]) -> Any:
            caller = await access.admit(scope)
            check_scope(caller, "write")
            await requests.admit(caller.principal)
            if caller.owner != LOCAL:
                raise Forbidden("The key is another owner's, whose threads are not offered here.")
            acting = AsyncClient.over(transport.acting_as(caller.principal))
            return make_admission(acting, partial(access.is_still_admitted, caller))

        yield admit


async def _stand() -> bool:
    """Return that the key of this process stands: the server behind it looks at it."""
    return True


def _require_key(key: str | None, admission: Any) -> Admit:
    async def admit(scope: MutableMapping[str, Any]) -> Any:
        given: bytes = dict(scope["headers"]).get(b"authorization", b"")
        if key is not None and not hmac.compare_digest(given, f"Bearer {key}".encode()):
            raise Unauthorized("This server asks for the key of the server behind it.")
        return admission

    return admit


def _import_mcp(name: str) -> Any:
    """Import a module of the extra `mcp`. Raises `BadSettings` if it is not installed."""
    try:
        return import_module(name)
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        raise BadSettings("MCP is not installed.", hint=install_hint("mcp")) from missing
