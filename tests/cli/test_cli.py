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


def read_until(stream: IO[bytes], wanted: bytes) -> bytes:
    """Read the stream until these bytes have come; only the deadline of the test ends the wait."""
    output = b""
    while wanted not in output:
        piece = os.read(stream.fileno(), 4096)
        assert piece, f"it ended after {output!r}"
        output += piece
    return output


def upstream_environ(upstream: Upstream) -> dict[str, str]:
    """Return the environment in which this upstream is the model."""
    return {"ANTIPHON_BASE_URL": upstream.url, "ANTIPHON_MODEL": "custom"}


# Finding a command


def test_the_version_is_printed(place: Place) -> None:
    assert place.run("--version").stdout == f"antiphon {__version__}\n"


@pytest.mark.parametrize("arguments", [("--help",), ("-h",)])
def test_help_lists_every_command(place: Place, arguments: Sequence[str]) -> None:
    result = place.run(*arguments)

    assert result.returncode == 0
    assert all(f"\n  {name} " in result.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(place: Place, name: str) -> None:
    result = place.run(name, "--help")

    assert result.returncode == 0
    assert result.stdout.startswith(f"usage: antiphon {name}")


@pytest.mark.parametrize(
    ("name", "flag", "value"), [("serve", "--theme", "dark"), ("web", "--max-concurrent-runs", "9")]
)
def test_help_is_silent_on_what_a_command_does_not_read_and_takes_it_all_the_same(
    place: Place, name: str, flag: str, value: str
) -> None:
    help_result = place.run(name, "--help")
    flag_result = place.run(name, flag, value, "--port", "none")
    refusal = place.run(name, flag, "purple")

    assert flag not in help_result.stdout
    assert "`port` from --port" in flag_result.stderr
    assert f"from {flag} cannot be used" in refusal.stderr


def test_an_old_flag_works_and_names_the_new_one_which_help_shows_alone(place: Place) -> None:
    result = place.run("config", "--json", "--grace", "3", "--no-trace-providers")
    settings = json.loads(result.stdout)

    assert settings["shutdown_timeout"] == {"value": 3.0, "from": "--grace"}
    assert settings["propagate_trace_to_providers"]["value"] is False
    assert result.stderr.splitlines() == [
        "antiphon: --grace is called --shutdown-timeout now;"
        " the old name goes with the next version.",
        "antiphon: --trace-providers is called --propagate-trace-to-providers now;"
        " the old name goes with the next version.",
    ]
    assert "--grace" not in place.run("config", "--help").stdout
    both_result = place.run("config", "--grace", "3", "--shutdown-timeout", "4")
    assert "--grace is ignored, because --shutdown-timeout" in both_result.stderr


def test_help_keeps_a_long_address_in_one_piece(place: Place) -> None:
    home = place.root / "so-deep" / "a-home" / ("long" * 20)

    result = place.run("serve", "--help", environ={"XDG_DATA_HOME": str(home)})

    assert f" sqlite:///{home}/antiphon/antiphon.db)\n" in result.stdout


def test_a_misspelt_command_is_answered_with_the_nearest_one(place: Place) -> None:
    result = place.run("serv")

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "antiphon: there is no command `serv`; did you mean `serve`?\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
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
def test_a_misused_command_names_its_help_in_one_line(
    place: Place, arguments: Sequence[str], expected: str
) -> None:
    result = place.run(*arguments)

    assert (result.returncode, result.stdout) == (2, "")
    assert expected in result.stderr
    assert (result.stderr.startswith("antiphon: "), result.stderr.count("\n")) == (True, 1)


def test_a_bad_setting_has_an_exit_code_and_says_where_it_came_from(place: Place) -> None:
    result = place.run("config", environ={"ANTIPHON_PORT": "eighty"})

    assert result.returncode == 5
    assert result.stderr.startswith("antiphon: `port` from ANTIPHON_PORT cannot be used; wanted")


# Asking


def test_the_answer_goes_to_stdout_and_the_rest_to_stderr(place: Place) -> None:
    result = place.run("ask", "Tell me something")

    assert result.returncode == 0
    (thread,) = place.threads()
    assert result.stdout.rstrip("\n") == thread["messages"][-1]["content"][0]["text"].rstrip("\n")
    assert result.stdout.endswith("\n")
    assert "demo" in result.stderr


def test_tools_that_come_along_are_given_their_settings(place: Place) -> None:
    (place.root / "notes").mkdir()
    (place.root / "notes/plan.txt").write_text("May: rest")

    result = place.run(
        "ask",
        "--tools",
        "antiphon.tools.builtin",
        "--allowed-paths",
        "notes",
        "Please use list_files",
    )

    assert result.returncode == 0
    assert "plan.txt (9 bytes)" in result.stderr


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
    result = place.run("ask", stdin=stdin)

    assert (result.returncode, result.stdout) == (2, "")
    assert "nothing was asked" in result.stderr


def test_json_is_one_numbered_event_to_a_line(place: Place) -> None:
    result = place.run("ask", "--json", "Hello")

    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["type"], events[-1]["type"]) == ("run.status", "turn.ended")
    assert events[-1]["status"] == "completed"


