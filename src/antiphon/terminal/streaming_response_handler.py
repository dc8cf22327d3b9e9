"""Fold the events of a run into frames, which any painter can draw.

A frame has finished lines, which are printed once, and a region below them, which is redrawn. It
depends on the events, the terminal's size and the time alone: no clock is read here, and nothing is
written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from antiphon.client.formatting import dollars
from antiphon.client.outcome import hint_for
from antiphon.terminal import spans
from antiphon.terminal.compact_streaming_display import CompactStreamingDisplay
from antiphon.terminal.painters import Frame, Phase
from antiphon.terminal.rows import CallChange, CallRow, Reasoning
from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.themes import Theme
from antiphon.tools.tool_events import (
    ConsentAsked,
    ConsentRefused,
    HooksBegan,
    ToolAwaited,
    ToolBegan,
    ToolEnded,
    ToolEvent,
    ToolProgressed,
)
from antiphon.types.events import (
    Event,
    MessageCompleted,
    ReasoningDelta,
    RefusalDelta,
    RunStatus,
    TextDelta,
    ToolCallDelta,
    ToolCallReady,
    ToolCallStarted,
    ToolOutputAdded,
    TurnRestarted,
    UsageAdded,
)
from antiphon.types.messages import Citation, ToolCall, list_pages
from antiphon.types.runs import Status, Usage
from antiphon.types.terminal_safe import clean

OPEN_ROWS = 12
"""Rows of open text, at most."""
COUNTDOWN_SECONDS = 30.0
"""Last seconds of a reply's time limit, which are counted down."""
SPARE_ROWS = 4
"""Rows of the terminal that the region leaves to the conversation above."""


