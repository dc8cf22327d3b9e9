"""A line of Markdown, from which the marks of containers are taken, column by column."""

from __future__ import annotations

CODE_INDENT = 4
"""Columns from which on a line is code, or goes on with a paragraph, and begins nothing."""


class SourceLine:
    """A line from which the marks of containers are taken, column by column."""

    def __init__(self, text: str) -> None:
        self.rest = text
        self._column: int = 0

    @property
    def bare(self) -> str:
        """What is left, without the white space before it."""
        return self.rest.lstrip(" \t")

    @property
    def blank(self) -> bool:
        """Whether nothing is left."""
        return not self.bare

    @property
    def indent(self) -> int:
        """The columns of white space before what is left."""
        column = self._column
        for letter in self.rest:
            if letter == " ":
                column += 1
            elif letter == "\t":
                column += 4 - column % 4
            else:
                break
        return column - self._column

    def drop(self, columns: int) -> None:
        """Take white space off; half a tab leaves blanks."""
        while columns and self.rest[:1] in (" ", "\t"):
            width: int = 1 if self.rest[0] == " " else 4 - self._column % 4
            if width > columns:
                self.rest = " " * width + self.rest[1:]
                width = 1
            self.rest = self.rest[1:]
            self._column += width
            columns -= width

    def skip(self, letters: int) -> None:
        """Take letters off that take one column each."""
        self.rest = self.rest[letters:]
        self._column += letters

    def quote(self) -> bool:
        """Take the mark of a quote off, if it is there."""
        if self.indent >= CODE_INDENT or not self.bare.startswith(">"):
            return False
        self.drop(self.indent)
        self.skip(1)
        self.drop(1)
        return True
