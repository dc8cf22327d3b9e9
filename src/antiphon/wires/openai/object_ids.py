"""Ids of items, conversations and files: they follow from those of stored objects, and back.

A stored reply gives several items, and the outputs of its calls belong to it too, so the ids of all
of them are its own id with another prefix and, for calls, their place in the reply, from 0:

    mcpl_S_0   msg_S   rs_S   fc_S_0   fco_S_0   fc_S_1   fco_S_1   ...

The id of a run's reply follows from run and turn (`antiphon.types.ids.reply_id`), so that a stream
names its items as lists do later.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

CallPrefix = Literal["fc", "fco", "ctc", "ctco", "mcp", "mcpr", "mcpa", "ws", "fs", "ci", "ig"]
"""Prefixes of items that stand for one call of a reply, or for its output."""

ListPrefix = Literal["mcpl"]
"""Prefix of items that stand for a list of an MCP server's tools."""

ItemPrefix = Literal["msg", "rs", "cmp"] | ListPrefix | CallPrefix
"""Prefixes of all items."""

HOSTED_PREFIXES: Final[dict[str, CallPrefix]] = {
    "web_search_call": "ws",
    "file_search_call": "fs",
    "code_interpreter_call": "ci",
    "image_generation_call": "ig",
}
"""Prefixes of calls of hosted tools, by the types of their items."""

_ITEM = re.compile(
    r"(msg|rs|cmp)_([0-9A-Za-z-]{1,64})|(fco?|ctco?|mcp[lra]?|ws|fs|ci|ig)_([0-9A-Za-z-]{1,64})_(0|[1-9][0-9]{0,3})"
)
_SUFFIX = re.compile(r"[0-9A-Za-z-]{1,64}")


class ItemId(NamedTuple):
    """An id of an item, taken apart; `place` is that of a call or a list in its reply, from 0."""

    prefix: str
    message_id: str
    place: int | None = None


def item_id(prefix: Literal["msg", "rs", "cmp"], message_id: str) -> str:
    """Return the id of an item that stands for a message, its reasoning, or a summary."""
    return f"{prefix}_{message_id.partition('_')[2]}"


def call_item_id(prefix: CallPrefix | ListPrefix, reply_id: str, place: int) -> str:
    """Return the id of an item that stands for the call or list at this place of a reply."""
    return f"{prefix}_{reply_id.partition('_')[2]}_{place}"


def parse_item_id(id: str) -> ItemId | None:
    """Return the parts of an item's id; None if no item here has such an id."""
    found = _ITEM.fullmatch(id)
    if found is None:
        return None
    if found[1] is not None:
        return ItemId(found[1], f"msg_{found[2]}")
    return ItemId(found[3], f"msg_{found[4]}", int(found[5]))


_NUMBER = re.compile(r"(?<=[0-9A-Za-z])-[0-9]{1,4}(?=_|$)", re.ASCII)


def to_stored_item_id(id: str) -> str:
    """Return the id that an item has once it is stored.

    In the stream of a response, an item of a turn that began again has a number after its suffix,
    as has text that goes on after calls.
    """
    return _NUMBER.sub("", id)


def conversation_id(thread_id: str) -> str:
    """Return the id under which a thread is a conversation."""
    return f"conv_{thread_id.partition('_')[2]}"


def parse_conversation_id(id: str) -> str | None:
    """Return the thread's id of a conversation's; None if no conversation here has such an id."""
    prefix, _, suffix = id.partition("_")
    return f"thread_{suffix}" if prefix == "conv" and _SUFFIX.fullmatch(suffix) else None


def public_file_id(file_id: str) -> str:
    """Return a file's id as this wire has it: some clients know one by `file-`."""
    return f"file-{file_id.removeprefix('file_')}"


def parse_file_id(id: str) -> str:
    """Return the file's own id, of either form."""
    return f"file_{id.removeprefix('file-')}" if id.startswith("file-") else id
