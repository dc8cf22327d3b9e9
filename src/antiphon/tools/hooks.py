"""Hooks: the user's programs that run before and after tool calls.

A hook gets one JSON object on stdin, and answers by its exit code and, if it likes, one JSON object
on stdout. A hook before a call can only narrow: it denies the call, has a person asked, or changes
the arguments, which are then checked and asked about like the model's own. If it fails, the call is
not made. A hook after a call adds to the output or replaces it; if it fails, the output stays.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from antiphon.engine import sanitize
from antiphon.settings.hooks import Hook
from antiphon.tools.argument_check import find_argument_errors
from antiphon.tools.context import current_run
from antiphon.tools.permissions import matches
from antiphon.tools.programs import (
    MAX_OUTPUT,
    ProgramOutput,
    communicate,
    find_program,
    program_environment,
)
from antiphon.types.messages import Blob, Tool, ToolCall, ToolResult

LONGEST_REASON = 2000
"""Characters of a reason; of a longer one the end is kept, where programs say what is wrong."""
LONGEST_QUESTION = 300
"""Characters of a reason that stands above the question to a person."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class HookVerdict(msgspec.Struct, frozen=True):
    """Decision of the hooks before a call.

    `call` has the arguments as the hooks left them. `question` is the reason why a person must be
    asked, "" if none must; `denial` is the reason why the call is not made, "" if it may be.
    """

    call: ToolCall
    question: str = ""
    denial: str = ""


class _BeforeAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    decision: Literal["allow", "deny", "ask"] = "allow"
    reason: str = ""
    arguments: dict[str, Any] | UnsetType = UNSET


class _AfterAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    output: str | UnsetType = UNSET
    context: str = ""


class _HookFailed(Exception):
    """The hook gave no usable answer."""


class ToolHooks:
    """Runs hooks, in their order, each with the result of the one before it.

    `folder` is the working folder of the conversation, which the hooks get; by default that of the
    program. `warn` receives a sentence if a hook fails. A hook gets a short list of environment
    variables without secrets; it and everything that it starts end with the call.
    """

    def __init__(
        self,
        hooks: Sequence[Hook] = (),
        *,
        folder: str | os.PathLike[str] | None = None,
        warn: Callable[[str], None] = log.warning,
    ) -> None:
        self.hooks = tuple(hooks)
        self._folder = folder
        self._warn = warn

    def selects(self, when: Literal["before", "after"], tool: Tool) -> bool:
        """Return whether a hook runs before, or after, calls of this tool."""
        return any(True for _ in self._find(when, tool))

    async def run_before(self, call: ToolCall, tool: Tool) -> HookVerdict:
        """Return the verdict of the hooks before a call of this tool; the first denial ends it."""
        questions: list[str] = []
        for hook in self._find("before", tool):
            try:
                verdict = await self._run_before(hook, call, tool)
            except _HookFailed as failure:
                self._warn(f"The hook {hook.name} failed, so {call.name} was not called: {failure}")
                why = f"A hook failed, so this call was not made: {failure}"
                return HookVerdict(call, denial=why)
            if verdict.denial:
                return verdict
            call = verdict.call
            questions += [verdict.question] if verdict.question else []
        return HookVerdict(call, question="; ".join(questions))

    async def run_after(self, call: ToolCall, tool: Tool, result: ToolResult) -> ToolResult:
        """Return the result of a call of this tool as the hooks after it leave it."""
        for hook in self._find("after", tool):
            try:
                result = await self._run_after(hook, call, tool, result)
            except _HookFailed as failure:
                self._warn(
                    f"The hook {hook.name} failed after {call.name}, whose output stays as it was:"
                    f" {failure}"
                )
        return result

    async def _run_before(self, hook: Hook, call: ToolCall, tool: Tool) -> HookVerdict:
        """Return the verdict of one hook. Raises `_HookFailed`."""
        ended = await self._run(hook, self._describe("before", call, tool))
        if ended.code:
            return HookVerdict(call, denial=f"A hook does not allow this call: {_fault(ended)}")
        answer = _parse(ended, _BeforeAnswer)
        reason = _shorten(answer.reason)
        if answer.decision == "deny":
            why = f": {reason}" if reason else "."
            return HookVerdict(call, denial=f"A hook does not allow this call{why}")
        call = _change_arguments(call, tool, answer)
        if answer.decision == "ask":
            return HookVerdict(call, question=reason[:LONGEST_QUESTION] or "it gives no reason")
        return HookVerdict(call)

    async def _run_after(
        self, hook: Hook, call: ToolCall, tool: Tool, result: ToolResult
    ) -> ToolResult:
        """Return the result as one hook leaves it. Raises `_HookFailed`."""
        ended = await self._run(hook, self._describe("after", call, tool, result))
        if ended.code:
            raise _HookFailed(_fault(ended))
        return _change_result(result, _parse(ended, _AfterAnswer))

    def _find(self, when: Literal["before", "after"], tool: Tool) -> Iterator[Hook]:
        for hook in self.hooks:
            if hook.when == when and matches(tool, hook.tools):
                yield hook

    def _describe(
        self,
        event: Literal["before", "after"],
        call: ToolCall,
        tool: Tool,
        result: ToolResult | None = None,
    ) -> bytes:
        """Return what the hook gets on stdin. Raises `_HookFailed` for broken arguments."""
        try:
            arguments = msgspec.json.decode(call.arguments or "{}", type=dict[str, Any] | None)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise _HookFailed(
                f"the arguments of the call are not a JSON object: {error}"
            ) from error
        try:
            folder = os.fsencode(self._folder or os.getcwd()).decode("utf-8", "replace")
        except OSError as error:
            raise _HookFailed(f"the working folder is gone: {error}") from error
        run_id, thread_id = current_run()
        payload: dict[str, Any] = {
            "event": event,
            "tool": call.name,
            "server": tool.server,
            "server_tool": tool.own_name if tool.server is not None else None,
            "arguments": arguments or {},
            "cwd": folder,
            "thread_id": thread_id,
            "run_id": run_id,
            "tool_call_id": call.id,
        }
        if result is not None:
            payload |= {
                "output": result.output,
                "is_error": result.is_error,
                "fault": result.fault,
                "files": [
                    {"name": each.name, "media_type": each.media_type, "bytes": len(each.data)}
                    for each in result.content
                    if isinstance(each, Blob)
                ],
            }
        try:
            return msgspec.json.encode(payload)
        except UnicodeError as error:
            raise _HookFailed(f"the call cannot be written as JSON: {error}") from error

    async def _run(self, hook: Hook, stdin: bytes) -> ProgramOutput:
        """Run the hook to its end. Raises `_HookFailed`."""
        try:
            folder = Path(hook.folder or self._folder or os.getcwd())
            program = find_hook_program(replace(hook, folder=str(folder)), os.environ)
            if program is None:
                raise _HookFailed("its program is not found, or cannot be executed")
            command = (program, *hook.command[1:])
            async with asyncio.timeout(hook.timeout):
                return await communicate(command, folder, program_environment(os.environ), stdin)
        except TimeoutError as error:
            raise _HookFailed(f"it did not end within {hook.timeout:g} s") from error
        except (OSError, ValueError) as error:
            raise _HookFailed(f"it cannot be started: {error}") from error


