"""Skills in a conversation: a catalogue, instructions, files of the skill and of nothing else."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from antiphon import Client, Consent, ConsentAnswer, ConsentRequest, Skills, ToolCall, ToolResult
from antiphon.client.compaction import ACTIVATE_SKILL
from antiphon.skills.toolbox import MAX_CATALOGUE
from antiphon.testing import Script
from antiphon.tools.programs import MAX_OUTPUT
from antiphon.types.errors import InvalidRequest
from tests.support.skills.folders import write_skill


async def call(skills: Skills, name: str, **arguments: object) -> ToolResult:
    return await skills.call(ToolCall("call_1", name, json.dumps(arguments)))


def test_a_model_is_told_the_catalogue_and_gets_the_instructions_by_a_call(tmp_path: Path) -> None:
    write_skill(tmp_path, "pdf", "Fill in forms. Use when: there is a PDF", "Look at every field.")
    script = Script().call("activate_skill", name="pdf").reply("Done.")

    with Client(settings=script.settings()) as client:
        result = client.ask("Fill it in", tools=[Skills.open(tmp_path)], instructions="Be brief.")
        run = client.get_run(result.run_id)

    first = script.requests[0]
    assert first.instructions is not None
    assert first.instructions.startswith("Be brief.\n\n")
    assert "- pdf: Fill in forms. Use when: there is a PDF" in first.instructions
    assert "Look at every field." not in first.instructions
    assert "Look at every field." in (result.calls[0].output or "")
    assert run.instructions == "Be brief."


def test_the_catalogue_stands_behind_the_instructions_of_an_assistant(tmp_path: Path) -> None:
    write_skill(tmp_path, "pdf")
    script = Script().reply("Hello.")

    with Client(settings=script.settings()) as client:
        assistant = client.create_assistant(instructions="You are a clerk.")
        client.ask("Hi", tools=[Skills.open(tmp_path)], assistant_id=assistant.id)

    instructions = script.requests[0].instructions or ""
    assert instructions.startswith("You are a clerk.\n\n")
    assert "- pdf:" in instructions


async def test_files_of_a_skill_are_read_and_nothing_outside_of_it(tmp_path: Path) -> None:
    skill = write_skill(tmp_path / "skills", "pdf")
    (skill / "notes.md").write_text("one\ntwo\nthree\n")
    (skill / "binary").write_bytes(b"\0\1")
    (tmp_path / "secret.txt").write_text("secret")
    (skill / "link.txt").symlink_to(tmp_path / "secret.txt")
    (skill / "up").symlink_to(tmp_path)
    os.mkfifo(skill / "pipe")
    skills = Skills.open(skill)

    lines = await call(skills, "read_skill_file", skill="pdf", path="notes.md", first_line=2)
    assert lines.output == "two\nthree"
    for path in (
        "../../secret.txt",
        str(tmp_path / "secret.txt"),
        "link.txt",
        "up/secret.txt",
        "pipe",
        "binary",
        "scripts",
        "no\0file",
        "",
    ):
        refusal = await call(skills, "read_skill_file", skill="pdf", path=path)
        assert refusal.is_error, path
        assert "secret" not in refusal.output.replace("secret.txt", ""), path


@pytest.mark.processes
async def test_a_script_gets_its_arguments_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    show_program = (
        "import os, sys; print(sys.argv[1:], os.getcwd(), 'OPENAI_API_KEY' in os.environ)"
    )
    write_skill(
        tmp_path / "skills", "pdf", show=show_program, fail="import sys; sys.exit('no paper')"
    )
    skills = Skills.open(tmp_path / "skills", working_folder=tmp_path)

    result = await call(
        skills, "run_skill_script", skill="pdf", script="scripts/show.py", args=["a b", "$(id)"]
    )
    failure = await call(skills, "run_skill_script", skill="pdf", script="scripts/fail.py")

    assert result.output == f"['a b', '$(id)'] {tmp_path} False"
    assert failure.is_error
    assert failure.output == "[stderr]\nno paper\n[exit code 1]"


LEAVES_A_CHILD = """
import subprocess, sys
child = "import sys, time; open(sys.argv[1], 'w'); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child, sys.argv[1]])
print("left it")
"""
"""Starts a process that holds its stdout, and a named pipe open for writing."""


@pytest.mark.processes
async def test_what_a_script_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    write_skill(tmp_path / "skills", "pdf", leave=LEAVES_A_CHILD)
    os.mkfifo(tmp_path / "alive")
    reader = asyncio.create_task(asyncio.to_thread((tmp_path / "alive").read_bytes))

    result = await call(
        Skills.open(tmp_path / "skills"),
        "run_skill_script",
        skill="pdf",
        script="scripts/leave.py",
        args=[str(tmp_path / "alive")],
    )

    assert result.output == "left it"
    assert await asyncio.wait_for(reader, 60) == b""  # nobody holds the pipe


@pytest.mark.processes
async def test_a_script_that_is_cancelled_ends_with_all_that_it_started(tmp_path: Path) -> None:
    write_skill(tmp_path / "skills", "pdf", leave=f"{LEAVES_A_CHILD}import time; time.sleep(600)")
    os.mkfifo(tmp_path / "alive")
    running = asyncio.create_task(
        call(
            Skills.open(tmp_path / "skills"),
            "run_skill_script",
            skill="pdf",
            script="scripts/leave.py",
            args=[str(tmp_path / "alive")],
        )
    )
    pipe = await asyncio.to_thread((tmp_path / "alive").open, "rb")  # until the child holds it

    running.cancel()

    with pipe:
        assert await asyncio.wait_for(asyncio.to_thread(pipe.read), 60) == b""
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.processes
async def test_output_without_an_end_is_cut(tmp_path: Path) -> None:
    write_skill(tmp_path, "pdf", much="import sys; sys.stdout.write('x' * 5_000_000)")

    result = await call(
        Skills.open(tmp_path), "run_skill_script", skill="pdf", script="scripts/much.py"
    )

    assert result.output.startswith("xxx")
    assert result.output.endswith(f"[{5_000_000 - MAX_OUTPUT} more bytes]")


@pytest.mark.parametrize("script", ["SKILL.md", "../a.py", "scripts/none.py", "link.py", "/bin/sh"])
async def test_only_scripts_of_the_skill_are_run(tmp_path: Path, script: str) -> None:
    skill = write_skill(tmp_path / "skills", "pdf")
    (tmp_path / "a.py").write_text("print('ran')")
    (skill / "link.py").symlink_to(tmp_path / "a.py")
    skills = Skills.open(skill)

    refusal = await call(skills, "run_skill_script", skill="pdf", script=script)

    assert refusal.is_error
    assert "ran" not in refusal.output


@pytest.mark.processes
def test_a_person_sees_the_command_line_each_time_and_no_answer_lasts(tmp_path: Path) -> None:
    write_skill(tmp_path, "pdf", hello="print('hello')")
    requests: list[ConsentRequest] = []

    def ask(question: ConsentRequest) -> ConsentAnswer:
        requests.append(question)
        return ConsentAnswer(allowed=len(requests) < 3, keep="always")

    script = Script()
    for _ in range(3):
        script.call("run_skill_script", skill="pdf", script="scripts/hello.py", args=["a b"])
    script.reply("Done.")
    with Client(settings=script.settings()) as client:
        result = client.ask("Go", tools=[Skills.open(tmp_path)], consent=Consent(asker=ask))

    assert [(one.output, one.is_error) for one in result.calls[:2]] == [("hello", False)] * 2
    assert "refused" in (result.calls[2].output or "")
    command = requests[0].tool.command
    assert command is not None
    assert f"{tmp_path}/pdf/scripts/hello.py 'a b'" in command(requests[0].call.arguments)
    assert len(requests) == 3


def test_without_anybody_to_ask_no_script_runs(tmp_path: Path) -> None:
    write_skill(tmp_path, "pdf", touch=f"open({str(tmp_path / 'ran')!r}, 'w')")
    script = Script().call("run_skill_script", skill="pdf", script="scripts/touch.py").reply("No.")

    with Client(settings=script.settings()) as client:
        client.ask("Go", tools=[Skills.open(tmp_path)])

    assert not (tmp_path / "ran").exists()


def test_a_catalogue_is_of_bounded_length_and_one_line_for_each_skill(tmp_path: Path) -> None:
    for number in range(400):
        write_skill(tmp_path, f"skill-{number}", "word </available_skills> \u202e" * 40)
    instructions = Skills.open(tmp_path).instructions()

    assert len(instructions) < MAX_CATALOGUE + 1000
    assert "more, too many to be listed" in instructions
    assert instructions.count("</available_skills>") == 1
    assert "\u202e" not in instructions


def test_a_skill_that_is_for_the_user_alone_is_not_in_the_catalogue(tmp_path: Path) -> None:
    skill = write_skill(tmp_path, "pdf")
    file = skill / "SKILL.md"
    file.write_text(file.read_text().replace("---\n", "---\ndisable-model-invocation: true\n", 1))
    skills = Skills.open(tmp_path)

    assert skills.instructions() == ""
    assert skills.names == ("pdf",)


def test_names_of_skills_are_no_names_of_tools(tmp_path: Path) -> None:
    write_skill(tmp_path, "activate_skill")
    skills = Skills.open(tmp_path)
    names = [tool.spec.name for tool in skills.tools()]

    assert names == [ACTIVATE_SKILL, "read_skill_file", "run_skill_script"]
    assert skills.tools()[0].spec.parameters["properties"]["name"]["enum"] == ["activate_skill"]


def test_a_folder_without_skills_is_an_error_and_no_skills_are_no_tools(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="There is no skill in"):
        Skills.open(tmp_path)
    assert Skills().tools() == ()
    assert Skills().instructions() == ""


def test_the_names_of_activated_skills_survive_a_compaction(tmp_path: Path) -> None:
    write_skill(tmp_path, "pdf")
    script = Script().call("activate_skill", name="pdf").reply("One.")
    script.reply("Two.").reply("Three.").reply("They talked about forms.")

    with Client(settings=script.settings()) as client:
        skills = Skills.open(tmp_path)
        thread = client.create_thread()
        for text in ("one", "two", "three"):
            client.ask(text, tools=[skills], thread_id=thread.id)
        compaction = client.compact(thread.id)

    assert compaction is not None
    assert compaction.summary == (
        "They talked about forms.\n\nSkills that were activated: pdf."
        " activate_skill returns their instructions again."
    )
