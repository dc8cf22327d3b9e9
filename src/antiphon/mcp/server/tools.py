"""Tools that Antiphon offers to MCP clients: their inputs and outputs.

The docstrings of inputs are the descriptions that models read.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from antiphon.types.errors import InvalidRequest
from antiphon.types.messages import Hints

Text = Annotated[str, Meta(min_length=1, max_length=4_000_000)]
Id = Annotated[str, Meta(min_length=1, max_length=128)]
Count = Annotated[int, Meta(ge=1, le=100)]

READS = Hints(read_only=True, destructive=False, idempotent=True, open_world=False)
SPEAKS = Hints(read_only=False, destructive=False, idempotent=False, open_world=True)


class AskOutput(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The assistant's answer. Pass `thread_id` to continue the conversation in a further call.

    `status` is `completed`, or `incomplete` where the answer was cut, for the `reason`.
    """

    text: str
    thread_id: str
    run_id: str
    status: str
    reason: str | None = None


class About(msgspec.Struct, frozen=True, kw_only=True):
    """An assistant, without its instructions."""

    id: str
    name: str
    model: str | None
    tools: tuple[str, ...]


class ListAssistantsOutput(msgspec.Struct, frozen=True, kw_only=True):
    """A page of assistants; `next` asks for the one behind it."""

    assistants: tuple[About, ...]
    next: str | None


class ThreadSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A thread in a list; `updated_at` in milliseconds since 1970."""

    id: str
    title: str
    messages: int
    updated_at: int


class ListThreadsOutput(msgspec.Struct, frozen=True, kw_only=True):
    """A page of threads; `next` asks for the one behind it."""

    threads: tuple[ThreadSummary, ...]
    next: str | None


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One message; `calls` are the names of the tools that it asks for."""

    id: str
    role: str
    text: str
    calls: tuple[str, ...]


class ReadThreadOutput(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a thread's messages; `next` asks for the one behind it."""

    id: str
    title: str
    messages: tuple[Said, ...]
    next: str | None


class ToolInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of one tool."""

    name: ClassVar[str]
    title: ClassVar[str]
    hints: ClassVar[Hints] = READS
    output_type: ClassVar[type[Any]]


class AskAssistantInput(ToolInput, frozen=True, kw_only=True):
    """Put a text to this assistant, and get its answer.

    It knows nothing of your conversation but what the text says. The answer may take minutes. To
    go on with a conversation give its thread_id.
    """

    name = "ask"
    title = "Ask this assistant"
    hints = SPEAKS
    output_type = AskOutput

    text: Annotated[Text, Meta(description="What to say to the assistant.")]
    thread_id: Annotated[
        Id | None, Meta(description="The conversation to continue; by default a new one.")
    ] = None


class AskInput(AskAssistantInput, frozen=True, kw_only=True):
    """Put a text to a model or an assistant of Antiphon, and get its answer.

    It knows nothing of your conversation but what the text says. The answer may take minutes. To
    go on with a conversation give its thread_id.
    """

    title = "Ask an assistant"

    assistant_id: Annotated[
        Id | None,
        Meta(description="The id of the assistant that answers, as list_assistants returns it."),
    ] = None
    model: Annotated[
        Annotated[str, Meta(max_length=256)] | None,
        Meta(description="Another model than the usual one, as provider:name."),
    ] = None


class ListAssistantsInput(ToolInput, frozen=True, kw_only=True):
    """List the assistants that can be asked, newest first."""

    name = "list_assistants"
    title = "List assistants"
    output_type = ListAssistantsOutput

    limit: Annotated[Count, Meta(description="How many at most.")] = 20
    after: Annotated[Id | None, Meta(description="The `next` of the page before.")] = None


class ListThreadsInput(ToolInput, frozen=True, kw_only=True):
    """List conversations, the last changed first, or those that hold some words."""

    name = "list_threads"
    title = "List conversations"
    output_type = ListThreadsOutput

    query: Annotated[
        Annotated[str, Meta(max_length=256)] | None,
        Meta(description='Words that the title or a message holds; "a phrase" as it stands.'),
    ] = None
    limit: Annotated[Count, Meta(description="How many at most.")] = 20
    after: Annotated[
        Annotated[str, Meta(min_length=1, max_length=160)] | None,
        Meta(description="The `next` of the page before."),
    ] = None


class ReadThreadInput(ToolInput, frozen=True, kw_only=True):
    """Read the messages of a conversation, oldest first."""

    name = "read_thread"
    title = "Read a conversation"
    output_type = ReadThreadOutput

    thread_id: Annotated[Id, Meta(description="As list_threads has it.")]
    limit: Annotated[Count, Meta(description="How many messages at most.")] = 50
    after: Annotated[Id | None, Meta(description="The `next` of the page before.")] = None


TOOLS: dict[str, type[ToolInput]] = {
    kind.name: kind for kind in (AskInput, ListAssistantsInput, ListThreadsInput, ReadThreadInput)
}
"""Every tool by name; an assistant that is a tool of its own takes an `AskAssistantInput`."""


def json_schema(kind: type[Any]) -> dict[str, Any]:
    """Return the JSON Schema, of type object, of these values."""
    (root,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    own: dict[str, Any] = parts.pop(root["$ref"].removeprefix("#/$defs/"))
    for shown in ("title", "description"):
        own.pop(shown, None)
    own.setdefault("required", [])
    return {**own, **({"$defs": parts} if parts else {})}


def parse_arguments(kind: type[ToolInput], arguments: dict[str, Any]) -> ToolInput:
    """Parse a tool's arguments. Raises `InvalidRequest`, whose message a model can act on."""
    try:
        return msgspec.convert(arguments, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            f"The arguments do not fit: {error}.",
            expected=", ".join(kind.__struct_fields__),
            received=", ".join(arguments),
        ) from error
