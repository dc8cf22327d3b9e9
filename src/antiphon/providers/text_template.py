"""Reads events that differ from an earlier one in their text only, without decoding them.

Nearly all events of a reply are equal but for the text. What surrounds the text is compared as
bytes, and only the text is decoded: equal surroundings have equal meaning.
"""

from __future__ import annotations

import re

import msgspec

MAX_TRIES = 16
"""Templates in a row that no event fits before no other is made: each event of this server differs.

Others change now and then, with the second in which an event was made.
"""

_KEY = re.compile(rb'"content"\s*:\s*"')
_LINE = b"data: "
_END = b"\n\n"


class TextTemplate:
    """The bytes around the text of a reply's events."""

    def __init__(self) -> None:
        self._before = self._after = b""
        self._tries = MAX_TRIES

    def read(self, data: bytes) -> str:
        """Return the text of these events; "" if not all of them are whole and fit."""
        before, after = self._before, self._after
        if not before or not data.endswith(_END):
            return ""
        texts: list[str] = []
        for event in data[: -len(_END)].split(_END):
            text = event[len(before) : -len(after)]
            if not (text and event.startswith(before) and event.endswith(after)):
                return ""
            try:
                texts.append(_decode(b'"%b"' % text))
            except (msgspec.DecodeError, UnicodeDecodeError):
                return ""
        self._tries = MAX_TRIES
        return "".join(texts)

    def learn(self, event: str, text: str) -> None:
        """Use this event as the template; its JSON holds nothing but the text.

        Nothing is learned from an event in which the place of the text is not plain.
        """
        if not self._tries:
            return
        self._tries -= 1
        self._before = b""
        if event.count('"content"') != 1:
            return
        raw = event.encode("utf-8", "surrogateescape")
        key = _KEY.search(raw)
        if key is None:
            return
        inside, _, after = raw[key.end() :].partition(b'"')
        if inside == text.encode("utf-8", "replace") and b"\\" not in inside:
            self._before = _LINE + raw[: key.end()]
            self._after = b'"' + after


_decode = msgspec.json.Decoder(str).decode
