"""Ask one question. Only the answer is written to stdout.

Piped input is added to the text, or is the text if there is none. A stdin that stays open without
data is ignored; `-` waits for it. `@path` in the text, or --file, attaches a file; `\\@` is an at
sign. Tool calls, the choice of the model and problems are written to stderr. The configured MCP
servers (`antiphon mcp list`), or only those of --config, are started and waited for up to 30 s.

Your skills and AGENTS.md are used, and those of the working folder that you trust (`antiphon skills
list`).

There is nobody to approve tools: functions may run, and tools of MCP servers that --allow, a
setting or an earlier "always" of yours allows. --yes allows all that is not denied.

A pipe gets the bytes of the answer as they arrive. On a terminal the answer is formatted, and
nothing in it can control the terminal.

Exit codes: 0 answered, 1 failed, 2 wrong usage, 3 incomplete (cut off, stalled, too long, expired),
4 answered, but a tool was refused because nobody could be asked, 5 a setting cannot be used, or a
key is missing or refused, 6 a server of --require is not ready, 129 the terminal was closed,
130 interrupted, 143 terminated, 141 the reader of stdout has left.
"""

from __future__ import annotations

import asyncio
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext, redirect_stdout
from fnmatch import fnmatchcase
from functools import partial
from importlib import import_module
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec.structs import replace

from antiphon.api.operations import Options
from antiphon.cli.answers import (
    AnswerWriter,
    JsonLinesWriter,
    JsonObjectWriter,
    ReasoningWriter,
    TextAnswerWriter,
)
from antiphon.cli.console import StreamOutput, TextOutput, note, read_piped
from antiphon.cli.exit_codes import DONE, REFUSED, SERVER_MISSING
from antiphon.cli.flags import CLIENT, RUNTIME, TOOLS, run_interruptibly
from antiphon.cli.question import (
    AskRequest,
    answer_arguments,
    find_default_model,
    read_request,
    tool_arguments,
)
from antiphon.client.async_client import AsyncClient
from antiphon.client.async_events import AsyncEvents
from antiphon.client.mentions import (
    PreparedMessage,
    classify_file,
    is_picture_or_pdf,
    prepare_message,
    upload_attachments,
)
from antiphon.client.thread_families import cancel_sent_run, find_newest_run
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.startup import start_servers
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.paths import data_folder
from antiphon.settings.settings import Settings
from antiphon.skills.workspace import explain_untrusted, load_workspace
from antiphon.tools.consent import Consent
from antiphon.tools.functions import Function
from antiphon.tools.hooks import ToolHooks
from antiphon.tools.permissions import NAME, GrantsFile, Rules, rules_from_settings
from antiphon.tools.tool_events import ConsentRefused, ToolEvent
from antiphon.tools.tool_loading import open_tools
from antiphon.types.errors import AntiphonError, ConnectionLost, InvalidRequest
from antiphon.types.runs import Sampling

if TYPE_CHECKING:
    from antiphon.client.async_http_transport import AsyncHttpTransport

# Tools of commands without a dialog: consent by rules and stored grants, and MCP servers.


def make_consent(settings: Settings, *, yes: bool) -> Consent:
    """Return the consent of settings and stored grants; `yes` allows all that is not denied."""
    return Consent(
        Rules(allow=("*",), deny=settings.deny) if yes else rules_from_settings(settings),
        grants=GrantsFile(data_folder(os.environ) / NAME, _warn),
        warn=_warn,
    )


