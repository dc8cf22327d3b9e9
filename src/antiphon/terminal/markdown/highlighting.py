"""Highlight code line by line, each line read together with those above it.

Pygments keeps no state between calls. Lines above are read again from the last place where no
string or comment was open: an empty line, or the end of a line. A multi-line string that is still
open is coloured as it looks so far.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pygments import lexers
from pygments.lexer import Lexer
from pygments.token import Comment, Keyword, Name, Number, String
from pygments.token import Generic as Patch
from pygments.util import ClassNotFound

from antiphon.terminal.spans import StyledText

WINDOW = 16
"""Lines read again at most while no string or comment is open."""
OPEN_WINDOW = 200
"""Lines read again at most."""
LONGEST = 1_000
"""Characters of the longest line that is coloured."""

_ROLES: dict[object, str] = {
    Comment: "token comment",
    Comment.Preproc: "token decorator",
    Keyword: "token keyword",
    Keyword.Type: "token class",
    Name.Attribute: "token function",
    Name.Builtin: "token builtin",
    Name.Class: "token class",
    Name.Decorator: "token decorator",
    Name.Exception: "token class",
    Name.Function: "token function",
    Name.Tag: "token tag",
    Number: "token number",
    String: "token string",
    Patch.Deleted: "token removed",
    Patch.Inserted: "token added",
    Patch.Heading: "strong",
}


class Highlighter:
    """Highlights the lines of one block; an unknown language stays plain."""

    def __init__(self, language: str) -> None:
        self._lexer = _lexer(language[:40].lower())
        self._above: tuple[str, ...] = ()
        self._closed: tuple[bool, ...] = ()  # no string or comment open at that line's end

    def copy(self) -> Highlighter:
        """Return a copy that continues independently."""
        twin = Highlighter("")
        twin.__dict__.update(self.__dict__)
        return twin

    def line(self, text: str) -> list[StyledText]:
        """Return the next line, coloured."""
        if not self._lexer or len(text) > LONGEST:
            return [StyledText(text)]
        source = "".join(f"{line}\n" for line in (*self._above, text))
        try:
            tokens = list(self._lexer.get_tokens_unprocessed(source))
        except Exception:  # noqa: BLE001 - five hundred lexers by as many authors
            self._lexer = None
            return [StyledText(text)]
        start, spans = len(source) - len(text) - 1, list[StyledText]()
        last: Any = Name
        for at, kind, value in tokens:
            if at + len(value) > start:
                last = kind
                if shown := value[max(0, start - at) :].rstrip("\n"):
                    spans.append(StyledText(shown, _role(kind)))
        self._remember(text, closed=last not in String and last not in Comment.Multiline)
        return spans

    def _remember(self, text: str, *, closed: bool) -> None:
        if closed and not text.strip():
            self._above, self._closed = (), ()
            return
        self._above, self._closed = (*self._above, text), (*self._closed, closed)
        if len(self._above) > WINDOW:
            half = range(WINDOW // 2, len(self._above))
            cut = next((at for at in half if self._closed[at - 1]), 0)
            if len(self._above) > OPEN_WINDOW:
                cut = cut or OPEN_WINDOW // 2
            self._above, self._closed = self._above[cut:], self._closed[cut:]


@lru_cache(maxsize=64)
def _lexer(language: str) -> Lexer | None:
    if not language:
        return None
    try:
        lexer: Lexer = lexers.get_lexer_by_name(language)  # pyright: ignore[reportUnknownMemberType]
    except ClassNotFound:
        return None
    return lexer


@lru_cache(maxsize=512)
def _role(kind: Any) -> str:
    while kind and kind not in _ROLES:
        kind = kind.parent
    return _ROLES.get(kind, "")
