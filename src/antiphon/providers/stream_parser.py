"""Parser of one chat-completions reply: a server's bytes in, chunks out.

It tolerates known mistakes of servers, but is strict about the end of a reply. `engine/turn`
decides which call a piece belongs to, and whether a call is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NoReturn

import msgspec

from antiphon.engine.sanitize import sanitize_text, sanitize_value
from antiphon.engine.turn import LARGE_BYTES
from antiphon.providers.cited_pages import read_annotations, read_page_lists, read_reference
from antiphon.providers.failures import Redactor, error_text
from antiphon.providers.inline_tags import CumulativeText, LeakedCallParser, Piece, ThinkTagParser
from antiphon.providers.payloads import (
    MAX_EVENT_VALUES,
    TOO_DEEP,
    UNREADABLE,
    ReplyChoice,
    ReplyDelta,
    ReplyPayload,
    arguments_text,
    decode_payload,
    encode_answer,
    finish_reason,
    has_too_many_values,
    is_json_answer,
    is_whole_frame,
    list_objects,
    load_json,
    name_or_none,
    only_text,
    part_text,
    replace_lost_bytes,
)
from antiphon.providers.quirks import PLAIN, Quirks
from antiphon.providers.text_template import TextTemplate
from antiphon.providers.usage import parse_usage
from antiphon.types.chunks import (
    CallPiece,
    Chunk,
    CitationsPiece,
    DetailsPiece,
    Finish,
    ReasoningPiece,
    RefusalPiece,
    TextPiece,
    UsagePiece,
    cut_reason,
)
from antiphon.types.errors import ProviderError, ProviderProtocol, TooLarge
from antiphon.types.json_values import object_or_empty
from antiphon.types.messages import Citation
from antiphon.wires.sse import MAX_EVENT_BYTES, Decoder, SseFrame

MAX_REPLY_BYTES = 256_000_000  # decompressed; 64,000 tokens take some 20 MB on the wire


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
        self._half_pairs: dict[Hashable, str] = {}
        self._template = TextTemplate()
        self._page_lists: tuple[Any, Any] = (None, None)
        self._snapshots: dict[type[Piece], CumulativeText] = {}
        if quirks.cumulative:
            sure = quirks.cumulative is True
            self._snapshots = {
                kind: CumulativeText(sure=sure) for kind in (TextPiece, ReasoningPiece)
            }
        self._last_kind: type[Piece] | None = None
        has_thoughts_in_text = quirks.think_tags or quirks.think_prefilled
        self._think_tag_parser = (
            ThinkTagParser(prefilled=quirks.think_prefilled) if has_thoughts_in_text else None
        )
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
            raise ProviderProtocol(TOO_DEEP) from error

    def close(self) -> list[Chunk]:
        """Return the remaining chunks; without a terminal marker the stream was cut."""
        self.check()
        if self.done:
            return []
        try:
            return self._close_format()
        except RecursionError as error:
            raise ProviderProtocol(TOO_DEEP) from error

    def check(self) -> None:
        """Raise the error that followed the chunks returned last."""
        if self._fault:
            raise self._fault

    def flush(self) -> list[Chunk]:
        """Return the chunks that were held back for a continuation."""
        out: list[Chunk] = []
        self._release_held_text(out)
        if self._think_tag_parser is not None:
            for kind, text in self._think_tag_parser.close():
                self._add_piece(kind, text, out)
        half_pairs, self._half_pairs = self._half_pairs, {}
        for channel in half_pairs:
            match channel:
                case (int() | None as index, int() | None as position):
                    out.append(CallPiece(index=index, position=position, arguments="\ufffd"))
                case _:
                    self._add_whole_text(_SPOKEN.get(channel, ReasoningPiece), "\ufffd", out)
        if self._leaked is not None:
            self._take_leaked(self._leaked.close(), out)
        # After the proper calls, because a call in the text may repeat one of them.
        out += self._leaked_calls
        self._leaked_calls.clear()
        return out

    def _close_format(self) -> list[Chunk]:
        if self._consume is ChatCompletionsParser._consume_json:
            return self._parse_body(bytes(self._body))
        if self._consume is ChatCompletionsParser._consume_html:
            self._raise_unreadable(_PAGE, bytes(self._body))
        rest = self._decoder.close()
        # Half an event is no protocol error: the stream was cut.
        chunks = self._take_frames([frame for frame in rest if is_whole_frame(frame)])
        if not self._begun and not rest:
            self._raise_unreadable("The answer is not a reply of a model", bytes(self._body))
        return chunks if self.done or self._fault else [*chunks, *self.flush()]

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
        self._keep_sample(data)
        if len(self._body) == _SAMPLE_BYTES:
            self._raise_unreadable(_PAGE, bytes(self._body))

    def _keep_sample(self, data: bytes) -> None:
        self._body += data[: _SAMPLE_BYTES - len(self._body)]

    def _consume_json(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > MAX_EVENT_BYTES:
            self._raise_unreadable("The answer is longer than any that is taken", bytes(self._body))

    def _check_values(self, data: str) -> None:
        if has_too_many_values(data):
            what = f"An event of the reply has more than {MAX_EVENT_VALUES} values"
            self._raise_unreadable(what, data[:_SAMPLE_BYTES].encode("utf-8", "surrogateescape"))

    def _consume_stream(self, data: bytes) -> list[Chunk] | None:
        if not self._begun:
            self._keep_sample(data)
        if len(data) < FLOOD_BYTES or not self._begun:
            return self._read_events(data)
        # The read may begin and end inside an event.
        first, between, rest = data.partition(b"\n\n")
        whole, end, last = rest.rpartition(b"\n\n")
        read: list[Chunk] | None = None
        for part in filter(None, (first + between, whole + end, last)):
            try:
                chunks = self._read_events(part)
            except ProviderError:
                if not read:
                    raise
                break  # `check` raises it once what came before has been returned
            if chunks is not None:
                read = [*(read or ()), *chunks]
            if self.done or self._fault:
                break
        return read

    def _read_events(self, data: bytes) -> list[Chunk] | None:
        if (
            self._begun
            and not (self._decoder.is_inside_event or TextPiece in self._snapshots or self.done)
            and (text := self._template.read(data))
        ):
            out: list[Chunk] = []
            self._add_text(self._new_text(TextPiece, text, out), out)
            return out
        comments = self._decoder.comments
        try:
            frames = self._decoder.feed(data)
        except TooLarge as error:
            self._fault = ProviderProtocol(error.message, **error.details)
            return self._take_frames([])
        if frames:
            return self._take_frames(frames)
        alive = self._quirks.comments_are_life and self._decoder.comments > comments
        return [] if alive else None

    def _take_frames(self, frames: list[SseFrame]) -> list[Chunk]:
        out: list[Chunk] = []
        for frame in frames:
            try:
                self._take_frame(frame, out)
            except RecursionError:
                self._fault = ProviderProtocol(TOO_DEEP)
            except ProviderError as error:
                self._fault = error
            if self.done or self._fault:
                break
        if self._fault:
            out += self.flush()
        if not out:
            self.check()
        return out

    def _take_frame(self, frame: SseFrame, out: list[Chunk]) -> None:
        self._damaged = False
        if len(frame.data) > LARGE_BYTES:
            self._check_values(frame.data)
        try:
            payload = None if frame.event == "error" else decode_payload(frame.data)
        except UNREADABLE:
            payload = None
        if payload is None:
            payload = self._parse_leniently(frame)
        if payload is None:
            if self.done:
                self._finish(None, out)
            return
        self._take_page_lists(payload, out)
        if text := only_text(payload):
            self._begun = True
            self._template.learn(frame.data, text)
            self._add_text(self._new_text(TextPiece, text, out), out)
        else:
            self._read(payload, out)

    def _parse_leniently(self, frame: SseFrame) -> ReplyPayload | None:
        """Parse a frame that the typed decoder rejects; return None at the end of the stream.

        Raises `ProviderError` for an error that the server reports.
        """
        data = frame.data.strip()
        if not data:
            return None
        if data == "[DONE]":
            if not self._begun:
                self._raise_unreadable("The answer ended before it began", data.encode())
            self.done = True
            return None
        text = replace_lost_bytes(data)
        try:
            value = load_json(text)
        except ValueError as error:
            if frame.event == "error" or data[0] not in '{["<':
                raise ProviderError(self._redact(text)) from error
            self._raise_unreadable("An event of the reply is not JSON", text.encode(), error)
        if frame.event == "error" or isinstance(value, str):
            self._raise_reported(value)
        self._damaged = text != data
        return self._decode_value(value, text)

    def _parse_body(self, body: bytes) -> list[Chunk]:
        """Parse a body that is one JSON value: a reply that was not streamed, or an error."""
        data = body.lstrip(_BLANK).decode("utf-8", "surrogateescape")
        self._check_values(data)
        text = replace_lost_bytes(data)
        try:
            value = load_json(text)
        except (ValueError, RecursionError) as error:
            self._raise_unreadable("The answer is not a reply of a model", body, error)
        if not isinstance(value, dict) or "choices" not in value:
            if error_text(value):
                self._raise_reported(value)
            self._raise_unreadable("The answer is not a reply of a model", body)
        out: list[Chunk] = []
        self._damaged = text != data
        self._read(self._decode_value(value, text), out, whole=True)
        self._finish(None, out)
        self.done = True
        return out

    def _decode_value(self, value: Any, text: str) -> ReplyPayload:
        try:
            return msgspec.convert(value, ReplyPayload)
        except msgspec.ValidationError as error:
            self._raise_unreadable(
                "An event of the reply has an unknown shape", text.encode(), error
            )

    def _read(self, payload: ReplyPayload, out: list[Chunk], *, whole: bool = False) -> None:
        if payload.error:
            self._raise_reported(payload.error)
        if whole:
            self._take_page_lists(payload, out)
        usage = payload.usage
        if payload.choices is None:
            # An error in another shape, or an event without meaning to us.
            if "error" in (payload.object, payload.type):
                self._raise_reported(payload.message or payload.detail)
        else:
            self._begun = True
            for choice in payload.choices:
                self._read_choice(choice, out, whole)
                usage = usage or choice.usage  # as Moonshot sends it
        if payload.x_groq:
            usage = usage or object_or_empty(payload.x_groq).get("usage")
        if usage:
            self._begun = True
            out.append(UsagePiece(parse_usage(object_or_empty(usage))))

    def _take_page_lists(self, payload: ReplyPayload, out: list[Chunk]) -> None:
        """Take the lists of pages out of a payload; servers repeat them in every event.

        What is left may be nothing but text. An event of the same bytes around its text has the
        same lists.
        """
        lists = payload.citations, payload.search_results
        payload.citations = payload.search_results = None
        if lists not in ((None, None), self._page_lists):
            self._page_lists = lists
            self._add_citations(read_page_lists(*lists), out)

    def _add_citations(self, citations: list[Citation], out: list[Chunk]) -> None:
        if citations:
            out.append(CitationsPiece(tuple(citations)))

    def _read_choice(self, choice: ReplyChoice, out: list[Chunk], whole: bool) -> None:
        if isinstance(choice.index, int) and choice.index > 0:
            return  # a second reply, which was not requested
        reason = finish_reason(choice)
        if choice.error or reason == "error":
            self._raise_reported(choice.error)
        if choice.delta is not None:
            self._read_delta(choice.delta, out)
        for delta in (choice.delta, choice.message):
            if delta is not None and (delta.annotations or delta.citations):
                self._add_citations(read_annotations(delta.annotations), out)
                self._add_citations(read_page_lists(delta.citations, None), out)
        # The whole message at the end repeats the deltas; it counts if there were none.
        if choice.message is not None and not self._spoke and (reason or whole):
            self._read_delta(choice.message, out)
        if reason and isinstance(reason, str):
            self._finish(reason, out)

    def _read_delta(self, delta: ReplyDelta, out: list[Chunk]) -> None:
        # Some servers send the same reasoning in two fields: the first one present counts.
        thought = delta.reasoning_content or delta.reasoning or delta.reasoning_details
        if thought:
            self._add_piece(
                ReasoningPiece, self._new_text(ReasoningPiece, part_text(thought), out), out
            )
        if delta.reasoning_details and self._quirks.reasoning_details:
            out.append(DetailsPiece(self._origin, tuple(list_objects(delta.reasoning_details))))
        content = delta.content
        if not (content is None or isinstance(content, str)) and is_json_answer(content):
            content = encode_answer(content)
        if isinstance(content, str):
            if content:
                self._add_text(self._new_text(TextPiece, content, out), out)
        elif content:  # a list, as from Mistral: reasoning and text in order
            for part in list_objects(content):
                self._add_piece(_KINDS.get(str(part.get("type")), TextPiece), part_text(part), out)
                self._add_citations(read_reference(part), out)
        if isinstance(delta.refusal, str) and delta.refusal:
            self._release_held_text(out)
            self._add_piece(RefusalPiece, delta.refusal, out)
        if delta.tool_calls:
            pieces = list_objects(delta.tool_calls)
            for position, piece in enumerate(pieces):
                self._add_call(piece, position if len(pieces) > 1 else None, out)
        elif delta.function_call:
            self._add_call({"function": delta.function_call}, None, out)

    def _new_text(self, kind: type[Piece], text: str, out: list[Chunk]) -> str:
        """Return the part of cumulative text that is new."""
        if not self._snapshots:
            return text
        if kind is not self._last_kind:  # only text of the last kind may be held
            self._release_held_text(out, but=kind)
            self._last_kind = kind
        snapshots = self._snapshots.get(kind)
        if snapshots is None:
            return text
        new = snapshots.feed(text)
        if snapshots.plain:
            del self._snapshots[kind]
        return new

    def _release_held_text(self, out: list[Chunk], but: type[Piece] | None = None) -> None:
        """Emit text that was held as possibly cumulative: another kind of piece follows."""
        for kind, snapshots in self._snapshots.items():
            if kind is not but and (text := snapshots.settle()):
                if kind is TextPiece:
                    self._add_text(text, out)
                else:
                    self._add_piece(kind, text, out)

    def _add_text(self, text: str, out: list[Chunk]) -> None:
        if self._think_tag_parser is None:
            self._add_piece(TextPiece, text, out)
        else:
            for kind, piece in self._think_tag_parser.feed(text):
                self._add_piece(kind, piece, out)

    def _add_piece(self, kind: type[Spoken], text: str, out: list[Chunk]) -> None:
        if not text.isascii() or self._half_pairs or "\0" in text:
            text = self._join_surrogates(kind, text)
        if text:
            self._add_whole_text(kind, text, out)

    def _add_whole_text(self, kind: type[Spoken], text: str, out: list[Chunk]) -> None:
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

    def _add_call(self, piece: Mapping[str, Any], position: int | None, out: list[Chunk]) -> None:
        function = object_or_empty(piece.get("function"))
        index = piece.get("index")
        index = index if isinstance(index, int) and not isinstance(index, bool) else None
        arguments = arguments_text(function.get("arguments"))
        if self._damaged:
            # U+FFFD may replace lost bytes. JSON rejects a raw SUBSTITUTE, so such a call is
            # reported as broken and never run.
            arguments = arguments.replace("\ufffd", "\x1a")
        extra = piece.get("extra_content")
        call = CallPiece(
            index=index,
            position=position,
            id=name_or_none(piece.get("id")),
            name=name_or_none(function.get("name")),
            arguments=self._join_surrogates((index, position), arguments),
            extra={"extra_content": sanitize_value(extra)} if extra else None,
        )
        if call.id or call.name or call.arguments or call.extra:
            self._release_held_text(out)
            self._spoke = True
            out.append(call)

    def _join_surrogates(self, channel: Hashable, text: str) -> str:
        """Return the text sanitized; half a surrogate pair at its end waits for the other half."""
        text = self._half_pairs.pop(channel, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._half_pairs[channel] = text[-1]
            text = text[:-1]
        return sanitize_text(text)

    def _finish(self, reason: str | None, out: list[Chunk]) -> None:
        out += self.flush()
        if self._think_tag_parser is not None and not cut_reason(reason or self._reason):
            # A whole reply that never closed its reasoning: the reasoning was the answer.
            if text := self._think_tag_parser.unclosed:
                self._add_whole_text(TextPiece, text, out)
                out += self.flush()
            self._think_tag_parser.leave()
        if not self.finished or reason not in (None, self._reason):
            self.finished = True
            self._reason = reason
            out.append(Finish(reason and sanitize_text(reason)))

    def _raise_reported(self, error: Any) -> NoReturn:
        words = error_text(error) or "The provider reported an error without saying which."
        raise ProviderError(self._redact(words))

    def _raise_unreadable(
        self, what: str, sample: bytes, cause: Exception | None = None
    ) -> NoReturn:
        raise ProviderProtocol(f"{what}: {self._redact.sample(sample)}.") from cause


FLOOD_BYTES = 4_096
"""A read of so much is cut into whole events and the half_pairs around them."""
_BLANK = b" \t\r\n\xef\xbb\xbf"
_SAMPLE_BYTES = 1_000
_SLICE = 4_096
_MAX_BLANK = 1_000  # bytes of leading whitespace that are held; they are scanned with each read
_PAGE = "The answer is a page, not a reply of a model"
_SPOKEN: dict[Hashable, type[Spoken]] = {TextPiece: TextPiece, RefusalPiece: RefusalPiece}
_KINDS: dict[str, type[Spoken]] = {"thinking": ReasoningPiece, "refusal": RefusalPiece}
