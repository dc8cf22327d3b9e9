"""`antiphon ask` for scripts: its input, its output and its exit codes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli.place import SECONDS, Place
from tests.support.cli.scripted_upstream import Upstream

PNG = b"\x89PNG\r\n\x1a\n\0\0"
RAW = [sys.executable, "-I", "-S", str(Path(__file__).parents[1] / "support/mcp/servers/raw.py")]
DIES = [sys.executable, "-c", "import sys; sys.exit(3)"]


def upstream_environ(upstream: Upstream) -> dict[str, str]:
    """Return the environment in which this upstream is the model."""
    return {"ANTIPHON_BASE_URL": upstream.url, "ANTIPHON_MODEL": "custom"}


def sent_parts(place: Place) -> list[dict[str, Any]]:
    """Return the parts of the one message that was sent."""
    (thread,) = place.threads()
    return list(thread["messages"][0]["content"])


def run_on_terminal(place: Place, *arguments: str, environ: dict[str, str]) -> tuple[str, str]:
    """Return the output on a terminal, and on a stderr that is no terminal."""
    outer, inner = pty.openpty()
    with place.start(*arguments, environ=environ, stdout=inner) as process:
        os.close(inner)
        output = b""
        try:
            while piece := os.read(outer, 4096):
                output += piece
        except OSError:  # Linux says so when the last writer has closed
            pass
        _, err = process.communicate(timeout=SECONDS)
    os.close(outer)
    return output.decode().replace("\r\n", "\n"), err.decode()


# Files


def test_a_file_that_is_mentioned_or_named_by_a_flag_goes_along(place: Place) -> None:
    (place.root / "a.txt").write_text("one")
    (place.root / "b c.txt").write_text("two")

    result = place.run("ask", "Compare @a.txt", "-f", "b c.txt")

    texts = [part["text"] for part in sent_parts(place)]
    assert texts == [
        "Compare @a.txt",
        "\n\nThe file a.txt:\n\n```\none\n```\n",
        "\n\nThe file b c.txt:\n\n```\ntwo\n```\n",
    ]
    assert "antiphon: a.txt is sent along (3 bytes)\n" in result.stderr


def test_a_picture_is_shown_to_the_model(place: Place, upstream: Upstream) -> None:
    upstream.text("A dot.")
    (place.root / "dot.png").write_bytes(PNG)

    place.run("ask", "-q", "What is @dot.png?", environ=upstream_environ(upstream))

    (request,) = upstream.asked
    text, picture = request["messages"][-1]["content"]
    assert text["text"] == "What is @dot.png?"
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")


def test_a_picture_may_be_piped_in(place: Place) -> None:
    with place.start("ask", "What is this?", stdin=subprocess.PIPE) as process:
        process.communicate(PNG, timeout=SECONDS)

    assert [part["type"] for part in sent_parts(place)] == ["text", "image"]


def test_other_bytes_that_are_piped_in_are_no_text(place: Place) -> None:
    result = place.run("ask", "What is this?", stdin="a\0b")

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("antiphon: what is piped in is no text; wanted ")


def test_what_is_piped_in_opens_no_files(place: Place) -> None:
    (place.root / "a.txt").write_text("one")

    place.run("ask", stdin="Read @a.txt and @missing.txt")

    assert [part["text"] for part in sent_parts(place)] == ["Read @a.txt and @missing.txt"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("Read @missing.txt",), "there is no file missing.txt"),
        (("Read", "-f", "missing"), "there is no file missing"),
        (("Read @.env",), ".env is not sent"),
    ],
)
def test_a_file_that_cannot_be_sent_keeps_the_message(
    place: Place, arguments: tuple[str, ...], problem: str
) -> None:
    (place.root / ".env").write_text("KEY=1")

    result = place.run("ask", *arguments)

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"antiphon: {problem}")
    assert place.threads() == []


# Threads


def test_last_goes_on_with_the_thread_that_was_answered_in_last(place: Place) -> None:
    place.run("ask", "One")
    first = place.threads()[0]["thread"]["id"]
    place.run("ask", "Two")
    place.run("ask", "--thread", first, "Three")

    place.run("ask", "--last", "Four")

    texts = {
        each["thread"]["id"]: [
            message["content"][0]["text"]
            for message in each["messages"]
            if message["role"] == "user"
        ]
        for each in place.threads()
    }
    assert texts[first] == ["One", "Three", "Four"]


def test_without_a_thread_there_is_no_last_one(place: Place) -> None:
    result = place.run("ask", "--last", "Hello")

    assert (result.returncode, result.stdout) == (2, "")
    assert "there is no thread to continue" in result.stderr


@pytest.mark.parametrize(
    "flags",
    [
        ("--last", "--thread", "x"),
        ("--no-tools", "--tools", "x"),
        ("--no-tools", "--require", "x"),
        ("--json", "--output", "json"),
        ("--max-turns", "0"),
        ("--output", "xml"),
    ],
)
def test_flags_that_exclude_each_other_or_say_nothing_are_wrong_usage(
    place: Place, flags: tuple[str, ...]
) -> None:
    result = place.run("ask", *flags, "Hello")

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("schema", ["[1]", "{", ""])
def test_a_schema_that_is_none_is_refused_before_anything_is_asked(
    place: Place, upstream: Upstream, schema: str
) -> None:
    (place.root / "schema.json").write_text(schema)

    result = place.run(
        "ask", "--output-schema", "schema.json", "Hello", environ=upstream_environ(upstream)
    )

    assert (result.returncode, result.stdout, upstream.asked) == (2, "", [])
    assert result.stderr.startswith("antiphon: --output-schema schema.json cannot be used: ")


# Output

FLIGHTS = '''
from antiphon import tool


@tool
def get_flight_times(departure: str, arrival: str) -> str:
    """Flight times."""
    return "09:05"
'''
QUESTION = "When does the next LAX-JFK flight leave?"


def test_one_object_of_json_has_everything_at_the_end(place: Place) -> None:
    (place.root / "flights.py").write_text(FLIGHTS)

    result = place.run("ask", "--output", "json", "--tools", "flights.py", QUESTION)

    answer = json.loads(result.stdout)
    (thread,) = place.threads()
    (call,) = answer.pop("tool_calls")
    assert call.pop("id")
    assert json.loads(call.pop("arguments")) == {"departure": "LAX", "arrival": "JFK"}
    assert call == {"name": "get_flight_times", "output": "09:05", "is_error": False}
    assert "09:05" in answer.pop("text")
    assert answer.pop("run_id")
    assert answer.pop("usage").keys() == {
        *("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
    }
    assert answer == {
        "refusal": None,
        "citations": [],
        "status": "completed",
        "reason": None,
        "error": None,
        "cost": None,
        "thread_id": thread["thread"]["id"],
    }


def test_pages_that_the_provider_cites_are_printed(place: Place, upstream: Upstream) -> None:
    annotation = {"url": "https://tides.example/moon", "title": "The \x1b[2Jmoon"}
    delta = {"annotations": [{"type": "url_citation", "url_citation": annotation}]}
    upstream.text("The moon.")
    upstream.says.insert(1, json.dumps({"choices": [{"index": 0, "delta": delta}]}))

    result = place.run("ask", "Tides?", environ=upstream_environ(upstream))
    answer = json.loads(
        place.run("ask", "--output", "json", "Tides?", environ=upstream_environ(upstream)).stdout
    )

    assert result.stdout == "The moon.\n"
    assert "[1] The [2Jmoon https://tides.example/moon" in result.stderr
    assert answer["citations"] == [{"url": "https://tides.example/moon", "title": "The [2Jmoon"}]


def test_a_failure_is_reported_in_the_object_too(place: Place, upstream: Upstream) -> None:
    upstream.status = 400

    result = place.run("ask", "--output", "json", "Hello", environ=upstream_environ(upstream))

    answer = json.loads(result.stdout)
    assert (result.returncode, answer["status"]) == (1, "failed")
    assert answer["error"]["code"] == "provider_rejected"


def test_a_call_that_is_refused_is_reported_in_the_object_too(place: Place) -> None:
    result = place.run("ask", "--output", "json", "--thread", "thread_unknown", "Hello")

    answer = json.loads(result.stdout)
    assert (result.returncode, answer["status"]) == (1, "failed")
    assert answer["error"]["code"] == "not_found"


@pytest.mark.parametrize("flags", [("--output", "json"), ("--json",)])
def test_json_that_is_interrupted_ends_with_the_status(
    place: Place, upstream: Upstream, flags: tuple[str, ...]
) -> None:
    upstream.text("The first half", finish=None)
    upstream.holds = True
    with place.start("ask", *flags, "Hello", environ=upstream_environ(upstream)) as process:
        while not upstream.asked:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=SECONDS)

    assert process.returncode == 130
    assert json.loads(out.splitlines()[-1])["status"] == "cancelled"


def test_no_tools_means_none(place: Place, upstream: Upstream) -> None:
    upstream.text("Hi.")
    file = place.root / "servers.json"
    file.write_text(json.dumps({"mcpServers": {"dies": {"command": DIES[0], "args": DIES[1:]}}}))

    result = place.run(
        "ask", "--no-tools", "--config", str(file), "Hello", environ=upstream_environ(upstream)
    )

    assert result.returncode == 0
    assert "dies" not in result.stderr
    assert "tools" not in upstream.asked[0]


def test_turns_are_limited_and_an_answer_that_needs_more_is_incomplete(place: Place) -> None:
    (place.root / "flights.py").write_text(FLIGHTS)

    result = place.run("ask", "--max-turns", "1", "--tools", "flights.py", QUESTION)

    assert result.returncode == 3
    assert "antiphon: the answer is incomplete (max_turns)\n" in result.stderr


@pytest.mark.parametrize("source", ["flag", "setting"])
def test_tool_calls_are_limited_and_an_answer_that_needs_more_is_incomplete(
    place: Place, upstream: Upstream, source: str
) -> None:
    (place.root / "flights.py").write_text(FLIGHTS)
    arguments = json.dumps({"departure": "LAX", "arrival": "JFK"})
    call = {
        "index": 0,
        "id": "c0",
        "function": {"name": "get_flight_times", "arguments": arguments},
    }
    chunks = [{"delta": {"tool_calls": [call]}}, {"delta": {}, "finish_reason": "tool_calls"}]
    upstream.says = [json.dumps({"choices": [{"index": 0, **chunk}]}) for chunk in chunks]
    flag = ("--max-tool-calls", "2") if source == "flag" else ()
    environ = {} if flag else {"ANTIPHON_MAX_TOOL_CALLS": "2"}

    result = place.run(
        *("ask", *flag, "--tools", "flights.py", QUESTION),
        environ=environ | upstream_environ(upstream),
    )

    assert result.returncode == 3
    assert "antiphon: the answer is incomplete (max_tool_calls)\n" in result.stderr
    assert len(upstream.asked) == 3


def test_reasoning_is_written_to_stderr_where_it_is_wanted(
    place: Place, upstream: Upstream
) -> None:
    upstream.text("Four.")
    chunks = [
        {"index": 0, "delta": {"reasoning_content": text}} for text in ("Two and ", "two.\x1b")
    ]
    upstream.says = [*(json.dumps({"choices": [each]}) for each in chunks), *upstream.says]

    result = place.run("ask", "-q", "--thinking", "2+2?", environ=upstream_environ(upstream))
    result_without_thinking = place.run("ask", "-q", "2+2?", environ=upstream_environ(upstream))

    assert (result.stdout, result.stderr) == ("Four.\n", "Two and two.\u241b\n")
    assert result_without_thinking.stderr == ""


def test_the_last_line_of_an_answer_ends_before_its_cost_is_printed(
    place: Place, upstream: Upstream
) -> None:
    (place.root / "mine.toml").write_text(
        f'[providers.mine]\nbase_url = "{upstream.url}"\n'
        "prices = { big = { input = 2.0, output = 10.0 } }\n"
    )
    upstream.text("Hi.")
    usage_chunk = {"choices": [], "usage": {"prompt_tokens": 1_000, "completion_tokens": 200}}
    upstream.says = [json.dumps(usage_chunk), *upstream.says]

    flags = ("--config-file", "mine.toml", "--model", "mine:big")
    with place.start("ask", *flags, "Hello", stderr=subprocess.STDOUT) as process:
        out, _ = process.communicate(timeout=SECONDS)

    assert out.endswith(b"\nHi.\nantiphon: 1,000 tokens in, 200 out, $0.0040\n")


# On a terminal


def test_markdown_is_set_on_a_terminal_and_nothing_in_it_acts(
    place: Place, upstream: Upstream
) -> None:
    upstream.text("# He", "ad\n\nSome **bold** \x1b[2Jtext.\n\n| a | b |\n|--|--|\n| 1 | 2 |\n")

    output, _ = run_on_terminal(
        place,
        "ask",
        "-q",
        "Hi",
        environ={**upstream_environ(upstream), "TERM": "xterm", "NO_COLOR": "1"},
    )

    assert "\x1b[1mbold\x1b[0m" in output
    assert "**" not in output
    assert "\x1b[2J" not in output
    assert "│" in output


def test_a_dumb_terminal_gets_no_escape_sequence(place: Place, upstream: Upstream) -> None:
    upstream.text("Some **bold** text.\n")

    output, _ = run_on_terminal(
        place, "ask", "-q", "Hi", environ={**upstream_environ(upstream), "TERM": "dumb"}
    )

    assert "\x1b" not in output
    assert "bold" in output


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--color", "never", "--ascii"), "- one \x1b[1mtwo\x1b[0m\n"),
        (("--screen-reader",), "- one **two**\n"),
    ],
)
def test_an_answer_looks_as_the_settings_say(
    place: Place, upstream: Upstream, flags: tuple[str, ...], expected: str
) -> None:
    upstream.text("- one **two**\n")

    result = run_on_terminal(
        place, "ask", "-q", *flags, "Hi", environ={**upstream_environ(upstream), "TERM": "xterm"}
    )

    assert result == (expected, "")


def test_raw_output_reaches_a_terminal_as_it_is_and_a_warning_says_so(
    place: Place, upstream: Upstream
) -> None:
    upstream.text("\x1b[1mbold")

    output, notes = run_on_terminal(
        place, "ask", "--raw-output", "Hi", environ={**upstream_environ(upstream), "TERM": "xterm"}
    )

    assert output == "\x1b[1mbold\n"
    assert "antiphon: --raw-output: what the model writes may act on this terminal\n" in notes


# Exit codes


def test_a_required_server_that_is_there_is_no_hindrance(place: Place) -> None:
    place.run("mcp", "add", "raw", "--", *RAW)

    assert place.run("ask", "--require", "raw", "Hello").returncode == 0


@pytest.mark.parametrize("name", ["dies", "unknown"])
def test_without_a_required_server_nothing_is_asked(place: Place, name: str) -> None:
    place.run("mcp", "add", "dies", "--", *DIES)

    result = place.run("ask", "-q", "--require", name, "Hello")

    assert (result.returncode, result.stdout) == (6, "")
    assert f"antiphon: nothing was sent: --require names {name}, " in result.stderr
    assert place.threads() == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_is_reported_by_the_exit_code(
    place: Place, upstream: Upstream, status: int
) -> None:
    upstream.status = status

    result = place.run("ask", "Hello", environ=upstream_environ(upstream))

    assert result.returncode == 5
    assert "antiphon: Check the provider's key and address" in result.stderr


def test_a_key_that_is_missing_is_reported_by_the_exit_code(place: Place) -> None:
    result = place.run("ask", "--model", "openai:gpt-5", "Hello")

    assert (result.returncode, result.stdout) == (5, "")
    assert "OPENAI_API_KEY" in result.stderr


@pytest.mark.slow
def test_head_ends_it_quietly(place: Place) -> None:
    shell = '"$@" | head -c 1; echo " ${PIPESTATUS[0]}"'

    with place.start("ask", "-q", "300 words", prefix=("bash", "-c", shell, "bash")) as process:
        out, err = process.communicate(timeout=SECONDS)

    assert (out[:1] != b"", err) == (True, b"")
    assert out.split()[-1] in (b"0", b"141")


def script_refusal(upstream: Upstream) -> dict[str, str]:
    """Let the upstream refuse, and return the environment in which it is the model."""
    deltas = ({"content": None}, {"refusal": "I will"}, {"refusal": " not."})
    chunks = [{"delta": delta} for delta in deltas] + [{"delta": {}, "finish_reason": "stop"}]
    upstream.says = [json.dumps({"choices": [{"index": 0, **chunk}]}) for chunk in chunks]
    return upstream_environ(upstream)


def test_a_refusal_is_the_answer_and_is_reported_as_a_refusal(
    place: Place, upstream: Upstream
) -> None:
    result = place.run("ask", "Say it.", environ=script_refusal(upstream))

    assert result.returncode == 0
    assert result.stdout == "I will not.\n"
    assert "antiphon: the model refuses to answer\n" in result.stderr


def test_a_refusal_has_a_field_of_its_own_in_json(place: Place, upstream: Upstream) -> None:
    result = place.run("ask", "--output", "json", "Say it.", environ=script_refusal(upstream))

    answer = json.loads(result.stdout)
    assert (answer["text"], answer["refusal"]) == ("", "I will not.")
    assert answer["status"] == "completed"


def test_a_refusal_is_printed_as_it_comes_and_goes_back_as_text(
    place: Place, upstream: Upstream
) -> None:
    lines = place.run(
        "ask", "--json", "Say it.", environ=script_refusal(upstream)
    ).stdout.splitlines()
    deltas = [json.loads(line) for line in lines if "refusal.delta" in line]
    assert "".join(each["text"] for each in deltas) == "I will not."

    place.run("ask", "--last", "Why?", environ=script_refusal(upstream))

    roles = [(each["role"], each["content"]) for each in upstream.asked[-1]["messages"]]
    assert roles == [("user", "Say it."), ("assistant", "I will not."), ("user", "Why?")]
