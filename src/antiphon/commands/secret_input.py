"""A secret is typed without being seen, or comes by stdin; never by the command line."""

from __future__ import annotations

import getpass
import sys

from antiphon.errors import InvalidRequest


def typed(prompt: str, name: str) -> str:
    """What a person types at this prompt. Raises `InvalidRequest` where nobody does."""
    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise InvalidRequest(f"No {name} was typed.", hint="Try again.") from None


def first_line(name: str) -> str:
    """The first line of stdin. Raises `InvalidRequest` where it is no text."""
    try:
        return sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise InvalidRequest(f"The {name} is no text.", expected="text in UTF-8") from None
