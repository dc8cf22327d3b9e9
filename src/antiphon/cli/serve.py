"""The command that serves the backend until a signal."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from antiphon.cli.flags import CLIENT, LOOKS, WEB, accept_silently
from antiphon.server.serve import serve
from antiphon.server.workers import serve_workers
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.settings import TABLE

OF_BACKEND = (
    "busy_timeout",
    "search_timeout",
    "context_cache",
    "backend_mcp",
    "hosted_tools",
    "webhooks",
    "webhook_hosts",
    "webhook_timeout",
    "max_webhooks",
    "schedules",
    "max_schedules",
    "min_schedule_interval",
    "max_shares",
    "max_share_lifetime",
    "publishing",
    "max_chat_import",
    "documents",
    "document_timeout",
    "max_tool_calls",
    "max_concurrent_runs",
    "workers",
    "stall_timeout",
    "lease_duration",
    "heartbeat_interval",
    "expiry_interval",
    "propagate_trace_to_providers",
    "event_retention",
    "temporary_retention",
    "demo_delay",
    "allowed_origins",
    "max_token_age",
)
"""The settings of a backend that have no effect on the web chat alone."""

ON_THE_LINE = tuple(
    name for name, row in TABLE.items() if row.on_the_line and name not in (*CLIENT, *LOOKS)
)
"""Flags of the commands that serve."""


class Serve:
    """Serve the backend until Ctrl+C or SIGTERM.

    Without a key it answers only this machine; `antiphon keys create` makes the first key.
    --workers starts several processes on one port and one database.
    """

    FLAGS = tuple(name for name in ON_THE_LINE if name not in (*WEB, "allowed_paths"))

    def arguments(self, parser: ArgumentParser, flags: ArgumentParser) -> None:
        """Accept the terminal's settings without effect."""
        accept_silently(parser, LOOKS)

    def run(self, args: Namespace, loaded: LoadedSettings) -> int:
        """Serve; return once runs and streams have ended."""
        if loaded.settings.workers > 1:
            return serve_workers(loaded.settings)
        serve(loaded.settings)
        return 0
