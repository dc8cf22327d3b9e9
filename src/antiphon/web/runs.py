"""Runs of the web chat: started by a posted message, and streamed to any number of readers."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.client.async_client import AsyncClient
from antiphon.client.document_tools import DocumentTools
from antiphon.limits.unsent_bytes import PIECE
from antiphon.tools.memory import MemoryTools
from antiphon.tools.tool_events import (
    ConsentAsked,
    ToolAwaited,
    ToolBegan,
    ToolEnded,
    ToolEvent,
    ToolProgressed,
)
from antiphon.types.errors import (
    AntiphonError,
    IdempotencyConflict,
    InvalidEventId,
    InvalidRequest,
    NotFound,
    TryAgain,
)
from antiphon.types.events import Numbered, ReasoningDelta, RefusalDelta, TextDelta
from antiphon.types.messages import File, Part, Text, ToolSpec
from antiphon.types.runs import Fault, Run, ThreadOptions
from antiphon.types.terminal_safe import clean
from antiphon.web.assistants import assistant_view, find_usable, select_tools
from antiphon.web.people import User
from antiphon.web.relay import Relay
from antiphon.web.site import Site
from antiphon.web.tools import approval_details
from antiphon.wires.ai_sdk.message_stream import UIMessageStream
from antiphon.wires.ai_sdk.parts import CallFacts, Sdk
from antiphon.wires.framing import Cursor, drop_void_events

Frames = AsyncGenerator[bytes, None]

WriteNow = Callable[[Callable[[], bytes]], bool]
"""Makes and writes bytes at once if the connection has room for them; returns False if not."""
FrameSource = Callable[[WriteNow | None], Frames]
"""Starts the frames of one reader. Those that are written at once are not yielded."""

BATCH_SECONDS = 0.05
"""Seconds for which deltas are batched if a task has to write them, which costs more."""
DELTAS = (TextDelta, ReasoningDelta, RefusalDelta)
MAX_BATCH = 256
"""Most events that are encoded at once for a late reader, to bound memory."""


class Wire(Protocol):
    """Encoder of `antiphon.wires` for one run and one reader."""

    def feed_all(self, events: Iterable[Numbered]) -> list[bytes]:
        """Return the frames of these events."""
        ...

    def close(self) -> Sequence[bytes]:
        """Return the frames that end the stream."""
        ...

    def fail(self, fault: Fault) -> Sequence[bytes]:
        """Return the frames that report a fault."""
        ...

    def tool_status(
        self,
        tool_call_id: str,
        state: Literal["waiting", "running", "ended"],
        elapsed: float = 0,
        servers: Sequence[str] = (),
        arguments: str | None = None,
    ) -> Sequence[bytes]:
        """Return the frames with a tool's state; `servers` are those that it waits for.

        `arguments` are those with which it runs, which the user may have edited.
        """
        ...

    def progress(
        self, tool_call_id: str, done: float, total: float | None = None, message: str = ""
    ) -> Sequence[bytes]:
        """Return the frames with a tool's progress."""
        ...

    def approval_asked(
        self, tool_call_id: str, approval_id: str, about: CallFacts | None = None
    ) -> Sequence[bytes]:
        """Return the frames that ask the user about a call."""
        ...

    def approval_given(self, tool_call_id: str) -> Sequence[bytes]:
        """Return the frames that say the user has agreed."""
        ...


def never_rests() -> bool:
    """Return False: the page's own streams last as long as their run."""
    return False


