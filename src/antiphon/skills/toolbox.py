"""Skills as tools: a catalogue for the model, and three tools to use what it lists."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from antiphon.client.compaction import ACTIVATE_SKILL
from antiphon.ports import ProgressCallback, quiet
from antiphon.skills.scripts import command_line, format_command, run_script
from antiphon.skills.skill import (
    FILE,
    MAX_LISTED,
    Skill,
    SkillFile,
    digest_contents,
    is_script,
    list_files,
    looks_like_text,
    read_contents,
    read_skill,
)
from antiphon.tools.allowed_folders import AllowedFolders
from antiphon.tools.excerpts import select_lines
from antiphon.tools.functions import Functions
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.messages import Hints, Tool, ToolCall, ToolResult
from antiphon.types.terminal_safe import one_line

MAX_TEXT = 50_000
"""Characters of instructions in one answer; the rest is read as a file."""
MAX_FILE = 2_000_000
"""Bytes of a file that a model reads."""
MAX_CATALOGUE = 30_000
"""Characters of the catalogue: some 7,500 tokens."""
_SHORTENED = 100
"""Characters of a description in a catalogue that would be too long."""

CATALOGUE = """\
The skills below have instructions for particular tasks. Where a task fits the description of one, \
call activate_skill with its name before you begin, and follow what it returns. Its files are read \
with read_skill_file, and its scripts run with run_skill_script, which asks the user each time.

