"""Store that caches contexts and log tails in front of another store.

The cache is never the only copy, and never serves what is out of date:

- A thread's context is served if the inner store still has the version it was read at. Processes
  may share contexts.
- The newest events of a run are served from memory if this process wrote them, once they are
  stored. If there are none above the given number, the inner store is read, so that events of other
  processes are seen. Events never change, so a tail may be incomplete, never wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from antiphon.engine.context_window import EMPTY, Context, append_messages
from antiphon.engine.snapshot import ChangeSet, Claim, Committed, Decide, ReadSet
from antiphon.ports import BeforeCommit, OnCommit, Store
from antiphon.settings.settings import CONTEXT_CACHE
from antiphon.stores.cached.log_tails import LogTails, LruCache
from antiphon.stores.cached.shared import SharedContextCache
from antiphon.types import events
from antiphon.types.chat_imports import ImportClaim
from antiphon.types.errors import Fenced, NotFound, TryAgain
from antiphon.types.events import EventPage
from antiphon.types.messages import Message
from antiphon.types.runs import Run, Serves, Thread, serve_all

RUNS_DROPPED = 100  # of a deleted thread, one by one; of more, the tails of all runs
NO_CONTEXTS: Mapping[str, Context] = {}
MAX_APPENDED_CHARACTERS = 100_000  # of the messages of a change: they are encoded in a millisecond


def cache_store(inner: Store, shared: SharedContextCache | None, max_bytes: int) -> Store:
    """Return the store behind a cache of at most `max_bytes` of contexts."""
    # The methods that `__getattr__` passes on make it a store, which a type checker cannot see.
    return cast("Store", CachedStore(inner, shared, max_bytes=max_bytes))


class CachedStore:
    """Caches at most `max_bytes` of contexts, and `tail_bytes` of log tails of active runs.

    The least recently used entries are evicted first, tails of ended runs soon. Neither depends on
    the owner of a thread, on ratings, or on what is imported: methods of the ports that are not
    defined here are those of `inner`.
    """

    def __init__(
        self,
        inner: Store,
        shared: SharedContextCache | None = None,
        *,
        max_bytes: int = CONTEXT_CACHE,
        tail_bytes: int = 64_000_000,
    ) -> None:
        self._inner = inner
        self._shared = shared
        self._contexts: LruCache[Context] = LruCache(max_bytes)
        self._early: dict[str, Context] = {}  # by thread, of changes that are being committed
        self._tails = LogTails(tail_bytes)

    def __getattr__(self, name: str) -> Any:
        """Return the method of the inner store."""
        return getattr(self._inner, name)

    # Transactions of runs

    async def change(
        self, read_set: ReadSet, decide: Decide, before_commit: BeforeCommit | None = None
    ) -> Committed:
        """See `RunStore.change`; `before_commit` is called if the context is known by then."""
        early: dict[str, Context] = {}  # that of the change's thread, if it was announced

        def extend_early(written: Committed) -> None:
            change = written.change
            if change is None or change.thread is None or before_commit is None:
                return
            context = self._find_extended(change.thread, change)
            if context is not None:
                early[change.thread.id] = context
                self._early |= early
                before_commit(written)

        try:
            committed = await self._inner.change(
                read_set, decide, None if before_commit is None else extend_early
            )
        except Fenced:
            self._tails.drop(read_set.run_id)
            raise
        finally:
            for thread_id in early:
                self._early.pop(thread_id, None)
        if committed.change is not None:
            self._apply_change(committed.change, early)
        return committed

    async def claim(
        self,
        decide: Decide,
        serves: Serves = serve_all,
        declined: Sequence[str] = (),
    ) -> Claim | None:
        """See `RunStore.claim`."""
        claim = await self._inner.claim(decide, serves, declined)
        if claim is not None and claim.change is not None:
            self._apply_change(claim.change)
        return claim

    async def renew_leases(self, epochs: Mapping[str, int], lease_ms: int) -> frozenset[str]:
        """See `RunStore.renew_leases`."""
        lost = await self._inner.renew_leases(epochs, lease_ms)
        for run_id in lost:
            self._tails.drop(run_id)
        return lost

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
        """See `RunStore.append`; the lines are cached before the callback is called."""

        def on_written(fault: Exception | None) -> None:
            if fault is None:
                self._tails.extend(run_id, first, lines, ended=False)
            else:
                self._tails.drop(run_id)
            on_commit(fault)

        self._inner.append(run_id, epoch, first, lines, on_written, urgent=urgent)

    async def delete_expired(self, events_before: int, keys_before: int) -> int:
        """See `RunStore.delete_expired`."""
        self._tails.clear()
        return await self._inner.delete_expired(events_before, keys_before)

    def _apply_change(self, change: ChangeSet, early: Mapping[str, Context] = NO_CONTEXTS) -> None:
        """Cache what was committed; `early` has the thread's context with it, if that is known."""
        if change.thread is not None:
            context = early.get(change.thread.id)
            context = context or self._find_extended(change.thread, change)
            self._contexts.drop(change.thread.id)
            if context is not None:
                self._contexts.put(change.thread.id, context, _weight(context))
        for update in change.run_updates:
            lines = [events.encode(event) for event in update.events]
            first = update.lease.last_event - len(lines) + 1
            self._tails.extend(update.run.id, first, lines, ended=update.run.status.ended)

    def _find_extended(self, thread: Thread, change: ChangeSet) -> Context | None:
        """Return the cached context with the change's messages; None if it must be read.

        The order of the messages is known only where no place before them is reserved for the
        output of a tool. Long messages are not encoded on the loop.
        """
        cached = self._contexts.get(thread.id)
        if cached is None and thread.version == 1:
            cached = EMPTY
        if (
            cached is None
            or cached.version + 1 != thread.version
            or change.keep_messages is not None
        ):
            return None
        numbers = [message.number for message in change.messages]
        first = cached.messages + 1
        if not numbers or numbers != [*range(first, thread.messages + 1)]:
            return None
        if sum(map(_length, change.messages)) > MAX_APPENDED_CHARACTERS:
            return None
        return append_messages(cached, change.messages, thread.version)

    # Reading

    async def read_events(self, run_id: str, after: int) -> EventPage:
        """See `RunStore.read_events`; events that this process wrote come from memory."""
        page = self.find_cached_events(run_id, after)
        return page or await self._inner.read_events(run_id, after)

    def find_cached_events(self, run_id: str, after: int) -> EventPage | None:
        """See `RunStore.find_cached_events`."""
        tail = self._tails.get(run_id)
        if tail is not None and (lines := tail.after(after)):
            return EventPage(after + 1, lines, tail.ended)
        return None

    async def context(
        self, thread_id: str, *, fresh: bool = False, version: int | None = None
    ) -> Context:
        """See `RunStore.context`; at most one cheap read if the cached context is current.

        The context of a change that is being committed is for the run that knows its version.
        """
        early = self._early.get(thread_id)
        if early is not None and early.version == version and not fresh:
            return early
        context = None if fresh else await self._find_current(thread_id, version)
        if context is None:
            context = await self._inner.context(thread_id, fresh=fresh)
            if self._shared is not None:
                self._shared.put_soon(thread_id, context, partial(self._is_deleted, thread_id))
        self._contexts.put(thread_id, context, _weight(context))
        return context

    async def _find_current(self, thread_id: str, version: int | None) -> Context | None:
        """Return the current context from this process's cache, else from the shared one."""
        cached = self._contexts.get(thread_id)
        if cached is not None and cached.version == version:
            return cached
        shared = None if self._shared is None or self._shared.is_suspended else self._shared
        if cached is None and shared is None:
            return None
        version = await self._inner.thread_version(thread_id)
        if cached is not None and cached.version == version:
            return cached
        return await shared.get(thread_id, version) if shared else None

    async def _is_deleted(self, thread_id: str) -> bool:
        """Return True if the thread is deleted, or may be."""
        try:
            await self._inner.thread_version(thread_id)
        except (NotFound, TryAgain):
            return True
        return False

    # Deletions

    async def delete(self, kind: type[Any], owner: str | None, id: str) -> None:
        """See `RunStore.delete`; a deleted thread is dropped from the caches too."""
        runs = None
        if kind is Thread:
            runs = await self._inner.list(Run, owner, limit=RUNS_DROPPED, thread_id=id)
        await self._inner.delete(kind, owner, id)
        if runs is not None:
            self._contexts.drop(id)
            for run in runs.data:
                self._tails.drop(run.id)
            if runs.has_more:
                self._tails.clear()
            if self._shared is not None:
                await self._shared.drop(id)

    async def delete_owned(self, owner: str, limit: int, claim: ImportClaim | None = None) -> int:
        """See `AdminStore.delete_owned`; drops all entries, whose owners are not known."""
        erased = await self._inner.delete_owned(owner, limit, claim)
        self._contexts.clear()
        self._tails.clear()
        if self._shared is not None and not erased:  # nothing is left that could be shared again
            await self._shared.clear()
        return erased

    async def close(self) -> None:
        """Close the shared cache and the inner store."""
        if self._shared is not None:
            await self._shared.close()
        await self._inner.close()


def _length(message: Message) -> int:
    """Return about how many characters the message has."""
    arguments = sum(len(call.arguments) for call in message.tool_calls)
    return len(message.text) + arguments + len(message.reasoning or "")


def _weight(context: Context) -> int:
    return len(context.chat) + len(context.marks)
