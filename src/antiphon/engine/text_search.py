"""Words of a text for full-text search, queries, ranks and snippets; independent of the language.

A word is a run of letters, digits and their marks. Case and diacritics do not count. In scripts
that put no spaces between words, such as Chinese and Thai, each character is a word, and so is each
emoji. Stores index `index_words` of a text and look up the phrases of `parse_query`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import islice
from typing import NamedTuple

from antiphon.types.messages import IndexProgress, Message
from antiphon.types.runs import Thread

MAX_INDEXED_WORDS = 16_000
"""Words at the beginning of a text that are searched: PostgreSQL stores positions up to 16,383."""
MAX_WORD_LENGTH = 64
"""Characters of a word that are compared; PostgreSQL takes at most 2,046 bytes."""
MAX_PHRASES = 12
"""Phrases of a query that are looked up; further ones are ignored."""
MIN_PREFIX_LENGTH = 2
"""A word of fewer letters in a query is found only as a whole word: too much begins with it."""
SNIPPET_LENGTH = 160
"""Characters of a snippet, about."""
MAX_HIGHLIGHTS = 32
"""Highlights of a snippet; further ones are left out."""

_CONTEXT = 40  # characters of a snippet before the first highlight
_AVERAGE_WORDS = 100  # of a message: longer ones rank lower, with the same number of matches
_K1, _B = 1.2, 0.75  # the usual constants of BM25
_WHOLE_WORDS = 1.25  # factor for a phrase that is there as whole words, not as a prefix


class Phrase(NamedTuple):
    """Words that must follow each other in a text; with `prefix` the last may be longer there."""

    words: tuple[str, ...]
    prefix: bool


class Snippet(NamedTuple):
    """A part of a text, and the places in it to highlight: `(start, end)` in code points."""

    text: str
    highlights: tuple[tuple[int, int], ...]


class RankedSnippet(NamedTuple):
    """Score of a text for a query, the higher the better, and its part with the most matches.

    The snippet is on one line, with an ellipsis where the text is cut. Without a match it is the
    beginning of the text.
    """

    rank: float
    snippet: Snippet


class MessageMatch(NamedTuple):
    """A message that a search found, with its thread; a newer message has a greater `place`."""

    place: int
    message: Message
    thread: Thread
    finding: RankedSnippet


class TextMatches(NamedTuple):
    """Messages that a search found, newest first; `more` if there are further messages.

    `indexing` is None once every message is indexed.
    """

    messages: Sequence[MessageMatch]
    threads: Sequence[Thread]
    more: bool
    indexing: IndexProgress | None = None


class _Words(NamedTuple):
    """The words of a text as they are compared, and where each is in the text."""

    folded: Sequence[str]
    places: Sequence[tuple[int, int]]


class _Match(NamedTuple):
    """The place of a phrase of the query in a text."""

    phrase: int
    start: int
    end: int
    whole: bool


def index_words(text: str) -> Sequence[str]:
    """Return the words of a text as they are compared, at most `MAX_INDEXED_WORDS`."""
    return _split_words(text).folded


def join_words(text: str) -> str:
    """Return the words of a text as they are compared, separated by spaces."""
    return " ".join(index_words(text))


def parse_query(query: str) -> Sequence[Phrase]:
    """Return the phrases of a query, all of which a text must contain; empty without any word.

    Text in quotation marks is a phrase of whole words. Anything else is split at spaces, and the
    last word of each part is a prefix: `deploy` finds "deployment". A part with several words, as
    `e-mail`, is a phrase. At most `MAX_PHRASES` are returned.
    """
    phrases: list[Phrase] = []
    for quoted, part in _QUERY_PARTS.findall(query):
        words = tuple(index_words(quoted or part))
        if words:
            prefix = not quoted and len(words[-1]) >= MIN_PREFIX_LENGTH
            phrases.append(Phrase(words, prefix))
    return list(dict.fromkeys(phrases))[:MAX_PHRASES]


def matches(text: str, phrases: Sequence[Phrase], *, any_phrase: bool = False) -> bool:
    """Return whether a text contains all phrases, or any of them; False if there are none."""
    found = {match.phrase for match in _find_matches(_split_words(text), phrases)}
    return bool(found) and (any_phrase or len(found) == len(phrases))


def examine(text: str, phrases: Sequence[Phrase]) -> RankedSnippet:
    """Return how well a text matches the phrases of a query, and where."""
    words = _split_words(text)
    found = _find_matches(words, phrases)
    return RankedSnippet(_rank(len(words.folded), found, len(phrases)), _make_snippet(text, found))


def find_highlights(text: str, query: str) -> Sequence[tuple[int, int]]:
    """Return the places of a query's phrases in a text: `(start, end)` in code points, in order."""
    found = _find_matches(_split_words(text), parse_query(query))
    return _merge((match.start, match.end) for match in found)


def _rank(words: int, found: Iterable[_Match], phrases: int) -> float:
    """Rank by BM25 without the weight of rare words: every text that is found has all of them."""
    counts = [0.0] * phrases
    for match in found:
        counts[match.phrase] += _WHOLE_WORDS if match.whole else 1.0
    norm = _K1 * (1 - _B + _B * words / _AVERAGE_WORDS)
    return sum(count * (_K1 + 1) / (count + norm) for count in counts)


