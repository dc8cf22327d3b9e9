"""Run a script of a skill as a program of its own, after a person has agreed.

No shell reads the command line. The program gets a short list of environment variables, no input,
and the working folder of the conversation; it and everything that it starts end with the call.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from antiphon.skills.skill import SCRIPT_PROGRAMS, Skill
from antiphon.tools.programs import find_program, program_environment, run_program
from antiphon.types.errors import InvalidRequest
from antiphon.types.messages import ToolResult

MAX_ARGUMENTS = 64


def command_line(skill: Skill, script: str, args: Sequence[str]) -> list[str]:
    """Return the program and its arguments. Raises `InvalidRequest` for what is no script."""
    if len(args) > MAX_ARGUMENTS or any("\0" in arg for arg in args):
        raise InvalidRequest(
            "A script cannot be given these arguments.", expected=f"at most {MAX_ARGUMENTS} texts"
        )
    file = skill.folder / script
    programs = SCRIPT_PROGRAMS.get(file.suffix.lower().removeprefix("."))
    if programs is None:
        raise InvalidRequest(
            f"{script} is no script that can be run here.",
            expected="a file that ends in " + ", ".join(f".{end}" for end in SCRIPT_PROGRAMS),
        )
    program = next(filter(None, map(find_program, programs)), None)
    if program is None and programs[0] == "python3":
        program = sys.executable
    if program is None:
        raise InvalidRequest(f"{script} needs {programs[0]}, which is not installed here.")
    return [program, str(file), *args]


def format_command(command: Sequence[str], folder: Path) -> str:
    """Return the command line as a shell would take it, with its working folder."""
    return f"{shlex.join(command)}  (in {folder})"


async def run_script(command: Sequence[str], folder: Path) -> ToolResult:
    """Run the command; return its output and exit code. Its processes end with it."""
    # Compiled modules that lie beside a script are not what a person has seen.
    own = {"PYTHONPYCACHEPREFIX": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"}
    return await run_program(command, folder, program_environment(os.environ) | own)
