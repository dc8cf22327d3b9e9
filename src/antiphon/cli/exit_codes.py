"""Exit codes of the commands."""

from __future__ import annotations

from collections.abc import Mapping

from antiphon.types.errors import (
    AntiphonError,
    InvalidRequest,
    RunExpired,
    RunFailed,
    RunIncomplete,
)

DONE = 0
FAILED = 1
WRONG_USAGE = 2
INCOMPLETE = 3  # cut, stalled, too long, expired; what came is on stdout
REFUSED = 4  # answered, but a tool was refused because nobody could be asked
MISCONFIGURED = 5  # a setting cannot be used, or a key is missing or refused
SERVER_MISSING = 6  # an MCP server that was required did not come up
BY_SIGNAL = 128  # and the signal's number, as shells say it

MEANINGS: Mapping[int, tuple[str, str]] = {
    DONE: ("all", "done; `ask`, `chat -p`, and `chat` in a pipe: answered"),
    FAILED: (
        "all",
        "failed: the provider, the runtime, the disk, or no such thing; `doctor`: something is "
        "broken; `models`: a provider does not answer; `mcp test`, `mcp login`: a server is not "
        "ready",
    ),
    WRONG_USAGE: ("all", "wrong usage, or a file that cannot be sent"),
    INCOMPLETE: (
        "`ask`, `chat -p`, `chat` in a pipe",
        "incomplete: cut, stalled, too long, expired; what came is on stdout",
    ),
    REFUSED: (
        "`ask`, `chat -p`",
        "answered, but a tool was refused because nobody could be asked",
    ),
    MISCONFIGURED: ("all", "a setting cannot be used, or a key is missing or refused"),
    SERVER_MISSING: ("`ask`, `chat -p`", "a server of `--require` is not there"),
    BY_SIGNAL + 1: (
        "`chat`, `ask`, `mcp`",
        "its terminal was closed (SIGHUP); `ask` cancels the run",
    ),
    BY_SIGNAL + 2: ("all", "interrupted (SIGINT); `ask` and `chat -p` cancel the run"),
    BY_SIGNAL + 13: (
        "all",
        "the reader of stdout has left, as `head` does (SIGPIPE); nothing is said about it, and "
        "`ask` cancels the run",
    ),
    BY_SIGNAL + 15: ("`chat`, `ask`, `mcp`", "terminated (SIGTERM); `ask` cancels the run"),
}
"""Every exit code: the commands that end with it, and what it says.

`serve`, `up` and `web` end with 0 where a signal ends them in order.
"""

_OF_SETTINGS = frozenset({"bad_settings", "provider_auth", "unauthorized", "forbidden"})


def code_for_error(problem: AntiphonError) -> int:
    """Return the exit code of a command that ended with this error."""
    code = code_for_fault(problem.code)
    return WRONG_USAGE if code == FAILED and isinstance(problem, InvalidRequest) else code


def code_for_failure(error: AntiphonError | None) -> int:
    """Return the exit code for the last error of a session; 0 without one."""
    match error:
        case None:
            return DONE
        case RunFailed():
            return code_for_fault(error.error_code)
        case RunIncomplete() | RunExpired():
            return INCOMPLETE
        case _:
            return code_for_error(error)


def code_for_fault(code: str) -> int:
    """Return the exit code for the error code of a failed run."""
    return MISCONFIGURED if code in _OF_SETTINGS else FAILED
