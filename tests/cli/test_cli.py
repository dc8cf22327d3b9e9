"""The program as a shell sees it: what goes to stdout, what to stderr, and the exit code."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import IO
from urllib.parse import parse_qsl, urlsplit

import pytest

from antiphon import AsyncClient, Client, Settings, __version__
from antiphon.cli.command_names import COMMANDS
from antiphon.client.thread_families import branch_before
from antiphon.runtime.runtime import open_store
from tests.support.cli.place import SECONDS, Place
from tests.support.cli.scripted_upstream import Upstream
from tests.support.services.postgres import Postgres
from tests.support.stores.schedules import add_schedule

FLIGHTS = '''
from antiphon import tool


@tool
def get_flight_times(departure: str, arrival: str) -> dict:
    """Times of the next flight between two airports.

    Args:
        departure: IATA code.
        arrival: IATA code.
    """
    print("a tool may print")
    return {"departure_time": "16:35", "route": departure + "-" + arrival}
'''


def upto(stream: IO[bytes], wanted: bytes) -> bytes:
    """Read the stream up to and with these bytes; the test's deadline is the deadline."""
    said = b""
    while wanted not in said:
        piece = os.read(stream.fileno(), 4096)
        assert piece, f"it ended after {said!r}"
        said += piece
    return said


def other(upstream: Upstream) -> dict[str, str]:
    """An environment in which that upstream is the model."""
    return {"ANTIPHON_BASE_URL": upstream.url, "ANTIPHON_MODEL": "custom"}


# Finding a command


def test_the_version_is_printed(place: Place) -> None:
    assert place.run("--version").stdout == f"antiphon {__version__}\n"


@pytest.mark.parametrize("arguments", [("--help",), ("-h",)])
def test_help_lists_every_command(place: Place, arguments: Sequence[str]) -> None:
    told = place.run(*arguments)

    assert told.returncode == 0
    assert all(f"\n  {name} " in told.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(place: Place, name: str) -> None:
    told = place.run(name, "--help")

    assert told.returncode == 0
    assert told.stdout.startswith(f"usage: antiphon {name}")


@pytest.mark.parametrize(
    ("name", "flag", "value"), [("serve", "--theme", "dark"), ("web", "--max-concurrent-runs", "9")]
)
def test_help_is_silent_on_what_a_command_does_not_read_and_takes_it_all_the_same(
    place: Place, name: str, flag: str, value: str
) -> None:
    told = place.run(name, "--help")
    taken = place.run(name, flag, value, "--port", "none")
    refused = place.run(name, flag, "purple")

    assert flag not in told.stdout
    assert "`port` from --port" in taken.stderr
    assert f"from {flag} cannot be used" in refused.stderr


def test_an_old_flag_works_and_names_the_new_one_which_help_shows_alone(place: Place) -> None:
    told = place.run("config", "--json", "--grace", "3", "--no-trace-providers")
    shown = json.loads(told.stdout)

    assert shown["shutdown_timeout"] == {"value": 3.0, "from": "--grace"}
    assert shown["propagate_trace_to_providers"]["value"] is False
    assert told.stderr.splitlines() == [
        "antiphon: --grace is called --shutdown-timeout now;"
        " the old name goes with the next version.",
        "antiphon: --trace-providers is called --propagate-trace-to-providers now;"
        " the old name goes with the next version.",
    ]
    assert "--grace" not in place.run("config", "--help").stdout
    both = place.run("config", "--grace", "3", "--shutdown-timeout", "4")
    assert "--grace is ignored, because --shutdown-timeout" in both.stderr


def test_help_keeps_a_long_address_in_one_piece(place: Place) -> None:
    home = place.root / "so-deep" / "a-home" / ("long" * 20)

    told = place.run("serve", "--help", environ={"XDG_DATA_HOME": str(home)})

    assert f" sqlite:///{home}/antiphon/antiphon.db)\n" in told.stdout


def test_a_misspelt_command_is_answered_with_the_nearest_one(place: Place) -> None:
    told = place.run("serv")

    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == "antiphon: there is no command `serv`; did you mean `serve`?\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ask", "--moodel", "x", "hi"), "there is no argument --moodel; did you mean --model?"),
        (("mcp", "serve", "--prot=1"), "there is no argument --prot=1; did you mean --port?"),
        (("ask", "--purple", "hi"), "there is no argument --purple; `antiphon ask --help`"),
        (
            ("mcp", "add", "-e", "A", "--", "x"),
            "there is no argument -e; `antiphon mcp add --help`",
        ),
        (
            ("mcp",),
            "login|logout|trust|serve; `antiphon mcp --help`",
        ),
        (("threads", "shwo"), "invalid choice: 'shwo'"),
        (("threads", "show"), "required: id; `antiphon threads show --help`"),
        (("ask", "--model"), "--model: expected one argument; `antiphon ask --help`"),
    ],
)
def test_a_misused_command_is_told_in_one_line_where_its_help_is(
    place: Place, arguments: Sequence[str], said: str
) -> None:
    told = place.run(*arguments)

    assert (told.returncode, told.stdout) == (2, "")
    assert said in told.stderr
    assert (told.stderr.startswith("antiphon: "), told.stderr.count("\n")) == (True, 1)


def test_a_bad_setting_has_an_exit_code_and_says_where_it_came_from(place: Place) -> None:
    told = place.run("config", environ={"ANTIPHON_PORT": "eighty"})

    assert told.returncode == 5
    assert told.stderr.startswith("antiphon: `port` from ANTIPHON_PORT cannot be used; wanted")


# Asking


