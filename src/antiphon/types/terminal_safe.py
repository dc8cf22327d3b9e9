"""Make foreign text safe to print on a terminal: show or remove what would control it.

One table lists the characters with effects; the place of the text decides what happens to them. A
notice hides nothing: an escape sequence is shown as its letters, after a picture of the escape
character. Prose and code lose whole sequences; approvals show even joiners. The store keeps the
original.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Literal

Place = Literal["notice", "prose", "code", "source", "approval"]
"""Use of a text.

`notice`: errors, tables, names; nothing is removed. `prose`: text of a model; sequences and
direction controls are removed. `code`: like prose, but direction controls are shown. `source`: text
that may become either; direction controls stay, so it is cleaned again before it is drawn.
`approval`: nothing is removed, and joiners are shown too.
"""

LONGEST_SEQUENCE = 4096
"""Maximum length of a sequence; longer text is shown as text."""


class Cleaner:
    """Cleans text in pieces; the joined result does not depend on where the text is cut.

    In prose and code, a possible beginning of a sequence is held back until the next piece;
    `close` returns it.
    """

    def __init__(self, place: Place = "notice") -> None:
        self._place: Place = place
        self._sequences = place in _WITHOUT_SEQUENCES
        self._held = ""
        self._after_return = False

    def feed(self, text: str) -> str:
        """Return the printable form of the next piece."""
        if not (text and (self._held or self._after_return or _ODD.search(text))):
            return text
        return self._clean(self._held + text, ended=False)

    def close(self) -> str:
        """Return the held-back text; do not call `feed` afterwards."""
        return self._clean(self._held, ended=True)

    def _clean(self, text: str, *, ended: bool) -> str:
        self._held = ""
        if self._after_return and text:
            # The line was already broken at the CR that ended the piece before.
            text = text.removeprefix("\n")
            self._after_return = False
        if self._sequences:
            if not ended and (begun := _BEGUN.search(text)):
                text, self._held = text[: begun.start()], begun[0]
            kept = _SEQUENCE.split(text)
        else:
            kept = [text]
        self._after_return = kept[-1].endswith("\r")
        return "".join(part.replace("\r\n", "\n").translate(_table(self._place)) for part in kept)


def clean(text: str, place: Place = "notice") -> str:
    """Return the printable form of a whole text.

    Line feeds and tabs stay, every other line end becomes a line feed. Other control characters
    become their Unicode pictures or `<U+009B>`; joiners and variation selectors stay, because
    scripts and emoji need them, except in approvals.
    """
    if not _ODD.search(text):
        return text
    cleaner = Cleaner(place)
    return cleaner.feed(text) + cleaner.close()


def one_line(text: str, place: Place = "notice") -> str:
    """Return the printable form of a text on one line, for names, titles and table cells."""
    return " ".join(clean(text, place).split())


def json_text(encoded: bytes) -> str:
    """Return JSON text of the same meaning that has no effect on a terminal or on text direction.

    Such characters are escaped; encoders escape only the control characters of ASCII.
    """
    return _IN_JSON.sub(lambda found: _escape(ord(found[0])), encoded.decode())


def _escape(code: int) -> str:
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    return f"\\u{0xD7C0 + (code >> 10):04x}\\u{0xDC00 | code & 0x3FF:04x}"


_C1 = ((0x80, 0x9F),)  # U+009B begins sequences as ESC [ does
_DIRECTION = (
    (0x061C, 0x061C),  # Arabic letter mark
    (0x200E, 0x200F),  # left-to-right and right-to-left marks
    (0x202A, 0x202E),  # embeddings and overrides
    (0x2066, 0x206F),  # isolates; deprecated shaping controls
)
_BREAKS = ((0x2028, 0x2029),)  # line and paragraph separators
_UNSEEN = (
    (0xFDD0, 0xFDEF),  # no characters, which some fonts draw as nothing
    (0xFEFF, 0xFEFF),  # byte order mark
    (0xFFF0, 0xFFFB),  # reserved and ignored; interlinear annotation
    *((plane | 0xFFFE, plane | 0xFFFF) for plane in range(0, 0x110000, 0x10000)),  # no characters
    (0xE0000, 0xE00FF),  # tags: a whole message can be written in them, unseen; reserved
    (0xE01F0, 0xE0FFF),  # reserved and ignored
)
_JOINERS = (
    (0x00AD, 0x00AD),  # soft hyphen
    (0x034F, 0x034F),  # grapheme joiner
    (0x115F, 0x1160),  # Hangul fillers, which are blanks to the eye
    (0x17B4, 0x17B5),  # Khmer vowels that are not seen
    (0x180B, 0x180F),  # Mongolian selectors
    (0x200B, 0x200D),  # zero-width space, non-joiner, joiner
    (0x2060, 0x2065),  # word joiner, invisible operators
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFFA0, 0xFFA0),
    (0x13430, 0x13440),  # Egyptian format controls
    (0x16FE4, 0x16FE4),  # Khitan filler
    (0x1BCA0, 0x1BCA3),  # shorthand format controls
    (0x1D159, 0x1D159),  # a note without a head
    (0x1D173, 0x1D17A),  # musical format controls
    (0xE0100, 0xE01EF),
)
"""Characters that scripts, signs and emoji need; they stay, except in approvals."""

Ranges = tuple[tuple[int, int], ...]


def _codes(ranges: Ranges) -> Iterator[int]:
    for first, last in ranges:
        yield from range(first, last + 1)


_SHOWN_AND_REMOVED: dict[Place, tuple[Ranges, Ranges]] = {
    "notice": (_DIRECTION + _UNSEEN, ()),
    "prose": ((), _DIRECTION + _UNSEEN),
    "code": (_DIRECTION, _UNSEEN),
    "source": ((), _UNSEEN),
    "approval": (_DIRECTION + _UNSEEN + _JOINERS, ()),
}


@cache
def _table(place: Place) -> dict[int, str]:
    """Return the replacements in a place.

    Made when they are first needed: a process that meets no such character saves some megabytes.
    """
    shown, removed = _SHOWN_AND_REMOVED[place]
    # U+2400 begins the pictures of control characters, in the same order.
    table = {control: chr(0x2400 + control) for control in range(0x20)}
    table |= {0x7F: "\u2421", ord("\n"): "\n", ord("\t"): "\t", ord("\r"): "\n"}
    table |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")  # lone surrogates: no text
    table |= {code: f"<U+{code:04X}>" for code in _codes(_C1 + _BREAKS + shown)}
    return table | dict.fromkeys(_codes(removed), "")


_WITHOUT_SEQUENCES: frozenset[Place] = frozenset({"prose", "code", "source"})


def _members(ranges: Ranges) -> str:
    """Return the inside of a character class that matches these ranges."""
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


HIDING = _members(_C1 + _DIRECTION + _BREAKS + _UNSEEN)
"""Inside of a regular expression's character class: characters that turn or hide text."""

INVISIBLE = HIDING + _members(_JOINERS)
"""`HIDING`, and invisible characters that some scripts need: all that an approval spells out,
besides ASCII controls. It includes Unicode's default ignorable code points."""

_ODD = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff{INVISIBLE}]")
"""Characters whose form depends on the place."""

_IN_JSON = re.compile(rf"[\x7f{HIDING}]")

_CONTROL = r"(?:\x1b\[|\x9b)[0-?]{0,%d}[ -/]{0,%d}"
_STRING = r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x90\x98\x9b-\x9f]{0,%d}"
_SHORT = r"\x1b[ -/]{0,%d}"
_PARTS = tuple(part.replace("%d", str(LONGEST_SEQUENCE)) for part in (_CONTROL, _STRING, _SHORT))
_SEQUENCE = re.compile("{}[@-~]|{}(?:\x07|\x1b\\\\|\x9c)|{}(?![\\[\\]PX^_])[0-~]".format(*_PARTS))
"""A whole sequence: a control sequence, a string with an end that xterm accepts, a short escape."""

_BEGUN = re.compile(r"(?:{}|{}\x1b?|{})\Z".format(*_PARTS))
"""A possible beginning of a sequence."""
