"""Cuts a long thread to what the model reads, and selects the tools that it is offered.

A compacted thread is read from its newest summary on. What is still longer than the model's window
is cut before a user message, so that a tool call keeps its outputs. The cut moves rarely and far:
between two moves the requests of a growing thread share their first bytes, as a provider's cache
requires.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.types.messages import (
    COMPACTS,
    CONTINUES,
    ListedTool,
    Message,
    Tool,
    ToolListing,
    ToolSpec,
    to_chat_completions,
)
from antiphon.types.runs import Action, HostedTool, Run, Sampling

SUMMARY = "summary"
"""Role of a summary among the landmarks, apart from user and system messages."""

SUMMARY_PREFACE = (
    "This is a summary of our conversation so far; the messages that it stands for are left out."
)
"""Text before a summary when a model reads it."""


class Landmark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A user or system message of a `Context`: where it begins, in bytes and in tokens."""

    number: int
    role: str
    offset: int
    length: int
    tokens_before: int


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """A whole thread in the form of providers: chat-completions JSON objects joined by commas.

    `tokens` is an estimate. `marks` is the JSON of the landmarks, joined by commas: it is decoded
    where a thread is cut, which most turns do not need. `compacted` is true if summaries are among
    them; they stand in `chat` where they were written.
    """

    version: int
    messages: int
    tokens: int
    chat: bytes
    marks: bytes
    compacted: bool = False

    @property
    def landmarks(self) -> tuple[Landmark, ...]:
        """The user and system messages, in order, decoded at each access."""
        return _LANDMARKS.decode(b"[" + self.marks + b"]")


def encode_landmarks(landmarks: Sequence[Landmark]) -> bytes:
    """Return landmarks as the `marks` of a context."""
    return msgspec.json.encode(landmarks)[1:-1]


_LANDMARKS = msgspec.json.Decoder(tuple[Landmark, ...])

EMPTY = Context(version=0, messages=0, tokens=0, chat=b"", marks=b"")
"""The context of a new thread."""

LANDMARKS = ("user", "system", SUMMARY)
"""The roles that a `Context` has landmarks of."""


def landmark_role(message: Message) -> str:
    """Return the message's role, or `SUMMARY`, so that summaries are found among landmarks."""
    return message.role if message.compacts is None else SUMMARY


def append_messages(context: Context, added: Sequence[Message], version: int) -> Context:
    """Return the context of the thread after messages were added at its end."""
    pieces = [context.chat] if context.messages else []
    landmarks: list[Landmark] = []
    offset = len(context.chat) + len(b",") if context.messages else 0
    counted = context.tokens
    for message in added:
        piece = to_chat_completions(message)
        if (role := landmark_role(message)) in LANDMARKS:
            landmarks.append(Landmark(message.number, role, offset, len(piece), counted))
        pieces.append(piece)
        offset += len(piece) + len(b",")
        counted += tokens(len(piece))
    return Context(
        version=version,
        messages=context.messages + len(added),
        tokens=counted,
        chat=b",".join(pieces),
        marks=b",".join(filter(None, (context.marks, encode_landmarks(landmarks)))),
        compacted=context.compacted or any(each.compacts is not None for each in added),
    )


def tokens(length: int) -> int:
    """Estimate the tokens of a message of `length` bytes: one per four bytes, plus one.

    The rule needs no vocabulary. It overestimates text in other scripts than Latin, and counts
    reasoning that most servers do not get back: the safe side.
    """
    return length // 4 + 1


def cut_to_window(context: Context, budget: int | None) -> bytes:
    """Return the conversation for the model: what fits the budget, and every system message.

    The last user message and everything after it are kept even if they do not fit. Without a budget
    only what a summary replaces is left out.
    """
    context = apply_summary(context)
    if budget is None or context.tokens <= budget:
        return context.chat
    landmarks = context.landmarks
    cut = _choose_cut(_possible_cuts(landmarks), context.tokens - budget, budget)
    if cut is None:
        return context.chat
    system = [
        _message_bytes(context, mark)
        for mark in landmarks
        if mark.role == "system" and mark.offset < cut.offset
    ]
    return b",".join([*system, context.chat[cut.offset :]])


