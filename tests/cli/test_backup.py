"""`antiphon backup` and `antiphon restore`: whole copies of a database in use, and nothing lost."""

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


def on(file: Path) -> tuple[str, str]:
    return ("--database", f"sqlite:///{file}")


@pytest.fixture
def filled(place: Place) -> Path:
    file = place.root / "here.db"
    with Client(settings=settings(file)) as client:
        for number in range(12):
            client.create_thread(title=f"thread {number:02}")
    return file


def test_a_database_in_use_is_copied_whole_and_restored(place: Place) -> None:
    file, copy, there = (place.root / name for name in ("here.db", "copy.db", "there.db"))
    with Client(settings=settings(file)) as client:
        made = [client.create_thread(title=f"thread {number:02}").title for number in range(12)]
        backed_up = place.run("backup", str(copy), *on(file))
        client.create_thread(title="too late")

    restored = place.run("restore", str(copy), *on(there))

    assert (backed_up.returncode, restored.returncode) == (0, 0), backed_up.stderr
    assert "12 threads" in backed_up.stderr
    assert "12 threads" in restored.stderr
    assert titles(there) == made
    assert stat.S_IMODE(copy.stat().st_mode) == stat.S_IMODE(there.stat().st_mode) == 0o600
    assert sorted(path.name for path in place.root.glob("*copy.db*")) == ["copy.db"]


def test_a_copy_is_of_one_instant_however_much_is_written_meanwhile(place: Place) -> None:
    file, copy = place.root / "here.db", place.root / "copy.db"
    over = threading.Event()

    def write(client: Client) -> None:
        while not over.is_set():
            thread = client.create_thread(title="x")
            client.create_message(thread.id, "y" * 10_000)

    with Client(settings=settings(file)) as client:
        client.create_thread()
        writer = threading.Thread(target=write, args=(client,))
        writer.start()
        try:
            done = place.run("backup", str(copy), *on(file))
        finally:
            over.set()
            writer.join()

    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(copy)) as connection:
        threads, messages = (
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("threads", "messages")
        )
    assert 0 <= threads - 1 - messages <= 1


def test_a_backup_that_cannot_be_written_says_so_in_plain_words(place: Place, filled: Path) -> None:
    (place.root / "file").write_bytes(b"mine")

    done = place.run("backup", "file/inside/copy.db", *on(filled))

    assert done.returncode == 2
    assert done.stderr == "antiphon: file/inside/copy.db cannot be written: Not a directory\n"


def test_nothing_is_written_over(place: Place, filled: Path) -> None:
    there, copy = place.root / "there.db", place.root / "copy.db"
    there.write_bytes(b"mine")
    log = place.root / "third.db-wal"
    log.write_bytes(b"left behind")
    assert place.run("backup", str(copy), *on(filled)).returncode == 0
    before = copy.read_bytes()

    refused = [
        place.run("backup", str(copy), *on(filled)),
        place.run("backup", str(place.root), *on(filled)),
        place.run("restore", str(copy), *on(there)),
        place.run("restore", str(copy), *on(filled)),
        place.run("restore", str(copy), *on(place.root / "third.db")),
    ]

    for done in refused:
        assert done.returncode == 5
        assert "already; wanted a file that is not there yet" in done.stderr
    assert (there.read_bytes(), copy.read_bytes()) == (b"mine", before)
    assert not (place.root / "third.db").exists()
    assert len(titles(filled)) == 12


def test_what_is_no_sound_database_is_neither_copied_nor_restored(
    place: Place, filled: Path
) -> None:
    damaged, newer, text = (place.root / name for name in ("damaged.db", "newer.db", "text.db"))
    whole = filled.read_bytes()
    half = len(whole) // 2
    damaged.write_bytes(whole[:half] + b"\xff" * (len(whole) - half))
    shutil.copy(filled, newer)
    with closing(sqlite3.connect(newer)) as connection, connection:
        connection.execute("INSERT INTO migrations VALUES (9999, 'later', 0)")
    text.write_text("no database")
    there, copy = place.root / "there.db", place.root / "copy.db"

    told = {
        file.name: place.run("restore", str(file), *on(there))
        for file in (damaged, newer, text, place.root / "nowhere.db")
    }
    told["backup of damaged"] = place.run("backup", str(copy), *on(damaged))
    told["backup of nothing"] = place.run("backup", str(copy), *on(place.root / "nowhere.db"))
    told["backup of memory"] = place.run("backup", str(copy), "--database", "memory:")

    assert {name: done.returncode for name, done in told.items()} == dict.fromkeys(told, 5)
    assert f"{text} is no backup" in told["text.db"].stderr
    assert "--database" not in told["text.db"].stderr
    assert "Upgrade Antiphon" in told["newer.db"].stderr
    assert "There is no backup to restore" in told["nowhere.db"].stderr
    assert "Traceback" not in "".join(done.stderr for done in told.values())
    assert not list(place.root.glob("*there.db*"))
    assert not list(place.root.glob("*copy.db*"))


def test_what_is_no_file_is_refused_at_once_and_not_waited_for(place: Place) -> None:
    pipe = place.root / "pipe.db"
    os.mkfifo(pipe)
    there = on(place.root / "there.db")

    told = [
        place.run("restore", str(each), *there) for each in (pipe, place.root, Path(os.devnull))
    ]

    assert [done.returncode for done in told] == [5, 5, 5]
    assert all("a file of `antiphon backup`" in done.stderr for done in told)


def test_what_else_has_to_be_kept_is_told(place: Place, filled: Path) -> None:
    with Client(settings=settings(filled)) as client:
        client.set_provider_key("openai", "sk-1234567890")

    done = place.run("backup", str(place.root / "copy.db"), *on(filled))

    assert (done.returncode, f"{filled}.key" in done.stderr) == (0, True)
    assert Path(f"{filled}.key").exists()


LINKLESS = """\
import errno, os


def link(*_, **__):
    raise PermissionError(errno.EPERM, "Operation not permitted")


os.link = link
"""
"""What Python sees of a file system without hard links, such as FAT."""


@pytest.mark.slow
def test_a_file_system_without_hard_links_will_do(place: Place, filled: Path) -> None:
    (place.root / "hiding").mkdir()
    (place.root / "hiding/sitecustomize.py").write_text(LINKLESS)
    linkless = {"PYTHONPATH": str(place.root / "hiding")}
    copy, there = place.root / "copy.db", place.root / "there.db"

    sealed = place.run(
        "provider-keys", "set", "openai", *on(filled), stdin="sk-1234567890\n", environ=linkless
    )
    done = place.run("backup", str(copy), *on(filled), environ=linkless)
    before = copy.read_bytes()
    again = place.run("backup", str(copy), *on(filled), environ=linkless)
    restored = place.run("restore", str(copy), *on(there), environ=linkless)

    assert (sealed.returncode, done.returncode, restored.returncode) == (0, 0, 0), sealed.stderr
    assert Path(f"{filled}.key").stat().st_size == 32
    assert again.returncode == 5
    assert "already; wanted a file that is not there yet" in again.stderr
    assert copy.read_bytes() == before
    assert len(titles(there)) == 12
    assert not [path.name for path in place.root.iterdir() if path.name.startswith(".")]
