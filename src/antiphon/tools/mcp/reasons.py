"""Why a session ended or a request failed, in words that a person and a model can use."""

from __future__ import annotations

from typing import cast

from mcp import MCPError

from antiphon.errors import AntiphonError
from antiphon.tools.mcp.metadata import told_line
from antiphon.tools.mcp.watch import CLOSED, Watch


def reason(watch: Watch, error: BaseException | None) -> str:
    """Why a session ended, in a line: what was seen of the server tells more than the error."""
    if watch.why and watch.why != CLOSED:
        return watch.why
    match _first(error):
        case AntiphonError() as ours:
            return told_line(ours.message, 500)
        case MCPError() as refused:
            said = told_line(refused.message, 300)
            return watch.trouble or f"it refused the connection: {said}"
        case None:
            return watch.trouble or CLOSED
        case other:
            return watch.trouble or f"{type(other).__name__}: {told_line(str(other), 300)}"


def account(watch: Watch, name: str, said: str = "") -> str:
    """What became of a server, and its last words."""
    why = reason(watch, None) if watch.over.is_set() else said
    return f"The server {name} is gone: {why}.{last_words(watch.stderr)}"


def last_words(stderr: tuple[str, ...]) -> str:
    """The end of what a server wrote to its stderr, as the end of a message."""
    tail = "\n".join(stderr[-5:])
    return f" Its stderr:\n{tail}\n" if tail else ""


def in_words(error: BaseException) -> str:
    """An error of the SDK, in a line."""
    return told_line(str(_first(error)), 500) or type(error).__name__


def _first(error: BaseException | None) -> BaseException | None:
    """The first cause in a group of them, which is what the SDK's task groups raise."""
    while isinstance(error, BaseExceptionGroup):
        error = cast(BaseExceptionGroup[BaseException], error).exceptions[0]
    return error
