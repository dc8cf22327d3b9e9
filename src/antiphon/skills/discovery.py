"""Where skills, instructions and commands are found, and whether what is found counts.

The user's own folders count as they are. A project's folder may have been written by anybody: what
it brings counts only as long as it says what a person has seen there (see `settings.trust`).
Nothing is read through a link that leads out of the project.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from antiphon.settings.paths import config_folder, from_home
from antiphon.settings.trust import TrustedFiles, digest, open_trust_record, read_regular
from antiphon.skills.commands import LARGEST as LARGEST_COMMAND
from antiphon.skills.commands import FileCommand, command_name, parse_command
from antiphon.skills.instructions import KIN, LARGEST, OF_GITHUB, OWN, InstructionFile
from antiphon.skills.skill import (
    FILE,
    MAX_FOLDER,
    Skill,
    digest_contents,
    digest_skill,
    parse_skill,
    read_contents,
    read_skill,
)
from antiphon.types.errors import InvalidRequest

MAX_SKILLS = 500
MAX_COMMANDS = 500
"""Of one folder, each."""
MAX_PROJECT = 64 * 1024 * 1024
"""Bytes that are read of a project, which may be made to be read for ever."""
MAX_DEPTH = 64
"""Folders between a working folder and the root of its repository."""
PROJECT_FOLDERS = (".agents", ".claude")
REPOSITORY = (".git", ".hg", ".svn", ".jj")

State = Literal["ready", "not trusted", "shadowed", "broken"]
"""`shadowed`: another thing of the same name counts in its place."""


class FoundFile(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a folder brings; `file` is its Markdown file, a SKILL.md for a skill.

    `name` is what people call it. A file of the user is `own`. `why` explains a state that is not
    `ready`. `content` is the parsed file, None where it is broken; `digest` the digest by which it
    is trusted, "" for the user's own.
    """

    kind: Literal["skill", "instructions", "command"]
    name: str
    file: Path
    own: bool
    state: State = "ready"
    why: str = ""
    digest: str = ""
    content: Skill | InstructionFile | FileCommand | None = None

    @property
    def ready(self) -> bool:
        """True if it counts."""
        return self.state == "ready"


def find_project_folders(folder: Path) -> list[Path]:
    """Return a working folder and those above it up to the root of its repository, nearest first.

    Outside a repository it is the folder alone.
    """
    folder = _real(folder)
    above = [folder, *folder.parents][:MAX_DEPTH]
    for count, each in enumerate(above, 1):
        if any(os.path.exists(each / mark) for mark in REPOSITORY):
            return above[:count]
    return [folder]


