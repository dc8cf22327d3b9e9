"""May this call run? Rules say, or what a person allowed before, or the person is asked now.

A consent holds for one call of one run with these very arguments. What is allowed for longer is
bound to the tool as it was then: a server that changes a description or a schema is asked about
again, and the person sees what changed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from fnmatch import fnmatchcase
from typing import Literal, Protocol

import msgspec
from msgspec.structs import replace

from antiphon.messages import Hints, Tool, ToolCall, ToolResult, ToolSpec

Verdict = Literal["allow", "ask", "deny"]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Patterns of tool names, by which calls are decided before anybody is asked.

    A pattern is `fnmatch`'s, and meant for a whole name as the model uses it: `get_*`, `git__*`,
    `git__status`. `git:status`, with the server's own names, does as well. `deny` beats `ask`,
    which beats `allow`; what a person allowed for longer beats `ask`, as it answered it.
    """

    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def verdict(self, tool: Tool) -> Verdict | None:
        """What the rules say of this tool, None where they say nothing."""
        if _named(tool, self.deny):
            return "deny"
        if _named(tool, self.ask):
            return "ask"
        return "allow" if _named(tool, self.allow) else None


NO_RULES = Rules()


def by_default(tool: Tool) -> Verdict:
    """What holds where no rule speaks: the program's own functions run, other tools ask.

    A server's word that a tool only reads is believed where the server is trusted.
    """
    harmless = tool.trusted and tool.hints.read_only and not tool.hints.destructive
    return "allow" if tool.server is None or harmless else "ask"


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
        """A digest of all of it."""
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


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is asked: may this very call run?

    `digest` names run, call, tool and arguments in one word; an answer from elsewhere must repeat
    it. `before` is the tool as it was allowed once, where it has changed since. `others` are the
    tools of the same server that an answer for the server would allow as well.
    """

    run_id: str
    call: ToolCall
    tool: Tool
    digest: str
    before: Shape | None = None
    others: tuple[Tool, ...] = ()


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


Asker = Callable[[Question], Awaitable[Answer]]
"""Shows the question to a person; may take as long as the person does."""


class Grants(Protocol):
    """What was allowed for good, as `tools/grants` keeps it in a file."""

    def known(self, server: str, own_name: str) -> Shape | None:
        """The tool as it was allowed, None where it was not."""
        ...

    def add(self, shapes: Sequence[Shape]) -> None:
        """Allow these from now on."""
        ...


class Forgetful:
    """Grants that last as long as the program."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[str, str], Shape] = {}

    def known(self, server: str, own_name: str) -> Shape | None:
        """The tool as it was allowed, None where it was not."""
        return self._shapes.get((server, own_name))

    def add(self, shapes: Sequence[Shape]) -> None:
        """Allow these until the program ends."""
        self._shapes.update({(each.server, each.own_name): each for each in shapes})


class Permitted(msgspec.Struct, frozen=True):
    """The call may run, as it is here; `edited` says that a person changed its arguments."""

    call: ToolCall
    edited: bool = False


class Consent:
    """Decides about every call before it runs; questions to the person come one at a time.

    Without an `asker`, what would have to be asked is refused.
    """

    def __init__(
        self,
        rules: Rules = NO_RULES,
        *,
        grants: Grants | None = None,
        asker: Asker | None = None,
    ) -> None:
        self._rules = rules
        self._session = Forgetful()
        self._grants = grants or Forgetful()
        self._asker = asker
        self._one_at_a_time = asyncio.Lock()

    def verdict(self, tool: Tool) -> Verdict:
        """What would happen to a call of this tool just now: a denial stands above all grants."""
        said = self._rules.verdict(tool)
        if said != "deny" and self._granted(tool):
            return "allow"
        return said or by_default(tool)

    async def permit(
        self, run_id: str, call: ToolCall, tools: Callable[[], Sequence[Tool]]
    ) -> Permitted | ToolResult:
        """The call as it may run, or the refusal as the model is told it; `tools` are those of now.

        A tool that changes while the person reads is asked about once more.
        """
        if (decided := self._decided(call, tools())) is not None:
            return decided
        async with self._one_at_a_time:
            while True:
                offered = tools()
                # The answer to the question before this one may have been for this call too.
                if (decided := self._decided(call, offered)) is not None:
                    return decided
                answer = await self._answer(self._question(run_id, call, offered))
                tool = named(call.name, offered)
                if not answer.allowed:
                    return _refused("The user refused this call." + _words(answer.word))
                if shape(named(call.name, tools())) == shape(tool):
                    self._keep(answer, tool, offered)
                    return _as_answered(call, answer)

    def _decided(self, call: ToolCall, offered: Sequence[Tool]) -> Permitted | ToolResult | None:
        """What is clear without a person; None where one must be asked."""
        match self.verdict(named(call.name, offered)):
            case "allow":
                return Permitted(call)
            case "deny":
                return _refused(f"The settings here do not allow {call.name}. Do not try it again.")
            case "ask" if self._asker is None:
                return _refused(
                    f"{call.name} needs a person's consent, and there is nobody to be asked."
                )
            case "ask":
                return None

    async def _answer(self, question: Question) -> Answer:
        return await self._asker(question) if self._asker else Answer()

    def _question(self, run_id: str, call: ToolCall, offered: Sequence[Tool]) -> Question:
        tool = named(call.name, offered)
        now = shape(tool)
        before = self._grants.known(now.server, now.own_name)
        return Question(
            run_id=run_id,
            call=call,
            tool=tool,
            digest=_digest(run_id, call, now),
            before=before if before != now else None,
            others=tuple(each for each in offered if _beside(tool, each)),
        )

    def _keep(self, answer: Answer, tool: Tool, offered: Sequence[Tool]) -> None:
        if answer.keep == "once":
            return
        whole_server = answer.scope == "server" and tool.server is not None
        meant = [each for each in offered if each.server == tool.server] if whole_server else [tool]
        kept = self._session if answer.keep == "session" else self._grants
        kept.add([shape(each) for each in meant])

    def _granted(self, tool: Tool) -> bool:
        now = shape(tool)
        return now in (
            self._session.known(now.server, now.own_name),
            self._grants.known(now.server, now.own_name),
        )


def named(name: str, tools: Sequence[Tool]) -> Tool:
    """The tool of this name; one that nobody knows is the program's own to answer for."""
    for tool in tools:
        if tool.spec.name == name:
            return tool
    return Tool(spec=ToolSpec(name))


def _beside(tool: Tool, other: Tool) -> bool:
    return tool.server == other.server and tool.spec.name != other.spec.name


def _as_answered(call: ToolCall, answer: Answer) -> Permitted | ToolResult:
    if answer.arguments is None or answer.arguments == call.arguments:
        return Permitted(call)
    try:
        msgspec.json.decode(answer.arguments, type=dict[str, object])
    except msgspec.DecodeError as error:
        return _refused(f"The user changed the arguments to what is no JSON object: {error}.")
    return Permitted(replace(call, arguments=answer.arguments), edited=True)


def _named(tool: Tool, patterns: Sequence[str]) -> bool:
    names = [tool.spec.name]
    if tool.server is not None:
        names += [f"{tool.server}{mark}{tool.own_name}" for mark in ("__", ":")]
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _digest(run_id: str, call: ToolCall, now: Shape) -> str:
    said = msgspec.json.encode((run_id, call.id, call.name, call.arguments, now.fingerprint))
    return hashlib.sha256(said).hexdigest()


def _refused(why: str) -> ToolResult:
    return ToolResult(why, is_error=True, fault="refused")


def _words(word: str) -> str:
    return f" They said: {word}" if word.strip() else ""