def test_the_answer_goes_to_stdout_and_the_rest_to_stderr(place: Place) -> None:
    told = place.run("ask", "Tell me something")

    assert told.returncode == 0
    (thread,) = place.threads()
    assert told.stdout.rstrip("\n") == thread["messages"][-1]["content"][0]["text"].rstrip("\n")
    assert told.stdout.endswith("\n")
    assert "demo" in told.stderr


def test_tools_that_come_along_are_given_their_settings(place: Place) -> None:
    (place.root / "notes").mkdir()
    (place.root / "notes/plan.txt").write_text("May: rest")

    told = place.run(
        "ask",
        "--tools",
        "antiphon.tools.builtin",
        "--allowed-paths",
        "notes",
        "Please use list_files",
    )

    assert told.returncode == 0
    assert "plan.txt (9 bytes)" in told.stderr


def test_quiet_means_quiet(place: Place) -> None:
    assert place.run("ask", "-q", "Tell me something").stderr == ""


def test_words_need_no_quotes(place: Place) -> None:
    place.run("ask", "tell", "me", "something")

    assert last_user_text(place) == "tell me something"


def last_user_text(place: Place) -> str:
    (thread,) = place.threads()
    return str(thread["messages"][0]["content"][0]["text"])


def test_what_is_piped_in_is_added_to_the_text(place: Place) -> None:
    place.run("ask", "Sum this up:", stdin="one\ntwo\n")

    assert last_user_text(place) == "Sum this up:\n\none\ntwo\n"


def test_what_is_piped_in_is_the_text_where_there_is_none(place: Place) -> None:
    place.run("ask", stdin="What is this?")

    assert last_user_text(place) == "What is this?"


def test_an_empty_stdin_is_ignored(place: Place) -> None:
    place.run("ask", "Hello", stdin="")

    assert last_user_text(place) == "Hello"


@pytest.mark.slow
def test_a_closed_stdin_is_ignored(place: Place) -> None:
    command = ["sh", "-c", 'exec "$0" "$@" <&-']
    with place.start("ask", "Hello", prefix=command) as process:
        process.communicate(timeout=SECONDS)

    assert process.returncode == 0
    assert last_user_text(place) == "Hello"


def test_a_silent_stdin_that_stays_open_is_left_alone_and_this_is_said(place: Place) -> None:
    reading, writing = os.pipe()
    with (
        open(reading) as silent,
        open(writing, "w"),
        place.start("ask", "Hello", stdin=silent) as process,
    ):
        _, err = process.communicate(timeout=SECONDS)

    assert process.returncode == 0
    assert b"stdin is open" in err
    assert last_user_text(place) == "Hello"


def test_a_dash_waits_for_stdin(place: Place) -> None:
    with place.start("ask", "Read:", "-", stdin=subprocess.PIPE) as process:
        assert process.stdin
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)  # longer than a silent stdin is given otherwise
        process.communicate(b"late", timeout=SECONDS)

    assert last_user_text(place) == "Read:\n\nlate"


@pytest.mark.parametrize("stdin", ["", " \n"])
def test_nothing_asked_is_wrong_usage(place: Place, stdin: str) -> None:
    told = place.run("ask", stdin=stdin)

    assert (told.returncode, told.stdout) == (2, "")
    assert "nothing was asked" in told.stderr


def test_json_is_one_numbered_event_to_a_line(place: Place) -> None:
    told = place.run("ask", "--json", "Hello")

    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["type"], events[-1]["type"]) == ("run.status", "turn.ended")
    assert events[-1]["status"] == "completed"


@pytest.mark.parametrize("spec", ["flights:get_flight_times", "flights", "./flights.py"])
def test_a_python_function_of_the_working_folder_is_a_tool(place: Place, spec: str) -> None:
    (place.root / "flights.py").write_text(FLIGHTS)

    told = place.run("ask", "--tools", spec, "When does the next LAX-JFK flight leave?")

    assert told.returncode == 0
    assert "16:35" in told.stdout
    assert "a tool may print" not in told.stdout
    assert "get_flight_times(" in told.stderr
    assert "LAX-JFK" in told.stderr


def test_a_tool_that_cannot_be_loaded_is_a_matter_of_configuration(place: Place) -> None:
    told = place.run("ask", "--tools", "nowhere:nothing", "Hello")

    assert (told.returncode, told.stdout) == (5, "")
    assert "nowhere" in told.stderr


def test_a_thread_goes_on(place: Place) -> None:
    place.run("ask", "First")
    thread_id = place.threads()[0]["thread"]["id"]

    place.run("ask", "--thread", thread_id, "Second")

    (thread,) = place.threads()
    assert [message["role"] for message in thread["messages"]] == ["user", "assistant"] * 2


def test_an_unknown_thread_is_a_failure(place: Place) -> None:
    told = place.run("ask", "--thread", "thread_unknown", "Hello")

    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("antiphon: ")


