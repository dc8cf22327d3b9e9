"""The calls of a turn, from the manifest to their outputs.

Consent comes first and holds nothing while a person thinks; then a slot, a deadline, the tool. What
becomes of a call is always a result.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

from msgspec.structs import replace

from antiphon.errors import AntiphonError
from antiphon.messages import Blob, Progress, Tool, ToolCall, ToolResult
from antiphon.ports import Tell, Toolbox, quiet
from antiphon.tools.consent import Consent, Permitted
from antiphon.tools.gate import AT_ONCE, SECONDS, Gate
from antiphon.tools.happenings import ToolBegan, ToolEnded, ToolProgressed, Watch, unwatched
from antiphon.tools.limits import CHARACTERS, shortened

Keep = Callable[[str, str, bytes], Awaitable[str]]
"""Keeps a file for the person: its name, media type and bytes; returns its id."""


class ToolProcessor:
    """Runs calls side by side, at most `at_once` of them, each for at most `seconds`.

    Outputs longer than `most` characters are shortened for the model; what the tool gave besides,
    and the whole of a long output, is given to `keep`. `watch` is told what happens meanwhile.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        *,
        consent: Consent | None = None,
        at_once: int = AT_ONCE,
        seconds: float = SECONDS,
        most: int = CHARACTERS,
        keep: Keep | None = None,
        watch: Watch = unwatched,
    ) -> None:
        self._toolbox = toolbox
        self._consent = consent or Consent()
        self._running = _Running(toolbox, watch)
        self._gate = Gate(self._running, at_once=at_once, seconds=seconds)
        self._most = most
        self._keep = keep
        self._watch = watch
        self._tasks: dict[str, asyncio.Task[ToolResult]] = {}
        self._stopped: set[str] = set()

    async def process_tool_calls(
        self, run_id: str, calls: Iterable[ToolCall]
    ) -> AsyncGenerator[tuple[ToolCall, ToolResult], None]:
        """Each call with its result, as they are ready; closing it cancels what still runs."""

        async def result(call: ToolCall) -> tuple[ToolCall, ToolResult]:
            return call, await self._tasks[call.id]

        asked = list(calls)
        for call in asked:
            self._tasks[call.id] = asyncio.create_task(self._run_single_call(run_id, call))
        try:
            for ready in asyncio.as_completed([result(call) for call in asked]):
                yield await ready
        finally:
            tasks = [self._tasks.pop(call.id) for call in asked]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def cancel(self, tool_call_id: str) -> bool:
        """Stop one call, whose result says so; False where it does not run. Call it on the loop."""
        task = self._tasks.get(tool_call_id)
        if task is None or task.done():
            return False
        self._stopped.add(tool_call_id)
        task.cancel()
        return True

    async def _run_single_call(self, run_id: str, call: ToolCall) -> ToolResult:
        try:
            result = await self._permitted(run_id, call)
        except asyncio.CancelledError:
            if call.id not in self._stopped:
                raise
            result = ToolResult(
                "The user stopped this call; it may or may not have been carried out.",
                is_error=True,
                fault="cancelled",
            )
        self._watch(ToolEnded(call.id, result, self._running.seconds(call.id)))
        return await self._limited(call, result)

    async def _permitted(self, run_id: str, call: ToolCall) -> ToolResult:
        decided = await self._consent.permit(run_id, call, self._toolbox.tools)
        if not isinstance(decided, Permitted):
            return decided

        def tell(progress: Progress) -> None:
            self._watch(ToolProgressed(call.id, progress))

        result = await self._gate.call(decided.call, tell)
        if decided.edited:
            said = f"[The user changed the arguments to {decided.call.arguments}]\n"
            return replace(result, output=said + result.output)
        return result

    async def _limited(self, call: ToolCall, result: ToolResult) -> ToolResult:
        """The result as it is submitted: what the model reads, and the ids of what was kept."""
        files = [
            await self._kept(each.name or f"{call.name}-{count}", each.media_type, each.data)
            for count, each in enumerate(result.content, 1)
            if isinstance(each, Blob)
        ]
        if len(result.output) <= self._most:
            return replace(result, files=_present(files))
        whole = await self._kept(f"{call.name}.txt", "text/plain", result.output.encode())
        where = "The user has the whole." if whole else "The rest could not be kept."
        output = shortened(result.output, self._most, where)
        return replace(result, output=output, files=_present([*files, whole]))

    async def _kept(self, name: str, media_type: str, content: bytes) -> str | None:
        """The id of the file, None where it could not be kept: the result matters more."""
        if self._keep is None:
            return None
        try:
            return await self._keep(name, media_type or "application/octet-stream", content)
        except AntiphonError:
            return None


class _Running:
    """A toolbox inside the gate: tells when a call has its slot, and knows how long it ran."""

    def __init__(self, toolbox: Toolbox, watch: Watch) -> None:
        self._toolbox = toolbox
        self._watch = watch
        self._seconds: dict[str, float] = {}

    def tools(self) -> Sequence[Tool]:
        return self._toolbox.tools()

    async def call(self, call: ToolCall, tell: Tell = quiet) -> ToolResult:
        clock = asyncio.get_running_loop().time
        self._watch(ToolBegan(call))
        began = clock()
        try:
            return await self._toolbox.call(call, tell)
        finally:
            self._seconds[call.id] = clock() - began

    def seconds(self, tool_call_id: str) -> float:
        return self._seconds.pop(tool_call_id, 0.0)


def _present(files: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(each for each in files if each is not None)
