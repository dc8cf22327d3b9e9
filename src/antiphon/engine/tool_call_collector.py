"""Tool calls of one reply, from the pieces in which a provider sends them.

Servers number their calls, name them by ids, or do neither; ids and names come late, twice, or for
two calls at once. A call that cannot be read without guessing is reported as broken, never dropped,
merged or invented.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from antiphon.engine import partial_json
from antiphon.engine.sanitize import sanitize_text
from antiphon.types.chunks import CallPiece
from antiphon.types.events import Event, ToolCallDelta, ToolCallReady, ToolCallStarted
from antiphon.types.messages import ToolCall

_MAX_ID_LENGTH = 128
"""Longest id that the API takes; a call with a longer one gets an id of ours."""
_MAX_NULL_LENGTH = 1_000  # with the whitespace around it, which is scanned with each piece
_SAMPLE_LENGTH = 200
_SECRET_LIKE = re.compile(r"[\w+/=-]{20,}")


class CompleteCall(msgspec.Struct, frozen=True):
    """A call that may be run, and the events that complete it."""

    call: ToolCall
    events: tuple[Event, ...]


class BrokenCall(msgspec.Struct, frozen=True):
    """A call that may not be run: the reason, and a sample of it."""

    message: str
    sample: str


class ToolCallBuilder:
    """One tool call while it arrives. `id` is set as soon as the call has a name."""

    __slots__ = (
        "_first",
        "_pieces",
        "_shown",
        "_size",
        "damaged",
        "extra",
        "id",
        "index",
        "name",
        "named_again",
        "provider_id",
        "shape",
    )

    def __init__(self, index: int | None, name: str | None = None) -> None:
        self.index = index
        self.provider_id: str | None = None
        self.id: str | None = None
        self.name = name
        self.extra: dict[str, Any] = {}
        self.shape = partial_json.Shape()
        self.damaged = False
        self.named_again = False
        self._pieces: list[str] = []
        self._size = 0
        self._first = ""
        self._shown = 0

    @property
    def blank(self) -> bool:
        """True while the arguments are only whitespace."""
        return not self._first

    @property
    def finished(self) -> bool:
        """True once the arguments are complete."""
        if self._first != "n":
            return self.shape.whole
        return self._size <= _MAX_NULL_LENGTH and self._text.strip() == "null"

    @property
    def _text(self) -> str:
        return "".join(self._pieces)

    def take(self, piece: CallPiece) -> None:
        """Add a piece; id and name keep their first value."""
        if piece.id and not self.provider_id:
            self.provider_id = piece.id
        if piece.name and not self.name:
            self.name = sanitize_text(piece.name)
        if self.index is None:
            self.index = piece.index
        if piece.extra:
            self.extra.update(piece.extra)
        if piece.arguments and not self._repeats(piece):
            self._append(piece.arguments)

    @property
    def meaning(self) -> str | None:
        """The call in canonical form, for comparison; None while it is incomplete."""
        return _canonical_call(self.name, self._text)

    def take_new_arguments(self) -> str:
        """Return the arguments not yet in an event; none until they are sure to be an object."""
        if self._first != "{":
            return ""
        shown, self._shown = self._shown, len(self._pieces)
        return "".join(self._pieces[shown:])

    def validate(self, offered: Collection[str]) -> CompleteCall | BrokenCall:
        """Return the complete call, or the reason why it may not be run."""
        if not self.name or not self.id:
            return self._broken("A tool call came without the name of a tool.")
        if self.name not in offered:
            return self._broken(f"There is no tool named {_shorten(self.name)!r}.")
        text = self._text
        if text.strip() in ("", "null"):
            return self._whole(self.id, self.name, "{}", added="{}")
        closers = partial_json.missing_closers(text)
        try:
            partial_json.parse(text + closers)
        except ValueError as error:
            return self._broken(f"The arguments of {self.name!r} are not a JSON object: {error}.")
        if self.damaged:
            return self._broken(f"The arguments of {self.name!r} were damaged on their way.")
        return self._whole(self.id, self.name, text + closers, added=closers)

    def _repeats(self, piece: CallPiece) -> bool:
        # Some servers repeat the whole call at its end; only the id makes a repetition certain.
        return (
            bool(piece.id)
            and self.shape.whole
            and len(piece.arguments) == self._size
            and piece.arguments == self._text
        )

    def _append(self, arguments: str) -> None:
        text = sanitize_text(arguments)
        self.damaged |= text != arguments
        self._pieces.append(text)
        self._size += len(text)
        self._first = self._first or text.lstrip()[:1]
        self.shape.feed(text)

    def _whole(self, id: str, name: str, arguments: str, added: str) -> CompleteCall:
        repaired = bool(added) and arguments != added
        call = ToolCall(
            id=id,
            name=name,
            arguments=arguments,
            provider_id=None
            if self.provider_id in (None, id)
            else sanitize_text(self.provider_id or ""),
            extra=self.extra or None,
            repaired=repaired,
        )
        ready = ToolCallReady(tool_call_id=id, name=name, arguments=arguments, repaired=repaired)
        if not added:
            return CompleteCall(call, (ready,))
        return CompleteCall(call, (ToolCallDelta(tool_call_id=id, arguments=added), ready))

    def _broken(self, message: str) -> BrokenCall:
        arguments = _redact(self._text)
        return BrokenCall(message, f"{_shorten(_redact(self.name or ''))}({_shorten(arguments)})")


class ToolCallCollector:
    """The calls of a reply; assigns each piece to its call."""

    def __init__(self, mint: Callable[[], str], used_ids: Collection[str]) -> None:
        self.all: list[ToolCallBuilder] = []
        self._mint = mint
        self._used_ids = set(used_ids)
        self._pending_call: ToolCallBuilder | None = None
        self._by_id: dict[str, ToolCallBuilder] = {}
        self._by_index: dict[int, ToolCallBuilder] = {}
        self._by_position: dict[int, ToolCallBuilder] = {}
        self._leak_candidates: Counter[str | None] | None = None

    @property
    def renamed(self) -> dict[str, str]:
        """Our ids by the provider's, for calls where they differ."""
        return {
            call.provider_id: call.id
            for call in self.all
            if call.provider_id and call.id and call.provider_id != call.id
        }

    def take(self, piece: CallPiece, events: list[Event]) -> None:
        """Add a piece to its call, and append the resulting events."""
        if not (piece.id or piece.name or piece.arguments or piece.extra):
            return
        if piece.leaked and self._repeats_a_call(piece):
            return
        if piece.leaked:
            call = self._open(piece)
        else:
            call = self._with_id(piece) if piece.id else self._without_id(piece)
        if call is not self._pending_call:
            self.flush(events)
            self._pending_call = call
        call.take(piece)
        if not piece.leaked:
            self._register(call, piece)
        if call.id is None and call.name:
            provider_id = call.provider_id or ""
            usable = (
                0 < len(provider_id) <= _MAX_ID_LENGTH
                and provider_id.isascii()
                and provider_id.isprintable()
            )
            call.id = provider_id if usable and provider_id not in self._used_ids else self._mint()
            self._used_ids.add(call.id)
            events.append(ToolCallStarted(tool_call_id=call.id, name=call.name))

    def flush(self, events: list[Event]) -> None:
        """Append an event with the new arguments of the last call."""
        call, self._pending_call = self._pending_call, None
        if call and call.id and (arguments := call.take_new_arguments()):
            events.append(ToolCallDelta(tool_call_id=call.id, arguments=arguments))

    def _repeats_a_call(self, leaked: CallPiece) -> bool:
        """Return whether this call in the text also came as a proper call; each counts once."""
        if self._leak_candidates is None:
            self._leak_candidates = Counter(call.meaning for call in self.all)
        meaning = _canonical_call(leaked.name, leaked.arguments)
        if meaning is None or not self._leak_candidates[meaning]:
            return False
        self._leak_candidates[meaning] -= 1
        return True

    def _with_id(self, piece: CallPiece) -> ToolCallBuilder:
        placed = self._call_at_place(piece)
        if placed and placed.provider_id == piece.id:
            known = placed
        elif piece.id in self._by_id:
            known = self._by_id[piece.id]
        elif placed and _is_late_id(placed, piece):
            return placed
        else:
            return self._open(piece)
        return self._open(piece) if _begins_another_call(known, piece) else known

    def _without_id(self, piece: CallPiece) -> ToolCallBuilder:
        call = self._call_at_place(piece)
        if call is None:
            return self._open(piece)
        if piece.name and call.name:
            return self._resolve_repeated_name(call, piece)
        if call.named_again and piece.arguments.strip():
            return self._open(piece, call.name)
        return call

    def _resolve_repeated_name(self, call: ToolCallBuilder, piece: CallPiece) -> ToolCallBuilder:
        """Decide whether a second name repeats the first or begins another call."""
        same = piece.name == call.name
        if call.finished and same and not piece.arguments.strip():
            call.named_again = True  # the arguments will tell, if any come
            return call
        if call.finished or (call.blank and not same):
            return self._open(piece)
        call.damaged |= not same
        return call

    def _call_at_place(self, piece: CallPiece) -> ToolCallBuilder | None:
        """Return the call at the piece's position, regardless of its id."""
        if piece.index is not None:
            return self._by_index.get(piece.index)
        if piece.position is not None:
            return self._by_position.get(piece.position)
        return self.all[-1] if self.all else None

    def _open(self, piece: CallPiece, name: str | None = None) -> ToolCallBuilder:
        call = ToolCallBuilder(piece.index, name)
        self.all.append(call)
        return call

    def _register(self, call: ToolCallBuilder, piece: CallPiece) -> None:
        if piece.id:
            self._by_id[piece.id] = call
        if piece.index is not None:
            self._by_index[piece.index] = call
        if piece.position is not None:
            self._by_position[piece.position] = call