class Finder:
    """Finds everything for one working folder."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self.folders = find_project_folders(folder)
        self._own = config_folder(environ)
        self._agents = from_home("~/.agents", environ)
        self._record: TrustedFiles = open_trust_record(environ)
        self._room = MAX_PROJECT

    @property
    def own_skills(self) -> Path:
        """The folder into which the user's skills are put."""
        return self._own / "skills"

    def skills(self) -> list[FoundFile]:
        """Return all skills; of those with one name, the first that can be used counts."""
        ours = self._all_own_skills()
        real = {found.file for found in ours}
        theirs = [
            found
            for folder in self._project_folders("skills")
            for found in self._project_skills(folder)
            if found.file not in real
        ]
        return _shadow([*theirs, *ours])

    def instructions(self) -> list[FoundFile]:
        """Return the files of instructions, the user's own first and the nearest last."""
        found = list(self._own_files([self._own / OWN], "instructions", InstructionFile.parse))
        own = {_real(each.file) for each in found}
        for folder in reversed(self.folders):
            names = (*KIN, OF_GITHUB) if folder == self.folders[-1] else KIN
            file = next((folder / name for name in names if _is_there(folder / name)), None)
            if file is not None and _real(file) not in own:
                found.append(self.instruction_file(file))
        return found

    def instruction_file(self, file: Path) -> FoundFile:
        """Return a file of instructions of a project."""
        return self._project_file(file, "instructions", LARGEST, InstructionFile.parse)

    def commands(self) -> list[FoundFile]:
        """Return the slash commands of files; of those with one name, the first counts."""
        files = [
            self.command_file(file, folder)
            for folder in self._project_folders("commands")
            for file in _command_files(folder)
        ]
        return _shadow([*files, *self._own_commands()])

    def command_file(self, file: Path, folder: Path) -> FoundFile:
        """Return a command of a project; `folder` is the folder of commands."""
        return self._project_file(file, "command", LARGEST_COMMAND, _command_parser(folder))

    def find_replaced(self, found: FoundFile) -> FoundFile | None:
        """Return what of the user's own something of a project takes the place of, once trusted."""
        match found.kind:
            case "skill":
                return _find_by_name(found.name, self._all_own_skills())
            case "command":
                return _find_by_name(found.name, self._own_commands())
            case "instructions":
                return None

    def is_own(self, file: Path) -> bool:
        """Return whether a file is in a folder of the user's own."""
        return any(_real(file).is_relative_to(_real(own)) for own in (self._own, self._agents))

    def _project_folders(self, name: str) -> Iterator[Path]:
        """Yield the folders of this name in the project.

        Those of the user are not among them, and no link that leads out of the project.
        """
        seen = {_real(self._own / name), _real(self._agents / name)}
        for above in self.folders:
            for kind in PROJECT_FOLDERS:
                folder = above / kind / name
                real = _real(folder)
                inside = real.is_relative_to(self.folders[-1])
                if inside and os.path.isdir(real) and real not in seen:
                    seen.add(real)
                    yield folder

    # The user's own.

    def _all_own_skills(self) -> list[FoundFile]:
        folders = (self.own_skills, self._agents / "skills")
        return [found for folder in folders for found in self._own_skills(folder)]

    def _own_commands(self) -> list[FoundFile]:
        return [
            found
            for folder in (self._own / "commands", self._agents / "commands")
            for found in self._own_files(_command_files(folder), "command", _command_parser(folder))
        ]

    def _own_skills(self, folder: Path) -> Iterator[FoundFile]:
        for each in _subfolders(folder):
            try:
                skill = read_skill(each)
            except InvalidRequest as problem:
                yield _broken_file("skill", each.name, each / FILE, problem.message, own=True)
            else:
                yield FoundFile(
                    kind="skill", name=skill.name, file=skill.file, own=True, content=skill
                )

    def _own_files(
        self, files: Iterable[Path], kind: Literal["instructions", "command"], parse: _Parse
    ) -> Iterator[FoundFile]:
        for file in files:
            if not _is_there(file):
                continue
            try:
                content = parse(file, read_regular(file, LARGEST))
            except (OSError, InvalidRequest) as error:
                yield _broken_file(kind, _name(kind, file), file, _reason(error), own=True)
            else:
                yield FoundFile(
                    kind=kind, name=_name(kind, file, content), file=file, own=True, content=content
                )

    # A project's.

    def _project_skills(self, folder: Path) -> Iterator[FoundFile]:
        for each in _subfolders(folder):
            try:
                real = self._resolve_inside(each)
                yield self.project_skill(real)
            except (OSError, InvalidRequest) as error:
                yield _broken_file("skill", each.name, each / FILE, _reason(error), own=False)

    def project_skill(self, folder: Path) -> FoundFile:
        """Return a skill of a project; ready only if a person has seen all of it as it is.

        Raises `InvalidRequest` for one that cannot be used.
        """
        contents = read_contents(folder, min(MAX_FOLDER, self._room))
        self._room -= sum(map(len, contents.values()))
        if FILE not in contents:
            raise InvalidRequest(f"{folder / FILE} cannot be read: it is a link, or not there.")
        digests = digest_contents(contents)
        skill = replace(parse_skill(folder, contents[FILE]), content=digests)
        found = FoundFile(
            kind="skill",
            name=skill.name,
            file=skill.file,
            own=False,
            digest=digest_skill(digests),
            content=skill,
        )
        return self._check(found)

    def _project_file(
        self, file: Path, kind: Literal["instructions", "command"], largest: int, parse: _Parse
    ) -> FoundFile:
        try:
            content = read_regular(self._resolve_inside(file), min(largest, self._room))
            self._room -= len(content)
            parsed = parse(file, content)
        except (OSError, InvalidRequest) as error:
            return _broken_file(kind, _name(kind, file), file, _reason(error), own=False)
        return self._check(
            FoundFile(
                kind=kind,
                name=_name(kind, file, parsed),
                file=file,
                own=False,
                digest=digest(content),
                content=parsed,
            )
        )

    def _check(self, found: FoundFile) -> FoundFile:
        if self._record.covers(found.file, found.digest):
            return found
        return replace(
            found, state="not trusted", why="it is not trusted, or has changed since it was"
        )

    def _resolve_inside(self, path: Path) -> Path:
        """Return the real path. Raises `InvalidRequest` if it leads out of the project."""
        real = _real(path)
        if not real.is_relative_to(self.folders[-1]):
            raise InvalidRequest(f"{path} is a link that leads out of the project.")
        return real


