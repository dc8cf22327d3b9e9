"""Parsers of reasoning tags, of tool calls in text, and of cumulative text.

Used only for servers whose quirks declare them; elsewhere a tag is text. Pieces may be cut
anywhere: the possible beginning of a tag is held back.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from antiphon.engine.partial_json import Shape
from antiphon.types.chunks import CallPiece, ReasoningPiece, TextPiece

Piece = TextPiece | ReasoningPiece


class ThinkTagParser:
    """Separates reasoning in think tags from text. Only a tag at the reply's beginning counts.

    With `prefilled`, the prompt's template has opened the tag: the reply begins with reasoning, and
    the opening tag may be missing. `unclosed` is then the reasoning so far: without a closing tag
    it may be the answer.
    """

    def __init__(self, *, prefilled: bool = False) -> None:
        self._kind: type[Piece] | None = None
        self._held = ""
        self._prefilled = prefilled
        self._unclosed: list[str] = []

    @property
    def unclosed(self) -> str:
        """The text of a prefilled reply before a closing tag."""
        return "".join(self._unclosed)

    def feed(self, text: str) -> Iterator[tuple[type[Piece], str]]:
        """Yield the parts of the text with their kinds."""
        text, self._held = self._held + text, ""
        if self._kind is None:
            begin = text.lstrip()
            if len(begin) < len(_THINK) and _THINK.startswith(begin) and len(text) < _MAX_BLANK:
                self._held = text
                return
            opened = begin.startswith(_THINK)
            self._kind = ReasoningPiece if opened or self._prefilled else TextPiece
            text = begin.removeprefix(_THINK) if opened else text
        if self._kind is ReasoningPiece:
            thought, closed, text = text.partition(_END_THINK)
            if not closed:
                self._held = _overlap(thought, _END_THINK)
                thought = thought[: len(thought) - len(self._held)]
                if self._prefilled:
                    self._unclosed.append(thought)
            else:
                self._kind = TextPiece
                self._unclosed.clear()
            yield ReasoningPiece, thought
        yield TextPiece, text

    def close(self) -> Iterator[tuple[type[Piece], str]]:
        """Yield the text that was held back, at the end of the reply."""
        text, self._held = self._held, ""
        kind = self._kind or (ReasoningPiece if self._prefilled else TextPiece)
        if kind is ReasoningPiece and self._prefilled:
            self._unclosed.append(text)
        yield kind, text

    def leave(self) -> None:
        """End the reasoning without a closing tag: what follows is text."""
        self._kind = TextPiece
        self._unclosed.clear()


class LeakedCallParser:
    """Finds `<tool_call>{"name": ..., "arguments": {...}}</tool_call>` in text.

    A tag without an object after it is text. An object that cannot be parsed becomes a call without
    a name, which is reported as broken: the model meant a call, so it must not appear as text.
    Whitespace between calls is dropped.
    """

    def __init__(self) -> None:
        self._held: str = ""
        self._gap: str | None = ""
        self._body: list[str] | None = None
        self._shape = Shape()
        self._count = 0

    def feed(self, text: str) -> Iterator[str | CallPiece]:
        """Yield text and complete calls in order."""
        self._held += text
        more = True
        while more:
            if self._body is None:
                plain, more = self._read_text()
                if plain := self._without_gap(plain):
                    yield plain
            else:
                body, more = self._read_body(self._body)
                if body is not None:
                    yield self._call(body)

    def close(self) -> Iterator[str | CallPiece]:
        """Yield the text or call that was held back; a call may lack its closing tag."""
        text, self._held = self._held, ""
        if self._body is not None:
            yield self._call("".join([*self._body, text]))
        elif plain := self._without_gap(text):
            yield plain
        elif self._gap and not self._count:
            yield self._gap
            self._gap = None

    def _read_text(self) -> tuple[str, bool]:
        """Return the text before a call, and True if there is more to parse."""
        text, tag, rest = self._held.partition(_CALL)
        if not tag:
            self._held = _overlap(text, _CALL)
            return text[: len(text) - len(self._held)], False
        body = rest.lstrip()
        if not body and len(rest) < _MAX_BLANK:
            self._held = tag + rest
            return text, False
        if not body.startswith("{"):
            self._held = rest
            return text + tag, True
        self._held, self._body, self._shape = body, [], Shape()
        return text, True

    def _read_body(self, body: list[str]) -> tuple[str | None, bool]:
        """Return the object once its tag is closed, and True if there is more to parse.

        A closing tag inside a string of the object does not close it.
        """
        text, tag, rest = self._held.partition(_END_CALL)
        if not tag:
            rest = _overlap(text, _END_CALL)
            text = text[: len(text) - len(rest)]
        body.append(text)
        self._shape.feed(text)
        self._held = rest
        if not tag:
            return None, False
        if self._shape.quoted:
            body.append(tag)
            self._shape.feed(tag)
            return None, True
        return "".join(body), True

    def _call(self, body: str) -> CallPiece:
        self._body, self._gap = None, ""
        self._count += 1
        # U+FFFD may replace lost bytes. JSON rejects SUBSTITUTE, so that such a call is broken.
        return _read(body.replace("\ufffd", "\x1a"), self._count - 1)

    def _without_gap(self, text: str) -> str:
        """Return the text with held whitespace before it; hold it while it is only whitespace."""
        if self._gap is None:
            return text
        text, self._gap = self._gap + text, None
        if not text.strip() and len(text) < _MAX_BLANK:
            self._gap, text = text, ""
        return text


class _LeakedCall(msgspec.Struct):
    name: str
    arguments: msgspec.Raw = msgspec.Raw()
    parameters: msgspec.Raw = msgspec.Raw()


def _read(body: str, index: int) -> CallPiece:
    try:
        decoded = _decode(body)
        arguments = _text(bytes(decoded.arguments or decoded.parameters))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return CallPiece(index=index, arguments=body, leaked=True)
    return CallPiece(index=index, name=decoded.name or None, arguments=arguments, leaked=True)


def _text(arguments: bytes) -> str:
    """Return the arguments as JSON text: an object in compact form, or a string's content."""
    if not arguments:
        return ""
    if arguments.startswith(b'"'):
        return msgspec.json.decode(arguments, type=str)
    return msgspec.json.format(arguments, indent=-1).decode()


