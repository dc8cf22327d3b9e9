"""Hooks in a chat: what they deny, ask and add is seen, and none comes with a folder."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.consenting import (
    TOOLS,
    answers,
    calls,
    chat_that_asks,
    outputs,
    ran,
)
from tests.support.terminal.model import Model


def write_hook(home: Path, when: str, script: str, more_lines: str = "") -> None:
    """Add a hook to the user's own settings; its program lies beside them."""
    folder = home / "config" / "antiphon"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / f"{when}.sh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with (folder / "antiphon.toml").open("a") as file:
        file.write(f'[[hooks]]\nwhen = "{when}"\ncommand = ["./{when}.sh"]\n{more_lines}')


def chat_that_runs(home: Path, model: Model, columns: int = 100) -> Chatting:
    """Return a chat with one tool, which runs without a question."""
    (home / "tools.py").write_text(TOOLS)
    return Chatting(model, "--tools", str(home / "tools.py"), home=home, columns=columns)


async def test_a_denial_is_shown_with_its_reason_and_no_question(tmp_path: Path) -> None:
    write_hook(
        tmp_path,
        "before",
        r"""
if grep -q 'rm -rf'; then printf 'nothing\033[2J is \342\200\256removed here' >&2; exit 1; fi
""",
    )
    async with Model() as model, chat_that_asks(tmp_path, model, columns=100) as chat:
        await calls(chat, model, {"command": "rm -rf /"})
        await chat.sees("refused by a hook")
        reply = await model.next_request()

        assert "nothing" in outputs(reply)[0]
        assert "May the model call" not in chat.text
        assert "A hook does not allow this call: nothing" in chat.text
        assert "\u202e" not in chat.text
        await reply.answer("Then not.")
        await chat.sees("Then not.")
        assert ran(tmp_path) == []


async def test_the_question_of_a_hook_is_asked_with_its_reason_and_no_lasting_answer(
    tmp_path: Path,
) -> None:
    write_hook(tmp_path, "before", """echo '{"decision": "ask", "reason": "it is Friday"}'""")
    async with Model() as model, chat_that_runs(tmp_path, model) as chat:
        await calls(chat, model, {"command": "one"})
        await chat.sees("A hook wants you to decide: it is Friday")
        assert "this session" not in chat.text
        await answers(chat, "y")
        reply = await model.next_request()

        assert outputs(reply) == ["ran one"]
        assert ran(tmp_path) == ["one"]


async def test_the_user_sees_and_allows_the_arguments_that_a_hook_has_changed(
    tmp_path: Path,
) -> None:
    write_hook(tmp_path, "before", """echo '{"arguments": {"command": "ls --safe"}}'""")
    write_hook(tmp_path, "after", """echo '{"context": "two files"}'""")
    async with Model() as model, chat_that_asks(tmp_path, model, columns=100) as chat:
        await calls(chat, model, {"command": "ls"})
        await chat.sees("ls --safe")
        await answers(chat, "y")
        reply = await model.next_request()

        assert ran(tmp_path) == ["ls --safe"]
        assert outputs(reply)[0].endswith("ran ls --safe\n\n[A hook adds: two files]")


async def test_a_hook_that_fails_is_reported_above_the_input(tmp_path: Path) -> None:
    write_hook(tmp_path, "after", "echo 'no formatter here' >&2; exit 1")
    async with Model() as model, chat_that_runs(tmp_path, model) as chat:
        await calls(chat, model, {"command": "one"})
        reply = await model.next_request()
        await chat.sees("no formatter here")

        assert outputs(reply) == ["ran one"]
        assert re.search(r"The hook ./after.sh failed after shell", chat.text)


async def test_ctrl_c_ends_a_hook_and_what_it_started(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_hook(tmp_path, "before", f"exec 3>{path}; sleep 600 & echo begun >&3; sleep 600")

    async def read_next() -> bytes:
        readable = asyncio.Event()
        asyncio.get_running_loop().add_reader(reader, readable.set)
        try:
            async with asyncio.timeout(60):
                await readable.wait()
        finally:
            asyncio.get_running_loop().remove_reader(reader)
        return os.read(reader, 99)

    async with Model() as model, chat_that_runs(tmp_path, model) as chat:
        await calls(chat, model, {"command": "one"})
        assert await read_next() == b"begun\n"
        await chat.sees("s hooks check it")
        chat.press("ctrl-c")
        await chat.sees("[stopped]")

        assert await read_next() == b""
        assert ran(tmp_path) == []
    os.close(reader)


async def test_hooks_are_listed_with_what_is_missing(tmp_path: Path) -> None:
    async with Model() as model, chat_that_runs(tmp_path, model) as chat:
        await chat.ready()
        chat.say("/hooks")
        await chat.sees("There are no hooks")
    write_hook(tmp_path, "before", "true", 'tools = ["files__*", "sh\\u001b[2Jell"]\n')
    write_hook(tmp_path, "after", "true")
    (tmp_path / "config/antiphon/after.sh").unlink()
    async with Model() as model, chat_that_runs(tmp_path, model) as chat:
        await chat.ready()
        chat.say("/hooks")
        await chat.sees("./after.sh  not found")

        assert re.search(r"before files__\*, sh\S*ell  ./before.sh", chat.text)


async def test_a_folder_brings_no_hook_into_a_chat(tmp_path: Path) -> None:
    (tmp_path / "steal.sh").write_text("#!/bin/sh\ntouch stolen\n")
    (tmp_path / "steal.sh").chmod(0o755)
    (tmp_path / "antiphon.toml").write_text(
        '[[hooks]]\nwhen = "before"\ncommand = ["./steal.sh"]\n'
    )
    async with Model() as model, chat_that_runs(tmp_path, model, columns=300) as chat:
        await chat.sees("may not name `hooks`")
        assert await chat.wait() == 5

    assert not list(tmp_path.rglob("stolen"))
