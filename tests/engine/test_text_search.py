"""Words of texts and queries, snippets and ranks, whatever the language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.engine.text_search import (
    MAX_INDEXED_WORDS,
    MAX_PHRASES,
    MAX_WORD_LENGTH,
    SNIPPET_LENGTH,
    Phrase,
    examine,
    index_words,
    join_words,
    matches,
    parse_query,
)

TEXT = st.text(max_size=300)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Crème brûlée", ["creme", "brulee"]),
        ("e-mail foo_bar 3.5%", ["e", "mail", "foo", "bar", "3", "5"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("Łódź, Søren, Æsop", ["lodz", "soren", "aesop"]),
        ("Ελλάδα Москва", ["ελλαδα", "москва"]),
        ("東京タワー tower", ["東", "京", "タ", "ワ", "ー", "tower"]),
        ("한국어 공부", ["한국어", "공부"]),
        ("हिन्दी", ["हिनदी"]),
        ("שָׁלוֹם", ["שלום"]),
        ("good🎉🎉", ["good", "🎉", "🎉"]),
        ("½ ﬁn", ["1", "2", "fin"]),
        ("\x00 *** -- \n", []),
    ],
)
def test_words_of_a_text(text: str, words: list[str]) -> None:
    assert list(index_words(text)) == words


@pytest.mark.parametrize(
    ("query", "phrases"),
    [
        ("Deploy now", [(("deploy",), True), (("now",), True)]),
        ('"Deploy now"', [(("deploy", "now"), False)]),
        ("„eins zwei“ «trois»", [(("eins", "zwei"), False), (("trois",), False)]),
        ("e-mail", [(("e", "mail"), True)]),
        ("a bc", [(("a",), False), (("bc",), True)]),
        ("東京", [(("東", "京"), False)]),
        ('never "closed here', [(("never",), True), (("closed", "here"), False)]),
        ("same same", [(("same",), True)]),
        ('"" * % AND', [(("and",), True)]),
        ("", []),
    ],
)
def test_phrases_of_a_query(query: str, phrases: list[tuple[tuple[str, ...], bool]]) -> None:
    assert list(parse_query(query)) == [Phrase(*each) for each in phrases]


@given(TEXT)
def test_words_are_their_own_words(text: str) -> None:
    words = index_words(text)
    assert index_words(join_words(text)) == words
    assert all(0 < len(word) <= MAX_WORD_LENGTH for word in words)


@given(TEXT, st.data())
def test_a_text_is_found_by_any_of_its_words_and_phrases(text: str, data: st.DataObject) -> None:
    words = index_words(text)
    if not words:
        return
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, min(first + 5, len(words) - 1)))
    phrase = Phrase(tuple(words[first : last + 1]), prefix=False)

    assert matches(text, [phrase])
    assert examine(text, [phrase]).rank > 0
    assert matches(text, parse_query(words[first]))


@given(TEXT, st.lists(st.sampled_from("ab cd é東 \n-\"'")).map("".join))
def test_highlights_of_a_snippet_are_words_of_the_query(text: str, query: str) -> None:
    phrases = parse_query(query)
    snippet = examine(text, phrases).snippet
    first_words = tuple(phrase.words[0] for phrase in phrases)

    assert len(snippet.text) <= len(text) + 2
    assert not any(each in snippet.text for each in "\n\r\x00\x1b")
    end = 0
    for start, stop in snippet.highlights:
        assert end <= start < stop <= len(snippet.text)
        assert index_words(snippet.text[start:stop])[0].startswith(first_words)
        end = stop
    assert bool(snippet.highlights) >= matches(text, phrases)


def test_a_snippet_is_cut_at_words_around_the_best_place() -> None:
    text = f"one deploy\n{'filler ' * 60}the deployment of Crème was {'filler ' * 60}"

    snippet = examine(text, parse_query("deploy creme")).snippet

    highlighted = [snippet.text[start:end] for start, end in snippet.highlights]
    assert highlighted == ["deployment", "Crème"]
    assert snippet.text.startswith("…filler")
    assert snippet.text.endswith("filler…")
    assert SNIPPET_LENGTH / 2 < len(snippet.text) < 1.5 * SNIPPET_LENGTH


def test_a_short_text_is_its_own_snippet() -> None:
    assert examine("Say\nit", parse_query("it")).snippet == ("Say it", ((4, 6),))
    assert examine("Say it", []).snippet == ("Say it", ())


def test_a_whole_word_ranks_above_a_beginning_and_a_short_text_above_a_long_one() -> None:
    query = parse_query("deploy")
    texts = (
        "we deploy today",
        "we redeploy by deployment today",
        f"deployment {'and more ' * 100}",
        "nothing",
    )
    ranks = [examine(text, query).rank for text in texts]
    assert ranks == sorted(ranks, reverse=True)
    assert len(set(ranks)) == len(ranks)


def test_huge_texts_and_queries_are_read_to_a_limit() -> None:
    assert len(index_words("word " * 100_000)) == MAX_INDEXED_WORDS
    assert len(index_words("é" * 100_000)[0]) == MAX_WORD_LENGTH
    assert len(index_words("東" * 100_000)) == MAX_INDEXED_WORDS
    assert len(parse_query(" ".join(f"w{n}" for n in range(10_000)))) == MAX_PHRASES
