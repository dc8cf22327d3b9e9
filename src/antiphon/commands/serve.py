"""Serve the backend until Ctrl+C or SIGTERM.

Without a key it answers this machine only; `antiphon keys create` makes the first one.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from antiphon.commands.usage import CLIENT, WEB
from antiphon.server.serve import serve
from antiphon.settings import TABLE, Loaded

OF_CLIENTS = (*CLIENT, *WEB, "tool_timeout", "max_tools", "roots", "private_hosts")
FLAGS = tuple(name for name, row in TABLE.items() if row.on_the_line and name not in OF_CLIENTS)


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Settings are all there is."""


def run(asked: Namespace, loaded: Loaded) -> int:
    """Returns once runs and streams have ended."""
    serve(loaded.settings)
    return 0
