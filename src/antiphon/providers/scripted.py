"""A model that follows a script: for tests that need to say exactly what comes, and when.

```
think Let me look.            reasoning, a piece to a word
refuse I will not.            a refusal, a piece to a word
say "Two\\nlines"              text; in quotes it is a JSON string
call get_weather {"city": "Oslo"}
wait lunch                    until the test opens that gate
usage 10 5                    tokens in and out
finish length                 the word that ends the reply; by itself it is `tool_calls` or `stop`
fail provider_rate_limited Too many requests.
stall                         nothing more, for ever
cut                           the connection breaks
end                           the stream ends without a word
```
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence

import msgspec

from antiphon.types import errors
from antiphon.types.chunks import (
    CallPiece,
    Chunk,
    Finish,
    ModelRequest,
    ReasoningPiece,
    RefusalPiece,
    TextPiece,
    UsageReport,
)
from antiphon.types.runs import Usage


class ScriptGate:
    """A place in a script: `reached` is set by the model, `opened` by the test."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()


class ScriptedProvider:
    """Plays one script for each time it is asked, in order. `questions` are those it was asked."""

    def __init__(self, *scripts: str) -> None:
        self.questions: list[ModelRequest] = []
        self.gates: defaultdict[str, ScriptGate] = defaultdict(ScriptGate)
        self._scripts = scripts
        self._calls = 0

    async def stream(self, question: ModelRequest) -> AsyncGenerator[Sequence[Chunk], None]:
        """The next script, each line of it as chunks that come together."""
        self.questions.append(question)
        if len(self.questions) > len(self._scripts):
            raise errors.ProviderRejected(f"There are only {len(self._scripts)} scripts.")
        ending = "stop"
        for line in self._scripts[len(self.questions) - 1].strip().splitlines():
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
        """Any name will do; this is the one to show."""
        return ["scripted"]

    async def close(self) -> None:
        """Nothing is held."""

    def _chunks(self, verb: str, rest: str) -> Sequence[Chunk]:
        match verb:
            case "say":
                return [TextPiece(piece) for piece in _pieces(rest)]
            case "think":
                return [ReasoningPiece(piece) for piece in _pieces(rest)]
            case "refuse":
                return [RefusalPiece(piece) for piece in _pieces(rest)]
            case "call":
                return self._call_chunks(*rest.partition(" ")[::2])
            case "usage":
                tokens = [int(count) for count in rest.split()]
                return [UsageReport(Usage(input_tokens=tokens[0], output_tokens=tokens[1]))]
            case "":
                return []
            case _:
                raise errors.Internal(f"A script cannot say {verb!r}.")

    def _call_chunks(self, name: str, arguments: str) -> Sequence[Chunk]:
        self._calls += 1
        number = self._calls
        opening = CallPiece(index=number, id=f"call_{number}", name=name)
        return [opening, CallPiece(index=number, arguments=arguments)]


def _pieces(text: str) -> list[str]:
    said = msgspec.json.decode(text, type=str) if text.startswith('"') else text
    return re.findall(r"\s*\S+\s*$|\s*\S+|\s+$", said)
