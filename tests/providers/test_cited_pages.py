"""Citations in replies, in the forms in which servers send them.

The shapes are written by hand from the documentation of the servers; they are not recordings.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from any_llm.types.completion import ChatCompletionChunk
from hypothesis import given
from hypothesis import strategies as st

from antiphon.engine.turn import Turn
from antiphon.providers import stream_parser
from antiphon.providers.any_llm import AnyLlmParser
from antiphon.providers.stream_parser import ChatCompletionsParser
from antiphon.types.chunks import Chunk
from antiphon.types.messages import Citation
from tests.support.providers.upstream import chunk, sse, text_chunks

MOON, SUN = "https://tides.example/moon", "https://tides.example/sun"
MOON_PAGE, SUN_PAGE = Citation(url=MOON, title="The moon"), Citation(url=SUN, title="The sun")
PLACED = Citation(url=MOON, title="The moon", start=0, end=8)
TEXT = "The moon[1], the sun[2]."


def annotation(url: str, title: str, start: int, end: int) -> dict[str, Any]:
    inner = {"url": url, "title": title, "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": inner}


OPENAI = [
    chunk({"role": "assistant", "content": ""}),
    *text_chunks("The moon", "[1], the sun[2]."),
    chunk({"annotations": [annotation(MOON, "The moon", 0, 8)]}),
    chunk({}, "stop"),
]
OPENROUTER = [
    chunk({"content": "The moon", "annotations": []}),
    chunk({"content": "[1], the sun[2].", "annotations": [annotation(MOON, "The moon", 0, 8)]}),
    chunk({"content": "", "annotations": [{"type": "file", "file": {"hash": "x"}}]}, "stop"),
]
LISTS: dict[str, Any] = {
    "citations": [MOON, SUN],
    "search_results": [
        {"title": "The sun", "url": SUN, "date": "2026-01-01"},
        {"title": "The moon", "url": MOON, "date": None},
    ],
}
PERPLEXITY = [
    *(chunk({"content": piece}, **LISTS) for piece in ("The ", "moon", "[1], the ", "sun[2].")),
    chunk({"content": ""}, "stop", **LISTS),
]
LATE_TITLES = [
    *(
        chunk({"content": piece}, citations=[MOON, SUN])
        for piece in ("The moon", "[1], the sun[2].")
    ),
    chunk({}, "stop", **LISTS),
]
XAI = [*text_chunks(TEXT), chunk({}, "stop", citations=[MOON, SUN])]
MISTRAL = [
    chunk({"content": [{"type": "text", "text": "The moon[1], the sun"}]}),
    chunk(
        {
            "content": [
                {"type": "tool_reference", "tool": "web_search", "title": "The moon", "url": MOON}
            ]
        }
    ),
    chunk({"content": [{"type": "reference", "reference_ids": [1]}]}),
    chunk({"content": [{"type": "text", "text": "[2]."}]}, "stop"),
]
LINER = [*text_chunks(TEXT), chunk({"citations": [{"url": MOON, "title": "The moon"}]}, "stop")]

SERVERS = {
    "openai": (OPENAI, (PLACED,)),
    "openrouter": (OPENROUTER, (PLACED,)),
    "perplexity": (PERPLEXITY, (MOON_PAGE, SUN_PAGE)),
    "titles at the end": (LATE_TITLES, (MOON_PAGE, SUN_PAGE)),
    "xai": (XAI, (Citation(url=MOON), Citation(url=SUN))),
    "mistral": (MISTRAL, (MOON_PAGE,)),
    "liner": (LINER, (MOON_PAGE,)),
}


def read(pieces: list[bytes]) -> tuple[str, tuple[Citation, ...]]:
    """Return text and citations of a reply that arrives in these pieces."""
    parser = ChatCompletionsParser()
    chunks: list[Chunk] = []
    for piece in pieces:
        chunks += parser.feed(piece) or []
    chunks += parser.close()
    turn = Turn((), lambda: "call_1")
    turn.feed(chunks)
    reply = turn.close()
    assert reply.outcome == "completed"
    return reply.text, reply.citations


@pytest.mark.parametrize("name", SERVERS)
def test_the_citations_of_a_server_are_those_of_its_reply(name: str) -> None:
    payloads, expected = SERVERS[name]

    assert read([sse(*payloads)]) == (TEXT, expected)


@pytest.mark.parametrize("name", SERVERS)
@given(st.data())
def test_the_cuts_of_a_stream_make_no_difference(name: str, data: st.DataObject) -> None:
    payloads, expected = SERVERS[name]
    body = sse(*payloads)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(body) - 1), max_size=12)))
    pieces = [body[start:end] for start, end in pairwise([0, *cuts, len(body)])]

    assert read(pieces) == (TEXT, expected)


@pytest.mark.parametrize("name", SERVERS)
def test_each_byte_may_come_alone(name: str) -> None:
    payloads, expected = SERVERS[name]

    assert read([bytes([byte]) for byte in sse(*payloads)]) == (TEXT, expected)


def test_a_whole_answer_has_citations_too() -> None:
    message = {"content": TEXT, "annotations": [annotation(MOON, "The moon", 0, 8)]}
    completion = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    assert read([json.dumps(completion).encode()]) == (TEXT, (PLACED,))
    assert read([json.dumps({**completion, **LISTS}).encode()])[1] == (PLACED, SUN_PAGE)


def test_the_whole_message_at_the_end_of_a_stream_may_be_what_cites() -> None:
    message = {"content": TEXT, "annotations": [annotation(MOON, "The moon", 0, 8)]}
    end = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    assert read([sse(*text_chunks(TEXT), end)]) == (TEXT, (PLACED,))


def test_lists_that_repeat_do_not_make_events_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events with the lists of the one before are read as plain text, without decoding them."""
    decoded: list[str] = []
    decode = stream_parser.decode_payload
    monkeypatch.setattr(
        stream_parser, "decode_payload", lambda data: (decoded.append(data), decode(data))[1]
    )
    parser = ChatCompletionsParser()
    for number in range(100):
        parser.feed(sse(chunk({"content": f"word{number} "}, **LISTS), done=False))

    assert len(decoded) == 1