NO_HOOKS = ToolHooks()


def find_hook_program(hook: Hook, environ: Mapping[str, str]) -> str | None:
    """Return the absolute path of the hook's program; None if it cannot be executed."""
    name = hook.command[0]
    if os.path.dirname(name):
        path = os.path.abspath(os.path.join(hook.folder, name))
        return path if os.path.isfile(path) and os.access(path, os.X_OK) else None
    return find_program(name, environ)


def _parse(ended: ProgramOutput, kind: type[T]) -> T:
    """Return the answer on stdout, all defaults if it is empty. Raises `_HookFailed`."""
    if ended.is_cut:
        raise _HookFailed(f"its answer is longer than {MAX_OUTPUT:,} bytes")
    text = ended.stdout.strip()
    try:
        return msgspec.json.decode(text or "{}", type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _HookFailed(
            f"its output is not the JSON object that is expected: {error}; it wrote {text[:100]!r}"
        ) from error


def _change_arguments(call: ToolCall, tool: Tool, answer: _BeforeAnswer) -> ToolCall:
    """Return the call with the arguments of the hook. Raises `_HookFailed` for wrong ones."""
    if answer.arguments is UNSET:
        return call
    changed = msgspec.json.encode(answer.arguments).decode()
    if (wrong := find_argument_errors(changed, tool.spec.parameters)) is not None:
        raise _HookFailed(
            f"it changed the arguments, and {tool.spec.name} cannot take them: {wrong}"
        )
    return replace(call, arguments=changed)


def _change_result(result: ToolResult, answer: _AfterAnswer) -> ToolResult:
    """Return the result as the hook leaves it; a new output replaces files and values too."""
    if isinstance(answer.output, str):
        output = sanitize.sanitize_text(answer.output)
        result = replace(result, output=output, content=(), structured=None)
    if context := sanitize.sanitize_text(answer.context).strip():
        result = replace(result, output=f"{result.output}\n\n[A hook adds: {context}]")
    return result


def _fault(ended: ProgramOutput) -> str:
    """Return what the hook wrote to stderr, else its exit code."""
    by_signal = f"it was ended by signal {-ended.code}"
    how = by_signal if ended.code < 0 else f"it ended with exit code {ended.code}"
    return _shorten(ended.stderr) or how


def _shorten(text: str) -> str:
    return sanitize.sanitize_text(text).strip()[-LONGEST_REASON:]
