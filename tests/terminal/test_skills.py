"""Skills, instructions and slash commands in the chat: yours count, a folder's once seen."""

from __future__ import annotations

from pathlib import Path

from tests.support.skills.folders import write_skill
from tests.support.terminal.chatting import Chatting
from tests.support.terminal.consenting import answers, deliberately
from tests.support.terminal.model import Model, Reply


def config_folder(home: Path) -> Path:
    return home / "config/antiphon"


def system_text(reply: Reply) -> str:
    """Return what the model reads before the conversation."""
    return "\n".join(each["content"] for each in reply.messages if each["role"] == "system")


def offered_tools(reply: Reply) -> list[str]:
    return [tool["function"]["name"] for tool in reply.body.get("tools", [])]


async def test_the_model_is_told_of_ones_own_skills_and_activates_one(tmp_path: Path) -> None:
    write_skill(
        config_folder(tmp_path) / "skills", "pdf", "Fills in forms.", "Look at every field."
    )
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Fill it in")
        reply = await model.next_request()
        assert "- pdf: Fills in forms." in system_text(reply)
        assert offered_tools(reply) == ["activate_skill", "read_skill_file", "run_skill_script"]
        await reply.call("activate_skill", {"name": "pdf"}, id="call_1")
        await reply.end("tool_calls")
        reply = await model.next_request()
        await reply.answer("I have looked.")
        await chat.sees("I have looked.")

        assert "Look at every field." in reply.messages[-1]["content"]
        chat.say("/skills")
        await chat.sees("ready")
        chat.say("/skills pdf")
        await chat.sees("Look at every field.")


async def test_what_a_folder_brings_is_seen_whole_before_it_counts(tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text("Use tabs.\x1b]0;title\x07\u202e\n")
    write_skill(tmp_path / ".claude/skills", "theirs", "Does \x1b[2Jit.", run="print('script')")
    async with Model() as model, Chatting(model, home=tmp_path, columns=100) as chat:
        await chat.sees("not used until you have seen and trusted it")
        chat.say("Hello")
        reply = await model.next_request()
        assert system_text(reply) == ""
        assert offered_tools(reply) == []
        await reply.answer("Hi.")
        await chat.sees("Hi.")

        chat.say("/skills trust")
        await chat.sees("Trust theirs, as it is shown above in")
        assert "  | print('script')" in chat.text
        await deliberately(chat, "n", "theirs is not trusted, and not used.")
        await chat.sees("Trust AGENTS.md, as it is shown above in")
        assert "Use tabs.\u241b]0;title\u2407<U+202E>" in chat.text
        await deliberately(chat, "y", "AGENTS.md counts from now on")

        chat.say("Again")
        reply = await model.next_request()
        assert "Use tabs." in system_text(reply)
        assert "theirs" not in system_text(reply)
        assert offered_tools(reply) == []
        await reply.answer("Again.")
        await chat.sees("Again.")
        assert chat.foreign == []


async def test_a_script_is_shown_as_the_command_line_that_runs_and_asks_each_time(
    tmp_path: Path,
) -> None:
    write_skill(
        config_folder(tmp_path) / "skills",
        "pdf",
        note="import sys; open('ran', 'a').write(sys.argv[1])",
    )
    call = {"skill": "pdf", "script": "scripts/note.py", "args": ["a b;c"]}
    # So wide that no path of a test, however long, is broken into two lines.
    async with Model() as model, Chatting(model, home=tmp_path, columns=400, rows=40) as chat:
        await chat.ready()
        chat.say("Run it twice")
        for number in (1, 2):
            reply = await model.next_request()
            await reply.call("run_skill_script", call, id=f"call_{number}")
            await reply.end("tool_calls")
            await chat.sees("scripts/note.py 'a b;c'")
            assert "this session" not in chat.text
            assert "always" not in chat.text
            assert (tmp_path / "ran").exists() == (number == 2)
            await answers(chat, "y")
        reply = await model.next_request()
        await reply.answer("Both ran.")
        await chat.sees("Both ran.")

    assert (tmp_path / "ran").read_text() == "a b;ca b;c"


async def test_a_file_is_a_slash_command_with_arguments_and_completion(tmp_path: Path) -> None:
    commands = config_folder(tmp_path) / "commands"
    commands.mkdir(parents=True)
    (commands / "review.md").write_text("---\ndescription: Review it\n---\nReview $1: $ARGUMENTS")
    (commands / "model.md").write_text("Not this one.")
    (tmp_path / "notes.txt").write_text("all of the notes")
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("/help")
        await chat.sees("From files")
        chat.type("/revi\t")
        await chat.sees("> /review")
        chat.type("\x15")
        chat.type("/review @not\t")
        await chat.sees("/review @notes.txt")
        chat.say(" now")
        reply = await model.next_request()
        await reply.answer("It is good.")
        await chat.sees("It is good.")
        chat.say("/skills")
        await chat.sees("shadowed")
        chat.say("/skills use none")
        await chat.sees("There is no skill none")
        chat.say("/model")
        await chat.sees("told")

    (content,) = [each["content"] for each in reply.messages if each["role"] == "user"]
    assert "Review @notes.txt: @notes.txt now" in str(content)
    assert "all of the notes" in str(content)
    assert len(model.requests) == 1


async def test_without_skills_and_instructions_the_model_is_told_nothing(tmp_path: Path) -> None:
    write_skill(config_folder(tmp_path) / "skills", "pdf")
    (config_folder(tmp_path) / "AGENTS.md").write_text("Be kind.")
    flags = ("--no-skills", "--no-project-instructions")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Hello")
        reply = await model.next_request()
        await reply.answer("Hi.")

        assert system_text(reply) == ""
        assert offered_tools(reply) == []