@pytest.mark.parametrize("spec", ["flights:get_flight_times", "flights", "./flights.py"])
def test_a_python_function_of_the_working_folder_is_a_tool(place: Place, spec: str) -> None:
    (place.root / "flights.py").write_text(FLIGHTS)

    result = place.run("ask", "--tools", spec, "When does the next LAX-JFK flight leave?")

    assert result.returncode == 0
    assert "16:35" in result.stdout
    assert "a tool may print" not in result.stdout
    assert "get_flight_times(" in result.stderr
    assert "LAX-JFK" in result.stderr


def test_a_tool_that_cannot_be_loaded_is_a_matter_of_configuration(place: Place) -> None:
    result = place.run("ask", "--tools", "nowhere:nothing", "Hello")

    assert (result.returncode, result.stdout) == (5, "")
    assert "nowhere" in result.stderr


def test_a_thread_goes_on(place: Place) -> None:
    place.run("ask", "First")
    thread_id = place.threads()[0]["thread"]["id"]

    place.run("ask", "--thread", thread_id, "Second")

    (thread,) = place.threads()
    assert [message["role"] for message in thread["messages"]] == ["user", "assistant"] * 2


def test_an_unknown_thread_is_a_failure(place: Place) -> None:
    result = place.run("ask", "--thread", "thread_unknown", "Hello")

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("antiphon: ")


