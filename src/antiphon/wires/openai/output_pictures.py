"""Moves pictures and files of tool outputs into a message after them.

Chat completions, which models are asked by, has text only in the outputs of tools. A model would
not see what a client's tool has shown it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from antiphon.api.threads import PastMessage
from antiphon.types.messages import Part, Text, parts
from antiphon.wires.framing import InlineFile
from antiphon.wires.openai.chat_request import SentMessage
from antiphon.wires.openai.sent_items import SentItems

SHOWN_LATER = "[shown in the next message]"
"""Stands in an output for what is moved."""
SHOWN = "[shown by the tool]"
"""Begins the message with what was moved."""


def move_pictures(sent: SentItems) -> SentItems:
    """Return the items with outputs that are only text."""
    moved = _Moved()
    outputs = tuple(output._replace(message=moved.take(output.message)) for output in sent.outputs)
    messages = (*moved.give(), *_move_in_messages(sent.messages))
    return sent._replace(outputs=outputs, messages=messages)


def _move_in_messages(messages: Sequence[SentMessage]) -> Iterator[SentMessage]:
    moved = _Moved()
    for each in messages:
        if each.message.role == "tool":
            yield moved.take(each)
        else:
            yield from moved.give()
            yield each
    yield from moved.give()


class _Moved:
    """Parts taken out of outputs that follow each other."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._files: list[InlineFile] = []

    def take(self, sent: SentMessage) -> SentMessage:
        """Return the output with its text alone."""
        content = parts(sent.message.content)
        others = [part for part in content if not isinstance(part, Text)]
        if not others:
            return sent
        self._parts += others
        self._files += sent.files
        text = tuple(part for part in content if isinstance(part, Text))
        return SentMessage(replace(sent.message, content=(*text, Text(SHOWN_LATER))))

    def give(self) -> Iterator[SentMessage]:
        """Yield the message with what was taken, if there is anything."""
        if self._parts:
            content = (Text(SHOWN), *self._parts)
            yield SentMessage(PastMessage(content=content, role="user"), tuple(self._files))
            self._parts, self._files = [], []
