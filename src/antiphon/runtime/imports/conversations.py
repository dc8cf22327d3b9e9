"""Conversations of other chats in one form: a tree of messages, and the branch that is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

from antiphon.types.json_values import is_list, is_object

Json = dict[str, Any]
MAX_PATH = 10_000
"""Most messages of one branch, with hidden ones; of a longer one the newest are kept."""
MAX_BRANCHES = 50
"""Most branches of one conversation; of more, the newest and the one that is shown."""


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


class Branches(NamedTuple):
    """Branches of a conversation: oldest first, the one that is shown last.

    `left_out` is the number of further branches, `cut` that of branches without their beginning.
    """

    paths: Sequence[tuple[SourceMessage, ...]]
    left_out: int
    cut: int


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

    def branches(self) -> Branches:
        """Return the branches with something to see.

        Each is known by its last message, and only those that are kept are walked.
        """
        parents = {each.parent for each in self.messages.values()}
        passed: set[str] = set()
        found = (self._find_visible(each, passed) for each in self.messages if each not in parents)
        ends = dict.fromkeys(each for each in found if each is not None)
        ages = {end: (self.messages[end].at, place) for place, end in enumerate(ends)}
        last = shown = self._find_visible(self.current, set())
        if shown is not None:
            # A branch that is the beginning of another one is part of it.
            longer = ends.keys() & self._find_following(shown)
            last = min(longer, key=ages.__getitem__) if longer else shown
        others = sorted(ages.keys() - {shown, last}, key=ages.__getitem__, reverse=True)
        kept = others[: MAX_BRANCHES if last is None else MAX_BRANCHES - 1]
        paths = [self._path(end) for end in kept]
        paths.sort(key=lambda path: (max(each.at for each in path[0]), path[0][-1].id))
        paths += [self._path(last)] if last is not None else []
        return Branches(
            [path for path, _ in paths], len(others) - len(kept), sum(cut for _, cut in paths)
        )

    def _find_visible(self, end: str | None, passed: set[str]) -> str | None:
        """Return this message or the nearest visible one before it, None if it was `passed`."""
        while end is not None and end in self.messages and end not in passed:
            message = self.messages[end]
            if not message.hidden:
                return end
            passed.add(end)
            end = message.parent
        return None

    def _find_following(self, start: str) -> set[str]:
        """Return the messages after this one."""
        children: dict[str | None, list[str]] = {}
        for key, message in self.messages.items():
            children.setdefault(message.parent, []).append(key)
        found: set[str] = set()
        waiting = [start]
        while waiting:
            new = [each for each in children.get(waiting.pop(), ()) if each not in found]
            found.update(new)
            waiting += new
        return found - {start}

    def _path(self, end: str) -> tuple[tuple[SourceMessage, ...], bool]:
        """Return the visible messages up to this one, and if it was cut. A circle ends the path."""
        path: list[SourceMessage] = []
        seen: set[str] = set()
        before: str | None = end
        while before is not None and before in self.messages and before not in seen:
            if len(seen) == MAX_PATH:
                return tuple(reversed(path)), True
            seen.add(before)
            message = self.messages[before]
            if not message.hidden:
                path.append(message)
            before = message.parent
        return tuple(reversed(path)), False


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
