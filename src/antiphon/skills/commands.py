"""Slash commands from files: a Markdown file is a message with room for arguments.

`$ARGUMENTS` is everything that is typed behind the command's name, `$1` to `$9` are its words. What
is typed is appended to a file that has no room for it. Nothing in the file is carried out: it is a
text for the model.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import msgspec

from antiphon.skills.frontmatter import parse_document
from antiphon.types.errors import InvalidRequest
from antiphon.types.terminal_safe import one_line

LARGEST = 256 * 1024
"""Bytes of a file."""
MAX_MEANING = 100
"""Characters of a description that lists show."""
MAX_NOTATION = 60
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(:[A-Za-z0-9][A-Za-z0-9_-]{0,63}){0,3}")
_ROOM = re.compile(r"\$(ARGUMENTS\b|[1-9](?!\d))")


class FileCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A slash command from a file. `arguments` is their notation in the help."""

    name: str
    meaning: str
    text: str
    arguments: str = ""

    def expand(self, words: str) -> str:
        """Return the message for what was typed behind the name."""
        if not _ROOM.search(self.text):
            return f"{self.text}\n\n{words}".strip()
        parts = _split(words)

        def fill(found: re.Match[str]) -> str:
            if found[1] == "ARGUMENTS":
                return words
            place = int(found[1]) - 1
            return parts[place] if place < len(parts) else ""

        return _ROOM.sub(fill, self.text).strip()


def command_name(file: Path) -> str:
    """Return the name of a command by its path below the folder of commands.

    Raises `InvalidRequest`.
    """
    name = ":".join(file.with_suffix("").parts)
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            "Its file name is no name for a command: letters, digits, - and _ are.",
            received=repr(name[:100]),
        )
    return name


def parse_command(name: str, content: bytes) -> FileCommand:
    """Parse the content of a file. Raises `InvalidRequest`."""
    if b"\0" in content:
        raise InvalidRequest("The file is no text.")
    try:
        document = parse_document(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InvalidRequest("The file is no text in UTF-8.") from error
    text = document.body.strip()
    if not text:
        raise InvalidRequest("The file is empty.", expected="a message for the model")
    first = text.partition("\n")[0].lstrip("# ")
    meaning = one_line(document.text("description") or first)
    hint = document.fields.get("argument-hint", "")
    notation = " ".join(f"[{each}]" for each in hint) if isinstance(hint, list) else hint
    if not isinstance(notation, str) or not notation:
        notation = "[TEXT]" if _ROOM.search(text) else ""
    return FileCommand(
        name=name,
        meaning=meaning[:MAX_MEANING],
        text=text,
        arguments=one_line(notation)[:MAX_NOTATION],
    )


def _split(words: str) -> list[str]:
    """Split as a shell does; at blanks alone where a quote has no end."""
    try:
        return shlex.split(words)
    except ValueError:
        return words.split()
