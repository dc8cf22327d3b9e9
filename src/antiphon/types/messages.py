"""Messages of a thread, their parts, and their tool calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from antiphon.types.documents import Document

Role = Literal["system", "user", "assistant", "tool"]

UPLOAD_PREFIX = "antiphon:"
"""Prefix of an upload's id in the stored form of a message."""

REASONING = "antiphon:reasoning"
"""Key of the reasoning in the stored form of an assistant message; not every server accepts it."""

REFUSAL = "antiphon:refusal"
"""Key of the refusal in the stored form of an assistant message; `content` is then a string."""

DETAILS = "antiphon:details"
"""Key of the opaque details of its reasoning: the JSON of `ReasoningDetails`, as a string."""

EXTRA = "antiphon:extra"
"""Key of the opaque extra in the stored form of a tool call: its JSON, as a string."""

CONTINUES = "antiphon:continues"
"""Key of a reply that is the rest of the reply before it; models get them joined."""

COMPACTS = "antiphon:compacts"
"""Key, in the stored form of a summary, of the number of the last message that it replaces."""


class Text(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Plain text; Markdown if a model wrote it."""

    text: str


class Image(msgspec.Struct, frozen=True, tag_field="type", tag="image", omit_defaults=True):
    """A picture: exactly one of `url` (https or data) and `file_id`."""

    url: str | None = None
    file_id: str | None = None


class File(msgspec.Struct, frozen=True, tag_field="type", tag="file"):
    """An attachment that was uploaded before."""

    file_id: str


class Refusal(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    """The model's own text of a refusal. Only replies have it."""

    refusal: str


Part = Text | Image | File
"""A part of the content that a caller may send."""

MessagePart = Part | Refusal
"""A part of the content of a stored message."""


class Upload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file that was uploaded; `size` in bytes, times in milliseconds since 1970.

    `purpose` is a word of the program that uploaded it. The file is deleted within an hour after
    `expires_at`. `document` is the state of the reading of its text.
    """

    id: str
    name: str
    media_type: str
    size: int
    created_at: int
    purpose: str | None = None
    expires_at: int | None = None
    document: Document | None = None

    @property
    def unread_document(self) -> Document | None:
        """State of the reading while there is no text; None for pictures, which models see."""
        if self.document is None or self.document.status == "ready":
            return None
        return None if self.media_type.startswith("image/") else self.document


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool as offered to a model. `parameters` is a JSON Schema of type object."""

    name: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[A-Za-z0-9_.-]{1,128}$(?!\n)",
            title="a name of 1 to 128 letters, digits, dots, hyphens and underscores",
        ),
    ]
    description: str = ""
    parameters: dict[str, Any] = msgspec.field(
        default_factory=lambda: {"type": "object", "properties": {}}
    )


