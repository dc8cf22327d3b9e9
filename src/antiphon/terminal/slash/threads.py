"""Threads: which conversation this is, and what becomes of it."""

from __future__ import annotations

from antiphon.terminal.slash.command import Command

COMMANDS: tuple[Command, ...] = ()
