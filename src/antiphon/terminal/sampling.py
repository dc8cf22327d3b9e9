"""What a server asks of the model: in a thread of its own, of which nothing stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antiphon.client.converse import Options
from antiphon.events import MessageCompleted
from antiphon.messages import Blob, Given, Link, Text
from antiphon.runs import Sampling, Status
from antiphon.tools.mcp.hosting import Sample, SampleAsked, SampleMessage

if TYPE_CHECKING:
    from antiphon.terminal.chat import Chat


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
