"""Review of a file that a project brings: a person sees it before trusting it.

The texts are raw: clean them before they are printed. The digest covers exactly the bytes that are
shown; of a skill it covers the other files too, of which names and sizes are shown.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from antiphon.client.formatting import count_noun
from antiphon.settings.trust import digest, read_regular
from antiphon.skills.commands import FileCommand
from antiphon.skills.discovery import FoundFile
from antiphon.skills.instructions import LARGEST
from antiphon.skills.skill import (
    FILE,
    Skill,
    digest_contents,
    digest_skill,
    is_script,
    looks_like_text,
    read_contents,
)
from antiphon.types.errors import InvalidRequest

MAX_NAMED = 200
"""Other files of a skill that are named."""


class Review(msgspec.Struct, frozen=True):
    """Files for a person to read: `files` are names and texts, `summary` says what they are.

    `others` are the files of a skill that are not shown, with their sizes.
    """

    file: Path
    files: Sequence[tuple[str, str]]
    summary: str
    digest: str
    others: Sequence[str] = ()


def review_found(found: FoundFile, replaced: FoundFile | None = None) -> Review:
    """Read all of it again for a person; `replaced` is what it takes the place of.

    Raises `InvalidRequest`.
    """
    review = _review(found)
    if replaced is None:
        return review
    instead = f"{review.summary}. It takes the place of your own, {replaced.file}"
    return msgspec.structs.replace(review, summary=instead)


def _review(found: FoundFile) -> Review:
    if found.kind == "skill":
        return _review_skill(found.file.parent, found.content)
    try:
        content = read_regular(Path(os.path.realpath(found.file)), LARGEST)
    except OSError as error:
        raise InvalidRequest(f"{found.file} cannot be read: {error.strerror or error}.") from error
    summary = (
        f"It is the slash command /{found.content.name}"
        if isinstance(found.content, FileCommand)
        else "The model reads it at the beginning of every conversation here"
    )
    shown = [(str(found.file), content.decode("utf-8", "backslashreplace"))]
    return Review(found.file, shown, summary, digest(content))


def _review_skill(folder: Path, skill: object) -> Review:
    """Return a skill for a person: its SKILL.md and its scripts whole, and a list of the rest."""
    contents = read_contents(folder)
    if FILE not in contents or not isinstance(skill, Skill):
        raise InvalidRequest(f"{folder / FILE} cannot be read.")
    return Review(
        folder / FILE,
        [(f"{folder / path}", _as_text(contents[path])) for path in _select_shown(contents)],
        summarize(skill, contents),
        digest_skill(digest_contents(contents)),
        list_others(contents),
    )


def summarize(skill: Skill, contents: Mapping[str, bytes]) -> str:
    """Return a sentence about a skill."""
    scripts = sum(map(is_script, contents))
    files = count_noun(len(contents), "file")
    runs = f"; its scripts ({scripts}) ask you each time before they run" if scripts else ""
    return f"It is the skill {skill.name}, of {files}{runs}"


def list_others(contents: Mapping[str, bytes]) -> list[str]:
    """Return the files of a skill that are not shown whole, with their sizes."""
    others = [path for path in sorted(contents) if path not in _select_shown(contents)]
    named = [f"{path} ({len(contents[path]):,} bytes)" for path in others[:MAX_NAMED]]
    more = len(others) - len(named)
    return [*named, *([f"and {more} more"] if more else [])]


def _select_shown(contents: Mapping[str, bytes]) -> list[str]:
    """Return the files that are shown whole: the SKILL.md, and what can be run."""
    scripts = [path for path in sorted(contents) if is_script(path)]
    return [FILE, *scripts]


def _as_text(content: bytes) -> str:
    if not looks_like_text(content):
        return f"(no text: {len(content):,} bytes)"
    return content.decode("utf-8")
