"""Answers what another program asks, through a client: here, or a server elsewhere."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from antiphon.api.operations import ListAssistants as EveryAssistant
from antiphon.api.operations import ListMessages
from antiphon.client.async_client import AsyncClient, AsyncEvents
from antiphon.client.conversation import Options
from antiphon.client.thread_list import latest_threads
from antiphon.mcp.server.tools import (
    WISHES,
    About,
    Answer,
    Ask,
    AskAssistant,
    Assistants,
    Conversation,
    ListAssistants,
    ListThreads,
    ReadThread,
    Said,
    Threads,
    Transcript,
    Wish,
    wished,
)
from antiphon.settings.settings import Settings
from antiphon.tools.functions import Function
from antiphon.types.errors import AntiphonError, NotFound, Unavailable
from antiphon.types.events import (
    Event,
    MessageCompleted,
    RefusalDelta,
    TextDelta,
    TurnEnded,
    TurnRestarted,
)
from antiphon.types.messages import Message
from antiphon.types.runs import Assistant, Status, Thread

# One run for another program: told of as it goes, cancelled where the asker leaves.


Tell = Callable[[int, str], Awaitable[None]]
"""Told how far the run is, by the number of its last event, and what was said so far."""

PAUSE = 0.2  # seconds between two reports: a person sees no more, and each holds the whole text
LONGEST_REPORT = 8_000  # characters; of a longer text, its end
CANCEL_SECONDS = 5.0


class Askings:
    """The runs that are under way for a client, which lets go of none when it closes."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._ending: set[asyncio.Task[None]] = set()

    async def answer(self, events: AsyncEvents, tell: Tell) -> Answer:
        """The answer of this run. Whoever stops waiting for it cancels the run.

        Raises `Unavailable` for a run that failed, was cancelled or has expired.
        """
        asking = _Asking(events, tell)
        listening = asyncio.create_task(asking.listen())
        try:
            await asyncio.shield(listening)
        except asyncio.CancelledError:
            asking.left = True
            ending = asyncio.create_task(self._end(asking, listening))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            raise
        return asking.answer()

    async def close(self) -> None:
        """Wait until every run that was left is cancelled."""
        while self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)

    async def _end(self, asking: _Asking, listening: asyncio.Task[None]) -> None:
        """Cancel the run. One that has just begun has told nobody its id yet: it is waited for."""
        known = asyncio.create_task(asking.known.wait())
        with suppress(AntiphonError, TimeoutError):
            async with asyncio.timeout(CANCEL_SECONDS):
                await asyncio.wait({listening, known}, return_when=asyncio.FIRST_COMPLETED)
                if asking.events.run_id is not None:
                    await self._client.cancel_run(asking.events.run_id)
        listening.cancel()
        known.cancel()
        await asyncio.gather(listening, known, return_exceptions=True)


class _Asking:
    """What was said in a run so far. `left` when nobody wants to be told any more."""

    def __init__(self, events: AsyncEvents, tell: Tell) -> None:
        self.events = events
        self.known = asyncio.Event()
        self.left = False
        self._tell = tell
        self._said: list[str] = []
        self._turn = 0
        self._told_at = 0.0

    async def listen(self) -> None:
        async with self.events:
            async for event in self.events:
                self.known.set()
                self._note(event)
                await self._report()

    def answer(self) -> Answer:
        events = self.events
        status, run_id, thread_id = events.status, events.run_id, events.thread_id
        if status is None or run_id is None or thread_id is None:
            raise Unavailable("The run ended before it began.")
        if status not in (Status.COMPLETED, Status.INCOMPLETE):
            why = f": {events.error.message}" if events.error else ""
            raise Unavailable(f"The run {run_id} in {thread_id} is {status}{why}")
        return Answer(
            text=self._text(),
            thread_id=thread_id,
            run_id=run_id,
            status=status,
            reason=events.reason,
        )

    def _note(self, event: Event) -> None:
        match event:
            case TextDelta(text=text) | RefusalDelta(text=text):
                self._said.append(text)
            case MessageCompleted():
                self._said.append("\n\n")
            case TurnEnded():
                self._turn = len(self._said)
            case TurnRestarted():
                del self._said[self._turn :]
            case _:
                pass

    def _text(self) -> str:
        return "".join(self._said).strip()

    async def _report(self) -> None:
        now = asyncio.get_running_loop().time()
        if self.left or now - self._told_at < PAUSE:
            return
        text = self._text()
        if text:
            self._told_at = now
            await self._tell(self.events.last_event, text[-LONGEST_REPORT:])


