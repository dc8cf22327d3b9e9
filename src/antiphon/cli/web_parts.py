"""The web chat, which needs an extra and is loaded only when it is used."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, TypedDict, cast

from antiphon.types.errors import BadSettings, install_hint

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from antiphon.web.bridge import Bridge

    Chat = Callable[..., AbstractAsyncContextManager[Bridge]]


def load_web_chat() -> Chat:
    """Return `antiphon.web.app.open_asgi_app`. Raises `BadSettings` without the extra."""
    try:
        return cast("Chat", import_module("antiphon.web.app").open_asgi_app)
    except ModuleNotFoundError as missing:
        raise BadSettings(
            f"the web chat needs {missing.name}, which is not installed",
            expected="the extra `web`",
            hint=install_hint("web"),
        ) from missing


# The tools of the web chat, as flags.


class Tools(TypedDict):
    """Options of `antiphon.web`: names of functions, and whether MCP servers are started."""

    tools: Sequence[str]
    servers: bool


def tool_arguments(parser: ArgumentParser) -> None:
    """Add the flags of tools."""
    parser.add_argument(
        "--tools",
        action="append",
        default=[],
        metavar="MODULE[:FUNCTION]",
        help="a Python function that models may call, or all that @tool marks in a module; a path"
        " to a .py file does too; can be repeated; without it there are samples to try",
    )
    parser.add_argument("--no-servers", action="store_true", help="start no MCP server")


def tool_options(asked: Namespace) -> Tools:
    """Return the options of these flags."""
    return Tools(tools=asked.tools, servers=not asked.no_servers)