async def stream_relay(
    relay: Relay,
    wire: Wire,
    after: int = 0,
    rests: Callable[[], bool] = never_rests,
    write_now: WriteNow | None = None,
) -> Frames:
    """Yield the frames of a run that this process carries on, to its end or until it `rests`.

    Events up to `after` are left out, because the reader has them. Text that arrives while the
    reader waits goes to `write_now`, which wakes no task; if that cannot write, it is yielded.
    """
    events = seen_tool_events = 0
    progress: dict[str, ToolProgressed] = {}
    first = True

    def write_deltas() -> bool:
        nonlocal events
        new = relay.events[events:]
        if (
            write_now is None
            or len(relay.tool_events) > seen_tool_events
            or relay.running_tools
            or relay.is_over
            or _text_size(new) > PIECE
        ):
            return False
        if not write_now(lambda: b"".join(wire.feed_all(new))):
            return False
        events += len(new)
        return True

    with relay.subscribe() as subscription:
        known, events = drop_void_events(relay.events, after), len(relay.events)
        for start in range(0, len(known), MAX_BATCH):
            if frames := wire.feed_all(known[start : start + MAX_BATCH]):
                yield b"".join(frames)
        while True:
            over = relay.is_over
            begins = not events
            new, events = relay.events[events:], len(relay.events)
            unsent, seen_tool_events = relay.tool_events[seen_tool_events:], len(relay.tool_events)
            frames = wire.feed_all(drop_void_events(new, after) if begins else new)
            frames += (
                _encode_current_tools(wire, relay) if first else _encode_tool_events(wire, unsent)
            )
            previous, progress = progress, relay.progress
            changed = [state for call, state in progress.items() if state is not previous.get(call)]
            frames += [] if first else _encode_tool_events(wire, changed)
            first = first and not events
            if over or rests():
                yield b"".join([*frames, *_end(wire, relay.fault if over else None)])
                return
            if frames:
                yield b"".join(frames)
            deltas = write_now is None and any(isinstance(event, DELTAS) for _, event in new)
            if changed or deltas:
                await asyncio.sleep(BATCH_SECONDS)
            await subscription.wait(write_deltas)


def _text_size(events: Sequence[Numbered]) -> float:
    """Return the characters of these deltas; infinite if there are other events or none."""
    size = 0
    for _, event in events:
        if not isinstance(event, DELTAS):
            return math.inf
        size += len(event.text)
    return size or math.inf


async def stream_log(client: AsyncClient, run_id: str, wire: Wire) -> Frames:
    """Yield the frames of a run that is carried on elsewhere or has ended, to its end."""
    fault: Fault | None = None
    try:
        async with client.events(run_id) as events:
            async for batch in events.batches():
                if frames := wire.feed_all(batch):
                    yield b"".join(frames)
    except TryAgain:
        pass  # the reader reconnects
    except AntiphonError as problem:
        fault = Fault(problem.code, problem.message)
    yield b"".join(_end(wire, fault))


def _end(wire: Wire, fault: Fault | None) -> Iterator[bytes]:
    if fault is not None:
        yield from wire.fail(fault)
    yield from wire.close()


def _encode_current_tools(wire: Wire, relay: Relay) -> list[bytes]:
    """Return the frames with the present state of tools, for a reader that joins now."""
    frames: list[bytes] = []
    for question in relay.open_questions.values():
        frames += wire.approval_asked(question.call.id, question.digest, approval_details(question))
    frames += _encode_tool_events(wire, relay.awaited_tools.values())
    for call_id, tool in relay.running_tools.items():
        elapsed = time.monotonic() - tool.since
        frames += wire.tool_status(call_id, "running", elapsed, arguments=tool.arguments)
        if tool.last is not None:
            frames += _encode_tool_event(wire, tool.last)
    return frames


def _encode_tool_events(wire: Wire, events: Iterable[ToolEvent]) -> list[bytes]:
    return [frame for event in events for frame in _encode_tool_event(wire, event)]


def _encode_tool_event(wire: Wire, event: ToolEvent) -> Sequence[bytes]:
    match event:
        case ToolAwaited(call=call, servers=servers):
            return wire.tool_status(call.id, "waiting", servers=[clean(each) for each in servers])
        case ConsentAsked(question=question):
            return wire.approval_asked(
                question.call.id, question.digest, approval_details(question)
            )
        case ToolBegan(call=call):
            status = wire.tool_status(call.id, "running", arguments=call.arguments)
            return [*wire.approval_given(call.id), *status]
        case ToolProgressed(tool_call_id=call_id, progress=how):
            return wire.progress(call_id, how.done, how.total, how.message)
        case ToolEnded(tool_call_id=call_id, seconds=seconds):
            return wire.tool_status(call_id, "ended", seconds)
        case _:
            return []


