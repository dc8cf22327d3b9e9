"""Text that a server sends anew from its beginning each time, cut to what is new.

Who does so is declared with the provider. Of a server that nobody has declared it is believed only
where nothing else can be meant: each piece repeats the whole one before it and adds to that, from
the first of the reply, many times in a row, and what is repeated is longer than any token. A model
may say `ha`, `haha`; but a cut that goes by what the text says would have cut the repetition too,
and one that goes by time does not meet its beginning again and again.
"""

from __future__ import annotations

GROWTHS = 8
LONGEST_TOKEN = 128
"""Characters; vocabularies have runs of blanks and dashes that are as long."""


class Snapshots:
    """Gives of each piece what it adds. `sure` where the server is known to repeat.

    What may be either is held until it is decided. A reply that does not repeat shows that with its
    second piece, so that nothing of it waits; one that happens to begin with a repetition waits for
    the piece that ends it.
    """

    def __init__(self, *, sure: bool) -> None:
        self._sure = sure
        self._plain = False
        self._last = ""
        self._first = ""
        self._held: list[str] = []

    def feed(self, text: str) -> str:
        """What this piece adds, with what was held if that is decided now."""
        if self._plain:
            return text
        last, self._last = self._last, text
        if self._sure:
            return text.removeprefix(last)
        if not last:
            self._first = text
            return text
        if len(text) <= len(last) or not text.startswith(last):
            return self.settle() + text
        self._held.append(text)
        if len(self._held) < GROWTHS or len(last) <= LONGEST_TOKEN:
            return ""
        self._sure = True
        self._held.clear()
        return text.removeprefix(self._first)

    def settle(self) -> str:
        """What is still held, when something else follows: nothing is proved, so it is as it is."""
        if self._sure or not self._last:
            return ""
        self._plain = True
        held, self._held = self._held, []
        return "".join(held)
