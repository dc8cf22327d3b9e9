"""Parser of one chat-completions reply: bytes of a server in, chunks out.

Tolerant of known server mistakes, strict about the end of a reply. `engine/turn` decides which call
a piece belongs to and whether a call is complete.
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
    UsageReport,
    cut_reason,
)
from antiphon.types.errors import ProviderError, ProviderProtocol, TooLarge
from antiphon.wires.sse import MAX_EVENT_BYTES, Decoder, SseFrame

MAX_REPLY_BYTES = 256_000_000  # of the wire, inflated; 64,000 tokens are some 20 MB there
MAX_EVENT_VALUES = 1_000_000
"""Of one event. The JSON decoder holds the loop while it works: 0.1 s for so many."""


class Quirks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a server differs from the others.

    In what it says: `cumulative` text repeats what came before (`auto`: only where nothing else can
    be meant); `think_tags` wrap reasoning at the beginning of the text, and with `think_prefilled`
    the first of them is missing, for the prompt holds it; `leaked_calls` stand in the text as
    `<tool_call>` objects; `comments_are_life` while it works. In what it takes: whether it
    can `stream` (always, never, or only `without_tools`), whether it knows `stream_options`, and
    its names for the limit of output tokens and for the seed.

    In the history it takes: `reasoning_back` is its name for the reasoning of earlier replies,
    None where it wants none; with `reasoning_required` it refuses an assistant message without any.
    The opaque `reasoning_details` that it gave go back to it; a refusal goes back under its own
    name with `refusal_back`, and as text without.
    `extra_content` says whether it takes a call's opaque extras, `call_ids` what an id looks like
    (`short`: at most 40 characters; `nine`: exactly nine letters and digits), `roles` who may speak
    when (`system_first`: one system message, at the beginning; `alternate`: and then user and
    assistant in turn, the user last).
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
"""A server as the others are."""

_REDACT = Redactor()

Spoken = Piece | RefusalPiece


class ChatCompletionsParser:
    """Parses one reply. `finished` after a terminal marker, `done` when no more will be read.

    `origin` names the server, for data that must go back to it alone. Raises `ProviderError` if the
    server reports an error, `ProviderProtocol` if the bytes are not a reply. Chunks before the
    error in the same bytes are returned first; then `check` raises, as does any further `feed`.
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
        self._take: Callable[[bytes], list[Chunk] | None] = self._sniff
        self._body = bytearray()
        self._begun = False
        self._spoke = False
        self._reason: str | None = None
        self._damaged = False
        self._halves: dict[Hashable, str] = {}
        self._snapshots = _snapshots(quirks)
        self._think_tag_parser = _think_tag_parser(quirks)
        self._leaked = LeakedCallParser() if quirks.leaked_calls else None
        self._leaked_calls: list[CallPiece] = []

    @property
    def pending(self) -> int:
        """Bytes that wait for the end of their event, or of a body that is no stream."""
        return self._decoder.pending + len(self._body)

    def feed(self, data: bytes) -> list[Chunk] | None:
        """The chunks that these bytes complete; None where they show no sign of life."""
        self.check()
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise ProviderProtocol("The reply is longer than any that is taken.")
        try:
            return self._take(data)
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
        """Return text that was held back for a continuation that did not come."""
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
                    self._tell(_SPOKEN.get(channel, ReasoningPiece), "\ufffd", out)
        if self._leaked is not None:
            self._take_leaked(self._leaked.close(), out)
        # Behind the calls that came where calls belong: those may be the same.
        out += self._leaked_calls
        self._leaked_calls.clear()
        return out

    def _rest(self) -> list[Chunk]:
        if self._take == self._hoard:
            return self._whole(bytes(self._body))
        if self._take == self._page:
            self._refuse(_PAGE, bytes(self._body))
        rest = self._decoder.close()
        # Half an event is no protocol error: its stream was cut, and the reply with it.
        chunks = self._frames([frame for frame in rest if _is_whole(frame)])
        if not self._begun and not rest:
            self._refuse("The answer is not a reply of a model", bytes(self._body))
        return chunks if self.done or self._fault else [*chunks, *self.last_words()]

    def _sniff(self, data: bytes) -> list[Chunk] | None:
        """Look at what comes, whatever type was announced: servers mislabel both ways."""
        self._body += data
        data = bytes(self._body)
        start = data.lstrip(_BLANK)[:1]
        if not start:
            del self._body[_MAX_BLANK:]
            return None
        match start:
            case b"{" | b"[":
                self._take = self._hoard
            case b"<":
                self._take = self._page
            case _:
                self._take = self._stream
        self._body.clear()
        return self._take(data)

    def _page(self, data: bytes) -> None:
        """Read on for a sample: it shall not depend on how the page was cut."""
        self._sample(data)
        if len(self._body) == _SAMPLE_BYTES:
            self._refuse(_PAGE, bytes(self._body))

    def _sample(self, data: bytes) -> None:
        self._body += data[: _SAMPLE_BYTES - len(self._body)]

    def _hoard(self, data: bytes) -> None:
        self._body += data
        self._check_size()

    def _check_size(self) -> None:
        if len(self._body) > MAX_EVENT_BYTES:
            self._refuse("The answer is longer than any that is taken", bytes(self._body))

    def _check_values(self, data: str) -> None:
        if _has_too_many_values(data):
            what = f"An event of the reply has more than {MAX_EVENT_VALUES} values"
            self._refuse(what, data[:_SAMPLE_BYTES].encode("utf-8", "surrogateescape"))

    def _stream(self, data: bytes) -> list[Chunk] | None:
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
        self._check_values(frame.data)
        try:
            payload = _decode(frame.data) if frame.event != "error" else self._odd(frame)
        except _UNREADABLE:
            payload = self._odd(frame)
        if payload is not None:
            self._read(payload, out)
        elif self.done:
            self._end(None, out)

    def _odd(self, frame: SseFrame) -> _Payload | None:
        """A frame that the typed decoder refuses: repaired, or the end, or a complaint."""
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

    def _whole(self, body: bytes) -> list[Chunk]:
        """A body that is one JSON value: a reply without a stream, or a complaint."""
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
        if payload.choices is None:
            # A complaint in a shape of its own, or nothing to us.
            if "error" in (payload.object, payload.type):
                self._complain(payload.message or payload.detail)
        else:
            self._begun = True
            for choice in payload.choices:
                self._choose(choice, out, whole)
        if usage := payload.usage or _usage_elsewhere(payload):
            self._begun = True
            out.append(UsageReport(parse_usage(_fields(usage))))
        self._damaged = False

    def _choose(self, choice: _Choice, out: list[Chunk], whole: bool) -> None:
        if _is_number_above_zero(choice.index):
            return  # one reply was asked for: a second one is no part of the first
        reason = _reason(choice)
        if choice.error or reason == "error":
            self._complain(choice.error)
        if choice.delta is not None:
            self._say(choice.delta, out)
        # The whole message at the end repeats the deltas; it counts where there were none.
        if choice.message is not None and not self._spoke and (reason or whole):
            self._say(choice.message, out)
        if reason and isinstance(reason, str):
            self._end(reason, out)

    def _say(self, delta: _Delta, out: list[Chunk]) -> None:
        # Some servers say the same thought under two names at once: the first that is there counts.
        thought = delta.reasoning_content or delta.reasoning or delta.reasoning_details
        if thought:
            self._piece(ReasoningPiece, self._news(ReasoningPiece, _words(thought), out), out)
        if delta.reasoning_details and self._quirks.reasoning_details:
            out.append(DetailsPiece(self._origin, tuple(_objects(delta.reasoning_details))))
        content = delta.content
        if _is_json_answer(content):
            content = _json_answer(content)
        if isinstance(content, str):
            if content:
                self._text(self._news(TextPiece, content, out), out)
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

    def _news(self, kind: type[Piece], text: str, out: list[Chunk]) -> str:
        """Return what the text adds, if the server repeats the text each time."""
        if not self._snapshots:
            return text
        self._settle(out, but=kind)
        return self._snapshots[kind].feed(text)

    def _settle(self, out: list[Chunk], but: type[Piece] | None = None) -> None:
        """Say what might have been repeated, now that something else follows."""
        for kind, snapshots in self._snapshots.items():
            if kind is not but and (text := snapshots.settle()):
                self._say_piece(kind, text, out)

    def _say_piece(self, kind: type[Piece], text: str, out: list[Chunk]) -> None:
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
        """Content as a list, as Mistral sends it: thinking and text in their order."""
        for part in _objects(parts):
            self._piece(_KINDS.get(str(part.get("type")), TextPiece), _words(part), out)

    def _piece(self, kind: type[Spoken], text: str, out: list[Chunk]) -> None:
        if self._halves or not text.isascii() or "\0" in text:
            text = self._join_surrogates(kind, text)
        if text:
            self._tell(kind, text, out)

    def _tell(self, kind: type[Spoken], text: str, out: list[Chunk]) -> None:
        self._spoke = True
        if self._leaked is not None and kind is TextPiece:
            for at in range(0, len(text), _SLICE):  # each tag in it costs the rest of its slice
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
            # U+FFFD may stand for bytes that were lost, and no call may be made with those: a raw
            # SUBSTITUTE is what JSON cannot hold, so the call counts as broken.
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
        """Fit to be kept; half a surrogate pair at the end waits for its other half."""
        text = self._halves.pop(channel, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._halves[channel] = text[-1]
            text = text[:-1]
        return sanitize_text(text)

    def _end(self, reason: str | None, out: list[Chunk]) -> None:
        out += self.last_words()
        if self._think_tag_parser is not None and not cut_reason(reason or self._reason):
            self._answer_unclosed(self._think_tag_parser, out)
        if not self.finished or reason not in (None, self._reason):
            self.finished = True
            self._reason = reason
            out.append(Finish(reason and sanitize_text(reason)))

    def _answer_unclosed(self, thought: ThinkTagParser, out: list[Chunk]) -> None:
        """Give as text what a whole reply said in a thought that it never left."""
        if text := thought.unclosed:
            self._tell(TextPiece, text, out)
            out += self.last_words()
        thought.leave()

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


def _usage_elsewhere(payload: _Payload) -> Any:
    """Moonshot has it in the choice, Groq once had it in an object of its own."""
    if payload.x_groq:
        return _fields(payload.x_groq).get("usage")
    return next((choice.usage for choice in payload.choices or () if choice.usage), None)


_decode = msgspec.json.Decoder(_Payload).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeEncodeError)