class RefusalNotes:
    """Notes refused calls and what would allow them; `any` if a call lacked consent."""

    def __init__(self, settings: Settings) -> None:
        self.any = False
        self._asked = [each.replace(":", "__", 1) for each in settings.ask]

    def note(self, event: ToolEvent) -> None:
        """Note the event if it is a refusal."""
        match event:
            case ConsentRefused(call=call, by="hook", reason=reason):
                why = reason
            case ConsentRefused(call=call, by="nobody", reason=reason) if reason:
                self.any = True
                why = f"nobody could be asked, and a hook wants a person to decide: {reason}"
            case ConsentRefused(call=call, by="nobody"):
                self.any = True
                by_rule = any(fnmatchcase(call.name, pattern) for pattern in self._asked)
                remedy = (
                    "the setting `ask` names it, which only --yes overrules"
                    if by_rule
                    else f"--allow {call.name} allows it"
                )
                why = f"nobody could be asked; {remedy}"
            case ConsentRefused(call=call):
                why = "the settings deny it"
            case _:
                return
        note(f"antiphon: {call.name} was refused: {why}")


def _warn(text: str) -> None:
    note(f"antiphon: {text}")


# The MCP servers of a command that lets a model call their tools.


SECONDS = 30.0
"""For all servers, side by side: a first start may have to fetch its program."""


@asynccontextmanager
async def run_servers(settings: Settings) -> AsyncGenerator[AsyncMcpServerPool | None]:
    """Yield the configured servers while they start, and note which do not; None if none does."""
    async with start_servers(settings) as (servers, usable):
        for each in usable.unapproved:
            _warn(each.explanation)
        for problem in usable.problems:
            note(f"antiphon: the MCP server {problem.server} cannot be used: {problem.why}")
        yield servers if usable.enabled else None


async def wait_for_servers(servers: AsyncMcpServerPool, seconds: float = SECONDS) -> None:
    """Wait for the servers, and note which did not start, and why."""
    for state in await servers.ready(seconds):
        why = state.why or f"it did not answer within {seconds:g} s"
        note(f"antiphon: the MCP server {state.server} is not there: {why}")
        for line in state.stderr[-5:]:
            note(f"    {line}")


def note_missing_servers(required: Sequence[str], servers: AsyncMcpServerPool | None) -> list[str]:
    """Return the required servers that are not ready, and note each."""
    states = servers.states() if servers is not None else ()
    there = {state.server for state in states if state.status == "ready"}
    missing = [name for name in required if name not in there]
    known = {state.server for state in states}
    for name in missing:
        why = "is not ready" if name in known else "is not enabled"
        note(f"antiphon: nothing was sent: --require names {name}, and this MCP server {why}")
    return missing


FLAGS = (
    *RUNTIME,
    *CLIENT,
    *TOOLS,
    "theme",
    "color",
    "ascii",
    "links",
    "screen_reader",
)
CANCEL_SECONDS = 5.0
MARK = "question"
"""Metadata key of a run with the mark of the process that began it."""
OF_TERMINAL = ("markdown_it", "pygments", "wcwidth")
"""Modules of the extra `terminal` that set text."""


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the text and the options of the answer."""
    parser.add_argument(
        "text", nargs="*", help="the question; `-` waits for stdin, `@path` attaches a file"
    )
    parser.add_argument("-s", "--system", metavar="TEXT", help="instructions for the model")
    parser.add_argument("--thread", metavar="ID", help="continue this thread")
    parser.add_argument(
        "--last", action="store_true", help="continue the thread of the last answer"
    )
    tool_arguments(parser)
    answer_arguments(parser)


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Ask, and write the answer as it arrives."""
    return ask_once(read_request(args, args.text, last=args.last), loaded.settings)


def ask_once(question: AskRequest, settings: Settings) -> int:
    """Ask this, and write the answer as it comes; returns the exit code."""
    _check_contradictions(question)
    writer = _answer_writer(question, settings)
    # Tools may print; stdout is the answer's.
    with redirect_stdout(sys.stderr), open_tools(question.tools, settings) as tools:
        options = _build_options(question, settings)
        message = _read_message(question)
        return run_interruptibly(lambda: _ask(message, tools, options, writer, question, settings))


