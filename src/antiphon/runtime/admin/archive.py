"""Format of an owner's archive: a zip of JSON lines, of the files' bytes, and of a manifest.

Each kind of record is a member `KIND.jsonl`, one JSON object a line, newest first. The bytes of a
file are the member that its record names as `place`. The manifest is written last: an archive that
has it is complete.

An import may give the records another owner and new ids. A new id follows from the old one and from
a secret, so that an import that is repeated gives the same ones. Every reference to an id changes
with it, also one to what is not in the archive: it can never become a reference to a record that
was here before.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from antiphon.engine.published import COPIED_FROM
from antiphon.engine.thread_order import REPLACES
from antiphon.types import events, ids
from antiphon.types.accounts import AuditEntry, Key, ProviderKey, UsageRow
from antiphon.types.events import ActionRequired, Event, MessageCompleted, RunStatus, TurnEnded
from antiphon.types.folders import Folder
from antiphon.types.messages import File, Image, Message, MessagePart, Upload
from antiphon.types.personal import Memory, PersonalSettings
from antiphon.types.runs import Action, Assistant, Run, Thread
from antiphon.types.schedules import Occurrence, Schedule
from antiphon.types.webhooks import Webhook, WebhookDelivery

T = TypeVar("T")

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


class ArchivedRun(msgspec.Struct, frozen=True):
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
    "folders": Folder,
    "threads": ThreadRecord,
    "messages": Message,
    "runs": ArchivedRun,
    "events": EventsRecord,
    "actions": Action,
    "files": FileRecord,
    "personal_settings": PersonalSettings,
    "memories": Memory,
    "usage": UsageRow,
    "audit": AuditEntry,
    "keys": Key,
    "provider_keys": ProviderKey,
    "webhooks": Webhook,
    "webhook_deliveries": WebhookDelivery,
    "schedules": Schedule,
    "occurrences": Occurrence,
}
"""Type of each kind of record. Keys and webhooks have no secrets here, and are not imported.

Schedules are imported as paused: their runs had the rights of a key, and an import starts nothing.
"""


ADDED_LATER = frozenset({"folders", "memories", "personal_settings"})
"""Kinds of records that an archive of an earlier version has no member of."""


def member(kind: str) -> str:
    """Return the name of the member with the records of a kind."""
    return f"{kind}.jsonl"


# New owners and new ids.

_TIME = 9  # characters of an id that are its time of birth


class NewIds(Protocol):
    """Gives a record its id in the target."""

    def __call__(self, id: str) -> str:
        """Return the id for one of the archive."""
        ...


def keep(id: str) -> str:
    """Return the id unchanged."""
    return id


def renew(secret: bytes) -> NewIds:
    """Return a function that gives every id another one, the same for the same secret.

    The prefix and the time in the id stay; what two ids share behind their prefixes they go on to
    share, as the id of a tool message does with its action's.
    """

    def new_id(id: str) -> str:
        prefix, _, rest = id.partition("_")
        digest = hmac.digest(secret, rest.encode(), "sha256")
        made = ids.make("msg", 0, digest[: ids.RANDOM_BYTES]).removeprefix("msg_")[_TIME:]
        time = rest[:_TIME] if len(rest) == _TIME + len(made) else "0" * _TIME
        return f"{prefix}_{time}{made}"

    return new_id


def change_ids(record: T, new: NewIds) -> T:
    """Return the record with all its ids, and those that it refers to, changed."""
    if new is keep:
        return record
    change: Callable[[Any, NewIds], Any] | None = _CHANGES.get(type(record))
    changed: T = record if change is None else change(record, new)
    return changed


def change_event(event: Event, new: NewIds) -> Event:
    """Return the event with the ids that it names changed."""
    match event:
        case RunStatus():
            return replace(event, run_id=new(event.run_id), thread_id=new(event.thread_id))
        case TurnEnded():
            return replace(event, run_id=new(event.run_id))
        case MessageCompleted():
            return MessageCompleted(message=_message(event.message, new))
        case ActionRequired():
            actions = tuple(replace(each, action_id=new(each.action_id)) for each in event.actions)
            return ActionRequired(run_id=new(event.run_id), actions=actions)
        case _:
            return event


def change_owner(record: UsageRow | AuditEntry, owner: str) -> UsageRow | AuditEntry:
    """Return a record of another owner's, where it names one."""
    if isinstance(record, AuditEntry) and record.target == record.owner:
        return replace(record, owner=owner, target=owner)
    return replace(record, owner=owner)


def _optional(id: str | None, new: NewIds) -> str | None:
    return None if id is None else new(id)


