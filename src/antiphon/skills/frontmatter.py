"""The head of a Markdown file: fields between two lines of `---`.

It looks like YAML, and what people write there often is not: `description: Use when: ...` has a
second colon. So this parser reads the part of YAML that these heads use (texts, quoted or not, in
blocks or over several lines; lists of texts; one level of fields in a field) and takes everything
else as text. Anchors, aliases, tags and documents do not exist, so nothing can grow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from antiphon.types.errors import InvalidRequest

MAX_HEAD = 65_536
"""Characters of a head."""

Value = str | list[str] | dict[str, str]
"""A value of a field. Every scalar is a text: `true` is "true"."""


class ParsedDocument(msgspec.Struct, frozen=True):
    """A Markdown file: the fields of its head, and its body without the head."""

    fields: Mapping[str, Value]
    body: str

    def text(self, name: str) -> str:
        """Return a field that is a text, stripped; "" without one."""
        value = self.fields.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    def switch(self, name: str) -> bool:
        """Return whether a field says yes."""
        return self.text(name).lower() in ("true", "yes", "on")


def parse_document(text: str) -> ParsedDocument:
    """Parse a file; one without a head has no fields. Raises `InvalidRequest`."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not _MARK.match(text):
        return ParsedDocument({}, text)
    begin = text.find("\n") + 1
    end = _END.search(text, begin - 1)
    if not begin or end is None:
        raise InvalidRequest(
            "The head of the file has no end.", expected="a line --- after its fields"
        )
    if end.start() - begin > MAX_HEAD:
        raise InvalidRequest(
            "The head of the file is too long.", expected=f"at most {MAX_HEAD} characters"
        )
    lines = text[begin : end.start() + 1].split("\n")
    return ParsedDocument(_LineReader(lines).read_fields(), text[end.end() :].lstrip("\n"))


class _LineReader:
    """Reads fields from lines, from the first to the last."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 0

    def read_fields(self) -> dict[str, Value]:
        """Return all fields; of two with one name, the last."""
        fields: dict[str, Value] = {}
        while self._at < len(self._lines):
            line = self._lines[self._at]
            self._at += 1
            if (found := _FIELD.match(line)) is not None and not line[0].isspace():
                fields[_unquote(found["name"].strip())] = self._read_value(found["value"] or "")
        return fields

    def _read_value(self, first: str) -> Value:
        first = first.strip()
        below = self._take_indented()
        if _BLOCK.fullmatch(first):
            return _join_block(below, folded=first[0] == ">")
        if first and not first.startswith("#"):
            whole = " ".join([first, *(line.strip() for line in below if line.strip())])
            return _read_scalar(whole)
        lines = [line for line in below if line.strip() and not line.lstrip().startswith("#")]
        if lines and all(_ITEM.match(line) for line in lines):
            return [_read_text(line.strip().removeprefix("-").strip()) for line in lines]
        pairs = [_FIELD.match(line.strip()) for line in lines]
        if lines and all(pairs):
            return {
                _unquote(pair["name"].strip()): _read_text((pair["value"] or "").strip())
                for pair in pairs
                if pair is not None
            }
        return " ".join(line.strip() for line in lines)

    def _take_indented(self) -> list[str]:
        """Return the lines that belong to the field above: indented, blank, or items of a list."""
        begin = self._at
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if line.strip() and not line[0].isspace() and not _ITEM.match(line):
                break
            self._at += 1
        return self._lines[begin : self._at]


def _read_scalar(text: str) -> str | list[str]:
    if text.startswith("[") and text.endswith("]"):
        parts = (found[0].strip() for found in _LISTED.finditer(text[1:-1]))
        return [_read_text(part) for part in parts if part]
    return _read_text(text)


def _read_text(text: str) -> str:
    """Return a text without its quotes, or without the comment behind it."""
    if (quoted := _QUOTED.match(text)) is not None:
        return _unquote(quoted["text"])
    plain = _COMMENT.split(text, maxsplit=1)[0]
    return "" if plain in ("~", "null") else plain


def _unquote(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), text[1:-1])
    return text


def _join_block(lines: list[str], *, folded: bool) -> str:
    """Return a block of lines without their common indentation; folded ones joined by blanks."""
    filled = [line for line in lines if line.strip()]
    indent = min((len(line) - len(line.lstrip()) for line in filled), default=0)
    text = "\n".join(line[indent:].rstrip() for line in lines).strip("\n")
    return _FOLD.sub(" ", text) if folded else text


_MARK = re.compile(r"---[ \t]*\n")
_END = re.compile(r"\n(---|\.\.\.)[ \t]*(\n|\Z)")
_FIELD = re.compile(r"(?P<name>[^\s:#\-][^:]*):(?:[ \t]+(?P<value>.*))?$")
_BLOCK = re.compile(r"[|>][-+0-9]{0,2}(\s+#.*)?")
_ITEM = re.compile(r"\s*-(\s|$)")
_QUOTED = re.compile(r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*(#.*)?$""")
_COMMENT = re.compile(r"\s+#")
_LISTED = re.compile(r"""\s*"(?:[^"\\]|\\.)*"\s*|\s*'(?:[^']|'')*'\s*|[^,]+""")
_FOLD = re.compile(r"(?<!\n)\n(?!\n)")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\n"}
