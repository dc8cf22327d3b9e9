"""History of the input line, shared by chats: a private file of the user, one entry a line."""

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
"""Size of the file at which its older half is dropped."""
LONGEST_ENTRY = 20_000
"""Characters of the longest entry that is saved: a pasted book is not."""


class HistoryFile(History):
    """Entries, newest first; the file is read when the history is first used.

    Several chats may write at once: each entry is appended in one write. If the file cannot be read
    or written, the history covers this chat only. An entry that begins with a blank is not saved,
    as in shells.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def load_history_strings(self) -> Iterable[str]:
        """Return the entries of the file."""
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
        except OSError:  # a full disk does not end the chat
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
    """Return the text of a line; None if it is cut or not ours."""
    try:
        return msgspec.json.decode(line, type=str)
    except (msgspec.DecodeError, UnicodeError):
        return None
