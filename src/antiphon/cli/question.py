"""A single question of `antiphon ask` or `antiphon chat -p`, its flags and its model."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, runtime_checkable

import msgspec

from antiphon.cli.flags import parse_number
from antiphon.types.errors import InvalidRequest
from antiphon.types.runs import MAX_TOOL_CALLS

if TYPE_CHECKING:  # the chat loads these later
    from antiphon.api.operations import Options
    from antiphon.client.async_client import AsyncClient
    from antiphon.runtime.runtime import Runtime


class FlagParser(Protocol):
    """A parser, or a group of its arguments."""

    def add_argument(self, *names: str, **options: Any) -> Any:
        """Add an argument."""
        ...


class AskRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A question. `words` are joined by spaces, `options` are those of its run."""

    words: Sequence[str] = ()
    files: Sequence[str] = ()
    system: str | None = None
    thread: str | None = None
    last: bool = False
    tools: Sequence[str] = ()
    no_tools: bool = False
    options: Options = {}
    require: Sequence[str] = ()
    yes: bool = False
    output_schema: str | None = None
    output: Literal["text", "json", "lines"] = "text"
    thinking: bool = False
    raw_output: bool = False
    quiet: bool = False


ASK_ONLY_FLAGS = {
    "file": "--file",
    "output_schema": "--output-schema",
    "json": "--json",
    "output": "--output",
    "thinking": "--thinking",
    "raw_output": "--raw-output",
    "quiet": "--quiet",
    "require": "--require",
}
"""Flags that only a question without a chat may have."""

RUN_LIMITS = {
    "max_turns": (1000, "the maximum number of turns, which tool calls lead to"),
    "max_tool_calls": (MAX_TOOL_CALLS, "the maximum number of tool calls of one answer"),
}
"""Flags for fields of a run that are numbers: the largest number, and the meaning."""


def answer_arguments(parser: FlagParser) -> None:
    """Add the flags of the answer and the attachments."""
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        default=[],
        metavar="PATH",
        help="attach this file: text, a picture or a PDF; can be repeated",
    )
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="SERVER",
        help="fail unless this MCP server is ready; can be repeated",
    )
    parser.add_argument("--output-schema", metavar="FILE", help="a JSON Schema for the answer")
    parser.add_argument("--json", action="store_true", help="every event as one line of JSON")
    parser.add_argument(
        "--output",
        choices=("text", "json"),
        help="the text as it arrives (default), or one JSON object at the end",
    )
    parser.add_argument(
        "--thinking", action="store_true", help="write the model's reasoning to stderr"
    )
    parser.add_argument(
        "--raw-output",
        action="store_true",
        help="write the answer's raw bytes to a terminal too, which they may control",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="write only errors to stderr")


def tool_arguments(parser: FlagParser) -> None:
    """Add the flags of tools and their consent."""
    parser.add_argument(
        "--tools",
        action="append",
        default=[],
        metavar="MODULE[:FUNCTION]",
        help="a Python function that the model may call, or all that @tool marks in a module;"
        " a path to a .py file does too; can be repeated",
    )
    parser.add_argument(
        "--no-tools", action="store_true", help="use no tools, and start no MCP server"
    )
    for name, (most, meaning) in RUN_LIMITS.items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=partial(parse_number, most), metavar="N", help=meaning)
    parser.add_argument(
        "-y", "--yes", action="store_true", help="allow every tool that is not denied"
    )


def read_request(args: Namespace, words: Sequence[str], *, last: bool) -> AskRequest:
    """Return the request of these flags."""
    if args.json and args.output == "json":
        raise InvalidRequest(
            "--json and --output json exclude each other",
            hint="--json writes a line for every event, --output json one object at the end.",
        )
    return AskRequest(
        words=words,
        files=args.file,
        system=args.system,
        thread=args.thread,
        last=last,
        tools=args.tools,
        no_tools=args.no_tools,
        options=run_options(args),
        require=args.require,
        yes=args.yes,
        output_schema=args.output_schema,
        output="lines" if args.json else args.output or "text",
        thinking=args.thinking,
        raw_output=args.raw_output,
        quiet=args.quiet,
    )


def run_options(args: Namespace) -> Options:
    """Return the options of a run that these flags set."""
    given = {name: getattr(args, name) for name in RUN_LIMITS if getattr(args, name)}
    return cast("Options", given)


@runtime_checkable
class _EmbeddedTransport(Protocol):
    """Structural type of a transport into this process, so that `--server` loads no runtime."""

    async def runtime(self) -> Runtime:
        """Return the runtime."""
        ...


async def find_default_model(client: AsyncClient) -> tuple[str, str] | None:
    """Return the default model of the runtime in this process, and why; None with a server.

    Raises `AntiphonError` if the runtime cannot be opened.
    """
    if isinstance(client.transport, _EmbeddedTransport):
        chosen = await (await client.transport.runtime()).choice()
        return chosen.model, chosen.why
    return None