PAGE = 100
MAX_ASSISTANTS = 200  # that are tools of their own
_DIGITS = 6


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as it is offered: under this name, with these words, taking such a wish."""

    name: str
    title: str
    description: str
    wish: type[Wish]
    assistant_id: str | None = None


class Desk:
    """Everything that is offered. `functions` are the tools that a run may call in this process.

    With `each_assistant` every assistant is a tool of its own too.
    """

    def __init__(
        self,
        client: AsyncClient,
        settings: Settings,
        *,
        functions: Sequence[Function] = (),
        each_assistant: bool = False,
    ) -> None:
        self._client = client
        self._settings = settings
        self._functions = functions
        self._each_assistant = each_assistant
        self._askings = Askings(client)

    async def tools(self) -> list[Offered]:
        """What can be called now."""
        own = [
            Offered(name=name, title=wish.title, description=wish.__doc__ or "", wish=wish)
            for name, wish in WISHES.items()
        ]
        if not self._each_assistant:
            return own
        return [*own, *[_as_tool(assistant) async for assistant in self._assistants()]]

    async def call(self, name: str, arguments: dict[str, Any], tell: Tell) -> msgspec.Struct:
        """The answer to a call. Raises `NotFound` for an unknown tool, and `AntiphonError`."""
        offered = {tool.name: tool for tool in await self.tools()}
        if name not in offered:
            raise NotFound(f"There is no tool {name}.", expected=", ".join(offered), received=name)
        tool = offered[name]
        match wished(tool.wish, arguments):
            case Ask(assistant_id=assistant_id, model=model) as wish:
                return await self._ask(wish, assistant_id, model, tell)
            case AskAssistant() as wish:
                return await self._ask(wish, tool.assistant_id, None, tell)
            case ListAssistants() as wish:
                return await self._list_assistants(wish)
            case ListThreads() as wish:
                return await self._list_threads(wish)
            case ReadThread() as wish:
                return await self._read_thread(wish)
            case other:
                raise NotImplementedError(type(other).__name__)

    async def threads(self, after: str | None = None) -> tuple[Sequence[Thread], str | None]:
        """A page of threads, and what asks for the one behind it."""
        page = await self._client.transport.send(latest_threads(limit=PAGE, after=after))
        return page.data, page.next if page.has_more else None

    async def markdown(self, thread_id: str) -> str:
        """A whole thread, to be read. Raises `NotFound`."""
        thread = await self._client.get_thread(thread_id)
        messages = self._client.paginate(ListMessages(thread_id, limit=PAGE))
        parts = [_as_markdown(message) async for message in messages]
        return "\n\n".join([f"# {thread.title or thread.id}", *parts])

    async def close(self) -> None:
        """Wait for what was left to be in order; the client is the caller's."""
        await self._askings.close()

    async def _ask(
        self, wish: AskAssistant, assistant_id: str | None, model: str | None, tell: Tell
    ) -> Answer:
        options = Options()
        if wish.thread_id:
            options["thread_id"] = wish.thread_id
        if assistant_id:
            options["assistant_id"] = assistant_id
        if chosen := model or (None if assistant_id else self._settings.model):
            options["model"] = chosen
        events = self._client.converse(
            wish.text,
            tools=self._functions,
            max_tools=self._settings.max_tools,
            tool_timeout=self._settings.tool_timeout,
            raise_on_failure=False,
            **options,
        )
        return await self._askings.answer(events, tell)

    async def _list_assistants(self, wish: ListAssistants) -> Assistants:
        page = await self._client.list_assistants(limit=wish.limit, after=wish.after)
        return Assistants(
            assistants=tuple(
                About(
                    id=assistant.id,
                    name=assistant.name,
                    model=assistant.model,
                    tools=tuple(tool.name for tool in assistant.tools),
                )
                for assistant in page.data
            ),
            next=page.next if page.has_more else None,
        )

    async def _list_threads(self, wish: ListThreads) -> Threads:
        listing = latest_threads(wish.query or "", limit=wish.limit, after=wish.after)
        page = await self._client.transport.send(listing)
        return Threads(
            threads=tuple(
                Conversation(
                    id=thread.id,
                    title=thread.title,
                    messages=thread.messages,
                    updated_at=thread.updated_at,
                )
                for thread in page.data
            ),
            next=page.next if page.has_more else None,
        )

    async def _read_thread(self, wish: ReadThread) -> Transcript:
        thread = await self._client.get_thread(wish.thread_id)
        page = await self._client.list_messages(wish.thread_id, limit=wish.limit, after=wish.after)
        return Transcript(
            id=thread.id,
            title=thread.title,
            messages=tuple(map(_said, page.data)),
            next=page.next if page.has_more else None,
        )

    async def _assistants(self) -> AsyncIterator[Assistant]:
        count = 0
        async for assistant in self._client.paginate(EveryAssistant(limit=PAGE)):
            yield assistant
            count += 1
            if count == MAX_ASSISTANTS:
                return


def _as_tool(assistant: Assistant) -> Offered:
    """The assistant as a tool; a part of its id in the name keeps namesakes apart, for good."""
    slug = re.sub(r"[^a-z0-9]+", "_", assistant.name.lower()).strip("_")[:40] or "assistant"
    digest = hashlib.sha256(assistant.id.encode()).hexdigest()[:_DIGITS]
    shown = assistant.name or assistant.id
    return Offered(
        name=f"ask_{slug}_{digest}",
        title=f"Ask {shown}",
        description=f"Assistant: {shown}.\n\n{AskAssistant.__doc__}",
        wish=AskAssistant,
        assistant_id=assistant.id,
    )


def _said(message: Message) -> Said:
    return Said(
        id=message.id,
        role=message.role,
        text=message.full_text,
        calls=tuple(call.name for call in message.tool_calls),
    )


def _as_markdown(message: Message) -> str:
    calls = [f"`{call.name}({call.arguments})`" for call in message.tool_calls]
    return "\n\n".join([f"## {message.role}", *filter(None, [message.full_text]), *calls])
