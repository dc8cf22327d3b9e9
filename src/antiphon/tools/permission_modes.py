"""Permission modes of a chat: ask before tools run, plan only, or allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from antiphon.settings.settings import Settings
from antiphon.tools.permissions import Rules, Verdict, rules_from_settings
from antiphon.types.messages import Tool

PermissionMode = Literal["ask", "plan", "allow"]

MODES: Mapping[PermissionMode, str] = {
    "ask": "ask before a tool of a server runs",
    "plan": "propose only: no tool with effects runs",
    "allow": "run every tool that the settings do not deny",
}

_BY_NAME: Mapping[str, PermissionMode] = {mode: mode for mode in MODES}


def find_mode(name: str) -> PermissionMode | None:
    """Return the mode of this name; None if there is none."""
    return _BY_NAME.get(name)


PLAN_INSTRUCTIONS = (
    "The user wants a plan. Only tools that read can run now; calls of others are refused."
    " Describe what you would change, step by step, and wait for the user's agreement."
)


class ReadOnlyRules(Rules, frozen=True):
    """Rules under which only tools run that say they only read; others are denied."""

    def verdict(self, tool: Tool) -> Verdict | None:
        """Return the decision; of a tool that reads, that of the settings."""
        reads = tool.hints.read_only and not tool.hints.destructive
        return super().verdict(tool) if reads else "deny"

    def explain_denial(self, name: str) -> str:
        """Return the reason for the model, which may call the tool after the plan."""
        return (
            f"{name} may have effects, and the user wants a plan first. Describe what you would do"
            " with it."
        )


def mode_rules(mode: PermissionMode, settings: Settings) -> Rules:
    """Return the rules of a mode, with the settings' own."""
    match mode:
        case "plan":
            return rules_from_settings(settings, ReadOnlyRules)
        case "allow":
            return Rules(allow=("*",), deny=settings.deny)
        case "ask":
            return rules_from_settings(settings)


def add_plan_instructions(mode: PermissionMode, instructions: str) -> str:
    """Return these instructions, and those of the mode."""
    return "\n\n".join(filter(None, (instructions, PLAN_INSTRUCTIONS if mode == "plan" else "")))