<available_skills>
{skills}
</available_skills>"""


class Skills:
    """Skills as a toolbox for `tools=`, in any conversation.

        with Client() as client:
            result = client.ask("Fill in this form", tools=[Skills.open("skills")])

    A new run is told the catalogue: name and description of each skill. The model activates a
    skill to get its instructions, and reads its files. A script runs only if a person agrees to
    exactly this command line: pass a `Consent` with an asker. `folder` is the working folder of
    scripts, by default that of the program.
    """

    def __init__(self, skills: Iterable[Skill] = (), *, folder: Path | None = None) -> None:
        self._skills: dict[str, Skill] = {}
        for skill in skills:
            self._skills.setdefault(skill.name, skill)
        self._folder = folder
        self._functions = Functions(
            [self.activate_skill, self.read_skill_file, self.run_skill_script]
        )
        self._tools = tuple(map(self._complete, self._functions.tools())) if self._skills else ()

    @classmethod
    def open(
        cls, *folders: str | os.PathLike[str], working_folder: str | os.PathLike[str] | None = None
    ) -> Self:
        """Return the skills in these folders, each a skill itself or a folder of skills.

        The program trusts them: their instructions go to the model. Raises `InvalidRequest` for a
        folder without a skill, and for a skill that cannot be used.
        """
        found: list[Skill] = []
        for each in map(Path, folders):
            inside = [each] if (each / FILE).is_file() else _skill_folders(each)
            if not inside:
                raise InvalidRequest(
                    f"There is no skill in {each}.",
                    expected=f"a folder with a {FILE}, or a folder of such folders",
                )
            found += map(read_skill, inside)
        return cls(found, folder=None if working_folder is None else Path(working_folder))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the skills."""
        return tuple(self._skills)

    def get(self, name: str) -> Skill:
        """Return the skill of this name. Raises `NotFound`."""
        if (skill := self._skills.get(name)) is None:
            raise NotFound(
                f"There is no skill {name[:100]!r}. The skills are: "
                f"{', '.join(self._skills) or 'none'}."
            )
        return skill

    def instructions(self) -> str:
        """Return the catalogue for the model; "" without a skill that it may activate."""
        offered = [skill for skill in self._skills.values() if skill.offered]
        if not offered:
            return ""
        lines = [_catalogue_line(skill, len(skill.description)) for skill in offered]
        if sum(map(len, lines)) > MAX_CATALOGUE:
            lines = [_catalogue_line(skill, _SHORTENED) for skill in offered]
        room, shown = MAX_CATALOGUE, list[str]()
        for line in lines:
            room -= len(line)
            if room < 0:
                shown.append(f"- and {len(lines) - len(shown)} more, too many to be listed")
                break
            shown.append(line)
        return CATALOGUE.format(skills="\n".join(shown))

    # The toolbox.

    def tools(self) -> Sequence[Tool]:
        """Return the three tools; none without a skill."""
        return self._tools

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        """Run one of the tools."""
        return await self._functions.call(call, tell)

    async def activate_skill(self, name: str) -> str:
        """Get the instructions of a skill, and the list of its files.

        Args:
            name: The skill, as it is listed.
        """
        return await asyncio.to_thread(self.activation, name)

    def activation(self, name: str) -> str:
        """Return what a model reads of a skill that is activated. Raises `AntiphonError`."""
        skill = self.get(name)
        if skill.content is None:  # the user's own, who may be working on it
            skill = read_skill(skill.folder)
        else:
            self.read_file(name, FILE)  # so that it is as it was when it was seen
        text = skill.instructions
        if len(text) > MAX_TEXT:
            text = f"{text[:MAX_TEXT]}\n[the rest: read_skill_file of {FILE}]"
        files = [
            file
            for file in list_files(skill.folder)
            if skill.content is None or file.path in skill.content
        ]
        body = _escape_tags(text.strip())
        return f'<skill name="{name}">\n{body}\n</skill>\n{_describe_files(files)}'

    async def read_skill_file(
        self, skill: str, path: str, first_line: int = 1, last_line: int | None = None
    ) -> str:
        """Read a text file of a skill.

        Args:
            skill: The skill's name.
            path: The file, relative to the skill's folder.
            first_line: The first line that is wanted, counted from 1.
            last_line: The last line that is wanted; without it, as many as fit.
        """
        content = await asyncio.to_thread(self.read_file, skill, path)
        if not looks_like_text(content):
            raise InvalidRequest(f"{path} is no text in UTF-8: {len(content)} bytes.")
        lines = content.decode("utf-8-sig").splitlines()
        if not 1 <= first_line <= max(len(lines), 1):
            raise InvalidRequest(f"{path} has {len(lines)} lines; there is no line {first_line}.")
        return select_lines(lines, first_line, last_line, whole=True)

    async def run_skill_script(
        self, skill: str, script: str, args: tuple[str, ...] = ()
    ) -> ToolResult:
        """Run a script of a skill. The user is shown the command and asked each time.

        Args:
            skill: The skill's name.
            script: The script, relative to the skill's folder, such as scripts/convert.py.
            args: Its arguments. Relative paths start in the user's working folder.
        """
        found = self.get(skill)
        await asyncio.to_thread(self._check_script, found, script)
        return await run_script(command_line(found, script, args), self._working_folder)

    def command(self, arguments: str) -> str:
        """Return the command line that a call of `run_skill_script` starts.

        Raises `AntiphonError` for a call that starts nothing.
        """
        try:
            given = msgspec.json.decode(arguments or "{}", type=_ScriptCall)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise InvalidRequest("The arguments do not fit.") from error
        skill = self.get(given.skill)
        self.read_file(given.skill, given.script)
        command = command_line(skill, given.script, given.args)
        return format_command(command, self._working_folder)

    def _check_script(self, skill: Skill, script: str) -> None:
        """Raise `AntiphonError` unless it can be run: a script may use any file beside it."""
        self.read_file(skill.name, script)
        if skill.content is None:
            return
        now = digest_contents(read_contents(skill.folder))
        for path in sorted({*now, *skill.content}):
            if now.get(path) != skill.content.get(path):
                raise _stale_file_error(skill, path)

    @property
    def _working_folder(self) -> Path:
        return self._folder or Path.cwd()

    def _complete(self, tool: Tool) -> Tool:
        """Return a tool with what its function does not say."""
        if tool.spec.name == self.run_skill_script.__name__:
            return replace(tool, asks=True, asks_each_time=True, command=self.command)
        tool = replace(tool, hints=Hints(read_only=True))
        if tool.spec.name != ACTIVATE_SKILL:
            return tool
        parameters: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(tool.spec.parameters))
        parameters["properties"]["name"]["enum"] = list(self._skills)
        return replace(tool, spec=replace(tool.spec, parameters=parameters))

    def read_file(self, name: str, path: str) -> bytes:
        """Return a file of a skill, as it was when a person has seen it.

        Raises `AntiphonError`, also for a path that leads out of the skill's folder.
        """
        skill = self.get(name)
        content, size = AllowedFolders([skill.folder]).read(path, MAX_FILE)
        if size > len(content):
            raise InvalidRequest(f"{path} is too large.", expected=f"at most {MAX_FILE} bytes")
        if skill.content is not None:
            known = skill.content.get(
                "/".join(part for part in path.split("/") if part not in ("", "."))
            )
            if known != hashlib.sha256(content).hexdigest():
                raise _stale_file_error(skill, path)
        return content


class _ScriptCall(msgspec.Struct):
    skill: str
    script: str
    args: tuple[str, ...] = ()


def _stale_file_error(skill: Skill, path: str) -> InvalidRequest:
    return InvalidRequest(
        f"{path} of the skill {skill.name} has changed since the user has seen it, so it is not"
        " used.",
        hint="antiphon skills trust",
    )


def _skill_folders(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if (each / FILE).is_file())
    except OSError:
        return []


def _catalogue_line(skill: Skill, most: int) -> str:
    text = _escape_tags(one_line(skill.description))
    return f"- {skill.name}: {text if len(text) <= most else text[:most] + '...'}"


def _escape_tags(text: str) -> str:
    """Return a text that cannot end the mark in which it stands."""
    for tag in ("</skill", "</available_skills"):
        text = text.replace(tag, tag.replace("<", "&lt;"))
    return text


def _describe_files(files: Sequence[SkillFile]) -> str:
    shown = [file for file in files if file.link is None and file.path != FILE]
    if not shown:
        return "It has no other files."
    lines = [
        f"{_escape_tags(one_line(file.path))} ({file.size} bytes"
        f"{', a script' if is_script(file.path) else ''})"
        for file in shown[:MAX_LISTED]
    ]
    more = len(shown) - len(lines)
    return "\n".join(["Its files:", *lines, *([f"[and {more} more]"] if more else [])])
