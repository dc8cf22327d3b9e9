"""Reads the input of a custom tool's call while its arguments arrive.

A custom tool is offered as a function with one string, `{"input": "..."}`. The string is decoded
piece by piece, so that the client sees the text as it is written.
"""

from __future__ import annotations

import json
import re

_OPENING = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_LONGEST_OPENING = 200
_STOP = re.compile(r'["\\]')
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')
_HIGH = re.compile(r"\\u[dD][89abAB]")
_LONE = re.compile("[\ud800-\udfff]")


class CustomInputReader:
    """Decodes the string of the arguments."""

    def __init__(self) -> None:
        self._rest = ""
        self._begun = self._over = False

    def feed(self, arguments: str) -> str:
        """Return the characters of the input that these arguments add."""
        if self._over:
            return ""
        self._rest += arguments
        if not self._begun:
            opening = _OPENING.match(self._rest)
            if opening is None:
                self._over = len(self._rest) > _LONGEST_OPENING
                return ""
            self._begun = True
            self._rest = self._rest[opening.end() :]
        return self._decode()

    def _decode(self) -> str:
        """Decode up to an escape that is cut in two, and keep the rest."""
        rest, place = self._rest, 0
        found: list[str] = []
        while stop := _STOP.search(rest, place):
            found.append(rest[place : stop.start()])
            place = stop.start()
            if stop[0] == '"':
                self._over = True
                place = len(rest)
                break
            end = self._end_of_escape(rest, place)
            if end is None:
                break
            found.append(_LONE.sub("\ufffd", json.loads(f'"{rest[place:end]}"')))
            place = end
        else:
            found.append(rest[place:])
            place = len(rest)
        self._rest = rest[place:]
        return "".join(found)

    def _end_of_escape(self, rest: str, place: int) -> int | None:
        """Return the end of an escape, which may be a pair of surrogates; None if it is cut."""
        escape = _ESCAPE.match(rest, place)
        if escape is None:
            self._over = len(rest) - place >= len("\\u0000")  # no JSON: the whole call will tell
            return None
        if _HIGH.match(escape[0]) is None:
            return escape.end()
        low = _ESCAPE.match(rest, escape.end())
        if low is not None:
            return low.end() if low[0][1] == "u" else escape.end()
        return None if len(rest) - escape.end() < len("\\u0000") else escape.end()