def find_file(environ: Mapping[str, str], path: Path) -> FoundFile | None:
    """Return what a file of a project brings, by its name and place; None for another file.

    `path` is the file; of a skill, its folder does too. Raises `InvalidRequest` for a file of the
    user's own, and for one that cannot be used.
    """
    file = path / FILE if os.path.isfile(path / FILE) else path
    finder = Finder(environ, file.parent)
    if finder.is_own(file):
        raise InvalidRequest(f"{file} is your own, and counts without being trusted")
    if file.name == FILE:
        return finder.project_skill(_real(file.parent))
    found: FoundFile | None = None
    if file.name in KIN or file.parts[-2:] == Path(OF_GITHUB).parts:
        found = finder.instruction_file(file)
    elif file.suffix == ".md":
        found = next(
            (
                finder.command_file(file, above)
                for above in file.parents
                if above.name == "commands" and above.parent.name in PROJECT_FOLDERS
            ),
            None,
        )
    if found is not None and found.state == "broken":
        raise InvalidRequest(f"{file}: {found.why}")
    return found


_Content = InstructionFile | FileCommand
_Parse = Callable[[Path, bytes], _Content]


def _command_files(folder: Path) -> list[Path]:
    """Return the Markdown files of a folder of commands and of its subfolders."""
    found: list[Path] = []
    for above, folders, files in os.walk(folder):  # does not follow links to folders
        folders.sort()
        if len(Path(above).relative_to(folder).parts) >= 3:
            folders.clear()
        found += [Path(above) / name for name in sorted(files) if name.endswith(".md")]
        if len(found) > MAX_COMMANDS:
            break
    return found[:MAX_COMMANDS]


def _command_parser(folder: Path) -> _Parse:
    def parse(file: Path, content: bytes) -> FileCommand:
        return parse_command(command_name(file.relative_to(folder)), content)

    return parse


def _subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder that have a SKILL.md."""
    try:
        names = sorted(os.listdir(folder))[: 4 * MAX_SKILLS]
    except OSError:
        return []
    return [folder / name for name in names if _is_there(folder / name / FILE)][:MAX_SKILLS]


def _real(path: Path) -> Path:
    """Return the path without links; where they lead in a circle, as far as they lead."""
    return Path(os.path.realpath(path))


def _is_there(file: Path) -> bool:
    return os.path.lexists(file)


def _find_by_name(name: str, found: Iterable[FoundFile]) -> FoundFile | None:
    return next((each for each in found if each.ready and each.name == name), None)


def _shadow(found: Iterable[FoundFile]) -> list[FoundFile]:
    """Mark those whose name another one that counts has; untrusted ones shadow nothing."""
    taken: dict[str, FoundFile] = {}
    marked: list[FoundFile] = []
    for each in found:
        before = taken.get(each.name)
        if each.ready and before is not None:
            marked.append(
                replace(each, state="shadowed", why=f"{before.file} has the same name, and counts")
            )
            continue
        if each.ready:
            taken[each.name] = each
        marked.append(each)
    return marked


def _name(
    kind: Literal["instructions", "command"], file: Path, content: _Content | None = None
) -> str:
    return content.name if isinstance(content, FileCommand) else file.name


def _broken_file(
    kind: Literal["skill", "instructions", "command"],
    name: str,
    file: Path,
    why: str,
    *,
    own: bool,
) -> FoundFile:
    return FoundFile(kind=kind, name=name, file=file, own=own, state="broken", why=why)


def _reason(error: OSError | InvalidRequest) -> str:
    if isinstance(error, InvalidRequest):
        return error.message
    return f"it cannot be read: {error.strerror or error}"
