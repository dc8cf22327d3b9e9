"""Handlers of the tools and resources that Antiphon offers to MCP clients."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from antiphon.api.operations import ListAssistants, Options
from antiphon.client.async_client import AsyncClient
from antiphon.client.async_events import AsyncEvents
from antiphon.client.export import load_joined_messages
from antiphon.client.export_markdown import render_sources
from antiphon.client.thread_families import latest_threads
from antiphon.mcp.server.tools import (
    TOOLS,
    About,
    AskAssistantInput,
    AskInput,
    AskOutput,
    ListAssistantsInput,
    ListAssistantsOutput,
    ListThreadsInput,
    ListThreadsOutput,
    ReadThreadInput,
    ReadThreadOutput,
    Said,
    ThreadSummary,
    ToolInput,
    parse_arguments,
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
from antiphon.types.messages import Message, list_pages
from antiphon.types.runs import Assistant, Status, Thread

# Runs for MCP clients: progress is reported, and a client that leaves cancels its run.


Report = Callable[[int, str], Awaitable[None]]
"""Receives the number of the last event and the text so far."""

PAUSE = 0.2  # seconds between two reports: a person sees no more, and each holds the whole text
LONGEST_REPORT = 8_000  # characters; of a longer text, its end
CANCEL_SECONDS = 5.0


class PendingRuns:
    """Runs in progress for MCP clients; `close` waits for cancellations in progress."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._ending: set[asyncio.Task[None]] = set()

    async def wait(self, events: AsyncEvents, tell: Report) -> AskOutput:
        """Wait for the output of this run. Cancelling the wait cancels the run.

        Raises `Unavailable` for a run that failed, was cancelled or expired.
        """
        pending = _PendingRun(events, tell)
        reader = asyncio.create_task(pending.read_events())
        try:
            await asyncio.shield(reader)
        except asyncio.CancelledError:
            pending.left = True
            ending = asyncio.create_task(self._cancel(pending, reader))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            raise
        return pending.answer()

    async def close(self) -> None:
        """Wait until every abandoned run is cancelled."""
        while self._ending:
            await asyncio.gather(*self._ending, return_exceptions=True)

    async def _cancel(self, pending: _PendingRun, reader: asyncio.Task[None]) -> None:
        """Cancel the run, waiting first for its id if it has just begun."""
        known = asyncio.create_task(pending.known.wait())
        with suppress(AntiphonError, TimeoutError):
            async with asyncio.timeout(CANCEL_SECONDS):
                await asyncio.wait({reader, known}, return_when=asyncio.FIRST_COMPLETED)
                if pending.events.run_id is not None:
                    await self._client.cancel_run(pending.events.run_id)
        reader.cancel()
        known.cancel()
        await asyncio.gather(reader, known, return_exceptions=True)


class _PendingRun:
    """One run, whose text so far is reported; `left` is set when its client has gone."""

    def __init__(self, events: AsyncEvents, tell: Report) -> None:
        self.events = events
        self.known = asyncio.Event()
        self.left = False
        self._send_report = tell
        self._pieces: list[str] = []
        self._turn_start = 0
        self._reported_at = 0.0

    async def read_events(self) -> None:
        async with self.events:
            async for event in self.events:
                self.known.set()
                self._add_event(event)
                await self._report()

    def answer(self) -> AskOutput:
        events = self.events
        status, run_id, thread_id = events.status, events.run_id, events.thread_id
        if status is None or run_id is None or thread_id is None:
            raise Unavailable("The run ended before it began.")
        if status not in (Status.COMPLETED, Status.INCOMPLETE):
            why = f": {events.error.message}" if events.error else ""
            raise Unavailable(f"The run {run_id} in {thread_id} is {status}{why}")
        return AskOutput(
            text=self._text(),
            thread_id=thread_id,
            run_id=run_id,
            status=status,
            reason=events.reason,
        )

    def _add_event(self, event: Event) -> None:
        match event:
            case TextDelta(text=text) | RefusalDelta(text=text):
                self._pieces.append(text)
            case MessageCompleted(message=message):
                self._pieces.append("\n\n")
                if sources := _render_sources(message):
                    self._pieces.append(f"{sources}\n\n")
            case TurnEnded():
                self._turn_start = len(self._pieces)
            case TurnRestarted():
                del self._pieces[self._turn_start :]
            case _:
                pass

    def _text(self) -> str:
        return "".join(self._pieces).strip()

    async def _report(self) -> None:
        now = asyncio.get_running_loop().time()
        if self.left or now - self._reported_at < PAUSE:
            return
        text = self._text()
        if text:
            self._reported_at = now
            await self._send_report(self.events.last_event, text[-LONGEST_REPORT:])


PAGE = 100
MAX_ASSISTANTS = 200  # that are tools of their own
_DIGITS = 6


class OfferedTool(msgspec.Struct, frozen=True, kw_only=True):
    """Tool as offered: its name, description and input type."""

    name: str
    title: str
    description: str
    input_type: type[ToolInput]
    assistant_id: str | None = None


