"""`Client`: the whole API as methods, and the loops of a conversation, for code that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from copy import copy
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import Call, Content, ListActions, Listed, ListMessages
from antiphon.client import transport, uploads
from antiphon.client.bind import now, streamed
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
from antiphon.client.portal import Portal
from antiphon.client.transport import Batches, Line, Pieces
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
from antiphon.types.runs import Action, Run, Status

T = TypeVar("T")


class Events(Told, Iterator[Event]):
    """Events as they happen; a lost connection is resumed unnoticed, and each comes once.

    Nothing is asked for until the first is. Closing stops listening, not the run.
    """

    def __init__(
        self, batches: Batches, seen: Seen, processor: ToolProcessor | None = None
    ) -> None:
        super().__init__(seen, processor)
        self._batches = batches
        self._each = _one_by_one(batches, seen)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        return next(self._each)

    def batches(self) -> Generator[list[Numbered], None, None]:
        """The events with their numbers, all together that came together: cheaper than each."""
        for batch in self._batches:
            if new := self._seen.new(batch):
                yield new

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; tools that still run are cancelled."""
        self._each.close()
        self._batches.close()


def _one_by_one(batches: Batches, seen: Seen) -> Generator[Event, None, None]:
    """Apart from `Events`, so that these are no cycle: let go of, they close at once."""
    for batch in batches:
        for number, event in batch:
            if number > seen.last_event:
                seen.note(number, event)
                yield event


def _raising(batches: Batches, seen: Seen) -> Batches:
    """The batches, and after the last one the `RunError` of a run that did not complete."""
    with closing(batches):
        yield from batches
    seen.raise_for_status()


def _events(line: Line, call: Call[Any]) -> Events:
    return Events(line.stream(listenable(call)), Seen(getattr(call, "run_id", None)))


