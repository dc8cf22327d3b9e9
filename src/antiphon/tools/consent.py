"""Decisions about tool calls: by rules, by earlier grants, or by asking a person.

Consent covers one call of one run with exactly these arguments. A longer grant is bound to the tool
as it was then and to the model server that made the call. If an MCP server changes a description or
a schema, the person is asked again and sees the change. The person is asked again, too, if another
model server calls the tool.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Literal, Protocol

import msgspec
from msgspec.structs import replace

from antiphon.tools.deadlines import run_in_daemon_thread
from antiphon.tools.permissions import NO_RULES, Rules, Verdict, default_verdict
from antiphon.tools.questions import (
    UNBOUND,
    AskedBy,
    Asker,
    ConsentAnswer,
    ConsentRequest,
    ModelServer,
    ToolGrant,
    ToolIdentity,
    on_the_loop,
    request_digest,
    tool_identity,
)
from antiphon.tools.tool_events import ConsentAsked, ConsentRefused, OnToolEvent, ignore_event
from antiphon.types.errors import BadSettings
from antiphon.types.events import PendingAction
from antiphon.types.messages import Tool, ToolCall, ToolResult, ToolSpec
from antiphon.types.runs import Approval

Tools = Callable[[], Sequence[Tool]]
"""Returns the tools that are available now."""

log = logging.getLogger(__name__)


class GrantStore(Protocol):
    """Grants that last longer than one call; `GrantsFile` stores them."""

    def find(self, server: str, own_name: str, by: ModelServer = UNBOUND) -> ToolGrant | None:
        """Return the tool as granted for calls of this model server, None if it is not."""
        ...

    def add(self, shapes: Sequence[ToolIdentity], by: ModelServer = UNBOUND) -> None:
        """Grant these tools from now on, for calls of this model server.

        Raises `BadSettings` if this cannot be saved.
        """
        ...

    def all(self) -> Sequence[ToolGrant]:
        """Return all grants, oldest first."""
        ...

    def revoke(self, server: str, own_name: str | None = None) -> int:
        """Revoke the grants of this tool, or of all tools of the server; return their number.

        Raises `BadSettings` if this cannot be saved.
        """
        ...


class SessionGrants:
    """Grants that last as long as the program."""

    def __init__(self) -> None:
        self._grants: dict[tuple[str, str, ModelServer], ToolGrant] = {}

    def find(self, server: str, own_name: str, by: ModelServer = UNBOUND) -> ToolGrant | None:
        """Return the tool as granted for calls of this model server, None if it is not."""
        return self._grants.get((server, own_name, by))

    def add(self, shapes: Sequence[ToolIdentity], by: ModelServer = UNBOUND) -> None:
        """Grant these tools until the program ends, for calls of this model server."""
        for each in shapes:
            self._grants[each.server, each.own_name, by] = ToolGrant.of(each, by)

    def all(self) -> Sequence[ToolGrant]:
        """Return all grants, oldest first."""
        return tuple(self._grants.values())

    def revoke(self, server: str, own_name: str | None = None) -> int:
        """Revoke the grants of this tool, or of all tools of the server; return their number."""
        gone = [each for each in self._grants if each[0] == server and own_name in (None, each[1])]
        for each in gone:
            del self._grants[each]
        return len(gone)


class Approved(msgspec.Struct, frozen=True):
    """Permission to run the call as it is here, while its tool has this fingerprint.

    `edited` is True if a person changed its arguments, `hooked` if a hook did.
    """

    call: ToolCall
    fingerprint: str
    edited: bool = False
    hooked: bool = False

    def covers(self, other: Approved) -> bool:
        """Return whether this is the permission of that call, of the same tool."""
        return self.call == other.call and self.fingerprint == other.fingerprint

    def holds(self, tools: Sequence[Tool]) -> bool:
        """Return whether the tool is still the one that was permitted."""
        return tool_identity(find_tool(self.call.name, tools)).fingerprint == self.fingerprint


class Refused(msgspec.Struct, frozen=True):
    """Refusal of the call; `result` is what the model receives."""

    result: ToolResult


class Consent:
    """Decides about every call before it runs.

    Questions are asked one at a time, or concurrently with `together`, for an asker that can show
    several. Without `asker`, calls that need a question are refused. `grants` stores what is
    allowed always; without it, that lasts for the session. `warn` receives a sentence if a grant
    cannot be saved or a question cannot be asked. `session` holds grants until the program ends.
    Use one `Consent` on one event loop.
    """

    def __init__(
        self,
        rules: Rules = NO_RULES,
        *,
        session: SessionGrants | None = None,
        grants: GrantStore | None = None,
        asker: Asker | None = None,
        warn: Callable[[str], None] | None = None,
        together: bool = False,
    ) -> None:
        self.rules = rules
        self.session = SessionGrants() if session is None else session
        self.grants = grants or SessionGrants()
        self._ask = None if asker is None else on_the_loop(asker)
        self._warn = warn or _ignore_warning
        self._one_at_a_time = nullcontext() if together else asyncio.Lock()
        self._waiting = self._asked = 0

    @property
    def place(self) -> tuple[int, int]:
        """Position of the current question, and the number of questions asked in a row."""
        return self._asked - self._waiting + 1, self._asked

    def verdict(self, tool: Tool, by: ModelServer | None = UNBOUND) -> Verdict:
        """Return the decision about a call of this tool by that model server.

        A denial overrides all grants. If the model server is unknown, no grant counts.
        """
        rule, now = self._find_rule_verdict(tool), tool_identity(tool)
        if tool.asks_each_time:
            return rule
        if rule == "ask" and any(_is_same(now, each) for each in self._matching_grants(now, by)):
            return "allow"
        return rule

    async def permit(
        self,
        run_id: str,
        call: ToolCall,
        tools: Tools,
        watch: OnToolEvent = ignore_event,
        asked_by: AskedBy | None = None,
        reason: str = "",
    ) -> Approved | Refused:
        """Return the permission or the refusal of a call; `tools` returns the available tools.

        If the tool changes while the person reads, they are asked once more. `asked_by` returns the
        model server of the run, and is awaited only if the rules leave the call to a person. With a
        `reason`, a person is asked even if a rule or a grant allows the call.
        """
        by: ModelServer | None = UNBOUND
        if asked_by is not None:
            asks = self._find_rule_verdict(find_tool(call.name, tools())) == "ask"
            by = await asked_by(run_id) if asks else None
        if (decided := self._decide(call, tools(), watch, by, reason)) is not None:
            return decided
        self._waiting, self._asked = self._waiting + 1, self._asked + 1
        try:
            return await self._permit_by_person(run_id, call, tools, watch, by, reason)
        finally:
            self._waiting -= 1
            self._asked = self._asked if self._waiting else 0

    async def _permit_by_person(
        self,
        run_id: str,
        call: ToolCall,
        tools: Tools,
        watch: OnToolEvent,
        by: ModelServer | None,
        reason: str,
    ) -> Approved | Refused:
        """Ask the person about the call, after the questions before it."""
        approved: ToolIdentity | None = None
        async with self._one_at_a_time:
            while True:
                offered = tools()
                # The answer to the previous question may cover this call too.
                if (decided := self._decide(call, offered, watch, by, reason)) is not None:
                    return decided
                question = self._build_question(run_id, call, offered, approved, by, reason)
                watch(ConsentAsked(question))
                answer = await self._ask_person(question)
                if answer is None:
                    return _refuse("The user could not be asked.", call, "nobody", watch)
                if not answer.allowed:
                    why = "The user refused this call."
                    if answer.word.strip():
                        why += f" They said: {answer.word}"
                    return _refuse(why, call, "person", watch)
                approved = tool_identity(question.tool)
                if _is_same(tool_identity(find_tool(call.name, tools())), approved):
                    await self._save_answer(answer, question)
                    return _apply_answer(question, answer, watch)

    def _decide(
        self,
        call: ToolCall,
        offered: Sequence[Tool],
        watch: OnToolEvent,
        by: ModelServer | None,
        reason: str,
    ) -> Approved | Refused | None:
        """Return the decision that needs no person, None if one must be asked."""
        tool = find_tool(call.name, offered)
        match self.verdict(tool, by):
            case "allow" if not reason:
                return Approved(call, tool_identity(tool).fingerprint)
            case "deny":
                return _refuse(self.rules.explain_denial(call.name), call, "rule", watch)
            case "allow" | "ask" if self._ask is None:
                now = tool_identity(tool)
                other_grant = "" if reason else self._describe_other_grant(now, by)
                if other_grant:
                    self._warn(other_grant)
                why = f"{call.name} needs a person's consent, and there is nobody to be asked."
                if reason:
                    why += f" A hook wants a person to decide: {reason}"
                return _refuse(why, call, "nobody", watch, reason)
            case "allow" | "ask":
                return None

    async def _ask_person(self, question: ConsentRequest) -> ConsentAnswer | None:
        """Return the person's answer, None if the question did not reach them."""
        if self._ask is None:
            return None
        try:
            return _check_answer(await self._ask(question))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - raised by the code that asks
            self._warn(f"{question.call.name} could not be asked about: {error!r}")
            log.warning("%s could not be asked about: %r", question.call.name, error)
            return None

    def _build_question(
        self,
        run_id: str,
        call: ToolCall,
        offered: Sequence[Tool],
        approved: ToolIdentity | None,
        by: ModelServer | None,
        reason: str,
    ) -> ConsentRequest:
        tool = find_tool(call.name, offered)
        now = tool_identity(tool)
        known = next(self._matching_grants(now, by), None)
        before = approved or (known.tool if known and not _is_same(now, known) else None)
        return ConsentRequest(
            run_id=run_id,
            call=call,
            tool=tool,
            digest=request_digest(run_id, call, now),
            before=before,
            others=tuple(
                each
                for each in offered
                if not reason
                and tool.server is not None
                and tool.server == each.server
                and tool.spec.name != each.spec.name
            ),
            asked_by=by,
            elsewhere=""
            if before or reason
            else self._describe_other_grant(now, by) or _describe_replacement(tool),
            reason=reason,
        )

    async def _save_answer(self, answer: ConsentAnswer, question: ConsentRequest) -> None:
        """Save the grant for the tool as the person saw it: a change since is not covered."""
        if answer.keep == "once" or question.asks_each_time:
            return
        if (by := question.asked_by) is None:
            self._warn("It is allowed this once: which model server asks could not be learned.")
            return
        others = question.others if answer.scope == "server" else ()
        granted = [tool_identity(each) for each in (question.tool, *others)]
        if answer.keep == "session" or not await self._save_grants(granted, by):
            self.session.add(granted, by)

    async def _save_grants(self, granted: Sequence[ToolIdentity], by: ModelServer) -> bool:
        try:
            # In a thread, because the file may be locked by another program that writes grants.
            await run_in_daemon_thread(self.grants.add, granted, by)
        except BadSettings as error:
            self._warn(f"It is allowed for this session only. {error.message}")
            return False
        return True

    def _find_rule_verdict(self, tool: Tool) -> Verdict:
        rule = self.rules.verdict(tool) or default_verdict(tool)
        return "ask" if rule == "allow" and tool.asks_always else rule

    def _matching_grants(self, now: ToolIdentity, by: ModelServer | None) -> Iterator[ToolGrant]:
        """Yield the grants of this tool for calls of this model server."""
        if by is not None:
            for kept in (self.session, self.grants):
                if (known := kept.find(now.server, now.own_name, by)) is not None:
                    yield known

    def _describe_other_grant(self, now: ToolIdentity, by: ModelServer | None) -> str:
        """Return a sentence if the same tool was granted to another model server, else ""."""
        for each in (*self.session.all(), *self.grants.all()):
            if (each.server, each.own_name) == (now.server, now.own_name) and _is_same(now, each):
                asker = "whichever model asks" if each.asked_by is None else str(each.asked_by)
                who = "another one" if by is None else str(by)
                return f"You have allowed {now.own_name} for {asker}; now {who} asks."
        return ""