def test_instructions_schema_and_model_reach_the_provider(place: Place, upstream: Upstream) -> None:
    upstream.text('{"age": 3}')
    (place.root / "schema.json").write_text('{"type": "object"}')

    result = place.run(
        "ask",
        *("--system", "Be brief.", "--output-schema", "schema.json"),
        *("--base-url", upstream.url, "--model", "small", "How old?"),
    )

    assert (result.returncode, json.loads(result.stdout)) == (0, {"age": 3})
    (request,) = upstream.asked
    assert request["model"] == "small"
    assert request["messages"][0] == {"role": "system", "content": "Be brief."}
    assert request["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize("command", [("ask", "Hello"), ("serve", "--port", "0"), ("models",)])
def test_a_model_that_nobody_has_is_a_bad_setting(place: Place, command: tuple[str, ...]) -> None:
    result = place.run(*command, environ={"ANTIPHON_MODEL": "nope:x"})

    assert (result.returncode, result.stdout) == (5, "")
    assert result.stderr.startswith(
        "antiphon: There is no provider for the model 'nope:x'; wanted "
    )
    assert result.stderr.count("\n") == 1


def test_a_schema_that_is_none_is_wrong_usage(place: Place) -> None:
    (place.root / "schema.json").write_text("[")

    result = place.run("ask", "--output-schema", "schema.json", "Hello")

    assert result.returncode == 2
    assert "schema.json" in result.stderr


def flags_with_price(place: Place, upstream: Upstream) -> Sequence[str]:
    """Script one reply of a model whose replies have a price, and return the model's flags."""
    (place.root / "mine.toml").write_text(
        f'[providers.mine]\nbase_url = "{upstream.url}"\n'
        "prices = { big = { input = 2.0, output = 10.0 } }\n"
    )
    upstream.text("Hi.")
    usage_chunk = {"choices": [], "usage": {"prompt_tokens": 1_000, "completion_tokens": 200}}
    upstream.says = [json.dumps(usage_chunk), *upstream.says]
    return "--config-file", "mine.toml", "--model", "mine:big"


def test_what_an_answer_cost_is_said_where_its_price_is_known(
    place: Place, upstream: Upstream
) -> None:
    result = place.run("ask", *flags_with_price(place, upstream), "Hello")

    assert result.stdout == "Hi.\n"
    assert result.stderr.splitlines()[-1] == "antiphon: 1,000 tokens in, 200 out, $0.0040"


def test_the_cost_is_in_the_json_of_the_events(place: Place, upstream: Upstream) -> None:
    result = place.run("ask", "--json", *flags_with_price(place, upstream), "Hello")

    events = [json.loads(line) for line in result.stdout.splitlines()]
    (usage,) = [event["usage"] for event in events if event["type"] == "usage"]
    assert usage == {"input_tokens": 1_000, "output_tokens": 200, "cost": 0.004}


def test_a_refusal_of_the_provider_is_a_failure(place: Place, upstream: Upstream) -> None:
    upstream.status = 400

    result = place.run("ask", "Hello", environ=upstream_environ(upstream))

    assert (result.returncode, result.stdout) == (1, "")
    assert "provider_rejected" in result.stderr


@pytest.mark.parametrize("finish", [None, "length"])
def test_a_reply_that_is_cut_is_incomplete_and_keeps_what_came(
    place: Place, upstream: Upstream, finish: str | None
) -> None:
    upstream.text("The first half", finish=finish)

    result = place.run("ask", "-q", "Hello", environ=upstream_environ(upstream))

    assert (result.returncode, result.stdout) == (3, "The first half\n")
    assert "incomplete" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_run_and_keeps_what_was_printed(
    place: Place, upstream: Upstream, number: signal.Signals
) -> None:
    upstream.text("The first half", finish=None)
    upstream.holds = True
    with place.start("ask", "-q", "Hello", environ=upstream_environ(upstream)) as process:
        assert process.stdout
        start = read_until(process.stdout, b"half")
        process.send_signal(number)
        out, err = process.communicate(timeout=SECONDS)

    assert process.returncode == 128 + number
    assert start + out == b"The first half\n"
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
    with place.start("ask", "-q", "Hello", environ=upstream_environ(upstream)) as process:
        assert process.stdout
        read_until(process.stdout, b"line")
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
        output = process.communicate(timeout=SECONDS)

    assert (process.returncode, output) == (0, (out, b""))
    assert statuses(place) == ["completed"]


def test_bytes_are_untouched_in_a_pipe(place: Place, upstream: Upstream) -> None:
    upstream.text("\x1b[2J\u202e", "\r\n\x9b")

    result = place.run("ask", "-q", "Hello", environ=upstream_environ(upstream))

    assert result.stdout == "\x1b[2J\u202e\r\n\x9b\n"


def test_nothing_a_model_says_acts_on_the_terminal(place: Place, upstream: Upstream) -> None:
    upstream.text("\x1b[2J", "one\r", "\ntwo\u202e")

    output = run_on_a_terminal(place, "ask", "-q", "Hello", environ=upstream_environ(upstream))

    assert output == "\u241b[2Jone\ntwo<U+202E>\n"


def run_on_a_terminal(place: Place, *arguments: str, environ: dict[str, str]) -> str:
    """Return the output on a terminal, with the line ends as written."""
    outer, inner = pty.openpty()
    with place.start(*arguments, environ=environ, stdout=inner) as process:
        os.close(inner)
        output = b""
        try:
            while piece := os.read(outer, 4096):
                output += piece
        except OSError:  # Linux says so when the last writer has closed
            pass
        process.wait(SECONDS)
    os.close(outer)
    return output.decode().replace("\r\n", "\n")


# Keys, conversations, models


def test_a_key_is_shown_once_and_listed_without_its_secret(place: Place) -> None:
    creation = place.run("keys", "create", "laptop", "--owner", "ann", "--scope", "read")

    key = creation.stdout.strip()
    listing = place.run("keys", "list")
    assert key.startswith("ak_")
    assert key not in listing.stdout
    assert "laptop" in listing.stdout
    assert "ann" in listing.stdout


def test_a_key_is_revoked_by_its_id(place: Place) -> None:
    place.run("keys", "create", "laptop")
    (key,) = json.loads(place.run("keys", "list", "--json").stdout)

    assert place.run("keys", "revoke", key["id"]).returncode == 0
    (revoked_key,) = json.loads(place.run("keys", "list", "--json").stdout)
    assert revoked_key["revoked_at"]


def test_a_token_for_a_page_is_made_of_a_key(place: Place) -> None:
    place.run("keys", "create", "shop", "--owner", "ann")
    (key,) = json.loads(place.run("keys", "list", "--json").stdout)
    page = ("--origin", "https://shop.example.org", "--session", "visitor-42")

    creation = place.run("keys", "browser-token", key["id"], *page, "--expires-in", "5m")
    any_origin = place.run("keys", "browser-token", key["id"], "--origin", "*")
    unknown_key = place.run("keys", "browser-token", "key_unknown", *page)

    assert creation.stdout.startswith("bt_")
    assert creation.stdout.strip() not in creation.stderr
    assert "session visitor-42 of owner ann" in creation.stderr
    assert (any_origin.returncode, unknown_key.returncode) == (2, 1)


def test_an_unknown_key_is_a_failure(place: Place) -> None:
    assert place.run("keys", "revoke", "key_unknown").returncode == 1


def test_a_setting_may_stand_before_or_behind_the_action(place: Place) -> None:
    place.run("keys", "create", "laptop", "--database", "sqlite:///other.db")

    listing = place.run("keys", "--database", "sqlite:///other.db", "list")
    assert "laptop" in listing.stdout
    assert "laptop" not in place.run("keys", "list").stdout


def test_an_empty_list_of_keys_says_so_and_what_makes_one(place: Place) -> None:
    listing = place.run("keys", "list")

    assert (listing.returncode, listing.stdout) == (0, "")
    assert listing.stderr.startswith("There is no key: ")
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
            question = await client.create_message(first.id, "Tell me of whales")
            second = await branch_before(client, question)
            await client.create_message(second.id, "Tell me of blue whales")
            return [other.id, first.id, second.id]

    other, first, second = asyncio.run(make())
    listed_threads = json.loads(place.run("threads", "list", "--json").stdout)
    deletion = place.run("threads", "delete", *(["--alone"] if alone else []), second)
    remaining_threads = json.loads(place.run("threads", "list", "--all", "--json").stdout)

    assert {thread["id"] for thread in listed_threads} == {other, second}
    assert deletion.returncode == 0
    assert {thread["id"] for thread in remaining_threads} == ({other, first} if alone else {other})
    expected = "is deleted.\n" if alone else "is deleted, in all 2 versions.\n"
    assert deletion.stderr == f"{second} {expected}"


def test_all_versions_can_be_named_where_all_are_deleted(place: Place) -> None:
    settings = Settings(database=f"sqlite:///{place.database}", model="demo")

    async def make() -> list[str]:
        async with AsyncClient(settings=settings) as client:
            first = await client.create_thread(title="Whales")
            question = await client.create_message(first.id, "Tell me of whales")
            return [first.id, (await branch_before(client, question)).id]

    result = place.run("threads", "delete", *asyncio.run(make()))

    assert result.returncode == 0
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
    listed_threads = json.loads(place.run("threads", "list", "--json", "--limit", "500").stdout)

    assert len(listed_threads) == 120
    assert listed_threads[0]["id"] == threads[7].id
    assert len(place.run("threads", "list").stdout.splitlines()) == 21
    all_threads = json.loads(
        place.run("threads", "list", "--json", "--all", "--limit", "500").stdout
    )
    assert len(all_threads) == 121


@pytest.mark.slow
def test_words_are_found_in_conversations(place: Place) -> None:
    with Client(settings=Settings(database=f"sqlite:///{place.database}", model="demo")) as client:
        thread = client.create_thread(title="Of bees\x1b[31m")
        for number in range(150):
            client.create_message(thread.id, f"Crème number {number}\x1b[2J")
        client.create_message(thread.id, "nothing")

    output = place.run("threads", "search", "creme", "number", "--limit", "3").stdout
    hits = json.loads(place.run("threads", "search", "cre", "--limit", "130", "--json").stdout)
    titles = place.run("threads", "search", '"of bees"').stdout

    assert output.count("  user: Crème number 1") == 3
    assert "\x1b" not in output + titles
    assert [hit["snippet"][:15] for hit in hits[:2]] == ["Crème number 14", "Crème number 14"]
    assert len({hit["message_id"] for hit in hits}) == 130
    assert titles.startswith(thread.id)
    for words in ("nowhere", "***"):
        empty_search = place.run("threads", "search", words)
        assert (empty_search.stdout, empty_search.stderr) == (
            "",
            "No message and no title has these words.\n",
        )


def test_a_conversation_is_renamed_and_forked(place: Place) -> None:
    place.run("ask", "Tell me of whales")
    thread_id = place.threads()[0]["thread"]["id"]

    assert place.run("threads", "rename", thread_id, "Sea").returncode == 0
    assert place.run("threads", "pin", thread_id).stderr == f"{thread_id} is pinned.\n"
    assert "  yes  " in place.run("threads", "list", "--pinned").stdout
    assert place.run("threads", "unpin", thread_id).returncode == 0
    fork_id = place.run("threads", "fork", thread_id, "--title", "Lake").stdout.strip()

    listed_threads = json.loads(place.run("threads", "list", "--json").stdout)
    assert {thread["id"]: thread["title"] for thread in listed_threads} == {
        thread_id: "Sea",
        fork_id: "Lake",
    }


@pytest.mark.slow
def test_conversations_are_put_into_folders_and_listed_by_them(place: Place) -> None:
    place.run("ask", "Tell me of whales")
    thread_id = place.threads()[0]["thread"]["id"]

    creation = place.run("folders", "create", "Sea life", "--instructions", "Be brief.")
    folder_id = creation.stdout.strip()
    move = place.run("threads", "move", thread_id, "sea")
    assert move.stderr == f"{thread_id} is in the folder 'Sea life'.\n"
    assert "whales" in place.run("threads", "list", "--folder", "SEA LIFE").stdout
    assert place.run("threads", "list", "--folder", "none").stdout == ""
    text = "Be exact.\nName sources.\n"
    update = place.run(
        *("folders", "update", folder_id, "--name", "Oceans", "--instructions-file", "-"),
        stdin=text,
    )
    assert update.returncode == 0
    assert place.run("folders", "show", "oceans").stdout == text
    (folder,) = json.loads(place.run("folders", "list", "--json").stdout)
    assert (folder["name"], folder["instructions"]) == ("Oceans", text.strip())
    assert "Be exact. Name sources." in place.run("folders", "list").stdout
    place.run("folders", "create", "Oceans II")
    for args, message in (
        (("threads", "move", thread_id, "o"), "More than one folder"),
        (("threads", "list", "--folder", "gone"), "There is no folder 'gone'"),
        (("folders", "create", "a\nb"), "text on one line"),
        (("folders", "update", "oceans"), "nothing is to be changed"),
        (("folders", "update", "oceans", "--instructions-file", "/no/such"), "cannot be read"),
    ):
        refusal = place.run(*args)
        assert refusal.returncode != 0
        assert message in refusal.stderr
    notes = place.root / "notes.txt"
    notes.write_text("Whales sing.")
    place.run("folders", "update", "oceans", "--add-file", str(notes))
    (file_id,) = json.loads(place.run("folders", "show", "oceans", "--json").stdout)["file_ids"]
    assert file_id in place.run("folders", "show", "oceans").stderr
    refusal = place.run("folders", "update", "oceans", "--remove-file", "file_gone")
    assert "has no file 'file_gone'" in refusal.stderr
    place.run("folders", "update", "oceans", "--remove-file", file_id)
    assert json.loads(place.run("folders", "show", "oceans", "--json").stdout)["file_ids"] == []
    removal = place.run("threads", "move", thread_id, "none")
    assert removal.stderr == f"{thread_id} is in no folder.\n"
    place.run("threads", "move", thread_id, "oceans")
    deletion = place.run("folders", "delete", "oceans")
    assert deletion.stderr == f"{folder_id} is deleted.\n"

    assert thread_id in place.run("threads", "list", "--folder", "none").stdout


def test_a_conversation_is_archived_and_tagged(place: Place) -> None:
    place.run("ask", "Tell me of whales")
    thread_id = place.threads()[0]["thread"]["id"]

    tagging = place.run("threads", "tag", thread_id, "Sea", "big ones")
    assert tagging.stderr == f"{thread_id} has Sea, big ones.\n"
    place.run("threads", "tag", "--remove", thread_id, "SEA")
    assert "whales #big ones" in place.run("threads", "list", "--tag", "big ones").stdout
    archiving = place.run("threads", "archive", thread_id)
    assert archiving.stderr == f"{thread_id} is in the archive.\n"
    assert place.run("threads", "list").stdout == ""
    assert "(archived)" in place.run("threads", "search", "whales").stdout
    assert thread_id in place.run("threads", "list", "--archived").stdout
    assert json.loads(place.run("threads", "tags", "--json").stdout) == [
        {"tag": "big ones", "threads": 0, "archived": 1}
    ]
    refusal = place.run("threads", "tag", thread_id, "a,b")
    assert refusal.returncode != 0
    assert "without commas" in refusal.stderr
    assert place.run("threads", "unarchive", thread_id[:16]).returncode == 0

    assert thread_id in place.run("threads", "list").stdout


@pytest.mark.slow
def test_a_search_may_take_as_long_as_the_settings_say(place: Place) -> None:
    with Client(settings=Settings(database=f"sqlite:///{place.database}", model="demo")) as client:
        for number in range(400):
            client.create_message(client.create_thread(title=f"{number}").id, "words " * 100)

    timed_out = place.run(
        "threads", "list", "--search", "nowhere", environ={"ANTIPHON_SEARCH_TIMEOUT": "0.000001"}
    )
    full_search = place.run("threads", "list", "--search", "nowhere", "--search-timeout", "60")

    assert timed_out.returncode == 1
    assert "within 1e-06 seconds" in timed_out.stderr
    assert full_search.returncode == 0


def test_an_empty_list_of_conversations_says_so(place: Place) -> None:
    result = place.run("threads", "list")

    assert (result.returncode, result.stdout) == (0, "")
    assert "no such conversations" in result.stderr


def test_the_default_model_is_marked(place: Place) -> None:
    models = json.loads(place.run("models", "--json").stdout)

    assert [model["id"] for model in models if model.get("default")] == ["demo"]


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_provider_that_lists_no_models_is_named_with_the_reason(
    place: Place, arguments: tuple[str, ...], unused_tcp_port: int
) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/v1"

    result = place.run("models", "--base-url", url, "--model", "mine", *arguments)

    assert result.returncode == 1
    assert "mine" in result.stdout
    assert "did not answer: the connection was refused" in result.stderr
    assert "address is right" in result.stderr


def test_a_provider_that_refuses_the_key_for_its_list_is_named_without_the_key(
    place: Place, upstream: Upstream
) -> None:
    upstream.status = 401
    environ = {"ANTIPHON_BASE_URL": upstream.url, "ANTIPHON_PROVIDER_KEY": "sk-secret"}

    result = place.run("models", environ=environ)

    assert result.returncode == 5
    assert "answered 401" in result.stderr
    assert "sk-secret" not in result.stdout + result.stderr


def test_a_models_key_is_sent_with_the_question_what_the_base_url_lists(
    place: Place, upstream: Upstream
) -> None:
    environ = {"OPENAI_API_KEY": "sk-secret", "ANTIPHON_BASE_URL": upstream.url}

    result = place.run("models", "--model", "openai:big-model", environ=environ)

    assert (result.returncode, upstream.keys) == (0, ["Bearer sk-secret"])
    assert result.stdout.split() == ["model", "openai:big-model", "default", "demo"]


@pytest.mark.parametrize("command", ["models", "doctor", "config"])
@pytest.mark.parametrize("status", [200, 307, 401])
def test_a_key_in_a_query_is_sent_and_not_shown(
    place: Place, upstream: Upstream, command: str, status: int
) -> None:
    upstream.status = status
    settings_file = place.root / "config/antiphon/antiphon.toml"
    settings_file.parent.mkdir(parents=True)
    settings_file.write_text(
        f'[providers.mine]\nbase_url = "{upstream.url}"\nkey_env = "MINE"\nkey_parameter = "key"\n'
    )

    result = place.run(command, environ={"MINE": "canary/7f+3a"})

    sent = {(parts.path, parts.query) for parts in map(urlsplit, upstream.paths)}
    assert {(path, *parse_qsl(query)) for path, query in sent} == (
        set() if command == "config" else {("/v1/models", ("key", "canary/7f+3a"))}
    )
    assert set(upstream.keys) <= {None}
    for secret in ("canary/7f+3a", "canary%2F7f%2B3a", "canary"):
        assert secret not in result.stdout + result.stderr


# Settings and the doctor


def test_settings_are_shown_with_their_origin_and_without_secrets(place: Place) -> None:
    (place.root / "antiphon.toml").write_text('api_key = "ak-secret"\nmax_tools = 2\n')
    place.run("trust", "--yes")

    result = place.run("config", "--port", "9000", environ={"ANTIPHON_HOST": "::1"})

    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()}
    assert rows["port"] == ["9000", "--port"]
    assert rows["host"] == ["::1", "ANTIPHON_HOST"]
    assert rows["max_parallel_tools"] == ["2", str(place.root / "antiphon.toml")]
    assert rows["model"] == ["demo", "ANTIPHON_MODEL"]
    assert "ak-secret" not in result.stdout


