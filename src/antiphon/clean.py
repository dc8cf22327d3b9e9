"""Foreign text made safe to print: what would act on a terminal is shown instead.

Nothing is removed, so that nobody can hide a thing: an escape sequence appears as the letters it is
made of, behind a picture of its escape character. The store keeps the original.
"""

from __future__ import annotations

from collections.abc import Iterator


class Cleaner:
    """Cleans text that comes in pieces; however it is cut, the pieces joined are the same."""

    def __init__(self) -> None:
        self._after_return = False

    def feed(self, text: str) -> str:
        """The printable form of the next piece."""
        if not text:
            return ""
        # The line was already broken at the CR that ended the piece before.
        fresh = text[1:] if self._after_return and text[0] == "\n" else text
        self._after_return = text[-1] == "\r"
        return clean(fresh)


def clean(text: str) -> str:
    """The printable form of a whole text.

    Line feeds and tabs stay, every other line end becomes a line feed. Other control characters
    become their Unicode pictures or `<U+009B>`, as do characters that reorder or hide text. Joiners
    and variation selectors stay: scripts and emoji need them.
    """
    return text.replace("\r\n", "\n").translate(_SHOWN)


def _shown() -> Iterator[tuple[int, str]]:
    for control in range(0x20):
        yield control, chr(0x2400 + control)  # U+2400 begins the pictures, in the same order
    yield from ((0x7F, "\u2421"), (ord("\n"), "\n"), (ord("\t"), "\t"), (ord("\r"), "\n"))
    for first, last in _HIDDEN:
        yield from ((code, f"<U+{code:04X}>") for code in range(first, last + 1))
    yield from ((code, "\ufffd") for code in range(0xD800, 0xE000))  # lone surrogates: no text


_HIDDEN = (
    (0x80, 0x9F),  # C1 controls: U+009B begins sequences as ESC [ does
    (0x061C, 0x061C),  # Arabic letter mark
    (0x200E, 0x200F),  # left-to-right and right-to-left marks
    (0x2028, 0x202E),  # line and paragraph separators; embeddings and overrides
    (0x2066, 0x206F),  # isolates; deprecated shaping controls
    (0xFEFF, 0xFEFF),  # byte order mark
    (0xFFF9, 0xFFFB),  # interlinear annotation
    (0xE0000, 0xE007F),  # tags: a whole message can be written in them, unseen
)
_SHOWN = dict(_shown())
