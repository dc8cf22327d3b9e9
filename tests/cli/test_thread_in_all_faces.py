"""One thread with every kind of message, as each face shows it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import pytest

from antiphon.cli.threads import format_message
from antiphon.client.export import FORMS, render_export
from antiphon.mcp.server.handlers import message_as_markdown
from antiphon.terminal import resume, spans
from antiphon.terminal.themes import THEMES
from antiphon.types.messages import File, Image, Message, Refusal, Text, ToolCall, Upload
from antiphon.types.runs import Fault, Run, Status, Thread
from antiphon.types.thread_view import ThreadReader, group_entries, summarize_run
from antiphon.wires.ai_sdk.history import as_ui_message

MESSAGES: list[Message] = []


def add_message(role: Any, *content: Any, **more: Any) -> None:
    number = len(MESSAGES) + 1
    MESSAGES.append(
        Message(
            id=f"msg_{number}",
            thread_id="thread_1",
            number=number,
            role=role,
            content=tuple(Text(each) if isinstance(each, str) else each for each in content),
            created_at=1_000 * number,
            **more,
        )
    )


def add_output(call_id: str, output: str, **more: Any) -> None:
    add_message("tool", output, tool_call_id=call_id, **more)


def call(name: str) -> ToolCall:
    return ToolCall(f"call_{name}", name, f'{{"of":"{name}"}}')


# A branch begins with copies, which belong to no run of this thread.
add_message("system", "Prompt.")
add_message("user", "Copied question.")
add_message("assistant", "Copied reply.", tool_calls=(call("copied_tool"),))
add_output("call_copied_tool", "Copied output.")
add_message("system", "Short story.", compacts=2)
# Every way that a call can end.
add_message("user", "Look at it.", File("file_1"), Image(url="data:image/png;base64,AAAA"))
TOOLS = ("answered_tool", "failed_tool", "refused_tool", "expired_tool", "changed_tool")
add_message(
    "assistant",
    "Looking.",
    reasoning="Thinking hard.",
    tool_calls=tuple(map(call, TOOLS)),
    run_id="run_1",
)
CHANGED = '{"of":"something else"}'
add_output("call_answered_tool", "Seen.", run_id="run_1", metadata={"files": "file_2"})
add_output("call_failed_tool", "Broken.", is_error=True, run_id="run_1")
for name in ("refused", "expired"):
    fault = {"fault": "timed_out" if name == "expired" else name}
    add_output(f"call_{name}_tool", f"{name} it.", is_error=True, run_id="run_1", metadata=fault)
add_output("call_changed_tool", "Done.", run_id="run_1", metadata={"arguments.0": CHANGED})
add_message("assistant", Refusal("I will not."), run_id="run_1")
# A run that ended before it said anything, one cancelled in the middle of a word, one active.
add_message("user", "Anything else?")
add_message("user", "Go on.")
add_message("assistant", "Once upo", status="incomplete", run_id="run_3")
add_message("user", "And now?")
add_message("assistant", "At once.", tool_calls=(call("open_tool"),), run_id="run_4")


def run(number: int, status: Status, before: int) -> Run:
    return Run(
        id=f"run_{number}",
        thread_id="thread_1",
        status=status,
        model="demo",
        error=Fault("provider_auth", "No key.") if status is Status.FAILED else None,
        messages_before=before,
        created_at=1_000 * (before + 1),
    )


RUNS = [
    run(4, Status.ACTION_REQUIRED, 16),
    run(3, Status.CANCELLED, 14),
    run(2, Status.FAILED, 13),
    run(1, Status.COMPLETED, 5),
]
UPLOADS = {
    file_id: Upload(id=file_id, name=name, media_type="text/plain", size=1, created_at=1)
    for file_id, name in {"file_1": "asked.txt", "file_2": "seen.txt"}.items()
}
NAMES = {upload.id: upload.name for upload in UPLOADS.values()}
THREAD = Thread(id="thread_1", title="A talk", messages=len(MESSAGES), created_at=1, updated_at=2)


def render_export_text(form: Any) -> str:
    runs = {each.id: summarize_run(each) for each in RUNS}
    text = "".join(render_export(THREAD, MESSAGES, form, names=NAMES, runs=runs))
    return html.unescape(re.sub("(?s)<style>.*</style>|<[^>]*>", "", text))


def render_command_line() -> str:
    reader = ThreadReader(NAMES, {each.id: summarize_run(each) for each in RUNS})
    views = [view for message in MESSAGES if (view := reader.read(message)) is not None]
    return "\n".join(line for view in views for line in format_message(view))


def render_terminal() -> str:
    view = resume.recent(MESSAGES, RUNS, THEMES["none"], columns=90, rows=200)
    return "\n".join(map(spans.text, view.lines))


def render_use_chat() -> str:
    entries = [each for each in group_entries(MESSAGES, RUNS) if not each.is_active]
    return msgspec.json.encode([as_ui_message(each, files=UPLOADS) for each in entries]).decode()


def render_mcp() -> str:
    return "\n\n".join(map(message_as_markdown, MESSAGES))


FACES: dict[str, Callable[[], str]] = {
    **{form: partial(render_export_text, form) for form in FORMS},
    "command line": render_command_line,
    "terminal": render_terminal,
    "useChat": render_use_chat,
    "MCP": render_mcp,
}
OUTPUTS = {
    "copied_tool": "Copied output.",
    "answered_tool": "Seen.",
    "failed_tool": "Broken.",
    "refused_tool": "refused it.",
    "expired_tool": "expired it.",
    "changed_tool": "Done.",
}


def assert_in_order(text: str, words: Sequence[str]) -> None:
    position = 0
    for each in words:
        assert each in text[position:]
        position = text.index(each, position) + len(each)


@pytest.mark.parametrize("face", FACES)
def test_all_that_was_said_is_there_in_its_order(face: str) -> None:
    words = ["Prompt.", "Copied question.", "Copied reply.", "Copied output.", "Look at it."]
    words += ["Looking.", "I will not.", "Anything else?", "Go on.", "Once upo", "And now?"]

    assert_in_order(FACES[face](), words)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("tool", OUTPUTS)
def test_an_output_comes_after_its_call(face: str, tool: str) -> None:
    assert_in_order(FACES[face](), [tool, OUTPUTS[tool]])


@pytest.mark.parametrize("face", ["md", "html", "command line"])
def test_an_output_is_under_the_name_of_its_tool(face: str) -> None:
    for tool, output in OUTPUTS.items():
        assert_in_order(FACES[face](), [tool, tool, "gave", output])


@pytest.mark.parametrize("face", sorted(FACES.keys() - {"MCP"}))
def test_a_changed_call_shows_what_it_ran_with(face: str) -> None:
    assert_in_order(FACES[face](), ["changed_tool", "something else"])


@pytest.mark.parametrize("face", sorted(FACES.keys() - {"MCP", "terminal"}))
def test_reasoning_stands_before_its_reply(face: str) -> None:
    assert "Thinking hard." in FACES[face]()
    if face != "json":  # there by the names of fields
        assert_in_order(FACES[face](), ["Thinking hard.", "Looking."])


@pytest.mark.parametrize("face", ["md", "html", "command line", "useChat"])
def test_files_have_their_names(face: str) -> None:
    assert_in_order(FACES[face](), ["Look at it.", "asked.txt", "Looking.", "seen.txt"])


@pytest.mark.parametrize(
    ("face", "words"),
    {
        "md": ("(failed)", "(refused)", "(timed out)", "stopped here"),
        "html": ("(failed)", "(refused)", "(timed out)", "stopped here"),
        "command line": ("(failed)", "(refused)", "(timed out)", "stopped here"),
        "terminal": ("failed", "failed", "failed", "[stopped]"),
        "useChat": ("output-error", "output-error", "output-error", "cancelled"),
        "json": ('"is_error":true', '"refused"', '"timed_out"', '"incomplete"'),
    }.items(),
)
def test_calls_without_a_result_and_a_cancelled_run_say_so(face: str, words: Any) -> None:
    assert_in_order(FACES[face](), words)


@pytest.mark.parametrize("face", ["terminal", "useChat"])
def test_a_run_that_failed_before_it_said_anything_stands_after_its_question(face: str) -> None:
    assert_in_order(FACES[face](), ["Anything else?", "No key.", "Go on."])


def test_only_the_page_leaves_an_active_run_to_its_stream() -> None:
    assert [face for face, text in FACES.items() if "At once." not in text()] == ["useChat"]
