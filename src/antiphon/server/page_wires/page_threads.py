"""Threads of a page: found by the names that it gives them, within what its token allows."""

from __future__ import annotations

import hashlib

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
from antiphon.server.openai.caller_api import CallerApi
from antiphon.types.accounts import BrowserGrant
from antiphon.types.errors import Forbidden, NotFound
from antiphon.types.messages import Message
from antiphon.types.runs import Run, Thread

THREAD_PREFIX = "thread_"
NAME = "client_name"
"""Metadata key of a thread with the name that a client gave it."""
SESSION = "browser_session"
"""Metadata key of a thread with the session of the page's token that created it."""
PAGE = 100


class PageThreads:
    """Threads that a caller may use under its own names; `grant` is that of a page's token."""

    def __init__(self, api: CallerApi, grant: BrowserGrant | None) -> None:
        self._api = api
        self._grant = grant

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
        listing = ListThreads(limit=PAGE, metadata=self._marks(name))
        for thread in (await self._api.ask(listing)).data:
            if thread.metadata.get(SESSION) == self._session:
                return thread
        if not name.startswith(THREAD_PREFIX):
            return None
        thread = await self._api.ask(GetThread(name))
        session = self._session
        if session is not None and thread.metadata.get(SESSION) != session:
            raise NotFound(f"There is no thread {name}.")
        return thread

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
        key = make_key("thread", *marks.values())
        made = await self._api.ask_once(CreateThread(metadata=marks), key)
        if isinstance(made, Thread):
            return made, True
        return msgspec.json.decode(made, type=Thread), False

    async def branch_before(self, name: str, thread: Thread, message: Message) -> Thread:
        """Create a branch that ends before this message and takes the name of its thread.

        A run that has not ended is cancelled: its answer is no longer wanted.
        """
        run = await self.newest_run(thread)
        if run is not None and not run.status.ended:
            await self._api.ask(CancelRun(run.id))
        title = "" if message.number == 1 else None
        branch = await self._api.ask(ForkThread(thread.id, message.id, title=title, before=True))
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
