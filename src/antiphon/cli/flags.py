"""Arguments of the commands: settings as flags, parsing, help, and running a command."""

from __future__ import annotations

import asyncio
import difflib
import os
import signal
from argparse import (
    PARSER,
    SUPPRESS,
    ArgumentParser,
    ArgumentTypeError,
    BooleanOptionalAction,
    HelpFormatter,
    Namespace,
)
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, cast

from antiphon.cli.command_names import CLASSES
from antiphon.cli.console import note
from antiphon.settings import deprecated
from antiphon.settings.loading import LoadedSettings, load_with_origins, refuse_untrusted
from antiphon.settings.settings import TABLE, Setting, Settings, flag_name
from antiphon.types.errors import BadSettings, InvalidRequest

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

RUNTIME = (
    "model",
    "base_url",
    "database",
    "database_connections",
    "redis",
    "chunk_timeout",
    "first_chunk_timeout",
    "turn_timeout",
    "max_calls",
    "max_reply",
    "context_tokens",
    "title_model",
    "transcription_model",
    "speech_model",
    "speech_voice",
    "stream",
)
"""The settings of a runtime, wherever it runs."""

CLIENT = ("server", "api_key")
"""The settings of a client that may be told to use a server instead."""

TOOLS = (
    "config",
    "tool_timeout",
    "max_parallel_tools",
    "allow",
    "ask",
    "deny",
    "allowed_paths",
    "private_hosts",
    "skills",
    "project_instructions",
)
"""The settings of tools that run in this process, and of their consent."""

WEB = (
    "login",
    "allowed_hosts",
    "public_url",
    "artifact_origin",
    "oidc_issuer",
    "oidc_client_id",
    "oidc_admins",
    "proxy_user_header",
    "trusted_proxies",
    "web_streams",
    "web_rate",
    "web_title",
    "web_mcp_programs",
    "web_dictation",
)
"""The settings of the web chat: who may use it, under which names, and how much."""

LOOKS = (
    "theme",
    "color",
    "ascii",
    "screen_reader",
    "plain",
    "keys",
    "links",
    "animation",
    "status_line",
    "verbose",
)
"""Settings of the look of the terminal chat, and of the keys of its line."""


SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""The signals that cancel an interruptible command."""


class Command(Protocol):
    """Interface of every command, a module or an object, whose docstring is its help.

    A command may also have a function `decide(args, file)`, which returns whether an untrusted
    settings file of the working folder counts. Without it, such a file ends the command. With a
    function `report_bad_settings(args, problem)`, which returns the exit code, it reports settings
    that cannot be loaded itself.
    """

    __doc__: str | None
    FLAGS: Sequence[str]  # the settings that it takes as flags, those of one action apart

    def arguments(self, parser: ArgumentParser, flags: ArgumentParser) -> None:
        """Add the command's own arguments; `flags` is the parent parser for those of actions.

        An action with further settings lists them in its parser's default `flags`.
        """
        ...

    def run(self, args: Namespace, loaded: LoadedSettings) -> int:
        """Run the command; return the exit code."""
        ...


class UnbrokenWordsFormatter(HelpFormatter):
    """Formats help without breaking addresses and paths."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrap(text, width, break_long_words=False, break_on_hyphens=False)


class Parser(ArgumentParser):
    """Parser whose errors are one line with a reference to the help."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=UnbrokenWordsFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Raise `InvalidRequest`."""
        raise InvalidRequest(message, hint=f"`{self.prog} --help` says what there is.")

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print the help. Raises `OSError` where it cannot be written, which the base hides."""
        print(self.format_help(), end="", file=file)


def run_command(name: str, arguments: Sequence[str]) -> int:
    """Load the command and run it. Raises `AntiphonError`, also for wrong usage."""
    command = import_command(name)
    parser = build_parser(name)
    try:
        args, unknown = parser.parse_known_args(arguments)
    except SystemExit:  # it has printed the help
        return 0
    if unknown:
        action = f" {args.action}" if "action" in args else ""
        flag = unknown[0].partition("=")[0]
        near = difflib.get_close_matches(flag, _long_flags(parser, args), n=1)
        raise InvalidRequest(
            f"there is no argument {unknown[0]}",
            hint=f"did you mean {near[0]}?"
            if near
            else f"`antiphon {name}{action} --help` says which there are.",
        )
    taken = (*command.FLAGS, *getattr(args, "flags", ()))
    given = {
        name: _join_values(getattr(args, name, None))
        for new in taken
        for name in (*_old_names(new), new)
    }
    decide = getattr(command, "decide", None)
    report = getattr(command, "report_bad_settings", None)
    try:
        loaded = load_with_origins(
            given,
            os.environ,
            Path.cwd(),
            config_file=Path(args.config_file) if "config_file" in args else None,
            decide=refuse_untrusted if decide is None else partial(decide, args),
        )
    except BadSettings as problem:
        if report is None:
            raise
        return cast("int", report(args, problem))
    for text in loaded.warnings:
        note(f"antiphon: {text}")
    return command.run(args, loaded)


def run_interruptibly(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run a coroutine; SIGINT, SIGTERM or SIGHUP cancels it, so that it can clean up.

    The signal sets the exit code. A second one ends the program at once.
    """
    return asyncio.run(_cancel_on_signal(work))


