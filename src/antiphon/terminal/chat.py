"""The chat: a thread of the runtime, whoever answers in it, and the commands about both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from antiphon.api.operations import Content, ListThreads, Model
from antiphon.client import thread_list
from antiphon.client.async_client import AsyncClient
from antiphon.client.conversation import Options
from antiphon.client.mentions import Attached
from antiphon.mcp.client.server_listing import State
from antiphon.mcp.client.toolbox import McpServers
from antiphon.settings.settings import Settings
from antiphon.terminal import attachments, compaction, status, thread_choice, transcript_view
from antiphon.terminal.commands import answers, table
from antiphon.terminal.commands.command import Command, Group
from antiphon.terminal.commands.table import ParsedCommand
from antiphon.terminal.conversation_processor import ConversationProcessor, RunOutcome
from antiphon.terminal.input import completion
from antiphon.terminal.spans import Line
from antiphon.terminal.status import Facts, ReplyLimit, Window
from antiphon.terminal.ui_manager import UiManager
from antiphon.tools.consent import Consent
from antiphon.tools.functions import Function
from antiphon.tools.questions import ModelServer
from antiphon.types.errors import AntiphonError
from antiphon.types.runs import Reason, Status, Thread, Usage

# What a chat has under way: what the person waits for, and what goes on behind that.


class Tasks:
    """Things that are done while keys are read, so that they can be stopped."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[None]] = set()

    async def seen_through(self, doing: Coroutine[Any, Any, None]) -> bool:
        """Do it to its end; whether it came to that, or was stopped. Raises what it raised."""
        task = self.behind(doing)
        await asyncio.wait({task})
        if task.cancelled():
            return False
        task.result()
        return True

    def behind(self, doing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do it while other things go on."""
        task = asyncio.create_task(doing)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    def stop(self) -> None:
        """Stop everything that is under way."""
        for task in tuple(self._under_way):
            task.cancel()


ABSENT = ("starting", "restarting", "failed", "closed")
"""How servers are whose tools cannot be used just now, and might be expected to."""
PATIENCE = 2.0
"""Seconds that the first message waits for servers that are slow to start."""

Report = Callable[[], Awaitable[Sequence[Sequence[str]]]]
"""Tells something in rows of a few texts each."""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """How a chat begins: in a new thread, or in the one that `resume` names, as /resume does.

    `reports` are what commands of the shell tell, for the commands of the same names.
    """

    model: str | None = None
    system: str | None = None
    resume: str | None = None
    max_turns: int | None = None
    functions: Sequence[Function] = ()
    reports: Mapping[str, Report] = {}


class Chat:
    """One person's chat, from the first message to the last.

    `attached` goes along with the next message; `unusable` are servers that cannot be started.
    `thread_id` is None until something is said in a new thread, `title` is what it is called or is
    going to be. `listed` are the threads that were numbered last, `listing` the call that lists
    further ones, `models` the models that were listed last. `extra_commands` are those that come
    and go: the prompts of servers. `used` is what this chat took, `last` the last turn alone.
    `usual_model` is the one that the runtime takes where none is named, "" where nobody tells.
    `doing` is what goes on that is no reply; `uncompacted` are threads that are not summed up
    unless somebody asks. `failure` is the last error that the person was told of.
    """

    def __init__(
        self,
        surface: UiManager,
        client: AsyncClient,
        settings: Settings,
        consent: Consent,
        start: Start,
        usual_model: Callable[[], Awaitable[str]],
    ) -> None:
        self.surface = surface
        self.client = client
        self.settings = settings
        self.consent = consent
        self.thread_id: str | None = None
        self.title = ""
        self.listed: Sequence[str] = ()
        self.listing: ListThreads | None = None
        self.models: Sequence[Model] = ()
        self.model = start.model
        self.system = start.system
        self.functions = tuple(start.functions)
        self.reports = start.reports
        self.servers: McpServers | None = None
        self.unusable: Sequence[State] = ()
        self.attached: list[Attached] = []
        self.failure: AntiphonError | None = None
        self.used = Usage()
        self.last = Usage()
        self.chunks = 0
        self.window = Window()
        self.usual_model = ""
        self.doing = ""
        self.uncompacted: set[str] = set()
        self.limit = ReplyLimit(settings)
        self.extra_commands: dict[str, Command] = {}
        self.processor = ConversationProcessor(
            client,
            surface,
            functions=self.functions,
            consent=consent,
            max_tools=settings.max_tools,
            tool_timeout=settings.tool_timeout,
        )
        self._resume = start.resume
        self._usual_model = usual_model
        self._waited_for_servers = False
        self._max_turns = start.max_turns
        self._tasks = Tasks()
        surface.status = self.status
        surface.at_once = self._at_once
        surface.on_stop = self._stop
        surface.on_unfold = self._unfold
        surface.on_more_time = self._more_time

    @property
    def commands(self) -> Sequence[Command]:
        """All slash commands that there are just now."""
        return (*table.TABLE, *self.extra_commands.values())

    @property
    def command_groups(self) -> Sequence[Group]:
        """The same, sorted by what they are about."""
        return (*table.GROUPS, Group("Prompts of servers", tuple(self.extra_commands.values())))

    def states(self) -> Sequence[State]:
        """How each MCP server is just now, those too that cannot be started at all."""
        return (*(self.servers.states() if self.servers else ()), *self.unusable)

    async def run(self) -> None:
        """Take what is said, one thing after the other, until the person leaves.

        Raises `NotFound` where the thread that was asked for is not there.
        """
        completion.attach(self)
        self.surface.repaint()
        self._tasks.behind(self._see_model())
        try:
            if self._resume:
                await self._stoppable(self._go_on(self._resume))
            while (text := await self.surface.next_message()) is not None:
                await self._take(text)
        finally:
            self._tasks.stop()
            await self.processor.close()

    def be_in(self, thread: Thread | None, title: str = "") -> None:
        """Be in this thread from now on, or in a new one of this title.

        How full the window is there, its next reply tells.
        """
        self.thread_id, self.title = (thread.id, thread.title) if thread else (None, title)
        self.last = Usage()

    async def send(self, content: Content | None, *, draft: str = "") -> RunOutcome:
        """Say this in the thread, or have the thread answered as it stands, and see it through.

        `draft` goes back to the line where the message was refused.
        """
        await compaction.compact_if_due(self)
        await self._servers_there()
        reply = await self.processor.process_conversation(
            await self._thread(),
            content,
            reply_seconds=self.limit.seconds(self._answering),
            **self._options(),
        )
        return self._took(reply, draft)

    async def asked_by(self) -> ModelServer | None:
        """The model server of what is asked next; None where nobody knows who answers."""
        with suppress(AntiphonError):
            model = self._answering or self.usual_model
            if not model:
                models = (await self.client.list_models()).data
                model = next((each.id for each in models if each.default), "")
            return await self.client.transport.model_server(model) if model else None
        return None

    async def take_up(self, run_id: str) -> RunOutcome:
        """Go on with a run that was left, by this chat or another."""
        await self._servers_there()
        reply = await self.processor.process_conversation(await self._thread(), None, run_id=run_id)
        return self._took(reply, "")

    def status(self) -> Line:
        """The line at the bottom."""
        columns, _ = self.surface.size()
        facts = Facts(
            model=self._answering,
            title=self.title,
            told=compaction.context_tokens(self),
            window=self.window.tokens,
            cost=self.used.cost,
            servers=[(each.server, each.status) for each in self.states() if each.status in ABSENT],
            queued=self.surface.queued,
            doing=self.doing,
        )
        return status.row(facts, columns - 1, self.surface.theme.glyphs.more)

    # What is said.

    async def _go_on(self, words: str) -> None:
        first = thread_list.latest_threads(limit=1)
        if words == thread_choice.LAST and not (await self.client.transport.send(first)).data:
            self.surface.say("There is no thread yet: this is the first.", "faint")
            return
        await thread_choice.switch_thread(self, await thread_choice.find_thread(self, words))

    async def _take(self, text: str) -> None:
        match table.parse(text):
            case ParsedCommand() as read:
                await self._tried(self._carry_out(read))
            case message:
                await self._tried(self._say(message))

    async def _tried(self, doing: Coroutine[Any, Any, None]) -> None:
        """Do it while the person may stop it; what they can mend they are told."""
        try:
            await self._stoppable(doing)
        except AntiphonError as problem:
            self.failure = problem
            self.surface.say(problem.told, "error")

    async def _say(self, text: str) -> None:
        try:
            message = await attachments.prepare(self, text)
            if not self.surface.keyboard.echoes:
                self.surface.show(transcript_view.user_lines(text, self.surface.theme))
            if message.files:
                self.surface.say(attachments.describe_files(message.files), "faint")
            reply = await self.send(await attachments.upload(self, message), draft=text)
        except (AntiphonError, asyncio.CancelledError):
            self.surface.keyboard.refill(text)  # nothing of it was sent
            raise
        if reply.run_id is not None:
            self.attached.clear()

    async def _carry_out(self, read: ParsedCommand) -> None:
        if not self.surface.keyboard.echoes:
            said = transcript_view.user_lines(
                f"/{read.name} {read.words}".rstrip(), self.surface.theme
            )
            self.surface.show(line for line in said if line)
        command = self._named(read.name)
        if command is None:
            raise table.unknown_command(read.name, list(self.extra_commands))
        await command.run(self, read.words)

    def _named(self, name: str) -> Command | None:
        return table.COMMANDS.get(name) or self.extra_commands.get(name)

    async def _stoppable(self, doing: Coroutine[Any, Any, None]) -> None:
        """Do it while the person may stop it."""
        with self.surface.working():
            ended = await self._tasks.seen_through(doing)
        if not ended:
            self.surface.say("[stopped]", "warning")

    def _at_once(self, text: str) -> bool:
        read = table.parse(text)
        if not isinstance(read, ParsedCommand):
            return False
        command = self._named(read.name)
        if command is not None and not command.at_once:
            return False
        self._tasks.behind(self._take(text))
        return True

    def _stop(self) -> None:
        self.processor.interrupt()
        display = self.surface.display
        if not (display.is_streaming or display.is_over):  # the end of a run is seen through
            self._tasks.stop()

    def _unfold(self) -> None:
        self._tasks.behind(self._tried(answers.open_fold(self, "")))

    def _more_time(self) -> None:
        seconds = self.limit.extend(self._answering)
        replies = "This reply keeps its limit; the next" if self.surface.busy else "The next"
        self.surface.hint(f"{replies} may take {seconds:.0f} s each. --turn-timeout sets it.")

    # Runs.

    @property
    def _answering(self) -> str:
        return self.model or self.window.model

    async def _thread(self) -> str:
        if self.thread_id is None:
            self.thread_id = (await self.client.create_thread(title=self.title)).id
        return self.thread_id

    def _options(self) -> Options:
        options = Options(deadlines=self.limit.deadlines())
        if self.model:
            options["model"] = self.model
        if self.system:
            options["instructions"] = self.system
        if self._max_turns:
            options["max_turns"] = self._max_turns
        return options

    def _took(self, reply: RunOutcome, draft: str) -> RunOutcome:
        self.used += reply.used
        self.chunks += reply.chunks
        self.failure = reply.failure or self.failure
        if reply.last != Usage():
            self.last = reply.last
        if reply.run_id is None and draft:
            self.surface.keyboard.refill(draft)
        if reply.status is Status.INCOMPLETE:
            self.surface.say(_way_on(reply.reason), "faint")
        if reply.run_id is not None:
            self._tasks.behind(self._see_title())
        return reply

    async def _see_title(self) -> None:
        """The thread may have got a title by what was said; whether it has, nobody waits for."""
        if self.thread_id is None:
            return
        with suppress(AntiphonError):
            thread = await self.client.get_thread(self.thread_id)
            if thread.id == self.thread_id:
                self.title = thread.title
                self.window = await status.find_window(self)
                self.surface.repaint()

    async def _see_model(self) -> None:
        """Who will answer, before anybody has; what is wrong with them the first message says."""
        with suppress(AntiphonError):
            self.usual_model = await self._usual_model()
            self.window = await status.find_window(self)
            self.surface.repaint()

    async def _servers_there(self) -> None:
        """Servers that are slow have a moment more, once; the message then goes without them."""
        if self.servers is None or self._waited_for_servers:
            return
        for state in await self.servers.ready(PATIENCE):
            if state.status == "starting":
                self.surface.say(f"{state.server} is still starting; not waited for.", "faint")
        self._waited_for_servers = True


def _way_on(reason: Reason | None) -> str:
    match reason:
        case "stalled":
            return "/continue goes on. --chunk-timeout and --turn-timeout say how long to wait."
        case "max_turns":
            return "/continue goes on. --max-turns says how many turns a run may take."
        case _:
            return "/continue goes on."
