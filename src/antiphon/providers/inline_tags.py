"""Parsers of inline tags: reasoning, tool calls, and text that repeats itself.

Used only for providers that declare them: from others a tag is text. Pieces may be cut anywhere;
the possible beginning of a tag is held back.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from antiphon.engine.partial_json import Shape
from antiphon.types.chunks import CallPiece, ReasoningPiece, TextPiece

Piece = TextPiece | ReasoningPiece


class ThinkTagParser:
    """Separates reasoning in think tags from text. Only tags that begin the reply count.

    With `prefilled` the prompt's template has opened the thought: the reply begins within it, and
    the opening tag may be missing. `unclosed` is then the reasoning so far, which may have been the
    answer if no closing tag comes.
    """

    def __init__(self, *, prefilled: bool = False) -> None:
        self._kind: type[Piece] | None = None
        self._held = ""
        self._prefilled = prefilled
        self._unclosed: list[str] = []

    @property
    def unclosed(self) -> str:
        """The text of a reply that was taken for a thought and never left it."""
        return "".join(self._unclosed)

    def feed(self, text: str) -> Iterator[tuple[type[Piece], str]]:
        """The text's parts, by what they are."""
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
        """Return the text held back at the end of the reply."""
        text, self._held = self._held, ""
        kind = self._kind or (ReasoningPiece if self._prefilled else TextPiece)
        if kind is ReasoningPiece and self._prefilled:
            self._unclosed.append(text)
        yield kind, text

    def leave(self) -> None:
        """End the thought without its tag: what comes now is text."""
        self._kind = TextPiece
        self._unclosed.clear()


class LeakedCallParser:
    """Finds `<tool_call>{"name": ..., "arguments": {...}}</tool_call>` in text.

    A tag that no object follows is text. An object that cannot be parsed becomes a call without a
    name, which cannot be made: the model meant a call, so it must not appear as text. Whitespace
    that only separates calls is dropped.
    """

    def __init__(self) -> None:
        self._held: str = ""
        self._gap: str | None = ""
        self._body: list[str] | None = None
        self._shape = Shape()
        self._count = 0

    def feed(self, text: str) -> Iterator[str | CallPiece]:
        """Text and whole calls, in their order."""
        self._held += text
        going_on = True
        while going_on:
            if self._body is None:
                said, going_on = self._outside()
                if said := self._unblank(said):
                    yield said
            else:
                body, going_on = self._inside(self._body)
                if body is not None:
                    yield self._call(body)

    def close(self) -> Iterator[str | CallPiece]:
        """Return what was held back; an object without its closing tag may be complete."""
        text, self._held = self._held, ""
        if self._body is not None:
            yield self._call("".join([*self._body, text]))
        elif said := self._unblank(text):
            yield said
        elif self._gap and not self._count:
            yield self._gap
            self._gap = None

    def _outside(self) -> tuple[str, bool]:
        """Text up to a call, and whether there is more to look at."""
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

    def _inside(self, body: list[str]) -> tuple[str | None, bool]:
        """The object once it is closed; a closing tag within one of its strings is no end."""
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
        # U+FFFD may stand for bytes that were lost: SUBSTITUTE is what JSON cannot hold.
        return _read(body.replace("\ufffd", "\x1a"), self._count - 1)

    def _unblank(self, text: str) -> str:
        """The text with the blanks before it, unless there is nothing else yet."""
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
        said = _decode(body)
        arguments = _text(bytes(said.arguments or said.parameters))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return CallPiece(index=index, arguments=body, leaked=True)
    return CallPiece(index=index, name=said.name or None, arguments=arguments, leaked=True)


def _text(arguments: bytes) -> str:
    """Arguments as text: an object written compactly, or what a string holds."""
    if not arguments:
        return ""
    if arguments.startswith(b'"'):
        return msgspec.json.decode(arguments, type=str)
    return msgspec.json.format(arguments, indent=-1).decode()


def _overlap(text: str, tag: str) -> str:
    """The longest end of the text that the tag may begin with."""
    ends = (text[-length:] for length in range(min(len(tag) - 1, len(text)), 0, -1))
    return next((end for end in ends if tag.startswith(end)), "")


_decode = msgspec.json.Decoder(_LeakedCall).decode
_MAX_BLANK = 1_000  # held at most: what comes in single bytes is looked at with each
_THINK, _END_THINK = "<think>", "</think>"
_CALL, _END_CALL = "<tool_call>", "</tool_call>"


# Text that a server sends anew from its beginning each time, cut to what is new.


GROWTHS = 8
LONGEST_TOKEN = 128
"""Characters; vocabularies have runs of blanks and dashes that are as long."""


class CumulativeText:
    """Reduces each piece to what it adds. `sure` if the server is known to repeat.

    Ambiguous text is held until it is decided. A reply that does not repeat shows that with its
    second piece, so nothing of it waits; one that happens to begin with a repetition waits for the
    piece that ends it.
    """

    def __init__(self, *, sure: bool) -> None:
        self._sure = sure
        self._plain = False
        self._last = ""
        self._first = ""
        self._held: list[str] = []

    def feed(self, text: str) -> str:
        """Return what this piece adds, and what was held if that is decided now."""
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
        """Return what is still held, as text: something else follows."""
        if self._sure or not self._last:
            return ""
        self._plain = True
        held, self._held = self._held, []
        return "".join(held)
