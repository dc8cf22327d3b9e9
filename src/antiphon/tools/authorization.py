"""Authorization of tool calls: hooks first, then consent.

Hooks can deny a call, change its arguments or have a person asked. Consent decides about the call
as the hooks leave it. Neither holds a slot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from antiphon.tools.consent import Approved, Consent, Refused, Tools, find_tool
from antiphon.tools.hooks import HookVerdict, ToolHooks
from antiphon.tools.questions import AskedBy, ModelServer, tool_identity
from antiphon.tools.tool_events import ConsentRefused, HooksBegan, OnToolEvent
from antiphon.types.messages import Tool, ToolCall, ToolResult


class CallAuthorizer:
    """Decides whether calls may run, by hooks and consent.

    At most `at_once` calls are in their hooks at a time. `asked_by` returns the model server of a
    run, to which consent is bound.
    """

    def __init__(
        self,
        consent: Consent,
        hooks: ToolHooks,
        *,
        at_once: int,
        asked_by: AskedBy | None,
    ) -> None:
        self._consent = consent
        self._hooks = hooks
        self._hook_slots = asyncio.Semaphore(at_once)
        self._asked_by = asked_by
        self._servers: dict[str, ModelServer] = {}
        self._looking_up = asyncio.Lock()

    async def authorize(
        self, run_id: str, call: ToolCall, tools: Tools, report: OnToolEvent
    ) -> Approved | Refused:
        """Run the hooks before the call, then get consent for it as they leave it.

        `report` receives events; it is not kept, so that the processor is freed with its last
        reference. What is approved went through the hooks as it is: arguments that a person edits,
        and a tool that changes or arrives meanwhile, go through them once more.
        """
        asked_by = None if self._asked_by is None else self._find_model_server
        candidate = call
        approved: Approved | None = None
        while True:
            fingerprint = tool_identity(find_tool(call.name, tools())).fingerprint
            verdict = await self._run_before_hooks(candidate, tools(), report)
            if verdict.denial:
                report(ConsentRefused(call, "hook", verdict.denial))
                return Refused(ToolResult(verdict.denial, is_error=True, fault="refused"))
            wanted, question = Approved(verdict.call, fingerprint), verdict.question
            if approved is not None and approved.edited:  # the person has been asked
                changed = wanted.call.arguments != candidate.arguments
                question = "it has changed the arguments that you edited" if changed else ""
            if approved is None or question or not approved.covers(wanted):
                decision = await self._consent.permit(
                    run_id, wanted.call, tools, report, asked_by, question
                )
                if isinstance(decision, Refused):
                    return decision
                approved = decision
            if approved.covers(wanted):
                by_hook = not approved.edited and wanted.call.arguments != call.arguments
                return replace(approved, hooked=by_hook)
            candidate = approved.call

    async def _run_before_hooks(
        self, call: ToolCall, tools: Sequence[Tool], report: OnToolEvent
    ) -> HookVerdict:
        """Return the verdict of the hooks; a tool that is not here has none."""
        tool = next((each for each in tools if each.spec.name == call.name), None)
        if tool is None or not self._hooks.selects("before", tool):
            return HookVerdict(call)
        async with self._hook_slots:
            report(HooksBegan(call, "before"))
            return await self._hooks.run_before(call, tool)

    def has_after_hooks(self, tool: Tool, result: ToolResult) -> bool:
        """Return whether hooks run after a call of this tool with this result."""
        return result.fault != "unknown_tool" and self._hooks.selects("after", tool)

    async def run_after_hooks(
        self, call: ToolCall, tool: Tool, result: ToolResult, report: OnToolEvent
    ) -> ToolResult:
        """Return the result as the hooks leave it."""
        async with self._hook_slots:
            report(HooksBegan(call, "after"))
            return await self._hooks.run_after(call, tool, result)

    async def _find_model_server(self, run_id: str) -> ModelServer | None:
        """Return the model server of the run, looked up once.

        Calls of one reply wait for it in order, so that they are asked about in that order.
        """
        async with self._looking_up:
            known = self._servers.get(run_id)
            if known is None and self._asked_by is not None:
                known = await self._asked_by(run_id)
                if known is not None:
                    self._servers = {run_id: known}
        return known
