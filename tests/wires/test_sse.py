from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.types import events
from antiphon.types.errors import TooLarge
from antiphon.wires import sse
from antiphon.wires.sse import Decoder, SseFrame

ODD_STREAM = (
    "\ufeffdata: first\n\n"
    ": a comment\n"
    "id: 7\nevent: text.delta\ndata: {\"text\":\"haïku 俳句 \u2028 👩‍🚀\"}\n\n\n"
    "retry: 1500\n\n"
    "data:no space\r\ndata:  two lines\r\n\r\n"
    "data\r\rid\rdata: without an id\r\r"
    "id: a\0b\ndata: id with NUL\n\n"
    "unknown: field\ndata: form\x0cfeed\x85\n\n"
    ": another comment\r\n"
).encode()  # fmt: skip


def read(pieces: list[bytes]) -> tuple[list[SseFrame], int]:
    decoder = Decoder()
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    return [*frames, *decoder.close()], decoder.comments


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


def test_a_stream_is_read_as_the_standard_says():
    frames, comments = read([ODD_STREAM])

    assert frames == [
        SseFrame(None, None, "first"),
        SseFrame("7", "text.delta", '{"text":"haïku 俳句 \u2028 👩‍🚀"}'),
        SseFrame("7", None, "no space\n two lines"),
        SseFrame("7", None, ""),
        SseFrame(None, None, "without an id"),
        SseFrame(None, None, "id with NUL"),
        SseFrame(None, None, "form\x0cfeed\x85"),
    ]
    assert comments == 2


@pytest.mark.parametrize(
    ("stream", "retry"),
    [(ODD_STREAM, 1500), (b"data: x\n\n", None), (b"retry: 1.5\n\nretry: -1\n\n", None)],
)
def test_the_pause_that_the_sender_asks_for_is_told(stream: bytes, retry: int | None):
    decoder = Decoder()
    decoder.feed(stream)

    assert decoder.retry == retry


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pieces_of_any_size_give_the_same_frames(size: int):
    pieces = [ODD_STREAM[at : at + size] for at in range(0, len(ODD_STREAM), size)]

    assert read(pieces) == read([ODD_STREAM])


PIECES = st.sampled_from(
    [
        *(b"\n", b"\r", b"\r\n", b"\n\n", b":", b" ", b"\0", b"\xff", b"\xef\xbb\xbf"),
        *(b"data", b"data: ", b"id: 1", b"event", b"retry: 5", b"x", "é".encode()),
    ]
)


@given(st.lists(PIECES).map(b"".join), st.lists(st.integers(0, 10_000)))
def test_how_bytes_are_cut_makes_no_difference(stream: bytes, places: list[int]):
    assert read(cut(stream, places)) == read([stream])


@given(st.lists(st.tuples(st.integers(0), st.text())), st.lists(st.integers(0, 100_000)))
def test_what_is_written_is_read_back(numbered_texts: list[tuple[int, str]], places: list[int]):
    lines = [
        (number, events.encode(events.TextDelta(text=text))) for number, text in numbered_texts
    ]
    stream = b"".join(
        sse.frame(number, b"text.delta", line) + sse.comment("still here") for number, line in lines
    )

    frames, comments = read(cut(stream, places))

    assert frames == [SseFrame(str(n), "text.delta", line.decode()) for n, line in lines]
    assert comments == len(lines)


@given(st.text())
def test_a_comment_never_becomes_an_event(text: str):
    frames, comments = read([sse.comment(text)])

    assert (frames, comments) == ([], 1)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (b"text.delta\ndata: evil", b"{}"),
        (b"no.such.event", b"{}"),
        (b"text.delta", b"{}\ndata: evil"),
        (b"text.delta", b"{}\rdata: evil"),
    ],
)
def test_nothing_can_be_injected_into_a_frame(kind: bytes, line: bytes):
    with pytest.raises(ValueError, match="not an event"):
        sse.frame(1, kind, line)


def test_the_last_event_counts_without_its_blank_line():
    assert read([b"data: [DONE]"])[0] == [SseFrame(None, None, "[DONE]")]
    assert read([b"id: 4\nevent: x\n"])[0] == []


def test_an_event_is_given_at_its_blank_line_even_if_that_is_half_a_crlf():
    assert Decoder().feed(b"data: now\r\n\r") == [SseFrame(None, None, "now")]


def test_comments_show_before_any_event_does():
    decoder = Decoder()

    for piece in (b":", b" ping\n", b": ping\r\n", b": pi"):
        decoder.feed(piece)

    assert decoder.comments == 2


def test_invalid_bytes_become_replacement_characters():
    assert read([b"data: a\xffb\xc3\n\n"])[0] == [SseFrame(None, None, "a\ufffdb\ufffd")]


def test_invalid_bytes_can_be_told_from_replacement_characters_that_were_sent():
    decoder = Decoder(invalid="surrogateescape")

    (frame,) = decoder.feed(b"data: \xff\xef\xbf\xbd\n\n")

    assert frame.data == "\udcff\ufffd"


@pytest.mark.parametrize("size", [1, 64, 100_000])
def test_an_event_above_the_cap_is_refused_however_it_comes(size: int):
    stream = b"data: ok\n\ndata: " + b"x" * 2_000 + b"\n\n"
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    decoder = Decoder(max_bytes=1_000)

    with pytest.raises(TooLarge):
        list(map(decoder.feed, pieces))


def test_comments_and_blank_lines_without_end_fill_no_buffer():
    decoder = Decoder(max_bytes=100)

    for _ in range(1_000):
        decoder.feed(b": ping\n\n\n")
        decoder.feed(b": ping\n")

    assert decoder.comments == 2_000


def test_a_long_line_in_small_pieces_takes_time_in_proportion():
    decoder = Decoder()
    letters = msgspec.json.encode("x" * 5_000_000)

    decoder.feed(b"data: ")
    for at in range(0, len(letters), 100):
        decoder.feed(letters[at : at + 100])
    (frame,) = decoder.feed(b"\n\n")

    assert len(frame.data) == len(letters)
