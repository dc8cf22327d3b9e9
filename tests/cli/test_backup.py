"""`antiphon backup` and `antiphon restore` copy a database in use completely, losing nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

from antiphon.api.operations import ListThreads
from antiphon.client.sync_client import Client
from antiphon.settings.settings import Settings
from tests.support.cli.place import Place


def settings(file: Path) -> Settings:
    return Settings(model="demo", demo_delay=0, database=f"sqlite:///{file}")


def titles(file: Path) -> list[str]:
    with Client(settings=settings(file)) as client:
        return sorted(thread.title for thread in client.paginate(ListThreads()))


def database_flags(file: Path) -> tuple[str, str]:
    return ("--database", f"sqlite:///{file}")


@pytest.fixture
def filled_database(place: Place) -> Path:
    file = place.root / "here.db"
    with Client(settings=settings(file)) as client:
        for number in range(12):
            client.create_thread(title=f"thread {number:02}")
    return file


def test_a_database_in_use_is_copied_whole_and_restored(place: Place) -> None:
    file, copy, target = (place.root / name for name in ("here.db", "copy.db", "there.db"))
    with Client(settings=settings(file)) as client:
        titles_before = [
            client.create_thread(title=f"thread {number:02}").title for number in range(12)
        ]
        backup = place.run("backup", str(copy), *database_flags(file))
        client.create_thread(title="too late")

    restore = place.run("restore", str(copy), *database_flags(target))

    assert (backup.returncode, restore.returncode) == (0, 0), backup.stderr
    assert "12 threads" in backup.stderr
    assert "12 threads" in restore.stderr
    assert titles(target) == titles_before
    assert stat.S_IMODE(copy.stat().st_mode) == stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(path.name for path in place.root.glob("*copy.db*")) == ["copy.db"]


def test_a_copy_is_of_one_instant_however_much_is_written_meanwhile(place: Place) -> None:
    file, copy = place.root / "here.db", place.root / "copy.db"
    stop = threading.Event()

    def write(client: Client) -> None:
        while not stop.is_set():
            thread = client.create_thread(title="x")
            client.create_message(thread.id, "y" * 10_000)

    with Client(settings=settings(file)) as client:
        client.create_thread()
        writer = threading.Thread(target=write, args=(client,))
        writer.start()
        try:
            result = place.run("backup", str(copy), *database_flags(file))
        finally:
            stop.set()
            writer.join()

    assert result.returncode == 0, result.stderr
    with closing(sqlite3.connect(copy)) as connection:
        threads, messages = (
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("threads", "messages")
        )
    assert 0 <= threads - 1 - messages <= 1


def test_a_backup_that_cannot_be_written_says_so_in_plain_words(
    place: Place, filled_database: Path
) -> None:
    (place.root / "file").write_bytes(b"mine")

    result = place.run("backup", "file/inside/copy.db", *database_flags(filled_database))

    assert result.returncode == 2
    assert result.stderr == "antiphon: file/inside/copy.db cannot be written: Not a directory\n"


def test_nothing_is_written_over(place: Place, filled_database: Path) -> None:
    target, copy = place.root / "there.db", place.root / "copy.db"
    target.write_bytes(b"mine")
    log = place.root / "third.db-wal"
    log.write_bytes(b"left behind")
    assert place.run("backup", str(copy), *database_flags(filled_database)).returncode == 0
    before = copy.read_bytes()

    refusals = [
        place.run("backup", str(copy), *database_flags(filled_database)),
        place.run("backup", str(place.root), *database_flags(filled_database)),
        place.run("restore", str(copy), *database_flags(target)),
        place.run("restore", str(copy), *database_flags(filled_database)),
        place.run("restore", str(copy), *database_flags(place.root / "third.db")),
    ]

    for result in refusals:
        assert result.returncode == 5
        assert "already; wanted a file that is not there yet" in result.stderr
    assert (target.read_bytes(), copy.read_bytes()) == (b"mine", before)
    assert not (place.root / "third.db").exists()
    assert len(titles(filled_database)) == 12


def test_what_is_no_sound_database_is_neither_copied_nor_restored(
    place: Place, filled_database: Path
) -> None:
    damaged, newer, text = (place.root / name for name in ("damaged.db", "newer.db", "text.db"))
    content = filled_database.read_bytes()
    half = len(content) // 2
    damaged.write_bytes(content[:half] + b"\xff" * (len(content) - half))
    shutil.copy(filled_database, newer)
    with closing(sqlite3.connect(newer)) as connection, connection:
        connection.execute("INSERT INTO migrations VALUES (9999, 'later', 0)")
    text.write_text("no database")
    target, copy = place.root / "there.db", place.root / "copy.db"

    results = {
        file.name: place.run("restore", str(file), *database_flags(target))
        for file in (damaged, newer, text, place.root / "nowhere.db")
    }
    results["backup of damaged"] = place.run("backup", str(copy), *database_flags(damaged))
    results["backup of nothing"] = place.run(
        "backup", str(copy), *database_flags(place.root / "nowhere.db")
    )
    results["backup of memory"] = place.run("backup", str(copy), "--database", "memory:")

    assert {name: result.returncode for name, result in results.items()} == dict.fromkeys(
        results, 5
    )
    assert f"{text} is no backup" in results["text.db"].stderr
    assert "--database" not in results["text.db"].stderr
    assert "Upgrade Antiphon" in results["newer.db"].stderr
    assert "There is no backup to restore" in results["nowhere.db"].stderr
    assert "Traceback" not in "".join(result.stderr for result in results.values())
    assert not list(place.root.glob("*there.db*"))
    assert not list(place.root.glob("*copy.db*"))


def test_what_is_no_file_is_refused_at_once_and_not_waited_for(place: Place) -> None:
    pipe = place.root / "pipe.db"
    os.mkfifo(pipe)
    flags = database_flags(place.root / "there.db")

    results = [
        place.run("restore", str(each), *flags) for each in (pipe, place.root, Path(os.devnull))
    ]

    assert [result.returncode for result in results] == [5, 5, 5]
    assert all("a file of `antiphon backup`" in result.stderr for result in results)


def test_a_backup_names_the_key_file_that_has_to_be_kept_too(
    place: Place, filled_database: Path
) -> None:
    with Client(settings=settings(filled_database)) as client:
        client.set_provider_key("openai", "sk-1234567890")

    result = place.run("backup", str(place.root / "copy.db"), *database_flags(filled_database))

    assert (result.returncode, f"{filled_database}.key" in result.stderr) == (0, True)
    assert Path(f"{filled_database}.key").exists()


LINKLESS = """\
import errno, os


