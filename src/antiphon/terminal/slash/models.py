"""Who answers, with which words beforehand, and how full their window is."""

from __future__ import annotations

from antiphon.terminal.slash.command import Command

COMMANDS: tuple[Command, ...] = ()
