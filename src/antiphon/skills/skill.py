"""A skill: a folder with a SKILL.md, as the Agent Skills specification has it (agentskills.io).

Skills are written by many people for many programs, so what the specification wants of names and
descriptions is a warning here. A skill without a usable name, or without a description, is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from antiphon.settings.trust import read_regular
from antiphon.skills.frontmatter import ParsedDocument, Value, parse_document
from antiphon.types.errors import InvalidRequest
from antiphon.types.terminal_safe import one_line

FILE = "SKILL.md"
MAX_FILE = 1024 * 1024
"""Bytes of a SKILL.md."""
MAX_FILES = 1000
MAX_FOLDER = 32 * 1024 * 1024
"""Bytes of all files of a skill, where its content is compared or copied."""
MAX_DESCRIPTION = 1024
"""Characters of a description that a model is given: the specification's limit."""
MAX_LISTED = 100
"""Most files of a skill that are listed to a model."""
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?")
_SPECIFIED_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_SKIPPED = frozenset({".git", ".hg", ".svn", "__pycache__", ".DS_Store"})
"""Names in a skill that are not part of it."""


class Skill(msgspec.Struct, frozen=True, kw_only=True):
    """A skill as its SKILL.md describes it; `folder` is a real path, without links.

    `instructions` is the body of the file. A skill that is not `offered` is no part of the
    catalogue: only the user activates it. `content` is the digest of each file by its path, for a
    skill whose content was compared with what a person has seen; None for the user's own.
    """

    name: str
    description: str
    folder: Path
    instructions: str
    offered: bool = True
    license: str = ""
    compatibility: str = ""
    allowed_tools: tuple[str, ...] = ()
    metadata: Mapping[str, str] = {}
    warnings: tuple[str, ...] = ()
    content: Mapping[str, str] | None = None

    @property
    def file(self) -> Path:
        """The SKILL.md."""
        return self.folder / FILE


def read_skill(folder: Path) -> Skill:
    """Read the skill in a folder. Raises `InvalidRequest` for one that cannot be used."""
    folder = Path(os.path.realpath(folder))
    try:
        content = read_regular(folder / FILE, MAX_FILE)
    except OSError as error:
        raise InvalidRequest(
            f"{folder / FILE} cannot be read: {error.strerror or error}.",
            expected="a folder with a SKILL.md",
        ) from error
    return parse_skill(folder, content)


