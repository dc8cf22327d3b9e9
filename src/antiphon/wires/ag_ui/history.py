"""Converts a stored thread to the messages of an AG-UI client, as it builds them from the streams.

The ids are those of the streams. Messages contain text and pictures, no uploads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from antiphon.types.messages import Image, Message, MessagePart, Text
from antiphon.types.thread_view import Entry
from antiphon.wires.ag_ui.events import Json
from antiphon.wires.ag_ui.messages import output_id, reasoning_id, reply_id


def as_messages(entries: Iterable[Entry], names: str = "") -> list[Json]:
    """Return the messages of a thread, oldest first.

    `names` is the metadata key of a user's message with the client's own id of it.
    """
    return [message for entry in entries for message in _messages(entry, names)]


def _messages(entry: Entry, names: str) -> Iterator[Json]:
    replies = Counter[str]()  # by run: a reply that was cut counts with the run of its rest
    for message in entry.messages:
        run_id = message.run_id or ""
        match message.role:
            case "user":
                own_id = message.metadata.get(names) or message.id
                # As its client sent it, without its files.
                content: str | list[Json] = message.text
                if any(isinstance(part, Image) for part in message.content):
                    content = [part for each in message.content for part in _parts(each)]
                yield {"id": own_id, "role": "user", "content": content}
            case "system" if message.compacts is None:
                yield {"id": message.id, "role": "system", "content": message.text}
            case "assistant":
                replies[run_id] += 1
                own_id = reply_id(run_id, replies[run_id]) if run_id else message.id
                yield from _reply(message, own_id)
            case "tool":
                call_id = message.tool_call_id or ""
                yield {
                    "id": output_id(run_id, call_id) if run_id else message.id,
                    "role": "tool",
                    "content": message.text,
                    "toolCallId": call_id,
                }
            case _:
                pass  # a summary, which only models read


def _parts(part: MessagePart) -> Iterator[Json]:
    match part:
        case Text(text=text):
            yield {"type": "text", "text": text}
        case Image(url=str(url)) if url.startswith("data:"):
            kind, _, data = url.removeprefix("data:").partition(";base64,")
            source = {"type": "data", "value": data, "mimeType": kind}
            yield {"type": "image", "source": source}
        case Image(url=str(url)):
            yield {"type": "image", "source": {"type": "url", "value": url}}
        case _:
            pass


def _reply(message: Message, id: str) -> Iterator[Json]:
    if message.reasoning:
        yield {"id": reasoning_id(id), "role": "reasoning", "content": message.reasoning}
    reply: Json = {"id": id, "role": "assistant", "content": message.text}
    if message.tool_calls:
        reply["toolCalls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    yield reply
