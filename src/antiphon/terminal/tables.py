"""Tables of Markdown: the line that makes one, and the cells of a row."""

from __future__ import annotations

import re

from antiphon.terminal.pieces import Align


def aligns(text: str) -> tuple[Align, ...]:
    """The columns that a table's second line tells of; none if it is no such line."""
    if not _DELIMITER.fullmatch(text):
        return ()
    parts = [part.strip() for part in text.split("|")]
    if not parts[0]:
        parts = parts[1:]
    if parts and not parts[-1]:
        parts = parts[:-1]
    if not all(_COLUMN.fullmatch(part) for part in parts):
        return ()
    return tuple(_ALIGNS[part[0] == ":", part[-1] == ":"] for part in parts)


_COLUMN = re.compile(r":?-+:?")
_ALIGNS: dict[tuple[bool, bool], Align] = {
    (False, False): "",
    (True, False): "left",
    (False, True): "right",
    (True, True): "center",
}


def cells(text: str) -> tuple[str, ...]:
    """The cells of a row, as they are written."""
    cells = [cell.replace("\\|", "|") for cell in _PIPE.split(text.strip())]
    if cells and not cells[0]:
        cells = cells[1:]
    if cells and not cells[-1]:
        cells = cells[:-1]
    return tuple(cell.strip() for cell in cells)


_DELIMITER = re.compile(r"(?:\||-[-:|]|:[-:|\s])[-:|\s]*")
_PIPE = re.compile(r"(?<!\\)\|")