def test_an_event_with_annotations_is_no_plain_text() -> None:
    cited = chunk({"content": " cited", "annotations": [annotation(MOON, "The moon", 0, 8)]})
    body = [
        sse(piece, done=False)
        for piece in (chunk({"content": "plain"}), chunk({"content": " text"}), cited, cited)
    ]

    result = read([*body, sse(chunk({}, "stop"))])
    assert result == ("plain text cited cited", (PLACED,))


@pytest.mark.parametrize(
    "foreign",
    [
        *(None, "", 7, True, {}, {"url": MOON}, [[]], [None, 7, {}], [{"url": {}}]),
        *([{"url": "javascript:alert(1)"}], [{"type": "url_citation", "url_citation": 7}]),
        [{"type": "url_citation", "url_citation": {"url": 7, "title": []}}],
    ],
)
def test_other_shapes_are_left_out_and_break_nothing(foreign: Any) -> None:
    payloads = [
        chunk({"content": "Hi", "annotations": foreign, "citations": foreign}, citations=foreign),
        chunk({}, "stop", search_results=foreign),
    ]

    assert read([sse(*payloads)]) == ("Hi", ())


def test_a_list_without_end_is_cut() -> None:
    many = [f"https://a.example/{number}" for number in range(50_000)]

    assert len(read([sse(chunk({"content": "Hi"}, "stop", citations=many))])[1]) == 100


def test_vendors_citations_come_through_the_library() -> None:
    parser = AnyLlmParser()
    turn = Turn((), lambda: "call_1")
    for delta, more in (
        ({"content": TEXT, "annotations": [annotation(MOON, "The moon", 0, 8)]}, {}),
        ({"citations": [{"url": SUN, "title": "The sun"}]}, {"citations": [SUN]}),
    ):
        payload = {
            "id": "c",
            "created": 1,
            "model": "m",
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}],
            **more,
        }
        turn.feed(parser.feed(ChatCompletionChunk.model_validate(payload)))

    assert turn.close().citations == (PLACED, SUN_PAGE)
