"""`AsyncEvents` and `AsyncStream`: the events of a run for asyncio."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

from antiphon.api import operations
from antiphon.api.operations import Operation
from antiphon.client.async_transport import AsyncBatches, AsyncTransport
from antiphon.client.conversation import require_streamable
from antiphon.client.run_state import RunState, RunView, partial_value
from antiphon.tools.tool_processor import ToolProcessor
from antiphon.types.errors import InvalidRequest
from antiphon.types.events import Event, Numbered, TextDelta


class AsyncEvents(RunView, AsyncIterator[Event]):
    """Events of a run as they happen, each exactly once.

    The request is sent when the first event is read. If the connection is lost, reading resumes
    where it stopped. Closing the iterator stops reading; the run goes on. An iterator that is
    dropped without `close` or `async with` is closed by the event loop later.
    """

    def __init__(
        self, batches: AsyncBatches, state: RunState, processor: ToolProcessor | None = None
    ) -> None:
        super().__init__(state, processor)
        self._batches = batches
        self._single_events = _iterate_events(batches, state)

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[Event]:
        return anext(self._single_events)

    async def batches(self) -> AsyncGenerator[list[Numbered]]:
        """Yield the events with their numbers, in batches as they arrive: less overhead."""
        async for batch in self._batches:
            if new := self._state.add_batch(batch):
                yield new

    async def text(self) -> AsyncGenerator[str]:
        """Yield the pieces of text that the model writes, and nothing else.

        A reply that begins again, after a crash or a broken tool call, comes again from its start:
        the event `turn.restarted` says so, and `result().text` is without what became void.
        """
        async for event in self:
            if isinstance(event, TextDelta):
                yield event.text

    async def partial(self) -> AsyncGenerator[Any]:
        """Yield the JSON value of the answer as far as it has come, each time that it has grown.

        It is for answers to a `response_format`. Strings may be cut; numbers and words come when
        they are complete. While the reply is no JSON, nothing is yielded.
        """
        known: Any = None
        async for _ in self.batches():
            value = partial_value(self._state.current_text)
            if value is not None and value != known:
                known = value
                yield value

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop reading and cancel the tools that still run."""
        await self._single_events.aclose()
        await self._batches.aclose()


async def _iterate_events(batches: AsyncBatches, state: RunState) -> AsyncGenerator[Event]:
    """Yield single events. This is no method, which would make a reference cycle."""
    async for batch in batches:
        for number, event in batch:
            if number > state.last_event:
                state.add(number, event)
                yield event


async def raise_at_end(batches: AsyncBatches, state: RunState) -> AsyncBatches:
    """Yield the batches, then raise the `RunError` of a run that did not complete."""
    async with aclosing(batches):
        async for batch in batches:
            yield batch
    state.raise_for_status()


def create_events(
    transport: AsyncTransport, operation: Operation[Any], key: str | None = None
) -> AsyncEvents:
    """Return the events of a streaming operation, sent under this idempotency key."""
    return AsyncEvents(
        transport.stream(require_streamable(operation), key),
        RunState(getattr(operation, "run_id", None)),
    )


class AsyncStream:
    """One turn of a run that exists, in explicit steps.

    stream = client.sync_stream()
    stream.setup(run_id=run.id)
    async for event in stream.stream_chunks():
        ...
    await stream.close()
    """

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._run_id: str | None = None
        self._events: AsyncEvents | None = None

    def setup(self, run_id: str) -> Self:
        """Set the run."""
        self._run_id = run_id
        return self

    def stream_chunks(self, *, raise_on_failure: bool = True) -> AsyncEvents:
        """Request the run's next turn by `/completions` and return its events.

        If the run ends in this turn without completing, its `RunError` is raised after the last
        event, unless `raise_on_failure` is False.
        """
        if self._run_id is None:
            raise InvalidRequest("Which run? Call setup(run_id=...) first.")
        state = RunState(self._run_id)
        batches = self._transport.stream(operations.Complete(self._run_id))
        if raise_on_failure:
            batches = raise_at_end(batches, state)
        self._events = AsyncEvents(batches, state)
        return self._events

    async def close(self) -> None:
        """Stop reading; the run goes on."""
        if self._events is not None:
            await self._events.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