MessageId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{8,64}$(?!\n)")]
"""Id that the browser gives a message; a message posted twice is stored once."""
IDEMPOTENCY_KEY = "asked_as"
"""Key, in a run's metadata, of the idempotency key that created it."""
CURSOR_TIMEOUT = 5.0
"""Seconds within which an existing event has been read."""
ToolName = Annotated[str, Meta(max_length=128)]


class PostedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Message of a user as the page posts it. Without a thread, a new one is created.

    `tools` are the names of the tools that the run may use; None for the assistant's, or else all.
    A new thread can be `temporary`, has these `options`, and is in the folder `folder_id`. With
    `continues` there is no message: the run goes on with the thread's last answer, which was cut.
    """

    content: operations.Content = ""
    continues: bool = False
    thread_id: operations.Id | None = None
    assistant_id: operations.Id | None = None
    model: operations.Name | None = None
    system: operations.Long | None = None
    message_id: MessageId | None = None
    attachments: Annotated[tuple[operations.Id, ...], Meta(max_length=32)] = ()
    tools: Annotated[tuple[ToolName, ...], Meta(max_length=512)] | None = None
    temporary: bool = False
    options: ThreadOptions = ThreadOptions()
    folder_id: operations.Id | None = None


async def submit(site: Site, user: User, message: PostedMessage, sdk: Sdk) -> FrameSource:
    """Save the message, start its run and return its frames. Idempotent by the message's id."""
    run = await start_run(site, user, message)
    return attach_reader(site, user, run, UIMessageStream(sdk))


async def start_run(site: Site, user: User, message: PostedMessage) -> Run:
    """Create the message and the run that answers it."""
    if message.temporary and message.thread_id is not None:
        raise InvalidRequest(
            "Only a new thread can be temporary.",
            expected="temporary without thread_id",
            received="both",
        )
    if not message.continues and not message.content and not message.attachments:
        raise InvalidRequest("There is nothing to answer.", expected="content", where="$.content")
    if message.continues and (message.thread_id is None or message.content or message.attachments):
        raise InvalidRequest(
            "The rest of an answer needs a thread, and no message.",
            expected="continues with thread_id, without content and attachments",
            received="content or attachments" if message.thread_id else "no thread_id",
        )
    client = site.client_for_user(user)
    tools = await _select_tools(site, client, message)
    new = operations.CreateThread(
        temporary=message.temporary, options=message.options, folder_id=message.folder_id
    )
    thread_id = (
        message.thread_id
        or (await client.transport.send(new, _idempotency_key(message, "thread"))).id
    )
    if not message.continues:
        create = operations.CreateMessage(thread_id, _content(message))
        await client.transport.send(create, _idempotency_key(message, "message"))
    run = operations.CreateRun(
        thread_id=thread_id,
        assistant_id=message.assistant_id,
        model=message.model,
        instructions=message.system,
        tools=tools,
        continues=message.continues,
    )
    return await create_run(site, user, run, _idempotency_key(message, "run"))


async def create_run(site: Site, user: User, run: operations.CreateRun, key: str | None) -> Run:
    """Create the run with the web chat's mark, or return the run created under this key before.

    It may use the tools for documents if there are any. The earlier run counts even if the tools
    differ by now: an MCP server may have started since.
    """
    client, ours = site.client_for_user(user), site.relays.run_metadata(run.thread_id)
    tools = run.tools
    if tools or (tools is not None and run.assistant_id is not None):  # a model may lack tools
        documents = DocumentTools(client.transport, run.thread_id, run.assistant_id)
        names = {each.name for each in tools}
        more = [each for each in await documents.specs() if each.name not in names]
        run = replace(run, tools=(*tools, *more))
    named = {**ours, **({IDEMPOTENCY_KEY: key} if key else {})}
    try:
        return await client.transport.send(replace(run, metadata=named), key)
    except IdempotencyConflict:
        async for earlier in client.paginate(operations.ListRuns(run.thread_id, limit=100)):
            if earlier.metadata.get(IDEMPOTENCY_KEY) == key:
                return earlier
        raise


