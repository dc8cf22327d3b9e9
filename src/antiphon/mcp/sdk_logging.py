"""Redirection of the SDK's logs: by default it prints servers' mistakes on stderr."""

from __future__ import annotations

import logging

from antiphon.mcp.metadata import clean_line


def quiet_sdk_logging() -> None:
    """Log the SDK's messages as one line each, by our own logger, at debug level.

    The SDK logs servers' mistakes with tracebacks, and Python prints those if logging is not
    configured.
    """
    for name in ("mcp", "client"):  # the latter is what the SDK's session calls its own
        theirs = logging.getLogger(name)
        if not any(isinstance(handler, _OneLineHandler) for handler in theirs.handlers):
            theirs.addHandler(_OneLineHandler())
            theirs.propagate = False


class _OneLineHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _log.debug("%s: %s", record.name, clean_line(record.getMessage(), 300))


_log = logging.getLogger(__name__)
