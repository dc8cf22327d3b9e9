"""JSON objects that arrive in pieces: completeness, missing closers, parsing."""

from __future__ import annotations

import re
from typing import Any

import msgspec

MAX_LENGTH = 4_000_000
MAX_DEPTH = 128

_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'["\\]')
_CLOSER = {"{": "}", "[": "]"}
_SHOW_THEIR_END = frozenset('"}]el')
"""Last characters of a string, an object, an array, `true`, `false` and `null`."""


class Shape:
    """The brackets and quotes of a JSON text, followed piece by piece in linear time."""

    __slots__ = ("_bent", "_escaped", "_open", "quoted", "too_deep", "whole")

    def __init__(self, text: str = "") -> None:
        self.whole = False
        self.too_deep = False
        self._open: list[str] = []
        self.quoted = False
        self._escaped = False
        self._bent = False
        self.feed(text)

    def feed(self, text: str) -> None:
        """Read the next piece. `whole` is true from the last bracket of the first value on."""
        at = 0
        while at < len(text) and not self.too_deep:
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            mark = (_INSIDE if self.quoted else _OUTSIDE).search(text, at)
            if mark is None:
                return
            at = mark.end()
            self._take(mark[0])

    @property
    def closers(self) -> str:
        """The closers of all open brackets; empty inside a string, where they would be a guess."""
        guesswork = self.quoted or self._bent or self.too_deep or self.whole
        return "" if guesswork else "".join(reversed(self._open))

    def _take(self, mark: str) -> None:
        match mark:
            case "\\":
                self._escaped = True
            case '"':
                self.quoted = not self.quoted
            case "{" | "[":
                self._open.append(_CLOSER[mark])
                self.too_deep = len(self._open) > MAX_DEPTH
            case _:
                self._bent |= not self._open or self._open.pop() != mark
                self.whole |= not self._open


def parse(text: str) -> dict[str, Any]:
    """Return the object in this text. Raises `ValueError` with the reason.

    Size and depth are checked first, because the decoder recurses. It rejects `NaN`, `Infinity`,
    numbers too large for a float or of more than 4,300 digits, and escapes of lone surrogates; of
    duplicate keys the last one counts.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH} characters")
    if Shape(text).too_deep:
        raise ValueError(f"more than {MAX_DEPTH} levels deep")
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from error


def missing_closers(text: str) -> str:
    """Return the closing brackets that the text lacks; empty if it may lack more than those.

    A text that ends in a number, a bare word or inside a string may have lost a part of that too,
    and a text that ends after an opening bracket, a comma or a colon has lost a value.
    """
    if text.rstrip()[-1:] not in _SHOW_THEIR_END:
        return ""
    return Shape(text).closers


_decode = msgspec.json.Decoder(dict[str, Any]).decode
