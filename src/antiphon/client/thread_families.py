"""Lists of threads, and branches: copies of a thread that continue differently.

The metadata of a branch names the thread that it replaces. Threads that replace each other are a
family: lists show only the member that changed last, and a user interface can switch between the
members at the messages where they differ.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from antiphon.api.operations import Listed, ListThreads
from antiphon.client.async_client import AsyncClient
from antiphon.engine.thread_order import BRANCH_BEGINS as BRANCH_BEGINS
from antiphon.engine.thread_order import REPLACES as REPLACES
from antiphon.engine.thread_order import position_of
from antiphon.engine.threads import change_tags as change_tags
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.folders import NO_FOLDER
from antiphon.types.messages import Message
from antiphon.types.runs import MARKS, Run, Thread

PAGE = 100
BRANCH_REPEATS = "branch_repeats"
"""Metadata key: that number again, if the message repeats the one that it replaces."""
BRANCH_BESIDE = "branch_beside"
"""Metadata key: "1" if the branch is another model's, compared with that of its source."""
SEARCH_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between searches for a run that is stored while it is cancelled."""
SEARCHED_RUNS = 20
"""Newest runs among which it is searched for; other programs may begin runs meanwhile."""
MAX_FAMILY = 200
"""Most members of a family that are listed."""


# Branches.


async def branch_before(
    client: AsyncClient,
    message: Message,
    *,
    replace: bool = True,
    repeat: bool = False,
    beside: bool = False,
    key: str | None = None,
) -> Thread:
    """Create a branch of the thread that ends before this message, to send another instead.

    With `replace`, lists show the branch in place of the thread. With `repeat` the same message
    will be sent, for another answer; with `beside` to another model, whose answers are compared
    with those of the thread. The same call again with the same idempotency `key` returns
    the branch that it has created.
    """
    thread = await client.get_thread(message.thread_id)
    # With a key, the same request has to follow each time, also after the thread has another title.
    branch = await client.fork_thread(thread.id, message.id, before=True, idempotency_key=key)
    if key:
        branch = await client.get_thread(branch.id)  # a repeated request has its first answer
    # Whether the title was made from the message that will be replaced.
    untitled = (
        branch.messages == 0
        and branch.title != ""
        and message.text.strip().startswith(branch.title.removesuffix("…"))
    )
    return await _mark_branch(
        client, branch, thread, replace=replace, repeat=repeat, beside=beside, untitled=untitled
    )


async def branch_after(client: AsyncClient, message: Message, *, replace: bool = True) -> Thread:
    """Create a branch that ends with this message, for another answer or another direction."""
    thread = await client.get_thread(message.thread_id)
    branch = await client.fork_thread(thread.id, message.id)
    return await _mark_branch(client, branch, thread, replace=replace)


async def _mark_branch(
    client: AsyncClient,
    branch: Thread,
    source: Thread,
    *,
    replace: bool,
    repeat: bool = False,
    beside: bool = False,
    untitled: bool = False,
) -> Thread:
    """Name the thread that the branch replaces, whose marks it takes over, or none.

    With `untitled` the branch loses its title.
    """
    own = (REPLACES, BRANCH_BEGINS, BRANCH_REPEATS, BRANCH_BESIDE)
    metadata = {key: value for key, value in branch.metadata.items() if key not in own}
    marks: dict[str, Any] = {"title": ""} if untitled else {}
    if replace:
        begins = str(branch.messages + 1)
        metadata |= {REPLACES: source.id, BRANCH_BEGINS: begins}
        metadata |= {BRANCH_REPEATS: begins} if repeat else {}
        metadata |= {BRANCH_BESIDE: "1"} if beside else {}
        marks |= {name: value for name in MARKS if (value := getattr(source, name))}
    if not marks and metadata == branch.metadata:
        return branch
    return await client.update_thread(branch.id, metadata=metadata, **marks)


# Lists and look-ups.


def predecessor_id(thread: Thread) -> str | None:
    """Return the id of the thread that this one replaces."""
    return thread.metadata.get(REPLACES)


def latest_threads(
    words: str = "",
    *,
    hidden: bool = False,
    limit: int = PAGE,
    after: str | None = None,
    archived: bool = False,
    tag: str | None = None,
    folder_id: str | None = None,
) -> ListThreads:
    """Return the operation that lists threads with these words as all user interfaces do.

    The last changed comes first, with one thread of each family and without empty threads.
    `hidden` lists all threads. `archived` lists only the archive, which is else left out unless
    there are words to find. `tag` lists only threads with this tag, `folder_id` only those in this
    folder, or with `none` those in no folder.
    """
    return ListThreads(
        limit=limit,
        after=after,
        q=words or None,
        order="activity",
        branches="all" if hidden else "latest",
        archived=archived or None,
        tag=tag,
        folder_id=folder_id,
    )


async def list_page(client: AsyncClient, listing: ListThreads) -> Listed[Thread]:
    """Return a page of threads as all user interfaces show it: the pinned ones come first.

    They are at the beginning of the first page, unless the list is a search, has one tag, or is a
    folder or the archive.
    """
    page = await client.transport.send(listing)
    in_folder = listing.folder_id not in (None, NO_FOLDER)
    if listing.q or listing.after or listing.tag or listing.archived or in_folder:
        return page
    threads = {thread.id: thread for thread in (*await list_pinned(client), *page.data)}
    return Listed(tuple(threads.values()), page.has_more, page.next)


async def list_pinned(client: AsyncClient) -> Sequence[Thread]:
    """Return the user's pinned threads, last changed first; none from a server without pins."""
    listing = ListThreads(limit=PAGE, order="activity", branches="latest", pinned=True)
    try:
        return (await client.transport.send(listing)).data
    except InvalidRequest:
        return ()


