"""What a server asks of the model: agreed to first, in a thread of which nothing stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from antiphon.clean import clean
from antiphon.client.converse import Options
from antiphon.events import MessageCompleted
from antiphon.messages import Blob, Given, Link, Text
from antiphon.runs import Sampling, Status
from antiphon.terminal import arguments, pager
from antiphon.terminal.keyboard import Box, Choice, Rows, in_rows
from antiphon.terminal.spans import Line, Span
from antiphon.terminal.surface import Surface
from antiphon.tools.mcp.hosting import Sample, SampleAsked, SampleMessage

if TYPE_CHECKING:
    from antiphon.terminal.chat import Chat

SHOWN_ROWS = 10
"""Of what the model would be told: the rest is opened by a key."""


async def agreed(surface: Surface, wanted: SampleAsked) -> str:
    """The key of what the person says to it: `n`, `y`, or `s` for this session."""
    whole = _told(wanted)
    box = Box(
        rows=_shortened(_head(wanted), whole, surface),
        choices=(
            Choice("n", "no"),
            Choice("y", "yes, once"),
            Choice("s", f"this session, whatever {wanted.server} asks"),
            Choice("v", "see all of it"),
        ),
        default="n",
    )
    while (key := await surface.keyboard.choose(box)) == "v":
        await pager.opened(surface, f"{wanted.server} asks the model", whole)
    return key


def _shortened(head: Sequence[Line], whole: str, surface: Surface) -> Rows:
    """The head, and as much of the whole as has room; a listener hears all of it."""

    def rows(columns: int) -> Sequence[Line]:
        above = in_rows(head)(columns)
        below = in_rows(arguments.paragraph(whole))(columns)
        if surface.keyboard.spoken or len(below) <= SHOWN_ROWS:
            return [*above, *below]
        left = len(below) - SHOWN_ROWS
        return [*above, *below[:SHOWN_ROWS], (Span(f"({left} more lines: v shows them)", "faint"),)]

    return rows


def _head(wanted: SampleAsked) -> Sequence[Line]:
    likes = f", by {' or '.join(wanted.models)} if it may choose" if wanted.models else ""
    said = f" wants an answer of the model, of at most {wanted.max_tokens} tokens{likes}:"
    return [(Span(clean(wanted.server), "strong"), Span(clean(said)))]


def _told(wanted: SampleAsked) -> str:
    """Everything that the model would be told."""
    parts = [f"instructions: {wanted.system}"] if wanted.system else []
    parts += [
        f"{message.role}: {' '.join(map(in_words, message.content))}" for message in wanted.messages
    ]
    return "\n".join(parts)


# The reply.


async def sampled(chat: Chat, wanted: SampleAsked) -> Sample | None:
    """The reply of the chat's model, None where there was none.

    What the server would like another model to say is asked of this one too: the person chose it.
    """
    client = chat.client
    thread = await client.create_thread(title=f"asked by {wanted.server}"[:100])
    options = _options(chat, wanted)
    options["thread_id"] = thread.id
    said = ""
    try:
        async with client.converse(_text(wanted), **options) as events:
            async for event in events:
                if isinstance(event, MessageCompleted):
                    said = event.message.text
        if events.status not in (Status.COMPLETED, Status.INCOMPLETE):
            return None
        cut = events.status is Status.INCOMPLETE
        return Sample(
            text=said,
            model=chat.model or "default",
            stop_reason="maxTokens" if cut else "endTurn",
        )
    finally:
        await client.delete_thread(thread.id)


def _options(chat: Chat, wanted: SampleAsked) -> Options:
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
    if chat.model:
        options["model"] = chat.model
    return options


def _text(wanted: SampleAsked) -> str:
    """The messages as one: only a model can say what an assistant says."""
    if all(message.role == "user" for message in wanted.messages):
        return "\n\n".join(_whole(message) for message in wanted.messages)
    return "\n\n".join(f"{message.role}: {_whole(message)}" for message in wanted.messages)


def _whole(message: SampleMessage) -> str:
    return "\n".join(map(in_words, message.content))


def in_words(part: Given) -> str:
    """What a server has given, as far as it is words."""
    match part:
        case Text(text=text):
            return text
        case Blob(media_type=kind, data=data):
            return f"[{kind}, {len(data)} bytes]"
        case Link(uri=uri):
            return f"[{uri}]"
