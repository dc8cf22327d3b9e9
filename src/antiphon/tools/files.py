"""Tools that read, search and change files, only below the folders of `allowed_paths`.

    antiphon chat --tools antiphon.tools.files --allowed-paths ~/projects/site

A person is asked before each change. A change states what it expects to find, so that it never
overwrites what the model has not seen; the result is a diff, and `undo_edit` takes it back.
"""

from __future__ import annotations

import asyncio
import difflib
import threading
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from typing import NamedTuple

from antiphon.settings.settings import Settings
from antiphon.tools.builtin import MAX_FILE_BYTES, FileReader
from antiphon.tools.functions import Function, tool, toolset
from antiphon.types.errors import AntiphonError, InvalidRequest

MAX_SEARCHED_BYTES = 1_000_000  # of a file
MAX_SEARCHED_FILES = 20_000
MAX_FOUND = 200  # lines in one answer
MAX_LINE = 300  # characters of a line in an answer
MAX_DIFF = 20_000  # characters
MAX_UNDONE = 50  # edits that can be taken back
SKIPPED = frozenset({".git", ".hg", ".svn", ".venv", "node_modules", "__pycache__"})
"""Folders that searches leave out."""
GUARDED = frozenset({".git", ".hg", ".svn"})
"""Folders in which nothing is changed: version control runs programs that are named there."""


@toolset
def tools(settings: Settings) -> list[Function]:
    """Return the tools for `--tools antiphon.tools.files`."""
    editor = FileEditor(settings.allowed_paths)
    return [
        editor.read_file,
        editor.list_files,
        editor.search_files,
        editor.edit_file,
        editor.write_file,
        editor.undo_edit,
    ]


class _Edit(NamedTuple):
    """A change of a file; `before` is None if the file is new."""

    path: str
    before: bytes | None
    after: bytes