def link(*_, **__):
    raise PermissionError(errno.EPERM, "Operation not permitted")


os.link = link
"""
"""Lets Python see a file system without hard links, such as FAT."""


@pytest.mark.slow
def test_a_file_system_without_hard_links_will_do(place: Place, filled_database: Path) -> None:
    (place.root / "hiding").mkdir()
    (place.root / "hiding/sitecustomize.py").write_text(LINKLESS)
    environ = {"PYTHONPATH": str(place.root / "hiding")}
    copy, target = place.root / "copy.db", place.root / "there.db"

    set_key = place.run(
        "provider-keys",
        "set",
        "openai",
        *database_flags(filled_database),
        stdin="sk-1234567890\n",
        environ=environ,
    )
    backup = place.run("backup", str(copy), *database_flags(filled_database), environ=environ)
    before = copy.read_bytes()
    second_backup = place.run(
        "backup", str(copy), *database_flags(filled_database), environ=environ
    )
    restore = place.run("restore", str(copy), *database_flags(target), environ=environ)

    assert (set_key.returncode, backup.returncode, restore.returncode) == (0, 0, 0), set_key.stderr
    assert Path(f"{filled_database}.key").stat().st_size == 32
    assert second_backup.returncode == 5
    assert "already; wanted a file that is not there yet" in second_backup.stderr
    assert copy.read_bytes() == before
    assert len(titles(target)) == 12
    assert not [path.name for path in place.root.iterdir() if path.name.startswith(".")]
