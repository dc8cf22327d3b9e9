"""The last answers: copied, seen whole, asked for again."""

from __future__ import annotations

from antiphon.terminal.slash.command import Command

COMMANDS: tuple[Command, ...] = ()