async def find_threads_by_id(client: AsyncClient, beginning: str) -> list[Thread]:
    """Return the threads whose id begins so, with empty, replaced and archived ones."""
    return [each async for each in list_everything(client) if each.id.startswith(beginning)]


async def list_everything(client: AsyncClient) -> AsyncIterator[Thread]:
    """Yield all threads but temporary ones, newest first; those of the archive last."""
    async for thread in client.paginate(ListThreads(limit=PAGE)):
        yield thread
    with suppress(InvalidRequest):  # a server without an archive
        async for thread in client.paginate(ListThreads(limit=PAGE, archived=True)):
            yield thread


async def find_newest_run(client: AsyncClient, thread_id: str | None = None) -> Run | None:
    """Return the newest run, of this thread or of all; None if there is none.

    A thread has at most one run that has not ended, which is its newest.
    """
    newest = (await client.list_runs(thread_id, limit=1)).data
    return newest[0] if newest else None


async def cancel_sent_run(
    client: AsyncClient, run_id: str | None, thread_id: str | None, key: str, mark: str
) -> None:
    """Cancel the run that a cancelled request began, if it began one.

    If the run's id has not arrived, the run is found by `mark`, which is unique in the metadata of
    the request, under `key`; without a `thread_id`, among the newest runs of all threads. The
    server may store the run after the request was cancelled, so that the search is repeated for
    about three seconds. Raises `AntiphonError`.
    """
    if run_id is None:
        run_id = await _find_sent_run(client, thread_id, key, mark)
    if run_id is not None:
        await client.cancel_run(run_id)


async def _find_sent_run(
    client: AsyncClient, thread_id: str | None, key: str, mark: str
) -> str | None:
    for pause in (0.0, *SEARCH_PAUSES):
        await asyncio.sleep(pause)
        for run in (await client.list_runs(thread_id, limit=SEARCHED_RUNS)).data:
            if run.metadata.get(key) == mark:
                return run.id
    return None


# Families.


class Fork(msgspec.Struct, frozen=True):
    """A message at which branches differ: its number, and a thread for each alternative.

    `at` are thread ids, oldest first; `here` is the index of the current thread's alternative.
    `repeated` is true if all alternatives have the same message, and only their answers differ.
    `messages` are the first of the threads that have the message of each alternative, which are
    equal where only the answers differ. `columns` say whose answers the threads have, where two
    models were compared: the thread with which a model began, or "" for the first model.
    """

    number: int
    at: tuple[str, ...]
    here: int
    repeated: bool = False
    messages: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


async def list_family(client: AsyncClient, thread: Thread) -> list[Thread]:
    """Return the threads of this thread's family, itself included; the last changed first."""
    temporary = True if thread.temporary else None
    listing = ListThreads(limit=PAGE, order="activity", family=thread.id, temporary=temporary)
    found: dict[str, Thread] = {}
    async for each in client.paginate(listing):
        found[each.id] = each
        if len(found) == MAX_FAMILY:
            break
    return list((found | {thread.id: thread}).values())


async def delete_family(client: AsyncClient, thread: Thread) -> set[str]:
    """Delete a thread with its family, which lists show as one thread. Return all their ids."""
    family = {thread.id}
    while others := [each for each in await list_family(client, thread) if each.id != thread.id]:
        for each in others:
            with suppress(NotFound):  # deleted by another client
                await client.delete_thread(each.id)
        family |= {each.id for each in others}
    await client.delete_thread(thread.id)
    return family


async def keep_family(client: AsyncClient, thread: Thread) -> None:
    """Make a temporary thread and its family permanent."""
    for each in await list_family(client, thread):
        if each.temporary:
            await client.update_thread(each.id, temporary=False)