async def _cancel_on_signal(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work())
    caught: list[int] = []

    def interrupt(number: int) -> None:
        caught.append(number)
        for each in SIGNALS:
            loop.remove_signal_handler(each)
        task.cancel()

    for number in SIGNALS:
        try:
            loop.add_signal_handler(number, interrupt, number)
        except NotImplementedError:  # Windows: there Ctrl+C cancels by asyncio's own means
            break
    try:
        return await task
    except asyncio.CancelledError:
        if caught:
            return 128 + caught[0]
        raise


def _long_flags(parser: ArgumentParser, args: Namespace) -> Iterator[str]:
    """Yield the flags of the parser and of the chosen action; hidden ones are left out."""
    for action in parser._actions:  # argparse offers no other way to list them
        if action.nargs == PARSER and "action" in args:
            choices = cast("Mapping[str, ArgumentParser]", action.choices)
            yield from _long_flags(choices[args.action], args)
        elif action.help is not SUPPRESS:
            yield from (flag for flag in action.option_strings if flag.startswith("--"))


def _old_names(name: str) -> Sequence[str]:
    return [old for old, renamed in deprecated.SETTINGS.items() if renamed.name == name]


def build_parser(name: str) -> Parser:
    """Return the parser of a command."""
    command = import_command(name)
    flags = settings_parser(command.FLAGS)
    parser = Parser(
        prog=f"antiphon {name}",
        description=cleandoc(command.__doc__ or ""),
        parents=[flags],
        allow_abbrev=False,
    )
    command.arguments(parser, flags)
    return parser


def add_actions(
    parser: ArgumentParser, flags: ArgumentParser, meanings: Mapping[str, str]
) -> dict[str, ArgumentParser]:
    """Add actions with the flags of the command; return the parser of each by its name."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="|".join(meanings))
    return {
        name: actions.add_parser(name, parents=[flags], help=meaning)
        for name, meaning in meanings.items()
    }


def import_command(name: str) -> Command:
    """Import the module of a command; return the command."""
    module_name, _, class_name = CLASSES.get(name, name).partition(":")
    module = import_module(f"antiphon.cli.{module_name}")
    return cast("Command", getattr(module, class_name)() if class_name else module)


def _join_values(given: str | bool | list[str] | None) -> str | None:
    """Return the value of a flag, or of a repeated one, as a text with commas."""
    match given:
        case list():
            return ",".join(given)
        case bool():
            return str(given).lower()
        case _:
            return given


def settings_parser(names: Sequence[str]) -> ArgumentParser:
    """Return a parser of settings only.

    Flags that are not given leave no attribute, so that an action's parser does not overwrite what
    its command's parser has read.
    """
    parser = ArgumentParser(add_help=False, argument_default=SUPPRESS)
    if names:
        group = parser.add_argument_group(
            "settings", "also in antiphon.toml and in the environment as ANTIPHON_..."
        )
        for name in names:
            setting = TABLE[name]
            group.add_argument(setting.flag, help=_help(setting), **_argument_options(setting))
            _accept_old_names(parser, setting)
        group.add_argument(
            "--config-file",
            metavar="FILE",
            help="a settings file to read in place of the working folder's antiphon.toml",
        )
    return parser


def accept_silently(parser: ArgumentParser, names: Sequence[str]) -> None:
    """Accept settings that have no effect on this command, without showing them in help.

    Command lines that have them go on to work, and a wrong value is still refused.
    """
    for name in names:
        setting = TABLE[name]
        parser.add_argument(setting.flag, help=SUPPRESS, **_argument_options(setting))
        _accept_old_names(parser, setting)
    parser.set_defaults(flags=names)


def _accept_old_names(parser: ArgumentParser, setting: Setting) -> None:
    for old in _old_names(setting.name):
        parser.add_argument(flag_name(old), help=SUPPRESS, **_argument_options(setting))


def _argument_options(setting: Setting) -> dict[str, Any]:
    """Return the argparse options of a setting's flag."""
    if setting.switch:
        return {"action": BooleanOptionalAction, "default": SUPPRESS}
    named = {"metavar": _metavar(setting)}
    return {**named, "action": "append"} if setting.several else named


def _metavar(setting: Setting) -> str:
    if setting.name in {"allow", "ask", "deny"}:
        return "GLOB"
    if "seconds" in setting.wanted:
        return "SECONDS"
    if "number" in setting.wanted:
        return "N"
    return setting.name.rpartition("_")[2].upper()


def _help(setting: Setting) -> str:
    """Return the help of a setting: its meaning and its default."""
    default = getattr(Settings(), setting.name)
    if default in (None, ()) or setting.secret or setting.switch:
        return setting.meaning
    shown = f"{default:.12g}" if isinstance(default, float) else str(default)
    return f"{setting.meaning} (default: {shown.replace('%', '%%')})"


def parse_number(most: int, text: str) -> int:
    """Return the number of an argument. Raises `ArgumentTypeError` unless it is 1 to `most`."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise ArgumentTypeError(f"wanted a number from 1 to {most}, got {text!r}")
    return int(text)