def _loads(text: str) -> Any:
    """JSON for what msgspec refuses, such as lone surrogates; still no NaN, no endless integers."""
    return json.loads(text, parse_constant=_no_constant)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _is_whole(frame: SseFrame) -> bool:
    if frame.event == "error" or frame.data.strip() == "[DONE]":
        return True
    if _has_too_many_values(frame.data):
        return True  # which is found again, and refused, when it is read
    try:
        _loads(_replace_lost_bytes(frame.data))
    except (ValueError, RecursionError):
        return False
    return True


def _has_too_many_values(data: str) -> bool:
    """Return whether this JSON holds more values than are decoded, without decoding it."""
    if len(data) <= LARGE_BYTES or _weight(data) <= MAX_EVENT_VALUES:
        return False
    bare = data.replace("\\\\", "").replace('\\"', "")
    if bare.count('"') > MAX_EVENT_VALUES:
        return True
    # What stands within texts is no value.
    return _weight("".join(bare.split('"')[::2])) > MAX_EVENT_VALUES


def _weight(data: str) -> int:
    """Return how many values begin in this JSON, a list as ten: the garbage collector counts it."""
    return data.count(",") + data.count("{") + 10 * data.count("[")


def _replace_lost_bytes(data: str) -> str:
    """With U+FFFD for bytes that were no UTF-8."""
    return data.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _name(value: Any) -> str | None:
    """An id or a name; an empty one is none."""
    return sanitize_text(value) if isinstance(value, str) and value else None


