import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from antiphon.providers.scripted import ReplayProvider, cut_every, frame_recording, recordings_in
from antiphon.types.chunks import (
    CallPiece,
    Chunk,
    Finish,
    ModelRequest,
    ReasoningPiece,
    TextPiece,
    UsagePiece,
)
from antiphon.types.errors import ProviderRejected

OWN_RECORDINGS = recordings_in(Path(__file__).parents[1] / "recordings")
FOLDER = os.environ.get("ANTIPHON_RECORDINGS")
FOREIGN_RECORDINGS = recordings_in(Path(FOLDER)) if FOLDER else {}


async def play(provider: ReplayProvider, name: str) -> list[Chunk]:
    question = ModelRequest(model=name, messages=b"")
    return [chunk async for page in provider.stream(question) for chunk in page]


def summary(chunks: Sequence[Chunk]) -> tuple[str, str, str, list[str | None]]:
    """Return text, reasoning, arguments and finish reasons."""
    return (
        "".join(chunk.text for chunk in chunks if isinstance(chunk, TextPiece)),
        "".join(chunk.text for chunk in chunks if isinstance(chunk, ReasoningPiece)),
        "".join(chunk.arguments for chunk in chunks if isinstance(chunk, CallPiece)),
        [chunk.reason for chunk in chunks if isinstance(chunk, Finish)],
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("text", ("Good morning, 世界.", "", "", ["stop"])),
        ("reasoning-and-call", ("", "I need the time.", '{"city": "Oslo"}', ["tool_calls"])),
        ("parallel-calls", ("Both:", "", '{"x":1}{"x":2}', ["tool_calls"])),
        ("content-list", ("4", "2 and 2", "", ["stop"])),
    ],
)
async def test_our_recordings_say_what_they_say(
    name: str, expected: tuple[str, str, str, list[str]]
):
    assert summary(await play(ReplayProvider(OWN_RECORDINGS), name)) == expected


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("name", sorted(OWN_RECORDINGS))
async def test_the_cuts_of_a_recording_make_no_difference(name: str, size: int):
    assert await play(ReplayProvider(OWN_RECORDINGS, cuts=cut_every(size)), name) == await play(
        ReplayProvider(OWN_RECORDINGS), name
    )


async def test_a_recording_may_be_raw_server_sent_events():
    raw = {"raw": frame_recording(OWN_RECORDINGS["text"])}

    assert await play(ReplayProvider(raw), "raw") == await play(
        ReplayProvider(OWN_RECORDINGS), "text"
    )


async def test_a_paced_recording_says_the_same():
    assert await play(ReplayProvider(OWN_RECORDINGS, pace=5_000), "text") == await play(
        ReplayProvider(OWN_RECORDINGS), "text"
    )


async def test_a_recording_that_is_not_there_is_refused():
    with pytest.raises(ProviderRejected, match="no recording"):
        await play(ReplayProvider({}), "nothing")


@pytest.mark.skipif(
    not FOREIGN_RECORDINGS, reason="ANTIPHON_RECORDINGS names no folder with recordings"
)
@pytest.mark.parametrize("name", sorted(FOREIGN_RECORDINGS) or ["none"])
async def test_foreign_recordings_end_well_however_they_are_cut(name: str):
    chunks = await play(ReplayProvider(FOREIGN_RECORDINGS), name)

    text, reasoning, arguments, finishes = summary(chunks)
    assert text or reasoning or arguments
    assert len(finishes) == 1
    assert any(isinstance(chunk, UsagePiece) for chunk in chunks)
    for size in (1, 5, 64, 4096):
        assert await play(ReplayProvider(FOREIGN_RECORDINGS, cuts=cut_every(size)), name) == chunks
