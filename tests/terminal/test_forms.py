"""Requests of MCP servers to the user of a chat: forms, pages, sampling."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.mcp_servers import config, whole
from tests.support.terminal.model import Model, Reply

ASKING = """
import json, sys

def send(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)

waiting = None
for line in sys.stdin:
    message = json.loads(line)
    match message.get("method"):
        case "initialize":
            info = {"name": "asking", "version": "1"}
            version = message["params"]["protocolVersion"]
            if version > "2025-11-25":
                version = "2025-11-25"
            caps = {"tools": {}, "logging": {}}
            send(id=message["id"], result={"protocolVersion": version, "capabilities": caps,
                                        "serverInfo": info})
        case "tools/list":
            tool = {"name": "ask", "inputSchema": {"type": "object"}}
            send(id=message["id"], result={"tools": [tool]})
        case "tools/call":
            waiting = message["id"]
            send(id="q", method="elicitation/create", params=json.loads(sys.argv[1]))
        case None if message.get("id") == "q":
            text = json.dumps(message.get("result", message.get("error")))
            send(id=waiting, result={"content": [{"type": "text", "text": text}]})
        case _ if "id" in message:
            send(id=message["id"], error={"code": -32601, "message": "no"})
"""


def form(message: str, required: list[str], **fields: dict[str, Any]) -> dict[str, Any]:
    """Return a question that has these fields."""
    schema = {"type": "object", "properties": fields, "required": required}
    return {"mode": "form", "message": message, "requestedSchema": schema}


def chat_with_question(
    home: Path, model: Model, question: dict[str, Any], *flags: str, **options: Any
) -> Chatting:
    """Return a chat with a server that asks this question when its one tool is called."""
    program = home / "asking.py"
    program.write_text(ASKING)
    server = {"command": sys.executable, "args": [str(program), json.dumps(question)]}
    config_flags = config(home, {"desk": server})
    return Chatting(model, *config_flags, "--allow", "desk:*", *flags, home=home, **options)


async def call_tool(chat: Chatting, model: Model, tool: str = "desk__ask") -> Reply:
    """Have the model call the tool that asks."""
    await chat.sees(f"{tool.split('__', maxsplit=1)[0]} is there")
    chat.say("Go.")
    reply = await model.next_request()
    await reply.call(tool, {}, id="call_0")
    await reply.end("tool_calls")
    return reply


async def press(chat: Chatting, key: str) -> None:
    """Press the key after the time that a person needs to read the box."""
    await asyncio.sleep(0.4)
    chat.press(key)


async def read_output(model: Model) -> str:
    """Return the output of the call as the model received it."""
    return str((await model.next_request()).messages[-1]["content"])


PERSON = form(
    "Who are you?",
    ["name", "age", "sort"],
    name={"type": "string", "title": "Your name", "minLength": 2, "default": "Ann"},
    age={"type": "integer", "minimum": 0, "description": "In years"},
    news={"type": "boolean"},
    sort={"type": "string", "enum": ["a", "b"], "enumNames": ["Apple", "Banana"]},
    days={"type": "array", "items": {"type": "string", "enum": ["mon", "tue", "wed"]}},
    city={"type": "string"},
)


async def test_a_form_is_filled_in_field_by_field_and_sent_once_it_was_seen(tmp_path: Path) -> None:
    async with Model() as model, chat_with_question(tmp_path, model, PERSON) as chat:
        await call_tool(chat, model)
        await chat.sees("desk asks you (1 of 6):")
        await chat.sees("Your name: Ann")
        chat.press("enter")
        await chat.sees("In years")
        chat.say("old")
        await chat.sees("age is a number.")
        chat.press(*["backspace"] * 3)
        chat.say("30")
        await chat.sees("3 of 6")
        await press(chat, "y")
        await chat.sees("Banana")
        await press(chat, "2")
        await chat.sees("2. tue")
        chat.say("1, 3")
        await chat.sees("6 of 6")
        chat.press("enter")
        await chat.sees("send this to desk")
        await chat.sees("days: 1, 3")
        await press(chat, "a")
        answer = json.loads(await read_output(model))

        assert answer == {
            "action": "accept",
            "content": {
                "name": "Ann",
                "age": 30,
                "news": True,
                "sort": "b",
                "days": ["mon", "wed"],
            },
        }


async def test_a_form_that_is_left_sends_nothing(tmp_path: Path) -> None:
    async with Model() as model, chat_with_question(tmp_path, model, PERSON) as chat:
        await call_tool(chat, model)
        await chat.sees("1 of 6")
        chat.press("escape")
        await chat.sees("c cancel")
        assert "send this" not in chat.text
        await press(chat, "enter")

        assert json.loads(await read_output(model)) == {"action": "cancel"}


async def test_a_form_can_be_declined(tmp_path: Path) -> None:
    question = form("May I?", [])
    async with Model() as model, chat_with_question(tmp_path, model, question) as chat:
        await call_tool(chat, model)
        await chat.sees("May I?")
        await press(chat, "d")

        assert json.loads(await read_output(model)) == {"action": "decline"}


async def test_a_field_that_looks_like_a_secret_is_hidden_and_warned_of(tmp_path: Path) -> None:
    question = form("Log in", ["password"], password={"type": "string"})
    async with Model() as model, chat_with_question(tmp_path, model, question) as chat:
        await call_tool(chat, model)
        await chat.sees("This looks like a secret")
        chat.say("opensesame")
        await chat.sees("send this to desk")
        assert "opensesame" not in chat.written
        await press(chat, "a")

        assert json.loads(await read_output(model))["content"] == {"password": "opensesame"}


async def test_a_page_is_shown_whole_and_opened_only_when_it_is_asked_for(tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{tmp_path}/opened"\n')
    browser.chmod(0o755)
    url = f"https://good.example@evil.example/pay?x={'1' * 100}"
    question = {"mode": "url", "message": "Pay here", "url": url, "elicitationId": "e1"}
    open_chat = partial(chat_with_question, environ={"BROWSER": str(browser)})
    async with Model() as model, open_chat(tmp_path, model, question) as chat:
        await call_tool(chat, model)
        await chat.sees("sends you to a page of evil.example")
        assert url in "".join(chat.rows)
        await chat.sees("What stands before the @ is a name")
        assert not (tmp_path / "opened").exists()
        await press(chat, "o")

        assert json.loads(await read_output(model)) == {"action": "accept"}
        assert (tmp_path / "opened").read_text().strip() == url


async def test_a_page_that_is_refused_is_not_opened(tmp_path: Path) -> None:
    question = {"mode": "url", "message": "Pay", "url": "https://x.example/", "elicitationId": "e"}
    async with Model() as model, chat_with_question(tmp_path, model, question) as chat:
        await call_tool(chat, model)
        await chat.sees("sends you to a page")
        await press(chat, "enter")

        assert json.loads(await read_output(model)) == {"action": "decline"}


async def test_ctrl_c_leaves_the_fields_and_then_the_form_and_the_run_goes_on(
    tmp_path: Path,
) -> None:
    async with Model() as model, chat_with_question(tmp_path, model, PERSON) as chat:
        await call_tool(chat, model)
        await chat.sees("1 of 6")
        chat.press("ctrl-c")
        await chat.sees("c cancel")
        await press(chat, "ctrl-c")

        assert json.loads(await read_output(model)) == {"action": "cancel"}


async def test_a_program_that_is_ended_while_a_form_is_open_ends(tmp_path: Path) -> None:
    async with Model() as model, chat_with_question(tmp_path, model, PERSON) as chat:
        await call_tool(chat, model)
        await chat.sees("1 of 6")
        chat.kill(signal.SIGTERM)

        assert await chat.wait() == 128 + signal.SIGTERM


async def test_a_server_has_an_answer_of_the_model_once_the_person_has_seen_what_it_asks(
    tmp_path: Path,
) -> None:
    flags = (*config(tmp_path, {"whole": whole()}), "--allow", "whole:*")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await call_tool(chat, model, "whole__think")
        await chat.sees("wants an answer of the model")
        await chat.sees("user: a word?")
        assert model.waiting == 0
        await press(chat, "y")
        sampling_reply = await model.next_request()
        assert sampling_reply.messages[-1]["content"] == "a word?"
        await sampling_reply.answer("Peace.")
        reply = await model.next_request()
        assert "Peace." in str(reply.messages[-1]["content"])
        await reply.answer("It thought.")
        await chat.sees("It thought.")
        chat.say("/threads")
        await chat.sees("Go.")

        assert "asked by whole" not in chat.text


async def test_a_listener_fills_in_a_form_by_lines_and_numbers(tmp_path: Path) -> None:
    flag = "--screen-reader"
    async with Model() as model, chat_with_question(tmp_path, model, PERSON, flag) as chat:
        await call_tool(chat, model)
        for prompt, line in (
            ("Your name:", "Bob"),
            ("age:", "30"),
            ("3. leave the form", "2"),
            ("1. Apple", "2"),
            ("days:", "2"),
            ("city:", "Rome"),
            ("0. cancel", "1"),
        ):
            await chat.sees(prompt)
            await asyncio.sleep(0.4)
            chat.say(line)
        answer = json.loads(await read_output(model))

        assert answer["action"] == "accept"
        assert answer["content"]["name"] == "Bob"
        assert answer["content"]["days"] == ["tue"]
