"""What is said beside an answer: lines on stderr."""

from __future__ import annotations

import sys
from contextlib import suppress

from antiphon.clean import clean


def note(text: str) -> None:
    """A line on stderr for whoever watches; foreign words in it cannot act on the terminal."""
    with suppress(OSError):  # an answer is not lost because nobody can be told about it
        print(clean(text), file=sys.stderr, flush=True)