class FileEditor(FileReader):
    """Tools for the files below these folders, and nowhere else."""

    def __init__(self, roots: Sequence[str]) -> None:
        super().__init__(roots)
        self._edits: list[_Edit] = []
        self._lock = threading.Lock()

    @tool(read_only=True)
    async def search_files(
        self, text: str, path: str = "", name: str = "*", ignore_case: bool = False
    ) -> str:
        """Find a text in the files of a folder and below; each line is path:line number: line.

        Args:
            text: The text as it stands in one line; it is no pattern.
            path: The folder to search; without it, all.
            name: A pattern for names of files, such as *.py.
            ignore_case: Treat capital and small letters as the same.
        """
        self._check()
        if not text or "\n" in text:
            raise InvalidRequest("The text to find is a part of one line.")
        return await asyncio.to_thread(self._search, text, path, name, ignore_case)

    @tool(consent=True)
    async def edit_file(
        self, path: str, old_text: str, new_text: str, replace_all: bool = False
    ) -> str:
        """Replace a text in a file; the user is asked first.

        Args:
            path: The file, as list_files names it.
            old_text: The text to replace, exactly as it is in the file, with enough of the lines
                around it that it occurs once.
            new_text: The text in its place.
            replace_all: Replace every occurrence.
        """
        return await asyncio.to_thread(self._edit, path, old_text, new_text, replace_all)

    @tool(consent=True)
    async def write_file(self, path: str, content: str) -> str:
        """Create a file, with the folders that are missing; the user is asked first.

        A file that exists is changed by edit_file.

        Args:
            path: The new file, relative, with / between folders.
            content: The whole text.
        """
        self._check()
        _check_place(path)
        after = content.encode()
        if len(after) > MAX_FILE_BYTES:
            raise InvalidRequest(f"A file may have {MAX_FILE_BYTES} bytes, this has {len(after)}.")
        await asyncio.to_thread(self._save, _Edit(path, None, after))
        return f"{path} was created, with {len(content.splitlines())} lines."

    @tool(consent=True)
    async def undo_edit(self, path: str) -> str:
        """Take back the last change of a file that edit_file or write_file made; the user is asked.

        Args:
            path: The file.
        """
        self._check()
        return await asyncio.to_thread(self._undo, path)

    # In threads.

    def _edit(self, path: str, old_text: str, new_text: str, replace_all: bool) -> str:
        self._check()
        _check_place(path)
        before = self._read_text(path)
        old, new = _fit_line_ends(before, old_text), _fit_line_ends(before, new_text)
        count = before.count(old) if old else 0
        if not count:
            raise InvalidRequest(f"{path} does not contain that text.{_explain_miss(before, old)}")
        if count > 1 and not replace_all:
            raise InvalidRequest(
                f"{path} contains that text {count} times. Give more of the lines around it, or"
                " replace_all."
            )
        if old == new:
            raise InvalidRequest("The new text is the old one.")
        after = before.replace(old, new)
        self._save(_Edit(path, before.encode(), after.encode()))
        return _diff(path, before, after)

    def _save(self, edit: _Edit) -> None:
        with self._lock:
            self._folders.write(edit.path, edit.after, expected=edit.before)
            self._edits = [*self._edits[1 - MAX_UNDONE :], edit]

    def _undo(self, path: str) -> str:
        with self._lock:
            at = next(
                (at for at, each in reversed([*enumerate(self._edits)]) if each.path == path), None
            )
            if at is None:
                raise InvalidRequest(f"No change of {path} can be taken back.")
            edit = self._edits[at]
            if edit.before is None:
                self._folders.remove(path, expected=edit.after)
            else:
                self._folders.write(path, edit.before, expected=edit.after)
            del self._edits[at]
        if edit.before is None:
            return f"{path} was deleted again."
        return _diff(path, edit.after.decode(), edit.before.decode())

    def _read_text(self, path: str) -> str:
        content, size = self._folders.read(path, MAX_FILE_BYTES)
        if size > len(content):
            raise InvalidRequest(f"{path} has {size} bytes, which is too much to be changed.")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"{path} is no text in UTF-8.") from error

    def _search(self, text: str, path: str, name: str, ignore_case: bool) -> str:
        wanted = text.casefold() if ignore_case else text
        found: list[str] = []
        looked_at = 0
        for file in self._files_below(path):
            looked_at += 1
            if looked_at > MAX_SEARCHED_FILES:
                found.append(f"[more than {MAX_SEARCHED_FILES} files; name a folder]")
                break
            if not fnmatch(file.rpartition("/")[2], name):
                continue
            for number, line in self._lines(file):
                if wanted in (line.casefold() if ignore_case else line):
                    found.append(f"{file}:{number}: {line.strip()[:MAX_LINE]}")
                if len(found) > MAX_FOUND:
                    return "\n".join([*found[:MAX_FOUND], "[and more; name a folder or a file]"])
        return "\n".join(found) or "[nothing found]"

    def _files_below(self, path: str) -> Iterator[str]:
        waiting = [path.strip("/")]
        while waiting:
            folder = waiting.pop()
            for entry in self._folders.entries(folder):
                place = f"{folder}/{entry.name}" if folder else entry.name
                if entry.kind == "file":
                    yield place
                elif entry.kind == "folder" and entry.name not in SKIPPED:
                    waiting.append(place)

    def _lines(self, path: str) -> Iterator[tuple[int, str]]:
        """Yield the numbered lines of a text file; none of a file that cannot be read as text."""
        try:
            content, _ = self._folders.read(path, MAX_SEARCHED_BYTES)
        except AntiphonError:
            return
        if b"\0" not in content[:8192]:
            yield from enumerate(content.decode("utf-8", "replace").splitlines(), 1)


def _check_place(path: str) -> None:
    for part in path.split("/"):
        if part.casefold() in GUARDED:
            raise InvalidRequest(f"Nothing is changed in {part}: it belongs to version control.")


def _fit_line_ends(content: str, text: str) -> str:
    r"""Return the text with the line ends of the content: models write \n, whatever they read."""
    if "\r\n" in content and "\r\n" not in text:
        return text.replace("\n", "\r\n")
    return text


def _explain_miss(content: str, old: str) -> str:
    """Return why a text may not have been found; "" if that is unknown."""
    if not old:
        return " The old text is empty."
    wanted = [line.strip() for line in old.splitlines() if line.strip()]
    there = [line.strip() for line in content.splitlines()]
    if wanted and all(line in there for line in wanted):
        return " Its lines are there with other spaces, or apart from each other: read the file."
    return ""


def _diff(path: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"a/{path}", f"b/{path}", lineterm=""
    )
    diff = "\n".join(lines)
    return diff if len(diff) <= MAX_DIFF else f"{diff[:MAX_DIFF]}\n[the rest is not shown]"
