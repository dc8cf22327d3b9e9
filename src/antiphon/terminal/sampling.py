"""Replies of the model for MCP servers: the user agrees first, and the thread is deleted."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.api.operations import Options
from antiphon.client.async_client import AsyncClient
from antiphon.mcp.client.client_features import SamplingMessage, SamplingReply, SamplingRequest
from antiphon.terminal import arguments, paging
from antiphon.terminal.input.keyboard import Box, KeyChoice, in_rows
from antiphon.terminal.paging import Parts
from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.ui import Ui
from antiphon.types.events import MessageCompleted
from antiphon.types.messages import Blob, Link, ResultPart, Text
from antiphon.types.runs import Sampling, Status
from antiphon.types.terminal_safe import clean


async def ask_to_sample(ui: Ui, wanted: SamplingRequest) -> str:
    """Ask the user. Return `n`, `y`, or `s` for the whole session."""
    whole = _describe_request(wanted)
    parts = Parts(ui, head=lambda: _head(wanted), lines=lambda: arguments.paragraph(whole))
    while True:
        allowing = (
            KeyChoice("y", "yes, once"),
            KeyChoice("s", f"this session, whatever {clean(wanted.server)} asks"),
        )
        choices = (
            KeyChoice("n", "no"),
            *(allowing if parts.shown else ()),
            *parts.choices,
            KeyChoice("v", "see all of it"),
        )
        key = await ui.keyboard.choose(Box(rows=parts.rows, choices=choices, default="n"))
        match key:
            case "v":
                await paging.open_pager(ui, f"{wanted.server} asks the model", whole)
                parts.open()
            case "m":
                parts.turn()
            case "s" if not await _confirm(ui, wanted):
                pass
            case _:
                return key


async def _confirm(ui: Ui, wanted: SamplingRequest) -> bool:
    """Return True if a yes for the session is meant: a second, different key confirms it."""
    head: Sequence[Line] = [
        (
            StyledText("Then the model answers whatever "),
            StyledText(clean(wanted.server), "strong"),
            StyledText(" asks, without a question, until this chat ends."),
        )
    ]
    choices = (KeyChoice("n", "no, back"), KeyChoice("c", "confirm: this session"))
    return await ui.keyboard.choose(Box(rows=in_rows(head), choices=choices, default="n")) == "c"


def _head(wanted: SamplingRequest) -> Sequence[Line]:
    likes = f", by {' or '.join(wanted.models)} if it may choose" if wanted.models else ""
    said = f" wants an answer of the model, of at most {wanted.max_tokens} tokens{likes}:"
    return [(StyledText(clean(wanted.server), "strong"), StyledText(clean(said)))]


def _describe_request(wanted: SamplingRequest) -> str:
    """Return everything that the model would be sent."""
    parts = [f"instructions: {wanted.system}"] if wanted.system else []
    parts += [
        f"{message.role}: {' '.join(map(part_text, message.content))}"
        for message in wanted.messages
    ]
    return "\n".join(parts)


# The reply.


async def sample(
    client: AsyncClient, model: str | None, wanted: SamplingRequest
) -> SamplingReply | None:
    """Return the reply of the chat's model, None if there was none.

    A server's wish for another model is ignored: the user chose this one.
    """
    thread = await client.create_thread(title=f"asked by {wanted.server}"[:100])
    options = _options(model, wanted)
    options["thread_id"] = thread.id
    said = ""
    try:
        async with client.converse(_text(wanted), raise_on_failure=False, **options) as events:
            async for event in events:
                if isinstance(event, MessageCompleted):
                    said = event.message.full_text
        if events.status not in (Status.COMPLETED, Status.INCOMPLETE):
            return None
        cut = events.status is Status.INCOMPLETE
        return SamplingReply(
            text=said,
            model=model or "default",
            stop_reason="maxTokens" if cut else "endTurn",
        )
    finally:
        await client.delete_thread(thread.id)


def _options(model: str | None, wanted: SamplingRequest) -> Options:
    options = Options(
        max_turns=1,
        sampling=Sampling(
            max_output_tokens=max(1, wanted.max_tokens),
            temperature=wanted.temperature,
            stop=wanted.stop or None,
        ),
    )
    if wanted.system:
        options["instructions"] = wanted.system
    if model:
        options["model"] = model
    return options


def _text(wanted: SamplingRequest) -> str:
    """Return the messages as one: only a model can write an assistant's message."""
    if all(message.role == "user" for message in wanted.messages):
        return "\n\n".join(_whole(message) for message in wanted.messages)
    return "\n\n".join(f"{message.role}: {_whole(message)}" for message in wanted.messages)


def _whole(message: SamplingMessage) -> str:
    return "\n".join(map(part_text, message.content))


def part_text(part: ResultPart) -> str:
    """Return text of a part, or a placeholder for other data."""
    match part:
        case Text(text=text):
            return text
        case Blob(media_type=kind, data=data):
            return f"[{kind}, {len(data)} bytes]"
        case Link(uri=uri):
            return f"[{uri}]"
