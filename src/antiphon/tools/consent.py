"""May this call run? Rules say, or what a person allowed before, or the person is asked now.

A consent holds for one call of one run with these very arguments. What is allowed for longer is
bound to the tool as it was then: a server that changes a description or a schema is asked about
again, and the person sees what changed.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import Literal, Protocol, cast

import msgspec
from msgspec.structs import replace

from antiphon.errors import BadSettings
from antiphon.messages import Tool, ToolCall, ToolResult, ToolSpec
from antiphon.tools.happenings import ConsentAsked, ConsentRefused, Watch, unwatched
from antiphon.tools.questions import Answer, Asker, Question, Shape, digest, shape
from antiphon.tools.rules import NO_RULES, Rules, Verdict, by_default
from antiphon.tools.threads import in_thread

Tools = Callable[[], Sequence[Tool]]
"""The tools that are there just now."""


class Grants(Protocol):
    """What was allowed for longer than one call; `tools/grants` keeps it in a file."""

    def known(self, server: str, own_name: str) -> Shape | None:
        """The tool as it was allowed, None where it was not."""
        ...

    def add(self, shapes: Sequence[Shape]) -> None:
        """Allow these from now on. Raises `BadSettings` where that cannot be kept."""
        ...

    def all(self) -> Sequence[Shape]:
        """Everything that is allowed, in the order in which it was."""
        ...

    def revoke(self, server: str, own_name: str | None = None) -> int:
        """Ask again for this tool, or for every tool of the server; returns how many it was.

        Raises `BadSettings` where that cannot be kept.
        """
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

    def all(self) -> Sequence[Shape]:
        """Everything that is allowed, in the order in which it was."""
        return tuple(self._shapes.values())

    def revoke(self, server: str, own_name: str | None = None) -> int:
        """Ask again for this tool, or for every tool of the server; returns how many it was."""
        gone = [each for each in self._shapes if each[0] == server and own_name in (None, each[1])]
        for each in gone:
            del self._shapes[each]
        return len(gone)


class Permitted(msgspec.Struct, frozen=True):
    """The call may run, as it is here, while its tool has this fingerprint.

    `edited` says that a person changed its arguments.
    """

    call: ToolCall
    fingerprint: str
    edited: bool = False

    def holds(self, tools: Sequence[Tool]) -> bool:
        """Whether the tool is still the one that was permitted."""
        return shape(named(self.call.name, tools)).fingerprint == self.fingerprint


class Refused(msgspec.Struct, frozen=True):
    """The call may not run; the model is told so by this result."""

    result: ToolResult


class Consent:
    """Decides about every call before it runs; questions to the person come one at a time, or
    `together` where the asker can show several.

    Without an `asker`, what would have to be asked is refused. `grants` keep what is allowed
    always; without them it holds for the session. `warn` is told, in a sentence, of a grant that
    could not be kept and of a question that could not be put. `session` is what a person allowed
    until the program ends. One consent serves one loop.
    """

    def __init__(
        self,
        rules: Rules = NO_RULES,
        *,
        session: Forgetful | None = None,
        grants: Grants | None = None,
        asker: Asker | None = None,
        warn: Callable[[str], None] | None = None,
        together: bool = False,
    ) -> None:
        self.rules = rules
        self.session = Forgetful() if session is None else session
        self.grants = grants or Forgetful()
        self._ask = None if asker is None else _on_the_loop(asker)
        self._warn = warn or _unsaid
        self._turn = nullcontext() if together else asyncio.Lock()
        self._waiting = self._came = 0

    @property
    def place(self) -> tuple[int, int]:
        """Which of how many the call is that is asked about: of those that came as one waited."""
        return self._came - self._waiting + 1, self._came

    def verdict(self, tool: Tool) -> Verdict:
        """What would happen to a call of this tool just now: a denial stands above all grants."""
        said = self.rules.verdict(tool) or by_default(tool)
        return "allow" if said == "ask" and self._granted(tool) else said

    async def permit(
        self, run_id: str, call: ToolCall, tools: Tools, watch: Watch = unwatched
    ) -> Permitted | Refused:
        """The call as it may run, or the refusal; `tools` gives those that are there just now.

        A tool that changes while the person reads is asked about once more.
        """
        if (decided := self._decided(call, tools(), watch)) is not None:
            return decided
        self._waiting, self._came = self._waiting + 1, self._came + 1
        try:
            return await self._in_turn(run_id, call, tools, watch)
        finally:
            self._waiting -= 1
            self._came = self._came if self._waiting else 0

    async def _in_turn(
        self, run_id: str, call: ToolCall, tools: Tools, watch: Watch
    ) -> Permitted | Refused:
        """The same, once those that wait before it have been asked about."""
        approved: Shape | None = None
        async with self._turn:
            while True:
                offered = tools()
                # The answer to the question before this one may have been for this call too.
                if (decided := self._decided(call, offered, watch)) is not None:
                    return decided
                question = self._question(run_id, call, offered, approved)
                watch(ConsentAsked(question))
                answer = await self._answered(question)
                if answer is None:
                    return _refused("The user could not be asked.", call, "nobody", watch)
                if not answer.allowed:
                    said = "The user refused this call." + _words(answer.word)
                    return _refused(said, call, "person", watch)
                approved = shape(question.tool)
                if _same(shape(named(call.name, tools())), approved):
                    await self._keep(answer, question)
                    return _as_answered(question, answer, watch)

    def _decided(
        self, call: ToolCall, offered: Sequence[Tool], watch: Watch
    ) -> Permitted | Refused | None:
        """What is clear without a person; None where one must be asked."""
        tool = named(call.name, offered)
        match self.verdict(tool):
            case "allow":
                return Permitted(call, shape(tool).fingerprint)
            case "deny":
                said = f"The settings here do not allow {call.name}. Do not try it again."
                return _refused(said, call, "rule", watch)
            case "ask" if self._ask is None:
                said = f"{call.name} needs a person's consent, and there is nobody to be asked."
                return _refused(said, call, "nobody", watch)
            case "ask":
                return None

    async def _answered(self, question: Question) -> Answer | None:
        """What the person said; None where the question did not reach them."""
        if self._ask is None:
            return None
        try:
            return await self._ask(question)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a wall to what shows the question
            self._warn(f"{question.call.name} could not be asked about: {error!r}")
            return None

    def _question(
        self, run_id: str, call: ToolCall, offered: Sequence[Tool], approved: Shape | None
    ) -> Question:
        tool = named(call.name, offered)
        now = shape(tool)
        before = (
            approved
            or self.session.known(now.server, now.own_name)
            or self.grants.known(now.server, now.own_name)
        )
        return Question(
            run_id=run_id,
            call=call,
            tool=tool,
            digest=digest(run_id, call, now),
            before=before,
            others=tuple(each for each in offered if _beside(tool, each)),
        )

    async def _keep(self, answer: Answer, question: Question) -> None:
        """Allow what the person saw: a tool that has changed since is another."""
        if answer.keep == "once":
            return
        others = question.others if answer.scope == "server" else ()
        shapes = [shape(each) for each in (question.tool, *others)]
        if answer.keep == "session" or not await self._kept_for_good(shapes):
            self.session.add(shapes)

    async def _kept_for_good(self, shapes: Sequence[Shape]) -> bool:
        try:
            # In a thread: another program may be writing its grants.
            await in_thread(self.grants.add, shapes)
        except BadSettings as error:
            self._warn(f"It is allowed for this session only. {error.message}")
            return False
        return True

    def _granted(self, tool: Tool) -> bool:
        now = shape(tool)
        place = (now.server, now.own_name)
        return _same(now, self.session.known(*place)) or _same(now, self.grants.known(*place))


def named(name: str, tools: Sequence[Tool]) -> Tool:
    """The tool of this name; one that nobody knows is the program's own to answer for."""
    for tool in tools:
        if tool.spec.name == name:
            return tool
    return Tool(spec=ToolSpec(name))