class Stream:
    """One turn of a run that exists, in explicit steps.

    stream = client.sync_stream()
    stream.setup(run_id=run.id)
    for event in stream.stream_chunks():
        ...
    stream.close()
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._run_id: str | None = None
        self._events: Events | None = None

    def setup(self, run_id: str) -> Self:
        """Say which run."""
        self._run_id = run_id
        return self

    def stream_chunks(self, *, raise_on_failure: bool = True) -> Events:
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
        self._events = Events(batches, seen)
        return self._events

    def close(self) -> None:
        """Stop listening; the run goes on."""
        if self._events is not None:
            self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Client:
    """Antiphon in this process, or the server at an address.

        with Client() as client:
            for event in client.converse("When is the next flight?", tools=[get_flight_times]):
                match event:
                    case TextDelta(text=text):
                        print(text, end="")

    Without `server` the address comes from the settings (`ANTIPHON_SERVER`, `antiphon.toml`); if
    they have none either, a runtime is opened in this process when it is first needed. Threads may
    share a client.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        api_key: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.line: Line = transport.line(server, api_key, settings)
        self._portal = Portal()

    create_assistant = now(operations.CreateAssistant)
    list_assistants = now(operations.ListAssistants)
    get_assistant = now(operations.GetAssistant)
    update_assistant = now(operations.UpdateAssistant)
    delete_assistant = now(operations.DeleteAssistant)
    create_thread = now(operations.CreateThread)
    list_threads = now(operations.ListThreads)
    get_thread = now(operations.GetThread)
    update_thread = now(operations.UpdateThread)
    delete_thread = now(operations.DeleteThread)
    fork_thread = now(operations.ForkThread)
    create_message = now(operations.CreateMessage)
    list_messages = now(operations.ListMessages)
    get_message = now(operations.GetMessage)
    create_run = now(operations.CreateRun)
    list_runs = now(operations.ListRuns)
    get_run = now(operations.GetRun)
    cancel_run = now(operations.CancelRun)
    submit_tool_output = now(operations.SubmitToolOutput)
    list_actions = now(operations.ListActions)
    get_action = now(operations.GetAction)
    list_files = now(operations.ListFiles)
    get_file = now(operations.GetFile)
    list_models = now(operations.ListModels)

    create_person = now(operations.CreatePerson)
    list_people = now(operations.ListPeople)
    get_person = now(operations.GetPerson)
    update_person = now(operations.UpdatePerson)
    delete_person = now(operations.DeletePerson)
    sign_in = now(operations.SignIn)
    create_key = now(operations.CreateKey)
    list_keys = now(operations.ListKeys)
    update_key = now(operations.UpdateKey)
    revoke_key = now(operations.RevokeKey)
    create_project = now(operations.CreateProject)
    list_projects = now(operations.ListProjects)
    get_project = now(operations.GetProject)
    update_project = now(operations.UpdateProject)
    delete_project = now(operations.DeleteProject)
    list_acts = now(operations.ListActs)
    list_live_runs = now(operations.ListLiveRuns)
    get_usage = now(operations.GetUsage)
    list_servers = now(operations.ListServers)
    set_provider_key = now(operations.SetProviderKey)
    list_provider_keys = now(operations.ListProviderKeys)
    delete_provider_key = now(operations.DeleteProviderKey)
    set_owners_provider_key = now(operations.SetOwnersProviderKey)
    list_all_provider_keys = now(operations.ListAllProviderKeys)
    list_owners = now(operations.ListOwners)
    erase_owner = now(operations.EraseOwner)

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
    ) -> Events:
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
        return Events(batches, seen, processor)

    def poll_and_execute_action(
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
        run = self._wait_until_settled(run_id)
        if raise_on_failure:
            self._raise_for_status(run)
        waiting = {
            action.tool_call_id: action
            for action in self.every(ListActions(run_id, status="pending"))
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
        results = self._results(run_id, map(pending, waiting.values()), processor)
        with closing(results):
            for call, result in results:
                action = waiting[call.id]
                save = self._as_message(action)
                if action.approval is not None:  # which says nothing in the thread
                    save = self._as_output(run_id, call)
                if not self._saved(result, save):
                    if raise_on_failure:
                        self._raise_for_status(self.get_run(run_id))
                    break
                answered.append(self.get_action(action.id))
        return answered

    def compact(
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
        asked = model_of(self.list_runs(thread_id, limit=1).data, model)
        models = self.list_models(model=asked).data if asked else ()
        messages = list(self.every(ListMessages(thread_id, limit=PAGE)))
        summing = Summing(thread_id, messages, keep, models)
        while (text := summing.due()) is not None:
            hearing = Hearing(summing.where, tell)
            summing.summed(self._summary(text, asked, hearing), hearing.usage)
        return summing.done(self.line.send(summing.mark())) if summing.begun else None

    def uncompact(self, thread_id: str) -> Message:
        """Tell models all of the thread again; the message that says so."""
        return self.create_message(thread_id, "", role="system", compacts=0)

    def sync_stream(self) -> Stream:
        """A new stream of one turn, which shares nothing with any other."""
        return Stream(self.line)

    def upload_file(
        self,
        source: uploads.Source,
        name: str | None = None,
        media_type: str | None = None,
    ) -> Upload:
        """Upload a file, given by its path or as bytes with a name."""
        file = uploads.read(source, name, media_type)
        return self.line.upload(file.name, file.media_type, file.content)

    def download_file(self, file_id: str) -> bytes:
        """The bytes of an uploaded file."""
        return self.line.download(file_id)

    def export_owner(self, owner: str) -> Pieces:
        """Everything of an owner as a zip, piece by piece: write each into a file.

        Raises `ConnectionLost` where it breaks off: begin anew.
        """
        return self.line.export(owner)

    def every(self, listing: Call[Listed[T]]) -> Iterator[T]:
        """All that a call lists, page after page: `every(calls.ListThreads(q="flight"))`."""
        while True:
            page = self.line.send(listing)
            yield from page.data
            if not page.has_more:
                return
            listing = replace(listing, after=page.next)

    @classmethod
    def over(cls, line: Line) -> Client:
        """A client over a line that is there."""
        client = cls.__new__(cls)
        client.line, client._portal = line, Portal()
        return client

    def acting_for(self, owner: str) -> Client:
        """A client over this one's line whose every call is that owner's.

        Another owner's things are unknown to it, on this side as on the server's. Closing it leaves
        this one open. The scope `admin` is needed; in this process everybody has it. Raises
        `InvalidRequest` for what is no owner.
        """
        acting = copy(self)
        acting.line, acting._portal = self.line.acting_for(owner), Portal()
        return acting

    def acting_as(self, actor: str) -> Client:
        """A client over this one's line whose acts the audit log says to be that person's.

        For programs in which administrators log in. Closing it leaves this one open. The scope
        `admin` is needed. Raises `InvalidRequest` for what is no id.
        """
        acting = copy(self)
        acting.line, acting._portal = self.line.acting_as(actor), Portal()
        return acting

    def close(self) -> None:
        """Let go of the connections; an embedded runtime ends."""
        self._portal.close()
        self.line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _carry_out(self, conversation: Conversation, processor: ToolProcessor) -> Batches:
        tracer, parent = self.line.tracer, self.line.parent
        with detached_span(tracer, "invoke_agent", "client", parent=parent) as span:
            yield from self._below(span.place)._steps(conversation, processor)
            span.note(conversation.facts)

    def _steps(self, conversation: Conversation, processor: ToolProcessor) -> Batches:
        while True:
            match conversation.due():
                case Listen() as step:
                    try:
                        yield from self._stream_step(step, conversation)
                    except (OutputsMissing, RunEnded) as refusal:
                        conversation.take_refusal(refusal)
                    else:
                        conversation.end_stream()
                case LookUp(call):
                    conversation.take_actions(list(self.every(call)))
                case Answer(run_id, actions):
                    self._answer(run_id, actions, processor)
                    conversation.finish_answers()
                case Settle(call):
                    conversation.take_run(self.line.send(call))
                case Recall(call):
                    conversation.take_messages(list(self.every(call)))
                case Done():
                    return

    def _stream_step(self, step: Listen, conversation: Conversation) -> Batches:
        """The step's events, and before them those that were missed."""
        with closing(self.line.stream(step.call)) as batches:
            for batch in batches:
                if missed := conversation.find_missed(step, batch):
                    yield from self._stream_step(missed, conversation)
                yield batch
                if step.until is not None and batch[-1][0] >= step.until:
                    return

    def _below(self, place: str | None) -> Client:
        """This client, whose calls and tools belong there in a trace."""
        client = copy(self)
        client.line = self.line.below(place)
        return client

    def _summary(self, text: str, model: str | None, hearing: Hearing) -> str:
        """What a model answers in a thread that is gone afterwards, whatever happens."""
        thread = self.create_thread(title=TITLE)
        try:
            with _events(self.line, asking(thread.id, text, model)) as events:
                for event in events:
                    hearing.note(event)
            return hearing.summary(events.status, events.reason, events.error)
        finally:
            self.delete_thread(thread.id)

    def _answer(
        self, run_id: str, actions: Sequence[PendingAction], processor: ToolProcessor
    ) -> None:
        """Run the tools; submit each output as it is ready, until nobody waits for more."""
        with closing(self._results(run_id, actions, processor)) as results:
            for call, result in results:
                if not self._saved(result, self._as_output(run_id, call)):
                    return

    def _results(
        self, run_id: str, actions: Iterable[PendingAction], processor: ToolProcessor
    ) -> Generator[tuple[ToolCall, ToolResult], None, None]:
        yield from self._portal.stream(
            processor.process_tool_calls(run_id, *work(actions), self.line.parent)
        )

    async def _keep(self, name: str, media_type: str, content: bytes) -> str:
        kept = await asyncio.to_thread(self.line.upload, name, media_type, content)
        return kept.id

    async def _find_model_server(self, run_id: str) -> ModelServer | None:
        """The model server of this run; None where that cannot be learned."""

        def look() -> ModelServer:
            return self.line.model_server(self.get_run(run_id).model, run_id)

        try:
            return await asyncio.to_thread(look)
        except AntiphonError:
            return None

    def _saved(self, result: ToolResult, save: Callable[[ToolResult], object]) -> bool:
        """Whether the run may wait for further outputs; another client's output stands."""
        try:
            try:
                save(result)
            except (InvalidRequest, TooLarge) as refusal:
                save(unfit(refusal))
        except OutputConflict:
            return True
        except RunEnded:
            return False
        return True

    def _as_output(self, run_id: str, call: ToolCall) -> Callable[[ToolResult], object]:
        return lambda result: self.submit_tool_output(
            run_id,
            call.id,
            result.output,
            is_error=result.is_error,
            metadata=result.metadata,
        )

    def _as_message(self, action: Action) -> Callable[[ToolResult], object]:
        return lambda result: self.create_message(
            action.thread_id,
            result.output,
            role="tool",
            tool_call_id=action.tool_call_id,
            run_id=action.run_id,
            is_error=result.is_error,
            metadata=result.metadata,
        )

    def _wait_until_settled(self, run_id: str) -> Run:
        if settled((run := self.get_run(run_id)).status):
            return run
        with self.events(run_id) as events:
            for event in events:
                stops = isinstance(event, RunStatus) and settled(event.status)
                # The log begins with earlier turns; how it stands now, only the run can tell.
                if stops and settled((run := self.get_run(run_id)).status):
                    return run
        return self.get_run(run_id)

    def _raise_for_status(self, run: Run) -> None:
        """Raise the `RunError` of a run that has ended without completing."""
        seen = Seen(run.id)
        seen.settle(run)
        if run.status is Status.INCOMPLETE:
            listing = ListMessages(run.thread_id, limit=PAGE)
            seen.text = last_reply(list(self.every(listing)), run.id)
        seen.raise_for_status()
