"""What a person is asked about a call, and what they may answer."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from antiphon.types.messages import Hints, Tool, ToolCall


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as a person allowed it: if anything of this changes, it is another tool."""

    server: str
    origin: str
    own_name: str
    description: str
    parameters: dict[str, object]
    hints: Hints

    @property
    def fingerprint(self) -> str:
        """A digest of all of it; what `==` takes for equal, such as 1 and true, differs here."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


def shape(tool: Tool) -> Shape:
    """The shape that this tool has now."""
    return Shape(
        server=tool.server or "",
        origin=tool.origin,
        own_name=tool.own_name or tool.spec.name,
        description=tool.spec.description,
        parameters=tool.spec.parameters,
        hints=tool.hints,
    )


class ModelServer(msgspec.Struct, frozen=True):
    """Model server that a call comes from.

    `provider` is the part of the model's name before the colon, "" where there is none. `address`
    is the origin (scheme, host and port) of what is asked: the provider's, or of an Antiphon server
    in front of it; "" where the provider's library knows it.
    """

    provider: str
    address: str = ""

    def __str__(self) -> str:
        """Name it for a person; raw, so it is to be cleaned before it is printed."""
        if self.provider and self.address:
            return f"{self.provider} at {self.address}"
        return self.provider or self.address or "a program of its own"


UNBOUND = ModelServer("")
"""Where a program runs calls by itself, without a client that knows who asks."""
AskedBy = Callable[[str], Awaitable[ModelServer | None]]
"""The model server of a run, by the run's id; None where that cannot be learned."""


class Grant(Shape, frozen=True, kw_only=True):
    """A tool as a person allowed it for longer, for calls of one model server.

    Without `asked_by` it was allowed by a version that did not tell model servers apart; it counts
    for none.
    """

    asked_by: ModelServer | None = None

    @classmethod
    def of(cls, shape: Shape, by: ModelServer) -> Grant:
        """Return the grant of this tool to that model server."""
        return cls(**{name: getattr(shape, name) for name in Shape.__struct_fields__}, asked_by=by)

    @property
    def shape(self) -> Shape:
        """The tool alone."""
        return Shape(**{name: getattr(self, name) for name in Shape.__struct_fields__})

    @property
    def fingerprint(self) -> str:
        """The digest of the tool alone."""
        return self.shape.fingerprint


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is asked: may this very call run?

    `digest` names run, call, tool and arguments in one word; an answer from elsewhere must repeat
    it. `before` is the tool as it was allowed once, where it has changed since. `others` are the
    tools of the same server that an answer for the server would allow as well. `asked_by` is the
    model server that an answer for longer is bound to; `elsewhere` says, in a sentence, that the
    tool was allowed for another.
    """

    run_id: str
    call: ToolCall
    tool: Tool
    digest: str
    before: Shape | None = None
    others: tuple[Tool, ...] = ()
    asked_by: ModelServer | None = UNBOUND
    elsewhere: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a person said. No is the default in everything.

    `keep` says for how long a yes holds, `scope` for which tools. A no may come with a `word` to
    the model, a yes with other `arguments`: one JSON object, which is what runs.
    """

    allowed: bool = False
    keep: Literal["once", "session", "always"] = "once"
    scope: Literal["tool", "server"] = "tool"
    word: str = ""
    arguments: str | None = None


Asker = Callable[[Question], Awaitable[Answer]] | Callable[[Question], Answer]
"""Shows the question to a person; may take as long as the person does. One that is no coroutine
function is called in a thread of its own.
"""


def digest(run_id: str, call: ToolCall, now: Shape) -> str:
    """Run, call, tool and arguments in one word."""
    said = msgspec.json.encode((run_id, call.id, call.name, call.arguments, now.fingerprint))
    return hashlib.sha256(said).hexdigest()
