"""Programs of this machine: their output, and their end with the call."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest

from antiphon.skills.scripts import command_line
from antiphon.skills.skill import Skill
from antiphon.tools.programs import MAX_OUTPUT, find_program, run_program
from tests.support.tools.pipes import read_next

PATH = {"PATH": os.environ["PATH"]}


async def test_output_errors_and_exit_code_are_returned(tmp_path: Path) -> None:
    script = "pwd; echo wrong >&2; cat; exit 3"
    result = await run_program(["/bin/sh", "-c", script], tmp_path, PATH)

    assert result.output == f"{tmp_path.resolve()}\n[stderr]\nwrong\n[exit code 3]"
    assert result.is_error


async def test_a_program_that_cannot_be_started_is_reported(tmp_path: Path) -> None:
    result = await run_program([str(tmp_path / "none")], tmp_path, PATH)

    assert (result.is_error, "cannot be started" in result.output) == (True, True)


async def test_a_flood_of_output_is_cut(tmp_path: Path) -> None:
    script = f"head -c {MAX_OUTPUT + 7} /dev/zero | tr '\\0' x"
    result = await run_program(["/bin/sh", "-c", script], tmp_path, PATH)

    assert result.output.endswith("x\n[7 more bytes]")


async def test_what_a_program_has_left_behind_ends_with_it(
    tmp_path: Path, pipe: tuple[Path, int]
) -> None:
    path, reader = pipe
    script = f"exec 3>{path}; sleep 600 >/dev/null 2>&1 & echo begun >&3"
    await run_program(["/bin/sh", "-c", script], tmp_path, PATH)

    assert await read_next(reader) == b"begun\n"
    assert await read_next(reader) == b""


@pytest.mark.parametrize("has_started", [True, False], ids=["while it runs", "while it starts"])
async def test_a_program_that_is_cancelled_ends_with_what_it_started(
    tmp_path: Path, pipe: tuple[Path, int], has_started: bool
) -> None:
    path, reader = pipe
    script = f"exec 3>{path}; sleep 600 & echo begun >&3; sleep 600"
    task = asyncio.create_task(run_program(["/bin/sh", "-c", script], tmp_path, PATH))
    if has_started:
        assert await read_next(reader) == b"begun\n"
    else:
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    os.write(writer, b"end")
    os.close(writer)

    pieces = [await read_next(reader)]
    while pieces[-1]:
        pieces.append(await read_next(reader))
    assert b"".join(pieces).removeprefix(b"begun\n") == b"end"


@pytest.fixture
def hostile_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with programs in it, and a PATH whose empty entry names it."""
    for name in ("npx", "python3", "less"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\ntouch started\n")
        program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f":.:{tmp_path.name}:{os.environ['PATH']}")
    return tmp_path


def test_programs_are_not_taken_from_the_working_folder(hostile_folder: Path) -> None:
    for name in ("npx", "python3", "less"):
        program = find_program(name)
        assert program is None or (
            os.path.isabs(program) and not program.startswith(str(hostile_folder))
        )
    assert find_program("sh", {"PATH": ":."}) is None


def test_a_script_of_a_skill_is_run_by_an_interpreter_of_the_system(hostile_folder: Path) -> None:
    skill = Skill(name="s", description="d", folder=hostile_folder, instructions="")

    program, _ = command_line(skill, "a.py", ())

    assert os.path.isabs(program)
    assert not program.startswith(str(hostile_folder))