def _check_contradictions(question: AskRequest) -> None:
    both = (
        ("--last", question.last, "--thread", bool(question.thread)),
        ("--no-tools", question.no_tools, "--tools", bool(question.tools)),
        ("--no-tools", question.no_tools, "--require", bool(question.require)),
    )
    for one, has_one, other, has_other in both:
        if has_one and has_other:
            raise InvalidRequest(f"{one} and {other} exclude each other", hint="leave one out.")


def _answer_writer(question: AskRequest, settings: Settings) -> AnswerWriter:
    writer: AnswerWriter
    match question.output:
        case "lines":
            writer = JsonLinesWriter(StreamOutput(sys.stdout))
        case "json":
            writer = JsonObjectWriter(StreamOutput(sys.stdout))
        case "text":
            writer = TextAnswerWriter(_open_output(question, settings), quiet=question.quiet)
    return ReasoningWriter(writer) if question.thinking else writer


def _open_output(question: AskRequest, settings: Settings) -> TextOutput:
    """Format Markdown if stdout is a terminal and the extra is installed; else write plainly."""
    if question.raw_output or not sys.stdout.isatty() or not os.environ.get("TERM"):
        return StreamOutput(sys.stdout, raw=question.raw_output)
    try:
        typeset = import_module("antiphon.terminal.compact_streaming_display")
    except ModuleNotFoundError as missing:
        if missing.name not in OF_TERMINAL:
            raise
        return StreamOutput(sys.stdout)
    output: TextOutput = typeset.MarkdownOutput(sys.stdout, settings, os.environ)
    return output


async def _ask(
    message: PreparedMessage,
    tools: Sequence[Function],
    options: Options,
    writer: AnswerWriter,
    question: AskRequest,
    settings: Settings,
) -> int:
    # A reader who is slow must not hold up the runtime in this process.
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="antiphon-answer")
    starting = nullcontext() if question.no_tools else run_servers(settings)
    # The servers end first: they look after tasks of calls that were given up, by the client.
    async with AsyncClient(settings=settings) as client, starting as servers:
        if not question.quiet:
            await _note_start(client, message, question, settings)
        if servers is not None:
            await wait_for_servers(servers)
        if note_missing_servers(question.require, servers):
            return SERVER_MISSING
        if question.last:
            options["thread_id"] = await _find_last_thread(client)
        workspace = await asyncio.to_thread(
            load_workspace, Path.cwd(), settings, with_tools=not question.no_tools
        )
        if workspace.untrusted and not question.quiet:
            note(f"antiphon: {explain_untrusted(workspace.untrusted, 'antiphon skills trust')}")
        if workspace.instructions:
            options["additional_instructions"] = workspace.instructions
        mark = token_hex(8)
        options["metadata"] = {**options.get("metadata", {}), MARK: mark}
        refusals = RefusalNotes(settings)

        def watch(event: ToolEvent) -> None:
            refusals.note(event)
            executor.submit(writer.on_tool_event, event)

        events = client.converse(
            await upload_attachments(client, message),
            tools=[*tools, workspace.skills],
            toolbox=servers,
            consent=make_consent(settings, yes=question.yes),
            hooks=ToolHooks(settings.hooks, warn=_warn),
            on_tool_event=watch,
            max_tools=settings.max_parallel_tools,
            tool_timeout=settings.tool_timeout,
            raise_on_failure=False,
            **options,
        )
        if settings.server is not None and not question.quiet:
            cast("AsyncHttpTransport", client.transport).on_connection_lost(_note_loss)
        await _write_events(writer, events, executor, client, settings.server, mark)
    return REFUSED if writer.code == DONE and refusals.any else writer.code