class Hints(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Annotations of a tool by its MCP server; None if the server says nothing.

    They count only if the server is trusted.
    """

    title: str | None = None
    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None


class ListedTool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool as its MCP server describes it, under the server's own name."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    hints: Hints = Hints()


class ToolListing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tools of an MCP server that a model was offered; `error` if there were none."""

    server: str
    tools: tuple[ListedTool, ...] = ()
    error: str | None = None


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that can be called, with its origin.

    `spec.name` is the name for the model. `server` is the name of the MCP server in the settings,
    None for a function of the program itself; `own_name` is the server's name of the tool.
    `origin` identifies the server's program or address. Hints of a `trusted` server count. With
    `replaces_own`, a project or an editor put the server in the place of one of the user's own.
    `timeout` is in seconds, None for that of the program that runs the tools. A call of a function
    that `asks` needs a person's consent, as one of a server's tool does; if it `asks_each_time`, no
    answer lasts, and if it `asks_always`, no rule allows it either. `command` returns the command
    line that a call with these arguments starts, for the person who is asked. `check` returns why
    a call is refused before a person is asked, "" if it is not.
    """

    spec: ToolSpec
    server: str | None = None
    own_name: str = ""
    origin: str = ""
    hints: Hints = Hints()
    trusted: bool = False
    replaces_own: bool = False
    timeout: float | None = None
    asks: bool = False
    asks_each_time: bool = False
    asks_always: bool = False
    command: Callable[[str], str] | None = None
    check: Callable[[ToolCall], str] | None = None


class ToolCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool call of the model. `arguments` is one JSON object as text, byte for byte as it came.

    `provider_id` is the provider's id if ours had to differ (missing or repeated ids). `extra`
    holds opaque fields that must be returned to the provider with the call, such as Gemini's
    `extra_content` (open-webui/computer#224).
    """

    id: str
    name: str
    arguments: str
    provider_id: str | None = None
    extra: dict[str, Any] | None = None
    repaired: bool = False


class ReasoningDetails(msgspec.Struct, frozen=True):
    """Opaque details to return to the provider with its reply, such as `reasoning_details`.

    They are kept in order and sent only to the provider that they came from. `origin` identifies
    that provider without naming its address.
    """

    origin: str
    details: tuple[dict[str, Any], ...]


class Citation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A web page that the provider names as a source of its reply.

    `url` is of http or https; `title` is foreign text on one line, "" if the provider named none.
    `start` and `end` bound the characters of the reply that rest on it, as the provider counts
    them; None if it says none.
    """

    url: str
    title: str = ""
    start: int | None = None
    end: int | None = None

    @property
    def is_web_page(self) -> bool:
        """True if the address may become a link: it is of http or https and ends no link early.

        False for an address with a user's name, which looks like that of another host.
        """
        url = self.url
        if not (len(url) <= MAX_URL and url.isprintable() and _ENDS_LINK.isdisjoint(url)):
            return False
        try:
            parts = urlsplit(url)
            host = parts.hostname
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and bool(host) and "@" not in parts.netloc


MAX_URL = 2_000
"""Maximum characters of the address of a citation."""
_ENDS_LINK = frozenset("<>\"'`\\^{}| ")

METADATA_VALUE = 512
"""Maximum characters of one value of a message's metadata."""
ARGUMENT_PIECES = 12
"""Maximum number of metadata values of a tool message that hold changed arguments."""


def read_changed_arguments(metadata: Mapping[str, str]) -> str | None:
    """Return a tool call's changed JSON arguments from its message's metadata, None if none."""
    pieces = (metadata.get(f"arguments.{place}", "") for place in range(ARGUMENT_PIECES))
    return "".join(pieces) or None


MAX_FILES = 10
"""Maximum files of one result: their ids must fit one metadata value of a message."""


def result_files(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ids of a tool result's files from its message's metadata."""
    return tuple(filter(None, metadata.get("files", "").split(",")[:MAX_FILES]))


ToolFault = Literal[
    "unknown_tool",
    "invalid_arguments",
    "refused",
    "timed_out",
    "cancelled",
    "unavailable",
    "failed",
]
"""Why a tool call has no result, in short for a person; the model gets the output."""


class Blob(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="blob"):
    """Binary result of a tool: a picture, a sound, a file. Base64 in JSON."""

    media_type: str
    data: bytes
    name: str = ""


class Link(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="link"):
    """Reference to a resource that the tool did not send."""

    uri: str
    name: str = ""
    media_type: str = ""
    description: str = ""


ResultPart = Text | Blob | Link


class ToolResult(msgspec.Struct, frozen=True):
    """Result of a tool call; failures, refusals and timeouts are results too.

    `output` is the text for the model. `content` is the tool's whole result for the user; empty if
    it is just the output. `structured` is the tool's own JSON value. `files` are the ids of uploads
    that hold parts too long for the output. `arguments` is the JSON with which the tool ran, if a
    person changed the model's.
    """

    output: str
    is_error: bool = False
    fault: ToolFault | None = None
    content: tuple[ResultPart, ...] = ()
    structured: Any = None
    files: tuple[str, ...] = ()
    arguments: str | None = None

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of its tool message, beside the output.

        Arguments of more than `ARGUMENT_PIECES` values are left out; the output names them.
        """
        fields = {"fault": self.fault or "", "files": ",".join(self.files[:MAX_FILES])}
        changed = self.arguments or ""
        if len(changed) <= ARGUMENT_PIECES * METADATA_VALUE:
            for place in range(ARGUMENT_PIECES):
                start = place * METADATA_VALUE
                fields[f"arguments.{place}"] = changed[start : start + METADATA_VALUE]
        return {name: text for name, text in fields.items() if text}


class Progress(msgspec.Struct, frozen=True):
    """Progress that a running tool reports: `done` of `total`, if the total is known."""

    done: float
    total: float | None = None
    message: str = ""


class TaskHandle(msgspec.Struct, frozen=True, kw_only=True):
    """Handle of a task at an MCP server that carries out a tool call; any client can poll by it.

    `task_id` is the server's own id, `origin` identifies the server without secrets, `tool` is the
    server's name of the tool. `created_at` is in milliseconds since 1970.
    """

    task_id: str
    origin: str
    tool: str
    created_at: int


Rating = Literal["up", "down"]
"""Thumbs up or down."""


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """A person's rating of a reply, with an optional comment.

    `created_at` is milliseconds since 1970.
    """

    rating: Rating
    comment: str = ""
    created_at: int


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a thread; `number` counts from 1 in its thread, without a gap.

    `status` is `incomplete` if a reply was cut off; `created_at` is milliseconds since 1970.
    `parent_id` is the message that this one was copied from when its thread was forked.

    A system message with `compacts` is a summary: a model gets it in place of the messages up to
    that number, 0 for none. The newest summary of a thread counts.

    `reasoning_seconds` is how long the model reasoned before the reply and between its parts, where
    that was a second or more.

    A reply with `continues` is the rest of the reply before it, which was cut: readers see both as
    one message, and so do models.

    Models never get `feedback` and `citations`. A reply has `citations` if its provider named
    sources, and `tool_listings` if the response of OpenAI's wire that begins with it lists the
    tools of its MCP servers.
    """

    id: str
    thread_id: str
    number: int
    role: Role
    content: tuple[MessagePart, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    is_error: bool = False
    reasoning: str | None = None
    reasoning_seconds: int | msgspec.UnsetType = msgspec.UNSET
    reasoning_details: ReasoningDetails | None = None
    status: Literal["completed", "incomplete"] = "completed"
    continues: bool | msgspec.UnsetType = msgspec.UNSET
    run_id: str | None = None
    parent_id: str | None = None
    compacts: int | None = None
    feedback: Feedback | None = None
    tool_listings: tuple[ToolListing, ...] | msgspec.UnsetType = msgspec.UNSET
    citations: tuple[Citation, ...] | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, str] = {}
    created_at: int

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.content if isinstance(part, Text))

    @property
    def refusal(self) -> str:
        """The text of the model's refusal; empty if it answered."""
        return "".join(part.refusal for part in self.content if isinstance(part, Refusal))

    @property
    def full_text(self) -> str:
        """The text and the refusal, as a reader sees them."""
        return "\n\n".join(filter(None, (self.text, self.refusal)))

    @property
    def file_ids(self) -> tuple[str, ...]:
        """Ids of files that hold parts of a tool's result that are too long for its output."""
        return result_files(self.metadata) if self.role == "tool" else ()


def list_pages(citations: Sequence[Citation] | msgspec.UnsetType) -> tuple[Citation, ...]:
    """Return one citation for each address, without bounds, in order: the numbered sources.

    A citation that is no web page is left out, so that a reader may link to each.
    """
    pages: dict[str, str] = {}
    for citation in citations or ():
        if citation.is_web_page:
            pages[citation.url] = pages.get(citation.url) or citation.title
    return tuple(Citation(url=url, title=title) for url, title in pages.items())


class IndexProgress(msgspec.Struct, frozen=True):
    """Messages that a search can find, of all that there are; the newest are indexed first."""

    done: int
    total: int


def parts(content: str | Sequence[Part]) -> tuple[Part, ...]:
    """Return content as parts."""
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(content)


def join_text(content: str | Sequence[MessagePart]) -> str:
    """Return the text of content, without its other parts."""
    if isinstance(content, str):
        return content
    return "".join(part.text for part in content if isinstance(part, Text))


def to_chat_completions(message: Message) -> bytes:
    """Encode a message in the form of chat completions, the basis of every provider's request.

    The result is stored beside the message, so that the messages of a long thread are only joined.
    An upload is `UPLOAD_PREFIX` and its id; its bytes are inserted for the request. Fields that
    only some servers accept have keys of our own, which `providers/history` renames or removes.
    """
    if message.role == "tool":
        text = _blank_to_empty(message.text)
        return _encode(_ChatTool(tool_call_id=message.tool_call_id or "", content=text))
    if message.compacts is not None:
        return _encode(_ChatSummary(compacts=message.compacts, content=message.text))
    if message.role == "assistant":
        return _encode(_chat_reply(message))
    return _encode(_ChatMessage(role=message.role, content=_chat_content(message.content)))


def _chat_reply(message: Message) -> _ChatAssistant:
    content = _chat_content(message.content)
    calls = tuple(_chat_call(call) for call in message.tool_calls)
    refusal = _blank_to_empty(message.refusal) if isinstance(content, str) else ""
    if not (content or calls or refusal):
        # A message with reasoning only is stored as an empty string.
        return _ChatAssistant(content="")
    details = message.reasoning_details
    return _ChatAssistant(
        reasoning=message.reasoning or msgspec.UNSET,
        details=_encode(details).decode() if details else msgspec.UNSET,
        content="" if refusal and not content else content or msgspec.UNSET,
        refusal=refusal or msgspec.UNSET,
        tool_calls=calls or msgspec.UNSET,
        continues=message.continues,
    )


_encode = msgspec.json.Encoder().encode


class _ChatFunction(msgspec.Struct, frozen=True):
    name: str
    arguments: str


class _ChatCall(msgspec.Struct, frozen=True):
    id: str
    function: _ChatFunction
    type: str = "function"
    extra: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name=EXTRA)


class _ChatMessage(msgspec.Struct, frozen=True):
    role: str
    content: str | list[dict[str, Any]]


class _ChatSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Has the user's role, because text of users must not get the weight of a system message."""

    role: str = "user"
    compacts: int = msgspec.field(name=COMPACTS)
    content: str


class _ChatAssistant(msgspec.Struct, frozen=True, kw_only=True):
    role: str = "assistant"
    reasoning: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name=REASONING)
    details: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name=DETAILS)
    content: str | list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    refusal: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name=REFUSAL)
    tool_calls: tuple[_ChatCall, ...] | msgspec.UnsetType = msgspec.UNSET
    continues: bool | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name=CONTINUES)