def test_instructions_schema_and_model_reach_the_provider(place: Place, upstream: Upstream) -> None:
    upstream.text('{"age": 3}')
    (place.root / "schema.json").write_text('{"type": "object"}')

    told = place.run(
        "ask",
        *("--system", "Be brief.", "--output-schema", "schema.json"),
        *("--base-url", upstream.url, "--model", "small", "How old?"),
    )

    assert (told.returncode, json.loads(told.stdout)) == (0, {"age": 3})
    (asked,) = upstream.asked
    assert asked["model"] == "small"
    assert asked["messages"][0] == {"role": "system", "content": "Be brief."}
    assert asked["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize("command", [("ask", "Hello"), ("serve", "--port", "0"), ("models",)])
def test_a_model_that_nobody_has_is_a_bad_setting(place: Place, command: tuple[str, ...]) -> None:
    told = place.run(*command, environ={"ANTIPHON_MODEL": "nope:x"})

    assert (told.returncode, told.stdout) == (5, "")
    assert told.stderr.startswith("antiphon: There is no provider for the model 'nope:x'; wanted ")
    assert told.stderr.count("\n") == 1


def test_a_schema_that_is_none_is_wrong_usage(place: Place) -> None:
    (place.root / "schema.json").write_text("[")

    told = place.run("ask", "--output-schema", "schema.json", "Hello")

    assert told.returncode == 2
    assert "schema.json" in told.stderr


def flags_with_price(place: Place, upstream: Upstream) -> Sequence[str]:
    """The flags for a model whose replies have a price, and one reply of it."""
    (place.root / "mine.toml").write_text(
        f'[providers.mine]\nbase_url = "{upstream.url}"\n'
        "prices = { big = { input = 2.0, output = 10.0 } }\n"
    )
    upstream.text("Hi.")
    used = {"choices": [], "usage": {"prompt_tokens": 1_000, "completion_tokens": 200}}
    upstream.says = [json.dumps(used), *upstream.says]
    return "--config-file", "mine.toml", "--model", "mine:big"


def test_what_an_answer_cost_is_said_where_its_price_is_known(
    place: Place, upstream: Upstream
) -> None:
    told = place.run("ask", *flags_with_price(place, upstream), "Hello")

    assert told.stdout == "Hi.\n"
    assert told.stderr.splitlines()[-1] == "antiphon: 1,000 tokens in, 200 out, $0.0040"


def test_the_cost_is_in_the_json_of_the_events(place: Place, upstream: Upstream) -> None:
    told = place.run("ask", "--json", *flags_with_price(place, upstream), "Hello")

    events = [json.loads(line) for line in told.stdout.splitlines()]
    (usage,) = [event["usage"] for event in events if event["type"] == "usage"]
    assert usage == {"input_tokens": 1_000, "output_tokens": 200, "cost": 0.004}


def test_a_refusal_of_the_provider_is_a_failure(place: Place, upstream: Upstream) -> None:
    upstream.status = 400

    told = place.run("ask", "Hello", environ=other(upstream))

    assert (told.returncode, told.stdout) == (1, "")
    assert "provider_rejected" in told.stderr


@pytest.mark.parametrize("finish", [None, "length"])
def test_a_reply_that_is_cut_is_incomplete_and_keeps_what_came(
    place: Place, upstream: Upstream, finish: str | None
) -> None:
    upstream.text("The first half", finish=finish)

    told = place.run("ask", "-q", "Hello", environ=other(upstream))

    assert (told.returncode, told.stdout) == (3, "The first half\n")
    assert "incomplete" in told.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_run_and_keeps_what_was_printed(
    place: Place, upstream: Upstream, number: signal.Signals
) -> None:
    upstream.text("The first half", finish=None)
    upstream.holds = True
    with place.start("ask", "-q", "Hello", environ=other(upstream)) as process:
        assert process.stdout
        said = upto(process.stdout, b"half")
        process.send_signal(number)
        out, err = process.communicate(timeout=SECONDS)

    assert process.returncode == 128 + number
    assert said + out == b"The first half\n"
    assert err == b""
    assert upstream.gone.wait(SECONDS)
    assert statuses(place) == ["cancelled"]


def statuses(place: Place) -> list[str]:
    with sqlite3.connect(place.database) as connection:
        rows = connection.execute("SELECT status FROM runs").fetchall()
    connection.close()
    return [status for (status,) in rows]


@pytest.mark.slow
def test_a_reader_who_has_seen_enough_is_no_error(place: Place, upstream: Upstream) -> None:
    upstream.text(*["a line\n"] * 100_000)
    with place.start("ask", "-q", "Hello", environ=other(upstream)) as process:
        assert process.stdout
        upto(process.stdout, b"line")
        process.stdout.close()
        assert process.stderr
        err = process.stderr.read()
        code = process.wait(SECONDS)

    assert (code, err) == (128 + 13, b"")
    assert statuses(place) == ["cancelled"]


@pytest.mark.parametrize("command", [("ask", "-q", "5 words"), ("ask", "-q", "--json", "Hello")])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk here is always full")
def test_an_answer_that_cannot_be_written_is_a_failure(
    place: Place, command: tuple[str, ...]
) -> None:
    with open("/dev/full", "wb") as full, place.start(*command, stdout=full) as process:
        _, err = process.communicate(timeout=SECONDS)

    assert process.returncode == 1
    assert err.decode().startswith("antiphon: ")
    assert err.count(b"\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("closed", "out"), [(">&-", b""), ("2>&-", b"One voice calls\n"), ("<&- >&- 2>&-", b"")]
)
def test_a_stream_that_is_closed_leads_nowhere(place: Place, closed: str, out: bytes) -> None:
    shell = ("sh", "-c", f'exec "$@" {closed}', "sh")

    with place.start("ask", "-q", "3 words", prefix=shell) as process:
        told = process.communicate(timeout=SECONDS)

    assert (process.returncode, told) == (0, (out, b""))
    assert statuses(place) == ["completed"]


def test_bytes_are_untouched_in_a_pipe(place: Place, upstream: Upstream) -> None:
    upstream.text("\x1b[2J\u202e", "\r\n\x9b")

    told = place.run("ask", "-q", "Hello", environ=other(upstream))

    assert told.stdout == "\x1b[2J\u202e\r\n\x9b\n"


def test_nothing_a_model_says_acts_on_the_terminal(place: Place, upstream: Upstream) -> None:
    upstream.text("\x1b[2J", "one\r", "\ntwo\u202e")

    shown = on_a_terminal(place, "ask", "-q", "Hello", environ=other(upstream))

    assert shown == "\u241b[2Jone\ntwo<U+202E>\n"


def on_a_terminal(place: Place, *arguments: str, environ: dict[str, str]) -> str:
    """Return the output on a terminal, with the line ends as written."""
    outer, inner = pty.openpty()
    with place.start(*arguments, environ=environ, stdout=inner) as process:
        os.close(inner)
        shown = b""
        try:
            while piece := os.read(outer, 4096):
                shown += piece
        except OSError:  # Linux says so when the last writer has closed
            pass
        process.wait(SECONDS)
    os.close(outer)
    return shown.decode().replace("\r\n", "\n")


# Keys, conversations, models


def test_a_key_is_shown_once_and_listed_without_its_secret(place: Place) -> None:
    made = place.run("keys", "create", "laptop", "--owner", "ann", "--scope", "read")

    key = made.stdout.strip()
    listed = place.run("keys", "list")
    assert key.startswith("ak_")
    assert key not in listed.stdout
    assert "laptop" in listed.stdout
    assert "ann" in listed.stdout


def test_a_key_is_revoked_by_its_id(place: Place) -> None:
    place.run("keys", "create", "laptop")
    (key,) = json.loads(place.run("keys", "list", "--json").stdout)

    assert place.run("keys", "revoke", key["id"]).returncode == 0
    (revoked,) = json.loads(place.run("keys", "list", "--json").stdout)
    assert revoked["revoked_at"]


def test_a_token_for_a_page_is_made_of_a_key(place: Place) -> None:
    place.run("keys", "create", "shop", "--owner", "ann")
    (key,) = json.loads(place.run("keys", "list", "--json").stdout)
    page = ("--origin", "https://shop.example.org", "--session", "visitor-42")

    made = place.run("keys", "browser-token", key["id"], *page, "--expires-in", "5m")
    wrong = place.run("keys", "browser-token", key["id"], "--origin", "*")
    unknown = place.run("keys", "browser-token", "key_unknown", *page)

    assert made.stdout.startswith("bt_")
    assert made.stdout.strip() not in made.stderr
    assert "session visitor-42 of owner ann" in made.stderr
    assert (wrong.returncode, unknown.returncode) == (2, 1)


def test_an_unknown_key_is_a_failure(place: Place) -> None:
    assert place.run("keys", "revoke", "key_unknown").returncode == 1


def test_a_setting_may_stand_before_or_behind_the_action(place: Place) -> None:
    place.run("keys", "create", "laptop", "--database", "sqlite:///other.db")

    listed = place.run("keys", "--database", "sqlite:///other.db", "list")
    assert "laptop" in listed.stdout
    assert "laptop" not in place.run("keys", "list").stdout


def test_an_empty_list_of_keys_says_so_and_what_makes_one(place: Place) -> None:
    listed = place.run("keys", "list")

    assert (listed.returncode, listed.stdout) == (0, "")
    assert listed.stderr.startswith("There is no key: ")
    assert place.run("keys", "list", "--json").stdout == "[]\n"


def test_conversations_are_listed_shown_and_deleted(place: Place) -> None:
    place.run("ask", "Tell me of whales")
    thread_id = place.threads()[0]["thread"]["id"]

    assert thread_id in place.run("threads", "list", "--search", "whales").stdout
    assert thread_id not in place.run("threads", "list", "--search", "zebras").stdout
    assert "Tell me of whales" in place.run("threads", "show", thread_id).stdout
    assert place.run("threads", "delete", thread_id).returncode == 0
    assert place.threads() == []


@pytest.mark.parametrize("alone", [False, True])
def test_the_versions_that_a_list_shows_as_one_conversation_are_deleted_as_one(
    place: Place, alone: bool
) -> None:
    settings = Settings(database=f"sqlite:///{place.database}", model="demo", demo_delay=0)

    async def make() -> list[str]:
        async with AsyncClient(settings=settings) as client:
            other = await client.create_thread(title="Another")
            await client.create_message(other.id, "Stay")
            first = await client.create_thread(title="Whales")
            asked = await client.create_message(first.id, "Tell me of whales")
            second = await branch_before(client, asked)
            await client.create_message(second.id, "Tell me of blue whales")
            return [other.id, first.id, second.id]

    other, first, second = asyncio.run(make())
    listed = json.loads(place.run("threads", "list", "--json").stdout)
    done = place.run("threads", "delete", *(["--alone"] if alone else []), second)
    left = json.loads(place.run("threads", "list", "--all", "--json").stdout)

    assert {thread["id"] for thread in listed} == {other, second}
    assert done.returncode == 0
    assert {thread["id"] for thread in left} == ({other, first} if alone else {other})
    said = "is deleted.\n" if alone else "is deleted, in all 2 versions.\n"
    assert done.stderr == f"{second} {said}"


def test_all_versions_can_be_named_where_all_are_deleted(place: Place) -> None:
    settings = Settings(database=f"sqlite:///{place.database}", model="demo")

    async def make() -> list[str]:
        async with AsyncClient(settings=settings) as client:
            first = await client.create_thread(title="Whales")
            asked = await client.create_message(first.id, "Tell me of whales")
            return [first.id, (await branch_before(client, asked)).id]

    done = place.run("threads", "delete", *asyncio.run(make()))

    assert done.returncode == 0
    assert json.loads(place.run("threads", "list", "--all", "--json").stdout) == []


@pytest.mark.slow
def test_the_conversation_that_was_continued_last_is_listed_first(place: Place) -> None:
    with Client(settings=Settings(database=f"sqlite:///{place.database}", model="demo")) as client:
        threads = [client.create_thread(title=f"chat {number}") for number in range(120)]
        for thread in threads:
            client.create_message(thread.id, "hi")
        newest = client.get_thread(threads[-1].id).updated_at
        while client.get_thread(threads[7].id).updated_at <= newest:  # until the clock has moved on
            client.create_message(threads[7].id, "hi")
        client.create_thread(title="empty")
    listed = json.loads(place.run("threads", "list", "--json", "--limit", "500").stdout)

    assert len(listed) == 120
    assert listed[0]["id"] == threads[7].id
    assert len(place.run("threads", "list").stdout.splitlines()) == 21
    everything = json.loads(
        place.run("threads", "list", "--json", "--all", "--limit", "500").stdout
    )
    assert len(everything) == 121


@pytest.mark.slow
def test_words_are_found_in_conversations(place: Place) -> None:
    with Client(settings=Settings(database=f"sqlite:///{place.database}", model="demo")) as client:
        thread = client.create_thread(title="Of bees\x1b[31m")
        for number in range(150):
            client.create_message(thread.id, f"Crème number {number}\x1b[2J")
        client.create_message(thread.id, "nothing")

    shown = place.run("threads", "search", "creme", "number", "--limit", "3").stdout
    listed = json.loads(place.run("threads", "search", "cre", "--limit", "130", "--json").stdout)
    titles = place.run("threads", "search", '"of bees"').stdout

    assert shown.count("  user: Crème number 1") == 3
    assert "\x1b" not in shown + titles
    assert [hit["snippet"][:15] for hit in listed[:2]] == ["Crème number 14", "Crème number 14"]
    assert len({hit["message_id"] for hit in listed}) == 130
    assert titles.startswith(thread.id)
    for words in ("nowhere", "***"):
        none = place.run("threads", "search", words)
        assert (none.stdout, none.stderr) == ("", "No message and no title has these words.\n")


def test_a_conversation_is_renamed_and_forked(place: Place) -> None:
    place.run("ask", "Tell me of whales")
    thread_id = place.threads()[0]["thread"]["id"]

    assert place.run("threads", "rename", thread_id, "Sea").returncode == 0
    assert place.run("threads", "pin", thread_id).stderr == f"{thread_id} is pinned.\n"
    assert "  yes  " in place.run("threads", "list", "--pinned").stdout
    assert place.run("threads", "unpin", thread_id).returncode == 0
    fork_id = place.run("threads", "fork", thread_id, "--title", "Lake").stdout.strip()

    listed = json.loads(place.run("threads", "list", "--json").stdout)
    assert {thread["id"]: thread["title"] for thread in listed} == {
        thread_id: "Sea",
        fork_id: "Lake",
    }


@pytest.mark.slow
def test_conversations_are_put_into_folders_and_listed_by_them(place: Place) -> None:
    place.run("ask", "Tell me of whales")
    thread_id = place.threads()[0]["thread"]["id"]

    made = place.run("folders", "create", "Sea life", "--instructions", "Be brief.")
    folder_id = made.stdout.strip()
    moved = place.run("threads", "move", thread_id, "sea")
    assert moved.stderr == f"{thread_id} is in the folder 'Sea life'.\n"
    assert "whales" in place.run("threads", "list", "--folder", "SEA LIFE").stdout
    assert place.run("threads", "list", "--folder", "none").stdout == ""
    text = "Be exact.\nName sources.\n"
    changed = place.run(
        *("folders", "update", folder_id, "--name", "Oceans", "--instructions-file", "-"),
        stdin=text,
    )
    assert changed.returncode == 0
    assert place.run("folders", "show", "oceans").stdout == text
    (folder,) = json.loads(place.run("folders", "list", "--json").stdout)
    assert (folder["name"], folder["instructions"]) == ("Oceans", text.strip())
    assert "Be exact. Name sources." in place.run("folders", "list").stdout
    place.run("folders", "create", "Oceans II")
    for args, told in (
        (("threads", "move", thread_id, "o"), "More than one folder"),
        (("threads", "list", "--folder", "gone"), "There is no folder 'gone'"),
        (("folders", "create", "a\nb"), "text on one line"),
        (("folders", "update", "oceans"), "nothing is to be changed"),
        (("folders", "update", "oceans", "--instructions-file", "/no/such"), "cannot be read"),
    ):
        refused = place.run(*args)
        assert refused.returncode != 0
        assert told in refused.stderr
    notes = place.root / "notes.txt"
    notes.write_text("Whales sing.")
    place.run("folders", "update", "oceans", "--add-file", str(notes))
    (file_id,) = json.loads(place.run("folders", "show", "oceans", "--json").stdout)["file_ids"]
    assert file_id in place.run("folders", "show", "oceans").stderr
    refused = place.run("folders", "update", "oceans", "--remove-file", "file_gone")
    assert "has no file 'file_gone'" in refused.stderr
    place.run("folders", "update", "oceans", "--remove-file", file_id)
    assert json.loads(place.run("folders", "show", "oceans", "--json").stdout)["file_ids"] == []
    taken = place.run("threads", "move", thread_id, "none")
    assert taken.stderr == f"{thread_id} is in no folder.\n"
    place.run("threads", "move", thread_id, "oceans")
    deleted = place.run("folders", "delete", "oceans")
    assert deleted.stderr == f"{folder_id} is deleted.\n"

    assert thread_id in place.run("threads", "list", "--folder", "none").stdout


def test_a_conversation_is_archived_and_tagged(place: Place) -> None:
    place.run("ask", "Tell me of whales")
    thread_id = place.threads()[0]["thread"]["id"]

    tagged = place.run("threads", "tag", thread_id, "Sea", "big ones")
    assert tagged.stderr == f"{thread_id} has Sea, big ones.\n"
    place.run("threads", "tag", "--remove", thread_id, "SEA")
    assert "whales #big ones" in place.run("threads", "list", "--tag", "big ones").stdout
    archived = place.run("threads", "archive", thread_id)
    assert archived.stderr == f"{thread_id} is in the archive.\n"
    assert place.run("threads", "list").stdout == ""
    assert "(archived)" in place.run("threads", "search", "whales").stdout
    assert thread_id in place.run("threads", "list", "--archived").stdout
    assert json.loads(place.run("threads", "tags", "--json").stdout) == [
        {"tag": "big ones", "threads": 0, "archived": 1}
    ]
    refused = place.run("threads", "tag", thread_id, "a,b")
    assert refused.returncode != 0
    assert "without commas" in refused.stderr
    assert place.run("threads", "unarchive", thread_id[:16]).returncode == 0

    assert thread_id in place.run("threads", "list").stdout


@pytest.mark.slow
def test_a_search_may_take_as_long_as_the_settings_say(place: Place) -> None:
    with Client(settings=Settings(database=f"sqlite:///{place.database}", model="demo")) as client:
        for number in range(400):
            client.create_message(client.create_thread(title=f"{number}").id, "words " * 100)

    broken_off = place.run(
        "threads", "list", "--search", "nowhere", environ={"ANTIPHON_SEARCH_TIMEOUT": "0.000001"}
    )
    searched = place.run("threads", "list", "--search", "nowhere", "--search-timeout", "60")

    assert broken_off.returncode == 1
    assert "within 1e-06 seconds" in broken_off.stderr
    assert searched.returncode == 0


def test_it_is_said_that_there_are_no_conversations(place: Place) -> None:
    told = place.run("threads", "list")

    assert (told.returncode, told.stdout) == (0, "")
    assert "no such conversations" in told.stderr


def test_the_default_model_is_marked(place: Place) -> None:
    models = json.loads(place.run("models", "--json").stdout)

    assert [model["id"] for model in models if model.get("default")] == ["demo"]


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_provider_that_lists_no_models_is_named_with_the_reason(
    place: Place, arguments: tuple[str, ...], unused_tcp_port: int
) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/v1"

    told = place.run("models", "--base-url", url, "--model", "mine", *arguments)

    assert told.returncode == 1
    assert "mine" in told.stdout
    assert "did not answer: the connection was refused" in told.stderr
    assert "address is right" in told.stderr


def test_a_provider_that_refuses_the_key_for_its_list_is_named_without_the_key(
    place: Place, upstream: Upstream
) -> None:
    upstream.status = 401
    environ = {"ANTIPHON_BASE_URL": upstream.url, "ANTIPHON_PROVIDER_KEY": "sk-secret"}

    told = place.run("models", environ=environ)

    assert told.returncode == 5
    assert "answered 401" in told.stderr
    assert "sk-secret" not in told.stdout + told.stderr


def test_a_models_key_is_sent_with_the_question_what_the_base_url_lists(
    place: Place, upstream: Upstream
) -> None:
    environ = {"OPENAI_API_KEY": "sk-secret", "ANTIPHON_BASE_URL": upstream.url}

    told = place.run("models", "--model", "openai:big-model", environ=environ)

    assert (told.returncode, upstream.keys) == (0, ["Bearer sk-secret"])
    assert told.stdout.split() == ["model", "openai:big-model", "default", "demo"]


@pytest.mark.parametrize("command", ["models", "doctor", "config"])
@pytest.mark.parametrize("status", [200, 307, 401])
def test_a_key_in_a_query_is_sent_and_not_shown(
    place: Place, upstream: Upstream, command: str, status: int
) -> None:
    upstream.status = status
    own = place.root / "config/antiphon/antiphon.toml"
    own.parent.mkdir(parents=True)
    own.write_text(
        f'[providers.mine]\nbase_url = "{upstream.url}"\nkey_env = "MINE"\nkey_parameter = "key"\n'
    )

    told = place.run(command, environ={"MINE": "canary/7f+3a"})

    sent = {(parts.path, parts.query) for parts in map(urlsplit, upstream.paths)}
    assert {(path, *parse_qsl(query)) for path, query in sent} == (
        set() if command == "config" else {("/v1/models", ("key", "canary/7f+3a"))}
    )
    assert set(upstream.keys) <= {None}
    for shown in ("canary/7f+3a", "canary%2F7f%2B3a", "canary"):
        assert shown not in told.stdout + told.stderr


# Settings and the state of things


def test_settings_are_shown_with_their_origin_and_without_secrets(place: Place) -> None:
    (place.root / "antiphon.toml").write_text('api_key = "ak-secret"\nmax_tools = 2\n')
    place.run("trust", "--yes")

    told = place.run("config", "--port", "9000", environ={"ANTIPHON_HOST": "::1"})

    rows = {line.split()[0]: line.split()[1:] for line in told.stdout.splitlines()}
    assert rows["port"] == ["9000", "--port"]
    assert rows["host"] == ["::1", "ANTIPHON_HOST"]
    assert rows["max_parallel_tools"] == ["2", str(place.root / "antiphon.toml")]
    assert rows["model"] == ["demo", "ANTIPHON_MODEL"]
    assert "ak-secret" not in told.stdout


def test_the_database_is_its_owners_alone(place: Place) -> None:
    assert place.run("migrate").returncode == 0

    assert mode(place.database) == 0o600
    assert mode(place.database.parent) == 0o700


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_database_that_is_none_is_refused_and_not_touched(place: Place) -> None:
    (place.root / "notes.txt").write_text("my notes, " * 1000)

    told = place.run("migrate", "--database", "sqlite:///notes.txt")

    assert told.returncode == 5
    assert "notes.txt" in told.stderr
    assert (place.root / "notes.txt").read_text() == "my notes, " * 1000


def test_a_doctor_who_finds_nothing_broken_changes_nothing(place: Place) -> None:
    told = place.run("doctor")

    assert told.returncode == 0
    assert "demo: it is configured" in told.stdout
    assert not place.database.exists()


def test_a_doctor_sees_the_database(place: Place) -> None:
    place.run("keys", "create", "laptop")

    told = place.run("doctor")

    assert told.returncode == 0
    assert f"{place.database}: can be written" in told.stdout
    assert "by 1 key\n" in told.stdout


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ("SELECT 1", 0, "can be written, has this version's form"),
        ("DELETE FROM migrations", 0, "`antiphon migrate`"),
        ("INSERT INTO migrations VALUES (999, 'later', 0)", 1, "Upgrade"),
    ],
)
def test_a_doctor_leaves_the_database_as_it_is(
    place: Place, change: str, code: int, said: str
) -> None:
    place.run("keys", "create", "laptop")
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute(change)
    before = place.database.read_bytes()

    told = place.run("doctor")

    assert (told.returncode, place.database.read_bytes() == before) == (code, True)
    assert said in told.stdout


