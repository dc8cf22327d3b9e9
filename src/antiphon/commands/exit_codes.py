"""How a command ends, for the shell or the script that started it."""

from __future__ import annotations

from antiphon.errors import AntiphonError, InvalidRequest

DONE = 0
FAILED = 1
WRONG_USAGE = 2
INCOMPLETE = 3  # cut, stalled, too long, expired; what came is on stdout
REFUSED = 4  # answered, but a tool was refused because nobody could be asked
MISCONFIGURED = 5  # a setting cannot be used, or a key is missing or refused
SERVER_MISSING = 6  # an MCP server that was required did not come up
BY_SIGNAL = 128  # and the signal's number, as shells say it

_OF_SETTINGS = frozenset({"bad_settings", "provider_auth", "unauthorized", "forbidden"})


def of_problem(problem: AntiphonError) -> int:
    """The exit code of a command that ended with this."""
    code = of_fault(problem.code)
    return WRONG_USAGE if code == FAILED and isinstance(problem, InvalidRequest) else code


def of_fault(code: str) -> int:
    """The exit code of a run that failed with this error's code."""
    return MISCONFIGURED if code in _OF_SETTINGS else FAILED
