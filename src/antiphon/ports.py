"""The four doors: Provider, Store, Bus, Toolbox. The architecture on one screen.

Whatever stands behind a door can be exchanged; each door has one conformance file in `tests/` that
every implementation must pass. The doors never meet but in `runner`, `worker` and `desk`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import msgspec

from antiphon.engine.context_window import Context as Context
from antiphon.engine.context_window import Landmark as Landmark
from antiphon.engine.snapshot import ChangeSet as ChangeSet
from antiphon.engine.snapshot import RunUpdate as RunUpdate
from antiphon.engine.snapshot import Snapshot as Snapshot
from antiphon.types.accounts import LOCAL as LOCAL
from antiphon.types.accounts import (
    Account,
    Act,
    Counter,
    CounterValue,
    Person,
    Project,
    ProviderKey,
    Spent,
)
from antiphon.types.accounts import Key as Key
from antiphon.types.chunks import Chunk, Question
from antiphon.types.messages import Progress, Tool, ToolCall, ToolResult, Upload
from antiphon.types.runs import Assistant, Deadlines, Destination, Run, RunLease

T = TypeVar("T")


class Provider(Protocol):
    """Streams one reply as chunks; translates every foreign error.

    Nothing is retried after the first chunk.
    """

    def stream(self, question: Question) -> AsyncGenerator[Sequence[Chunk], None]:
        """The reply, as chunks that arrived together; an empty list is a sign of life.

        A `Finish` is a terminal marker; without one the reply counts as cut. Raises `ProviderError`
        or `Cut`, and nothing else. Closing the generator closes the connection.
        """
        ...

    async def models(self) -> Sequence[str]:
        """The names that `Question.model` may have; empty where the provider cannot say."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


