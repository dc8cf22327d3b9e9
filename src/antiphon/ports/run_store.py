"""RunStore: threads, messages, runs and their events, actions, assistants, folders and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from antiphon.engine.context_window import Context
from antiphon.engine.snapshot import Claim, Committed, Decide, IdempotencyKey, ReadSet
from antiphon.engine.text_search import Phrase, TextMatches
from antiphon.ports.records import FilterValue, RecordPage, RecordStore
from antiphon.types.events import EventPage
from antiphon.types.folders import Folder
from antiphon.types.messages import Feedback, Message, Upload
from antiphon.types.runs import Assistant, LeaseInfo, RunLease, Serves, serve_all

T = TypeVar("T")
Editable = TypeVar("Editable", Assistant, Folder)


BeforeCommit = Callable[[Committed], None]
"""Called on the event loop with a change that is written and being committed; see `change`.

It must not raise.
"""
OnCommit = Callable[[Exception | None], None]
"""Called on the event loop with None once events are stored, or with the error that prevents it.

It must not raise.
"""


class TagUse(NamedTuple):
    """A tag with the numbers of families of threads that have it: not archived, and archived."""

    tag: str
    listed: int
    archived: int


class RunStore(RecordStore, Protocol):
    """Stores threads and folders, messages, runs and their events, actions, assistants and files.

    Every write of a running turn carries the run's epoch, and raises `Fenced` when the run has
    another epoch by now. Events are numbered 1, 2, 3 ... in a run and never change.
    """

    async def change(
        self, read_set: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        """Read the records, decide, and write the change in one transaction.

        A store may call `before_commit` once with what it returns if the commit succeeds, while
        the commit waits for the disk, and never after the caller was cancelled. It then does
        everything that it is asked to do with the run from now on after this change: an append is
        refused if the commit fails. Nothing may be sent to a reader or a client before this method
        returns. Reads still find what was there before, except for `context` with the new version.

        If the idempotency key was used before with the same digest, nothing is decided and the
        answer is the stored one, as `msgspec.Raw`; with another digest `IdempotencyConflict` is
        raised. A status or an epoch cannot change in between, and a thread cannot get a second
        active run.
        The growth of a run's usage is counted as tokens of the key that the run was started with,
        if that key has a token limit at that time.
        """
        ...

    async def find_answer(self, once: IdempotencyKey) -> msgspec.Raw | None:
        """Return the answer stored under this key, if any: a cheap check before a change.

        Raises `IdempotencyConflict` for another digest, and `NotFound` where the object of the
        answer was deleted, as `change` does.
        """
        ...

    async def claim(
        self,
        decide: Decide,
        serves: Serves = serve_all,
        declined: Sequence[str] = (),
    ) -> Claim | None:
        """Claim the run that has waited longest, if one is queued and no worker holds it.

        Only runs are considered whose `RunLease.destination` is served, and none whose id is in
        `declined`.
        """
        ...

    async def find_unclaimed_runs(
        self, serves: Serves, wanted_before: int, limit: int
    ) -> Sequence[str]:
        """Return ids of runs that have waited for a worker since before `wanted_before` (ms).

        The longest wait comes first. Runs whose destination is served are left out.
        """
        ...

    async def renew_leases(self, epochs: Mapping[str, int], lease_ms: int) -> frozenset[str]:
        """Renew the leases of these runs (id to epoch); return the ids whose lease was lost."""
        ...

    def append(
        self,
        run_id: str,
        epoch: int,
        first: int,
        lines: Sequence[bytes],
        on_commit: OnCommit,
        *,
        urgent: bool,
    ) -> None:
        """Append encoded events, the first of them numbered `first`; return at once.

        The appends of all runs are written in one transaction every few milliseconds; `urgent` does
        not wait. This is the port's only hot method, so it takes a callback and returns no future.
        """
        ...

    async def read_events(self, run_id: str, after: int) -> EventPage:
        """Return some or all events above `after`. Raises `NotFound` and `EventExpired`."""
        ...

    def find_cached_events(self, run_id: str, after: int) -> EventPage | None:
        """Return stored events above `after` if they are in memory; None if they must be read."""
        ...

    async def context(
        self, thread_id: str, *, fresh: bool = False, version: int | None = None
    ) -> Context:
        """Return the thread as a model gets it; `fresh` bypasses caches. Raises `NotFound`.

        `version` is the thread's version where the caller knows that it still is: a cached context
        of that version needs no read.
        """
        ...

    async def thread_version(self, thread_id: str) -> int:
        """Return the thread's version: one cheap read that validates a cached context."""
        ...

    async def overdue_runs(self, limit: int) -> Sequence[str]:
        """Return ids of runs whose lease, actions or rest have expired."""
        ...

    async def leases(self, limit: int) -> Sequence[LeaseInfo]:
        """Return the leases of runs, expired ones too, in no order."""
        ...

    async def delete_expired(self, events_before: int, keys_before: int) -> int:
        """Delete events of ended runs and idempotency keys older than these times (ms)."""
        ...

    async def delete_expired_shares(self, limit: int) -> int:
        """Delete up to `limit` shares that have expired; return how many."""
        ...

    async def run_lease(self, run_id: str) -> RunLease:
        """Return the run's lease and the state of its log. Raises `NotFound`."""
        ...

    async def run_leases(self, run_ids: Sequence[str]) -> Mapping[str, RunLease]:
        """Return the leases of these runs by id, without runs that do not exist."""
        ...

    async def call_ids(self, run_id: str) -> frozenset[str]:
        """Return the ids of all tool calls of the run; empty where there is no such run."""
        ...

    async def get(self, kind: type[T], owner: str | None, id: str) -> T:
        """Return the Assistant, Folder, Thread, Message, Run, Action or Upload.

        Raises `NotFound`.
        """
        ...

    async def list(
        self,
        kind: type[Any],
        owner: str | None,
        *,
        limit: int,
        after: str | None = None,
        **where: FilterValue,
    ) -> RecordPage:
        """Return a page of records after the one with id `after`.

        Assistants, folders, threads, runs and uploads are listed newest first, messages and actions
        oldest first; `order` of `newest` or `oldest` says otherwise. A page holds about 2 MB at
        most, but at least one item, and then says that there is more. Raises `NotFound` for an
        unknown `after`, and `Overloaded` where a filter takes too long.

        Filters, given as `where`, with the kinds that have them:

            thread_id                       Message, Run, Action
            run_id                          Message, Action
            status                          Run, Action
            role, rating                    Message; a rating is `up`, `down`, or `any` of both
            assistant_id, model             Run, and Action: those of its run
            metadata                        Thread, Message, Run, and Action: that of its run has
                                            these pairs, and perhaps others
            name                            Assistant: this name; Action: one of these
            created_after, created_before   all, in ms
            parent_id, tag, folder_id       Thread; `NO_FOLDER` selects those in no folder
            pinned, archived, temporary     Thread
            query                           Thread: the title or a message contains these words, as
                                            `parse_query` reads them, if it was indexed
            purpose, expires_before         Upload, in ms
            claimable_at                    Action: a worker may claim it at that time, in ms

        Threads only: `order` of `activity` lists the last changed first; `after` is then the cursor
        of a `Position`, else `NotFound` is raised. `family` is the id of a thread and selects all
        threads that replaced each other together with it. `branches` of `latest` omits threads
        without messages, and of each family all but the last changed that the query finds. A thread
        joins the family of the thread that its metadata says it replaces, and leaves it when the
        metadata names another or none; deleting a thread of a family leaves the others together.
        """
        ...

    async def count_tags(self, owner: str, limit: int, after: str) -> Sequence[TagUse]:
        """Return the tags above `after` of the owner's threads, ordered by their characters.

        Temporary threads do not count, and a family counts once. Raises `Overloaded` if it takes
        too long.
        """
        ...

    async def search(
        self, owner: str, phrases: Sequence[Phrase], *, limit: int, before: int | None = None
    ) -> TextMatches:
        """Return the newest messages that contain all phrases, with places below `before`.

        Without `before` also the threads with such a title, the newest `limit` of them. The
        messages of one answer have about 1 MB at most, but there is at least one. Nothing is found
        without a phrase.
        """
        ...

    async def index_text(self) -> bool:
        """Index some of the text that is in the store but not in its index, the newest first.

        Text of a version without an index, and text that has changed its owner. Returns False if
        there is none.
        """
        ...

    async def put(
        self,
        owner: str,
        record: Assistant | Folder | Upload,
        once: IdempotencyKey | None = None,
        content: bytes | None = None,
    ) -> Any:
        """Add an assistant or a folder, or an upload with its content; the caller sets the times.

        Returns the record, or the stored answer as `change` does. Raises `Conflict` for one folder
        more than `MAX_FOLDERS` of an owner.
        """
        ...

    async def update_record(
        self, kind: type[Editable], owner: str, id: str, change: Callable[[Editable], Editable]
    ) -> Editable:
        """Replace the record by the result of `change`, a pure function of the current one.

        Returns the new record. An exception changes nothing and is raised. Raises `NotFound`.
        """
        ...

    async def save_feedback(
        self, owner: str, message_id: str, feedback: Feedback | None
    ) -> Message:
        """Save the rating of a message, None to remove it; return the message.

        The thread keeps its version and the time of its last change. Raises `NotFound`.
        """
        ...

    async def content(
        self, owner: str | None, upload_id: str, start: int = 0, size: int | None = None
    ) -> bytes:
        """Return at most `size` bytes of an upload from `start` on. Raises `NotFound`."""
        ...

    async def delete(self, kind: type[Any], owner: str | None, id: str) -> None:
        """Delete an assistant, a folder, a file, or a thread with everything in it.

        The threads of a folder must have been taken out of it. Raises `NotFound`.

        An `owner` of None deletes that of any owner.
        """
        ...