def _metadata(metadata: dict[str, str], key: str, new: NewIds) -> dict[str, str]:
    """Return metadata in which the ids under a key, separated by commas, are changed."""
    if not metadata.get(key):
        return metadata
    return {**metadata, key: ",".join(map(new, metadata[key].split(",")))}


def _assistant(record: Assistant, new: NewIds) -> Assistant:
    metadata = _metadata(record.metadata, COPIED_FROM, new)
    file_ids = tuple(map(new, record.file_ids))
    return replace(
        record, id=new(record.id), file_ids=file_ids, metadata=metadata, published_at=None
    )


def _folder(record: Folder, new: NewIds) -> Folder:
    file_ids = tuple(map(new, record.file_ids))
    return replace(record, id=new(record.id), file_ids=file_ids)


def _thread(record: ThreadRecord, new: NewIds) -> ThreadRecord:
    return replace(
        record,
        id=new(record.id),
        parent_id=_optional(record.parent_id, new),
        folder_id=_optional(record.folder_id, new),
        metadata=_metadata(record.metadata, REPLACES, new),
        family=new(record.family) if isinstance(record.family, str) else msgspec.UNSET,
    )


def _message(record: Message, new: NewIds) -> Message:
    return replace(
        record,
        id=new(record.id),
        thread_id=new(record.thread_id),
        run_id=_optional(record.run_id, new),
        parent_id=_optional(record.parent_id, new),
        content=tuple(_part(part, new) for part in record.content),
        metadata=_metadata(record.metadata, "files", new)
        if record.role == "tool"
        else record.metadata,
    )


def _part(part: MessagePart, new: NewIds) -> MessagePart:
    match part:
        case File(file_id):
            return File(new(file_id))
        case Image(file_id=str(file_id)):
            return Image(file_id=new(file_id))
        case _:
            return part


def _run(record: ArchivedRun, new: NewIds) -> ArchivedRun:
    run: Run = record.run
    changed = replace(
        run,
        id=new(run.id),
        thread_id=new(run.thread_id),
        assistant_id=_optional(run.assistant_id, new),
    )
    if run.responses is not msgspec.UNSET:
        renewed = tuple(replace(e, request=_response(e.request, new)) for e in run.responses)
        changed = replace(changed, responses=renewed)
    return replace(record, run=changed)


_RUN_DIGITS = 35  # of an id of a response; its place in the run follows


def _response(request: dict[str, Any], new: NewIds) -> dict[str, Any]:
    """Return the request of a response, which names an earlier one or a conversation."""
    changed = dict(request)
    match request.get("previous_response_id"):
        case str(before):
            end = len("resp_") + _RUN_DIGITS
            changed["previous_response_id"] = new(before[:end]) + before[end:]
        case _:
            pass
    match request.get("conversation"):
        case str(conversation):
            changed["conversation"] = new(conversation)
        case _:
            pass
    return changed


def _events(record: EventsRecord, new: NewIds) -> EventsRecord:
    changed = (events.encode(change_event(events.decode(each), new)) for each in record.events)
    return EventsRecord(new(record.run_id), record.first, tuple(map(msgspec.Raw, changed)))


def _action(record: Action, new: NewIds) -> Action:
    return replace(
        record,
        id=new(record.id),
        run_id=new(record.run_id),
        thread_id=new(record.thread_id),
    )


def _file(record: FileRecord, new: NewIds) -> FileRecord:
    return replace(record, id=new(record.id))


def _memory(record: Memory, new: NewIds) -> Memory:
    return replace(
        record,
        id=new(record.id),
        run_id=_optional(record.run_id, new),
        thread_id=_optional(record.thread_id, new),
    )


def _schedule(record: Schedule, new: NewIds) -> Schedule:
    return replace(
        record,
        id=new(record.id),
        thread_id=_optional(record.thread_id, new),
        assistant_id=_optional(record.assistant_id, new),
        last_run_id=_optional(record.last_run_id, new),
    )


def _entry(record: AuditEntry, new: NewIds) -> AuditEntry:
    prefix = record.target.partition("_")[0]
    known = prefix in ("asst", "folder", "thread", "msg", "run", "act", "file", "sched")
    return replace(record, target=new(record.target)) if known else record


_CHANGES: dict[type[Any], Callable[[Any, NewIds], Any]] = {
    Assistant: _assistant,
    Folder: _folder,
    ThreadRecord: _thread,
    Message: _message,
    ArchivedRun: _run,
    EventsRecord: _events,
    Action: _action,
    FileRecord: _file,
    Memory: _memory,
    Schedule: _schedule,
    AuditEntry: _entry,
}
