"""Providers for tests, which follow a script or replay recordings.

A script states exactly which chunks come, and when:

```
think Let me look.            reasoning, one piece per word
refuse I will not.            a refusal, one piece per word
cite https://a.example/ Tides a page that the reply cites, and its title
say "Two\\nlines"              text; in quotes it is a JSON string
call get_weather {"city": "Oslo"}
wait lunch                    waits until the test opens the gate `lunch`
usage 10 5                    input and output tokens
finish length                 the finish reason; by default `tool_calls` or `stop`
fail provider_rate_limited Too many requests.
stall                         sends nothing more
cut                           breaks the connection
end                           ends the stream without a finish reason
```
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from antiphon.ports import TakeNow, take_none
from antiphon.providers.quirks import PLAIN, Quirks
from antiphon.providers.stream_parser import ChatCompletionsParser
from antiphon.types import errors
from antiphon.types.chunks import (
    CallPiece,
    Chunk,
    CitationsPiece,
    Finish,
    ModelRequest,
    ReasoningPiece,
    RefusalPiece,
    TextPiece,
    UsagePiece,
)
from antiphon.types.messages import Citation
from antiphon.types.runs import Usage


class ScriptGate:
    """A pause in a script: the provider sets `reached`, the test sets `opened`."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()


class ScriptedProvider:
    """Plays the scripts in order, one for each request. `requests` are the requests so far."""

    def __init__(self, *scripts: str) -> None:
        self.requests: list[ModelRequest] = []
        self.gates: defaultdict[str, ScriptGate] = defaultdict(ScriptGate)
        self._scripts = scripts
        self._calls = 0

    async def stream(
        self, request: ModelRequest, take_now: TakeNow = take_none
    ) -> AsyncGenerator[Sequence[Chunk], None]:
        """Stream the next script; the chunks of a line come together."""
        self.requests.append(request)
        if len(self.requests) > len(self._scripts):
            raise errors.ProviderRejected(f"There are only {len(self._scripts)} scripts.")
        ending = "stop"
        for line in self._scripts[len(self.requests) - 1].strip().splitlines():
            verb, _, rest = line.strip().partition(" ")
            match verb:
                case "wait":
                    gate = self.gates[rest]
                    gate.reached.set()
                    await gate.opened.wait()
                case "stall":
                    await asyncio.Event().wait()
                case "cut":
                    raise errors.Disconnected("The script breaks off here.")
                case "fail":
                    code, _, words = rest.partition(" ")
                    raise errors.class_for_code(code)(words)
                case "end":
                    return
                case "finish":
                    ending = rest
                case _:
                    ending = "tool_calls" if verb == "call" else ending
                    yield self._chunks(verb, rest)
        yield [Finish(ending)]

    async def models(self) -> Sequence[str]:
        """Return one name; every name is accepted."""
        return ["scripted"]

    async def close(self) -> None:
        """Do nothing."""

    def _chunks(self, verb: str, rest: str) -> Sequence[Chunk]:
        match verb:
            case "say" | "think" | "refuse":
                text = msgspec.json.decode(rest, type=str) if rest.startswith('"') else rest
                pieces = re.findall(r"\s*\S+\s*$|\s*\S+|\s+$", text)
                return [_SPOKEN[verb](piece) for piece in pieces]
            case "cite":
                url, _, title = rest.partition(" ")
                return [CitationsPiece((Citation(url=url, title=title),))]
            case "call":
                name, _, arguments = rest.partition(" ")
                self._calls += 1
                opening = CallPiece(index=self._calls, id=f"call_{self._calls}", name=name)
                return [opening, CallPiece(index=self._calls, arguments=arguments)]
            case "usage":
                tokens = [int(count) for count in rest.split()]
                return [UsagePiece(Usage(input_tokens=tokens[0], output_tokens=tokens[1]))]
            case "":
                return []
            case _:
                raise errors.Internal(f"A script cannot say {verb!r}.")


_SPOKEN: Mapping[str, type[TextPiece | ReasoningPiece | RefusalPiece]] = {
    "say": TextPiece,
    "think": ReasoningPiece,
    "refuse": RefusalPiece,
}


# Recorded streams, replayed through the parser of live ones.


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

    async def stream(
        self, request: ModelRequest, take_now: TakeNow = take_none
    ) -> AsyncGenerator[Sequence[Chunk], None]:
        """Stream the recording as if a server sent it."""
        recording = self._recordings.get(request.model)
        if recording is None:
            raise errors.ProviderRejected(f"There is no recording {request.model!r}.")
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
