"""Consent where nobody can be asked: what the rules and a person's earlier word allow, runs."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase

from antiphon.commands.notes import note
from antiphon.folders import data_folder
from antiphon.settings import Settings
from antiphon.tools.consent import Consent
from antiphon.tools.grants import NAME, GrantsFile
from antiphon.tools.happenings import ConsentRefused, Happening
from antiphon.tools.rules import Rules


def consent(settings: Settings, *, yes: bool) -> Consent:
    """By the settings, and by what was allowed for good; `yes` allows all that is not denied."""
    rules = Rules(allow=settings.allow, ask=settings.ask, deny=settings.deny)
    return Consent(
        Rules(allow=("*",), deny=settings.deny) if yes else rules,
        grants=GrantsFile(data_folder(os.environ) / NAME, _warn),
        warn=_warn,
    )


class Refusals:
    """Says which calls were refused, and what would allow them; `any` where consent was wanting."""

    def __init__(self, settings: Settings) -> None:
        self.any = False
        self._asked = [each.replace(":", "__", 1) for each in settings.ask]

    def note(self, happening: Happening) -> None:
        """What happens to a tool."""
        match happening:
            case ConsentRefused(call=call, by="nobody"):
                self.any = True
                why = f"nobody could be asked; {self._way_out(call.name)}"
            case ConsentRefused(call=call):
                why = "the settings deny it"
            case _:
                return
        note(f"antiphon: {call.name} was refused: {why}")

    def _way_out(self, name: str) -> str:
        if any(fnmatchcase(name, pattern) for pattern in self._asked):
            return "the setting `ask` names it, which only --yes overrules"
        return f"--allow {name} allows it"


def _warn(text: str) -> None:
    note(f"antiphon: {text}")
