"""Hooks of the settings: programs of the user's that run before or after tool calls."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from antiphon.settings.paths import from_home
from antiphon.types.errors import BadSettings

SECONDS = 30.0
LONGEST_NAME = 80
WANTED = '[[hooks]] tables with when = "before" or "after", and command = ["program", "argument"]'


class Hook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A program that runs before or after calls of the tools that match a pattern.

    `command` is started without a shell, in `folder` ("" is the working folder), for at most
    `timeout` seconds. Patterns are those of `allow` and `deny`, such as `files__*`.
    """

    when: Literal["before", "after"]
    command: Annotated[tuple[str, ...], Meta(min_length=1)]
    tools: Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1)] = ("*",)
    timeout: Annotated[float, Meta(gt=0, le=3600)] = SECONDS
    folder: str = ""

    def __post_init__(self) -> None:
        """Raise `TypeError` for a string: its letters would be the items.

        Raises `ValueError` for a command that no system can start.
        """
        for name in ("command", "tools"):
            given: object = getattr(self, name)
            if isinstance(given, str):
                raise TypeError(f"`{name}` is a tuple of texts; got {given!r}: ({given!r},)")
        if not self.command or not self.command[0] or any("\0" in part for part in self.command):
            raise ValueError("`command` begins with the name of a program, and has no null bytes")

    @property
    def name(self) -> str:
        """Its command line, cut; not cleaned for printing."""
        line = shlex.join(self.command)
        return line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 3]}..."


def read_hooks(
    tables: object, origin: str, folder: Path, environ: Mapping[str, str]
) -> tuple[Hook, ...]:
    """Return the hooks of a settings file in this folder, which is the one where they run.

    So a relative path in a command never names a file of the folder that is worked in. `~/` at the
    start of an argument is the user's home. Raises `BadSettings`.
    """
    try:
        given = msgspec.convert(tables, list[dict[str, Any]])
    except msgspec.ValidationError as error:
        raise BadSettings(f"`hooks` from {origin} cannot be used", expected=WANTED) from error
    return tuple(
        _read_hook(table, f"hook {number} from {origin}", folder, environ)
        for number, table in enumerate(given, 1)
    )


def _read_hook(table: dict[str, Any], which: str, folder: Path, environ: Mapping[str, str]) -> Hook:
    try:
        hook = msgspec.convert({**table, "folder": str(folder)}, Hook)
    except msgspec.ValidationError as error:
        raise _wrong_hook_error(which, str(error), table) from error
    if "folder" in table:
        raise _wrong_hook_error(which, "Object contains unknown field `folder`", table)
    parts = (
        str(from_home(part, environ)) if part.startswith("~/") else part for part in hook.command
    )
    return replace(hook, command=tuple(parts))


def _wrong_hook_error(which: str, why: str, table: dict[str, Any]) -> BadSettings:
    received = repr(table)[:300]
    return BadSettings(f"{which} cannot be used: {why}", expected=WANTED, received=received)