def test_a_doctor_names_schedules_that_failed_or_are_late(place: Place) -> None:
    place.run("keys", "create", "laptop")

    async def add() -> None:
        settings = Settings(database=f"sqlite:///{place.database}")
        async with open_store(settings) as store:
            now = await store.now()
            await add_schedule(store, 1, next_at=now + 3_600_000)
            await add_schedule(store, 2, next_at=now - 3_600_000)
            await add_schedule(store, 3, paused=True, pause_reason="owner", next_at=None)
            await add_schedule(store, 4, paused=True, pause_reason="failing", next_at=None)
            await add_schedule(store, 5, paused=True, pause_reason="unauthorized", next_at=None)
            await add_schedule(store, 6, failures=2, next_at=now + 3_600_000)

    asyncio.run(add())

    told = place.run("doctor", "--json")
    off = place.run("doctor", environ={"ANTIPHON_SCHEDULES": "false"})

    rows = [each for each in json.loads(told.stdout) if each["about"] == "schedules"]
    found = {each["found"].partition(": ")[2]: each["found"] for each in rows}
    assert told.returncode == 0
    assert {each["state"] for each in rows} == {"note"}
    assert sorted(found) == ["sched_2", "sched_4", "sched_5", "sched_6"]
    assert "due, for" in found["sched_2"]
    assert "failing" in found["sched_4"]
    assert "unauthorized" in found["sched_5"]
    assert "failed at the last time" in found["sched_6"]
    assert all("antiphon schedules show ID" in each["to_do"] for each in rows)
    assert "1 schedule due, and schedules are off: sched_2" in off.stdout


