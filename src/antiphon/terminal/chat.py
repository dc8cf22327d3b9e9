"""The chat: takes messages and commands from the UI, one after the other, and carries them out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from antiphon.api.operations import Content, Options
from antiphon.client import mentions, thread_families
from antiphon.client.async_client import AsyncClient
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.settings.settings import Settings
from antiphon.skills.workspace import NO_WORKSPACE, Workspace
from antiphon.terminal import (
    chat_state,
    conversation_processor,
    resume,
    status_line,
)
from antiphon.terminal.chat_state import ChatState, ReplyLimit, StatusFacts
from antiphon.terminal.commands import answers, table
from antiphon.terminal.commands.command import Group, Report, SlashCommand
from antiphon.terminal.commands.shell import run_shell_line
from antiphon.terminal.commands.skills import announce_workspace, file_command
from antiphon.terminal.commands.table import ParsedCommand, ShellLine
from antiphon.terminal.conversation_processor import ConversationProcessor, RunOutcome
from antiphon.terminal.forms import Questions
from antiphon.terminal.offered_tools import OfferedTools
from antiphon.terminal.spans import Line
from antiphon.terminal.status_line import GitBranch
from antiphon.terminal.ui_manager import UiManager
from antiphon.tools.consent import Consent
from antiphon.tools.functions import Function
from antiphon.tools.hooks import ToolHooks
from antiphon.tools.permission_modes import (
    MODES,
    PermissionMode,
    add_plan_instructions,
    mode_rules,
)
from antiphon.tools.questions import ModelServer
from antiphon.tools.tool_sources import ToolSource
from antiphon.types.errors import AntiphonError, ConnectionLost, InvalidRequest, Unauthorized
from antiphon.types.run_ends import find_run_end
from antiphon.types.runs import Run, Thread, Usage

ABSENT = ("starting", "restarting", "failed", "closed")
"""States of servers that the status row shows: their tools cannot be used now."""


class Tasks:
    """Tasks that run while keys are read, so that they can be cancelled."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, work: Coroutine[Any, Any, None]) -> bool:
        """Run the work to its end; return False if it was cancelled. Raises what it raises."""
        task = self.start(work)
        await asyncio.wait({task})
        if task.cancelled():
            return False
        task.result()
        return True

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start the work in the background."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def stop(self) -> None:
        """Cancel everything that runs, but the task that asks for it."""
        for task in self._running - {asyncio.current_task()}:
            task.cancel()


class ChatOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Start of a chat: in a new thread, or in the one that `resume` names, as /resume does.

    `options` are those of every run. `reports` are reports of commands of the shell, for the slash
    commands of the same names. `find_workspace` finds skills, instructions and commands of folders.
    """

    model: str | None = None
    system: str | None = None
    resume: str | None = None
    options: Options = {}
    mode: PermissionMode = "ask"
    functions: Sequence[Function] = ()
    reports: Mapping[str, Report] = {}
    find_workspace: Callable[[], Workspace] = lambda: NO_WORKSPACE
    environ: Mapping[str, str] = {}


class Chat:
    """One user's chat, from the first message to the last.

    `find_usual_model` returns the runtime's default model, "" if unknown. `failure` is the last
    error that was printed.
    """

    def __init__(
        self,
        ui: UiManager,
        client: AsyncClient,
        settings: Settings,
        consent: Consent,
        start: ChatOptions,
        find_usual_model: Callable[[], Awaitable[str]],
    ) -> None:
        self.ui = ui
        self.client = client
        self.settings = settings
        self.consent = consent
        self.workspace = NO_WORKSPACE
        self.environ = start.environ
        self.reports = start.reports
        self.prompt_commands: dict[str, SlashCommand] = {}
        self.file_commands: dict[str, SlashCommand] = {}
        self._find_workspace = start.find_workspace
        self.failure: AntiphonError | None = None
        self.state = ChatState(model=start.model, system=start.system, mode=start.mode)
        self._offered = OfferedTools(client, ui, self.state, start.functions)
        self._processor = ConversationProcessor(
            client,
            ui,
            functions=self._offered.sources(),
            consent=consent,
            hooks=ToolHooks(settings.hooks, warn=lambda text: ui.say(text, "warning")),
            ask_user=Questions(ui),
            max_tools=settings.max_parallel_tools,
            tool_timeout=settings.tool_timeout,
        )
        self._limit = ReplyLimit(settings)
        self._resume = start.resume
        self._find_usual_model = find_usual_model
        self._run_options = start.options
        self._tasks = Tasks()
        self._branch = GitBranch(ui.clock)
        ui.connect(self)

    @property
    def command_groups(self) -> Sequence[Group]:
        """All commands, grouped by subject."""
        files = Group("From files", tuple(self.file_commands.values()))
        prompts = Group("Prompts of servers", tuple(self.prompt_commands.values()))
        return (*table.GROUPS, files, prompts)

    @property
    def functions(self) -> Sequence[ToolSource]:
        """The tools that are offered now, without those of MCP servers."""
        return self._offered.sources()

    async def run(self) -> None:
        """Carry out messages and commands in order until the user leaves.

        Raises `NotFound` if the thread to resume does not exist.
        """
        table.attach_completion(self)
        self.ui.repaint()
        self._tasks.start(self._load_model())
        try:
            await self.load_workspace()
            announce_workspace(self.ui, self.workspace)
            if self._resume:
                await self._run_stoppable(self._resume_thread(self._resume))
            while (text := await self.ui.next_message()) is not None:
                await self._handle(text)
        finally:
            self._tasks.stop()
            await self._processor.close()
            with suppress(AntiphonError):  # the server deletes them later
                await chat_state.delete_temporary_threads(self.client, self.state)

    def use_servers(self, servers: AsyncMcpServerPool) -> None:
        """Set the MCP servers of the chat; their tools are offered from the next message on."""
        self.state.servers.toolbox = self._processor.toolbox = servers

    # What commands use.

    async def load_workspace(self) -> None:
        """Find skills, instructions and slash commands, for the messages from now on."""
        self.workspace = await asyncio.to_thread(self._find_workspace)
        self._offered.workspace = self.workspace
        commands = map(file_command, self.workspace.commands)
        self.file_commands = {each.name: each for each in commands}

    async def send(
        self, content: Content | None, *, draft: str = "", continues: bool = False
    ) -> RunOutcome:
        """Send the message, or have the thread answered as it is, and wait for the end of the run.

        `draft` is put back into the input line if the message is refused. With `continues` the run
        goes on with the thread's last answer, which was cut.
        """
        if not continues:  # a summary would part the answer from its rest
            await conversation_processor.compact_if_due(self.client, self.ui, self.state)
        await self._offered.wait_for_servers()
        await self._offered.offer_memory()
        thread_id = await self._ensure_thread()
        await self._offered.offer_documents(thread_id, content)
        self._processor.functions = self.functions
        outcome = await self._processor.process_conversation(
            thread_id,
            content,
            reply_seconds=self._limit.seconds(self.state.answering_model),
            **self._options(continues=continues),
        )
        return self._record(outcome, draft)

    async def switch_thread(self, thread: Thread) -> None:
        """Continue in this thread: show its end, and resume a run that has not ended."""
        if thread.id not in self.state.temporary_threads:
            await chat_state.delete_temporary_threads(self.client, self.state)
        run = await resume.switch_thread(self.client, self.ui, self.state, thread)
        if run is not None:
            await self.resume_run(run)

    async def resume_run(self, run: Run) -> None:
        """Resume a run that was left, by this chat or another, unless the user declines."""
        if not await resume.confirm_resume(self.client, self.ui, run):
            return
        await self._offered.wait_for_servers()
        await self._offered.offer_memory()
        await self._offered.offer_documents(run.thread_id, ())
        self._processor.functions = self.functions
        outcome = await self._processor.process_conversation(
            await self._ensure_thread(), None, run_id=run.id
        )
        self._record(outcome, "")

    async def find_model_server(self) -> ModelServer | None:
        """Return the server of the model of the next reply; None if unknown."""
        with suppress(AntiphonError):
            model = self.state.answering_model or self.state.usual_model
            if not model:
                models = (await self.client.list_models()).data
                model = next((each.id for each in models if each.default), "")
            return await self.client.transport.model_server(model) if model else None
        return None

    def set_mode(self, mode: PermissionMode) -> None:
        """Apply the permission mode from the next tool call on."""
        self.state.mode = mode
        self.consent.rules = mode_rules(mode, self.settings)
        self.ui.repaint()

    def interrupt(self) -> None:
        """Stop the run that streams."""
        self._processor.interrupt()

    def cancel_tool(self, number: int) -> bool:
        """Cancel one running tool call, counted from 1; return False if there is no such call."""
        return self._processor.cancel_tool(number)

    # What the UI asks for.

    def status_line(self) -> Line:
        """Return the row at the bottom."""
        columns, _ = self.ui.size()
        states = self.state.servers.states()
        facts = StatusFacts(
            model=self.state.answering_model,
            title=self.state.title,
            context_tokens=self.state.context_tokens,
            window=self.state.window.tokens,
            cost=self.state.used.cost,
            servers=[(each.server, each.status) for each in states if each.status in ABSENT],
            queued=self.ui.queued,
            activity=self.state.activity,
            mode=self.state.mode,
            temporary=self.state.temporary,
        )
        more = self.ui.theme.glyphs.more
        if template := self.settings.status_line:
            folder = status_line.short_folder(status_line.working_folder())
            branch = self._branch.name()
            return status_line.template_row(template, facts, folder, branch, columns - 1, more)
        return chat_state.status_row(facts, columns - 1, more)

    def run_at_once(self, text: str) -> bool:
        """Start the command if it need not wait until what runs has ended; return whether it did.

        An unknown command is handled at once too: the error is printed.
        """
        parsed = table.parse(text)
        if not isinstance(parsed, ParsedCommand):
            return False
        command = self._find_command(parsed.name)
        if command is not None and not command.at_once:
            return False
        self._tasks.start(self._handle(text))
        return True

    def stop(self) -> None:
        """Stop what runs; a run that is about to end by itself may end."""
        self._processor.interrupt()
        display = self.ui.display
        if not (display.is_streaming or display.is_over):
            self._tasks.stop()

    def unfold(self) -> None:
        """Open the last thing that was shown in short."""
        self._tasks.start(self._report_errors(answers.open_fold(self, "")))

    def more_time(self) -> None:
        """Extend the time limit of the next replies."""
        seconds = self._limit.extend(self.state.answering_model)
        replies = "This reply keeps its limit; the next" if self.ui.busy else "The next"
        self.ui.hint(f"{replies} may take {seconds:.0f} s each. --turn-timeout sets it.")

    def toggle_plan(self) -> None:
        """Enter plan mode, or leave it."""
        self.set_mode("ask" if self.state.mode == "plan" else "plan")
        self.ui.hint(f"{self.state.mode} mode: {MODES[self.state.mode]}")

    # Messages and commands.

    async def _resume_thread(self, words: str) -> None:
        first = thread_families.latest_threads(limit=1)
        if words == resume.LAST and not (await self.client.transport.send(first)).data:
            self.ui.say("There is no thread yet: this is the first.", "faint")
            return
        await self.switch_thread(await resume.find_thread(self.client, self.state, words))

    async def _handle(self, text: str) -> None:
        match table.parse(text):
            case ParsedCommand() as parsed:
                await self._report_errors(self._run_command(parsed))
            case ShellLine(line):
                await self._report_errors(run_shell_line(self, line))
            case message:
                await self._report_errors(self._send_message(message))

    async def _report_errors(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the work so that the user can stop it; print errors that the user can fix."""
        try:
            await self._run_stoppable(work)
        except AntiphonError as problem:
            self.failure = problem
            self.ui.say(problem.full_message, "error")

    async def _run_stoppable(self, work: Coroutine[Any, Any, None]) -> None:
        with self.ui.working():
            ended = await self._tasks.run(work)
        if not ended:
            self.ui.say("[stopped]", "warning")

    async def _send_message(self, text: str) -> None:
        try:
            message = await chat_state.prepare(self.state, text)
            if not self.ui.keyboard.echoes:
                self.ui.show(resume.user_lines(text, self.ui.theme))
            if message.files:
                self.ui.say(f"with {chat_state.describe_files(message.files)}", "faint")
            content = await mentions.upload_attachments(self.client, message)
            outcome = await self.send(content, draft=text)
        except (AntiphonError, asyncio.CancelledError):
            self.ui.keyboard.refill(text)  # nothing of it was sent
            raise
        if outcome.run_id is not None:
            self.state.attached.clear()

    async def _run_command(self, parsed: ParsedCommand) -> None:
        if not self.ui.keyboard.echoes:
            typed = f"/{parsed.name} {parsed.words}".rstrip()
            lines = resume.user_lines(typed, self.ui.theme)
            self.ui.show(line for line in lines if line)
        command = self._find_command(parsed.name)
        if command is None:
            if any(each.name == parsed.name for each in self.workspace.untrusted):
                raise InvalidRequest(
                    f"/{parsed.name} is not trusted, or has changed since",
                    hint=f"/skills trust {parsed.name} shows it, and asks.",
                )
            others = [*self.file_commands, *self.prompt_commands]
            raise table.unknown_command(parsed.name, others)
        await command.run(self, parsed.words)

    def _find_command(self, name: str) -> SlashCommand | None:
        return (
            table.COMMANDS.get(name)
            or self.file_commands.get(name)
            or self.prompt_commands.get(name)
        )

    # Runs.

    async def _ensure_thread(self) -> str:
        if self.state.thread_id is None:
            thread = await self.client.create_thread(
                title=self.state.title,
                temporary=self.state.temporary,
                options=self.state.options,
                folder_id=self.state.folder_id,
            )
            self.state.enter_thread(thread)
            return thread.id
        return self.state.thread_id

    def _options(self, *, continues: bool) -> Options:
        options = self._run_options.copy()
        if continues:
            options["continues"] = True
        options["deadlines"] = self._limit.deadlines()
        if self.state.model:
            options["model"] = self.state.model
        if self.state.system:
            options["instructions"] = self.state.system
        if added := add_plan_instructions(self.state.mode, self.workspace.instructions):
            options["additional_instructions"] = added
        return options

    def _record(self, outcome: RunOutcome, draft: str) -> RunOutcome:
        """Add the usage of a run that has ended, and print how to continue if it was cut off."""
        self.state.used += outcome.used
        self.state.chunks += outcome.chunks
        self.failure = outcome.failure or self.failure
        if outcome.last != Usage():
            self.state.last_turn = outcome.last
        if outcome.run_id is None and draft:
            self.ui.keyboard.refill(draft)
        if outcome.status and (hint := find_run_end(outcome.status, outcome.reason).hint):
            self.ui.say(hint, "faint")
        if outcome.run_id is not None:
            self._tasks.start(self._load_title())
        return outcome

    async def _load_title(self) -> None:
        """Load the title that the thread may have got from its first message, in the background."""
        if self.state.thread_id is None:
            return
        with suppress(AntiphonError):
            thread = await self.client.get_thread(self.state.thread_id)
            if thread.id == self.state.thread_id:
                self.state.title = thread.title
                self.state.window = await chat_state.find_window(self.client, self.state)
                self.ui.repaint()

    async def _load_model(self) -> None:
        """Load the model that will answer, and say if the server cannot be used.

        Other errors are left to the first message, and so are all while it is answered.
        """
        try:
            if self.settings.server is not None:
                await self.client.list_threads(limit=1)  # does it answer, and accept the key?
            self.state.usual_model = await self._find_usual_model()
            self.state.window = await chat_state.find_window(self.client, self.state)
            self.ui.repaint()
        except (ConnectionLost, Unauthorized) as problem:
            if not self.ui.busy:
                self.ui.say(problem.full_message, "warning")
        except AntiphonError:
            return
