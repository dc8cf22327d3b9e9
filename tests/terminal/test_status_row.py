"""The row at the bottom tells what matters, and the rest where there is room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec import structs

from antiphon.client.formatting import short_number
from antiphon.settings.values import STATUS_PARTS
from antiphon.terminal import chat_state, spans, status_line
from antiphon.terminal.chat_state import StatusFacts
from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model

FULL = StatusFacts(
    model="openai:gpt-5.4-mini",
    title="About the tides of the North Sea and their tables",
    context_tokens=15_400,
    window=128_000,
    cost=0.0123,
    servers=[("files", "starting")],
    queued=2,
)


def render_status(facts: StatusFacts, columns: int) -> str:
    return "".join(span.text for span in chat_state.status_row(facts, columns, "…"))


def test_a_wide_terminal_is_told_everything() -> None:
    row = render_status(FULL, 200)

    assert row == (
        "openai:gpt-5.4-mini · About the tides of the North S… · 12% of 128k · $0.0123"
        " · files starting · 2 queued · /help"
    )


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        (98, "openai:gpt-5.4-mini · 12% of 128k · $0.0123 · files starting · 2 queued"),
        (62, "openai:gpt-5.4-mini · 12% of 128k · files starting · 2 queued"),
        (50, "openai:gpt-5.4-mini · files starting · 2 queued"),
        (30, "files starting · 2 queued"),
        (20, "2 queued"),
        (1, "2 queued"),
    ],
)
def test_a_narrow_one_is_told_what_matters_most(columns: int, row: str) -> None:
    assert render_status(FULL, columns) == row


def test_what_is_not_known_is_not_told() -> None:
    assert render_status(StatusFacts(), 80) == "/help"
    assert render_status(StatusFacts(model="demo", context_tokens=100), 80) == "demo · /help"
    assert render_status(StatusFacts(model="demo", window=8_192), 80) == "demo · /help"


def test_nothing_in_it_acts_or_breaks_the_row() -> None:
    row = render_status(StatusFacts(model="a\x1b]0;owned\x07b", title="two\nlines"), 80)

    assert "\x1b" not in row
    assert "two lines" in row


def test_a_title_of_wide_letters_is_cut_in_cells() -> None:
    (_, _, title, *_) = chat_state.status_row(StatusFacts(model="m", title="字" * 40), 200, "…")

    assert spans.line_width([title]) <= chat_state.LONGEST_TITLE + 1


@pytest.mark.parametrize(
    ("tokens", "text"),
    [(900, "900"), (8_192, "8.2k"), (16_000, "16k"), (128_000, "128k"), (1_048_576, "1M")],
)
def test_tokens_are_said_in_short(tokens: int, text: str) -> None:
    assert short_number(tokens) == text


async def test_it_tells_model_thread_and_how_full_the_window_is(tmp_path: Path) -> None:
    environ = {"ANTIPHON_CONTEXT_TOKENS": "1000"}
    async with Model() as model, Chatting(model, home=tmp_path, environ=environ) as chat:
        await chat.ready()
        chat.say("What are tides?")
        await (await model.next_request()).answer("Water.", usage=(115, 5))
        await chat.until(lambda: chat.rows[-1] == "told · What are tides? · 12% of 1k · /help")


@pytest.mark.slow
async def test_messages_that_wait_are_counted(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("One")
        reply = await model.next_request()
        chat.say("Two")
        chat.say("Three")
        await chat.sees("2 queued")
        model.will_say("Second.", "Third.")
        await reply.answer("First.")
        await chat.sees("Third.")

        assert "queued" not in chat.text


async def test_a_new_thread_is_not_as_full_as_the_one_before(tmp_path: Path) -> None:
    environ = {"ANTIPHON_CONTEXT_TOKENS": "1000"}
    async with Model() as model, Chatting(model, home=tmp_path, environ=environ) as chat:
        await chat.ready()
        chat.say("What are tides?")
        await (await model.next_request()).answer("Water.", usage=(115, 5))
        await chat.sees("12% of 1k")
        chat.say("/new")
        await chat.sees("A new thread begins with your next message.")

        await chat.until(lambda: chat.rows[-1] == "told · /help")


async def test_it_names_the_model_before_the_first_answer(tmp_path: Path) -> None:
    async with Model() as model:
        model.names = ["unnamed", "other"]
        async with Chatting(None, "--base-url", model.url, home=tmp_path) as chat:
            await chat.sees("unnamed · /help")


def render_template(
    template: str,
    facts: StatusFacts = FULL,
    *,
    folder: str = "~/site",
    branch: str = "main",
    columns: int = 200,
) -> str:
    row = status_line.template_row(template, facts, folder, branch, columns, "…")
    return "".join(span.text for span in row)


def test_a_template_puts_the_parts_where_the_user_wants_them() -> None:
    assert render_template("{folder} ({git_branch}) > {model} [{mode}]") == (
        "~/site (main) > openai:gpt-5.4-mini [ask]"
    )
    assert render_template("{context} · {cost} | {servers} | {queued}") == (
        "12% of 128k · $0.0123 | files starting | 2 queued"
    )


def test_each_part_of_the_setting_is_known_to_the_row() -> None:
    facts = structs.replace(FULL, activity="summing up")
    for name in STATUS_PARTS:
        assert render_template(f"{{{name}}}", facts).removeprefix("summing up · ")
        assert "{" not in render_template(f"{{{name}}}", facts)


def test_a_section_with_nothing_to_say_is_left_out() -> None:
    row = render_template(
        "{git_branch} | {model} | {cost} {context} | here", StatusFacts(), branch=""
    )
    assert row == "here"
    assert render_template("{cost} | {model}", StatusFacts(model="demo")) == "demo"


def test_a_mode_and_work_are_shown_also_if_the_template_does_not_name_them() -> None:
    facts = StatusFacts(model="demo", mode="allow", activity="summing up")

    assert render_template("{model}", facts) == "summing up · allow · demo"
    assert render_template("{mode} {activity}", facts) == "allow summing up"


def test_a_row_of_a_template_is_cleaned_and_cut_to_the_width() -> None:
    facts = StatusFacts(model="a\x1b]0;owned\x07b {cost}", title="two\nlines")
    row = render_template("{model} \x1b[2J{title} {git_branch}", facts, branch="x\x1b[2J")

    assert "\x1b" not in row
    assert "\n" not in row
    assert "{cost}" in row
    assert spans.width(render_template("{folder}", folder="字" * 40, columns=20)) <= 20


def test_the_branch_is_read_from_the_repository_around_the_folder(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    head_file = tmp_path / ".git" / "HEAD"
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    head_file.write_text("ref: refs/heads/fix/tides\n")
    assert status_line.find_branch(below) == "fix/tides"
    head_file.write_text("1234567890" * 4 + "\n")
    assert status_line.find_branch(below) == "1234567"
    head_file.write_text("anything else, such as a secret")
    assert status_line.find_branch(below) == ""


def test_the_branch_of_a_worktree_is_its_own(tmp_path: Path) -> None:
    git_folder = tmp_path / "repository" / ".git" / "worktrees" / "tree"
    git_folder.mkdir(parents=True)
    (git_folder / "HEAD").write_text("ref: refs/heads/tree\n")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / ".git").write_text(f"gitdir: {git_folder}\n")

    assert status_line.find_branch(tmp_path / "tree") == "tree"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_in_place_of_the_head_does_not_block_the_row(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    os.mkfifo(tmp_path / ".git" / "HEAD")

    assert status_line.find_branch(tmp_path) == ""


async def test_the_last_row_of_the_chat_is_that_of_the_setting(tmp_path: Path) -> None:
    environ = {"ANTIPHON_STATUS_LINE": "<{folder}> {model} | {cost}"}
    async with Model() as model, Chatting(model, home=tmp_path, environ=environ) as chat:
        await chat.until(lambda: chat.rows[-1] == "<~> told")
        chat.press("shift-tab")
        await chat.until(lambda: chat.rows[-1] == "plan · <~> told")
