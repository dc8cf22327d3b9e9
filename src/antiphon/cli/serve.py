"""Serve the backend until Ctrl+C or SIGTERM.

Without a key it answers only this machine; `antiphon keys create` makes the first key. --workers
starts several processes on one port and one database.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from antiphon.cli.flags import CLIENT, LOOKS, WEB, accept_silently
from antiphon.server.serve import serve
from antiphon.server.workers import serve_workers
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.settings import TABLE

OF_CLIENTS = (*CLIENT, *WEB, "allowed_paths")
FLAGS = tuple(
    name for name, row in TABLE.items() if row.on_the_line and name not in (*OF_CLIENTS, *LOOKS)
)


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Accept the terminal's settings without effect."""
    accept_silently(parser, LOOKS)


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Serve; return once runs and streams have ended."""
    if loaded.settings.workers > 1:
        return serve_workers(loaded.settings)
    serve(loaded.settings)
    return 0
