"""Our events, and the messages of a stored thread, as updates of a session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from acp.schema import (
    AgentMessageChunk,
    AgentPlanUpdate,
    AgentThoughtChunk,
    PlanEntry,
    PlanEntryStatus,
    TextContentBlock,
    ToolCallProgress,
    ToolCallStart,
    ToolCallStatus,
    UserMessageChunk,
)

from antiphon.acp import tool_views
from antiphon.client.export_markdown import render_sources
from antiphon.tools.consent import find_tool
from antiphon.tools.todos import Todo, TodoStatus, parse_todos
from antiphon.tools.tool_events import (
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
    TextDelta,
    ToolCallReady,
    ToolCallStarted,
    ToolOutputAdded,
    TurnRestarted,
)
from antiphon.types.messages import (
    Blob,
    Citation,
    Link,
    Message,
    Text,
    Tool,
    ToolResult,
    list_pages,
)
from antiphon.types.thread_view import (
    AttachmentsView,
    CallView,
    ChangedCallView,
    MessageView,
    NoteView,
    ReasoningView,
    RefusalView,
    SourcesView,
    TextView,
    ThreadReader,
)

Update = (
    UserMessageChunk
    | AgentMessageChunk
    | AgentThoughtChunk
    | ToolCallStart
    | ToolCallProgress
    | AgentPlanUpdate
)

_ChunkKind = type[AgentMessageChunk] | type[AgentThoughtChunk]

RESTARTED = "\n\n*(The reply was cut off here, and starts again.)*\n\n"


class UpdateEncoder:
    """Encodes one run for a session. `tools` returns the tools that are offered now.

    The output of a call is shown as it is saved; of a tool that ran here, its whole result is.
    """

    def __init__(self, folder: str, tools: Callable[[], Sequence[Tool]]) -> None:
        self._folder = folder
        self._tools = tools
        self._ended: set[str] = set()
        self._todos: dict[str, tuple[Todo, ...] | None] = {}

    def encode(self, batch: Iterable[Event]) -> Iterator[Update]:
        """Yield the updates of events in order; pieces of text beside each other are joined."""
        kind: _ChunkKind = AgentMessageChunk
        new: _ChunkKind
        pieces: list[str] = []
        for event in batch:
            match event:
                case TextDelta(text=text) | RefusalDelta(text=text):
                    new = AgentMessageChunk
                case ReasoningDelta(text=text):
                    new = AgentThoughtChunk
                case TurnRestarted():
                    new, text = AgentMessageChunk, RESTARTED
                case _:
                    yield from _chunks(kind, pieces)
                    pieces = []
                    yield from self._encode_call(event)
                    continue
            if new is not kind:
                yield from _chunks(kind, pieces)
                kind, pieces = new, []
            pieces.append(text)
        yield from _chunks(kind, pieces)

    def encode_tool_event(self, event: ToolEvent) -> Iterator[Update]:
        """Yield the updates of what happens to a tool in this process."""
        match event:
            case ToolAwaited(call=call, servers=servers):
                waits = f"Waits for {', '.join(servers)}, which starts."
                yield _progress(call.id, "pending", waits)
            case HooksBegan(call=call, when="before"):
                yield _progress(call.id, "pending", "Hooks check the call.")
            case HooksBegan(call=call):
                yield _progress(call.id, "in_progress", "Hooks run after the tool.")
            case ToolBegan(call=call):
                self._todos[call.id] = parse_todos(call.name, call.arguments)
                arguments = tool_views.parse_arguments(call.arguments)
                yield _update(call.id, "in_progress", raw_input=arguments)
            case ToolProgressed(tool_call_id=id, progress=progress):
                of = f" of {progress.total:g}" if progress.total else ""
                text = f"{progress.done:g}{of} {progress.message}".strip()
                yield _progress(id, "in_progress", text)
            case ToolEnded(tool_call_id=id, result=result):
                self._ended.add(id)
                yield _end_call(id, result.is_error, "\n\n".join(_result_texts(result)))
                yield from _plan(self._todos.pop(id, None), is_error=result.is_error)
            case _:
                pass

    def _encode_call(self, event: Event) -> Iterator[Update]:
        match event:
            case ToolCallStarted(tool_call_id=id, name=name):
                yield start_call(id, find_tool(name, self._tools()))
            case ToolCallReady(tool_call_id=id, name=name, arguments=text):
                self._todos[id] = parse_todos(name, text)
                kind = tool_views.tool_kind(find_tool(name, self._tools()))
                arguments = tool_views.parse_arguments(text)
                yield ToolCallProgress(
                    session_update="tool_call_update",
                    tool_call_id=id,
                    raw_input=arguments,
                    locations=tool_views.locations(arguments, self._folder),
                    content=list(tool_views.changes(kind, arguments, self._folder)),
                )
            case MessageCompleted(message=message):
                yield from _render_sources(list_pages(message.citations))
            case ToolOutputAdded(tool_call_id=id) if id not in self._ended:
                yield _end_call(id, event.is_error, event.output)
                yield from _plan(self._todos.pop(id, None), is_error=event.is_error)
            case _:
                pass


def start_call(id: str, tool: Tool) -> ToolCallStart:
    """Return the update that shows a call for the first time."""
    return ToolCallStart(
        session_update="tool_call",
        tool_call_id=id,
        title=tool_views.tool_title(tool),
        kind=tool_views.tool_kind(tool),
        status="pending",
    )


class HistoryEncoder:
    """Encodes the messages of a stored thread, in order, as they were shown when they came."""

    def __init__(self, folder: str, tools: Sequence[Tool]) -> None:
        self._folder = folder
        self._tools = tools
        self._reader = ThreadReader()

    def encode(self, message: Message) -> Iterator[Update]:
        """Yield the updates of a message."""
        view = self._reader.read(message)
        if view is not None:
            yield from self._encode_parts(view)
            for call in message.tool_calls:
                tool = find_tool(call.name, self._tools)
                arguments = tool_views.parse_arguments(call.arguments)
                yield start_call(call.id, tool).model_copy(
                    update={
                        "raw_input": arguments,
                        "locations": tool_views.locations(arguments, self._folder),
                    }
                )

    def _encode_parts(self, view: MessageView) -> Iterator[Update]:
        for part in view.parts:
            match part:
                case TextView(text=text) if view.speaker == "user":
                    yield UserMessageChunk(session_update="user_message_chunk", content=_text(text))
                case TextView(text=text) | RefusalView(text=text):
                    yield from _chunks(AgentMessageChunk, [text])
                case ReasoningView(text=text):
                    yield from _chunks(AgentThoughtChunk, [text])
                case AttachmentsView(attachments=files) if view.speaker == "user":
                    names = ", ".join(file.name for file in files)
                    content = _text(f"[attached: {names}]")
                    yield UserMessageChunk(session_update="user_message_chunk", content=content)
                case CallView(call=call) as called:
                    yield _end_call(call.id, called.is_error, called.text)
                    arguments = called.changed_arguments or call.arguments
                    yield from _plan(parse_todos(call.name, arguments), is_error=called.is_error)
                case SourcesView(pages=pages):
                    yield from _render_sources(pages)
                case NoteView(text=text):
                    yield from _chunks(AgentMessageChunk, [f"*({text})*"])
                case ChangedCallView(arguments=text):
                    yield from _chunks(AgentThoughtChunk, [text])
                case _:
                    pass


def text_update(text: str) -> Update:
    """Return text of the agent as an update."""
    return AgentMessageChunk(session_update="agent_message_chunk", content=_text(text))


def _chunks(kind: _ChunkKind, pieces: Sequence[str]) -> Iterator[Update]:
    if not (text := "".join(pieces)):
        return
    if kind is AgentThoughtChunk:
        yield AgentThoughtChunk(session_update="agent_thought_chunk", content=_text(text))
    else:
        yield text_update(text)


def _render_sources(pages: Sequence[Citation]) -> Iterator[Update]:
    if pages:
        yield text_update(f"\n\n{render_sources(pages)}\n\n")


def _text(text: str) -> TextContentBlock:
    return TextContentBlock(type="text", text=text)


def _update(id: str, status: ToolCallStatus, **fields: object) -> ToolCallProgress:
    return ToolCallProgress.model_validate(
        {"sessionUpdate": "tool_call_update", "toolCallId": id, "status": status, **fields},
        by_name=True,
        by_alias=True,
    )


def _progress(id: str, status: ToolCallStatus, text: str) -> ToolCallProgress:
    return _update(id, status, content=[tool_views.text_content(text)])


def _end_call(id: str, is_error: bool, text: str) -> ToolCallProgress:
    status: ToolCallStatus = "failed" if is_error else "completed"
    return _update(id, status, content=[tool_views.text_content(text)], raw_output=text)


_PLAN_STATUS: Mapping[TodoStatus, PlanEntryStatus] = {
    "pending": "pending",
    "in_progress": "in_progress",
    "done": "completed",
}


def _plan(todos: Iterable[Todo] | None, *, is_error: bool) -> Iterator[AgentPlanUpdate]:
    """Yield a to-do list as the plan that the editor shows, if a call has written one."""
    if todos is not None and not is_error:
        entries = [
            PlanEntry(content=item.text, priority="medium", status=_PLAN_STATUS[item.status])
            for item in todos
        ]
        yield AgentPlanUpdate(session_update="plan", entries=entries)


def _result_texts(result: ToolResult) -> Iterator[str]:
    if not result.content:
        yield result.output
    for part in result.content:
        match part:
            case Text(text):
                yield text
            case Link(uri=uri, name=name):
                yield f"{name} {uri}".strip()
            case Blob(media_type=media_type, data=data, name=name):
                yield f"[{name or media_type}, {len(data):,} bytes]"
