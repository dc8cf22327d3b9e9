"""Branches of a thread: what is said otherwise goes on in a copy, and nothing is lost.

A branch that stands in the place of another thread says so in its metadata. Together they are a
family: lists show the one that changed last, and at a message where they part a face can lead from
one to the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress

import msgspec

from antiphon.api.operations import ListThreads
from antiphon.client.async_client import AsyncClient
from antiphon.engine.thread_order import REPLACES as REPLACES
from antiphon.engine.thread_order import position_of
from antiphon.types.errors import NotFound
from antiphon.types.messages import Message
from antiphon.types.runs import Thread

PAGE = 100
BRANCH_BEGINS = "branch_begins"
"""The key of the number of the first message that is the branch's own."""
MAX_FAMILY = 200
"""Members of a family that are looked at."""


# Branching off.


async def branch_before(client: AsyncClient, message: Message, *, replace: bool = True) -> Thread:
    """A branch of its thread that ends before this message, to say something else instead.

    With `replace` it stands in the place of that thread in lists.
    """
    thread = await client.get_thread(message.thread_id)
    first = message.number == 1 and _is_titled_by(thread.title, message)
    title = "" if first else None
    branch = await client.fork_thread(thread.id, message.id, title=title, before=True)
    return await _mark_branch(client, branch, thread.id, replace=replace)


async def branch_after(client: AsyncClient, message: Message, *, replace: bool = True) -> Thread:
    """The same, ending with this message: to hear another answer, or to go on elsewhere."""
    branch = await client.fork_thread(message.thread_id, message.id)
    return await _mark_branch(client, branch, message.thread_id, replace=replace)


def _is_titled_by(title: str, message: Message) -> bool:
    """Return whether the title came from the thread's first message and should be replaced."""
    return message.text.strip().startswith(title.removesuffix("…"))


async def _mark_branch(
    client: AsyncClient, branch: Thread, source: str, *, replace: bool
) -> Thread:
    metadata = {
        key: value for key, value in branch.metadata.items() if key not in (REPLACES, BRANCH_BEGINS)
    }
    if replace:
        metadata |= {REPLACES: source, BRANCH_BEGINS: str(branch.messages + 1)}
    if metadata == branch.metadata:
        return branch
    return await client.update_thread(branch.id, metadata=metadata)


# Lists.


def replaced_thread_id(thread: Thread) -> str | None:
    """The thread in whose place this one stands."""
    return thread.metadata.get(REPLACES)


def latest_threads(
    words: str = "", *, hidden: bool = False, limit: int = PAGE, after: str | None = None
) -> ListThreads:
    """Return the call that lists threads that hold these words as every face shows them.

    The last changed first, one of each family; threads without messages are left out. `hidden`
    lists all threads.
    """
    return ListThreads(
        limit=limit,
        after=after,
        q=words or None,
        order="activity",
        branches="all" if hidden else "latest",
    )


async def list_latest_threads(
    client: AsyncClient, words: str = "", *, hidden: bool = False
) -> AsyncIterator[Thread]:
    """Yield all threads that hold these words, as `latest_threads` orders them, page by page."""
    async for thread in client.paginate(latest_threads(words, hidden=hidden)):
        if thread.messages:
            yield thread


# Families.


class Fork(msgspec.Struct, frozen=True):
    """A place where branches part: at message `number`; `at` are threads, `here` which one it is.

    In each of `at` one of the messages that were said there stands, in the order of their making.
    """

    number: int
    at: tuple[str, ...]
    here: int


async def list_family(client: AsyncClient, thread: Thread) -> list[Thread]:
    """All that replaced each other, this thread among them; the last changed first."""
    listing = ListThreads(limit=PAGE, order="activity", family=thread.id)
    found: dict[str, Thread] = {}
    async for each in client.paginate(listing):
        found[each.id] = each
        if len(found) == MAX_FAMILY:
            break
    return list((found | {thread.id: thread}).values())


async def delete_family(client: AsyncClient, thread: Thread) -> None:
    """Delete a thread with all that replaced each other: what lists show as one is gone as one."""
    while others := [each for each in await list_family(client, thread) if each.id != thread.id]:
        for each in others:
            with suppress(NotFound):  # somebody else has deleted it
                await client.delete_thread(each.id)
    await client.delete_thread(thread.id)


def find_forks(thread: Thread, relatives: Iterable[Thread]) -> list[Fork]:
    """Where branches of this family part from what this thread says, by message number."""
    tree = _BranchTree({each.id: each for each in (*relatives, thread)})
    found = (tree.fork(thread, place) for place in tree.places())
    return sorted((each for each in found if each is not None), key=lambda fork: fork.number)


_Place = tuple[str, int]
"""A message's number, and the thread that first came to it: where others may say another one."""


class _BranchTree:
    """A family by its branches; what they have in common belongs to the first that said it."""

    def __init__(self, threads: Mapping[str, Thread]) -> None:
        self._threads = threads

    def places(self) -> Iterator[_Place]:
        """Where any branch begins."""
        branches = [each for each in self._threads.values() if _first_own_message(each)]
        yield from dict.fromkeys(
            self._place(each.id, _first_own_message(each)) for each in branches
        )

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
        own = self._author(thread.id, number)
        speakers = sorted(by_message, key=self._creation_order)
        at = [thread.id if each == own else _latest(by_message[each]) for each in speakers]
        return Fork(number, tuple(at), speakers.index(own))

    def _reaches(self, thread: Thread, place: _Place) -> bool:
        number = place[1]
        return thread.messages >= number and self._place(thread.id, number) == place

    def _place(self, thread_id: str, number: int) -> _Place:
        """The place of this number in this thread, as all call it who have come there."""
        line = self._ancestors(thread_id)
        return next((at for at in line if self._own_from(at) < number), thread_id), number

    def _author(self, thread_id: str, number: int) -> str:
        """The thread from which it has its message of this number."""
        line = self._ancestors(thread_id)
        return next((at for at in line if self._own_from(at) <= number), thread_id)

    def _ancestors(self, thread_id: str) -> Iterator[str]:
        """The thread, and what it was branched from, up to the first, which may be deleted."""
        seen: set[str] = set()
        at: str | None = thread_id
        while at is not None and at not in seen:
            yield at
            seen.add(at)
            thread = self._threads.get(at)
            at = replaced_thread_id(thread) if thread and _first_own_message(thread) else None

    def _own_from(self, thread_id: str) -> int:
        thread = self._threads.get(thread_id)
        return _first_own_message(thread) if thread else 0

    def _creation_order(self, thread_id: str) -> tuple[int, str]:
        thread = self._threads.get(thread_id)
        return (thread.created_at if thread else 0), thread_id


def _first_own_message(thread: Thread) -> int:
    """The number of the first message that is its own; 0 where it is no branch of its family."""
    begins = thread.metadata.get(BRANCH_BEGINS, "")
    return int(begins) if replaced_thread_id(thread) and begins.isdecimal() else 0


def _latest(threads: Iterable[Thread]) -> str:
    return max(threads, key=position_of).id