def _canonical_call(name: str | None, arguments: str) -> str | None:
    """Return the call in one spelling; None if it cannot be parsed."""
    try:
        parsed = partial_json.parse(arguments.strip() or "{}")
    except ValueError:
        return None
    return json.dumps([name, parsed], sort_keys=True) if name else None


def _is_late_id(placed: ToolCallBuilder, piece: CallPiece) -> bool:
    """Return whether a new id belongs to the call that began at its place without one."""
    if placed.provider_id:
        return False
    return not (piece.name and placed.name) or (placed.blank and piece.name == placed.name)


def _begins_another_call(known: ToolCallBuilder, piece: CallPiece) -> bool:
    """Return whether a piece under a known id begins another call with the same id."""
    if not piece.name or not known.name:
        return False
    other_name = piece.name != known.name
    elsewhere = None not in (piece.index, known.index) and piece.index != known.index
    if elsewhere:
        return other_name or known.finished
    return other_name and known.finished and bool(piece.arguments)


def _redact(text: str) -> str:
    return _SECRET_LIKE.sub("[redacted]", text)


def _shorten(text: str) -> str:
    if len(text) <= _SAMPLE_LENGTH:
        return text
    return f"{text[: _SAMPLE_LENGTH // 2]} ... {text[-_SAMPLE_LENGTH // 2 :]}"
