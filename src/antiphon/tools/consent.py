"""May this call run? Rules say, or what a person allowed before, or the person is asked now.

A consent holds for one call of one run with these very arguments. What is allowed for longer is
bound to the tool as it was then, and to the model server whose call it was: a server that changes
a description or a schema is asked about again, and the person sees what changed; so is a call that
another model makes.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Literal, Protocol, cast

import msgspec
from msgspec.structs import replace

from antiphon.tools.blocking import in_thread
from antiphon.tools.permissions import NO_RULES, Rules, Verdict, by_default
from antiphon.tools.questions import (
    UNBOUND,
    Answer,
    AskedBy,
    Asker,
    Grant,
    ModelServer,
    Question,
    Shape,
    digest,
    shape,
)
from antiphon.tools.tool_events import ConsentAsked, ConsentRefused, Watch, unwatched
from antiphon.types.errors import BadSettings
from antiphon.types.events import PendingAction
from antiphon.types.messages import Tool, ToolCall, ToolResult, ToolSpec
from antiphon.types.runs import Approval

Tools = Callable[[], Sequence[Tool]]
"""The tools that are there just now."""


class Grants(Protocol):
    """What was allowed for longer than one call; `tools/grants` keeps it in a file."""

    def known(self, server: str, own_name: str, by: ModelServer = UNBOUND) -> Grant | None:
        """The tool as it was allowed for calls of this model server, None where it was not."""
        ...

    def add(self, shapes: Sequence[Shape], by: ModelServer = UNBOUND) -> None:
        """Allow these from now on, for calls of this model server.

        Raises `BadSettings` where that cannot be kept.
        """
        ...

    def all(self) -> Sequence[Grant]:
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
        self._grants: dict[tuple[str, str, ModelServer], Grant] = {}

    def known(self, server: str, own_name: str, by: ModelServer = UNBOUND) -> Grant | None:
        """The tool as it was allowed for calls of this model server, None where it was not."""
        return self._grants.get((server, own_name, by))

    def add(self, shapes: Sequence[Shape], by: ModelServer = UNBOUND) -> None:
        """Allow these until the program ends, for calls of this model server."""
        for each in shapes:
            self._grants[each.server, each.own_name, by] = Grant.of(each, by)

    def all(self) -> Sequence[Grant]:
        """Everything that is allowed, in the order in which it was."""
        return tuple(self._grants.values())

    def revoke(self, server: str, own_name: str | None = None) -> int:
        """Ask again for this tool, or for every tool of the server; returns how many it was."""
        gone = [each for each in self._grants if each[0] == server and own_name in (None, each[1])]
        for each in gone:
            del self._grants[each]
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

    def verdict(self, tool: Tool, by: ModelServer | None = UNBOUND) -> Verdict:
        """Return what would happen now to a call of this tool by that model server.

        A denial stands above all grants; where the model server is not known, none counts.
        """
        said = self._by_rules(tool)
        return "allow" if said == "ask" and self._granted(tool, by) else said

    async def permit(
        self,
        run_id: str,
        call: ToolCall,
        tools: Tools,
        watch: Watch = unwatched,
        asked_by: AskedBy | None = None,
    ) -> Permitted | Refused:
        """The call as it may run, or the refusal; `tools` gives those that are there just now.

        A tool that changes while the person reads is asked about once more. `asked_by` tells the
        model server of the run, and is asked where the rules leave the call to a person.
        """
        by: ModelServer | None = UNBOUND
        if asked_by is not None:
            asks = self._by_rules(named(call.name, tools())) == "ask"
            by = await asked_by(run_id) if asks else None
        if (decided := self._decided(call, tools(), watch, by)) is not None:
            return decided
        self._waiting, self._came = self._waiting + 1, self._came + 1
        try:
            return await self._in_turn(run_id, call, tools, watch, by)
        finally:
            self._waiting -= 1
            self._came = self._came if self._waiting else 0

    async def _in_turn(
        self, run_id: str, call: ToolCall, tools: Tools, watch: Watch, by: ModelServer | None
    ) -> Permitted | Refused:
        """The same, once those that wait before it have been asked about."""
        approved: Shape | None = None
        async with self._turn:
            while True:
                offered = tools()
                # The answer to the question before this one may have been for this call too.
                if (decided := self._decided(call, offered, watch, by)) is not None:
                    return decided
                question = self._question(run_id, call, offered, approved, by)
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
        self, call: ToolCall, offered: Sequence[Tool], watch: Watch, by: ModelServer | None
    ) -> Permitted | Refused | None:
        """What is clear without a person; None where one must be asked."""
        tool = named(call.name, offered)
        match self.verdict(tool, by):
            case "allow":
                return Permitted(call, shape(tool).fingerprint)
            case "deny":
                said = f"The settings here do not allow {call.name}. Do not try it again."
                return _refused(said, call, "rule", watch)
            case "ask" if self._ask is None:
                if elsewhere := self._elsewhere(shape(tool), by):
                    self._warn(elsewhere)
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
        self,
        run_id: str,
        call: ToolCall,
        offered: Sequence[Tool],
        approved: Shape | None,
        by: ModelServer | None,
    ) -> Question:
        tool = named(call.name, offered)
        now = shape(tool)
        known = next(self._known(now, by), None)
        before = approved or (known.shape if known else None)
        return Question(
            run_id=run_id,
            call=call,
            tool=tool,
            digest=digest(run_id, call, now),
            before=before,
            others=tuple(each for each in offered if _beside(tool, each)),
            asked_by=by,
            elsewhere="" if before else self._elsewhere(now, by),
        )

    async def _keep(self, answer: Answer, question: Question) -> None:
        """Allow what the person saw: a tool that has changed since is another."""
        if answer.keep == "once":
            return
        if (by := question.asked_by) is None:
            self._warn("It is allowed this once: which model server asks could not be learned.")
            return
        others = question.others if answer.scope == "server" else ()
        shapes = [shape(each) for each in (question.tool, *others)]
        if answer.keep == "session" or not await self._kept_for_good(shapes, by):
            self.session.add(shapes, by)

    async def _kept_for_good(self, shapes: Sequence[Shape], by: ModelServer) -> bool:
        try:
            # In a thread: another program may be writing its grants.
            await in_thread(self.grants.add, shapes, by)
        except BadSettings as error:
            self._warn(f"It is allowed for this session only. {error.message}")
            return False
        return True

    def _by_rules(self, tool: Tool) -> Verdict:
        return self.rules.verdict(tool) or by_default(tool)

    def _granted(self, tool: Tool, by: ModelServer | None) -> bool:
        now = shape(tool)
        return any(_same(now, known) for known in self._known(now, by))

    def _known(self, now: Shape, by: ModelServer | None) -> Iterator[Grant]:
        """This tool as it was allowed for calls of this model server."""
        if by is not None:
            for kept in (self.session, self.grants):
                if (known := kept.known(now.server, now.own_name, by)) is not None:
                    yield known

    def _elsewhere(self, now: Shape, by: ModelServer | None) -> str:
        """That the same tool was allowed for another model server; "" where it was not."""
        for each in (*self.session.all(), *self.grants.all()):
            if (each.server, each.own_name) == (now.server, now.own_name) and _same(now, each):
                whom = "whichever model asks" if each.asked_by is None else str(each.asked_by)
                who = "another one" if by is None else str(by)
                return f"You have allowed {now.own_name} for {whom}; now {who} asks."
        return ""


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


# What is submitted of a call that the other side would run: a yes, or the reason for a no.


def foreign(action: PendingAction) -> Tool:
    """The tool that this call is of, as far as it is known here."""
    server = action.server or ""
    return Tool(
        spec=ToolSpec(action.name),
        server=server,
        own_name=action.name.removeprefix(f"{server}__"),
        origin=action.tool_digest or action.action_id,
    )


def said(decided: Permitted | Refused) -> ToolResult:
    """The decision, as the output that such a call waits for."""
    match decided:
        case Refused(result):
            approval = Approval(approve=False, reason=result.output)
        case Permitted(call, edited=True):
            wish = f"The user wants it called with other arguments: {call.arguments}"
            approval = Approval(approve=False, reason=wish)
        case Permitted():
            approval = Approval(approve=True)
    return ToolResult(msgspec.json.encode(approval).decode(), is_error=not approval.approve)
