"""Format of an owner's archive: a zip of JSON lines, of the files' bytes, and of a manifest.

Each kind of record is a member `KIND.jsonl`, one JSON object a line, newest first. The bytes of a
file are the member that its record names as `place`. The manifest is written last: an archive that
has it is complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from antiphon.types.accounts import AuditEntry, Key, ProviderKey, UsageRow
from antiphon.types.messages import Message, Upload
from antiphon.types.runs import Action, Assistant, Run, Thread

FORM = 2
"""Version of the format; it grows when a reader of an older one would lose or mistake something."""

MANIFEST = "manifest.json"
FILES = "files/"


class Manifest(msgspec.Struct, frozen=True):
    """Version, owner, time (ms), and the number of records of each kind."""

    form: int
    owner: str
    made_at: int
    counts: dict[str, int]


class ThreadRecord(Thread, frozen=True, kw_only=True):
    """A thread, and the first thread of its family if that is another one."""

    family: str | msgspec.UnsetType = msgspec.UNSET


class RunRecord(msgspec.Struct, frozen=True):
    """A run with the number of its last event; events up to `events_after` are past retention."""

    run: Run
    events_after: int
    last_event: int


class EventsRecord(msgspec.Struct, frozen=True):
    """Consecutive events of a run, the first of them numbered `first`."""

    run_id: str
    first: int
    events: tuple[msgspec.Raw, ...]


class FileRecord(Upload, frozen=True, kw_only=True):
    """An upload, and the member with its bytes."""

    place: str


RECORDS: Mapping[str, type[Any]] = {
    "assistants": Assistant,
    "threads": ThreadRecord,
    "messages": Message,
    "runs": RunRecord,
    "events": EventsRecord,
    "actions": Action,
    "files": FileRecord,
    "usage": UsageRow,
    "audit": AuditEntry,
    "keys": Key,
    "provider_keys": ProviderKey,
}
"""Type of each kind of record. Keys are told of without their secrets, and are not imported."""


def member(kind: str) -> str:
    """Return the name of the member with the records of a kind."""
    return f"{kind}.jsonl"