def _overlap(text: str, tag: str) -> str:
    """Return the longest end of the text that may be the beginning of the tag."""
    ends = (text[-length:] for length in range(min(len(tag) - 1, len(text)), 0, -1))
    return next((end for end in ends if tag.startswith(end)), "")


_decode = msgspec.json.Decoder(_LeakedCall).decode
_MAX_BLANK = 1_000  # characters of whitespace that are held; they are scanned with each piece
_THINK, _END_THINK = "<think>", "</think>"
_CALL, _END_CALL = "<tool_call>", "</tool_call>"


# Cumulative text: some servers send the whole text so far with each piece.


GROWTHS = 8  # pieces in a row that extend the one before: then the text is cumulative
LONGEST_TOKEN = 128
"""Characters in one token: vocabularies have runs of blanks and dashes of this length."""


class CumulativeText:
    """Reduces each piece to its new text. `sure` if the server is known to send cumulative text.

    Ambiguous text is held until it is decided. The second piece of a usual reply decides at once,
    so that none of it waits; if that piece happens to extend the first, the text is held until a
    piece does not. `plain` is true once the text is known not to be cumulative.
    """

    def __init__(self, *, sure: bool) -> None:
        self.plain = False
        self._sure = sure
        self._last = ""
        self._first = ""
        self._held: list[str] = []

    def feed(self, text: str) -> str:
        """Return the new text of this piece, after held text that is decided now."""
        if self.plain:
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
        """Return the held text as plain text, because another kind of piece follows."""
        if self._sure or not self._last:
            return ""
        self.plain = True
        pieces, self._held = self._held, []
        return "".join(pieces)