@pytest.mark.slow
def test_a_doctor_sees_a_database_of_a_server_and_tells_no_password(
    place: Place, postgres: Postgres
) -> None:
    address = asyncio.run(postgres.create()).replace("antiphon@", "antiphon:s3cret@")
    new = place.run("doctor", environ={"ANTIPHON_DATABASE": address})
    place.run("migrate", environ={"ANTIPHON_DATABASE": address})
    formed = place.run("doctor", environ={"ANTIPHON_DATABASE": address})
    nowhere = place.run("doctor", environ={"ANTIPHON_DATABASE": f"{address}_not"})

    assert "has form 0" in new.stdout
    assert "answers, has this version's form" in formed.stdout
    assert (nowhere.returncode, "does not exist" in nowhere.stdout) == (1, True)
    for told in (new, formed, nowhere):
        assert "s3cret" not in told.stdout + told.stderr


def test_a_doctor_names_keys_and_never_tells_them(place: Place) -> None:
    told = place.run("doctor", environ={"GROQ_API_KEY": "gsk-secret"})

    assert "GROQ_API_KEY" in told.stdout
    assert "gsk-secret" not in told.stdout


@pytest.mark.parametrize(
    ("environ", "about", "advice"),
    [
        ({"ANTIPHON_MODEL": "openai:gpt-5"}, "model", "demo"),
        ({"ANTIPHON_DATABASE": "sqlite:///file/a.db"}, "database", "ANTIPHON_DATABASE"),
        ({"ANTIPHON_HOST": "0.0.0.0"}, "access", "antiphon keys create"),
        ({"ANTIPHON_SERVER": "http://127.0.0.1:9"}, "server", None),
    ],
)
def test_a_doctor_says_what_is_broken_and_what_to_do(
    place: Place, environ: dict[str, str], about: str, advice: str | None
) -> None:
    (place.root / "file").touch()

    told = place.run("doctor", "--json", environ=environ)

    assert told.returncode == 1
    broken = [each for each in json.loads(told.stdout) if each["state"] == "broken"]
    assert [each["about"] for each in broken] == [about]
    assert advice is None or advice in broken[0]["to_do"]


