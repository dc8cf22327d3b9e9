"""The history file of typed texts."""

from __future__ import annotations

from pathlib import Path

from antiphon.terminal import startup
from antiphon.terminal.startup import HistoryFile


def read_entries(file: Path) -> list[str]:
    return list(HistoryFile(file).load_history_strings())


def test_entries_come_back_newest_first_and_whole(tmp_path: Path) -> None:
    file = tmp_path / "state" / "history"
    history = HistoryFile(file)
    for text in ("one", "two\nlines", "wörter \u2028 \x1b[31m"):
        history.append_string(text)

    assert read_entries(file) == ["wörter \u2028 \x1b[31m", "two\nlines", "one"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_two_chats_append_to_one_file(tmp_path: Path) -> None:
    first, second = HistoryFile(tmp_path / "history"), HistoryFile(tmp_path / "history")
    first.append_string("mine")
    second.append_string("yours")
    first.append_string("mine again")

    assert read_entries(tmp_path / "history") == ["mine again", "yours", "mine"]


def test_an_entry_that_was_said_again_is_there_once(tmp_path: Path) -> None:
    history = HistoryFile(tmp_path / "history")
    for text in ("a", "b", "a"):
        history.append_string(text)

    assert read_entries(tmp_path / "history") == ["a", "b"]


def test_what_begins_with_a_blank_and_what_is_endless_is_not_kept(tmp_path: Path) -> None:
    history = HistoryFile(tmp_path / "history")
    for text in (" token 123", "x" * (startup.LONGEST_ENTRY + 1), "kept"):
        history.append_string(text)

    assert read_entries(tmp_path / "history") == ["kept"]


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "history"
    history = HistoryFile(file)
    for number in range(120):
        history.append_string(f"{number} {'x' * 10_000}")

    assert file.stat().st_size <= startup.MOST_HISTORY_BYTES
    assert read_entries(file)[0].startswith("119 ")
    assert file.stat().st_mode & 0o777 == 0o600


def test_lines_that_are_no_entries_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "history"
    file.write_bytes(b'"good"\n{"cut\n\xff\xfe\n7\n')

    assert read_entries(file) == ["good"]


def test_without_a_place_to_write_the_chat_still_remembers(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    history = HistoryFile(tmp_path / "file" / "history")
    history.append_string("said")

    assert history.get_strings() == ["said"]
