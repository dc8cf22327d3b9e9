"""Instructions of a project for models: AGENTS.md and its kin.

The user's own file comes first, then those of the project from its root to the working folder, so
that the nearest has the last word. In a folder one file counts: AGENTS.md, else CLAUDE.md, else
GEMINI.md; at the root also .github/copilot-instructions.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from antiphon.types.errors import InvalidRequest
from antiphon.types.terminal_safe import one_line

OWN = "AGENTS.md"
"""Name of the user's own file, in the config folder."""
KIN = ("AGENTS.md", "CLAUDE.md", "GEMINI.md")
OF_GITHUB = ".github/copilot-instructions.md"
LARGEST = 1024 * 1024
"""Bytes of a file."""
MAX_CHARACTERS = 32_768
"""Of all files together, what the model is given: some 8,000 tokens in every request."""

HEAD = """\
The files below are instructions for work in this folder. Where they contradict each other, the \
last one counts; what the user says in the conversation comes before all of them."""


class InstructionFile(msgspec.Struct, frozen=True):
    """A file of instructions, with its text."""

    file: Path
    text: str

    @classmethod
    def parse(cls, file: Path, content: bytes) -> Self:
        """Parse the content of a file. Raises `InvalidRequest`."""
        if b"\0" in content:
            raise InvalidRequest(f"{file} is no text.")
        try:
            return cls(file, content.decode("utf-8-sig").strip())
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"{file} is no text in UTF-8.") from error


def join_instructions(files: Sequence[InstructionFile]) -> str:
    """Return the texts for a model, "" without any. The nearest get their room first."""
    room = MAX_CHARACTERS
    parts: list[str] = []
    for each in reversed(files):
        text = each.text[:room]
        room -= len(text)
        if len(text) < len(each.text):
            text += f"\n[{len(each.text) - len(text)} more characters were too many]"
        if each.text:
            name = one_line(str(each.file)).replace('"', "'")
            safe = text.replace("</instructions", "&lt;/instructions")
            parts.append(f'<instructions file="{name}">\n{safe}\n</instructions>')
    return "\n\n".join([HEAD, *reversed(parts)]) if parts else ""
