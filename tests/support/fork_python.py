"""`python -c PROGRAM ARGUMENT...` and `python FILE ARGUMENT...` in a fork, see `fork_server.py`.

For tests of what a program does, where it does not matter how Python starts.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from tests.support import fork_server


def command(*arguments: str) -> tuple[str, ...]:
    """Return the command that replaces `python` with these arguments."""
    return (*fork_server.command("tests.support.fork_python:run"), *arguments)


def run() -> None:
    """Run the program that the arguments name."""
    _, *arguments = sys.argv
    if arguments[0] == "-c":
        name, text = "<string>", arguments.pop(1)
    else:
        name, text = arguments[0], Path(arguments[0]).read_text("utf-8")
        sys.path.insert(0, str(Path(name).parent))
    sys.argv = arguments
    program = ModuleType("__main__")
    if name != "<string>":
        program.__file__ = name
    sys.modules["__main__"] = program
    exec(compile(text, name, "exec", dont_inherit=True), vars(program))
