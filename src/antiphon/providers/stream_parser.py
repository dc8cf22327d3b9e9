"""Parser of one chat-completions reply: a server's bytes in, chunks out.

It tolerates known mistakes of servers, but is strict about the end of a reply. `engine/turn`
decides which call a piece belongs to, and whether a call is complete.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Literal, NoReturn, TypeGuard

import msgspec

from antiphon.engine.partial_json import MAX_DEPTH
from antiphon.engine.sanitize import sanitize_text, sanitize_value, validate_depth
from antiphon.engine.turn import LARGE_BYTES
from antiphon.providers.failures import Redactor, error_text
from antiphon.providers.inline_tags import CumulativeText, LeakedCallParser, Piece, ThinkTagParser
from antiphon.providers.usage import parse_usage
from antiphon.types.chunks import (
    CallPiece,
    Chunk,
    DetailsPiece,
    Finish,
    ReasoningPiece,
    RefusalPiece,
    TextPiece,
    UsagePiece,
    cut_reason,
)
from antiphon.types.errors import ProviderError, ProviderProtocol, TooLarge
from antiphon.wires.sse import MAX_EVENT_BYTES, Decoder, SseFrame

MAX_REPLY_BYTES = 256_000_000  # decompressed; 64,000 tokens take some 20 MB on the wire
MAX_EVENT_VALUES = 1_000_000
"""JSON values in one event: decoding this many blocks the event loop for 0.1 s."""


class Quirks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Differences of a server from other servers.

    Replies: `cumulative` text repeats the text before it (`auto`: only if that is unambiguous).
    `think_tags` wrap reasoning at the beginning of the text; with `think_prefilled` the opening tag
    is missing because the prompt contains it. `leaked_calls` come as `<tool_call>` objects in the
    text. With `comments_are_life`, comments are signs of life.

    Requests: `stream` is true if the server can stream, or `without_tools`; `stream_options` is
    true if it accepts that field. `max_tokens` and `seed` are its names of these fields.

    History: `reasoning_back` is its name for the reasoning of earlier replies, None if it accepts
    none; with `reasoning_required` it rejects assistant messages without reasoning. With
    `reasoning_details` it accepts the opaque details that it sent; with `refusal_back` a refusal
    has its own field, else it is sent as text. With `extra_content` it accepts the opaque extras of
    calls. `call_ids` is the form of ids (`short`: at most 40 characters; `nine`: exactly nine
    letters and digits). `roles` restricts the order of messages (`system_first`: one system
    message, at the beginning; `alternate`: and then user and assistant in turn, the user last).
    """

    cumulative: bool | Literal["auto"] = False
    think_tags: bool = False
    think_prefilled: bool = False
    leaked_calls: bool = False
    comments_are_life: bool = False
    stream: bool | Literal["without_tools"] = True
    stream_options: bool = True
    max_tokens: str = "max_tokens"
    seed: str = "seed"
    reasoning_back: str | None = None
    reasoning_required: bool = False
    reasoning_details: bool = True
    refusal_back: bool = False
    extra_content: bool = True
    call_ids: Literal["short", "nine"] = "short"
    roles: Literal["any", "system_first", "alternate"] = "any"


PLAIN = Quirks()
"""A server without quirks."""

_REDACT = Redactor()

Spoken = Piece | RefusalPiece


_Consume = Callable[["ChatCompletionsParser", bytes], "list[Chunk] | None"]


