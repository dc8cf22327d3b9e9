"""Which part of a long thread the model gets to see.

A thread that was compacted is told from its newest summary on. What is still longer than the
model's window is cut before a user message, so that a call is never parted from its outputs. The
cut moves rarely and far: between two moves the requests of a growing thread begin with the same
bytes, which is what a provider's cache needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec.structs import replace

from antiphon.types.messages import COMPACTS

SUMMARY = "summary"
"""The role of a summary among the landmarks, where it is not confused with what a person wrote."""

SUMMARY_PREFACE = (
    "This is a summary of our conversation so far; the messages that it stands for are left out."
)
"""What stands before a summary when a model is told it."""


class Landmark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A user or system message in a `Context`: where it begins, in bytes and in tokens."""

    number: int
    role: str
    offset: int
    length: int
    tokens_before: int


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """A whole thread as a provider takes it: chat-completions JSON objects, joined by commas.

    `tokens` is an estimate. `landmarks` are its user and system messages, in order. `compacted`
    says that there are summaries among them; they stand in `chat` where they were written.
    """

    version: int
    messages: int
    tokens: int
    chat: bytes
    landmarks: Sequence[Landmark]
    compacted: bool = False


def tokens(length: int) -> int:
    """About how many tokens a message of so many bytes is: four bytes each, one for its frame.

    A cheap rule that needs no vocabulary; it overrates text that is not Latin, and counts reasoning
    that most servers never get back: the safe side.
    """
    return length // 4 + 1


def cut_to_window(context: Context, budget: int | None) -> bytes:
    """The conversation as the model is told it: what fits the budget, and every system message.

    The last user message and what follows it are kept even where they alone do not fit. Without
    a budget everything is kept that no summary stands for.
    """
    context = apply_summary(context)
    if budget is None or context.tokens <= budget:
        return context.chat
    cut = _choose_cut(_possible_cuts(context.landmarks), context.tokens - budget, budget)
    if cut is None:
        return context.chat
    system = [
        _message_bytes(context, mark)
        for mark in context.landmarks
        if mark.role == "system" and mark.offset < cut.offset
    ]
    return b",".join([*system, context.chat[cut.offset :]])


def apply_summary(context: Context) -> Context:
    """The thread as its newest summary leaves it, told first, after the earlier system messages.

    Older summaries are left out. What is told goes on before a user or system message, wherever the
    summary says that it ends: a call is not parted from its outputs.
    """
    if not context.compacted:
        return context
    newest = [mark for mark in context.landmarks if mark.role == SUMMARY][-1]
    summary = msgspec.json.decode(_message_bytes(context, newest), type=_Summary)
    last = min(summary.compacts, newest.number - 1)  # a rollback may have come in between
    left_out = [mark for mark in context.landmarks if mark.number <= last]
    told = context.landmarks[len(left_out) :]
    retold = _ContextBuilder(context)
    begins = _Place(0, 0)
    if summary.compacts:
        for mark in left_out:
            if mark.role == "system":
                retold.message(mark.number, "system", _message_bytes(context, mark))
        retold.message(newest.number, "system", summary.told())
        begins = _place_before(told[0])
    for stretch, older in _split_at_summaries(told):
        retold.stretch(begins, _place_before(older) if older else _end_place(context), stretch)
        begins = _place_after(older) if older else begins
    return retold.context()


def _split_at_summaries(
    landmarks: Sequence[Landmark],
) -> Iterator[tuple[Sequence[Landmark], Landmark | None]]:
    """The landmarks up to each summary, with that; and those after the last one."""
    begun = 0
    for at, mark in enumerate(landmarks):
        if mark.role == SUMMARY:
            yield landmarks[begun:at], mark
            begun = at + 1
    yield landmarks[begun:], None


class _Place(msgspec.Struct, frozen=True):
    """A place in a context, where a message begins: in bytes and in tokens."""

    offset: int
    tokens: int


def _place_before(mark: Landmark) -> _Place:
    return _Place(mark.offset, mark.tokens_before)


def _place_after(mark: Landmark) -> _Place:
    return _Place(mark.offset + mark.length + 1, mark.tokens_before + tokens(mark.length))


def _end_place(context: Context) -> _Place:
    return _Place(len(context.chat) + 1, context.tokens)


class _Summary(msgspec.Struct, frozen=True):
    """A summary in its stored form."""

    content: str
    compacts: int = msgspec.field(name=COMPACTS)

    def told(self) -> bytes:
        """As the user's: it holds what anybody said, which shall not speak as the system."""
        return msgspec.json.encode(
            {"role": "user", "content": f"{SUMMARY_PREFACE}\n\n{self.content}"}
        )


class _ContextBuilder:
    """A context put together anew from messages and stretches of another one."""

    def __init__(self, whole: Context) -> None:
        self._whole = whole
        self._pieces: list[bytes] = []
        self._landmarks: list[Landmark] = []
        self._offset = 0
        self._tokens = 0

    def message(self, number: int, role: str, said: bytes) -> None:
        """One message, and a landmark for it."""
        self._landmarks.append(Landmark(number, role, self._offset, len(said), self._tokens))
        self._add(said, tokens(len(said)))

    def stretch(self, begins: _Place, ends: _Place, landmarks: Sequence[Landmark]) -> None:
        """What stands between two places, with its landmarks."""
        moved = self._offset - begins.offset
        added = self._tokens - begins.tokens
        if moved or added:
            landmarks = [_shift_landmark(each, moved, added) for each in landmarks]
        self._landmarks += landmarks
        last = max(begins.offset, ends.offset - 1)
        self._add(self._whole.chat[begins.offset : last], ends.tokens - begins.tokens)

    def context(self) -> Context:
        """All of it."""
        return replace(
            self._whole,
            tokens=self._tokens,
            chat=b",".join(self._pieces),
            landmarks=self._landmarks,
            compacted=False,
        )

    def _add(self, said: bytes, tokens: int) -> None:
        if said:
            self._pieces.append(said)
            self._offset += len(said) + len(b",")
            self._tokens += tokens


def _shift_landmark(mark: Landmark, bytes: int, tokens: int) -> Landmark:
    number, role = mark.number, mark.role
    return Landmark(number, role, mark.offset + bytes, mark.length, mark.tokens_before + tokens)


def _message_bytes(context: Context, mark: Landmark) -> bytes:
    return context.chat[mark.offset : mark.offset + mark.length]


class _Cut(msgspec.Struct, frozen=True):
    """A place where the thread may be cut, and how many tokens that would save."""

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
    """The first cut that saves the excess, rounded up to quarters of the budget.

    Read from the records alone, so that every worker finds the same one; it never moves back. The
    cut before it is taken where it saves enough too, and the first would waste half the budget.
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
