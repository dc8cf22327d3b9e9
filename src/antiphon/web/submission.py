"""From a posted message to a run and its stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.client.async_client import AsyncClient
from antiphon.types.errors import IdempotencyConflict, InvalidEventId
from antiphon.types.messages import File, Part, Text, ToolSpec
from antiphon.types.runs import Run
from antiphon.web.assistants import allowed_tools, assistant_view
from antiphon.web.people import User
from antiphon.web.relay import Relay
from antiphon.web.run_stream import Frames, Wire, never_rests, stream_log, stream_relay
from antiphon.web.site import Site
from antiphon.wires.ai_sdk.message_stream import UIMessageStream
from antiphon.wires.ai_sdk.parts import Sdk
from antiphon.wires.framing import Cursor

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
    """

    content: operations.Content
    thread_id: operations.Id | None = None
    assistant_id: operations.Id | None = None
    model: operations.Name | None = None
    system: operations.Long | None = None
    message_id: MessageId | None = None
    attachments: Annotated[tuple[operations.Id, ...], Meta(max_length=32)] = ()
    tools: Annotated[tuple[ToolName, ...], Meta(max_length=512)] | None = None


async def submit(site: Site, user: User, message: PostedMessage, sdk: Sdk) -> Frames:
    """Save the message, start its run and return the frames. Idempotent by the message's id."""
    run = await start_run(site, user, message)
    return attach_reader(site, user, run, UIMessageStream(sdk))


async def start_run(site: Site, user: User, message: PostedMessage) -> Run:
    """Create the message and the run that answers it."""
    client = site.client_for_user(user)
    tools = await _offered_tools(site, client, message)
    thread_id = (
        message.thread_id
        or (
            await client.transport.send(
                operations.CreateThread(), _idempotency_key(message, "thread")
            )
        ).id
    )
    said = operations.CreateMessage(thread_id, _content(message))
    await client.transport.send(said, _idempotency_key(message, "message"))
    run = operations.CreateRun(
        thread_id=thread_id,
        assistant_id=message.assistant_id,
        model=message.model,
        instructions=message.system,
        tools=tools,
    )
    return await create_run(site, user, run, _idempotency_key(message, "run"))


async def create_run(site: Site, user: User, run: operations.CreateRun, key: str | None) -> Run:
    """Create the run with the web chat's mark, or return the run created under this key before.

    The earlier run counts even if the tools differ by now: an MCP server may have started since.
    """
    client, ours = site.client_for_user(user), site.relays.run_metadata(run.thread_id)
    named = {**ours, **({IDEMPOTENCY_KEY: key} if key else {})}
    try:
        return await client.transport.send(replace(run, metadata=named), key)
    except IdempotencyConflict:
        async for earlier in client.paginate(operations.ListRuns(run.thread_id, limit=100)):
            if earlier.metadata.get(IDEMPOTENCY_KEY) == key:
                return earlier
        raise


async def _offered_tools(
    site: Site, client: AsyncClient, message: PostedMessage
) -> tuple[ToolSpec, ...]:
    """Wait for starting servers; return the named tools, else the assistant's, else all."""
    await site.tools.wait_for_servers(message.tools)
    if message.tools is not None or message.assistant_id is None:
        return site.tools.specs(message.tools)
    return allowed_tools(
        site.tools, assistant_view(await client.get_assistant(message.assistant_id))
    )


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
) -> Frames:
    """Return the frames of this run from the cursor on."""
    return attach_reader(site, user, run, UIMessageStream(sdk, after), after.number if after else 0)


def attach_reader(
    site: Site,
    user: User,
    run: Run,
    wire: Wire,
    after: int = 0,
    rests: Callable[[Relay], bool] | None = None,
) -> Frames:
    """Return the run's frames on this wire; the run is resumed if nothing carries it on.

    The stream ends with the run, or when it `rests`. Call it on the loop.
    """
    client = site.client_for_user(user)
    relay = site.relays.resume(client, run, user.owner)
    if relay is None:
        return stream_log(client, run.id, wire)
    return stream_relay(relay, wire, after, (lambda: rests(relay)) if rests else never_rests)


def _content(message: PostedMessage) -> operations.Content:
    if not message.attachments:
        return message.content
    said: tuple[Part, ...] = (
        (Text(message.content),) if isinstance(message.content, str) else message.content
    )
    return (*said, *(File(file_id=each) for each in message.attachments))


def _idempotency_key(message: PostedMessage, what: str) -> str | None:
    """Return the key for one call of a message, so that each call is done once."""
    return f"{message.message_id}.{what}" if message.message_id else None
