"""Events that differ in their text only are read without decoding them, and mean the same."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.providers import stream_parser
from antiphon.providers.payloads import ReplyPayload, decode_payload
from antiphon.providers.quirks import PLAIN, Quirks
from antiphon.providers.servers import UNDECLARED
from antiphon.providers.stream_parser import FLOOD_BYTES, ChatCompletionsParser
from antiphon.providers.text_template import MAX_TRIES, TextTemplate
from antiphon.types.chunks import ReasoningPiece, TextPiece
from antiphon.types.errors import ProviderError, ProviderProtocol
from antiphon.wires.sse import MAX_EVENT_BYTES
from tests.support.providers.upstream import sse, text_chunks


def event(text: str, **more: object) -> str:
    """Return the JSON of one event."""
    choice = {"index": 0, "delta": {"content": text, **more}, "finish_reason": None}
    return json.dumps(
        {"id": "chatcmpl-1", "choices": [choice]}, ensure_ascii=False, separators=(",", ":")
    )


def line(text: str, **more: object) -> bytes:
    """Return the bytes of one event as they are sent."""
    return b"data: %b\n\n" % event(text, **more).encode("utf-8", "surrogatepass")


@pytest.fixture
def template() -> TextTemplate:
    template = TextTemplate()
    template.learn(event("one"), "one")
    return template


def test_events_that_differ_in_their_text_only_are_read(template: TextTemplate):
    texts = ["two", ' "three"\n', "\\", "世界\u2028", "\0"]

    assert template.read(b"".join(map(line, texts))) == "".join(texts)
    assert template.read(line("four")) == "four"


def test_spaces_between_the_values_may_be_anywhere():
    template = TextTemplate()
    template.learn(event("one").replace(":", " : "), "one")

    assert template.read(line("two").replace(b'":', b'" : ')) == "two"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(line("two", tool_calls=[]), id="more beside the text"),
        pytest.param(line("two").replace(b"null", b'"stop"'), id="a reason for the end"),
        pytest.param(line("two")[:-1], id="half an event"),
        pytest.param(line("two") + b"data: [DONE]\n\n", id="something else after it"),
        pytest.param(line("two").replace(b"two", b"t\nwo"), id="a line break in a string"),
        pytest.param(line("two").replace(b"two", b"t\xffwo"), id="bytes that are no UTF-8"),
        pytest.param(line("two").replace(b"two", b"\\ud83d"), id="half a character"),
        pytest.param(line("two").replace(b"two", b'a","role":"b'), id="a field in the text"),
        pytest.param(line(""), id="no text"),
        pytest.param(b"event: error\n" + line("two"), id="an event with a name"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_events_that_differ_otherwise_are_not(template: TextTemplate, data: bytes):
    assert template.read(data) == ""


@pytest.mark.parametrize(
    ("learned_event", "text"),
    [
        pytest.param(event('"'), '"', id="an escape in the text"),
        pytest.param('{"content":"one",' + event("one")[1:], "one", id="another such field"),
    ],
)
def test_nothing_is_learned_where_the_place_of_the_text_is_not_plain(learned_event: str, text: str):
    template = TextTemplate()
    template.learn(learned_event, text)

    assert template.read(b"data: %b\n\n" % learned_event.encode()) == ""


def test_no_further_template_is_made_for_a_server_whose_events_all_differ():
    template = TextTemplate()
    for number in range(MAX_TRIES + 1):
        template.learn(event(f"{number}", noise=f"{number}"), f"{number}")

    assert template.read(line("1", noise=f"{MAX_TRIES}")) == ""


def test_a_template_that_fits_now_and_then_is_replaced_for_ever():
    template, texts = TextTemplate(), []
    for second in range(MAX_TRIES * 2):
        template.learn(event("one", created=second), "one")
        texts.append(template.read(line("two", created=second)))

    assert set(texts) == {"two"}


KINDS = st.sampled_from(["plain", "reasoning", "more", "created"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@pytest.mark.parametrize("quirks", [PLAIN, UNDECLARED], ids=["plain", "undeclared"])
def test_most_events_of_a_flood_are_not_decoded(quirks: Quirks, monkeypatch: pytest.MonkeyPatch):
    decoded: list[str] = []

    def decode(data: str) -> ReplyPayload:
        decoded.append(data)
        return decode_payload(data)

    monkeypatch.setattr(stream_parser, "decode_payload", decode)
    texts = [f"word {number} " for number in range(3_000)]
    flood = b"".join(map(line, texts))
    size = FLOOD_BYTES + 1

    result = _read_reply([flood[at : at + size] for at in range(0, len(flood), size)], quirks)

    assert result == ("begun" + "".join(texts), "")
    assert len(decoded) < len(texts) / 5


def test_what_came_before_an_error_in_a_flood_is_returned_first():
    reply = ChatCompletionsParser()
    reply.feed(line("begun"))
    flood = line("word") * 100

    chunks = reply.feed(flood + b'data: {"error":{"message":"boom"}}\n\n')

    assert len(flood) > FLOOD_BYTES
    assert "".join(c.text for c in chunks or () if isinstance(c, TextPiece)) == "word" * 100
    with pytest.raises(ProviderError, match="boom"):
        reply.check()


def test_an_event_without_an_end_is_refused_after_what_came_before():
    reply = ChatCompletionsParser()
    reply.feed(line("begun"))

    chunks = reply.feed(line("word") * 100 + bytes(MAX_EVENT_BYTES + 1))

    assert "".join(c.text for c in chunks or () if isinstance(c, TextPiece)) == "word" * 100
    with pytest.raises(ProviderProtocol, match="too long"):
        reply.check()


@pytest.mark.parametrize("flood_bytes", [1, FLOOD_BYTES])
@given(st.lists(st.tuples(KINDS, TEXTS), max_size=12), st.integers(1, 12), st.data())
def test_a_reply_says_the_same_however_its_events_come(
    flood_bytes: int, events: list[tuple[str, str]], events_per_read: int, data: st.DataObject
):
    lines: list[bytes] = []
    for number, (kind, text) in enumerate(events):
        match kind:
            case "reasoning":
                lines.append(line("", reasoning_content=text))
            case "more":
                lines.append(line(text, role="assistant"))
            case "created":
                lines.append(line(text, created=number))
            case _:
                lines.append(line(text))
    stream_bytes = b"".join(lines)
    by_event = [
        b"".join(lines[at : at + events_per_read]) for at in range(0, len(lines), events_per_read)
    ]
    cut = data.draw(st.integers(0, len(stream_bytes)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_parser, "FLOOD_BYTES", flood_bytes)
        results = [
            _read_reply(by_event),
            _read_reply([stream_bytes[:cut], stream_bytes[cut:]]),
            _read_reply([stream_bytes]),
        ]

    by_byte = _read_reply([stream_bytes[at : at + 1] for at in range(len(stream_bytes))])
    assert results == [by_byte] * len(results)


def _read_reply(pieces: list[bytes], quirks: Quirks = PLAIN) -> tuple[str, str]:
    """Return text and reasoning. The first event comes alone, to show the parser the format."""
    reply = ChatCompletionsParser(quirks)
    chunks = [*(reply.feed(sse(*text_chunks("begun"), done=False)) or ())]
    for piece in pieces:
        chunks += reply.feed(piece) or ()
    text = "".join(chunk.text for chunk in chunks if isinstance(chunk, TextPiece))
    return text, "".join(chunk.text for chunk in chunks if isinstance(chunk, ReasoningPiece))
