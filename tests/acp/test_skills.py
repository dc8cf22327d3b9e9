"""Skills, instructions and slash commands of a session's folder, for an editor."""

from __future__ import annotations

from pathlib import Path

import pytest
from acp.schema import TextContentBlock

from antiphon.acp.agent import COMMANDS
from antiphon.settings.settings import Settings
from antiphon.skills.workspace import load_workspace
from antiphon.testing import Script
from tests.support.acp.editor import choose, open_editor
from tests.support.skills.folders import SkillHome, write_skill


def text(words: str) -> TextContentBlock:
    return TextContentBlock(type="text", text=words)


@pytest.mark.processes
async def test_a_projects_skills_instructions_and_commands_count_once_trusted(
    tmp_path: Path,
) -> None:
    home = SkillHome(tmp_path)
    write_skill(home.project / ".claude/skills", "pdf", "Fills in forms.", run="print('it ran')")
    (home.project / "AGENTS.md").write_text("Use tabs.")
    (home.project / ".claude/commands").mkdir()
    (home.project / ".claude/commands/review.md").write_text("Review $1, please.")
    (home.project / ".claude/commands/tools.md").write_text("Not this one.")
    script = Script().reply("Hello.")
    script.call("run_skill_script", skill="pdf", script="scripts/run.py", args=["x y"])
    script.reply("Done.")
    settings = script.settings()

    def find(folder: Path):
        reserved = {command.name for command in COMMANDS}
        return load_workspace(folder, Settings(), home.environ, reserved=reserved)

    async with open_editor(settings, find_workspace=find) as editor:
        editor.answer = choose("allow_once")
        session = (await editor.agent.new_session(cwd=str(home.project))).session_id
        await editor.agent.prompt(session_id=session, prompt=[text("/review a.py")])
        assert script.requests[0].instructions is None
        assert script.requests[0].tools == ()
        assert "antiphon trust" in editor.warnings[0]

        home.trust_all()
        await editor.agent.prompt(session_id=session, prompt=[text("/skills")])
        assert "skill `pdf`: ready" in editor.texts()
        assert "command `/tools`: shadowed" in editor.texts()
        await editor.until(
            lambda: any(
                command.name == "review"
                for update in editor.updates
                if update.session_update == "available_commands_update"
                for command in update.available_commands
            )
        )
        await editor.agent.prompt(session_id=session, prompt=[text("/review a.py")])
        ((tool_call, options),) = editor.questions

    instructions = script.requests[1].instructions or ""
    assert "Use tabs." in instructions
    assert "- pdf: Fills in forms." in instructions
    assert "Review a.py, please." in str(script.requests[1].messages)
    assert "pdf/scripts/run.py 'x y'" in str([each.content for each in tool_call.content])
    assert [option.kind for option in options] == ["allow_once", "reject_once"]
    assert "it ran" in str(script.requests[2].messages)


async def test_a_text_with_a_slash_that_is_no_command_is_a_prompt(tmp_path: Path) -> None:
    script = Script().reply("One.").reply("Two.")
    async with open_editor(script.settings()) as editor:
        session = (await editor.agent.new_session(cwd=str(tmp_path))).session_id
        for words in ("/", "/nothing of this kind"):
            await editor.agent.prompt(session_id=session, prompt=[text(words)])

    assert "/nothing of this kind" in str(script.requests[1].messages)