async def _write_events(
    writer: AnswerWriter,
    events: AsyncEvents,
    executor: Executor,
    client: AsyncClient,
    server: str | None,
    mark: str,
) -> None:
    """Write every event. An exception or a cancellation also cancels the run.

    If the run's id has not arrived, `mark` in its metadata identifies the run. When the connection
    is lost for good, it is not cancelled: the error says where to read it.
    """
    write = partial(asyncio.get_running_loop().run_in_executor, executor)
    try:
        async for event in events:
            await write(writer.write_event, events.last_event, event)
        await write(writer.close)
    except ConnectionLost as lost:
        if events.thread_id is not None and server is not None:
            show = f"antiphon threads show {events.thread_id} --server {server}"
            lost.details["hint"] = f"The run may go on at the server: {show}"
        writer.close(lost)
        raise
    except BaseException as end:
        # Ctrl+C, or a reader that closed the pipe: a run whose answer is not read is not paid for.
        if events.run_id is not None or isinstance(end, asyncio.CancelledError):
            await _cancel(client, events.run_id, mark)
        if not isinstance(end, OSError):  # what could not be written before fails again
            writer.close(end)
        raise


async def _note_start(
    client: AsyncClient, message: PreparedMessage, question: AskRequest, settings: Settings
) -> None:
    """Note the model, the attachments and unusual options on stderr."""
    if chosen := await find_default_model(client):
        model, why = chosen
        note(f"antiphon: {model} answers: {why}")
    else:
        note(f"antiphon: {settings.server} answers")
    for file in message.files:
        note(f"antiphon: {file.name} is sent along ({len(file.content):,} bytes)")
    if question.yes:
        note("antiphon: --yes: every tool may run that is not denied")
    if question.raw_output and sys.__stdout__ is not None and sys.__stdout__.isatty():
        note("antiphon: --raw-output: what the model writes may act on this terminal")


async def _find_last_thread(client: AsyncClient) -> str:
    newest = await find_newest_run(client)
    if newest is None:
        raise InvalidRequest(
            "there is no thread to continue", hint="without --last, a new one starts."
        )
    return newest.thread_id


async def _cancel(client: AsyncClient, run_id: str | None, mark: str) -> None:
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            await cancel_sent_run(client, run_id, None, MARK, mark)
    except (AntiphonError, TimeoutError) as error:
        reason = str(error) or "no answer in time"
        note(f"antiphon: the run {run_id or 'of this question'} could not be cancelled: {reason}")


def _note_loss(seconds: float) -> None:
    note(f"antiphon: the server does not answer; trying for another {seconds:.0f} s")


def _read_message(question: AskRequest) -> PreparedMessage:
    """Return the text with its files and piped input; only the text can name files."""
    text = " ".join(word for word in question.words if word != "-")
    prepared = prepare_message(text, question.files)
    added = read_piped(sys.stdin, awaited=not text or "-" in question.words)
    if is_picture_or_pdf(added):
        prepared = replace(prepared, files=(*prepared.files, classify_file("stdin", added)))
    elif b"\0" in added:
        raise InvalidRequest(
            "what is piped in is no text", expected="text, png, jpeg, gif, webp or pdf"
        )
    else:
        parts = (prepared.text, added.decode("utf-8", "replace"))
        prepared = replace(prepared, text="\n\n".join(part for part in parts if part.strip()))
    if not prepared.text:
        raise InvalidRequest(
            "nothing was asked",
            expected="a text, as an argument or on stdin",
            hint='for instance: antiphon ask "Why is the sky blue?"',
        )
    return prepared


def _build_options(question: AskRequest, settings: Settings) -> Options:
    options = question.options.copy()
    if question.thread:
        options["thread_id"] = question.thread
    if question.system:
        options["instructions"] = question.system
    if settings.model:
        options["model"] = settings.model
    if question.output_schema:
        options["sampling"] = _sampling(question.output_schema)
    return options


def _sampling(schema_file: str) -> Sampling:
    try:
        schema = msgspec.json.decode(Path(schema_file).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidRequest(
            f"--output-schema {schema_file} cannot be used: {error}",
            expected="a file with a JSON Schema",
        ) from error
    asked_for = {"name": "answer", "schema": schema}
    return Sampling(response_format={"type": "json_schema", "json_schema": asked_for})