def test_the_database_is_its_owners_alone(place: Place) -> None:
    assert place.run("migrate").returncode == 0

    assert mode(place.database) == 0o600
    assert mode(place.database.parent) == 0o700


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_database_that_is_none_is_refused_and_not_touched(place: Place) -> None:
    (place.root / "notes.txt").write_text("my notes, " * 1000)

    result = place.run("migrate", "--database", "sqlite:///notes.txt")

    assert result.returncode == 5
    assert "notes.txt" in result.stderr
    assert (place.root / "notes.txt").read_text() == "my notes, " * 1000


def test_a_doctor_who_finds_nothing_broken_changes_nothing(place: Place) -> None:
    result = place.run("doctor")

    assert result.returncode == 0
    assert "demo: it is configured" in result.stdout
    assert not place.database.exists()


def test_a_doctor_sees_the_database(place: Place) -> None:
    place.run("keys", "create", "laptop")

    result = place.run("doctor")

    assert result.returncode == 0
    assert f"{place.database}: can be written" in result.stdout
    assert "by 1 key\n" in result.stdout


@pytest.mark.parametrize(
    ("change", "code", "expected"),
    [
        ("SELECT 1", 0, "can be written, has this version's form"),
        ("DELETE FROM migrations", 0, "`antiphon migrate`"),
        ("INSERT INTO migrations VALUES (999, 'later', 0)", 1, "Upgrade"),
    ],
)
def test_a_doctor_leaves_the_database_as_it_is(
    place: Place, change: str, code: int, expected: str
) -> None:
    place.run("keys", "create", "laptop")
    with closing(sqlite3.connect(place.database)) as database, database:
        database.execute(change)
    before = place.database.read_bytes()

    result = place.run("doctor")

    assert (result.returncode, place.database.read_bytes() == before) == (code, True)
    assert expected in result.stdout


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

    result = place.run("doctor", "--json")
    result_while_off = place.run("doctor", environ={"ANTIPHON_SCHEDULES": "false"})

    rows = [each for each in json.loads(result.stdout) if each["about"] == "schedules"]
    findings = {each["found"].partition(": ")[2]: each["found"] for each in rows}
    assert result.returncode == 0
    assert {each["state"] for each in rows} == {"note"}
    assert sorted(findings) == ["sched_2", "sched_4", "sched_5", "sched_6"]
    assert "due, for" in findings["sched_2"]
    assert "failing" in findings["sched_4"]
    assert "unauthorized" in findings["sched_5"]
    assert "failed at the last time" in findings["sched_6"]
    assert all("antiphon schedules show ID" in each["to_do"] for each in rows)
    assert "1 schedule due, and schedules are off: sched_2" in result_while_off.stdout


