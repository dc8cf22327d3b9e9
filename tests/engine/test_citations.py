"""Sources that a provider names: their selection, their order, and what they cannot do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.engine.citations import MAX_CITATIONS, MAX_TITLE, CitationCollector, clean_citation
from antiphon.engine.transcript import fold_events
from antiphon.engine.turn import Turn
from antiphon.types.chunks import CitationsPiece, Finish, TextPiece
from antiphon.types.events import CitationsAdded, TurnRestarted
from antiphon.types.messages import Citation, list_pages

PAGE = "https://tides.example/moon"


def cite(*urls: str, title: str = "") -> CitationsPiece:
    return CitationsPiece(tuple(Citation(url=url, title=title) for url in urls))


def new_turn() -> Turn:
    return Turn((), lambda: "call_1")


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "ftp://a.example/",
        "//a.example/",
        "https://",
        "https://bank.example@evil.example/",
        "https://[::1",
        "https://a.example/a b",
        'https://a.example/"onclick=x',
        "https://a.example/<b>",
        "https://a.example/\x1b]8;;x",
        "https://a.example/\u202egnp",
        "https://a.example/\ud800",
        "https://a.example/" + "x" * 2_000,
        "",
    ],
)
def test_what_is_no_address_of_a_web_page_is_left_out(url: str) -> None:
    assert clean_citation(Citation(url=url, title="A page")) is None


def test_a_title_is_one_short_line_without_controls() -> None:
    title = "The\n moon\x1b[2J \u202e pulls\0 \ud800" + "!" * 5_000

    citation = clean_citation(Citation(url=PAGE, title=title))

    assert citation is not None
    assert citation.title.startswith("The moon[2J ")
    assert len(citation.title) <= MAX_TITLE
    assert citation.title.isprintable()


@given(st.text(st.sampled_from("a \n\t\x1b\u202e\0\ud800\udc00\u3000"), max_size=2 * MAX_TITLE))
def test_a_cleaned_citation_is_clean(title: str) -> None:
    cleaned = clean_citation(Citation(url=f" {PAGE} ", title=title))

    assert cleaned is not None
    assert clean_citation(cleaned) == cleaned


def test_a_list_for_readers_has_no_address_that_must_be_no_link() -> None:
    hostile_and_good = [
        Citation(url=url) for url in ("javascript:alert(1)", PAGE, "https://a.example/<b>")
    ]

    assert list_pages(hostile_and_good) == (Citation(url=PAGE),)


@pytest.mark.parametrize("place", [(None, 5), (5, None), (5, 5), (6, 5), (-1, 5), (0, 2**40)])
def test_bounds_that_cannot_be_are_none(place: tuple[int | None, int | None]) -> None:
    assert clean_citation(Citation(url=PAGE, start=place[0], end=place[1])) == Citation(url=PAGE)


def test_a_page_that_is_named_again_is_one_and_its_title_may_come_late() -> None:
    collector = CitationCollector()

    assert collector.add([Citation(url=PAGE), Citation(url=PAGE)]) == (Citation(url=PAGE),)
    assert collector.add([Citation(url=PAGE, title="The moon")]) == (
        Citation(url=PAGE, title="The moon"),
    )
    assert collector.add([Citation(url=PAGE, title="Another")]) == ()
    placed_citation = Citation(url=PAGE, title="The moon", start=0, end=4)
    assert collector.add([placed_citation, Citation(url=PAGE)]) == (placed_citation,)
    assert collector.all == (placed_citation,)


def test_no_more_are_kept_than_the_limit() -> None:
    collector = CitationCollector()
    for number in range(3 * MAX_CITATIONS):
        collector.add([Citation(url=f"https://a.example/{number}")])

    assert len(collector.all) == MAX_CITATIONS


def test_citations_alone_are_no_reply() -> None:
    turn = new_turn()
    turn.feed([cite(PAGE)])

    assert turn.close().outcome == "failed"


citations = st.builds(
    Citation,
    url=st.sampled_from([PAGE, "https://b.example/", "https://c.example/?q=ä", "data:x", "x"]),
    title=st.sampled_from(["", "One", "Two\n\x1b"]),
    start=st.none() | st.integers(0, 3),
    end=st.none() | st.integers(0, 3),
)


@given(st.lists(st.lists(citations, max_size=5), max_size=6))
def test_the_events_of_a_reply_say_the_same_as_its_message(groups: list[list[Citation]]) -> None:
    turn = new_turn()
    events = turn.feed([TextPiece("The moon.")])
    for group in groups:
        events += turn.feed([CitationsPiece(tuple(group))])
    events += turn.feed([Finish("stop")])

    reply = turn.close()
    assert fold_events(enumerate(events, 1)).citations == reply.citations
    pages = list_pages(reply.citations)
    assert len({page.url for page in pages}) == len(pages)
    assert {page.url for page in pages} == {
        citation.url for group in groups for citation in group if citation.url.startswith("https:")
    }


def test_a_restart_makes_citations_void() -> None:
    log = [
        (1, CitationsAdded(citations=(Citation(url=PAGE),))),
        (2, TurnRestarted(reason="worker_lost", after=0, attempt=2)),
    ]

    assert fold_events(log).citations == ()