class ResolvedModel(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers for a model's name: `provider`, which knows it as `model`.

    `name` is what people call the provider. It has its own deadlines, where these are given, and
    `lacks` what a run cannot ask of it: settings, values of settings (`tool_choice.required`), and
    `tools`, `images` and `files`. `destination` says where the words of its runs go.
    """

    provider: Provider
    model: str
    name: str = ""
    deadlines: Deadlines = Deadlines()
    lacks: frozenset[str] = frozenset()
    destination: Destination | None = None


class IdempotencyKey(msgspec.Struct, frozen=True):
    """An idempotency key, bound to its owner and route; `digest` is of the request's body."""

    owner: str
    route: str
    key: str
    digest: bytes


class ReadSet(msgspec.Struct, frozen=True, kw_only=True):
    """What a change is about, hence what its transaction reads.

    With `run_id` that run and its thread; with `thread_id` alone the thread and its active run.
    With both it is that run only if it is of that thread. `owner` is None for the runtime's own
    work. `tool_call_id` asks for that call's action too, of whatever turn; `turn_log` asks for the
    events of the turn. With `key_id` the key is locked, so that of two changes the second counts
    what the first began, and `Records.running` and `tokens` are told. `what` names the change in
    failpoints.
    """

    owner: str | None
    thread_id: str | None = None
    run_id: str | None = None
    tool_call_id: str | None = None
    once: IdempotencyKey | None = None
    turn_log: bool = False
    key_id: str | None = None
    what: str = "change"


Decide = Callable[[Snapshot], ChangeSet | None]
"""Pure: from records to a change. None changes nothing; an exception rolls back and passes."""


OnCommit = Callable[[Exception | None], None]
"""Told on the loop that events are kept, by None, or why they never will be; must not raise."""


class Claim(msgspec.Struct, frozen=True):
    """A run that this worker drives under a lease, fenced by `drive.epoch`."""

    owner: str
    run: Run
    lease: RunLease


class LeaseInfo(msgspec.Struct, frozen=True):
    """A run that the worker of this name drives, in this epoch; its lease ends `due_at` (ms)."""

    run_id: str
    epoch: int
    worker: str
    due_at: int


class EventPage(msgspec.Struct, frozen=True):
    """Encoded events of a run from number `first` on, without a gap.

    `ended` when the run has ended and these are its last events; `more` when the page was cut and
    the rest can be read at once.
    """

    first: int
    lines: Sequence[bytes]
    ended: bool
    more: bool = False


AmendAccount = Callable[[Account, bool], Account | None]
"""Pure: what becomes of a person, None removes them. Told whether somebody else governs."""


AmendKey = Callable[[Key], Key]
"""Pure: what becomes of a key."""

AmendProject = Callable[[Project], Project | None]
"""Pure: what becomes of a project, None removes it."""


class RecordPage(msgspec.Struct, frozen=True):
    """One page of a list, and whether there is more."""

    data: Sequence[Any]
    has_more: bool


class Store(Protocol):
    """Keeps everything. Each method is one transaction; every failure leaves nothing behind.

    Every write of a run's driver carries its epoch and raises `Fenced` when that is not the run's
    any more. Events are numbered 1, 2, 3 ... in a run and never changed. Time is the store's.
    A method raises `Unavailable` when the store cannot be reached. An `act` is kept with what it
    tells of, or not at all; where nothing changed it is not kept.
    """

    async def change(self, about: ReadSet, decide: Decide) -> Any:
        """Read the records, decide, write the change: all or nothing. Returns its `answer`.

        Where `about.once` was used before with the same digest, nothing is decided and the answer
        kept then comes back as `msgspec.Raw`; with another digest `IdempotencyConflict` is raised.
        A status or epoch that changed in between, or a second active run in a thread, cannot be.
        What a run's usage grows by is counted as tokens of the key it was begun with, if that key
        has a limit of tokens then.
        """
        ...

    async def find_answer(self, once: IdempotencyKey) -> msgspec.Raw | None:
        """The answer kept under this key, if there is one: a cheap look before a change.

        Raises `IdempotencyConflict` for another digest, and `NotFound` where what the answer tells
        of was deleted, as `change` does.
        """
        ...

    async def claim(
        self,
        decide: Decide,
        destinations: Sequence[str] | None = None,
        declined: Sequence[str] = (),
    ) -> Claim | None:
        """Change the run that has been wanted longest, if one is queued and nobody holds it.

        Only a run with one of these `Drive.destination` is looked at, None is any; and none of
        those that were `declined`, which are ids.
        """
        ...

    async def destinations(self) -> Sequence[str]:
        """The different destinations of the runs that wait for a worker, in no order."""
        ...

    async def unclaimed(
        self, destinations: Sequence[str], wanted_before: int, limit: int
    ) -> Sequence[str]:
        """Ids of runs that wait for a worker since before that time (ms), longest first.

        Those with one of these destinations are left out.
        """
        ...

    async def renew_leases(self, held: Mapping[str, int], lease_ms: int) -> frozenset[str]:
        """Prolong the leases of these runs (id to epoch); returns the ids that were lost."""
        ...

    def append(
        self,
        run_id: str,
        epoch: int,
        first: int,
        lines: Sequence[bytes],
        kept: OnCommit,
        *,
        urgent: bool,
    ) -> None:
        """Add encoded events, the first of them numbered `first`; returns at once.

        Appends of all runs go into one transaction every few milliseconds; `urgent` does not wait.
        This is the one hot call of the door, hence a callable to be told and no future.
        """
        ...

    async def read_events(self, run_id: str, after: int) -> EventPage:
        """Events above `after`, some or all. Raises `NotFound` and `EventExpired`."""
        ...

    async def context(self, thread_id: str, *, fresh: bool = False) -> Context:
        """The thread as a model is told it; `fresh` goes round every cache. Raises `NotFound`."""
        ...

    async def thread_version(self, thread_id: str) -> int:
        """The thread's version: one cheap read, by which a cached context is told to be current."""
        ...

    async def overdue_runs(self, limit: int) -> Sequence[str]:
        """Ids of runs that somebody must look at: their lease, actions or rest have run out."""
        ...

    async def leases(self, limit: int) -> Sequence[LeaseInfo]:
        """Runs that a worker has under a lease, run out or not; in no order."""
        ...

    async def delete_expired(self, events_before: int, keys_before: int) -> int:
        """Drop events of runs that ended, and idempotency keys made, before these times (ms)."""
        ...

    async def get(self, kind: type[T], owner: str | None, id: str) -> T:
        """The Assistant, Thread, Message, Run, Action or Upload. Raises `NotFound`."""
        ...

    async def run_lease(self, run_id: str) -> RunLease:
        """How the run is driven just now. Raises `NotFound`."""
        ...

    async def run_leases(self, run_ids: Sequence[str]) -> Mapping[str, RunLease]:
        """Return how these runs are driven just now, by id, without those that are not there."""
        ...

    async def call_ids(self, run_id: str) -> frozenset[str]:
        """The ids of all tool calls that the run has handed out; none where there is no run."""
        ...

    async def list(
        self,
        kind: type[Any],
        owner: str | None,
        *,
        limit: int,
        after: str | None = None,
        **where: str | None,
    ) -> RecordPage:
        """A page of things behind the one with id `after`.

        Assistants, threads, runs and uploads come newest first, messages and actions oldest first.
        `where`: `thread_id` (Message, Run), `run_id` and `status` (Action), `parent_id` (Thread),
        `query` (Thread: its title or one of its messages holds these words). A page has about 2 MB
        at most, but at least one item, and then says that there is more. Raises `NotFound` for an
        unknown `after`.

        Further for threads: `order` of `activity` lists the last changed first, and then `after`
        is the cursor of a `Position`, else `NotFound` is raised. `family` is the id of a
        thread, for all threads that replaced each other together with it. `branches` of `latest`
        leaves out threads without messages, and of each family all but the last changed of those
        that the query finds. A thread joins the family of the thread that its metadata says it
        replaces when they say so, and leaves it when they name another or none; deleting one of a
        family leaves the others together.
        """
        ...

    async def put(
        self,
        owner: str,
        record: Assistant | Upload,
        once: IdempotencyKey | None = None,
        content: bytes | None = None,
    ) -> Any:
        """Add an assistant, or an upload with its content; times are set by the caller.

        Returns the record, or the kept answer as `change` does.
        """
        ...

    async def update_assistant(
        self, owner: str, id: str, change: Callable[[Assistant], Assistant]
    ) -> Assistant:
        """Replace the assistant by what `change`, which is pure, makes of it as it is now.

        Returns the new one. An exception changes nothing and passes. Raises `NotFound`.
        """
        ...

    async def content(
        self, owner: str | None, upload_id: str, start: int = 0, size: int | None = None
    ) -> bytes:
        """The bytes of an upload from `start` on, `size` at most. Raises `NotFound`."""
        ...

    async def delete(self, kind: type[Any], owner: str, id: str) -> None:
        """Delete an assistant, or a thread with all that belongs to it. Raises `NotFound`."""
        ...

    async def keep_key(self, key: Key, digest: bytes, act: Act | None = None) -> None:
        """Add an API key by the keyed hash of its secret.

        Raises `Conflict` where its owner is a project that is disabled.
        """
        ...

    async def find_key(self, prefix: str) -> tuple[Key, bytes] | None:
        """The key that begins so, with its hash, revoked or not."""
        ...

    async def keys(self) -> Sequence[Key]:
        """All keys, oldest first."""
        ...

    async def change_key(self, key_id: str, amend: AmendKey, act: Act | None = None) -> Key:
        """What `amend` makes of the key as it is now. Raises `NotFound`."""
        ...

    async def revoke_key(self, key_id: str, act: Act | None = None) -> Key:
        """From now on the key opens nothing. Raises `NotFound`."""
        ...

    async def count(self, counter: Counter, amount: int) -> CounterValue:
        """Add to what the key has used in the period that is now; what was used before is dropped.

        It may be lost with the machine.
        """
        ...

    async def add_person(self, account: Account, act: Act | None = None) -> None:
        """Add somebody. Raises `Conflict` where the name or the subject is another's."""
        ...

    async def find_person(
        self, *, id: str | None = None, name: str | None = None, subject: str | None = None
    ) -> Account | None:
        """Who has this id, or this name whatever its case, or this subject."""
        ...

    async def people(self) -> Sequence[Person]:
        """Everybody, oldest first."""
        ...

    async def change_person(
        self, person_id: str, amend: AmendAccount, act: Act | None = None
    ) -> Account | None:
        """What `amend` makes of them as they are now; an exception changes nothing and passes.

        The keys of who is removed or disabled, and those that they have for other owners, are
        revoked with it. Raises `NotFound`, and `Conflict` as `add_person` does.
        """
        ...

    async def add_project(self, project: Project, act: Act) -> None:
        """Add a project. Raises `Conflict` where the name is another's, whatever its case."""
        ...

    async def projects(self) -> Sequence[Project]:
        """All projects, oldest first."""
        ...

    async def change_project(self, id: str, amend: AmendProject, act: Act) -> Project | None:
        """What `amend` makes of the project as it is now; an exception changes nothing and passes.

        The keys of one that is removed or disabled are revoked with it. Raises `NotFound`, and
        `Conflict` as `add_project` does.
        """
        ...

    async def keep_provider_key(self, key: ProviderKey, sealed: bytes, act: Act) -> None:
        """Keep an owner's key for a provider, sealed, in place of the one before."""
        ...

    async def provider_keys(self, owner: str | None) -> Sequence[ProviderKey]:
        """Those of an owner, or all; by owner and provider."""
        ...

    async def sealed_key(self, owner: str, provider: str) -> bytes | None:
        """The owner's key for the provider, as it was sealed."""
        ...

    async def reseal_provider_key(
        self, owner: str, provider: str, before: bytes, sealed: bytes, act: Act
    ) -> bool:
        """Keep the same key sealed anew, where it is still sealed as `before`; whether it was."""
        ...

    async def drop_provider_key(self, owner: str, provider: str, act: Act) -> None:
        """Forget an owner's key for a provider. Raises `NotFound`."""
        ...

    async def owners(
        self, limit: int, after: str | None = None, owner: str | None = None
    ) -> RecordPage:
        """The `Holding` of each owner who has threads, files, assistants or keys of providers.

        By owner, from behind `after` on, who need not have anything; with `owner` of that one.
        """
        ...

    async def delete_owned(self, owner: str, limit: int) -> int:
        """Delete about so many things of an owner, and say how many; 0 when nothing is left.

        That is everything but the acts. Keys are revoked and lose their name, but stay: that there
        is a key is what locks the door.
        """
        ...

    async def append_audit_entry(self, act: Act) -> None:
        """Keep an act that writes nothing else."""
        ...

    async def audit_entries(
        self, limit: int, after: str | None = None, owner: str | None = None
    ) -> RecordPage:
        """Acts, newest first, as `list` does; with `owner` those about what is theirs."""
        ...

    async def live_runs(self, limit: int, after: str | None = None) -> RecordPage:
        """Pairs of owner and run, of all runs that have not ended, newest first, as `list` does."""
        ...

    async def usage(self, since: str, limit: int) -> Sequence[Spent]:
        """What was spent from that day on (`2026-11-21`, UTC), latest day first.

        A run counts on the day it ended, once, and for good: also when its thread is deleted.
        """
        ...

    async def installation_secret(self) -> bytes:
        """32 random bytes of this installation, made at first use, the same for every process."""
        ...

    async def now(self) -> int:
        """The store's clock, ms since 1970."""
        ...

    async def check(self) -> None:
        """Return if what is written is kept and can be read. Raises `Unavailable`."""
        ...

    async def close(self) -> None:
        """Let go of the database; what was kept stays kept."""
        ...


QUEUE = "queue"
"""The topic rung when a turn was asked for."""
LEASES = "leases"
"""The topic rung when a driven run may have been taken from its worker, as by a cancel."""


class Subscription(Protocol):
    """Rung when its topic changed; a ring before `wait` is not lost."""

    async def wait(self, patience: float) -> bool:
        """True when rung, False after `patience` seconds: a wake-up may be lost."""
        ...


class Bus(Protocol):
    """Wakes readers of a topic; carries no data; may lose or repeat a wake-up."""

    def subscribe(self, topic: str) -> AbstractContextManager[Subscription]:
        """A bell for this topic; subscribe first, then read."""
        ...

    def notify(self, topic: str) -> None:
        """Wake whoever watches the topic, here and, soon, elsewhere. Never blocks, never raises."""
        ...

    async def close(self) -> None:
        """Wake nobody any more."""
        ...


Tell = Callable[[Progress], None]
"""Told on the loop how far a tool is; must not raise."""


def quiet(progress: Progress) -> None:
    """Told of progress, does nothing."""


class Toolbox(Protocol):
    """Tools that can be called by name.

    A call never raises: failure, refusal and timeout are results.
    """

    def tools(self) -> Sequence[Tool]:
        """What can be called just now; a server's tools may come, change and go."""
        ...

    async def call(self, call: ToolCall, tell: Tell = quiet) -> ToolResult:
        """Run the tool; cancelling the task cancels the tool as far as it can be cancelled."""
        ...