def _same(now: Shape, known: Shape | None) -> bool:
    return known is not None and known.fingerprint == now.fingerprint


def _beside(tool: Tool, other: Tool) -> bool:
    same_server = tool.server is not None and tool.server == other.server
    return same_server and tool.spec.name != other.spec.name


def _on_the_loop(asker: Asker) -> Callable[[Question], Awaitable[Answer]]:
    called = asker if inspect.isroutine(asker) else type(asker).__call__
    if inspect.iscoroutinefunction(called):
        return cast("Callable[[Question], Awaitable[Answer]]", asker)
    return lambda question: in_thread(cast("Callable[[Question], Answer]", asker), question)


def _as_answered(question: Question, answer: Answer, watch: Watch) -> Permitted | Refused:
    call, fingerprint = question.call, shape(question.tool).fingerprint
    if answer.arguments is None or answer.arguments == call.arguments:
        return Permitted(call, fingerprint)
    try:
        msgspec.json.decode(answer.arguments, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        said = f"The user changed the arguments to what is no JSON object: {error}."
        return _refused(said, call, "person", watch)
    return Permitted(replace(call, arguments=answer.arguments), fingerprint, edited=True)


def _refused(
    why: str, call: ToolCall, by: Literal["rule", "person", "nobody"], watch: Watch
) -> Refused:
    watch(ConsentRefused(call, by))
    return Refused(ToolResult(why, is_error=True, fault="refused"))


def _words(word: str) -> str:
    return f" They said: {word}" if word.strip() else ""


def _unsaid(text: str) -> None:
    """Warned, says nothing."""
