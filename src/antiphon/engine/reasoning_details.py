"""Opaque details of a reply's reasoning, assembled from streamed pieces.

OpenRouter and Vercel's gateway stream them as objects: a piece continues the entry with its type
and index (https://openrouter.ai/docs/guides/best-practices/reasoning-tokens). An entry is meant for
its server alone, so only the fields that place a piece are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from antiphon.engine.sanitize import sanitize_value, validate_depth, validate_text
from antiphon.types.errors import InvalidRequest, TooLarge

MAX_BYTES = 256_000
"""Of one reply, as JSON. Larger details are dropped: cut ones would be rejected as forged."""

MIN_PIECE_BYTES = 16
"""Counted for a smaller piece: many empty ones take time, too."""

MAX_DEPTH = 16

_GROWING = ("text", "summary", "data")


class DetailsBuilder:
    """Collects the entries of one reply in the order in which they began."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._latest: dict[object, _Entry] = {}
        self._room = MAX_BYTES

    def add(self, pieces: Sequence[dict[str, Any]]) -> None:
        """Add the pieces of one chunk: each continues an entry of an earlier chunk or begins one.

        Entries of one chunk stay apart, so that a reply that arrived whole is stored as it came.
        """
        before = len(self._entries)
        for raw in pieces:
            piece = _sanitize_piece(raw) if self._room >= 0 else None
            if piece is None:
                self._room = -1
                return
            entry = self._latest.get(_place(piece))
            if entry is None or entry.number >= before or not entry.takes(piece):
                entry = _Entry(len(self._entries))
                self._entries.append(entry)
            self._latest[_place(piece)] = entry
            self._room -= max(MIN_PIECE_BYTES, len(msgspec.json.encode(entry.add(piece))))

    def entries(self, ids: Mapping[str, str]) -> tuple[dict[str, Any], ...]:
        """Return the entries; none where they were too large.

        `ids` maps the provider's ids of calls to those under which the calls go back.
        """
        if self._room < 0:
            return ()
        whole = [entry.whole() for entry in self._entries]
        return tuple(
            {**entry, "id": ids[entry["id"]]} if _text_or_empty(entry.get("id")) in ids else entry
            for entry in whole
        )


class _Entry:
    """One entry while it grows; its texts are joined once, at the end."""

    __slots__ = ("_fields", "_texts", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._fields: dict[str, Any] = {}
        self._texts: dict[str, list[str]] = {}

    def takes(self, piece: dict[str, Any]) -> bool:
        """Return whether the piece can belong here: same call, and no text after a signature."""
        if "index" not in piece and "data" in piece:
            return False
        theirs, ours = piece.get("id"), self._fields.get("id")
        if theirs and ours and theirs != ours:
            return False
        return not (self._fields.get("signature") and any(map(piece.get, _GROWING)))

    def add(self, piece: dict[str, Any]) -> dict[str, Any]:
        """Append growing fields, set the others once, and return what is new of the piece."""
        new: dict[str, Any] = {}
        for name, value in piece.items():
            if name in _GROWING and isinstance(value, str):
                self._texts.setdefault(name, []).append(value)
                self._fields.setdefault(name, "")
                new[name] = value
            elif self._fields.get(name) in (None, ""):
                self._fields[name] = new[name] = value
        return new

    def whole(self) -> dict[str, Any]:
        """Return the entry with its texts joined."""
        return {**self._fields, **{name: "".join(pieces) for name, pieces in self._texts.items()}}


def _place(piece: dict[str, Any]) -> object:
    index = piece.get("index")
    return _text_or_empty(piece.get("type")), index if isinstance(index, int) else None


def _sanitize_piece(piece: dict[str, Any]) -> dict[str, Any] | None:
    """Return the piece in a form that every store takes; None if it is too large or too deep.

    Its size is checked first, because the other checks take longer.
    """
    try:
        if len(json.dumps(piece, ensure_ascii=False)) > MAX_BYTES:
            return None
        validate_depth(piece, MAX_DEPTH)
        fitted: dict[str, Any] = sanitize_value(piece)
        validate_text(fitted)
    except (TooLarge, InvalidRequest, RecursionError):
        return None
    return fitted


def _text_or_empty(value: Any) -> str:
    return value if isinstance(value, str) else ""