@pytest.mark.slow
def test_a_doctor_sees_a_database_of_a_server_and_tells_no_password(
    place: Place, postgres: Postgres
) -> None:
    address = asyncio.run(postgres.create()).replace("antiphon@", "antiphon:s3cret@")
    before_migration = place.run("doctor", environ={"ANTIPHON_DATABASE": address})
    place.run("migrate", environ={"ANTIPHON_DATABASE": address})
    after_migration = place.run("doctor", environ={"ANTIPHON_DATABASE": address})
    missing_database = place.run("doctor", environ={"ANTIPHON_DATABASE": f"{address}_not"})

    assert "has form 0" in before_migration.stdout
    assert "answers, has this version's form" in after_migration.stdout
    assert (missing_database.returncode, "does not exist" in missing_database.stdout) == (1, True)
    for result in (before_migration, after_migration, missing_database):
        assert "s3cret" not in result.stdout + result.stderr


def test_a_doctor_names_keys_and_never_tells_them(place: Place) -> None:
    result = place.run("doctor", environ={"GROQ_API_KEY": "gsk-secret"})

    assert "GROQ_API_KEY" in result.stdout
    assert "gsk-secret" not in result.stdout


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

    result = place.run("doctor", "--json", environ=environ)

    assert result.returncode == 1
    broken = [each for each in json.loads(result.stdout) if each["state"] == "broken"]
    assert [each["about"] for each in broken] == [about]
    assert advice is None or advice in broken[0]["to_do"]


