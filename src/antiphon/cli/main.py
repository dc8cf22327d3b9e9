"""The command line: finds the command, and loads no other."""

from __future__ import annotations

import difflib
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from textwrap import dedent

import antiphon
from antiphon.cli.command_names import ABOUT, COMMANDS
from antiphon.cli.exit_codes import BY_SIGNAL, FAILED, code_for_error
from antiphon.telemetry import failpoints
from antiphon.types.errors import AntiphonError, InvalidRequest
from antiphon.types.terminal_safe import clean


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    _open_closed_streams()
    try:
        return _run_with_error_handling(sys.argv[1:] if arguments is None else arguments)
    finally:
        _drop_unread_notes()


def _run_with_error_handling(arguments: Sequence[str]) -> int:
    try:
        failpoints.arm(os.environ.get("FAILPOINTS", ""))
        code = _dispatch(arguments)
        sys.stdout.flush()
    except AntiphonError as problem:
        _print_error(_format_error(problem))
        return code_for_error(problem)
    except KeyboardInterrupt:
        return BY_SIGNAL + signal.SIGINT
    except BrokenPipeError:
        _drop_output()  # the reader has seen enough
        return BY_SIGNAL + 13  # SIGPIPE, which Windows does not name
    except OSError as error:
        if error.errno is None:
            raise
        # A full disk behind stdout, for one; what commands themselves open, they answer for.
        _drop_output()
        _print_error(clean(str(error)))
        return FAILED
    return code


def _dispatch(arguments: Sequence[str]) -> int:
    # Without a command it is the chat.
    is_named = arguments and (not arguments[0].startswith("-") or arguments[0] in ABOUT)
    name, *rest = arguments if is_named else ("chat", *arguments)
    match name:
        case "-h" | "--help":
            print(_help())
            return 0
        case "--version":
            print(f"antiphon {antiphon.__version__}")
            return 0
        case _ if name in COMMANDS:
            code: int = import_module("antiphon.cli.flags").run_command(name, rest)
            return code
        case _:
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            raise InvalidRequest(
                f"there is no command `{name}`",
                hint=f"did you mean `{near[0]}`?" if near else "`antiphon --help` lists them.",
            )


def _open_closed_streams() -> None:
    """Open closed standard streams on the null device, so that no database gets their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            setattr(sys, name, os.fdopen(nowhere, mode, encoding="utf-8", closefd=False))


def _drop_output() -> None:
    """Redirect stdout to the null device: Python would flush it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _drop_unread_notes() -> None:
    """Drop buffered stderr of a closed reader: at exit it would cause code 120."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _print_error(text: str) -> None:
    with suppress(OSError):  # stderr has no reader
        print(f"antiphon: {text}", file=sys.stderr, flush=True)


def _help() -> str:
    listed = "\n".join(f"  {name:<15}{meaning}" for name, meaning in COMMANDS.items())
    return dedent("""\
        usage: antiphon COMMAND ...

        A self-hosted assistant runtime in which tools run where your code lives.

        {listed}

        `antiphon COMMAND --help` says more. `antiphon --version` prints the version.""").format(
        listed=listed
    )


def _format_error(problem: AntiphonError) -> str:
    """Return message, expectation, received value and hint as one printable line."""
    return clean(problem.full_message)
