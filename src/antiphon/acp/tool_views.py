"""Tool calls as an editor shows them: title, kind, places in files, changes of files.

A model's arguments decide about these, so they only serve to show a call. What is permitted is the
call itself, whose arguments the editor gets whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from os.path import isabs, join, normpath
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from acp.schema import (
    ContentToolCallContent,
    FileEditToolCallContent,
    TextContentBlock,
    ToolCallLocation,
    ToolKind,
)

from antiphon.types.json_values import is_object
from antiphon.types.messages import Tool
from antiphon.types.terminal_safe import clean, json_text, one_line

MAX_TITLE = 120

Content = ContentToolCallContent | FileEditToolCallContent

_KINDS: Sequence[tuple[ToolKind, frozenset[str]]] = (
    ("delete", frozenset({"delete", "remove", "rm", "unlink", "drop"})),
    ("move", frozenset({"move", "rename", "mv"})),
    (
        "edit",
        frozenset({"write", "edit", "replace", "patch", "create", "apply", "insert", "update"}),
    ),
    ("execute", frozenset({"run", "exec", "execute", "shell", "bash", "command", "terminal"})),
    ("fetch", frozenset({"fetch", "http", "url", "web", "download", "browse"})),
    ("search", frozenset({"search", "find", "grep", "glob", "query"})),
    ("read", frozenset({"read", "get", "list", "show", "view", "cat", "status", "open"})),
    ("think", frozenset({"think", "plan", "reason"})),
)
"""Kinds by a word of the tool's name; those with effects come first."""
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_PATHS = ("path", "file", "file_path", "filename", "filepath", "uri")
_BEFORE, _AFTER = ("old_text", "old_string", "old_str"), ("new_text", "new_string", "new_str")
_WHOLE = ("content", "contents", "text", "file_text")


def tool_kind(tool: Tool) -> ToolKind:
    """Return the kind by the words of the tool's name, else by its server's hints."""
    words = {word.lower() for word in _WORD.findall(tool.own_name or tool.spec.name)}
    for kind, names in _KINDS:
        if words & names:
            return kind
    return "read" if tool.hints.read_only else "other"


def tool_title(tool: Tool) -> str:
    """Return the tool's name for a person, with its server's."""
    name = tool.hints.title or tool.own_name or tool.spec.name
    return one_line(f"{tool.server}: {name}" if tool.server else name)[:MAX_TITLE]


def parse_arguments(text: str) -> Any:
    """Return the value of JSON arguments; the text itself while it is no JSON."""
    try:
        return msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text


def locations(arguments: Any, folder: str) -> list[ToolCallLocation]:
    """Return the files that the arguments name, as absolute paths."""
    return [ToolCallLocation(path=path) for path in _paths(arguments, folder)][:16]


def changes(kind: ToolKind, arguments: Any, folder: str) -> list[Content]:
    """Return the change of a file that the arguments ask for, if they have the usual names."""
    paths = _paths(arguments, folder)
    if not paths or kind not in ("edit", "other"):
        return []
    before, after = _text(arguments, _BEFORE), _text(arguments, _AFTER)
    if before is None and kind == "edit":
        after = after if after is not None else _text(arguments, _WHOLE)
    if after is None:
        return []
    return [FileEditToolCallContent(type="diff", path=paths[0], old_text=before, new_text=after)]


def text_content(text: str) -> Content:
    """Return text as content of a call."""
    return ContentToolCallContent(type="content", content=TextContentBlock(type="text", text=text))


def arguments_content(text: str) -> Content:
    """Return all arguments of a call for a person to read; nothing in them is invisible."""
    with suppress(msgspec.DecodeError, UnicodeError, RecursionError):
        text = json_text(msgspec.json.format(text.encode(), indent=2))
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return text_content(f"{fence}json\n{clean(text)}\n{fence}")


def _paths(arguments: Any, folder: str) -> list[str]:
    if not is_object(arguments):
        return []
    found: list[str] = []
    for name in _PATHS:
        value = arguments.get(name)
        if isinstance(value, str) and value and "\0" not in value:
            path = _local_path(value)
            if path:
                found.append(normpath(path if isabs(path) else join(folder, path)))
    return found


def _local_path(value: str) -> str:
    """Return the path of a file's address; "" for an address of something else."""
    try:
        place = urlsplit(value)
    except ValueError:
        return ""
    if place.scheme == "file":
        return unquote(place.path)
    return "" if place.scheme and place.netloc else value


def _text(arguments: Mapping[str, object], names: Sequence[str]) -> str | None:
    values = (arguments.get(name) for name in names)
    return next((value for value in values if isinstance(value, str)), None)