class ChatCompletionsParser:
    """Parses one reply. `finished` is true after a terminal marker, `done` at the end of data.

    `origin` identifies the server, for data that is sent back only to it. Raises `ProviderError` if
    the server reports an error, `ProviderProtocol` if the bytes are not a reply. Chunks before the
    error in the same bytes are returned first; then `check` and any further `feed` raise it.
    """

    def __init__(
        self,
        quirks: Quirks = PLAIN,
        redact: Redactor = _REDACT,
        max_bytes: int = MAX_REPLY_BYTES,
        origin: str = "",
    ) -> None:
        self.finished = False
        self.done = False
        self._fault: ProviderError | None = None
        self._quirks = quirks
        self._redact = redact
        self._bytes_left = max_bytes
        self._origin = origin
        self._decoder = Decoder(invalid="surrogateescape", error_field=True)
        # A function of the class: a bound method would be a reference cycle.
        self._consume: _Consume = ChatCompletionsParser._detect_format
        self._body = bytearray()
        self._begun = False
        self._spoke = False
        self._reason: str | None = None
        self._damaged = False
        self._halves: dict[Hashable, str] = {}
        self._snapshots = _snapshots(quirks)
        self._last_kind: type[Piece] | None = None
        self._think_tag_parser = _think_tag_parser(quirks)
        self._leaked = LeakedCallParser() if quirks.leaked_calls else None
        self._leaked_calls: list[CallPiece] = []

    @property
    def ended(self) -> bool:
        """True after a terminal marker or an error."""
        return self.finished or self._fault is not None

    @property
    def pending(self) -> int:
        """Bytes of an incomplete event, or of a body that is not a stream."""
        return self._decoder.pending + len(self._body)

    def feed(self, data: bytes) -> list[Chunk] | None:
        """Return the chunks that these bytes complete; None if they are no sign of life."""
        self.check()
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise ProviderProtocol("The reply is longer than any that is taken.")
        try:
            return self._consume(self, data)
        except RecursionError as error:
            raise ProviderProtocol(_TOO_DEEP) from error

    def close(self) -> list[Chunk]:
        """Return the remaining chunks; without a terminal marker the stream was cut."""
        self.check()
        if self.done:
            return []
        try:
            return self._rest()
        except RecursionError as error:
            raise ProviderProtocol(_TOO_DEEP) from error

    def check(self) -> None:
        """Raise the error that followed the chunks returned last."""
        if self._fault:
            raise self._fault

    def last_words(self) -> list[Chunk]:
        """Return the chunks that were held back for a continuation."""
        out: list[Chunk] = []
        self._settle(out)
        if self._think_tag_parser is not None:
            for kind, text in self._think_tag_parser.close():
                self._piece(kind, text, out)
        halves, self._halves = self._halves, {}
        for channel in halves:
            match channel:
                case (int() | None as index, int() | None as position):
                    out.append(CallPiece(index=index, position=position, arguments="\ufffd"))
                case _:
                    self._emit(_SPOKEN.get(channel, ReasoningPiece), "\ufffd", out)
        if self._leaked is not None:
            self._take_leaked(self._leaked.close(), out)
        # After the proper calls, because a call in the text may repeat one of them.
        out += self._leaked_calls
        self._leaked_calls.clear()
        return out

    def _rest(self) -> list[Chunk]:
        if self._consume is ChatCompletionsParser._consume_json:
            return self._parse_body(bytes(self._body))
        if self._consume is ChatCompletionsParser._consume_html:
            self._refuse(_PAGE, bytes(self._body))
        rest = self._decoder.close()
        # Half an event is no protocol error: the stream was cut.
        chunks = self._frames([frame for frame in rest if _is_whole(frame)])
        if not self._begun and not rest:
            self._refuse("The answer is not a reply of a model", bytes(self._body))
        return chunks if self.done or self._fault else [*chunks, *self.last_words()]

    def _detect_format(self, data: bytes) -> list[Chunk] | None:
        """Detect the format from the bytes: servers send wrong content types both ways."""
        self._body += data
        data = bytes(self._body)
        start = data.lstrip(_BLANK)[:1]
        if not start:
            del self._body[_MAX_BLANK:]
            return None
        match start:
            case b"{" | b"[":
                self._consume = ChatCompletionsParser._consume_json
            case b"<":
                self._consume = ChatCompletionsParser._consume_html
            case _:
                self._consume = ChatCompletionsParser._consume_stream
        self._body.clear()
        return self._consume(self, data)

    def _consume_html(self, data: bytes) -> None:
        """Collect a sample of fixed length, so that the error does not depend on the reads."""
        self._sample(data)
        if len(self._body) == _SAMPLE_BYTES:
            self._refuse(_PAGE, bytes(self._body))

    def _sample(self, data: bytes) -> None:
        self._body += data[: _SAMPLE_BYTES - len(self._body)]

    def _consume_json(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > MAX_EVENT_BYTES:
            self._refuse("The answer is longer than any that is taken", bytes(self._body))

    def _check_values(self, data: str) -> None:
        if _has_too_many_values(data):
            what = f"An event of the reply has more than {MAX_EVENT_VALUES} values"
            self._refuse(what, data[:_SAMPLE_BYTES].encode("utf-8", "surrogateescape"))

    def _consume_stream(self, data: bytes) -> list[Chunk] | None:
        if not self._begun:
            self._sample(data)
        comments = self._decoder.comments
        try:
            frames = self._decoder.feed(data)
        except TooLarge as error:
            self._fault = ProviderProtocol(error.message, **error.details)
            return self._frames([])
        if frames:
            return self._frames(frames)
        alive = self._quirks.comments_are_life and self._decoder.comments > comments
        return [] if alive else None

    def _frames(self, frames: list[SseFrame]) -> list[Chunk]:
        out: list[Chunk] = []
        for frame in frames:
            try:
                self._take_frame(frame, out)
            except RecursionError:
                self._fault = ProviderProtocol(_TOO_DEEP)
            except ProviderError as error:
                self._fault = error
            if self.done or self._fault:
                break
        if self._fault:
            out += self.last_words()
        if not out:
            self.check()
        return out

    def _take_frame(self, frame: SseFrame, out: list[Chunk]) -> None:
        self._damaged = False
        if len(frame.data) > LARGE_BYTES:
            self._check_values(frame.data)
        try:
            payload = (
                _decode(frame.data) if frame.event != "error" else self._parse_leniently(frame)
            )
        except _UNREADABLE:
            payload = self._parse_leniently(frame)
        if payload is None:
            if self.done:
                self._end(None, out)
        elif text := _only_text(payload):
            self._begun = True
            self._text(self._new_text(TextPiece, text, out), out)
        else:
            self._read(payload, out)

    def _parse_leniently(self, frame: SseFrame) -> _Payload | None:
        """Parse a frame that the typed decoder rejects; return None at the end of the stream.

        Raises `ProviderError` for an error that the server reports.
        """
        data = frame.data.strip()
        if not data:
            return None
        if data == "[DONE]":
            if not self._begun:
                self._refuse("The answer ended before it began", data.encode())
            self.done = True
            return None
        text = _replace_lost_bytes(data)
        try:
            value = _loads(text)
        except ValueError as error:
            if frame.event == "error" or data[0] not in '{["<':
                raise ProviderError(self._redact(text)) from error
            self._refuse("An event of the reply is not JSON", text.encode(), error)
        if frame.event == "error" or isinstance(value, str):
            self._complain(value)
        self._damaged = text != data
        return self._decode_value(value, text)

    def _parse_body(self, body: bytes) -> list[Chunk]:
        """Parse a body that is one JSON value: a reply that was not streamed, or an error."""
        data = body.lstrip(_BLANK).decode("utf-8", "surrogateescape")
        self._check_values(data)
        text = _replace_lost_bytes(data)
        try:
            value = _loads(text)
        except (ValueError, RecursionError) as error:
            self._refuse("The answer is not a reply of a model", body, error)
        if not isinstance(value, dict) or "choices" not in value:
            if error_text(value):
                self._complain(value)
            self._refuse("The answer is not a reply of a model", body)
        out: list[Chunk] = []
        self._damaged = text != data
        self._read(self._decode_value(value, text), out, whole=True)
        self._end(None, out)
        self.done = True
        return out

    def _decode_value(self, value: Any, text: str) -> _Payload:
        try:
            return msgspec.convert(value, _Payload)
        except msgspec.ValidationError as error:
            self._refuse("An event of the reply has an unknown shape", text.encode(), error)

    def _read(self, payload: _Payload, out: list[Chunk], *, whole: bool = False) -> None:
        if payload.error:
            self._complain(payload.error)
        usage = payload.usage
        if payload.choices is None:
            # An error in another shape, or an event without meaning to us.
            if "error" in (payload.object, payload.type):
                self._complain(payload.message or payload.detail)
        else:
            self._begun = True
            for choice in payload.choices:
                self._read_choice(choice, out, whole)
                usage = usage or choice.usage  # as Moonshot sends it
        if payload.x_groq:
            usage = usage or _fields(payload.x_groq).get("usage")
        if usage:
            self._begun = True
            out.append(UsagePiece(parse_usage(_fields(usage))))

    def _read_choice(self, choice: _Choice, out: list[Chunk], whole: bool) -> None:
        if isinstance(choice.index, int) and choice.index > 0:
            return  # a second reply, which was not requested
        reason = _reason(choice)
        if choice.error or reason == "error":
            self._complain(choice.error)
        if choice.delta is not None:
            self._read_delta(choice.delta, out)
        # The whole message at the end repeats the deltas; it counts if there were none.
        if choice.message is not None and not self._spoke and (reason or whole):
            self._read_delta(choice.message, out)
        if reason and isinstance(reason, str):
            self._end(reason, out)

    def _read_delta(self, delta: _Delta, out: list[Chunk]) -> None:
        # Some servers send the same reasoning in two fields: the first one present counts.
        thought = delta.reasoning_content or delta.reasoning or delta.reasoning_details
        if thought:
            self._piece(ReasoningPiece, self._new_text(ReasoningPiece, _words(thought), out), out)
        if delta.reasoning_details and self._quirks.reasoning_details:
            out.append(DetailsPiece(self._origin, tuple(_objects(delta.reasoning_details))))
        content = delta.content
        if not (content is None or isinstance(content, str)) and _is_json_answer(content):
            content = _json_answer(content)
        if isinstance(content, str):
            if content:
                self._text(self._new_text(TextPiece, content, out), out)
        elif content:
            self._parts(content, out)
        if isinstance(delta.refusal, str) and delta.refusal:
            self._settle(out)
            self._piece(RefusalPiece, delta.refusal, out)
        if delta.tool_calls:
            pieces = _objects(delta.tool_calls)
            for position, piece in enumerate(pieces):
                self._call(piece, position if len(pieces) > 1 else None, out)
        elif delta.function_call:
            self._call({"function": delta.function_call}, None, out)

    def _new_text(self, kind: type[Piece], text: str, out: list[Chunk]) -> str:
        """Return the part of cumulative text that is new."""
        if not self._snapshots:
            return text
        if kind is not self._last_kind:  # only text of the last kind may be held
            self._settle(out, but=kind)
            self._last_kind = kind
        snapshots = self._snapshots.get(kind)
        if snapshots is None:
            return text
        new = snapshots.feed(text)
        if snapshots.plain:
            del self._snapshots[kind]
        return new

    def _settle(self, out: list[Chunk], but: type[Piece] | None = None) -> None:
        """Emit text that was held as possibly cumulative: another kind of piece follows."""
        for kind, snapshots in self._snapshots.items():
            if kind is not but and (text := snapshots.settle()):
                if kind is TextPiece:
                    self._text(text, out)
                else:
                    self._piece(kind, text, out)

    def _text(self, text: str, out: list[Chunk]) -> None:
        if self._think_tag_parser is None:
            self._piece(TextPiece, text, out)
        else:
            for kind, piece in self._think_tag_parser.feed(text):
                self._piece(kind, piece, out)

    def _parts(self, parts: Any, out: list[Chunk]) -> None:
        """Read content that is a list, as from Mistral: reasoning and text in order."""
        for part in _objects(parts):
            self._piece(_KINDS.get(str(part.get("type")), TextPiece), _words(part), out)

    def _piece(self, kind: type[Spoken], text: str, out: list[Chunk]) -> None:
        if not text.isascii() or self._halves or "\0" in text:
            text = self._join_surrogates(kind, text)
        if text:
            self._emit(kind, text, out)

    def _emit(self, kind: type[Spoken], text: str, out: list[Chunk]) -> None:
        self._spoke = True
        if self._leaked is not None and kind is TextPiece:
            for at in range(0, len(text), _SLICE):  # each tag copies the rest of its slice
                self._take_leaked(self._leaked.feed(text[at : at + _SLICE]), out)
        else:
            out.append(kind(text))

    def _take_leaked(self, parts: Iterable[str | CallPiece], out: list[Chunk]) -> None:
        for part in parts:
            if isinstance(part, str):
                out.append(TextPiece(part))
            else:
                self._leaked_calls.append(part)

    def _call(self, piece: Mapping[str, Any], position: int | None, out: list[Chunk]) -> None:
        function = _fields(piece.get("function"))
        index = piece.get("index")
        index = index if isinstance(index, int) and not isinstance(index, bool) else None
        arguments = _arguments(function.get("arguments"))
        if self._damaged:
            # U+FFFD may replace lost bytes. JSON rejects a raw SUBSTITUTE, so such a call is
            # reported as broken and never run.
            arguments = arguments.replace("\ufffd", "\x1a")
        extra = piece.get("extra_content")
        call = CallPiece(
            index=index,
            position=position,
            id=_name(piece.get("id")),
            name=_name(function.get("name")),
            arguments=self._join_surrogates((index, position), arguments),
            extra={"extra_content": sanitize_value(extra)} if extra else None,
        )
        if call.id or call.name or call.arguments or call.extra:
            self._settle(out)
            self._spoke = True
            out.append(call)

    def _join_surrogates(self, channel: Hashable, text: str) -> str:
        """Return the text sanitized; half a surrogate pair at its end waits for the other half."""
        text = self._halves.pop(channel, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._halves[channel] = text[-1]
            text = text[:-1]
        return sanitize_text(text)

    def _end(self, reason: str | None, out: list[Chunk]) -> None:
        out += self.last_words()
        if self._think_tag_parser is not None and not cut_reason(reason or self._reason):
            # A whole reply that never closed its reasoning: the reasoning was the answer.
            if text := self._think_tag_parser.unclosed:
                self._emit(TextPiece, text, out)
                out += self.last_words()
            self._think_tag_parser.leave()
        if not self.finished or reason not in (None, self._reason):
            self.finished = True
            self._reason = reason
            out.append(Finish(reason and sanitize_text(reason)))

    def _complain(self, error: Any) -> NoReturn:
        words = error_text(error) or "The provider reported an error without saying which."
        raise ProviderError(self._redact(words))

    def _refuse(self, what: str, sample: bytes, cause: Exception | None = None) -> NoReturn:
        raise ProviderProtocol(f"{what}: {self._redact.sample(sample)}.") from cause


def _snapshots(quirks: Quirks) -> dict[type[Piece], CumulativeText]:
    if not quirks.cumulative:
        return {}
    sure = quirks.cumulative is True
    return {kind: CumulativeText(sure=sure) for kind in (TextPiece, ReasoningPiece)}


def _think_tag_parser(quirks: Quirks) -> ThinkTagParser | None:
    if not (quirks.think_tags or quirks.think_prefilled):
        return None
    return ThinkTagParser(prefilled=quirks.think_prefilled)


class _Delta(msgspec.Struct, gc=False):
    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    tool_calls: Any = None
    function_call: Any = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: Any = None
    native_finish_reason: Any = None
    index: Any = None
    error: Any = None
    usage: Any = None


class _Payload(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    x_groq: Any = None
    object: Any = None
    type: Any = None
    message: Any = None
    detail: Any = None


def _only_text(payload: _Payload) -> str:
    """Return the text of a payload that holds nothing else, as most do; "" for any other."""
    match payload.choices:
        case [_Choice(index=0, delta=_Delta(content=str(text)))]:
            choice = _Choice(index=0, delta=_Delta(content=text))
            return text if payload == _Payload([choice], object=payload.object) else ""
        case _:
            return ""


_decode = msgspec.json.Decoder(_Payload).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeEncodeError)


def _loads(text: str) -> Any:
    """Decode JSON that msgspec rejects, such as lone surrogates; but no NaN and no Infinity."""
    return json.loads(text, parse_constant=_no_constant)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _is_whole(frame: SseFrame) -> bool:
    if frame.event == "error" or frame.data.strip() == "[DONE]":
        return True
    if _has_too_many_values(frame.data):
        return True  # it is rejected when it is read
    try:
        _loads(_replace_lost_bytes(frame.data))
    except (ValueError, RecursionError):
        return False
    return True


def _has_too_many_values(data: str) -> bool:
    """Return whether this JSON has too many values, without decoding it."""
    if len(data) <= LARGE_BYTES or _weight(data) <= MAX_EVENT_VALUES:
        return False
    bare = data.replace("\\\\", "").replace('\\"', "")
    if bare.count('"') > MAX_EVENT_VALUES:
        return True
    # Count only outside of strings.
    return _weight("".join(bare.split('"')[::2])) > MAX_EVENT_VALUES


def _weight(data: str) -> int:
    """Estimate the number of values; a list counts as ten, for its cost to the collector."""
    return data.count(",") + data.count("{") + 10 * data.count("[")


def _replace_lost_bytes(data: str) -> str:
    """Replace bytes that are not UTF-8 by U+FFFD."""
    return data.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _name(value: Any) -> str | None:
    """Return an id or a name; None if it is empty or not a string."""
    return sanitize_text(value) if isinstance(value, str) and value else None


def _arguments(value: Any) -> str:
    """Return the arguments as JSON text; some servers send them as an object."""
    match value:
        case None:
            return ""
        case str():
            return value
        case _:
            return _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_json_answer(content: Any) -> bool:
    """Return whether content is the answer as JSON, as in Cloudflare's JSON mode, and not parts."""
    if _is_object(content):
        return not _is_part(content)
    if not _is_list(content) or not content:
        return False
    return all(_is_object(item) and not _is_part(item) for item in content)


def _json_answer(content: Any) -> str:
    try:
        validate_depth(content, MAX_DEPTH)
    except TooLarge as error:
        raise ProviderProtocol(_TOO_DEEP) from error
    return _json(content)


def _is_part(value: Any) -> bool:
    return _is_object(value) and isinstance(value.get("type"), str) and bool(_PART & value.keys())


def _reason(choice: _Choice) -> Any:
    """Return the finish reason; the native one if a gateway hides a cut behind another."""
    native = choice.native_finish_reason
    if choice.finish_reason and isinstance(native, str) and choice.finish_reason in _WHOLE_WORDS:
        return cut_reason(native) or choice.finish_reason
    return choice.finish_reason


def _words(value: Any) -> str:
    """Return the text in a part, or in a list of parts."""
    if isinstance(value, str):
        return value
    if _is_list(value):
        return "".join(_words(part) for part in value)
    fields = _fields(value)
    return next((_words(fields[name]) for name in _WORDS_IN if fields.get(name)), "")


def _fields(value: Any) -> dict[str, Any]:
    return value if _is_object(value) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    items = value if _is_list(value) else [value]
    return [item for item in items if _is_object(item)]


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


_BLANK = b" \t\r\n\xef\xbb\xbf"
_SAMPLE_BYTES = 1_000
_SLICE = 4_096
_MAX_BLANK = 1_000  # bytes of leading whitespace that are held; they are scanned with each read
_PAGE = "The answer is a page, not a reply of a model"
_TOO_DEEP = "An event of the reply is nested too deeply."
_WORDS_IN = ("text", "thinking", "summary", "content", "refusal")
_SPOKEN: dict[Hashable, type[Spoken]] = {TextPiece: TextPiece, RefusalPiece: RefusalPiece}
_KINDS: dict[str, type[Spoken]] = {"thinking": ReasoningPiece, "refusal": RefusalPiece}
_PART = frozenset(_WORDS_IN)  # a part of a content list has one of these beside its type
_WHOLE_WORDS = ("stop", "tool_calls", "function_call")
