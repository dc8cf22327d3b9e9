"""Tools and the servers they come from."""

from __future__ import annotations

from antiphon.terminal.slash.command import Command

COMMANDS: tuple[Command, ...] = ()
