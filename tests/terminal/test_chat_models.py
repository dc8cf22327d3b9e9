"""The model of a chat: choice, instructions, usage, and its context window."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model

SMALL = {"ANTIPHON_CONTEXT_TOKENS": "1000"}
NOWHERE = {"ANTIPHON_BASE_URL": "http://127.0.0.1:9/v1", "ANTIPHON_MODEL": "told"}
LOOK = '''\
from antiphon import tool


@tool
def look() -> str:
    """Looks."""
    return "!"
'''


def last_request(model: Model) -> str:
    """Return the messages of the last request to the model."""
    return str(model.requests[-1]["messages"])


async def exchange(model: Model, chat: Chatting, count: int, used: int = 100) -> None:
    """Exchange `count` messages; the last answer says that its request took `used` tokens."""
    for number in range(1, count + 1):
        footers = chat.text.count(" in, 5 out")
        chat.say(f"Question {number}")
        reply = await model.next_request()
        await reply.answer(f"Answer {number}.", usage=(used if number == count else 100, 5))
        await chat.sees(f"Answer {number}.")
        await chat.until(lambda known=footers: chat.text.count(" in, 5 out") > known)
        await chat.until(lambda: chat.rows[-1].startswith("told · "))


async def test_another_model_answers_from_now_on(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        model.names = ["told", "other-large", "other-small"]
        await chat.ready()
        chat.say("/model")
        await chat.sees("told answers.")
        chat.say("/model other-small")
        await chat.sees("other-small answers.")
        model.will_say("I am small.")
        chat.say("Who are you?")
        await chat.sees("I am small.")

        assert model.requests[-1]["model"] == "other-small"
        await chat.until(lambda: chat.rows[-1].startswith("other-small · "))


async def test_a_model_that_is_not_there_says_which_is_near(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        model.names = ["told", "other-large"]
        await chat.ready()
        chat.say("/model othr-large")
        await chat.sees("did you mean other-large?")
        model.will_say("As before.")
        chat.say("Still you?")
        await chat.sees("As before.")

        assert model.requests[-1]["model"] == "told"


async def test_the_name_of_a_model_is_completed(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, environ=SMALL) as chat:
        model.names = ["told", "other-large", "other-small"]
        await chat.ready()
        chat.type("/model small")
        await chat.until(lambda: "small  1k" in chat.text and "other-large" not in chat.text)
        chat.press("tab")
        await chat.sees("> /model other-small")
        chat.press("enter", "enter")
        await chat.sees("other-small answers")


async def test_models_are_listed_with_what_they_take(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, environ=SMALL) as chat:
        model.names = ["told", "other\x1b[2J-large", "other-small"]
        await chat.ready()
        chat.say("/models OTHER")
        await chat.sees("/model NAME has it answer")

        await chat.sees("other-small")
        assert "told  " not in chat.text
        chat.say("/models")
        await chat.sees("answers here")
        await chat.sees("1k tokens")
        chat.say("/models nothing-like-it")
        await chat.sees("No model has nothing-like-it in its name")
        assert not chat.foreign


async def test_a_provider_that_is_away_is_named_where_models_are_listed(tmp_path: Path) -> None:
    async with Chatting(home=tmp_path, environ=NOWHERE) as chat:
        await chat.ready()
        chat.say("/models")
        await chat.sees("127.0.0.1:9 lists no models")
        await chat.sees("refused, so nothing may be listening there")
        await chat.sees("answers here")


@pytest.mark.slow
async def test_instructions_are_set_shown_and_cleared(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("/system")
        await chat.sees("There are no instructions.")
        chat.say("/system Answer in rhyme.")
        await chat.sees("These are the instructions, from your next message on")
        await exchange(model, chat, 1)
        assert "Answer in rhyme." in last_request(model)
        chat.say("/system")
        await chat.until(lambda: "Answer in rhyme." in chat.text)
        chat.say("/system clear")
        await chat.sees("The instructions are removed")
        model.will_say("In prose.")
        chat.say("And now?")
        await chat.sees("In prose.")

        assert "Answer in rhyme." not in last_request(model)


@pytest.mark.slow
async def test_usage_tells_what_each_model_took(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        model.names = ["told", "other"]
        await chat.ready()
        chat.say("/usage")
        await chat.sees("This thread has no messages yet")
        await exchange(model, chat, 2, used=1_200)
        chat.say("/model other")
        await chat.sees("other answers.")
        model.will_say("I am another.")
        chat.say("And you?")
        await chat.sees("I am another.")
        chat.say("/usage")
        await chat.sees("3 replies")

        rows = [" ".join(row.split()) for row in chat.rows]
        assert " ".join(("turns", "in", "cached", "out", "reasoning", "cost")) in rows
        assert "told 2 1,300 0 10 0 unknown" in rows
        assert "other 1 10 0 5 0 unknown" in rows
        assert "all 3 1,310 0 15 0 unknown" in rows


async def test_chunks_are_counted_in_a_verbose_chat(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, "--verbose", home=tmp_path) as chat:
        await chat.ready()
        await exchange(model, chat, 1)
        chat.say("/usage")
        await chat.sees("1 chunk came since this chat began.")


async def test_the_context_is_told_in_sentences(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, environ=SMALL) as chat:
        await chat.ready()
        await exchange(model, chat, 2, used=245)
        chat.say("/context")
        await chat.sees("told takes 1,000; 25% of that is used.")

        await chat.sees("4 messages in this thread.")
        await chat.sees("No summary stands in for any of them.")


@pytest.mark.slow
async def test_a_thread_is_compacted_and_told_whole_again(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("/compact")
        await chat.sees("This thread has no messages yet")
        await exchange(model, chat, 4)
        chat.say("/compact")
        reply = await model.next_request()
        await reply.say("Two questions ")
        await chat.sees("summing up part 1 of 1, 14 letters")
        await reply.answer("were answered.")
        await chat.sees("Compacted 4 messages:")
        chat.say("/context")
        await chat.sees("A summary stands in for the first 4")
        model.will_say("Fifth.", "Sixth.")
        chat.say("Question 5")
        await chat.sees("Fifth.")

        assert "were answered." in last_request(model)
        assert "Answer 1." not in last_request(model)
        assert "Answer 3." in last_request(model)
        chat.say("/compact undo")
        await chat.sees("gets the whole thread again")
        chat.say("Question 6")
        await chat.sees("Sixth.")
        assert "Answer 1." in last_request(model)


@pytest.mark.slow
async def test_a_thread_is_compacted_by_itself_before_the_window_is_full(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, environ=SMALL) as chat:
        await chat.ready()
        await exchange(model, chat, 4, used=900)
        chat.say("Question 5")
        await (await model.next_request()).answer("A short summary.")
        await chat.sees("Compacted 4 messages:")
        reply = await model.next_request()
        await reply.answer("Answer 5.")
        await chat.sees("Answer 5.")

        assert "A short summary." in last_request(model)
        assert "Answer 1." not in last_request(model)
        assert "Question 5" in last_request(model)


@pytest.mark.slow
async def test_a_thread_with_nothing_older_goes_on_and_is_compacted_later(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, environ=SMALL) as chat:
        await chat.ready()
        await exchange(model, chat, 1, used=900)
        chat.say("Long again")
        await (await model.next_request()).answer("It is.", usage=(900, 5))
        await chat.sees("It is.")
        chat.say("And again")
        await (await model.next_request()).answer("Indeed.", usage=(950, 5))
        await chat.sees("Indeed.")
        chat.say("Question 4")
        await (await model.next_request()).answer("A short summary.")
        await chat.sees("Compacted 2 messages:")
        await (await model.next_request()).answer("Answer 4.")
        await chat.sees("Answer 4.")


@pytest.mark.slow
async def test_ctrl_c_leaves_the_thread_as_it_is_and_the_message_in_the_line(
    tmp_path: Path,
) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, environ=SMALL) as chat:
        await chat.ready()
        await exchange(model, chat, 4, used=900)
        chat.say("Question 5")
        summary_reply = await model.next_request()
        await chat.sees("summing up; Ctrl+C leaves it")
        chat.press("ctrl-c")
        await chat.sees("[stopped]")
        await summary_reply.over()
        await chat.until(lambda: any(row.startswith("> Question 5") for row in chat.rows[-3:]))
        model.will_say("Answer 5.")
        chat.press("enter")
        await chat.sees("Answer 5.")

        assert "Answer 1." in last_request(model)
        assert "Compacted" not in chat.text


@pytest.mark.slow
async def test_a_summary_that_fails_keeps_nobody_from_going_on(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, environ=SMALL) as chat:
        await chat.ready()
        await exchange(model, chat, 4, used=900)
        chat.say("Question 5")
        await (await model.next_request()).refuse(400, "no summaries here")
        await chat.sees("It was not summarized.")
        model.will_say("Answer 5.")
        await chat.sees("Answer 5.")

        assert "Answer 1." in last_request(model)


def is_shown(chat: Chatting, pattern: str) -> bool:
    return bool(re.search(pattern, chat.text))


@pytest.mark.slow
async def test_the_last_seconds_of_a_reply_are_counted_down(tmp_path: Path) -> None:
    flags = ("--turn-timeout", "6")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Slowly, please")
        reply = await model.next_request()
        await chat.until(partial(is_shown, chat, r"waiting  \d s  cut off in [3-6] s"))
        await reply.think("Hm.")
        await chat.until(partial(is_shown, chat, r"thinking .*cut off in [0-2] s"))
        await chat.sees("the answer is incomplete (stalled)")
        await chat.sees("--turn-timeout set the limits")


async def test_ctrl_t_gives_the_next_replies_more_time(tmp_path: Path) -> None:
    flags = ("--turn-timeout", "2")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.ready()
        chat.press("ctrl-t")
        await chat.sees("The next may take 302 s each. --turn-timeout sets it.")
        chat.say("Slowly, please")
        reply = await model.next_request()
        await chat.until(partial(is_shown, chat, r"waiting  ([3-9]|\d\d) s"))
        chat.press("ctrl-t")
        await chat.sees("This reply keeps its limit; the next may take 602 s each.")
        await reply.answer("Here I am.")
        await chat.sees("Here I am.")

        assert "cut off" not in chat.text


async def test_without_a_stream_an_answer_comes_whole_the_same_way(tmp_path: Path) -> None:
    flags = ("--no-stream", "--chunk-timeout", "1")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Hello")
        reply = await model.next_request()
        await chat.until(partial(is_shown, chat, r"waiting  ([2-9]|\d\d) s"))
        await reply.whole("# Hi\n\nIt is **all** here.")
        await chat.sees("10 in, 5 out")

        assert model.requests[-1]["stream"] is False
        await chat.sees("It is all here.")
        assert not chat.foreign


async def test_a_reply_without_a_stream_is_stopped_too(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, "--no-stream", home=tmp_path) as chat:
        await chat.ready()
        chat.say("Hello")
        reply = await model.next_request()
        chat.press("ctrl-c")
        await chat.sees("[stopped]")
        await reply.over()
        chat.say("Again")
        await (await model.next_request()).whole("Here I am.")
        await chat.sees("Here I am.")


async def test_a_run_takes_no_more_turns_than_it_may(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(LOOK)
    flags = ("--tools", "tools.py", "--max-turns", "1")
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Look!")
        reply = await model.next_request()
        await reply.call("look", id="c1")
        await reply.end("tool_calls")
        await chat.sees("--max-turns limits the turns of a run")


async def test_how_full_the_window_is_is_not_told_before_it_is_known(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, environ=SMALL) as chat:
        await chat.ready()
        await exchange(model, chat, 1, used=245)
        chat.say("/new")
        await chat.sees("A new thread begins")
        chat.say("/context")
        await chat.sees("told takes 1,000.")

        assert "0% of that" not in chat.text
