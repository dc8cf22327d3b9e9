"""The seam between an answer that was cut and its rest, which a later reply writes.

No provider reliably continues a message of its own: some refuse, others begin again. So the model
is asked to repeat the last words and to continue from there, and `Seam` removes what it repeats.
The repetition also shows whether a word was cut, which spaces belong at the seam, and whether the
model began a little earlier.
"""

from __future__ import annotations

import re

WINDOW = 600
"""Characters at the end of the cut text in which a repetition is looked for."""
LAST_WORDS = 80
"""Characters that the model is asked to repeat; a word that begins before them is added."""
SHORTEST = 8
"""Least characters, without blanks, of a repetition; of a shorter cut text all of it."""

_BLANKS = re.compile(r"\s+")
_REST_PROMPT = re.compile(
    r"Your last answer was cut off .*?<last_words>(.*?)</last_words>\n\nWrite the rest", re.DOTALL
)


def make_rest_prompt(text: str) -> str:
    """Return the message that asks a model for the rest of an answer that ends with this text."""
    return (
        "Your last answer was cut off before its end. Its last words are:\n\n"
        f"<last_words>{_last_words(text)}</last_words>\n\n"
        "Write the rest of this answer. Begin by repeating exactly these last words, without the "
        "tags, so that both parts can be joined there, and go on from them: in the same language "
        "and format, inside the same list, table or code block. Do not begin again, and say "
        "nothing about the interruption."
    )


def find_quoted_words(message: str) -> str | None:
    """Return the last words that a `make_rest_prompt` quotes; None for any other message."""
    found = _REST_PROMPT.match(message)
    return found[1] if found else None


class Seam:
    """Removes the repeated words from the beginning of the rest; blanks are not compared.

    Text is held back as long as all of it may be a repetition.
    """

    def __init__(self, text: str) -> None:
        self._end = _squeeze(text[-WINDOW:])
        self._last_words = _squeeze(_last_words(text))
        self._ends_blank = text[-1:].isspace()
        self._held = ""
        self._open = bool(self._end)

    @property
    def is_holding(self) -> bool:
        """True while text is held back."""
        return bool(self._held)

    def feed(self, text: str) -> str:
        """Return the part of the text that is certainly new."""
        if not self._open:
            return text
        self._held += text
        return "" if _squeeze(self._held) in self._end else self.close()

    def close(self) -> str:
        """Return the new part of the text that is held back; all later text is new."""
        held, self._held, self._open = self._held, "", False
        repeated = self._count_repeated(_squeeze(held))
        if not repeated:
            return held
        at = 0
        while repeated:
            repeated -= not held[at].isspace()
            at += 1
        return held[at:].lstrip() if self._ends_blank else held[at:]

    def _count_repeated(self, text: str) -> int:
        """Return how many characters at the beginning of the text repeat the end of the cut text.

        The last words that were asked for count first, then the longest repetition: where lines are
        alike, the longest one would take new lines for a repetition.
        """
        if self._last_words and text.startswith(self._last_words):
            return len(self._last_words)
        shortest = min(SHORTEST, len(self._end))
        for length in range(min(len(text), len(self._end)), shortest - 1, -1):
            if self._end.endswith(text[:length]):
                return length
        return 0


def _last_words(text: str) -> str:
    """Return the end of the text, from the beginning of a word on, for a model to repeat."""
    begin = max(0, len(text.rstrip()) - LAST_WORDS)
    while begin > 0 and not text[begin - 1].isspace() and len(text) - begin < 2 * LAST_WORDS:
        begin -= 1
    return text[begin:].rstrip()


def _squeeze(text: str) -> str:
    return _BLANKS.sub("", text)
