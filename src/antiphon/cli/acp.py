"""Serve an editor over stdin and stdout, by the Agent Client Protocol (ACP), version 1.

Zed, JetBrains, Neovim and others start this command as an agent; it is no use by hand. Sessions are
threads, so a session can be loaded again later, here or in any other face. The configured MCP
servers (`antiphon mcp list`, or only those of --config) and those that the editor passes on are
started for each session. The editor asks its user before a tool of a server runs.

A settings file of the working folder counts only if it is trusted (`antiphon trust`).
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from importlib import import_module

from antiphon.cli.console import note
from antiphon.cli.flags import CLIENT, RUNTIME, TOOLS, run_interruptibly
from antiphon.cli.question import run_options, tool_arguments
from antiphon.settings.extras import install_hint
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.trust import FolderFile
from antiphon.tools import builtin
from antiphon.tools.todos import write_todos
from antiphon.tools.tool_loading import open_tools
from antiphon.types.errors import BadSettings, InvalidRequest
from antiphon.types.terminal_safe import one_line

FLAGS = (*RUNTIME, *CLIENT, *TOOLS)


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the tools, and which of them run without a question."""
    tool_arguments(parser)


def decide(args: Namespace, file: FolderFile) -> bool:
    """Leave an untrusted settings file out: the folder is that of the editor's project."""
    note(f"antiphon: {one_line(str(file.path))} is not trusted and not used: see `antiphon trust`")
    return False


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Serve until the editor closes stdin."""
    try:
        serve = import_module("antiphon.acp.serve")
    except ModuleNotFoundError as missing:
        if missing.name != "acp":
            raise
        raise BadSettings(
            "The Agent Client Protocol needs a library.", hint=install_hint("acp")
        ) from missing
    if args.no_tools and args.tools:
        raise InvalidRequest("--no-tools and --tools exclude each other", hint="leave one out.")
    with open_tools(args.tools, loaded.settings) as functions:
        if builtin.__name__ in args.tools and write_todos not in functions:
            functions.append(write_todos)  # the editor shows the list as a plan
        return run_interruptibly(
            lambda: serve.serve_stdio(
                loaded.settings,
                functions,
                run_options(args),
                allow_all=args.yes,
                with_servers=not args.no_tools,
            )
        )