async def _select_tools(
    site: Site, client: AsyncClient, message: PostedMessage
) -> tuple[ToolSpec, ...]:
    """Wait for starting servers; return the named tools, else the assistant's, else all.

    A run with all tools has those of memory too, if its person wants that.
    """
    await site.tools.wait_for_servers(message.tools)
    if message.tools is not None:
        return site.tools.specs(message.tools)
    chosen = site.tools.specs()
    if message.assistant_id is not None:
        view = assistant_view(await find_usable(client, message.assistant_id))
        chosen = select_tools(site.tools, view)
        if view.tools is not None:
            return chosen
    if not await _may_remember(client, message):
        return chosen
    taken = {spec.name for spec in site.tools.specs()}
    memory = (tool.spec for tool in MemoryTools(client).tools())
    return (*chosen, *(spec for spec in memory if spec.name not in taken))


async def _may_remember(client: AsyncClient, message: PostedMessage) -> bool:
    """Return whether memory is on, and the message's thread is not temporary.

    A backend of the version before knows no memory.
    """
    if message.temporary:
        return False
    try:
        settings = await client.get_personal_settings()
    except NotFound:
        return False
    if not settings.memory_enabled:
        return False
    return message.thread_id is None or not (await client.get_thread(message.thread_id)).temporary


async def check_cursor(site: Site, user: User, cursor: Cursor) -> None:
    """Raise `InvalidEventId` if the run has no such event yet: nothing would ever follow it."""
    relay = site.relays.find(cursor.run_id)
    if cursor.number == 0 or (relay is not None and cursor.number <= relay.last_number):
        return
    client = site.client_for_user(user)
    async with client.events(cursor.run_id, after=cursor.number - 1) as events:
        with suppress(TimeoutError):
            async with asyncio.timeout(CURSOR_TIMEOUT):
                if await anext(events.batches(), None) is not None:
                    return
    raise InvalidEventId(
        "The run has no such event.",
        expected="the id of a frame of this run",
        received=str(cursor.number),
        hint="Leave it out to be sent the whole message.",
    )


def resume_stream(
    site: Site, user: User, run: Run, sdk: Sdk, after: Cursor | None = None
) -> FrameSource:
    """Return the frames of this run from the cursor on."""
    return attach_reader(site, user, run, UIMessageStream(sdk, after), after.number if after else 0)


def attach_reader(
    site: Site,
    user: User,
    run: Run,
    wire: Wire,
    after: int = 0,
    rests: Callable[[Relay], bool] | None = None,
) -> FrameSource:
    """Return the run's frames on this wire; the run is resumed if nothing carries it on.

    The stream ends with the run, or when it `rests`. Call it on the loop.
    """
    client = site.client_for_user(user)
    relay = site.relays.resume(client, run, user.owner)
    if relay is None:
        return lambda _: stream_log(client, run.id, wire)
    may_rest = (lambda: rests(relay)) if rests else never_rests
    return partial(stream_relay, relay, wire, after, may_rest)


def _content(message: PostedMessage) -> operations.Content:
    if not message.attachments:
        return message.content
    texts: tuple[Part, ...] = (
        (Text(message.content),) if isinstance(message.content, str) else message.content
    )
    return (*texts, *(File(file_id=each) for each in message.attachments))


def _idempotency_key(message: PostedMessage, what: str) -> str | None:
    """Return the key for one call of a message, so that each call is done once."""
    return f"{message.message_id}.{what}" if message.message_id else None
