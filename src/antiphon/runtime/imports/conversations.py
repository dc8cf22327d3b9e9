"""Conversations of other chats in one form: a tree of messages, and the branch that is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from antiphon.types.json_values import is_list, is_object

Json = dict[str, Any]
MAX_PATH = 10_000
"""Most messages of one branch."""


class SourceFile(msgspec.Struct, frozen=True):
    """A file of a message: its `content`, or the beginning of its name in the export (`key`).

    Without both, only its name is known.
    """

    name: str
    content: bytes | None = None
    key: str = ""


class SourceMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the tree. `at` in milliseconds, 0 if unknown. A hidden one is not imported.

    `call` is the name and the JSON arguments of a tool call. A message of the role `tool` is the
    output of the call before it.
    """

    id: str
    parent: str | None
    role: Literal["user", "assistant", "tool"] = "user"
    text: str = ""
    at: int = 0
    model: str = ""
    reasoning: str = ""
    files: tuple[SourceFile, ...] = ()
    call: tuple[str, str] | None = None
    hidden: bool = False


class ImportedConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation. `current` is the last message of the branch that is shown."""

    id: str
    title: str
    created_at: int
    updated_at: int
    messages: Mapping[str, SourceMessage]
    current: str | None = None
    archived: bool = False
    pinned: bool = False

    def branches(self) -> list[tuple[SourceMessage, ...]]:
        """Return the branches with something to see, oldest first, the one that is shown last."""
        parents = {each.parent for each in self.messages.values()}
        leaves = [each for each in self.messages if each not in parents]
        paths = {self._path(each): each for each in leaves}
        paths.pop((), None)
        shown = self._path(self.current) if self.current in self.messages else ()
        if shown:
            # A branch that is the beginning of another one is part of it.
            paths = {path: leaf for path, leaf in paths.items() if path != shown}
            if not any(path[: len(shown)] == shown for path in paths):
                paths[shown] = ""
        ordered = sorted(paths, key=lambda path: (max(each.at for each in path), path[-1].id))
        last = next((path for path in ordered if path[: len(shown)] == shown), None)
        if shown and last is not None:
            ordered = [path for path in ordered if path != last] + [last]
        return ordered

    def _path(self, leaf: str | None) -> tuple[SourceMessage, ...]:
        """Return the visible messages up to this one; a circle ends the path."""
        path: list[SourceMessage] = []
        seen: set[str] = set()
        while leaf is not None and leaf in self.messages and leaf not in seen:
            seen.add(leaf)
            message = self.messages[leaf]
            if not message.hidden:
                path.append(message)
            leaf = message.parent
        return tuple(reversed(path))[:MAX_PATH]


# Values of foreign JSON, whatever they are.


def read_object(value: object) -> Json:
    """Return the value if it is an object, else an empty one."""
    return value if is_object(value) else {}


def read_list(value: object) -> Sequence[Any]:
    """Return the value if it is a list, else an empty one."""
    return value if is_list(value) else []


def read_text(value: object) -> str:
    """Return the value if it is a text that can be stored, without NUL and lone surrogates."""
    if not isinstance(value, str):
        return ""
    return value.replace("\0", "").encode("utf-8", "replace").decode()


def read_time(value: object) -> int:
    """Return a time in milliseconds since 1970, 0 if unknown: seconds, milliseconds, or a date."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError):
            return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    seconds = value / 1000 if value > _SECONDS else value
    if not 0 <= seconds < _SECONDS:
        return 0
    return int(seconds * 1000)


_SECONDS = 20_000_000_000
"""Seconds of the year 2603; a larger number counts milliseconds."""
