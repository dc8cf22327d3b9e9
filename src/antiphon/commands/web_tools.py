"""The tools of the web chat, as flags."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TypedDict


class Tools(TypedDict):
    """What `antiphon.web` is to load: functions by their names, and MCP servers or none."""

    tools: Sequence[str]
    servers: bool


def tool_arguments(parser: ArgumentParser) -> None:
    """Which tools there are."""
    parser.add_argument(
        "--tools",
        action="append",
        default=[],
        metavar="MODULE[:FUNCTION]",
        help="a Python function that models may call, or all that @tool marks in a module; a path"
        " to a .py file does too; can be repeated; without it there are samples to try",
    )
    parser.add_argument("--no-servers", action="store_true", help="start no MCP server")


def chosen_tools(asked: Namespace) -> Tools:
    """What was asked for."""
    return Tools(tools=asked.tools, servers=not asked.no_servers)