def find_tool(name: str, tools: Sequence[Tool]) -> Tool:
    """Return the tool of this name; an unknown one counts as the program's own."""
    for tool in tools:
        if tool.spec.name == name:
            return tool
    return Tool(spec=ToolSpec(name))


def _describe_replacement(tool: Tool) -> str:
    """Return a sentence if the tool's server replaces one of the user's own, else ""."""
    if not tool.replaces_own:
        return ""
    return f"A project or an editor put this server {tool.server} in the place of your own."


def _is_same(now: ToolIdentity, known: ToolIdentity | None) -> bool:
    return known is not None and known.fingerprint == now.fingerprint


def _check_answer(answer: object) -> ConsentAnswer:
    """Return the answer. Raises `TypeError` and `ValidationError`: askers are others' code."""
    if not isinstance(answer, ConsentAnswer):
        raise TypeError(f"an asker returns a ConsentAnswer, this one returned {answer!r:.100}")
    return msgspec.convert(msgspec.structs.asdict(answer), ConsentAnswer)


def _apply_answer(
    question: ConsentRequest, answer: ConsentAnswer, watch: OnToolEvent
) -> Approved | Refused:
    call, fingerprint = question.call, tool_identity(question.tool).fingerprint
    if answer.arguments is None or answer.arguments == call.arguments:
        return Approved(call, fingerprint)
    try:
        msgspec.json.decode(answer.arguments, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        reason = f"The user changed the arguments to what is no JSON object: {error}."
        return _refuse(reason, call, "person", watch)
    return Approved(replace(call, arguments=answer.arguments), fingerprint, edited=True)


def _refuse(
    why: str,
    call: ToolCall,
    by: Literal["rule", "person", "nobody"],
    watch: OnToolEvent,
    reason: str = "",
) -> Refused:
    watch(ConsentRefused(call, by, reason))
    return Refused(ToolResult(why, is_error=True, fault="refused"))


def _ignore_warning(text: str) -> None:
    """Ignore the warning."""


# Approvals of calls that the server runs: the output submitted for them.


def remote_tool(action: PendingAction) -> Tool:
    """Return what is known here of the tool of a call that the server runs."""
    server = action.server or ""
    return Tool(
        spec=ToolSpec(action.name),
        server=server,
        own_name=action.name.removeprefix(f"{server}__"),
        origin=action.tool_digest or action.action_id,
    )


def approval_output(decided: Approved | Refused) -> ToolResult:
    """Return the decision as the output that the call waits for."""
    match decided:
        case Refused(result):
            approval = Approval(approve=False, reason=result.output)
        case Approved(call, edited=True) | Approved(call, hooked=True):
            wish = f"The user wants it called with other arguments: {call.arguments}"
            approval = Approval(approve=False, reason=wish)
        case Approved():
            approval = Approval(approve=True)
    return ToolResult(msgspec.json.encode(approval).decode(), is_error=not approval.approve)
