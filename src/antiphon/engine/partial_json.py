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


# The value that a beginning already has, for readers who watch it grow.


_MARK = re.compile(r'["{}\[\],:]')
_CUT_ESCAPE = re.compile(r"(\\+)(?:u[0-9a-fA-F]{0,3}|u[dD][89abAB][0-9a-fA-F]{2})?\Z")
"""An escape of which a part may be missing: also the first half of a pair of surrogates."""


def parse_beginning(text: str) -> Any:
    """Return the JSON value of which this is the beginning, without what is not certain yet.

    A string may be cut anywhere; a number, a bare word and a key count once something follows them.
    None if there is no value yet. Raises `ValueError` for a text that is no beginning of JSON, or
    too long or too deep.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH} characters")
    if not text.lstrip().startswith(("{", "[", '"')):
        return None  # a number or a word may go on
    certain = _Beginning().complete(text)
    if not certain:
        return None
    try:
        return msgspec.json.decode(certain)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


class _Beginning:
    """Follows a text to its end; `_certain` is the end of what will not change."""

    def __init__(self) -> None:
        self._closers: list[str] = []  # of the open brackets
        self._at_key = False  # the next string is a key
        self._certain = 0
        self._certain_closers = ""

    def complete(self, text: str) -> str:
        """Return the certain part of the text with all that it lacks; empty if there is none."""
        at = 0
        while (mark := _MARK.search(text, at)) is not None:
            at = mark.end()
            if mark[0] != '"':
                self._take(mark[0], at)
            elif (end := _find_string_end(text, at)) is not None:
                at = end
                if not self._at_key:
                    self._keep(at)
            elif self._at_key:
                break
            else:
                return _close_string(text) + self._all_closers
        return text[: self._certain] + self._certain_closers if self._certain else ""

    def _take(self, mark: str, at: int) -> None:
        match mark:
            case "{" | "[":
                self._closers.append(_CLOSER[mark])
                if len(self._closers) > MAX_DEPTH:
                    raise ValueError(f"more than {MAX_DEPTH} levels deep")
                self._at_key = mark == "{"
                self._keep(at)
            case "}" | "]":
                if not self._closers or self._closers.pop() != mark:
                    raise ValueError("a bracket is closed that is not open")
                self._at_key = False
                self._keep(at)
            case ",":
                self._at_key = self._closers[-1:] == ["}"]
                self._keep(at - 1)
            case _:
                self._at_key = False

    def _keep(self, at: int) -> None:
        self._certain, self._certain_closers = at, self._all_closers

    @property
    def _all_closers(self) -> str:
        return "".join(reversed(self._closers))


def _find_string_end(text: str, at: int) -> int | None:
    while (mark := _INSIDE.search(text, at)) is not None:
        if mark[0] == '"':
            return mark.end()
        at = mark.end() + 1
    return None


def _close_string(text: str) -> str:
    """Return the text with its last string closed, without half an escape at its end."""
    # An even number of backslashes are escaped themselves. Both halves of a pair may have to go.
    while (cut := _CUT_ESCAPE.search(text)) is not None and len(cut[1]) % 2:
        text = text[: cut.end(1) - 1]
    return text + '"'
