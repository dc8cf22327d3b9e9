"""How the chat looks, and the settings it was begun with."""

from __future__ import annotations

from antiphon.terminal.slash.command import Command

COMMANDS: tuple[Command, ...] = ()
