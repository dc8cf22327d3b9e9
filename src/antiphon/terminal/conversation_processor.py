"""Send a message and follow its run to the end: replies stream, tools run, further turns stream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from secrets import token_hex
from typing import Unpack

import msgspec

from antiphon.api.operations import Content, Options
from antiphon.client.async_client import AsyncClient
from antiphon.client.async_events import AsyncEvents
from antiphon.client.compaction import SHARE, Compaction, due
from antiphon.client.formatting import count_noun
from antiphon.client.thread_families import cancel_sent_run
from antiphon.ports import Toolbox
from antiphon.terminal.chat_state import ChatState
from antiphon.terminal.streaming_response_handler import StreamingResponseHandler
from antiphon.terminal.ui_manager import Ui
from antiphon.tools.consent import Consent
from antiphon.tools.hooks import ToolHooks
from antiphon.tools.questions import AskUser
from antiphon.tools.tool_events import ToolEvent
from antiphon.tools.tool_sources import ToolSource
from antiphon.types.errors import AntiphonError, ConnectionLost, Internal, RunActive, RunError
from antiphon.types.messages import Progress
from antiphon.types.runs import Reason, Status, Usage

STOP_SECONDS = 0.08
"""Seconds that a run may take to end once it was stopped; then it ends in the background."""
DRAIN_SECONDS = 0.005
"""Seconds of events that are handled in one go before keys are read."""
UNSHOWN = (
    "This reply cannot be shown and was stopped; its text so far is saved, and /raw prints it."
)
"""Printed for an error of the display, which must not end the chat."""
SENT = "sent"
"""Key in a run's metadata of the mark by which a chat recognizes its own runs."""
ENDING_SECONDS = 10.0
"""Seconds after which a stopped run that does not end is no longer waited for."""

BUSY = (
    "Another chat has an answer under way in this thread; nothing was sent."
    " /continue follows it, and stops it with Ctrl+C."
)


class RunOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a run. Without a `run_id` the message was refused, and nothing was saved.

    `used` is the usage of all turns, `last` of the last turn: its input is how much of the context
    window is taken.
    """

    run_id: str | None = None
    status: Status | None = None
    reason: Reason | None = None
    used: Usage = Usage()
    last: Usage = Usage()
    chunks: int = 0
    failure: AntiphonError | None = None


class ConversationProcessor:
    """Streams runs to the UI, one after the other."""

    def __init__(
        self,
        client: AsyncClient,
        ui: Ui,
        *,
        functions: Sequence[ToolSource] = (),
        consent: Consent,
        hooks: ToolHooks | None = None,
        ask_user: AskUser | None = None,
        max_tools: int,
        tool_timeout: float,
    ) -> None:
        self.toolbox: Toolbox | None = None
        self.functions = functions
        self._client = client
        self._ui = ui
        self._consent = consent
        self._hooks = hooks
        self._ask_user = ask_user
        self._max_tools = max_tools
        self._tool_timeout = tool_timeout
        self._interrupted = asyncio.Event()
        self._events: AsyncEvents | None = None
        self._handler: StreamingResponseHandler | None = None
        self._sent = ""
        self._ending: set[asyncio.Task[None]] = set()

    def interrupt(self) -> None:
        """Stop the run that streams, and its tools. Safe to call again."""
        self._interrupted.set()

    def cancel_tool(self, number: int) -> bool:
        """Cancel one running call, counted from 1 as shown; the run continues."""
        if self._events is None or self._handler is None:
            return False
        calls = self._handler.open_calls
        return 1 <= number <= len(calls) and self._events.cancel_tool(calls[number - 1])

    async def process_conversation(
        self,
        thread: str,
        content: Content | None,
        *,
        run_id: str | None = None,
        reply_seconds: float | None = None,
        **options: Unpack[Options],
    ) -> RunOutcome:
        """Send the message, or resume the run with this id, and wait for its end.

        `reply_seconds` is the time limit of each reply, if known. Without content and run, the
        thread is answered as it is.
        """
        await self._wait_for_ending()
        self._interrupted.clear()
        ui = self._ui
        handler = StreamingResponseHandler(ui.theme, began=ui.clock(), reply_seconds=reply_seconds)
        if run_id is None:
            self._sent = token_hex(8)
            options["thread_id"] = thread
            options["metadata"] = {**options.get("metadata", {}), SENT: self._sent}
        events = self._converse(handler, content, run_id, options)
        self._events, self._handler = events, handler
        ui.display.start_streaming(handler)
        failure: AntiphonError | None = None
        try:
            with ui.working():
                failure = await self._stream_until_stopped(thread, events, handler)
            await ui.display.finish_streaming()
        except Exception as error:  # noqa: BLE001 - an error of the display must not end the chat
            failure = Internal(UNSHOWN)
            ui.display.drop_streaming()
            if not handler.response_complete:
                self._track_ending(asyncio.create_task(self._cancel(thread, events)))
            ui.say(f"{UNSHOWN} ({type(error).__name__}: {error})", "error")
        finally:
            await ui.display.finish_streaming()
            self._events = self._handler = None
        return RunOutcome(
            run_id=events.run_id,
            status=events.status,
            reason=events.reason,
            used=handler.usage,
            last=handler.last_usage,
            chunks=handler.chunk_count,
            failure=failure,
        )

    def _converse(
        self,
        handler: StreamingResponseHandler,
        content: Content | None,
        run_id: str | None,
        options: Options,
    ) -> AsyncEvents:
        def on_tool_event(event: ToolEvent) -> None:
            handler.on_tool_event(event, self._ui.clock())
            self._ui.display.update_streaming()

        return self._client.converse(
            content,
            tools=self.functions,
            toolbox=self.toolbox,
            run_id=run_id,
            consent=self._consent,
            hooks=self._hooks,
            ask_user=self._ask_user,
            on_tool_event=on_tool_event,
            max_tools=self._max_tools,
            tool_timeout=self._tool_timeout,
            raise_on_failure=False,
            **options,
        )

    async def _stream_until_stopped(
        self, thread_id: str, events: AsyncEvents, handler: StreamingResponseHandler
    ) -> AntiphonError | None:
        """Pass the run's events to the handler; return the error with which it ended, if any."""
        reading = asyncio.create_task(self._stream_response(events, handler))
        interrupted = asyncio.create_task(self._interrupted.wait())
        try:
            await asyncio.wait({reading, interrupted}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await self._stop(thread_id, reading, events, handler)
        finally:
            interrupted.cancel()
            if not reading.done():
                self._track_ending(reading)
        try:
            if reading.done() and not reading.cancelled():
                reading.result()
            events.raise_for_status()
        except RunError as error:  # the handler has shown it
            return error
        except AntiphonError as problem:
            message = BUSY if isinstance(problem, RunActive) else problem.full_message
            handler.abandon(message, self._ui.clock())
            return problem
        except OSError as error:
            failure = ConnectionLost(f"the connection broke: {error}")
            handler.abandon(failure.message, self._ui.clock())
            return failure
        return None

    async def _stream_response(
        self, events: AsyncEvents, handler: StreamingResponseHandler
    ) -> None:
        ui = self._ui
        async with events:
            yielded_at = ui.clock()
            async for event in events:
                now = ui.clock()
                handler.handle_event(event, now)
                ui.display.update_streaming()
                if now - yielded_at > DRAIN_SECONDS:
                    await asyncio.sleep(0)
                    yielded_at = ui.clock()

    # Stopping.

    async def _stop(
        self,
        thread_id: str,
        reading: asyncio.Task[None],
        events: AsyncEvents,
        handler: StreamingResponseHandler,
    ) -> None:
        """Stop at once for the user; tools and servers slow to stop end in the background."""
        handler.interrupt(self._ui.clock())
        self._ui.repaint()
        cancelling = asyncio.create_task(self._cancel(thread_id, events))
        self._track_ending(cancelling)
        if handler.tools_run:
            reading.cancel()  # and with it the tools
        await asyncio.wait({reading}, timeout=STOP_SECONDS)
        if not reading.done():
            reading.cancel()
        if not handler.response_complete:
            handler.abandon("[stopped]", self._ui.clock())

    async def _cancel(self, thread_id: str, events: AsyncEvents) -> None:
        """Cancel the run; if its id never arrived, find the run by the mark of this chat."""
        await cancel_sent_run(self._client, events.run_id, thread_id, SENT, self._sent)

    def _track_ending(self, task: asyncio.Task[None]) -> None:
        self._ending.add(task)
        task.add_done_callback(self._on_ended)

    def _on_ended(self, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._ui.say(f"The run could not be stopped: {error}", "warning")

    async def _wait_for_ending(self) -> None:
        """Wait until stopped runs have ended: a thread has one run at a time."""
        if self._ending:
            await asyncio.wait(set(self._ending), timeout=ENDING_SECONDS)

    async def close(self) -> None:
        """Wait for runs that were stopped."""
        with suppress(asyncio.CancelledError):
            await self._wait_for_ending()


# A thread that gets too long for its model is compacted between two messages. Nothing is lost:
# models get the summary, users still see all messages, and /compact undo removes the summary.


COMPACTION_REASON = (
    f"This thread takes {SHARE:.0%} of what the model takes, or more, so it is summed up first."
    " Ctrl+C leaves it as it is."
)

COMPACTION_BEGUN = "summing up; Ctrl+C leaves it"
"""Shown until the first word of the summary: some models think first."""


async def compact_if_due(client: AsyncClient, ui: Ui, state: ChatState) -> None:
    """Compact the thread if the next message might not fit and there is something older.

    If that fails, or the user stops it, it is not tried again in this thread.
    """
    if state.thread_id in state.uncompacted or not due(state.context_tokens, state.window.tokens):
        return
    try:
        await compact(client, ui, state, COMPACTION_REASON)
    except (AntiphonError, asyncio.CancelledError) as problem:
        if state.thread_id is not None:
            state.uncompacted.add(state.thread_id)
        if not isinstance(problem, AntiphonError):
            raise
        ui.say(f"It was not summarized. {problem.full_message}", "warning")


async def compact(
    client: AsyncClient, ui: Ui, state: ChatState, why: str = ""
) -> Compaction | None:
    """Summarize all but the last exchanges, printing `why` first; return None if none is older."""
    if state.thread_id is None:
        return None

    def report(progress: Progress) -> None:
        if state.activity == COMPACTION_BEGUN and why:
            ui.say(why, "faint")
        state.activity = f"summing up {progress.message}, {progress.done:,.0f} letters"
        ui.repaint()

    state.activity = COMPACTION_BEGUN
    ui.repaint()
    try:
        done = await client.compact(state.thread_id, model=state.model, tell=report)
    finally:
        state.activity = ""
        ui.repaint()
    if done is not None:
        state.used += done.usage
        state.last_turn = Usage(input_tokens=done.tokens_after)
        ui.say(
            f"Compacted {count_noun(done.message.compacts or 0, 'message')}:"
            f" {done.tokens_before:,} -> {done.tokens_after:,} tokens; /compact undo",
            "faint",
        )
    return done