@pytest.mark.parametrize("table", [False, True])
def test_a_doctor_tries_the_address_that_the_settings_name(
    place: Place, upstream: Upstream, table: bool
) -> None:
    environ = {} if table else {"ANTIPHON_BASE_URL": upstream.url}
    if table:
        own = place.root / "config/antiphon/antiphon.toml"
        own.parent.mkdir(parents=True)
        own.write_text(f'[providers.mine]\nbase_url = "{upstream.url}"\n')

    told = place.run("doctor", environ=environ)
    upstream.status = 404
    unlisted = place.run("doctor", environ=environ)
    upstream.status = 401
    refused = place.run("doctor", environ={**environ, "ANTIPHON_PROVIDER_KEY": "sk-secret"})

    assert told.returncode == 0
    assert f"ok      provider  {upstream.url} lists 1 model\n" in told.stdout
    assert unlisted.returncode == 0
    assert f"note    provider  {upstream.url} does not list its models" in unlisted.stdout
    assert refused.returncode == 1
    assert f"broken  provider  {upstream.url} does not list its models" in refused.stdout
    assert "Check the provider's key" in refused.stdout
    assert "sk-secret" not in refused.stdout + refused.stderr
    assert upstream.asked == []


def test_a_doctor_says_why_an_address_does_not_answer(place: Place, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/v1"

    told = place.run("doctor", "--base-url", url, "--json")

    assert told.returncode == 1
    (broken,) = [each for each in json.loads(told.stdout) if each["state"] == "broken"]
    assert broken["about"] == "provider"
    assert broken["found"].startswith(f"{url} does not list its models: ")
    assert broken["found"].endswith("the connection was refused, so nothing may be listening there")
    assert "address is right" in broken["to_do"]


@pytest.mark.parametrize(
    ("content", "environ", "found", "to_do"),
    [
        (
            "model = demo\n",
            {},
            "{file} cannot be read: Invalid value (at line 1, column 9)",
            'a text needs quotes: model = "demo"',
        ),
        (
            'modle = "demo"\n',
            {},
            "{file}: there is no setting `modle`",
            "did you mean `model`?",
        ),
        ("port = 70000\n", {}, "`port` from {file} cannot be used: got 70000", "Wanted: "),
        (
            'model = "theirs"\n',
            {},
            "antiphon.toml is not trusted (it sets model), so ask, chat and serve stop here",
            "`antiphon trust {file}` shows it and asks.",
        ),
        (
            "",
            {"ANTIPHON_PORT": "abc"},
            "`port` from ANTIPHON_PORT cannot be used: got 'abc'",
            "Wanted: ",
        ),
    ],
    ids=["unquoted", "misspelt", "out of range", "untrusted", "variable"],
)
def test_a_doctor_finds_the_settings_broken_on_which_other_commands_stop(
    place: Place, content: str, environ: dict[str, str], found: str, to_do: str
) -> None:
    file = place.root / "antiphon.toml"
    file.write_text(content)

    asked = place.run("ask", "Hello", environ=environ)
    told = place.run("doctor", "--json", environ=environ)

    assert (asked.returncode, told.returncode, told.stderr) == (5, 1, "")
    (broken,) = [each for each in json.loads(told.stdout) if each["state"] == "broken"]
    assert (broken["about"], broken["found"]) == ("settings", found.format(file=file))
    assert broken["to_do"].startswith(to_do.format(file=file))


def test_a_doctor_asks_no_address_that_an_untrusted_file_names(
    place: Place, upstream: Upstream
) -> None:
    (place.root / "antiphon.toml").write_text(f'base_url = "{upstream.url}"\n')

    ignored = place.run("doctor")
    asked = len(upstream.keys)
    place.run("trust", "--yes")
    place.run("doctor")

    assert (ignored.returncode, asked, len(upstream.keys)) == (1, 0, 1)


def test_a_doctor_only_notes_a_redis_that_is_away_and_logs_nothing(place: Place) -> None:
    told = place.run("doctor", "--redis", "redis://127.0.0.1:9")

    assert (told.returncode, told.stderr) == (0, "")
    assert "note    wake-ups  do not come through redis://127.0.0.1:9" in told.stdout


def test_a_doctor_notes_a_variable_that_is_no_setting(place: Place) -> None:
    told = place.run("doctor", environ={"ANTIPHON_MODLE": "demo"})

    assert told.returncode == 0
    assert "Did you mean ANTIPHON_MODEL?" in told.stdout


# A server


def test_a_server_answers_those_who_ask_it(place: Place) -> None:
    with place.start("serve", "--port", "0") as server:
        try:
            told = place.run("ask", "--server", address(server), "Hello")
        finally:
            server.terminate()
        code = server.wait(SECONDS)

    assert (told.returncode, code) == (0, 0)
    assert told.stdout


def test_a_locked_server_wants_a_key(place: Place) -> None:
    key = place.run("keys", "create", "laptop").stdout.strip()
    with place.start("serve", "--port", "0") as server:
        try:
            url = address(server)
            without = place.run("ask", "--server", url, "Hello")
            with_key = place.run("ask", "--server", url, "--api-key", key, "Hello")
        finally:
            server.terminate()
        server.wait(SECONDS)

    assert without.returncode == 5
    assert "key" in without.stderr
    assert with_key.returncode == 0


def address(server: subprocess.Popen[bytes]) -> str:
    assert server.stderr
    said = upto(server.stderr, b"listening on http://")
    if not said.endswith(b"\n"):
        said += upto(server.stderr, b"\n")
    return said.decode().partition("listening on ")[2].split()[0]


def test_a_server_that_is_not_there_is_a_failure(place: Place) -> None:
    told = place.run("ask", "--server", "http://127.0.0.1:9", "Hello")

    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("antiphon: ")
