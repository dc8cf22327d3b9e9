"""What stands behind the name of a command, parted as a shell would part it."""

from __future__ import annotations

import shlex

from antiphon.errors import InvalidRequest


def parted(words: str, example: str) -> list[str]:
    """The words, without their quotes. Raises `InvalidRequest`, with an example of a right one."""
    try:
        return shlex.split(words)
    except ValueError as error:
        raise InvalidRequest(
            "A quote has no end", hint=f"{example} keeps words together."
        ) from error