def parse_skill(folder: Path, content: bytes) -> Skill:
    """Parse the content of a SKILL.md. Raises `InvalidRequest`."""
    try:
        document = parse_document(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{folder / FILE} is no text in UTF-8.") from error
    except InvalidRequest as problem:
        raise InvalidRequest(f"{folder / FILE}: {problem.message}") from problem
    warnings: list[str] = []
    name = _choose_name(document, folder, warnings)
    description = document.text("description")
    if not description:
        raise InvalidRequest(
            f"{folder / FILE} has no description, so no model would know when to use it.",
            expected="name and description between two lines of ---",
        )
    if len(description) > MAX_DESCRIPTION:
        warnings.append(f"its description is longer than {MAX_DESCRIPTION} characters, and cut")
    metadata = document.fields.get("metadata")
    return Skill(
        name=name,
        description=description[:MAX_DESCRIPTION],
        folder=folder,
        instructions=document.body,
        offered=not document.switch("disable-model-invocation"),
        license=document.text("license"),
        compatibility=document.text("compatibility"),
        allowed_tools=tuple(_read_list(document.fields.get("allowed-tools", ""))),
        metadata=metadata if isinstance(metadata, dict) else {},
        warnings=tuple(warnings),
    )


def _choose_name(document: ParsedDocument, folder: Path, warnings: list[str]) -> str:
    """Return the name in the file, else that of the folder. Raises `InvalidRequest`."""
    given = document.text("name")
    name = given if NAME.fullmatch(given) else folder.name
    if not NAME.fullmatch(name):
        raise InvalidRequest(
            f"{folder / FILE} has no usable name.",
            expected="1 to 64 letters, digits and dashes",
            received=repr((given or folder.name)[:100]),
        )
    if name != given:
        warnings.append("it is named after its folder, for the name in its SKILL.md is none")
    elif name != folder.name:
        warnings.append(f"its folder has another name: {one_line(folder.name)}")
    if not _SPECIFIED_NAME.fullmatch(name):
        warnings.append("its name is not of lower-case letters, digits and single dashes")
    return name


def _read_list(value: Value) -> list[str]:
    """Return a list, or the words of a text: the specification separates tools by blanks."""
    if isinstance(value, list):
        return value
    return [] if isinstance(value, dict) else [word for word in re.split(r"[\s,]+", value) if word]


# The files of a skill.


class SkillFile(msgspec.Struct, frozen=True):
    """A file, or a link, of a skill. `path` is relative, with slashes."""

    path: str
    size: int
    executable: bool = False
    link: str | None = None


def list_files(folder: Path) -> list[SkillFile]:
    """Return the files of a skill, by path. Raises `InvalidRequest` for one with too many.

    Links are listed and never followed.
    """
    found: list[SkillFile] = []
    for each in _walk(folder, ""):
        found.append(each)
        if len(found) > MAX_FILES:
            raise InvalidRequest(f"{folder} has too many files.", expected=f"at most {MAX_FILES}")
    return sorted(found, key=lambda file: file.path)


def _walk(folder: Path, above: str) -> Iterator[SkillFile]:
    if above.count("/") > 16:
        raise InvalidRequest(f"{folder} is too deep.", expected="at most 16 folders in each other")
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = f"{above}{os.fsencode(entry.name).decode('utf-8', 'backslashreplace')}"
                status = entry.stat(follow_symlinks=False)
                if entry.name in _SKIPPED:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    yield from _walk(Path(entry.path), f"{path}/")
                elif stat.S_ISLNK(status.st_mode):
                    yield SkillFile(path, 0, link=os.readlink(entry.path))
                elif stat.S_ISREG(status.st_mode):
                    executable = bool(status.st_mode & stat.S_IXUSR)
                    yield SkillFile(path, status.st_size, executable=executable)
    except OSError as error:
        raise InvalidRequest(f"{folder} cannot be read: {error.strerror}.") from error


def read_contents(folder: Path, most: int = MAX_FOLDER) -> dict[str, bytes]:
    """Return the content of every file of a skill, by path; links are left out.

    Raises `InvalidRequest` for a skill of more than `most` bytes, and for one that cannot be read.
    """
    contents: dict[str, bytes] = {}
    room = most
    for file in list_files(folder):
        if file.link is not None:
            continue
        try:
            contents[file.path] = read_regular(folder / file.path, room)
        except OSError as error:
            raise InvalidRequest(
                f"{folder / file.path} cannot be read: {error.strerror or error}.",
                expected=f"files of a skill, at most {most:,} bytes in all",
            ) from error
        room -= len(contents[file.path])
    return contents


def digest_contents(contents: Mapping[str, bytes]) -> dict[str, str]:
    """Return the digest of each file, by path."""
    return {path: hashlib.sha256(each).hexdigest() for path, each in contents.items()}


def digest_skill(digests: Mapping[str, str]) -> str:
    """Return one digest of a skill, which changes with any file of it."""
    return hashlib.sha256(msgspec.json.encode(sorted(digests.items()))).hexdigest()


def looks_like_text(content: bytes) -> bool:
    """Return whether this is a text for people and models."""
    if b"\0" in content[:8192]:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def is_script(path: str) -> bool:
    """Return whether a file can be run by its name, as `scripts.command_line` does."""
    return path.rpartition(".")[2].lower() in SCRIPT_PROGRAMS


SCRIPT_PROGRAMS: Mapping[str, Sequence[str]] = {
    "py": ("python3", "python"),
    "sh": ("sh",),
    "bash": ("bash",),
    "js": ("node",),
    "mjs": ("node",),
    "cjs": ("node",),
    "rb": ("ruby",),
    "pl": ("perl",),
}
"""Programs that run a script, by its ending; the first that is there."""