@pytest.mark.parametrize("table", [False, True])
def test_a_doctor_tries_the_address_that_the_settings_name(
    place: Place, upstream: Upstream, table: bool
) -> None:
    environ = {} if table else {"ANTIPHON_BASE_URL": upstream.url}
    if table:
        settings_file = place.root / "config/antiphon/antiphon.toml"
        settings_file.parent.mkdir(parents=True)
        settings_file.write_text(f'[providers.mine]\nbase_url = "{upstream.url}"\n')

    result = place.run("doctor", environ=environ)
    upstream.status = 404
    without_list = place.run("doctor", environ=environ)
    upstream.status = 401
    with_bad_key = place.run("doctor", environ={**environ, "ANTIPHON_PROVIDER_KEY": "sk-secret"})

    assert result.returncode == 0
    assert f"ok      provider  {upstream.url} lists 1 model\n" in result.stdout
    assert without_list.returncode == 0
    assert f"note    provider  {upstream.url} does not list its models" in without_list.stdout
    assert with_bad_key.returncode == 1
    assert f"broken  provider  {upstream.url} does not list its models" in with_bad_key.stdout
    assert "Check the provider's key" in with_bad_key.stdout
    assert "sk-secret" not in with_bad_key.stdout + with_bad_key.stderr
    assert upstream.asked == []


