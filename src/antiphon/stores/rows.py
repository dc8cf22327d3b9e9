"""Helpers of the SQL stores: values from rows, and rows from values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from antiphon.engine.context_window import SUMMARY, Context, landmark_role, tokens
from antiphon.engine.text_search import MessageMatch, Phrase, examine
from antiphon.stores import invariants
from antiphon.types.accounts import AuditEntry, Key, Person, Project, ProviderKey
from antiphon.types.chat_imports import StoredImport
from antiphon.types.documents import DocumentPage
from antiphon.types.events import EventPage
from antiphon.types.folders import Folder
from antiphon.types.messages import Message, Upload, to_chat_completions
from antiphon.types.personal import PersonalRecord
from antiphon.types.runs import Action, Assistant, Run, RunLease, Thread
from antiphon.types.schedules import Occurrence, Schedule
from antiphon.types.shares import Share
from antiphon.types.webhooks import DeliveryOutcome, Webhook

T = TypeVar("T")

EVENT_PAGE_BYTES = 1_000_000  # about, of the log in one page
LIST_PAGE_BYTES = 2_000_000  # of a list in one page; a single item may be larger
SEARCH_BYTES = 1_000_000  # of the messages that a search returns at once, which all are ranked


class RunRow(NamedTuple):
    """A run as it is stored, with its owner and lease."""

    owner: str
    run: Run
    lease: RunLease
    wanted_at: int


def decode_lease(columns: Sequence[Any]) -> RunLease:
    """Return the lease in these columns of a run."""
    epoch, wanted, worker, due_at, last_event, turn_began_after, kept_after, fresh = columns[:8]
    key_id, trace, destination = columns[8:]
    return RunLease(
        epoch=epoch,
        wanted=bool(wanted),
        worker=worker,
        due_at=due_at,
        last_event=last_event,
        turn_began_after=turn_began_after,
        kept_after=kept_after,
        fresh=bool(fresh),
        key_id=key_id,
        trace=trace,
        destination=destination,
    )


def to_page(number: int, title: str, content: str) -> DocumentPage:
    """Return the page of a file in these columns."""
    return DocumentPage(number=number, title=title, text=content)


def take_page(
    items: Iterable[T],
    limit: int,
    size: Callable[[T], int] = len,  # type: ignore[assignment]
    cap: int = LIST_PAGE_BYTES,
) -> tuple[list[T], bool]:
    """Return the items of one page, and whether there is more.

    A page has at most `limit` items and `cap` bytes, but at least one item. `size` returns bytes.
    No item is read after the first that does not fit.
    """
    page: list[T] = []
    total = 0
    for item in items:
        total += size(item)
        if len(page) == limit or (page and total > cap):
            return page, True
        page.append(item)
    return page, False


def build_event_page(
    run_id: str,
    after: int,
    ended: bool,
    kept_after: int,
    last_event: int,
    first: int | None,
    joined: bytes | None,
) -> EventPage:
    """Return a page of the log from joined lines, of which the first is numbered `first`.

    Raises `EventExpired`.
    """
    invariants.check_not_expired(run_id, after, kept_after)
    lines = joined.split(b"\n")[after + 1 - first :] if joined and first is not None else []
    more = bool(lines) and after + len(lines) < last_event
    return EventPage(after + 1, lines, ended and not more, more)


def build_context(
    version: int, messages: int, tokens: int, chats: Sequence[bytes], marks: Sequence[bytes]
) -> Context:
    """Return a context from pieces of its chat and of its marks, in order."""
    joined = b",".join(marks)
    return Context(
        version=version,
        messages=messages,
        tokens=tokens,
        chat=b",".join(chats),
        marks=joined,
        compacted=_SUMMARY in joined,
    )


def decode_actions(joined: bytes | None) -> tuple[Action, ...]:
    """Return actions from their JSON, joined by commas."""
    return _ACTIONS.decode(b"[" + (joined or b"") + b"]")


def decoder(kind: type[T]) -> Callable[[bytes], T]:
    """Return the function that decodes the JSON of a kind."""
    return cast("Callable[[bytes], T]", _DECODERS[kind].decode)


_DECODERS: dict[type[Any], msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (
        Action,
        Assistant,
        AuditEntry,
        DeliveryOutcome,
        Folder,
        Key,
        Message,
        Occurrence,
        Person,
        PersonalRecord,
        Project,
        ProviderKey,
        Run,
        Schedule,
        Share,
        StoredImport,
        Thread,
        Upload,
        Webhook,
    )
}
_ACTIONS = msgspec.json.Decoder(tuple[Action, ...])
_SUMMARY = f'"{SUMMARY}"'.encode()


def build_match(
    place: int, message: bytes, thread: bytes, phrases: Sequence[Phrase]
) -> MessageMatch:
    """Return a message that was found; takes a while for a long one."""
    found = decoder(Message)(message)
    return MessageMatch(place, found, decoder(Thread)(thread), examine(found.full_text, phrases))


def message_columns(message: Message) -> dict[str, Any]:
    """Return the columns of a message."""
    chat = to_chat_completions(message)
    return {
        "id": message.id,
        "thread_id": message.thread_id,
        "number": message.number,
        "role": landmark_role(message),
        "size": len(chat),
        "tokens": tokens(len(chat)),
        "chat": chat,
        "doc": msgspec.json.encode(message),
    }
