"""`antiphon threads export`, and the short names of threads that it takes."""

from __future__ import annotations

import json
import os
import stat

import pytest

from antiphon.client.sync_client import Client
from antiphon.settings.settings import Settings
from tests.support.cli.place import Place
from tests.support.cli.scripted_upstream import Upstream

SHOUT = '''
from antiphon import tool


@tool
def shout(text: str) -> str:
    """Says it louder."""
    return text.upper() + "!" * 1000
'''


def ask(place: Place, *words: str) -> str:
    """Ask this in a new thread and return the thread's id."""
    place.run("ask", *(words or ("Tell me of whales",)))
    return str(place.threads()[0]["thread"]["id"])


def export(place: Place, *arguments: str) -> str:
    result = place.run("threads", "export", *arguments)

    assert result.returncode == 0, result.stderr
    return result.stdout


def test_without_a_word_a_conversation_is_json_on_stdout(place: Place) -> None:
    thread_id = ask(place)

    exported = json.loads(export(place, thread_id))

    assert exported["thread"]["id"] == thread_id
    assert [message["role"] for message in exported["messages"]] == ["user", "assistant"]


@pytest.mark.slow
def test_more_messages_than_a_page_come_all_and_in_order(place: Place) -> None:
    thread_id = ask(place)
    settings = Settings(model="demo", database=f"sqlite:///{place.database}")
    with Client(settings=settings) as client:
        for number in range(250):
            client.create_message(thread_id, f"word {number}")

    exported = json.loads(export(place, thread_id))

    assert [message["number"] for message in exported["messages"]] == list(range(1, 253))


@pytest.mark.parametrize(
    ("name", "expected_start"),
    [("a.md", "# Tell me"), ("a.html", "<!DOCTYPE html>"), ("a.json", "{")],
)
def test_a_file_has_the_form_of_its_name(place: Place, name: str, expected_start: str) -> None:
    ask(place)

    result = place.run("threads", "export", "last", "--output", name)

    assert (result.returncode, result.stdout) == (0, "")
    assert "2 messages of thread_" in result.stderr
    assert name in result.stderr
    assert (place.root / name).read_text().startswith(expected_start)


def test_a_named_form_is_taken_before_that_of_the_file(place: Place) -> None:
    ask(place)

    export(place, "last", "--format", "md", "-o", "talk.txt")

    assert (place.root / "talk.txt").read_text().startswith("# Tell me of whales\n")


def test_a_file_is_its_owners_alone_and_takes_no_others_place(place: Place) -> None:
    ask(place)
    file = place.root / "talk.md"

    export(place, "last", "-o", str(file))
    first = file.read_bytes()
    file.write_text("mine")
    second = place.run("threads", "export", "last", "-o", str(file))

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert second.returncode == 2
    assert "is there already" in second.stderr
    assert "--force" in second.stderr
    assert file.read_text() == "mine"
    export(place, "last", "-o", str(file), "--force")
    assert file.read_bytes() == first
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_link_is_not_followed_to_another_file(place: Place) -> None:
    ask(place)
    (place.root / "talk.md").symlink_to(place.root / "elsewhere")

    result = place.run("threads", "export", "last", "-o", "talk.md")

    assert result.returncode == 2
    assert not (place.root / "elsewhere").exists()


def test_a_device_is_never_replaced(place: Place) -> None:
    ask(place)
    pipe = place.root / "pipe"
    os.mkfifo(pipe)

    result = place.run("threads", "export", "last", "-o", str(pipe), "--force")

    assert result.returncode == 2
    assert pipe.is_fifo()


@pytest.mark.parametrize("path", ["gone/talk.md", "."])
def test_where_nothing_can_be_written_this_is_said_and_nothing_is_left(
    place: Place, path: str
) -> None:
    ask(place)
    before = sorted(os.listdir(place.root))

    result = place.run("threads", "export", "last", "-o", path, "--force")

    assert result.returncode == 2
    assert path in result.stderr
    assert sorted(os.listdir(place.root)) == before


def test_a_page_is_set_and_a_models_html_is_text(place: Place, upstream: Upstream) -> None:
    upstream.text("**bold** <script>alert(1)</script> [x](javascript:alert(1))")
    place.run("ask", "hi", environ={"ANTIPHON_BASE_URL": upstream.url, "ANTIPHON_MODEL": "custom"})

    page = export(place, "last", "--format", "html")

    assert "<strong>bold</strong>" in page
    assert "<script" not in page
    assert 'href="javascript' not in page


def test_files_are_exported_by_name(place: Place) -> None:
    (place.root / "notes.pdf").write_bytes(b"%PDF-1.4\n%%EOF\n")
    ask(place, "What is this?", "--file", "notes.pdf")

    assert "Attached: `notes.pdf`" in export(place, "last", "--format", "md")


def test_who_answered_and_what_tools_gave_is_written_whole_and_shown_in_short(
    place: Place,
) -> None:
    (place.root / "loud.py").write_text(SHOUT)
    ask(place, "--tools", "loud.py", 'Please shout "hello"')

    markdown = export(place, "last", "--format", "md")
    shown_text = place.run("threads", "show", "last").stdout

    assert "## Assistant (demo), " in markdown
    assert "<summary>Reasoning</summary>" in markdown
    assert "!" * 1000 in markdown
    assert "(thought: " in shown_text
    assert "shout gave: " in shown_text
    assert "!" * 200 in shown_text
    assert (
        shown_text.count("!" * 1000) == markdown.count("!" * 1000) - 1
    )  # the demo repeats it once


def test_a_thread_is_named_by_what_its_id_begins_with(place: Place) -> None:
    thread_id = ask(place)

    assert export(place, thread_id[:20]) == export(place, thread_id)
    assert export(place, thread_id.removeprefix("thread_")[:12]) == export(place, thread_id)


def test_a_beginning_that_two_threads_have_is_refused(place: Place) -> None:
    ask(place)
    ask(place)

    result = place.run("threads", "show", "thread_1")

    assert result.returncode == 2
    assert "more than one thread begins with thread_1" in result.stderr


@pytest.mark.parametrize("thread_id", ["thread_zzz", "thread_", "nothing"])
def test_a_thread_that_is_not_there_is_said_not_to_be(place: Place, thread_id: str) -> None:
    ask(place)

    result = place.run("threads", "export", thread_id)

    assert result.returncode == 1
    assert thread_id in result.stderr


def test_the_last_thread_is_the_one_last_answered_in(place: Place) -> None:
    first = ask(place, "Tell me of whales")
    ask(place, "Tell me of bees")
    place.run("ask", "--thread", first, "And of seals?")

    assert json.loads(export(place, "last"))["thread"]["id"] == first


def test_where_nothing_was_said_there_is_no_last_thread(place: Place) -> None:
    result = place.run("threads", "show", "last")

    assert result.returncode == 1
    assert "nothing was answered here yet" in result.stderr


def test_deleting_takes_a_whole_id(place: Place) -> None:
    thread_id = ask(place)

    assert place.run("threads", "delete", thread_id[:20]).returncode == 1
    assert place.run("threads", "delete", "last").returncode == 1
    assert len(place.threads()) == 1
