"""What the settings say of a tool: patterns of names, which decide before anybody is asked."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from antiphon.messages import Tool

Verdict = Literal["allow", "ask", "deny"]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Patterns of tool names, by which calls are decided before anybody is asked.

    A pattern is `fnmatch`'s, and meant for a whole name as the model uses it: `get_*`, `git__*`,
    `git__status`. `git:status`, with the server's own names, does as well. `deny` beats `ask`,
    which beats `allow`; what a person allowed for longer beats `ask`, as it answered it.
    """

    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise `TypeError` for a text: by its letters, a `*` among them would mean every tool."""
        for name in self.__struct_fields__:
            given: object = getattr(self, name)
            if isinstance(given, str):
                raise TypeError(f"`{name}` is a tuple of patterns; got {given!r}: ({given!r},)")

    def verdict(self, tool: Tool) -> Verdict | None:
        """What the rules say of this tool, None where they say nothing."""
        if _named(tool, self.deny):
            return "deny"
        if _named(tool, self.ask):
            return "ask"
        return "allow" if _named(tool, self.allow) else None


NO_RULES = Rules()


def by_default(tool: Tool) -> Verdict:
    """What holds where no rule speaks: the program's own functions run, other tools ask.

    A server's word that a tool only reads is believed where the server is trusted; its word that a
    tool destroys is believed everywhere.
    """
    harmless = tool.trusted and tool.hints.read_only and not tool.hints.destructive
    return "allow" if tool.server is None or harmless else "ask"


def _named(tool: Tool, patterns: Sequence[str]) -> bool:
    names = [tool.spec.name]
    if tool.server is not None:
        names += [f"{tool.server}{mark}{tool.own_name}" for mark in ("__", ":")]
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)
