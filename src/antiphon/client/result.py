"""The result of a run: its answer, messages, tool calls and usage."""

from __future__ import annotations

from typing import Generic, TypeVar, cast

import msgspec
from msgspec.structs import replace

from antiphon.types.events import (
    Event,
    MessageCompleted,
    TextDelta,
    ToolOutputAdded,
    TurnRestarted,
    UsageAdded,
)
from antiphon.types.messages import Citation, Message, ToolCall, list_pages
from antiphon.types.runs import Status, Usage

T = TypeVar("T")
V = TypeVar("V")


class CompletedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call and its output.

    `arguments` is JSON, as the tool ran with it. `output` is None if none was read. `refused` if
    the call was not allowed to run.
    """

    id: str
    name: str
    arguments: str
    output: str | None = None
    is_error: bool = False
    refused: bool = False


class Result(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """The answer of a run, with the messages, calls and usage that its events reported.

    `text` is the answer so far; `value` is the answer as the requested `output_type`, the text
    itself without one. `message` is the reply with the answer, None if none was saved yet;
    `messages` are all replies of the run, in order. `usage` is the sum of all turns; its `cost` is
    in US dollars, None if a price is not known.
    """

    run_id: str
    thread_id: str
    status: Status
    text: str
    value: T
    message: Message | None = None
    messages: tuple[Message, ...] = ()
    calls: tuple[CompletedCall, ...] = ()
    usage: Usage = Usage()

    @property
    def citations(self) -> tuple[Citation, ...]:
        """The pages that the provider names as sources of the answer, in the order of its list."""
        return list_pages(self.message.citations) if self.message else ()

    def with_value(self, value: V) -> Result[V]:
        """Return the same result with another value."""
        return cast("Result[V]", replace(self, value=value))

    def after(self, earlier: Result[str]) -> Result[T]:
        """Return this result together with messages, calls and usage of an earlier run."""
        return replace(
            self,
            messages=earlier.messages + self.messages,
            calls=earlier.calls + self.calls,
            usage=earlier.usage + self.usage,
        )


class ResultBuilder:
    """Collects from the events of a run what its result needs."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._calls: dict[str, ToolCall] = {}
        self._outputs: dict[str, ToolOutputAdded] = {}
        self._usage = Usage()
        self._unsaved: list[str] = []

    def add(self, event: Event) -> None:
        """Add the next event."""
        match event:
            case TextDelta(text=text):
                self._unsaved.append(text)
            case TurnRestarted():
                self._unsaved.clear()
            case MessageCompleted(message=message):
                self._unsaved.clear()
                self._messages.append(message)
                self._calls.update((call.id, call) for call in message.tool_calls)
            case ToolOutputAdded():
                self._outputs[event.tool_call_id] = event
            case UsageAdded(usage=usage):
                self._usage += usage
            case _:
                pass

    @property
    def unsaved_text(self) -> str:
        """Text received since the last saved message."""
        return "".join(self._unsaved)

    def build(self, run_id: str, thread_id: str, status: Status, text: str) -> Result[str]:
        """Return the result of the events so far; `text` is that of the last saved reply."""
        replies = [message for message in self._messages if message.role == "assistant"]
        answer = text or self.unsaved_text
        return Result(
            run_id=run_id,
            thread_id=thread_id,
            status=status,
            text=answer,
            value=answer,
            message=replies[-1] if replies else None,
            messages=tuple(self._messages),
            calls=tuple(
                _complete_call(call, self._outputs.get(call_id))
                for call_id, call in self._calls.items()
            ),
            usage=self._usage,
        )


def _complete_call(call: ToolCall, output: ToolOutputAdded | None) -> CompletedCall:
    if output is None:
        return CompletedCall(id=call.id, name=call.name, arguments=call.arguments)
    return CompletedCall(
        id=call.id,
        name=call.name,
        arguments=output.arguments or call.arguments,
        output=output.output,
        is_error=output.is_error,
        refused=output.refused,
    )