class McpHandlers:
    """Handlers of MCP requests. `functions` are the tools that a run may call in this process.

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
        self._runs = PendingRuns(client)

    async def tools(self) -> list[OfferedTool]:
        """Return the tools that can be called now."""
        own = [
            OfferedTool(
                name=name, title=kind.title, description=kind.__doc__ or "", input_type=kind
            )
            for name, kind in TOOLS.items()
        ]
        if not self._each_assistant:
            return own
        return [*own, *[_as_tool(assistant) async for assistant in self._assistants()]]

    async def call(
        self,
        name: str,
        arguments: dict[str, Any],
        tell: Report,
        client: AsyncClient | None = None,
    ) -> msgspec.Struct:
        """Return the output of a call; `client` starts its run, if another one than usual.

        Raises `NotFound` for an unknown tool, and `AntiphonError`.
        """
        offered = {tool.name: tool for tool in await self.tools()}
        if name not in offered:
            raise NotFound(f"There is no tool {name}.", expected=", ".join(offered), received=name)
        tool = offered[name]
        match parse_arguments(tool.input_type, arguments):
            case AskInput(assistant_id=assistant_id, model=model) as parsed:
                return await self._ask(parsed, assistant_id, model, tell, client)
            case AskAssistantInput() as parsed:
                return await self._ask(parsed, tool.assistant_id, None, tell, client)
            case ListAssistantsInput() as parsed:
                return await self._list_assistants(parsed)
            case ListThreadsInput() as parsed:
                return await self._list_threads(parsed)
            case ReadThreadInput() as parsed:
                return await self._read_thread(parsed)
            case other:
                raise NotImplementedError(type(other).__name__)

    async def threads(self, after: str | None = None) -> tuple[Sequence[Thread], str | None]:
        """Return a page of threads, and the cursor of the next."""
        page = await self._client.transport.send(latest_threads(limit=PAGE, after=after))
        return page.data, page.next if page.has_more else None

    async def markdown(self, thread_id: str) -> str:
        """Return a whole thread as Markdown. Raises `NotFound`."""
        thread = await self._client.get_thread(thread_id)
        messages = load_joined_messages(self._client, thread_id)
        parts = [message_as_markdown(message) async for message in messages]
        return "\n\n".join([f"# {thread.title or thread.id}", *parts])

    async def close(self) -> None:
        """Wait for abandoned runs to be cancelled; the client stays open."""
        await self._runs.close()

    async def _ask(
        self,
        parsed: AskAssistantInput,
        assistant_id: str | None,
        model: str | None,
        tell: Report,
        client: AsyncClient | None,
    ) -> AskOutput:
        options = Options()
        if parsed.thread_id:
            options["thread_id"] = parsed.thread_id
        if assistant_id:
            options["assistant_id"] = assistant_id
        if chosen := model or (None if assistant_id else self._settings.model):
            options["model"] = chosen
        options["personal"] = False
        events = (client or self._client).converse(
            parsed.text,
            tools=self._functions,
            max_tools=self._settings.max_parallel_tools,
            tool_timeout=self._settings.tool_timeout,
            raise_on_failure=False,
            **options,
        )
        return await self._runs.wait(events, tell)

    async def _list_assistants(self, parsed: ListAssistantsInput) -> ListAssistantsOutput:
        page = await self._client.list_assistants(limit=parsed.limit, after=parsed.after)
        return ListAssistantsOutput(
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

    async def _list_threads(self, parsed: ListThreadsInput) -> ListThreadsOutput:
        listing = latest_threads(parsed.query or "", limit=parsed.limit, after=parsed.after)
        page = await self._client.transport.send(listing)
        return ListThreadsOutput(
            threads=tuple(
                ThreadSummary(
                    id=thread.id,
                    title=thread.title,
                    messages=thread.messages,
                    updated_at=thread.updated_at,
                )
                for thread in page.data
            ),
            next=page.next if page.has_more else None,
        )

    async def _read_thread(self, parsed: ReadThreadInput) -> ReadThreadOutput:
        thread = await self._client.get_thread(parsed.thread_id)
        page = await self._client.list_messages(
            parsed.thread_id, limit=parsed.limit, after=parsed.after
        )
        return ReadThreadOutput(
            id=thread.id,
            title=thread.title,
            messages=tuple(map(_thread_message, page.data)),
            next=page.next if page.has_more else None,
        )

    async def _assistants(self) -> AsyncIterator[Assistant]:
        count = 0
        async for assistant in self._client.paginate(ListAssistants(limit=PAGE)):
            yield assistant
            count += 1
            if count == MAX_ASSISTANTS:
                return


def _as_tool(assistant: Assistant) -> OfferedTool:
    """Return the assistant as a tool; a digest of its id makes the name unique and stable."""
    slug = re.sub(r"[^a-z0-9]+", "_", assistant.name.lower()).strip("_")[:40] or "assistant"
    digest = hashlib.sha256(assistant.id.encode()).hexdigest()[:_DIGITS]
    shown = assistant.name or assistant.id
    return OfferedTool(
        name=f"ask_{slug}_{digest}",
        title=f"Ask {shown}",
        description=f"Assistant: {shown}.\n\n{AskAssistantInput.__doc__}",
        input_type=AskAssistantInput,
        assistant_id=assistant.id,
    )


def _thread_message(message: Message) -> Said:
    return Said(
        id=message.id,
        role=message.role,
        text="\n\n".join(_list_texts(message)),
        calls=tuple(call.name for call in message.tool_calls),
    )


def message_as_markdown(message: Message) -> str:
    """Return one message as Markdown, with its tool calls."""
    calls = [f"`{call.name}({call.arguments})`" for call in message.tool_calls]
    return "\n\n".join([f"## {message.role}", *_list_texts(message), *calls])


def _list_texts(message: Message) -> Sequence[str]:
    """Return the text of a message and its list of sources, as far as it has them."""
    return [*filter(None, (message.full_text, _render_sources(message)))]


def _render_sources(message: Message) -> str:
    """Return the pages that a reply cites as Markdown, "" if it cites none."""
    pages = list_pages(message.citations)
    return render_sources(pages) if pages else ""
