"""Status row by a template of the user's, such as `{model} | {context} | {git_branch}`.

No program runs for it: the branch is read from the file HEAD of the repository.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from antiphon.client.formatting import dollars
from antiphon.settings.trust import read_regular
from antiphon.terminal import spans
from antiphon.terminal.chat_state import StatusFacts, short_title
from antiphon.terminal.spans import Line, StyledText
from antiphon.types.terminal_safe import one_line

_PART = re.compile(r"\{([a-z_]+)\}")
_BETWEEN = re.compile(r"( [|·] )")
_BRANCH = "ref: refs/heads/"
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_LONGEST = 4_096
_BRANCH_SECONDS = 2.0
"""Seconds for which a branch is shown before the file is read again."""


def template_row(
    template: str, facts: StatusFacts, folder: str, branch: str, columns: int, more: str
) -> Line:
    """Return the row that the template describes, cut to `columns` cells.

    A section between ` | ` or ` · ` whose parts are all unknown is left out. Work in progress, and
    a mode other than `ask`, stand in front of a template that does not name them.
    """
    parts = _part_texts(facts, folder, branch, more)
    first = [
        StyledText(f"{parts[name]} · ", style)
        for name, style, counts in (
            ("activity", "strong", bool(facts.activity)),
            ("mode", "warning", facts.mode != "ask"),
        )
        if counts and f"{{{name}}}" not in template
    ]
    return spans.clip([*first, StyledText(_fill(template, parts), "faint")], columns, more)


def _part_texts(facts: StatusFacts, folder: str, branch: str, more: str) -> Mapping[str, str]:
    texts = {
        "activity": facts.activity,
        "context": facts.context,
        "cost": dollars(facts.cost),
        "folder": folder,
        "git_branch": branch,
        "mode": facts.mode,
        "model": facts.model,
        "queued": f"{facts.queued} queued" if facts.queued else "",
        "servers": ", ".join(f"{server} {state}" for server, state in facts.servers),
        "title": short_title(facts.title, more),
    }
    return {name: one_line(text) for name, text in texts.items()}


def _fill(template: str, parts: Mapping[str, str]) -> str:
    """Return the template with its parts, without the sections that have nothing to say."""
    before, *rest = _BETWEEN.split(one_line(template))
    shown = ""
    for mark, section in zip(("", *rest[::2]), (before, *rest[1::2]), strict=True):
        names = _PART.findall(section)
        if names and not any(parts.get(name) for name in names):
            continue
        text = _PART.sub(lambda found: parts.get(found[1], found[0]), section)
        shown += f"{mark}{text}" if shown else text
    return shown


class GitBranch:
    """The branch of the repository around the working folder, read again every few seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._read_at: float | None = None
        self._name = ""

    def name(self) -> str:
        """Return the branch, or the beginning of the commit without one; "" outside."""
        now = self._clock()
        if self._read_at is None or now - self._read_at > _BRANCH_SECONDS:
            self._read_at, self._name = now, find_branch(working_folder())
        return self._name


def working_folder() -> Path:
    """Return the working folder, also if it was removed."""
    try:
        return Path.cwd()
    except OSError:
        return Path(os.environ.get("PWD", "."))


def short_folder(folder: Path) -> str:
    """Return the folder as it is written below the user's own: `~/notes`."""
    try:
        return str(Path("~") / folder.relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return str(folder)


def find_branch(folder: Path) -> str:
    """Return the branch of the repository around this folder; "" if there is none.

    Without a branch it is the beginning of the commit.
    """
    for place in (folder, *folder.parents):
        git = place / ".git"
        try:
            if git.is_file():  # of a worktree: it names the folder
                text = read_regular(git, _LONGEST).decode("utf-8", "replace")
                git = place / text.removeprefix("gitdir:").strip()
            head = read_regular(git / "HEAD", _LONGEST).decode("utf-8", "replace").strip()
        except (OSError, ValueError):
            continue
        if head.startswith(_BRANCH):
            return head.removeprefix(_BRANCH)
        return head[:7] if _COMMIT.fullmatch(head) else ""
    return ""
