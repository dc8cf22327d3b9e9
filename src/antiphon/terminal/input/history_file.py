"""What was typed before, in this chat and others: a file of the user's own, one entry a line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec
from prompt_toolkit.history import History

from antiphon.settings import private_files

NAME = "history"
MOST_ENTRIES = 1_000
MOST_BYTES = 1_000_000
"""Of the file; when it is longer, its older half is dropped."""
LONGEST_ENTRY = 20_000
"""Characters of an entry that outlives the chat: a pasted book need not."""


class HistoryFile(History):
    """What was sent, newest first; read from its file when it is first looked for.

    Several chats may write at once, for each entry is appended whole. Where the file cannot be read
    or written, there is what this chat was told. An entry that begins with a blank is not kept, as
    shells have it.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def load_history_strings(self) -> Iterable[str]:
        """The entries of the file."""
        try:
            lines = self._file.read_bytes().splitlines()
        except OSError:
            return []
        entries = [text for line in lines if (text := _decode_entry(line)) is not None]
        return list(dict.fromkeys(reversed(entries)))[:MOST_ENTRIES]

    def store_string(self, string: str) -> None:
        """Append the entry."""
        if string[:1].isspace() or len(string) > LONGEST_ENTRY:
            return
        try:
            with private_files.lock_file(self._file):
                self._append(msgspec.json.encode(string) + b"\n")
        except OSError:  # a full disk keeps nobody from talking
            return

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(line)
            size = file.tell()
        if size > MOST_BYTES:
            lines = self._file.read_bytes().splitlines(keepends=True)
            private_files.write_private_file(self._file, b"".join(lines[len(lines) // 2 :]))


def _decode_entry(line: bytes) -> str | None:
    """The text of a line; None for one that was cut or that is another program's."""
    try:
        return msgspec.json.decode(line, type=str)
    except (msgspec.DecodeError, UnicodeError):
        return None
