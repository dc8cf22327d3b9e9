"""To-do list of the model: a tool that writes it, and the list of a thread.

The list is stored nowhere else than in the arguments of the last call that succeeded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from antiphon.tools.functions import tool
from antiphon.types.messages import Message
from antiphon.types.thread_view import CallView, ThreadReader

NAME = "write_todos"
MAX_ITEMS = 50
MAX_CHARACTERS = 300

TodoStatus = Literal["pending", "in_progress", "done"]

_MARKS = {"pending": "[ ]", "in_progress": "[~]", "done": "[x]"}


class Todo(msgspec.Struct, frozen=True):
    """One step of the work."""  # in the schema too; the text is not cleaned

    text: Annotated[str, Meta(min_length=1, max_length=MAX_CHARACTERS)]
    status: TodoStatus = "pending"


_Items = Annotated[tuple[Todo, ...], Meta(max_length=MAX_ITEMS)]


class _Arguments(msgspec.Struct, frozen=True):
    items: _Items


@tool(read_only=True)
def write_todos(items: _Items) -> str:
    """Show the user your to-do list for work of several steps; it replaces the last list.

    Write the list before you begin, and again whenever a step is begun, done, added or dropped.
    Leave it out for work of one or two steps.

    Args:
        items: All steps in order, also those that are done. At most one is in_progress.
    """
    lines = [f"{_MARKS[item.status]} {' '.join(item.text.split())}" for item in items]
    return "\n".join(lines) or "The list is empty."


def count_done(todos: Iterable[Todo]) -> str:
    """Return the share of the list that is done, as in `1 of 3 done`."""
    done = [item.status == "done" for item in todos]
    return f"{sum(done)} of {len(done)} done"


def parse_todos(name: str, arguments: str) -> tuple[Todo, ...] | None:
    """Return the list that this call writes; None for another tool, or invalid arguments."""
    if name != NAME:
        return None
    try:
        return msgspec.json.decode(arguments, type=_Arguments).items
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def find_todos(messages: Iterable[Message]) -> tuple[Todo, ...] | None:
    """Return the last list of these messages of a thread; None if no call wrote one."""
    reader, found = ThreadReader(), None
    for message in messages:
        view = reader.read(message)
        for part in view.parts if view else ():
            if isinstance(part, CallView) and not part.is_error:
                arguments = part.changed_arguments or part.call.arguments
                todos = parse_todos(part.call.name, arguments)
                found = found if todos is None else todos
    return found
