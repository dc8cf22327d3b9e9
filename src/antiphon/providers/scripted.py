"""Provider that follows a script: tests state exactly which chunks come, and when.

```
think Let me look.            reasoning, one piece per word
refuse I will not.            a refusal, one piece per word
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
    UsagePiece,
)
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

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Sequence[Chunk], None]:
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
                return [UsagePiece(Usage(input_tokens=tokens[0], output_tokens=tokens[1]))]
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
