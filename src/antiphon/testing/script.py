"""A model that answers by a script, reached by name from any runtime of this process."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from antiphon.ports import TakeNow, take_none
from antiphon.providers.scripted import ReplayProvider, ScriptedProvider
from antiphon.settings.settings import Settings
from antiphon.types.chunks import Chunk, ModelRequest
from antiphon.types.errors import ProviderError, ProviderRejected

PROVIDER = "scripted"
_scripts: WeakValueDictionary[str, Script] = WeakValueDictionary()
_numbers = count(1)


class Script:
    """Replies of a model, played in order: one for each time that it is asked.

    `model` is its name for runs. `requests` are the requests so far, oldest first. A model that is
    asked more often than there are replies fails the run with `provider_rejected`. Nothing is
    played twice, so conversations that go on at the same time share the replies.
    """

    def __init__(self) -> None:
        name = f"script-{next(_numbers)}"
        self.model = f"{PROVIDER}:{name}"
        self.requests: list[ModelRequest] = []
        self._replies: deque[ScriptedProvider | ReplayProvider] = deque()
        _scripts[name] = self

    def reply(
        self,
        text: str = "",
        *,
        reasoning: str = "",
        finish: str | None = None,
        tokens: tuple[int, int] | None = None,
        citations: Iterable[tuple[str, str]] = (),
    ) -> Script:
        """Add a reply of text; `tokens` are those of the input and the output.

        `finish` is the reason of its end, such as `length`; by default it is complete. `citations`
        are addresses and titles of pages that it cites.
        """
        lines = [
            *([f"think {_quote(reasoning)}"] if reasoning else []),
            *([f"say {_quote(text)}"] if text else []),
            *(f"cite {url} {title}" for url, title in citations),
            *([f"usage {tokens[0]} {tokens[1]}"] if tokens else []),
            *([f"finish {finish}"] if finish else []),
        ]
        return self._add(lines)

    def call(self, name: str, /, **arguments: Any) -> Script:
        """Add a reply that calls one tool."""
        return self.calls((name, arguments))

    def calls(self, *calls: tuple[str, Mapping[str, Any]], text: str = "") -> Script:
        """Add a reply that calls several tools, each a name with its arguments, after some text."""
        lines = [f"say {_quote(text)}"] if text else []
        lines += [f"call {name} {msgspec.json.encode(given).decode()}" for name, given in calls]
        return self._add(lines)

    def fail(self, code: str = "provider_unavailable", message: str = "It failed.") -> Script:
        """Add a failure of the provider. Raises `ValueError` for a code that providers have not."""
        codes = [kind.code for kind in ProviderError.__subclasses__()]
        if code not in codes:
            raise ValueError(f"{code!r} is no code of a provider's error: {', '.join(codes)}.")
        return self._add([f"fail {code} {' '.join(message.split())}"])

    def cut(self, text: str = "") -> Script:
        """Add a reply whose connection breaks off after this text."""
        return self._add([*([f"say {_quote(text)}"] if text else []), "cut"])

    def replay(self, recording: str | Path | bytes) -> Script:
        """Add a recorded reply of a server with OpenAI's chat-completions API.

        `recording` is a file with its server-sent events, or with one JSON payload on each line, or
        the content of such a file.
        """
        content = recording if isinstance(recording, bytes) else Path(recording).read_bytes()
        self._replies.append(ReplayProvider({"": content}))
        return self

    def settings(self, **others: Any) -> Settings:
        """Return settings for a client with this model, whose database is in memory."""
        own = Settings(model=self.model, database="memory:")
        return msgspec.structs.replace(own, **others)

    @property
    def remaining(self) -> int:
        """Number of replies that were not played yet."""
        return len(self._replies)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Messages of the last request, as chat completions has them. Raises `IndexError`."""
        return self.requests[-1].decode_messages()

    def _add(self, lines: Sequence[str]) -> Script:
        self._replies.append(ScriptedProvider("\n".join(lines)))
        return self

    async def stream(
        self, request: ModelRequest, take_now: TakeNow = take_none
    ) -> AsyncGenerator[Sequence[Chunk], None]:
        """Stream the next reply."""
        self.requests.append(request)
        if not self._replies:
            raise ProviderRejected(f"The script has only {len(self.requests) - 1} replies.")
        playing = self._replies.popleft()
        async for chunks in playing.stream(msgspec.structs.replace(request, model="")):
            yield chunks


def _quote(text: str) -> str:
    return msgspec.json.encode(text).decode()


class ScriptProvider:
    """The provider of all scripts of this process, by the names of their models."""

    async def stream(
        self, request: ModelRequest, take_now: TakeNow = take_none
    ) -> AsyncGenerator[Sequence[Chunk], None]:
        """Stream the next reply of the script that the request names as its model."""
        script = _scripts.get(request.model)
        if script is None:
            raise ProviderRejected(
                f"There is no script {request.model!r} in this process.",
                hint="Keep the `Script` as long as its model is used.",
            )
        async for chunks in script.stream(request, take_now):
            yield chunks

    async def models(self) -> Sequence[str]:
        """Return the names of the scripts."""
        return sorted(_scripts)

    async def close(self) -> None:
        """Do nothing."""


def open_scripts(environ: Mapping[str, str]) -> ScriptProvider:
    """Return the provider; called by its entry point."""
    return ScriptProvider()