def _make_snippet(text: str, found: Sequence[_Match]) -> Snippet:
    best = _choose_window(found)
    first = best[0].start if best else 0
    start = _cut_before(text, first)
    end = _cut_after(text, min(len(text), max(start + SNIPPET_LENGTH, best[-1].end if best else 0)))
    piece = _BREAKS.sub(" ", text[start:end])
    before = "…" if start else ""
    shift = len(before) - start
    spots = _merge((match.start, match.end) for match in found if start <= match.start < end)
    highlights = tuple(
        (spot[0] + shift, min(spot[1], end) + shift) for spot in spots[:MAX_HIGHLIGHTS]
    )
    return Snippet(f"{before}{piece}{'…' if end < len(text) else ''}", highlights)


def _choose_window(found: Sequence[_Match]) -> Sequence[_Match]:
    """Return the matches of the first stretch of a snippet's length with the most phrases."""
    inside: Counter[int] = Counter()  # matches of each phrase, in found[first:last]
    most = best = (0, 0)
    last = 0
    for first, match in enumerate(found):
        while last < len(found) and (
            last == first or found[last].end - match.start <= SNIPPET_LENGTH - _CONTEXT
        ):
            inside[found[last].phrase] += 1
            last += 1
        value = (len(inside), last - first)
        if value > most:
            most, best = value, (first, last)
        inside[match.phrase] -= 1
        if not inside[match.phrase]:
            del inside[match.phrase]
    return found[best[0] : best[1]]


def _cut_before(text: str, first: int) -> int:
    """Return the start of a snippet: the beginning of a word before this match, not far away."""
    start = max(0, first - _CONTEXT)
    if not start:
        return 0
    space = _SPACE.search(text, start, first)
    return space.end() if space else first


def _cut_after(text: str, end: int) -> int:
    """Return the end of a snippet: the end of a word, unless that is far away."""
    if end >= len(text):
        return len(text)
    space = _SPACE.search(text, end, end + _CONTEXT // 2)
    return space.start() if space else end


def _merge(spots: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join places that overlap or touch."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spots):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _find_matches(words: _Words, phrases: Sequence[Phrase]) -> list[_Match]:
    """Return the places of all phrases in these words, in order."""
    firsts = tuple({phrase.words[0] for phrase in phrases})
    # Most words are passed over here, in one step for all phrases.
    begun = (place for place, word in enumerate(words.folded) if word.startswith(firsts))
    return [
        match
        for place in begun
        for number, phrase in enumerate(phrases)
        if (match := _match_at(words, place, number, phrase))
    ]


def _match_at(words: _Words, place: int, number: int, phrase: Phrase) -> _Match | None:
    *whole, last = phrase.words
    end = place + len(whole)
    there = words.folded[end] if end < len(words.folded) else ""
    if words.folded[place:end] != whole or not there.startswith(last):
        return None
    if there != last and not phrase.prefix:
        return None
    return _Match(number, words.places[place][0], words.places[end][1], there == last)


# Words of a text.


def _split_words(text: str) -> _Words:
    """Return the words of a text in order; a letter that stands for several may give several."""
    folded: list[str] = []
    places: list[tuple[int, int]] = []
    if text.isascii():
        for run in islice(_ASCII_WORD.finditer(text.lower()), MAX_INDEXED_WORDS):
            folded.append(run.group()[:MAX_WORD_LENGTH])
            places.append(run.span())
        return _Words(folded, places)
    known: dict[str, Sequence[str]] = {}
    for run in islice(_word_pattern().finditer(text), MAX_INDEXED_WORDS):
        written = run.group()
        words = known.get(written)
        if words is None:
            words = known[written] = _fold(written)
        folded += words
        places += [run.span()] * len(words)
    return _Words(folded[:MAX_INDEXED_WORDS], places[:MAX_INDEXED_WORDS])


def _fold(written: str) -> Sequence[str]:
    """Return the words of a run of letters, without case and diacritics."""
    # The second pass folds what the first made of letters that stand for several, as U+0345.
    folded = _strip_marks(_strip_marks(written[: 4 * MAX_WORD_LENGTH]).casefold())
    pattern = _ASCII_WORD if folded.isascii() else _word_pattern()
    return [word[:MAX_WORD_LENGTH] for word in pattern.findall(folded)]


def _strip_marks(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text).translate(_WITHOUT_STROKE)
    return unicodedata.normalize(
        "NFC", "".join(each for each in apart if not unicodedata.combining(each))
    )


@cache
def _word_pattern() -> re.Pattern[str]:
    """Return the pattern of a word; made when the first text needs it, which takes a few ms."""
    marks = "".join(
        chr(code)
        for first, after in _RANGES_WITH_MARKS
        for code in range(first, after)
        if unicodedata.category(chr(code)).startswith("M")
    )
    return re.compile(
        rf"[{_UNSPACED}][{marks}]*|(?:[^\W_{_UNSPACED}]|[{marks}])+|[{_PICTURES}]", re.UNICODE
    )


# Letters with a stroke and such, which Unicode does not take apart.
_WITHOUT_STROKE = str.maketrans(
    dict(zip("łŁøØđĐħĦŧŦı", "lLoOdDhHtTi", strict=True))
    | {"æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE"}
)
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_QUERY_PARTS = re.compile(r"""["“”„«»]([^"“”„«»]*)["“”„«»]?|([^\s"“”„«»]+)""")
_BREAKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")
_SPACE = re.compile(r"\s+")
_RANGES_WITH_MARKS = ((0x300, 0x2100), (0xA600, 0xAC00), (0x10A00, 0x12000))
# Thai and Lao; Myanmar; Khmer; kana; Chinese characters; those of width one half.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_PICTURES = "\u2600-\u27bf\U0001f000-\U0001faff"