class StreamingResponseHandler:
    """Folds the events of a run and of its tools into frames."""

    def __init__(
        self, theme: Theme, *, began: float = 0.0, reply_seconds: float | None = None
    ) -> None:
        self.interrupted_at: float | None = None
        self.response_complete = False
        self.chunk_count = 0
        self.usage = Usage()
        self.last_usage = Usage()
        self._theme = theme
        self._began = began
        self._reply_seconds = reply_seconds
        self._reply_began: float | None = None
        self._columns = 79
        self._phase: Phase = "connecting"
        self._display = CompactStreamingDisplay(theme)
        self._text: list[str] = []
        self._fresh: list[str] = []
        self._reasoning = Reasoning()
        self._calls: dict[str, CallRow] = {}
        self._finished: list[Line] = []
        self._has_output = False
        self._gap = False
        self._refused = False

    @property
    def current_response(self) -> str:
        """Text of this reply so far, as it came."""
        return "".join(self._text)

    @property
    def reasoning_content(self) -> str:
        """Reasoning of this reply so far, as it came."""
        return self._reasoning.text

    @property
    def accumulated_tool_calls(self) -> tuple[CallRow, ...]:
        """Calls that are not settled or not yet printed, in the order of the reply."""
        return tuple(self._calls.values())

    @property
    def open_calls(self) -> tuple[str, ...]:
        """Ids of the calls that have not settled, in the order of the reply."""
        return tuple(call for call, row in self._calls.items() if not row.settled)

    @property
    def tools_run(self) -> bool:
        """True while calls wait for the user or run."""
        return any(row.state in ("asking", "running") for row in self._calls.values())

    @property
    def phase(self) -> Phase:
        """The current phase."""
        if self.response_complete:
            return "idle"
        if self.interrupted_at is not None:
            return "stopping"
        if any(row.state == "asking" for row in self._calls.values()):
            return "asking"
        if any(row.state == "running" for row in self._calls.values()):
            return "running"
        return self._phase

    def interrupt(self, now: float) -> None:
        """Note that the user asked to stop; the end arrives as an event."""
        self.interrupted_at = now

    def handle_event(self, event: Event, now: float) -> None:
        """Fold in the next event of the run."""
        match event:
            case TextDelta() | RefusalDelta():
                self.chunk_count += 1
                self._add_answer(event, now)
            case ReasoningDelta(text=text, seconds=seconds):
                self.chunk_count += 1
                self._phase = "thinking"
                self._reasoning.feed(text, now, seconds)
            case ToolCallStarted(tool_call_id=call, name=name):
                self._end_text(now)
                self._phase = "calling"
                self._calls[call] = CallRow(name=clean(name, "approval"), since=now)
            case ToolCallDelta(tool_call_id=call, arguments=arguments):
                self.chunk_count += 1
                self._change(call, lambda row: row.with_more(arguments))
            case ToolCallReady(tool_call_id=call, name=name, arguments=arguments):
                self._end_text(now)
                row = self._calls.get(call) or CallRow(name=clean(name, "approval"), since=now)
                self._calls[call] = row.ready(arguments)
            case ToolOutputAdded(tool_call_id=call):
                self._change(call, lambda row: row.with_output(event))
                self._phase = "waiting"
            case MessageCompleted(message=message):
                self._reply_began = None
                self._end_text(now)
                self._refused = False
                self._list_sources(list_pages(message.citations))
                if message.role == "assistant" and not (message.content or message.tool_calls):
                    self._note("(empty answer)", "faint")
            case TurnRestarted(reason=reason):
                self._restart(reason, now)
            case UsageAdded(usage=usage):
                self.usage += usage
                self.last_usage = usage
            case RunStatus():
                self._update_status(event, now)
            case _:
                pass

    def on_tool_event(self, event: ToolEvent, now: float) -> None:
        """Fold in an event of a tool that runs here."""
        match event:
            case ToolAwaited(call=call, servers=servers):
                self._ensure_call(call, now)
                self._change(call.id, lambda row: row.with_awaited_servers(servers))
            case HooksBegan(call=call, when=when):
                self._ensure_call(call, now)
                self._change(call.id, lambda row: row.with_hooks(when, now))
            case ConsentAsked(question=question):
                self._ensure_call(question.call, now)
                self._change(question.call.id, lambda row: row.with_state("asking", now))
            case ConsentRefused(call=refused, by=by, reason=reason):
                self._phase = "waiting"
                self._ensure_call(refused, now)
                self._change(refused.id, lambda row: row.as_refused(by, reason))
            case ToolBegan(call=began):
                self._ensure_call(began, now)
                self._change(
                    began.id, lambda row: row.ready(began.arguments).with_state("running", now)
                )
            case ToolProgressed(tool_call_id=call, progress=progress):
                self._change(call, lambda row: row.with_progress(progress))
            case ToolEnded(tool_call_id=call, result=result, seconds=seconds):
                self._phase = "waiting"
                self._change(call, lambda row: row.with_result(result, seconds))

    def abandon(self, note: str, now: float) -> None:
        """Print everything open, then this note: no further events are read."""
        self._finish(now)
        self._note(note, "warning")

    def frame(self, columns: int, rows: int, now: float) -> Frame:
        """Return the frame for a terminal of this size at this time.

        Each finished line is returned once.
        """
        # The last column stays free: some terminals wrap in it.
        self._columns = max(1, columns - 1)
        self._set_text()
        finished, self._finished = tuple(self._finished), []
        return Frame(
            finished=finished,
            region=self._region(rows, now),
            phase=self.phase,
            kind=self._display.kind,
        )

    # Text.

    def _append_text(self, text: str, now: float) -> None:
        if self._phase != "writing":
            self._end_reasoning(now)
            self._phase = "writing"
            self._gap = self._has_output
            self._separate()
            if self._theme.roles:
                self._finished.append((StyledText("Assistant:", "name"),))
        self._has_output = True
        self._text.append(text)
        self._fresh.append(text)

    def _add_answer(self, event: TextDelta | RefusalDelta, now: float) -> None:
        """Add text of the answer; a note precedes the text of a refusal."""
        if isinstance(event, RefusalDelta) and not self._refused:
            self._end_text(now)
            self._separate()
            self._refused = True
            self._note("the model refuses to answer:", "warning")
        self._append_text(event.text, now)

    def _set_text(self) -> None:
        if self._fresh:
            fresh, self._fresh = "".join(self._fresh), []
            self._finished += self._display.feed(fresh, self._columns)

    def _end_text(self, now: float) -> None:
        self._end_reasoning(now)
        if self._text:
            self._set_text()
            self._finished += self._display.close(self._columns)
            self._display = CompactStreamingDisplay(self._theme)
            self._text = []
            self._gap = True
        self._settle()
        if self._phase in ("writing", "thinking"):
            self._phase = "waiting"

    def _end_reasoning(self, now: float) -> None:
        if line := self._reasoning.summary(now):
            self._separate()
            self._finished.append(line)
            self._has_output = True
        self._reasoning = Reasoning()

    def _separate(self) -> None:
        """Add a blank line between a text and what follows it."""
        if self._gap:
            self._finished.append(())
            self._gap = False

    # Calls.

    def _ensure_call(self, call: ToolCall, now: float) -> None:
        """Add the call of an earlier turn, if the run was resumed."""
        if call.id not in self._calls and not self.response_complete:
            row = CallRow(name=clean(call.name, "approval"), since=now)
            self._calls[call.id] = row.ready(call.arguments)

    def _change(self, call: str, change: CallChange) -> None:
        if call in self._calls:
            self._calls[call] = change(self._calls[call])
            self._settle()

    def _settle(self) -> None:
        """Print settled rows in the order of the calls, but not within a text."""
        if self._text:
            return
        for call, row in tuple(self._calls.items()):
            if not row.settled:
                break
            self._print(row, call)

    def _end_calls(self) -> None:
        """Print all rows, settled or not."""
        for call, row in tuple(self._calls.items()):
            self._print(row, call)

    def _print(self, row: CallRow, call: str) -> None:
        self._separate()
        self._finished += row.lines(self._theme.glyphs, self._columns)
        self._has_output = True
        del self._calls[call]

    # Turns and ends.

    def _restart(self, reason: str, now: float) -> None:
        # The model discards it, but users may still want to read it.
        self._end_text(now)
        self._refused = False
        self._end_calls()
        self._phase = "waiting"
        self._note(f"the reply begins again ({reason}); what was written of it is void", "warning")

    def _update_status(self, event: RunStatus, now: float) -> None:
        if event.status is Status.IN_PROGRESS:
            self._reply_began = now
            self._phase = "waiting" if self._phase == "connecting" else self._phase
        if not event.status.ended:
            return
        self._finish(now)
        match event.status:
            case Status.CANCELLED:
                self._note("[stopped]", "warning")
            case Status.FAILED if event.error:
                self._note(f"failed: {event.error.message} ({event.error.code})", "error")
                if hint := hint_for(event.error.code):
                    self._note(hint, "faint")
            case Status.COMPLETED:
                pass
            case status:
                reason = f" ({event.reason})" if event.reason else ""
                self._note(f"the answer is {status}{reason}", "warning")
        self._finished.append((StyledText(footer(self.usage, now - self._began), "faint"),))

    def _finish(self, now: float) -> None:
        self._end_text(now)
        self._end_calls()
        self.response_complete = True

    def _note(self, text: str, style: str) -> None:
        for line in clean(text).split("\n"):
            self._finished += spans.wrap([StyledText(line, style)], self._columns)
        self._has_output = True

    def _list_sources(self, pages: Sequence[Citation]) -> None:
        """Print the pages that the provider cites, numbered; each address is a link."""
        if not pages:
            return
        self._separate()
        self._note("Sources:", "faint")
        for number, page in enumerate(pages, 1):
            named = f"[{number}] {page.title}  " if page.title else f"[{number}] "
            line = [StyledText(named, "faint"), StyledText(page.url, "link", page.url)]
            self._finished += spans.wrap(line, self._columns)
        self._gap = True

    # The region.

    def _region(self, rows: int, now: float) -> tuple[Line, ...]:
        if self.response_complete:
            return ()
        room = self._columns
        work = [
            *self._reasoning.lines(room, now, self._theme.glyphs),
            *self._rows(room, now),
        ]
        gap: list[Line] = [()] if self._text or (self._gap and work) else []
        below = [*gap, *work]
        if self.phase != "thinking" or self._seconds_left(now):  # it has a row that says so
            below += [()] if work else []
            below.append(spans.clip(self._status(now), room, self._theme.glyphs.more))
        below = below[-max(1, rows - SPARE_ROWS) :]
        left = min(OPEN_ROWS, rows - SPARE_ROWS - len(below))
        if not self._text or left <= 0:
            return tuple(below)
        # The end of the open text, long lines folded as they will be.
        pending = self._display.pending(room)[-left:]
        return (*spans.fold_all(pending, room)[-left:], *below)

    def _rows(self, room: int, now: float) -> Iterator[Line]:
        glyphs = self._theme.glyphs
        for row in self._calls.values():
            if row.settled:  # it waits for those before it
                yield from row.lines(glyphs, room)
            else:
                yield spans.clip(row.line(now, glyphs), room, glyphs.more)

    def _status(self, now: float) -> Line:
        spinner = self._theme.glyphs.spinner
        sign = spinner[int(now * 10) % len(spinner)]
        running = [row.name for row in self._calls.values() if row.state == "running"]
        tools = running[0] if len(running) == 1 else f"{len(running)} tools"
        activity = {
            "writing": f"writing {self._display.writing}",
            "running": f"running {tools}",
            "asking": "waiting for you",
        }.get(self.phase, self.phase)
        line = (StyledText(f"{sign} {activity}  {now - self._began:.0f} s", "faint"),)
        if left := self._seconds_left(now):
            return (*line, StyledText(f"  cut off in {left:.0f} s", "warning"))
        return line

    def _seconds_left(self, now: float) -> float:
        """Return the seconds until the reply is cut off, if they are few; else 0."""
        if self._reply_seconds is None or self._reply_began is None:
            return 0.0
        left = self._reply_began + self._reply_seconds - now
        return left if 0 < left <= COUNTDOWN_SECONDS else 0.0


def footer(usage: Usage, seconds: float) -> str:
    """Return duration, tokens and cost in short."""
    parts = [f"{seconds:.1f} s"]
    if usage.input_tokens or usage.output_tokens:
        parts += [f"{usage.input_tokens:,} in", f"{usage.output_tokens:,} out"]
    if cost := dollars(usage.cost):
        parts.append(cost)
    return ", ".join(parts)
