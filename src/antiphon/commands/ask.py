"""Ask once: the answer goes to stdout and nothing else does.

What is piped in is added to the text, or is the text where there is none. A stdin that stays open
and silent is left alone; `-` waits for it. Tools, the choice of the model and problems are told on
stderr. MCP servers that are written down (`antiphon mcp list`), or those of --config and no others,
start while the model is chosen, and are waited for up to 30 s.

Nobody is asked whether a tool may run: functions may, and the tools of servers where --allow or a
setting says so, or where you said "always" before. --yes allows all that is not denied.

Exit codes: 0 answered, 1 failed, 2 wrong usage, 3 incomplete (cut, stalled, too long, expired),
4 answered, but a tool was refused because nobody could be asked, 130 interrupted, 141 the reader of
stdout has left.
"""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec

from antiphon.client.aio import AsyncClient
from antiphon.client.converse import Options
from antiphon.commands.consenting import Refusals, consent
from antiphon.commands.interrupt import interruptible
from antiphon.commands.mcp_running import come, running
from antiphon.commands.piped import piped
from antiphon.commands.speech import ANSWERED, REFUSED, Answer, Lines, Paper, note
from antiphon.commands.usage import CLIENT, RUNTIME
from antiphon.errors import AntiphonError, BadSettings, InvalidRequest
from antiphon.runs import Sampling
from antiphon.settings import Loaded, Settings
from antiphon.tools.functions import Function, load
from antiphon.tools.happenings import Happening

if TYPE_CHECKING:
    from antiphon.runtime import Runtime

FLAGS = (
    *RUNTIME,
    *CLIENT,
    "config",
    "tool_timeout",
    "max_tools",
    "allow",
    "ask",
    "deny",
    "roots",
    "private_hosts",
)
CANCEL_SECONDS = 5.0


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """The text, and how it is to be answered."""
    parser.add_argument("text", nargs="*", help="what to ask; `-` waits for stdin")
    parser.add_argument("-s", "--system", metavar="TEXT", help="instructions for the model")
    parser.add_argument("--thread", metavar="ID", help="go on with this thread")
    parser.add_argument(
        "--tools",
        action="append",
        default=[],
        metavar="MODULE[:FUNCTION]",
        help="a Python function that the model may call, or all that @tool marks in a module;"
        " a path to a .py file does too; can be repeated",
    )
    parser.add_argument(
        "-y", "--yes", action="store_true", help="every tool may run that is not denied"
    )
    parser.add_argument(
        "--output-schema", metavar="FILE", help="a JSON Schema that the answer is to follow"
    )
    parser.add_argument("--json", action="store_true", help="every event as one line of JSON")
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="nothing on stderr but what went wrong"
    )


def run(asked: Namespace, loaded: Loaded) -> int:
    """Ask, and write the answer as it comes."""
    paper = Paper(sys.stdout)
    answer = Lines(paper) if asked.json else Answer(paper, quiet=asked.quiet)
    with redirect_stdout(sys.stderr):  # tools may print; stdout is the answer's
        text = _text(asked.text)
        tools = [function for spec in asked.tools for function in load(spec, loaded.settings)]
        options = _options(asked, loaded.settings)
        return interruptible(lambda: _ask(text, tools, options, answer, asked, loaded.settings))


async def _ask(
    text: str,
    tools: Sequence[Function],
    options: Options,
    answer: Answer | Lines,
    asked: Namespace,
    settings: Settings,
) -> int:
    # A reader who is slow must not hold up the runtime in this process.
    pen = ThreadPoolExecutor(max_workers=1, thread_name_prefix="antiphon-pen")
    written = partial(asyncio.get_running_loop().run_in_executor, pen)
    async with running(settings) as servers, AsyncClient(settings=settings) as client:
        if not asked.quiet:
            note(await _who_answers(client, settings))
        if asked.yes and not asked.quiet:
            note("antiphon: --yes: every tool may run that is not denied")
        if servers is not None:
            await come(servers)
        refusals = Refusals(settings)

        def watch(happening: Happening) -> None:
            refusals.note(happening)
            pen.submit(answer.happened, happening)

        events = client.converse(
            text,
            tools=tools,
            toolbox=servers,
            consent=consent(settings, yes=asked.yes),
            watch=watch,
            max_tools=settings.max_tools,
            tool_timeout=settings.tool_timeout,
            **options,
        )
        try:
            async for event in events:
                await written(answer.tell, events.last_event, event)
            await written(answer.close)
        except BaseException as end:
            # Whatever it is, Ctrl+C or a reader who left: nobody reads on, so nobody pays on.
            await _cancel(client, events.run_id)
            if not isinstance(end, OSError):  # what could not be written will not be now
                answer.close()
            raise
    return REFUSED if answer.code == ANSWERED and refusals.any else answer.code


@runtime_checkable
class _Embedded(Protocol):
    """A line into this process; known by its shape, so that `--server` need not load a runtime."""

    async def runtime(self) -> Runtime:
        """What answers there."""
        ...


async def _who_answers(client: AsyncClient, settings: Settings) -> str:
    if isinstance(client.line, _Embedded):
        choice = await (await client.line.runtime()).choice()
        return f"antiphon: {choice.model} answers: {choice.why}"
    return f"antiphon: {settings.server} answers"


async def _cancel(client: AsyncClient, run_id: str | None) -> None:
    if run_id is None:
        return
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            await client.cancel_run(run_id)
    except (AntiphonError, TimeoutError) as error:
        note(f"antiphon: the run {run_id} could not be cancelled: {error}")


def _text(words: Sequence[str]) -> str:
    """The arguments and what is piped in, as one text."""
    said = " ".join(word for word in words if word != "-")
    added = piped(sys.stdin, awaited=not said or "-" in words)
    text = "\n\n".join(part for part in (said, added) if part.strip())
    if not text:
        raise InvalidRequest(
            "nothing was asked",
            expected="a text, as an argument or on stdin",
            hint='for instance: antiphon ask "Why is the sky blue?"',
        )
    return text


def _options(asked: Namespace, settings: Settings) -> Options:
    options = Options()
    if asked.thread:
        options["thread_id"] = asked.thread
    if asked.system:
        options["instructions"] = asked.system
    if settings.model:
        options["model"] = settings.model
    if asked.output_schema:
        options["sampling"] = _sampling(asked.output_schema)
    return options


def _sampling(schema_file: str) -> Sampling:
    try:
        schema = msgspec.json.decode(Path(schema_file).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise BadSettings(
            f"--output-schema {schema_file} cannot be used: {error}",
            expected="a file with a JSON Schema",
        ) from error
    asked_for = {"name": "answer", "schema": schema}
    return Sampling(response_format={"type": "json_schema", "json_schema": asked_for})