def find_forks(thread: Thread, relatives: Iterable[Thread]) -> list[Fork]:
    """Return the messages at which branches of this family differ from this thread, in order."""
    tree = _BranchTree({each.id: each for each in (*relatives, thread)})
    found = (tree.fork(thread, place) for place in tree.places())
    return sorted((each for each in found if each is not None), key=lambda fork: fork.number)


_Place = tuple[str, int]
"""A message's number, and the first thread that reached it: branches may differ there."""


def find_lineage(thread: Thread, relatives: Iterable[Thread]) -> list[tuple[str, int]]:
    """Return the thread and those that it branches from, each with its first own message.

    The number is 0 for the first thread of the family, which may be deleted.
    """
    return _BranchTree({each.id: each for each in (*relatives, thread)}).lineage(thread)


class _BranchTree:
    """A family as a tree; a common message belongs to the first thread that had it."""

    def __init__(self, threads: Mapping[str, Thread]) -> None:
        self._threads = threads

    def places(self) -> Iterator[_Place]:
        """Yield the places at which branches begin."""
        branches = [each for each in self._threads.values() if first_own_message(each)]
        yield from dict.fromkeys(self._place(each.id, first_own_message(each)) for each in branches)

    def fork(self, thread: Thread, place: _Place) -> Fork | None:
        """Return the alternatives at this place, if the thread reaches it and there are several."""
        number = place[1]
        if not self._reaches(thread, place):
            return None
        by_message: dict[str, list[Thread]] = {}
        for each in self._threads.values():
            if self._reaches(each, place):
                by_message.setdefault(self._author(each.id, number), []).append(each)
        if len(by_message) == 1:
            return None
        own, column = self._author(thread.id, number), self._column(thread.id)
        speakers = sorted(by_message, key=self._creation_order)

        def rank(each: Thread) -> tuple[bool, object]:
            return self._column(each.id) == column, position_of(each)

        at = [thread.id if each == own else max(by_message[each], key=rank).id for each in speakers]
        later = (self._threads.get(each) for each in speakers[1:])
        repeated = all(
            each is not None and each.metadata.get(BRANCH_REPEATS) == str(number) for each in later
        )
        return Fork(
            number,
            tuple(at),
            speakers.index(own),
            repeated,
            tuple(self._find_first_thread(each, number) for each in speakers),
            tuple(map(self._column, at)),
        )

    def lineage(self, thread: Thread) -> list[tuple[str, int]]:
        """Return the thread and its ancestors, each with the number of its first own message."""
        return [(at, self._own_from(at)) for at in self._ancestors(thread.id)]

    def _reaches(self, thread: Thread, place: _Place) -> bool:
        number = place[1]
        return thread.messages >= number and self._place(thread.id, number) == place

    def _place(self, thread_id: str, number: int) -> _Place:
        """Return the place of this message number, which is equal for all threads that reach it."""
        line = self._ancestors(thread_id)
        return next((at for at in line if self._own_from(at) < number), thread_id), number

    def _author(self, thread_id: str, number: int) -> str:
        """Return the id of the thread in which the message of this number was written."""
        line = self._ancestors(thread_id)
        return next((at for at in line if self._own_from(at) <= number), thread_id)

    def _find_first_thread(self, author: str, number: int) -> str:
        """Return the first thread with this message, which the branches after it repeat."""
        for each in self._ancestors(author):
            author = self._author(each, number)
            thread = self._threads.get(author)
            if thread is None or thread.metadata.get(BRANCH_REPEATS) != str(number):
                break
        return author

    def _column(self, thread_id: str) -> str:
        """Return the thread with which its model was compared with the first one; else ""."""
        line = (self._threads.get(each) for each in self._ancestors(thread_id))
        return next((each.id for each in line if each and BRANCH_BESIDE in each.metadata), "")

    def _ancestors(self, thread_id: str) -> Iterator[str]:
        """Yield the thread and its ancestors up to the first, which may be deleted."""
        seen: set[str] = set()
        at: str | None = thread_id
        while at is not None and at not in seen:
            yield at
            seen.add(at)
            thread = self._threads.get(at)
            at = predecessor_id(thread) if thread and first_own_message(thread) else None

    def _own_from(self, thread_id: str) -> int:
        thread = self._threads.get(thread_id)
        return first_own_message(thread) if thread else 0

    def _creation_order(self, thread_id: str) -> tuple[int, str]:
        thread = self._threads.get(thread_id)
        return (thread.created_at if thread else 0), thread_id


def first_own_message(thread: Thread) -> int:
    """Return the number of the thread's first own message; 0 if the thread is no branch."""
    begins = thread.metadata.get(BRANCH_BEGINS, "")
    return int(begins) if predecessor_id(thread) and begins.isdecimal() else 0