def join_continued(chat: bytes) -> bytes:
    """Return the conversation with each rest of a cut reply joined to the reply before it."""
    if _CONTINUES not in chat:
        return chat
    joined: list[dict[str, Any]] = []
    for message in msgspec.json.decode(b"[" + chat + b"]", type=list[dict[str, Any]]):
        before = joined[-1] if joined else {}
        is_rest = message.pop(CONTINUES, False)
        if is_rest and before.get("role") == "assistant" and "tool_calls" not in before:
            text = f"{before.get('content', '')}{message.get('content', '')}"
            joined[-1] = {**message, "content": text}
        else:
            joined.append(message)
    return msgspec.json.encode(joined)[1:-1]


_CONTINUES = f'"{CONTINUES}":'.encode()
"""As `to_chat_completions` writes it; it does not occur inside a string."""


def apply_summary(context: Context) -> Context:
    """Return the thread from its newest summary on, after the earlier system messages.

    Older summaries are left out. The text after the summary begins at a user or system message,
    wherever the summary ends, so that a call keeps its outputs.
    """
    if not context.compacted:
        return context
    landmarks = context.landmarks
    newest = [mark for mark in landmarks if mark.role == SUMMARY][-1]
    summary = msgspec.json.decode(_message_bytes(context, newest), type=_Summary)
    last = min(summary.compacts, newest.number - 1)  # a rollback may have removed messages
    left_out = [mark for mark in landmarks if mark.number <= last]
    kept = landmarks[len(left_out) :]
    builder = _ContextBuilder(context)
    begin = _WindowPosition(0, 0)
    if summary.compacts:
        for mark in left_out:
            if mark.role == "system":
                builder.add_message(mark.number, "system", _message_bytes(context, mark))
        builder.add_message(newest.number, "system", summary.to_message())
        begin = _position_before(kept[0])
    context_end = _WindowPosition(len(context.chat) + 1, context.tokens)
    for stretch, older in _split_at_summaries(kept):
        builder.add_stretch(begin, _position_before(older) if older else context_end, stretch)
        if older:
            begin = _WindowPosition(
                older.offset + older.length + 1, older.tokens_before + tokens(older.length)
            )
    return builder.build()


def _split_at_summaries(
    landmarks: Sequence[Landmark],
) -> Iterator[tuple[Sequence[Landmark], Landmark | None]]:
    """Yield the landmarks before each summary with that summary, then those after the last one."""
    begun = 0
    for at, mark in enumerate(landmarks):
        if mark.role == SUMMARY:
            yield landmarks[begun:at], mark
            begun = at + 1
    yield landmarks[begun:], None


class _WindowPosition(msgspec.Struct, frozen=True):
    """The position in a context where a message begins, in bytes and in tokens."""

    offset: int
    tokens: int


def _position_before(mark: Landmark) -> _WindowPosition:
    return _WindowPosition(mark.offset, mark.tokens_before)


class _Summary(msgspec.Struct, frozen=True):
    """A summary in its stored form."""

    content: str
    compacts: int = msgspec.field(name=COMPACTS)

    def to_message(self) -> bytes:
        """Return the summary as a user message: text of users must not speak as the system."""
        return msgspec.json.encode(
            {"role": "user", "content": f"{SUMMARY_PREFACE}\n\n{self.content}"}
        )


class _ContextBuilder:
    """Builds a context from messages and stretches of another one."""

    def __init__(self, whole: Context) -> None:
        self._whole = whole
        self._pieces: list[bytes] = []
        self._landmarks: list[Landmark] = []
        self._offset = 0
        self._tokens = 0

    def add_message(self, number: int, role: str, message: bytes) -> None:
        """Append one message and its landmark."""
        self._landmarks.append(Landmark(number, role, self._offset, len(message), self._tokens))
        self._add(message, tokens(len(message)))

    def add_stretch(
        self, begins: _WindowPosition, ends: _WindowPosition, landmarks: Sequence[Landmark]
    ) -> None:
        """Append the text between two places, with its landmarks."""
        moved = self._offset - begins.offset
        added = self._tokens - begins.tokens
        if moved or added:
            landmarks = [
                replace(each, offset=each.offset + moved, tokens_before=each.tokens_before + added)
                for each in landmarks
            ]
        self._landmarks += landmarks
        last = max(begins.offset, ends.offset - 1)
        self._add(self._whole.chat[begins.offset : last], ends.tokens - begins.tokens)

    def build(self) -> Context:
        """Return the built context."""
        return replace(
            self._whole,
            tokens=self._tokens,
            chat=b",".join(self._pieces),
            marks=encode_landmarks(self._landmarks),
            compacted=False,
        )

    def _add(self, piece: bytes, tokens: int) -> None:
        if piece:
            self._pieces.append(piece)
            self._offset += len(piece) + len(b",")
            self._tokens += tokens


