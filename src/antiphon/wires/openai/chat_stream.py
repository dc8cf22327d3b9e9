"""Encodes a run as Chat Completions, in chunks or as a whole.

    chunks = ChatChunks(reply, client_tools=frozenset(tools))
    for event in events:
        body += chunks.encode(event)
    body += chunks.close()

One answer is everything from the request to the next hand-off: turns whose tools the server runs
itself are parts of it, without a word about those tools, because models imitate what they read in
earlier answers (NousResearch/hermes-agent#7203). No event has a name (hermes-agent#6988).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from antiphon.types.events import (
    ActionRequired,
    Event,
    MessageCompleted,
    ReasoningDelta,
    RefusalDelta,
    RunStatus,
    TextDelta,
    ToolCallDelta,
    ToolCallReady,
    ToolCallStarted,
    ToolOutputAdded,
    TurnRestarted,
    UsageAdded,
)
from antiphon.types.messages import Citation
from antiphon.types.run_ends import find_run_end
from antiphon.types.runs import Reason, Status, Usage
from antiphon.wires.framing import json_line
from antiphon.wires.openai.errors import Body, Envelope, encode_event, fault_envelope
from antiphon.wires.openai.hosted_tools import (
    NO_HOSTED_RUN,
    WEB_SEARCH,
    HostedCalls,
    citations,
    find_links,
)

DONE = b"data: [DONE]\n\n"

BETWEEN_TURNS = "\n\n"
"""Stands between the texts of two turns of one answer."""

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]

_FINISH: dict[Reason | None, FinishReason] = {
    "length": "length",
    "content_filter": "content_filter",
}


def find_finish_reason(reason: Reason | None) -> FinishReason | None:
    """Return the finish reason of an incomplete run; None where an error is sent instead."""
    if find_run_end(Status.INCOMPLETE, reason).limit_reached:
        return "length"
    return _FINISH.get(reason)


class Reply(msgspec.Struct, frozen=True):
    """Fields of all chunks of an answer; `created` is in seconds since 1970."""

    id: str
    created: int
    model: str


class PromptDetails(msgspec.Struct, frozen=True):
    """Parts of the prompt's tokens."""

    cached_tokens: int = 0


class CompletionDetails(msgspec.Struct, frozen=True):
    """Parts of the answer's tokens."""

    reasoning_tokens: int = 0


class ChatUsage(msgspec.Struct, frozen=True):
    """Tokens of the whole answer, over all of its turns."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class CalledFunction(msgspec.Struct, frozen=True, omit_defaults=True):
    """Name of a called function, or the next part of its arguments."""

    name: str | None = None
    arguments: str | msgspec.UnsetType = msgspec.UNSET


class CallDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool call, or its next part; `index` is its place among the calls of the answer."""

    index: int
    id: str | None = None
    type: str | None = None
    function: CalledFunction | None = None


class UrlCitation(msgspec.Struct, frozen=True):
    """A page that the text cites; indices count code points."""

    start_index: int
    end_index: int
    url: str
    title: str


class Annotation(msgspec.Struct, frozen=True):
    """A citation in the text of the answer."""

    url_citation: UrlCitation
    type: str = "url_citation"


class Delta(msgspec.Struct, frozen=True, omit_defaults=True):
    """The next part of the answer; `annotations` are those of the whole text."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: tuple[CallDelta, ...] = ()
    annotations: tuple[Annotation, ...] = ()


class ChunkChoice(msgspec.Struct, frozen=True):
    """The one choice of a chunk."""

    delta: Delta
    finish_reason: FinishReason | None = None
    index: int = 0
    logprobs: None = None


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the stream. `usage` is null in all but the last one, if it was asked for."""

    id: str
    object: str = "chat.completion.chunk"
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    usage: ChatUsage | msgspec.UnsetType | None = msgspec.UNSET


class ToolCallItem(msgspec.Struct, frozen=True):
    """A whole tool call."""

    id: str
    function: CalledFunction
    type: str = "function"


class AnswerMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The message of a whole answer."""

    role: str = "assistant"
    content: str | None
    refusal: str | None = None
    annotations: tuple[Annotation, ...] = ()
    reasoning_content: str | msgspec.UnsetType = msgspec.UNSET
    tool_calls: tuple[ToolCallItem, ...] | msgspec.UnsetType = msgspec.UNSET


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The one choice of an answer."""

    index: int = 0
    message: AnswerMessage
    finish_reason: FinishReason
    logprobs: None = None


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer."""

    id: str
    object: str = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: ChatUsage


class ChatAnswer:
    """Folds the events of a run into one answer, up to the next hand-off.

    `client_tools` are the names of the tools that the client runs, `hosted` those of hosted tools,
    whose searches the text may cite. `ended` is true once the answer
    is over; `failure` is then the status and body of its error, if it has one.

    A turn that begins again fails an answer whose parts are sent as they come. With `whole`,
    nothing is sent before the end, so the answer loses the void turn and goes on.
    """

    def __init__(
        self,
        reply: Reply,
        client_tools: frozenset[str],
        *,
        hosted: HostedCalls = NO_HOSTED_RUN.calls,
        whole: bool = False,
    ) -> None:
        self.ended = False
        self.failure: tuple[int, Envelope] | None = None
        self.finish_reason: FinishReason = "stop"
        self.usage = Usage()
        self._reply = reply
        self._client_tools = client_tools
        self._whole = whole
        self._hosted = hosted
        self._searches: set[str] = set()
        self._titles: dict[str, str] = {}  # of links that searches have found, by URL
        self._cited: list[Citation] = []  # by the provider, in the text of all turns
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[str, _SentCall] = {}
        self._between = False
        self._hands_off = False
        self._turn_start = _Lengths(0, 0, 0, 0)

    def feed(self, event: Event) -> Delta | None:
        """Return what the event adds to the answer, if anything."""
        delta = None
        match event:
            case _ if self.ended:
                pass
            case TextDelta(text=text):
                delta = self._add_text(text)
            case ReasoningDelta(text=text) if text:
                self._reasoning.append(text)
                delta = Delta(reasoning_content=text)
            case RefusalDelta(text=text):
                self._refusal.append(text)
                delta = Delta(refusal=text)
            case ToolCallStarted(tool_call_id=call_id, name=name):
                delta = self._start_call(call_id, name)
            case ToolCallDelta(tool_call_id=call_id, arguments=arguments):
                delta = self._continue_call(call_id, arguments)
            case ToolCallReady(tool_call_id=call_id, arguments=arguments):
                delta = self._complete_call(call_id, arguments)
            case _:
                self._note(event)
        return delta

    def _note(self, event: Event) -> None:
        """Note an event that no client sees."""
        match event:
            case MessageCompleted(message=message):
                calls = message.tool_calls
                self._searches |= {
                    call.id for call in calls if self._hosted.find(call.name) == WEB_SEARCH
                }
                before = "".join(self._text[: self._turn_start.text])
                offset = len(before) + len(BETWEEN_TURNS) * bool(before)
                self._cited += [_move(each, offset) for each in message.citations or ()]
                self._between = bool(self._text)
                self._turn_start = _Lengths(
                    len(self._text), len(self._reasoning), len(self._refusal), len(self._calls)
                )
            case ToolOutputAdded(tool_call_id=call_id, output=output, is_error=False):
                self._titles |= find_links(output) if call_id in self._searches else {}
            case UsageAdded(usage=usage):
                self.usage += usage
            case TurnRestarted():
                self._restart()
            case ActionRequired(actions=actions):
                self._hands_off = any(action.kind == "tool" for action in actions)
            case RunStatus(status=Status.ACTION_REQUIRED) if self._hands_off:
                self.finish_reason = "tool_calls"
                self.ended = True
            case RunStatus(status=status) if status.ended:
                self._end(event)
            case _:
                pass

    @property
    def has_begun(self) -> bool:
        """True once a client has something of the answer that it cannot lose again."""
        return bool(self._text or self._refusal or self._calls)

    @property
    def cut(self) -> tuple[int, Envelope]:
        """Status and body where the events end before the answer does."""
        message = "The connection ends before the answer does."
        return 503, Envelope(Body(message, "server_error", code="cut"))

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """Citations by the provider, and of links that searches have found."""
        found = citations("".join(self._text), self._titles, self._cited)
        fields = UrlCitation.__struct_fields__
        return tuple(Annotation(UrlCitation(*(each[name] for name in fields))) for each in found)

    def completion(self) -> ChatCompletion:
        """Return the whole answer."""
        reply = self._reply
        calls = tuple(
            ToolCallItem(call_id, CalledFunction(call.name, call.arguments))
            for call_id, call in self._calls.items()
        )
        message = AnswerMessage(
            content="".join(self._text) or (None if calls or self._refusal else ""),
            refusal="".join(self._refusal) or None,
            annotations=self.annotations,
            reasoning_content="".join(self._reasoning) or msgspec.UNSET,
            tool_calls=calls or msgspec.UNSET,
        )
        return ChatCompletion(
            id=reply.id,
            created=reply.created,
            model=reply.model,
            choices=(Choice(message=message, finish_reason=self.finish_reason),),
            usage=to_chat_usage(self.usage),
        )

    def _add_text(self, text: str) -> Delta | None:
        if self._between and text:
            self._between = False
            text = BETWEEN_TURNS + text
        self._text.append(text)
        return Delta(content=text)

    def _start_call(self, call_id: str, name: str) -> Delta | None:
        if name not in self._client_tools:
            return None
        call = self._calls[call_id] = _SentCall(len(self._calls), name)
        opened = CallDelta(call.index, call_id, "function", CalledFunction(name, ""))
        return Delta(tool_calls=(opened,))

    def _continue_call(self, call_id: str, arguments: str) -> Delta | None:
        call = self._calls.get(call_id)
        if call is None or not arguments:
            return None
        call.arguments += arguments
        return Delta(
            tool_calls=(CallDelta(call.index, function=CalledFunction(arguments=arguments)),)
        )

    def _complete_call(self, call_id: str, arguments: str) -> Delta | None:
        """Return the rest of the arguments: brackets that the model forgot, or all of them."""
        call = self._calls.get(call_id)
        if call is None or not arguments.startswith(call.arguments):
            return None
        return self._continue_call(call_id, arguments.removeprefix(call.arguments))

    def _remove_turn(self) -> None:
        """Remove what came since the turn began."""
        start = self._turn_start
        del self._text[start.text :]
        del self._reasoning[start.reasoning :]
        del self._refusal[start.refusal :]
        for call_id in list(self._calls)[start.calls :]:
            del self._calls[call_id]
        self._between = bool(self._text)

    def _restart(self) -> None:
        if self._whole:
            self._remove_turn()
            return
        self._reasoning.clear()
        if self.has_begun:
            self._fail(
                502,
                "The model's reply was cut and begins again, and this wire cannot take back what"
                " was sent of it. Ask again.",
                "turn_restarted",
            )

    def _end(self, event: RunStatus) -> None:
        match event.status:
            case Status.COMPLETED:
                self.finish_reason = "stop"
            case Status.INCOMPLETE if (finish := find_finish_reason(event.reason)) is not None:
                self.finish_reason = finish
            case Status.INCOMPLETE:
                self._fail(502, f"The reply is not whole: {event.reason}.", str(event.reason))
            case Status.FAILED if event.error is not None:
                self.failure = fault_envelope(event.error)
            case _:
                self._fail(
                    502, f"The run ended without an answer: {event.status.value}.", event.status
                )
        self.ended = True

    def _fail(self, status: int, message: str, code: str) -> None:
        self.failure = status, Envelope(Body(message, "server_error", code=code))
        self.ended = True


class ChatChunks:
    """Encodes the events of a run as chunks of a stream."""

    def __init__(
        self,
        reply: Reply,
        client_tools: frozenset[str],
        *,
        hosted: HostedCalls = NO_HOSTED_RUN.calls,
        include_usage: bool = False,
    ) -> None:
        self.answer = ChatAnswer(reply, client_tools, hosted=hosted)
        self._reply = reply
        self._usage = None if include_usage else msgspec.UNSET
        self._opened = False

    def encode(self, event: Event) -> bytes:
        """Return the frames of this event, which may be none."""
        delta = self.answer.feed(event)
        return b"" if delta is None else self._open() + self._frame(delta)

    def close(self) -> bytes:
        """Return the frames that end the stream: reason, usage, and the end itself."""
        answer = self.answer
        if answer.failure is not None:
            return encode_event(answer.failure[1]) + DONE
        if not answer.ended:  # the connection ends and the run does not: a client must notice
            return encode_event(answer.cut[1])
        ending = self._open() + self._frame(
            Delta(annotations=answer.annotations), answer.finish_reason
        )
        if self._usage is None:
            ending += _frame(self._chunk((), to_chat_usage(answer.usage)))
        return ending + DONE

    def _open(self) -> bytes:
        if self._opened:
            return b""
        self._opened = True
        return self._frame(Delta(role="assistant", content=""))

    def _frame(self, delta: Delta, finish_reason: FinishReason | None = None) -> bytes:
        return _frame(self._chunk((ChunkChoice(delta, finish_reason),), self._usage))

    def _chunk(
        self, choices: tuple[ChunkChoice, ...], usage: ChatUsage | msgspec.UnsetType | None
    ) -> Chunk:
        reply = self._reply
        return Chunk(
            id=reply.id, created=reply.created, model=reply.model, choices=choices, usage=usage
        )


class _Lengths(NamedTuple):
    """Numbers of pieces that an answer has at some point."""

    text: int
    reasoning: int
    refusal: int
    calls: int


def _move(citation: Citation, offset: int) -> Citation:
    """Return the citation of a turn's text as one of the whole answer's."""
    if citation.start is None or citation.end is None:
        return citation
    return replace(citation, start=citation.start + offset, end=citation.end + offset)


class _SentCall(msgspec.Struct):
    """A call as far as it was sent."""

    index: int
    name: str
    arguments: str = ""


def to_chat_usage(usage: Usage) -> ChatUsage:
    """Return the usage in the words of this wire."""
    return ChatUsage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        prompt_tokens_details=PromptDetails(usage.cached_tokens),
        completion_tokens_details=CompletionDetails(usage.reasoning_tokens),
    )


def _frame(chunk: Chunk) -> bytes:
    return b"data: %b\n\n" % json_line(chunk)
