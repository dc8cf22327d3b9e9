"""The SDK's loggers, kept from printing on somebody's screen what a server did wrong."""

from __future__ import annotations

import logging

from antiphon.mcp.metadata import told_line


def hush() -> None:
    """Let the SDK say what it has to say in one line, to our own logger, at debug level.

    It logs what servers do wrong with tracebacks, and where nobody has set logging up, Python
    prints them.
    """
    for name in ("mcp", "client"):  # the latter is what the SDK's session calls its own
        theirs = logging.getLogger(name)
        if not any(isinstance(handler, _Short) for handler in theirs.handlers):
            theirs.addHandler(_Short())
            theirs.propagate = False


class _Short(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _log.debug("%s: %s", record.name, told_line(record.getMessage(), 300))


_log = logging.getLogger(__name__)
