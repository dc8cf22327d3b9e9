"""A slash command, and the part of the chat that commands may use."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from antiphon.api.operations import Content
from antiphon.client.async_client import AsyncClient
from antiphon.settings.settings import Settings
from antiphon.skills.workspace import Workspace
from antiphon.terminal import spans
from antiphon.terminal.chat_state import ChatState
from antiphon.terminal.conversation_processor import RunOutcome
from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.ui_manager import Ui
from antiphon.tools.consent import Consent
from antiphon.tools.permission_modes import PermissionMode
from antiphon.tools.questions import ModelServer
from antiphon.tools.tool_sources import ToolSource
from antiphon.types.errors import InvalidRequest
from antiphon.types.runs import Run, Thread
from antiphon.types.terminal_safe import one_line

Report = Callable[[], Awaitable[Sequence[Sequence[str]]]]
"""Returns rows of a few texts each."""


class CommandContext(Protocol):
    """The chat as commands see it: its state, the client and the UI, and what the chat can do.

    `prompt_commands` are the prompts of MCP servers: they come and go with the servers. `reports`
    are reports of commands of the shell, by the names of those commands.
    """

    @property
    def ui(self) -> Ui:
        """The user interface."""
        ...

    @property
    def client(self) -> AsyncClient:
        """The runtime's client."""
        ...

    @property
    def state(self) -> ChatState:
        """The state of the chat."""
        ...

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        ...

    @property
    def consent(self) -> Consent:
        """The rules and grants under which tools run."""
        ...

    @property
    def functions(self) -> Sequence[ToolSource]:
        """Python functions that the model may call, and the tools of skills."""
        ...

    @property
    def workspace(self) -> Workspace:
        """Skills, instructions and slash commands of the working folder and of the user."""
        ...

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment, by which the user's own folders are found."""
        ...

    @property
    def reports(self) -> Mapping[str, Report]:
        """Reports by name."""
        ...

    @property
    def prompt_commands(self) -> Mapping[str, SlashCommand]:
        """Commands of the prompts of servers, by name."""
        ...

    @property
    def command_groups(self) -> Sequence[Group]:
        """All commands, grouped by subject."""
        ...

    async def load_workspace(self) -> None:
        """Find skills, instructions and slash commands again."""
        ...

    async def send(
        self, content: Content | None, *, draft: str = "", continues: bool = False
    ) -> RunOutcome:
        """Send a message, or have the thread answered as it is, and wait for the end of the run.

        With `continues` the run goes on with the thread's last answer, which was cut.
        """
        ...

    async def switch_thread(self, thread: Thread) -> None:
        """Continue in this thread."""
        ...

    async def resume_run(self, run: Run) -> None:
        """Resume a run that has not ended."""
        ...

    async def find_model_server(self) -> ModelServer | None:
        """Return the server of the model of the next reply; None if unknown."""
        ...

    def set_mode(self, mode: PermissionMode) -> None:
        """Apply the permission mode from the next tool call on."""
        ...

    def interrupt(self) -> None:
        """Stop the run that streams."""
        ...

    def cancel_tool(self, number: int) -> bool:
        """Cancel one running tool call, counted from 1; return False if there is no such call."""
        ...


RunCommand = Callable[[CommandContext, str], Awaitable[None]]
"""Runs the command with the text that follows its name, stripped."""

Proposals = Callable[[CommandContext, str], AsyncIterator[tuple[str, str]]]
"""Completes the text that follows the name: yields whole texts, each with its meaning."""


async def no_proposals(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    """Propose nothing."""
    return
    yield  # so that it is a generator


class SlashCommand(msgspec.Struct, frozen=True, kw_only=True):
    """One command. `arguments` is their notation in the help, "" if it takes none.

    A command that is `at_once` does not wait until what runs has ended. What follows a command that
    `sends_words` is part of a message, in which `@path` attaches a file. `run` raises
    `AntiphonError` for errors that the user can fix; the chat prints them.
    """

    name: str
    meaning: str
    run: RunCommand
    arguments: str = ""
    at_once: bool = False
    sends_words: bool = False
    proposals: Proposals = no_proposals

    @property
    def usage(self) -> str:
        """The command as it is typed."""
        return f"/{self.name} {self.arguments}".rstrip()


class Group(msgspec.Struct, frozen=True):
    """Commands about one subject, which the help lists together."""

    title: str
    commands: Sequence[SlashCommand]


def show_table(ui: Ui, rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, the first one aligned left, the others right."""
    cleaned = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(spans.width, column)) for column in zip(*cleaned, strict=True)]
    ui.show_rows(_align(row, widths) for row in cleaned)


def _align(row: Sequence[str], widths: Sequence[int]) -> Line:
    first, *rest = zip(row, widths, strict=True)
    name, width = first
    head = StyledText(name + " " * (width - spans.width(name)), "mark")
    return spans.strip(
        (head, *(StyledText(" " * (2 + width - spans.width(cell)) + cell) for cell, width in rest))
    )


def split_words(words: str, example: str) -> list[str]:
    """Split the words as a shell does.

    Raises `InvalidRequest` for an unclosed quote; its hint has the example.
    """
    try:
        return shlex.split(words)
    except ValueError as error:
        raise InvalidRequest(
            "A quote has no end", hint=f"{example} keeps words together."
        ) from error
