"""Provider that replays recorded streams through the parser of live ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from antiphon.providers.stream_parser import PLAIN, ChatCompletionsParser, Quirks
from antiphon.types.chunks import Chunk, ModelRequest
from antiphon.types.errors import ProviderRejected

SUFFIX = ".chunks.txt"
Cuts = Callable[[bytes], Iterable[int]]


def cut_every(size: int) -> Cuts:
    """Return cuts into reads of that many bytes."""
    return lambda stream: range(size, len(stream), size)


class ReplayProvider:
    """Replays the recording that a request names as its model.

    A recording is raw server-sent events, or one JSON payload per line. `cuts` returns the offsets
    at which its bytes are cut into reads, by default each blank line; `pace` is reads per second.
    """

    def __init__(
        self,
        recordings: Mapping[str, bytes],
        *,
        cuts: Cuts | None = None,
        pace: float = 0,
        quirks: Quirks = PLAIN,
    ) -> None:
        self._recordings = recordings
        self._cuts = cuts or _at_blank_lines
        self._pace = pace
        self._quirks = quirks

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Sequence[Chunk], None]:
        """Stream the recording as if a server sent it."""
        recording = self._recordings.get(request.model)
        if recording is None:
            raise ProviderRejected(f"There is no recording {request.model!r}.")
        reply = ChatCompletionsParser(self._quirks)
        stream = frame_recording(recording)
        edges = [0, *self._cuts(stream), len(stream)]
        for start, end in pairwise(edges):
            await asyncio.sleep(1 / self._pace if self._pace else 0)
            chunks = reply.feed(stream[start:end])
            if chunks is not None:
                yield chunks
            if reply.done:
                return
        yield reply.close()
        reply.check()

    async def models(self) -> Sequence[str]:
        """Return the names of the recordings."""
        return sorted(self._recordings)

    async def close(self) -> None:
        """Do nothing."""


def recordings_in(folder: Path) -> dict[str, bytes]:
    """Read the recordings of a folder; return them by name."""
    return {path.name.removesuffix(SUFFIX): path.read_bytes() for path in folder.glob(f"*{SUFFIX}")}


def frame_recording(recording: bytes) -> bytes:
    """Return the recording as a server would send it."""
    if not recording.lstrip().startswith(b"{"):
        return recording
    events = [b"data: %b\n\n" % line for line in recording.splitlines() if line.strip()]
    return b"".join([*events, b"data: [DONE]\n\n"])


def _at_blank_lines(stream: bytes) -> Iterable[int]:
    at = stream.find(b"\n\n")
    while at >= 0:
        yield at + 2
        at = stream.find(b"\n\n", at + 2)
