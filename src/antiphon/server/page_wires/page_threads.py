"""Threads of a page: found by the names that it gives them, within what its token allows."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import msgspec

from antiphon.api.operations import (
    CancelRun,
    CreateThread,
    ForkThread,
    GetThread,
    ListRuns,
    ListThreads,
    UpdateThread,
)
from antiphon.client.thread_families import BRANCH_BEGINS
from antiphon.engine import sanitize
from antiphon.engine.thread_order import REPLACES
from antiphon.server.caller_api import CallerApi
from antiphon.types.accounts import BrowserGrant
from antiphon.types.errors import Forbidden, NotFound
from antiphon.types.messages import Message
from antiphon.types.runs import Run, Thread

THREAD_PREFIX = "thread_"
NAME = "client_name"
"""Metadata key of a thread with the name that a client gave it."""
SESSION = "browser_session"
"""Metadata key of a thread with the session of the page's token that created it."""
MOVED = "client_branch"
"""Metadata key of a thread with the id of the branch that took its name."""
MAX_BRANCHES = 1000
MAX_NAMES = 10_000

ThreadNames = dict[tuple[str, str | None, str], str]
"""Ids of threads by owner, session and the name that pages gave them."""


class PageThreads:
    """Threads that a caller may use under its own names; `grant` is that of a page's token.

    `names` are the threads that were found before by all callers, so that they need not be looked
    for among all threads of an owner again.
    """

    def __init__(self, api: CallerApi, grant: BrowserGrant | None, names: ThreadNames) -> None:
        self._api = api
        self._grant = grant
        self._names = names

    async def find(self, name: str) -> Thread | None:
        """Return the newest thread of this name, or None while no message has come under it.

        The name may be the id of a thread, or that of one whose branch took its place. Raises
        `Forbidden`, and `NotFound` for an id.
        """
        sanitize.validate_text(name, "the name of the chat")
        bound = self._grant.thread_id if self._grant else None
        if bound is not None and name != bound:
            raise Forbidden(
                "The token is for another chat.",
                expected=f"the chat {bound}, under its id",
            )
        if name.startswith(THREAD_PREFIX):
            thread = await self._api.ask(GetThread(name))
            if not self._is_open(thread):
                raise NotFound(f"There is no thread {name}.")
            return await self._newest_branch(thread)
        known = await self._find_known(name)
        if known is None:
            return await self._search(name)
        newest = await self._newest_branch(known)
        self._remember(name, newest)
        return newest

    async def _find_known(self, name: str) -> Thread | None:
        """Return the thread that had this name when it was last looked for."""
        thread_id = self._names.get((*self._place, name))
        if thread_id is None:
            return None
        with suppress(NotFound):
            thread = await self._api.ask(GetThread(thread_id))
            if thread.metadata.get(NAME) == name and self._is_open(thread):
                return thread
        return None

    async def _search(self, name: str) -> Thread | None:
        """Look through all threads for this name, newest first."""
        after = None
        while True:
            listing = ListThreads(limit=1, after=after, metadata=self._marks(name))
            page = await self._api.ask(listing)
            for thread in page.data:
                if thread.metadata.get(SESSION) == self._session:
                    self._remember(name, thread)
                    return thread
            if not page.has_more:
                return None
            after = page.next

    async def _newest_branch(self, thread: Thread) -> Thread:
        """Return the branch that took the place of a thread, if there is one."""
        for _ in range(MAX_BRANCHES):
            branch_id = thread.metadata.get(MOVED)
            if branch_id is None:
                break
            try:
                branch = await self._api.ask(GetThread(branch_id))
            except NotFound:  # deleted since
                break
            if not self._is_open(branch):
                break
            thread = branch
        return thread

    def _is_open(self, thread: Thread) -> bool:
        """Return whether the caller's token opens a thread of its owner."""
        session = self._session
        return session is None or thread.metadata.get(SESSION) == session

    def _remember(self, name: str, thread: Thread) -> None:
        if len(self._names) >= MAX_NAMES:
            self._names.clear()
        self._names[*self._place, name] = thread.id

    @property
    def _place(self) -> tuple[str, str | None]:
        return self._api.owner, self._session

    async def get(self, name: str) -> Thread:
        """Return the newest thread of this name. Raises `Forbidden` and `NotFound`."""
        thread = await self.find(name)
        if thread is None:
            raise NotFound("There is no chat of this name.")
        return thread

    async def get_or_create(self, name: str) -> tuple[Thread, bool]:
        """Return the thread of this name, and whether it is new.

        It is created once, however often it is requested.
        """
        thread = await self.find(name)
        if thread is not None:
            return thread, False
        marks = self._marks(name)
        for deleted in range(MAX_BRANCHES):  # each deleted thread of this name has a key of its own
            key = make_key("thread", *marks.values(), *["deleted"] * deleted)
            with suppress(NotFound):
                made = await self._api.ask_once(CreateThread(metadata=marks), key)
                if not isinstance(made, Thread):
                    return msgspec.json.decode(made, type=Thread), False
                self._remember(name, made)
                return made, True
        raise NotFound("There is no chat of this name.")

    async def branch_before(self, name: str, thread: Thread, message: Message) -> Thread:
        """Create a branch that ends before this message and takes the name of its thread.

        A run that has not ended is cancelled: its answer is no longer wanted.
        """
        run = await self.newest_run(thread)
        if run is not None and not run.status.ended:
            await self._api.ask(CancelRun(run.id))
        title = "" if message.number == 1 else None
        branch = await self._api.ask(ForkThread(thread.id, message.id, title=title, before=True))
        await self._api.ask(UpdateThread(thread.id, metadata=thread.metadata | {MOVED: branch.id}))
        marks = {REPLACES: thread.id, BRANCH_BEGINS: str(branch.messages + 1)}
        metadata = branch.metadata | self._marks(name) | marks
        return await self._api.ask(UpdateThread(branch.id, metadata=metadata))

    async def newest_run(self, thread: Thread) -> Run | None:
        """Return the newest run of a thread, which is the only one that may not have ended."""
        runs = (await self._api.ask(ListRuns(thread.id, limit=1))).data
        return runs[0] if runs else None

    @property
    def _session(self) -> str | None:
        return self._grant.session if self._grant else None

    def _marks(self, name: str) -> dict[str, str]:
        session = self._session
        return {NAME: name} | ({} if session is None else {SESSION: session})


def make_key(*words: str) -> str:
    """Return an idempotency key for names that may hold any characters."""
    return hashlib.sha256("\0".join(words).encode("utf-8", "replace")).hexdigest()