class _ChatTool(msgspec.Struct, frozen=True, kw_only=True):
    role: str = "tool"
    tool_call_id: str
    content: str


def _chat_call(call: ToolCall) -> _ChatCall:
    function = _ChatFunction(call.name, call.arguments)
    if call.extra and "extra_content" in call.extra:
        return _ChatCall(call.id, function, extra=_encode(call.extra["extra_content"]).decode())
    return _ChatCall(call.id, function)


def _chat_content(content: Sequence[MessagePart]) -> str | list[dict[str, Any]]:
    texts = [part.text for part in content if isinstance(part, Text)]
    if all(isinstance(part, Text | Refusal) for part in content):
        return _blank_to_empty("".join(texts))
    return [
        _chat_part(part)
        for part in content
        if not isinstance(part, Text) or _blank_to_empty(part.text)
    ]


def _blank_to_empty(text: str) -> str:
    """Return the text; empty for blanks only, which some servers refuse."""
    return "" if text.isspace() else text


def _chat_part(part: MessagePart) -> dict[str, Any]:
    match part:
        case Text(text) | Refusal(text):
            return {"type": "text", "text": text}
        case Image(url=str(url)):
            return {"type": "image_url", "image_url": {"url": url}}
        case Image(file_id=file_id):
            return {"type": "image_url", "image_url": {"url": f"{UPLOAD_PREFIX}{file_id}"}}
        case File(file_id):
            return {"type": "file", "file": {"file_id": f"{UPLOAD_PREFIX}{file_id}"}}
