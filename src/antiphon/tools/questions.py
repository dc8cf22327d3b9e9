"""Questions to a person about a call, and the answers."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, ParamSpec, TypeVar, cast

import msgspec

from antiphon.tools.deadlines import run_in_daemon_thread
from antiphon.types.errors import AntiphonError
from antiphon.types.messages import Hints, Tool, ToolCall

P = ParamSpec("P")
T = TypeVar("T")


class ToolIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that identifies a tool to a person: if any of it changes, it is another tool."""

    server: str
    origin: str
    own_name: str
    description: str
    parameters: dict[str, object]
    hints: Hints

    @property
    def fingerprint(self) -> str:
        """Digest of all fields; unlike `==`, it distinguishes 1 from true."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


def tool_identity(tool: Tool) -> ToolIdentity:
    """Return the identity of this tool."""
    return ToolIdentity(
        server=tool.server or "",
        origin=tool.origin,
        own_name=tool.own_name or tool.spec.name,
        description=tool.spec.description,
        parameters=tool.spec.parameters,
        hints=tool.hints,
    )


class ModelServer(msgspec.Struct, frozen=True):
    """Model server that a call comes from.

    `provider` is the part of the model's name before the colon, or "". `address` is the origin
    (scheme, host and port) of the provider, or of an Antiphon server in front of it; "" if only the
    provider's library knows it.
    """

    provider: str
    address: str = ""

    def __str__(self) -> str:
        """Return the name for a person, not cleaned for printing."""
        if self.provider and self.address:
            return f"{self.provider} at {self.address}"
        return self.provider or self.address or "a program of its own"


UNBOUND = ModelServer("")
"""Placeholder for the calls of a program without a client, whose model server is unknown."""
AskedBy = Callable[[str], Awaitable[ModelServer | None]]
"""Returns the model server of a run, by the run's id; None if it cannot be determined."""


def command_line(tool: Tool, arguments: str) -> str:
    """Return the command line that a call would start, "" if the tool starts none."""
    if tool.command is None:
        return ""
    try:
        return tool.command(arguments)
    except AntiphonError as error:
        return f"(nothing: {error.message})"


class ToolGrant(ToolIdentity, frozen=True, kw_only=True):
    """Lasting grant of a tool for calls of one model server.

    A grant without `asked_by` comes from a version that did not distinguish model servers, and is
    ignored.
    """

    asked_by: ModelServer | None = None

    @classmethod
    def of(cls, tool: ToolIdentity, by: ModelServer) -> ToolGrant:
        """Return the grant of this tool to that model server."""
        return cls(
            **{name: getattr(tool, name) for name in ToolIdentity.__struct_fields__}, asked_by=by
        )

    @property
    def tool(self) -> ToolIdentity:
        """The tool alone, without the model server."""
        return ToolIdentity(
            **{name: getattr(self, name) for name in ToolIdentity.__struct_fields__}
        )

    @property
    def fingerprint(self) -> str:
        """Digest of the tool alone."""
        return self.tool.fingerprint


class ConsentRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Question to a person: may this call run?

    `digest` covers run, call, tool and arguments; an answer given elsewhere must repeat it.
    `before` is the tool as it was granted, if it changed since. `others` are the tools of the same
    server, which an answer for the server grants too. A lasting answer is bound to the model server
    `asked_by`; `elsewhere` is a sentence if the tool was granted to another model server, or if its
    server replaces one of the user's own. `reason` is why a hook wants this question to be asked,
    "" if no hook does; a call with a reason is asked about each time.
    """

    run_id: str
    call: ToolCall
    tool: Tool
    digest: str
    before: ToolIdentity | None = None
    others: tuple[Tool, ...] = ()
    asked_by: ModelServer | None = UNBOUND
    elsewhere: str = ""
    reason: str = ""

    @property
    def asks_each_time(self) -> bool:
        """True if no answer to this question lasts."""
        return self.tool.asks_each_time or bool(self.reason)


class ConsentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of a person. Every default is a no.

    `keep` is how long a yes lasts, `scope` which tools it covers. A no may carry a `word` to the
    model, a yes other `arguments`, a JSON object that replaces the call's.
    """

    allowed: bool = False
    keep: Literal["once", "session", "always"] = "once"
    scope: Literal["tool", "server"] = "tool"
    word: str = ""
    arguments: str | None = None


Asker = (
    Callable[[ConsentRequest], Awaitable[ConsentAnswer]] | Callable[[ConsentRequest], ConsentAnswer]
)
"""Shows the question to a person, and may take as long as the person does. An asker that is no
coroutine function is called in a thread of its own.
"""


AskUser = (
    Callable[[str, Sequence[str]], Awaitable[str | None]]
    | Callable[[str, Sequence[str]], str | None]
)
"""Asks the user a tool's question, with choices or none; returns None if there is no answer. A
function that is no coroutine function is called in a thread of its own.
"""


def on_the_loop(function: Callable[P, Awaitable[T]] | Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """Return the function if it is async, else one that calls it in a thread of its own."""
    called = function if inspect.isroutine(function) else type(function).__call__
    if inspect.iscoroutinefunction(called):
        return cast("Callable[P, Awaitable[T]]", function)

    async def call(*given: P.args, **named: P.kwargs) -> T:
        value: Any = await run_in_daemon_thread(cast("Callable[P, T]", function), *given, **named)
        if inspect.isawaitable(value):  # it was async after all, such as a lambda that calls one
            value = await value
        return cast("T", value)

    return call


def request_digest(run_id: str, call: ToolCall, now: ToolIdentity) -> str:
    """Return a digest of run, call, tool and arguments."""
    encoded = msgspec.json.encode((run_id, call.id, call.name, call.arguments, now.fingerprint))
    return hashlib.sha256(encoded).hexdigest()
