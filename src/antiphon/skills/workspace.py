"""Everything that the user's folders and a project's folder bring to a conversation."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from antiphon.settings.settings import Settings
from antiphon.skills.commands import FileCommand
from antiphon.skills.discovery import Finder, FoundFile
from antiphon.skills.instructions import InstructionFile, join_instructions
from antiphon.skills.skill import Skill
from antiphon.skills.toolbox import Skills
from antiphon.types.terminal_safe import one_line

MOST_NAMED = 8


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """Skills, instructions and commands for one working folder.

    `found` is all that was found, whether it counts or not.
    """

    skills: Skills
    instructions: str = ""
    commands: Sequence[FileCommand] = ()
    found: Sequence[FoundFile] = ()

    @property
    def untrusted(self) -> list[FoundFile]:
        """Files that count once a person has seen and trusted them."""
        return [each for each in self.found if each.state == "not trusted"]

    @property
    def broken(self) -> list[FoundFile]:
        """Files that cannot be used."""
        return [each for each in self.found if each.state == "broken"]


NO_WORKSPACE = Workspace(skills=Skills())


def load_workspace(
    folder: Path,
    settings: Settings,
    environ: Mapping[str, str] = os.environ,
    *,
    with_tools: bool = True,
    reserved: Container[str] = (),
) -> Workspace:
    """Find and read everything that counts; blocks on files, and raises nothing of theirs.

    Skills, which are tools, are found only `with_tools`. A command whose name is `reserved` does
    not count: the program has one of its own.
    """
    finder = Finder(environ, folder)
    found = [
        *(finder.skills() if settings.skills and with_tools else ()),
        *(finder.instructions() if settings.project_instructions else ()),
        *(_reserve(each, reserved) for each in finder.commands()),
    ]
    ready = [each.content for each in found if each.ready]
    return Workspace(
        skills=Skills((each for each in ready if isinstance(each, Skill)), folder=folder),
        instructions=join_instructions(
            [each for each in ready if isinstance(each, InstructionFile)]
        ),
        commands=tuple(each for each in ready if isinstance(each, FileCommand)),
        found=tuple(found),
    )


def _reserve(command: FoundFile, names: Container[str]) -> FoundFile:
    if command.name not in names:
        return command
    return replace(command, state="shadowed", why="a command of the program has its name")


def explain_untrusted(untrusted: Sequence[FoundFile], remedy: str) -> str:
    """Return a line for people about what the folder brings and does not count."""
    names = [_describe(each) for each in untrusted[:MOST_NAMED]]
    more = len(untrusted) - len(names)
    named = ", ".join([*names, *([f"{more} more"] if more else [])])
    return f"This folder brings {named}; not used until you have seen and trusted it: {remedy}"


def _describe(found: FoundFile) -> str:
    name = one_line(found.name)[:80]
    match found.kind:
        case "skill":
            return f"the skill {name}"
        case "command":
            return f"the command /{name}"
        case "instructions":
            return name
