"""Shares: read-only snapshots of a thread, each behind a link, and what a reader sees of one."""

from __future__ import annotations

from typing import Literal

import msgspec

from antiphon.types.accounts import DAY_MS
from antiphon.types.documents import DocumentFailure
from antiphon.types.messages import Citation

SECOND_MS = 1000
LIFETIME = 30 * DAY_MS // SECOND_MS
"""Seconds after which a share expires, if its owner does not say when."""
TOKEN_BYTES = 24
"""Random bytes of a link's token: 192 bits."""

Sharing = Literal["off", "people", "anyone"]
"""Readers of shared conversations: none, callers with access of their own, or all who have the
link."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A share of a thread: what its snapshot includes, and until when it can be read. Times in ms.

    `messages` is their number in the snapshot, `updated_at` the time of the snapshot.
    """

    id: str
    thread_id: str
    title: str = ""
    include_tools: bool = False
    include_reasoning: bool = False
    messages: int = 0
    created_at: int
    updated_at: int
    expires_at: int


class SharedCall(msgspec.Struct, frozen=True):
    """A tool call with its output; None if no output is stored.

    `fault` is the reason why there is no result, such as `cancelled` or `refused`; else "".
    """

    name: str
    arguments: str
    output: str | None = None
    is_error: bool = False
    fault: str = ""


class UnreadFile(msgspec.Struct, frozen=True):
    """An attached file whose text could not be read, and the reason."""

    name: str
    reason: DocumentFailure


class SharedMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of a snapshot, without ids. `created_at` in ms.

    `text` is Markdown if its role is `assistant`. `attachments` are names of files, without their
    contents; `unread` are those whose text could not be read. `reasoning_seconds` is how long the
    model reasoned. `citations` are the pages that the provider cites, in the order of its list.
    `incomplete` says that a reply was cut off.
    """

    role: Literal["user", "assistant"]
    text: str = ""
    created_at: int
    model: str = ""
    reasoning: str | None = None
    reasoning_seconds: int = 0
    attachments: tuple[str, ...] = ()
    unread: tuple[UnreadFile, ...] = ()
    calls: tuple[SharedCall, ...] = ()
    citations: tuple[Citation, ...] = ()
    incomplete: bool = False


class SharedThread(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as a link shows it: no owner, and no id. Times in ms.

    `shared_at` is the time of the snapshot: later messages are not in it.
    """

    title: str = ""
    messages: tuple[SharedMessage, ...] = ()
    shared_at: int
    expires_at: int


class SharedSnapshot(msgspec.Struct, frozen=True):
    """The stored content of a share."""

    messages: tuple[SharedMessage, ...]