def test_a_doctor_says_why_an_address_does_not_answer(place: Place, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/v1"

    result = place.run("doctor", "--base-url", url, "--json")

    assert result.returncode == 1
    (broken,) = [each for each in json.loads(result.stdout) if each["state"] == "broken"]
    assert broken["about"] == "provider"
    assert broken["found"].startswith(f"{url} does not list its models: ")
    assert broken["found"].endswith("the connection was refused, so nothing may be listening there")
    assert "address is right" in broken["to_do"]


@pytest.mark.parametrize(
    ("content", "environ", "finding", "to_do"),
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
    place: Place, content: str, environ: dict[str, str], finding: str, to_do: str
) -> None:
    file = place.root / "antiphon.toml"
    file.write_text(content)

    ask_result = place.run("ask", "Hello", environ=environ)
    result = place.run("doctor", "--json", environ=environ)

    assert (ask_result.returncode, result.returncode, result.stderr) == (5, 1, "")
    (broken,) = [each for each in json.loads(result.stdout) if each["state"] == "broken"]
    assert (broken["about"], broken["found"]) == ("settings", finding.format(file=file))
    assert broken["to_do"].startswith(to_do.format(file=file))


def test_a_doctor_asks_no_address_that_an_untrusted_file_names(
    place: Place, upstream: Upstream
) -> None:
    (place.root / "antiphon.toml").write_text(f'base_url = "{upstream.url}"\n')

    doctor_result = place.run("doctor")
    requests_before_trust = len(upstream.keys)
    place.run("trust", "--yes")
    place.run("doctor")

    assert (doctor_result.returncode, requests_before_trust, len(upstream.keys)) == (1, 0, 1)


def test_a_doctor_only_notes_a_redis_that_is_away_and_logs_nothing(place: Place) -> None:
    result = place.run("doctor", "--redis", "redis://127.0.0.1:9")

    assert (result.returncode, result.stderr) == (0, "")
    assert "note    wake-ups  do not come through redis://127.0.0.1:9" in result.stdout


def test_a_doctor_notes_a_variable_that_is_no_setting(place: Place) -> None:
    result = place.run("doctor", environ={"ANTIPHON_MODLE": "demo"})

    assert result.returncode == 0
    assert "Did you mean ANTIPHON_MODEL?" in result.stdout


# A server


def test_a_server_answers_those_who_ask_it(place: Place) -> None:
    with place.start("serve", "--port", "0") as server:
        try:
            result = place.run("ask", "--server", read_address(server), "Hello")
        finally:
            server.terminate()
        code = server.wait(SECONDS)

    assert (result.returncode, code) == (0, 0)
    assert result.stdout


def test_a_locked_server_wants_a_key(place: Place) -> None:
    key = place.run("keys", "create", "laptop").stdout.strip()
    with place.start("serve", "--port", "0") as server:
        try:
            url = read_address(server)
            without_key = place.run("ask", "--server", url, "Hello")
            with_key = place.run("ask", "--server", url, "--api-key", key, "Hello")
        finally:
            server.terminate()
        server.wait(SECONDS)

    assert without_key.returncode == 5
    assert "key" in without_key.stderr
    assert with_key.returncode == 0


def read_address(server: subprocess.Popen[bytes]) -> str:
    assert server.stderr
    output = read_until(server.stderr, b"listening on http://")
    if not output.endswith(b"\n"):
        output += read_until(server.stderr, b"\n")
    return output.decode().partition("listening on ")[2].split()[0]


def test_a_server_that_is_not_there_is_a_failure(place: Place) -> None:
    result = place.run("ask", "--server", "http://127.0.0.1:9", "Hello")

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("antiphon: ")