def _arguments(value: Any) -> str:
    """Arguments as text; some servers send them as an object."""
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
    """Return whether content is the answer itself, as in Cloudflare's JSON mode, and no parts."""
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
    """The finish reason; that of the model's own server where a gateway hides a cut behind it."""
    native = choice.native_finish_reason
    if choice.finish_reason and isinstance(native, str) and choice.finish_reason in _WHOLE_WORDS:
        return cut_reason(native) or choice.finish_reason
    return choice.finish_reason


def _is_number_above_zero(value: Any) -> bool:
    return isinstance(value, int) and value > 0


def _words(value: Any) -> str:
    """The text in a part, or in a list of parts."""
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
_MAX_BLANK = 1_000  # held at the beginning: what comes in single bytes is looked at with each
_PAGE = "The answer is a page, not a reply of a model"
_TOO_DEEP = "An event of the reply is nested too deeply."
_WORDS_IN = ("text", "thinking", "summary", "content", "refusal")
_SPOKEN: dict[Hashable, type[Spoken]] = {TextPiece: TextPiece, RefusalPiece: RefusalPiece}
_KINDS: dict[str, type[Spoken]] = {"thinking": ReasoningPiece, "refusal": RefusalPiece}
_PART = frozenset(_WORDS_IN)  # one of which a part of a content list has, beside its type
_WHOLE_WORDS = ("stop", "tool_calls", "function_call")