def _message_bytes(context: Context, mark: Landmark) -> bytes:
    return context.chat[mark.offset : mark.offset + mark.length]


class _Cut(msgspec.Struct, frozen=True):
    """An offset at which the thread may be cut, and the tokens that the cut saves."""

    offset: int
    saves: int


def _possible_cuts(landmarks: Sequence[Landmark]) -> list[_Cut]:
    cuts: list[_Cut] = []
    system = 0
    for mark in landmarks:
        if mark.role == "user":
            cuts.append(_Cut(mark.offset, mark.tokens_before - system))
        else:
            system += tokens(mark.length)
    return cuts


def _choose_cut(cuts: Sequence[_Cut], excess: int, budget: int) -> _Cut | None:
    """Return the first cut that saves the excess, rounded up to quarters of the budget.

    It depends on the thread alone, so every worker finds the same one, and it never moves back. The
    cut before it is taken if that saves enough and the first would waste half the budget.
    """
    step = budget // 4 or 1
    goal = -(-excess // step) * step
    before: _Cut | None = None
    for cut in cuts:
        if cut.saves >= goal:
            wasteful = cut.saves - excess > budget // 2
            return before if before and before.saves >= excess and wasteful else cut
        before = cut
    return before


class ToolSelection(msgspec.Struct, frozen=True):
    """Tools of one request, the sampling for them, and the worker's tools by name."""

    tools: tuple[ToolSpec, ...]
    sampling: Sampling
    hosted: Mapping[str, HostedTool]


def select_tools(run: Run, there: Sequence[Tool]) -> ToolSelection:
    """Return the run's own tools and those of its servers; on equal names the run's own win.

    Those that the run does not allow are left out.

    Servers come and go: if a chosen tool is missing, the choice is left to the model, as it is
    after the first turn, which has called a tool.
    """
    servers = {server.name: server for server in run.mcp_servers}
    allowed = tuple(tool for tool in run.tools if run.allows(tool.name))
    own = {tool.name for tool in run.tools}
    hosted: dict[str, HostedTool] = {}
    specs: list[ToolSpec] = []
    for tool in there:
        server = servers.get(tool.server or "")
        name = tool.spec.name
        if server is None or name in own or name in hosted or not server.offers(tool.own_name):
            continue
        if not run.allows(name):
            continue
        specs.append(tool.spec)
        hosted[name] = HostedTool(server.name, server.asks(tool.own_name), _digest(tool))
    sampling, names = run.sampling, {tool.name for tool in allowed} | hosted.keys()
    chosen = sampling.chosen_tool
    is_lost = chosen not in names if chosen is not None else not names
    if sampling.forces_call and (is_lost or run.turn > 1):
        sampling = replace(sampling, tool_choice=None)
    return ToolSelection((*allowed, *specs), sampling, hosted)


def list_tools(run: Run, there: Sequence[Tool]) -> tuple[ToolListing, ...]:
    """Return the listings that the run asks for: those tools of its servers that it allows."""
    servers = {server.name: server for server in run.mcp_servers}
    listings: list[ToolListing] = []
    for name in run.servers_to_list:
        server = servers.get(name)
        tools = tuple(
            ListedTool(
                name=tool.own_name,
                description=tool.spec.description,
                parameters=tool.spec.parameters,
                hints=tool.hints,
            )
            for tool in there
            if tool.server == name
            and server is not None
            and server.offers(tool.own_name)
            and run.allows(tool.spec.name)
        )
        error = None if tools else "The server has no tools for this request, or is not available."
        listings.append(ToolListing(server=name, tools=tools, error=error))
    return tuple(listings)


def has_changed(action: Action, there: Sequence[Tool]) -> bool:
    """Return whether the tool differs from the one whose call was approved."""
    return action.approval is not None and any(
        tool.spec.name == action.name and _digest(tool) != action.tool_digest for tool in there
    )


def _digest(tool: Tool) -> str:
    facts = (tool.origin, tool.own_name, tool.spec, tool.hints)
    return sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()
