"""`AsyncClient`: what `Client` is, for code on a loop."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from contextlib import aclosing
from copy import copy
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import Call, Content, ListActions, Listed, ListMessages
from antiphon.client import transport, uploads
from antiphon.client.bind import later, streamed
from antiphon.client.compaction import (
    KEEP,
    PAGE,
    TITLE,
    Compaction,
    Hearing,
    Summing,
    asking,
    model_of,
)
from antiphon.client.conversation import (
    Answer,
    Conversation,
    Done,
    Listen,
    LookUp,
    Options,
    Recall,
    Seen,
    Settle,
    Told,
    box,
    listenable,
    opening,
    seen_up_to,
    settled,
    unfit,
    work,
)
from antiphon.client.outcome import last_reply
from antiphon.client.transport import AsyncBatches, AsyncLine, AsyncPieces
from antiphon.ports import Tell, Toolbox, quiet
from antiphon.settings.settings import Settings
from antiphon.telemetry.tracing import detached_span
from antiphon.tools.consent import Consent
from antiphon.tools.functions import Function, Handler
from antiphon.tools.gate import AT_ONCE, SECONDS
from antiphon.tools.questions import ModelServer
from antiphon.tools.tool_events import Watch, unwatched
from antiphon.tools.tool_processor import ToolProcessor
from antiphon.types.errors import (
    AntiphonError,
    InvalidRequest,
    OutputConflict,
    OutputsMissing,
    RunEnded,
    TooLarge,
)
from antiphon.types.events import Event, Numbered, PendingAction, RunStatus, pending
from antiphon.types.messages import Message, ToolCall, ToolResult, Upload
from antiphon.types.runs import Action, Run, Status, Thread

T = TypeVar("T")


class AsyncEvents(Told, AsyncIterator[Event]):
    """Events as they happen; a lost connection is resumed unnoticed, and each comes once.

    Nothing is asked for until the first is. Closing stops listening, not the run; events that are
    let go of are closed by the loop, soon after, and in order only by `close` or `async with`.
    """

    def __init__(
        self, batches: AsyncBatches, seen: Seen, processor: ToolProcessor | None = None
    ) -> None:
        super().__init__(seen, processor)
        self._batches = batches
        self._each = _one_by_one(batches, seen)

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[Event]:
        return self._each.__anext__()

    async def batches(self) -> AsyncGenerator[list[Numbered], None]:
        """The events with their numbers, all together that came together: cheaper than each."""
        async for batch in self._batches:
            if new := self._seen.new(batch):
                yield new

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
        """Stop listening; tools that still run are cancelled."""
        await self._each.aclose()
        await self._batches.aclose()


async def _one_by_one(batches: AsyncBatches, seen: Seen) -> AsyncGenerator[Event, None]:
    """Apart from `AsyncEvents`, so that these are no cycle: let go of, they close."""
    async for batch in batches:
        for number, event in batch:
            if number > seen.last_event:
                seen.note(number, event)
                yield event


async def _raising(batches: AsyncBatches, seen: Seen) -> AsyncBatches:
    """The batches, and after the last one the `RunError` of a run that did not complete."""
    async with aclosing(batches):
        async for batch in batches:
            yield batch
    seen.raise_for_status()


def _events(line: AsyncLine, call: Call[Any]) -> AsyncEvents:
    return AsyncEvents(line.stream(listenable(call)), Seen(getattr(call, "run_id", None)))


class AsyncStream:
    """One turn of a run that exists, in explicit steps.

    stream = client.sync_stream()
    stream.setup(run_id=run.id)
    async for event in stream.stream_chunks():
        ...
    await stream.close()
    """

    def __init__(self, line: AsyncLine) -> None:
        self._line = line
        self._run_id: str | None = None
        self._events: AsyncEvents | None = None

    def setup(self, run_id: str) -> Self:
        """Say which run."""
        self._run_id = run_id
        return self

    def stream_chunks(self, *, raise_on_failure: bool = True) -> AsyncEvents:
        """Ask for the run's next turn by `/completions`, and give its events.

        A turn with which the run ends and does not complete raises its `RunError` after the last
        event, unless `raise_on_failure` is False.
        """
        if self._run_id is None:
            raise InvalidRequest("Which run? Call setup(run_id=...) first.")
        seen = Seen(self._run_id)
        batches = self._line.stream(operations.Complete(self._run_id))
        if raise_on_failure:
            batches = _raising(batches, seen)
        self._events = AsyncEvents(batches, seen)
        return self._events

    async def close(self) -> None:
        """Stop listening; the run goes on."""
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


class AsyncClient:
    """Antiphon in this process, or the server at an address, for one loop.

        async with AsyncClient() as client:
            async for event in client.converse("When is the next flight?", tools=[flight_times]):
                match event:
                    case TextDelta(text=text):
                        print(text, end="")

    Without `server` the address comes from the settings (`ANTIPHON_SERVER`, `antiphon.toml`); if
    they have none either, a runtime is opened in this process when it is first needed.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        api_key: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.line: AsyncLine = transport.async_line(server, api_key, settings)

    create_assistant = later(operations.CreateAssistant)
    list_assistants = later(operations.ListAssistants)
    get_assistant = later(operations.GetAssistant)
    update_assistant = later(operations.UpdateAssistant)
    delete_assistant = later(operations.DeleteAssistant)
    create_thread = later(operations.CreateThread)
    list_threads = later(operations.ListThreads)
    get_thread = later(operations.GetThread)
    update_thread = later(operations.UpdateThread)
    delete_thread = later(operations.DeleteThread)
    fork_thread = later(operations.ForkThread)
    create_message = later(operations.CreateMessage)
    list_messages = later(operations.ListMessages)
    get_message = later(operations.GetMessage)
    create_run = later(operations.CreateRun)
    list_runs = later(operations.ListRuns)
    get_run = later(operations.GetRun)
    cancel_run = later(operations.CancelRun)
    submit_tool_output = later(operations.SubmitToolOutput)
    list_actions = later(operations.ListActions)
    get_action = later(operations.GetAction)
    list_files = later(operations.ListFiles)
    get_file = later(operations.GetFile)
    list_models = later(operations.ListModels)

    create_person = later(operations.CreatePerson)
    list_people = later(operations.ListPeople)
    get_person = later(operations.GetPerson)
    update_person = later(operations.UpdatePerson)
    delete_person = later(operations.DeletePerson)
    sign_in = later(operations.SignIn)
    create_key = later(operations.CreateKey)
    list_keys = later(operations.ListKeys)
    update_key = later(operations.UpdateKey)
    revoke_key = later(operations.RevokeKey)
    create_project = later(operations.CreateProject)
    list_projects = later(operations.ListProjects)
    get_project = later(operations.GetProject)
    update_project = later(operations.UpdateProject)
    delete_project = later(operations.DeleteProject)
    list_acts = later(operations.ListActs)
    list_live_runs = later(operations.ListLiveRuns)
    get_usage = later(operations.GetUsage)
    list_servers = later(operations.ListServers)
    set_provider_key = later(operations.SetProviderKey)
    list_provider_keys = later(operations.ListProviderKeys)
    delete_provider_key = later(operations.DeleteProviderKey)
    set_owners_provider_key = later(operations.SetOwnersProviderKey)
    list_all_provider_keys = later(operations.ListAllProviderKeys)
    list_owners = later(operations.ListOwners)
    erase_owner = later(operations.EraseOwner)

    process = streamed(operations.Process, _events)
    completions = streamed(operations.Complete, _events)
    events = streamed(operations.Follow, _events)

    def converse(
        self,
        text: Content | None = None,
        *,
        tools: Iterable[Function] = (),
        toolbox: Toolbox | None = None,
        run_id: str | None = None,
        after: int | None = None,
        consent: Consent | None = None,
        watch: Watch = unwatched,
        max_tools: int = AT_ONCE,
        tool_timeout: float = SECONDS,
        raise_on_failure: bool = True,
        **options: Unpack[Options],
    ) -> AsyncEvents:
        """The whole way from a message to the final answer; the tools run here.

        A run that does not complete raises after its last event: `RunFailed`, `RunIncomplete`
        with the text that came, `RunExpired` or `RunCancelled`, each a `RunError` with `run_id`
        and `thread_id`. With `raise_on_failure=False` the events and their `status` say it alone.

        With `run_id` a run that was left, by this client or another, is taken up where it is; with
        `after`, the number of the last event that was read, every later event comes first. A run
        that has ended meanwhile gives what is left of it, and ends in the same way.

        At most `max_tools` run at once, each for at most `tool_timeout` seconds. `toolbox` is for
        tools that are no functions, such as those of MCP servers. `consent` decides whether a call
        may run; without it functions may, and whatever would have to be asked is refused. `watch`
        is told what happens to the calls here; `cancel_tool` of the events stops one of them.
        """
        tried = box(tools, toolbox)
        seen = seen_up_to(run_id, after)
        asked = opening(text, tried.tools(), run_id, options)
        conversation = Conversation(asked, seen, resumed=after is not None)
        processor = ToolProcessor(
            tried,
            consent=consent,
            at_once=max_tools,
            seconds=tool_timeout,
            keep=self._keep,
            watch=watch,
            tracer=self.line.tracer,
            asked_by=self._find_model_server,
        )
        batches = self._carry_out(conversation, processor)
        if raise_on_failure:
            batches = _raising(batches, seen)
        return AsyncEvents(batches, seen, processor)

    async def poll_and_execute_action(
        self,
        run_id: str,
        handler: Callable[[str, dict[str, Any]], Any] | ToolProcessor,
        *,
        consent: Consent | None = None,
        watch: Watch = unwatched,
        max_tools: int = AT_ONCE,
        tool_timeout: float = SECONDS,
        raise_on_failure: bool = True,
    ) -> list[Action]:
        """Wait until the run needs its client, and answer its calls by `handler(name, arguments)`.

        The handler may be async. Outputs are saved as tool messages. Calls that run elsewhere and
        wait to be approved are `consent`'s alone; without one they are refused. A `ToolProcessor`
        in the handler's place has its own consent, watch and limits. Returns the actions that were
        answered, as they are now; none where the run has completed. A run that ended otherwise
        raises its `RunError`, unless `raise_on_failure` is False.
        """
        run = await self._wait_until_settled(run_id)
        if raise_on_failure:
            await self._raise_for_status(run)
        waiting = {
            action.tool_call_id: action
            async for action in self.every(ListActions(run_id, status="pending"))
            if action.awaited
        }
        processor = handler
        if not isinstance(processor, ToolProcessor):
            processor = ToolProcessor(
                Handler(processor),
                consent=consent,
                at_once=max_tools,
                seconds=tool_timeout,
                keep=self._keep,
                watch=watch,
                tracer=self.line.tracer,
                asked_by=self._find_model_server,
            )
        answered: list[Action] = []
        async with aclosing(
            self._results(run_id, map(pending, waiting.values()), processor)
        ) as results:
            async for call, result in results:
                action = waiting[call.id]
                save = self._as_message(action)
                if action.approval is not None:  # which says nothing in the thread
                    save = self._as_output(run_id, call)
                if not await self._saved(result, save):
                    if raise_on_failure:
                        await self._raise_for_status(await self.get_run(run_id))
                    break
                answered.append(await self.get_action(action.id))
        return answered

    async def compact(
        self,
        thread_id: str,
        *,
        keep: int = KEEP,
        model: str | None = None,
        tell: Tell = quiet,
    ) -> Compaction | None:
        """Have the older messages of a thread summed up, and models told the summary instead.

        The last `keep` exchanges stay whole; nothing is lost, see `uncompact`. The summary is asked
        of `model`, else of the one that answered in the thread last, in a thread of its own that is
        deleted afterwards. `tell` is told how many letters are written. Returns None where nothing
        is older than what is kept. Raises `RunActive`, and what a run may fail of; the thread is as
        it was then.
        """
        asked = model_of((await self.list_runs(thread_id, limit=1)).data, model)
        models = (await self.list_models(model=asked)).data if asked else ()
        messages = [each async for each in self.every(ListMessages(thread_id, limit=PAGE))]
        summing = Summing(thread_id, messages, keep, models)
        while (text := summing.due()) is not None:
            hearing = Hearing(summing.where, tell)
            summing.summed(await self._summary(text, asked, hearing), hearing.usage)
        return summing.done(await self.line.send(summing.mark())) if summing.begun else None

    async def uncompact(self, thread_id: str) -> Message:
        """Tell models all of the thread again; the message that says so."""
        return await self.create_message(thread_id, "", role="system", compacts=0)

    def sync_stream(self) -> AsyncStream:
        """A new stream of one turn, which shares nothing with any other."""
        return AsyncStream(self.line)

    async def upload_file(
        self,
        source: uploads.Source,
        name: str | None = None,
        media_type: str | None = None,
    ) -> Upload:
        """Upload a file, given by its path or as bytes with a name."""
        file = await asyncio.to_thread(uploads.read, source, name, media_type)
        return await self.line.upload(file.name, file.media_type, file.content)

    async def download_file(self, file_id: str) -> bytes:
        """The bytes of an uploaded file."""
        return await self.line.download(file_id)

    def export_owner(self, owner: str) -> AsyncPieces:
        """Everything of an owner as a zip, piece by piece.

        Closing it lets go of the rest. Raises `ConnectionLost` where it breaks off: begin anew.
        """
        return self.line.export(owner)

    async def every(self, listing: Call[Listed[T]]) -> AsyncIterator[T]:
        """All that a call lists, page after page: `every(calls.ListThreads(q="flight"))`."""
        while True:
            page = await self.line.send(listing)
            for each in page.data:
                yield each
            if not page.has_more:
                return
            listing = replace(listing, after=page.next)

    @classmethod
    def over(cls, line: AsyncLine) -> AsyncClient:
        """A client over a line that is there."""
        client = cls.__new__(cls)
        client.line = line
        return client

    def acting_for(self, owner: str) -> AsyncClient:
        """A client over this one's line whose every call is that owner's.

        Another owner's things are unknown to it, on this side as on the server's. Closing it leaves
        this one open. The scope `admin` is needed; in this process everybody has it. Raises
        `InvalidRequest` for what is no owner.
        """
        acting = copy(self)
        acting.line = self.line.acting_for(owner)
        return acting

    def acting_as(self, actor: str) -> AsyncClient:
        """A client over this one's line whose acts the audit log says to be that person's.

        For programs in which administrators log in. Closing it leaves this one open. The scope
        `admin` is needed. Raises `InvalidRequest` for what is no id.
        """
        acting = copy(self)
        acting.line = self.line.acting_as(actor)
        return acting

    async def close(self) -> None:
        """Let go of the connections; an embedded runtime ends."""
        await self.line.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _carry_out(
        self, conversation: Conversation, processor: ToolProcessor
    ) -> AsyncBatches:
        tracer, parent = self.line.tracer, self.line.parent
        with detached_span(tracer, "invoke_agent", "client", parent=parent) as span:
            steps = self._below(span.place)._steps(conversation, processor)
            async with aclosing(steps):
                async for batch in steps:
                    yield batch
            span.note(conversation.facts)

    async def _steps(self, conversation: Conversation, processor: ToolProcessor) -> AsyncBatches:
        while True:
            match conversation.due():
                case Listen() as step:
                    try:
                        async with aclosing(self._stream_step(step, conversation)) as batches:
                            async for batch in batches:
                                yield batch
                    except (OutputsMissing, RunEnded) as refusal:
                        conversation.take_refusal(refusal)
                    else:
                        conversation.end_stream()
                case LookUp(call):
                    conversation.take_actions([action async for action in self.every(call)])
                case Answer(run_id, actions):
                    await self._answer(run_id, actions, processor)
                    conversation.finish_answers()
                case Settle(call):
                    conversation.take_run(await self.line.send(call))
                case Recall(call):
                    conversation.take_messages([message async for message in self.every(call)])
                case Done():
                    return

    async def _stream_step(self, step: Listen, conversation: Conversation) -> AsyncBatches:
        """The step's events, and before them those that were missed."""
        async with aclosing(self.line.stream(step.call)) as batches:
            async for batch in batches:
                if missed := conversation.find_missed(step, batch):
                    async with aclosing(self._stream_step(missed, conversation)) as earlier:
                        async for each in earlier:
                            yield each
                yield batch
                if step.until is not None and batch[-1][0] >= step.until:
                    return

    def _below(self, place: str | None) -> AsyncClient:
        """This client, whose calls and tools belong there in a trace."""
        client = copy(self)
        client.line = self.line.below(place)
        return client

    async def _summary(self, text: str, model: str | None, hearing: Hearing) -> str:
        """What a model answers in a thread that is gone afterwards, whatever happens."""
        making = asyncio.ensure_future(self.create_thread(title=TITLE))
        try:
            thread = await asyncio.shield(making)
            async with _events(self.line, asking(thread.id, text, model)) as events:
                async for event in events:
                    hearing.note(event)
            return hearing.summary(events.status, events.reason, events.error)
        finally:
            # Who is cancelled once more leaves; the thread goes all the same.
            await asyncio.shield(asyncio.ensure_future(self._delete_made(making)))

    async def _delete_made(self, making: asyncio.Future[Thread]) -> None:
        """Delete a thread that may still be on its way; one that never came is gone."""
        await asyncio.wait([making])
        if making.exception() is None:
            await self.delete_thread(making.result().id)

    async def _answer(
        self, run_id: str, actions: Sequence[PendingAction], processor: ToolProcessor
    ) -> None:
        """Run the tools; submit each output as it is ready, until nobody waits for more."""
        async with aclosing(self._results(run_id, actions, processor)) as results:
            async for call, result in results:
                if not await self._saved(result, self._as_output(run_id, call)):
                    return

    def _results(
        self, run_id: str, actions: Iterable[PendingAction], processor: ToolProcessor
    ) -> AsyncGenerator[tuple[ToolCall, ToolResult], None]:
        return processor.process_tool_calls(run_id, *work(actions), self.line.parent)

    async def _keep(self, name: str, media_type: str, content: bytes) -> str:
        return (await self.line.upload(name, media_type, content)).id

    async def _find_model_server(self, run_id: str) -> ModelServer | None:
        """The model server of this run; None where that cannot be learned."""
        try:
            return await self.line.model_server((await self.get_run(run_id)).model, run_id)
        except AntiphonError:
            return None

    async def _saved(
        self, result: ToolResult, save: Callable[[ToolResult], Awaitable[object]]
    ) -> bool:
        """Whether the run may wait for further outputs; another client's output stands."""
        try:
            try:
                await save(result)
            except (InvalidRequest, TooLarge) as refusal:
                await save(unfit(refusal))
        except OutputConflict:
            return True
        except RunEnded:
            return False
        return True

    def _as_output(self, run_id: str, call: ToolCall) -> Callable[[ToolResult], Awaitable[object]]:
        return lambda result: self.submit_tool_output(
            run_id,
            call.id,
            result.output,
            is_error=result.is_error,
            metadata=result.metadata,
        )

    def _as_message(self, action: Action) -> Callable[[ToolResult], Awaitable[object]]:
        return lambda result: self.create_message(
            action.thread_id,
            result.output,
            role="tool",
            tool_call_id=action.tool_call_id,
            run_id=action.run_id,
            is_error=result.is_error,
            metadata=result.metadata,
        )

    async def _wait_until_settled(self, run_id: str) -> Run:
        if settled((run := await self.get_run(run_id)).status):
            return run
        async with self.events(run_id) as events:
            async for event in events:
                stops = isinstance(event, RunStatus) and settled(event.status)
                # The log begins with earlier turns; how it stands now, only the run can tell.
                if stops and settled((run := await self.get_run(run_id)).status):
                    return run
        return await self.get_run(run_id)

    async def _raise_for_status(self, run: Run) -> None:
        """Raise the `RunError` of a run that has ended without completing."""
        seen = Seen(run.id)
        seen.settle(run)
        if run.status is Status.INCOMPLETE:
            listing = ListMessages(run.thread_id, limit=PAGE)
            seen.text = last_reply([each async for each in self.every(listing)], run.id)
        seen.raise_for_status()
