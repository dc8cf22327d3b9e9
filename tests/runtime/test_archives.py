"""Files that are no export, or a hostile one: refused before anything is written."""

from __future__ import annotations

import json
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from antiphon.api.operations import OwnerImport
from antiphon.runtime.admin.archive_reader import Bounds
from antiphon.stores.memory.store import MemoryStore
from antiphon.types import errors
from antiphon.types.errors import AntiphonError
from antiphon.types.events import CitationsAdded, MessageCompleted, decode
from antiphon.types.imports import ImportBatch
from antiphon.types.messages import Citation, Message
from antiphon.types.runs import Thread
from tests.support.runtime.archives import (
    ENDED,
    THREAD,
    Contents,
    add_active,
    an_id,
    contents,
    fill,
    import_archive,
    write,
    write_archive,
)
from tests.support.stores.steps import a_message

NOW = 1_700_000_000_000
PAGE = "https://tides.example/moon"


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore(lambda: NOW)
    await fill(store)
    await add_active(store)
    return store


@pytest.fixture
async def file(store: MemoryStore, tmp_path: Path) -> Path:
    return await write_archive(store, tmp_path / "good.zip")


@pytest.fixture
def members(file: Path) -> Contents:
    return contents(file)


async def catch_error(file: Path, **options: Any) -> AntiphonError:
    """Return the error for a file, after which an empty store is still empty."""
    store = MemoryStore(lambda: NOW)
    with pytest.raises((errors.InvalidRequest, errors.TooLarge)) as error:
        await import_archive(store, file, **options)
    assert not (await store.owners(9)).data
    assert not (await store.audit_entries(9)).data
    assert not await store.usage("", 9)
    assert error.value.details["expected"]
    return error.value


# Incomplete zips


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
async def test_a_truncated_file_is_refused(file: Path, tmp_path: Path, share: float) -> None:
    content = file.read_bytes()
    cut_file = tmp_path / "half.zip"
    cut_file.write_bytes(content[: int(len(content) * share)])

    assert "not all of one" in (await catch_error(cut_file)).message


async def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    other_file = tmp_path / "other.zip"
    other_file.write_bytes(b"SQLite format 3\0" * 100)

    assert "is no zip" in (await catch_error(other_file)).message


async def test_a_foreign_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("word/document.xml", "<xml/>")

    error = await catch_error(tmp_path / "a.zip")

    assert error.details["where"] == "word/document.xml"


async def test_an_export_without_its_manifest_is_refused(members: Contents, tmp_path: Path) -> None:
    del members["manifest.json"]

    error = await catch_error(write(tmp_path / "a.zip", members, count=False))

    assert "manifest.json, which is written last" in error.full_message


async def test_an_export_that_lacks_a_kind_is_refused(members: Contents, tmp_path: Path) -> None:
    del members["usage.jsonl"]

    assert "usage.jsonl" in (await catch_error(write(tmp_path / "a.zip", members))).full_message


async def test_a_later_version_is_refused_with_what_to_do(
    members: Contents, tmp_path: Path
) -> None:
    manifest = {**json.loads(members["manifest.json"]), "form": 3, "new": [{"deep": {}}]}
    members["manifest.json"] = json.dumps(manifest).encode()

    error = await catch_error(write(tmp_path / "a.zip", members, count=False))

    assert (error.details["expected"], error.details["received"]) == ("form 2", "form 3")
    assert "Upgrade" in error.details["hint"]


async def test_a_byte_that_was_turned_is_noticed(file: Path, tmp_path: Path) -> None:
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        info = archive.getinfo("messages.jsonl")
    content[info.header_offset + 100] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(bytes(content))

    error = await catch_error(tmp_path / "a.zip")

    assert str(error.details["where"]).startswith("messages.jsonl")


# Hostile zips


NAMES = (
    *("../evil", "/etc/passwd", "files/../../evil", "files/..", "files/a/b", "files\\evil"),
    *("C:\\evil", "files/c:evil", "THREADS.JSONL", "files/\x01", "x" * 300, "files/"),
)


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_that_no_export_has_is_refused(file: Path, tmp_path: Path, name: str) -> None:
    bad_file = add_to_copy(file, tmp_path, lambda archive: archive.writestr(name, b"evil"))

    assert "member" in (await catch_error(bad_file)).message


def add_to_copy(file: Path, folder: Path, add: Callable[[zipfile.ZipFile], None]) -> Path:
    """Return a copy of the archive with something added to it."""
    bad_file = folder / "bad.zip"
    bad_file.write_bytes(file.read_bytes())
    with zipfile.ZipFile(bad_file, "a") as archive:
        add(archive)
    return bad_file


async def test_a_link_is_refused(file: Path, tmp_path: Path) -> None:
    info = zipfile.ZipInfo("files/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    bad_file = add_to_copy(file, tmp_path, lambda archive: archive.writestr(info, "/etc/passwd"))

    assert (await catch_error(bad_file)).details["received"] == "a link"


@pytest.mark.filterwarnings("ignore:Duplicate name")
async def test_a_name_that_is_there_twice_is_refused(file: Path, tmp_path: Path) -> None:
    bad_file = add_to_copy(file, tmp_path, lambda archive: archive.writestr("threads.jsonl", b""))

    error = await catch_error(bad_file)

    assert (error.details["where"], error.details["received"]) == ("threads.jsonl", "twice")


async def test_a_member_that_is_packed_otherwise_is_refused(file: Path, tmp_path: Path) -> None:
    bad_file = add_to_copy(
        file, tmp_path, lambda archive: archive.writestr("files/x", b"x", zipfile.ZIP_LZMA)
    )

    assert "packed" in (await catch_error(bad_file)).message


async def test_an_archive_that_holds_too_much_for_its_size_is_refused(
    file: Path, tmp_path: Path
) -> None:
    bad_file = add_to_copy(
        file,
        tmp_path,
        lambda archive: archive.writestr("files/x", bytes(20_000_000), zipfile.ZIP_DEFLATED),
    )

    assert "too much" in (await catch_error(bad_file, bounds=Bounds(small=1_000_000))).message
    assert "too large" in (await catch_error(bad_file, bounds=Bounds(file=1_000_000))).message
    assert "too much" in (await catch_error(bad_file, bounds=Bounds(total=1_000_000))).message


async def test_too_many_members_are_refused_before_their_list_is_read(
    file: Path, tmp_path: Path
) -> None:
    def add(archive: zipfile.ZipFile) -> None:
        for number in range(100):
            archive.writestr(f"files/{number}", b"")

    bad_file = add_to_copy(file, tmp_path, add)

    assert "too many members" in (await catch_error(bad_file, bounds=Bounds(members=100))).message
    assert (
        "too many members" in (await catch_error(bad_file, bounds=Bounds(directory=1000))).message
    )


async def test_members_that_share_their_bytes_are_refused(file: Path, tmp_path: Path) -> None:
    bad_file = add_to_copy(file, tmp_path, lambda archive: archive.writestr("files/x", bytes(1000)))
    content = bytearray(bad_file.read_bytes())
    entries = [
        offset for offset in range(len(content) - 4) if content[offset : offset + 4] == b"PK\1\2"
    ]
    first = struct.unpack_from("<L", content, entries[0] + 42)
    struct.pack_into("<L", content, entries[-1] + 42, *first)
    bad_file.write_bytes(bytes(content))

    assert "Members lie in one another" in (await catch_error(bad_file)).message


# Hostile records


def change_record(kind: str, **fields: Any) -> Callable[[Contents], None]:
    def apply(members: Contents) -> None:
        record = members[f"{kind}.jsonl"][0]
        (
            record["run"] if kind == "runs" and fields.keys() & record["run"].keys() else record
        ).update(fields)

    return apply


def add_line(kind: str, line: bytes) -> Callable[[Contents], None]:
    return lambda members: members[f"{kind}.jsonl"].append(line)


def add_twin(kind: str, **fields: Any) -> Callable[[Contents], None]:
    return lambda members: members[f"{kind}.jsonl"].append(
        {**members[f"{kind}.jsonl"][0], **fields}
    )


def add_memory(**fields: Any) -> Callable[[Contents], None]:
    defaults = {"id": "mem_1", "text": "Likes tea.", "created_at": 1, "updated_at": 1}
    return add_line("memories", json.dumps({**defaults, **fields}).encode())


def add_schedule(**fields: Any) -> Callable[[Contents], None]:
    defaults = {"message": "Report.", "cron": "@daily", "created_at": 1, "updated_at": 1}
    return add_line("schedules", json.dumps({"id": "sched_1", **defaults, **fields}).encode())


LEVELS = '{"a":' * 200 + "1" + "}" * 200
DEEP = b'{"a":' * 100_000
BAD = {
    "wrong type": (change_record("threads", created_at="now"), "created_at"),
    "missing field": (add_line("messages", b'{"id":"msg_1"}'), "messages.jsonl, line"),
    "no JSON": (add_line("messages", b"{"), "messages.jsonl, line"),
    "no object": (add_line("assistants", b"[]"), "assistants.jsonl, line 2"),
    "NUL": (change_record("threads", title="a\0b"), "threads.jsonl, line 1, $.title"),
    "raw NUL": (add_line("threads", b'{"id":"\0"}'), "threads.jsonl, line"),
    "half a character": (add_line("threads", b'{"id":"\\ud800"}'), "threads.jsonl, line"),
    "no UTF-8": (add_line("threads", b'{"id":"\xff"}'), "threads.jsonl, line"),
    "huge number": (change_record("messages", created_at=2**63), "messages.jsonl, line 1"),
    "late time": (change_record("messages", created_at=2**60), "$.created_at"),
    "negative time": (change_record("actions", expires_at=-1), "$.expires_at"),
    "deep": (add_line("actions", DEEP), "actions.jsonl, line"),
    "deep value": (
        change_record("actions", arguments=json.loads('{"a":' * 200 + "1" + "}" * 200)),
        "deep",
    ),
    "long id": (change_record("threads", id="thread_" + "x" * 200), "$.id"),
    "other prefix": (change_record("threads", id="run_1"), "$.id"),
    "id with space": (change_record("threads", id="thread_a b"), "$.id"),
    "long model": (change_record("runs", model="m" * 10_000), "$.model"),
    "long call": (change_record("actions", tool_call_id="c" * 10_000), "$.tool_call_id"),
    "place 0": (change_record("messages", number=0), "$.number"),
    "place beyond": (change_record("messages", number=2**31), "$.number"),
    "unknown status": (change_record("runs", status="resting"), "runs.jsonl, line 1"),
    "end without time": (
        change_record("runs", status="completed", ended_at=None),
        "$.run.ended_at",
    ),
    "events beyond": (change_record("runs", events_after=10**6), "$.events_after"),
    "event 0": (change_record("events", first=0), "$.first"),
    "no event": (change_record("events", events=[{"type": "boom"}]), "$.events[0]"),
    "no events": (change_record("events", events=[]), "events.jsonl, line 1"),
    "another owner's usage": (change_record("usage", owner="eve"), "$.owner"),
    "another owner's entry": (change_record("audit", owner="eve"), "$.owner"),
    "nobody's entry": (change_record("audit", owner=None), "$.owner"),
    "another owner's key": (change_record("keys", owner="eve"), "$.owner"),
    "no deed": (change_record("audit", what="owner.crowned"), "audit.jsonl, line 1"),
    "no day": (change_record("usage", day="today"), "$.day"),
    "less than nothing": (change_record("usage", runs=-1), "$.runs"),
    "twin id": (add_twin("messages", number=77), "messages.jsonl, line"),
    "twin place": (add_twin("messages", id="msg_other"), "messages.jsonl, line"),
    "twin thread": (add_twin("threads"), "threads.jsonl, line"),
    "twin call": (add_twin("actions", id="act_other"), "actions.jsonl, line"),
    "twin events": (add_twin("events"), "events.jsonl, line"),
    "no bytes": (change_record("files", place="files/other"), "$.place"),
    "other size": (change_record("files", size=3), "$.place"),
    "path as name": (change_record("files", name="../x"), "files.jsonl, line 1"),
    "page as type": (change_record("files", media_type="text/html; x"), "$.media_type"),
    "twin file": (add_twin("files", id="file_other"), "files.jsonl, line"),
    "image without source": (
        change_record("messages", content=[{"type": "image"}]),
        "messages.jsonl",
    ),
    "local image": (
        change_record("messages", content=[{"type": "image", "url": "file:///etc/passwd"}]),
        "messages.jsonl",
    ),
    "nameless output": (
        change_record("messages", role="tool", tool_call_id=None),
        "messages.jsonl",
    ),
    "memory of another prefix": (add_memory(id="run_1"), "$.id"),
    "memory of two lines": (add_memory(text="a\nb"), "memories.jsonl, line 1"),
    "memory that hides": (add_memory(text="\u202ea"), "memories.jsonl, line 1"),
    "memory too long": (add_memory(text="x" * 301), "memories.jsonl, line 1"),
    "instructions too long": (
        add_line("personal_settings", json.dumps({"instructions": "x" * 4001}).encode()),
        "personal_settings.jsonl, line 1",
    ),
    "schedule of another prefix": (add_schedule(id="run_1"), "$.id"),
    "schedule without message": (add_schedule(message=""), "schedules.jsonl, line 1"),
    "schedule of no days": (add_schedule(cron="61 * * * *"), "schedules.jsonl, line 1"),
    "schedule of two kinds": (add_schedule(run_at=5), "cron or run_at"),
    "schedule of no kind": (add_schedule(cron=None), "cron or run_at"),
    "schedule of no zone": (add_schedule(timezone="Mars/Olympus"), "$.timezone"),
    "schedule beyond time": (add_schedule(cron=None, run_at=2**60), "$.run_at"),
    "schedule with all tools": (add_schedule(allowed_tools=["x" * 10_000]), "schedules.jsonl"),
    "schedule without end": (add_schedule(timeout=10**9), "schedules.jsonl, line 1"),
    "file nobody names": (lambda members: members.update({"files/x": b"x"}), "files/x"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_record_that_is_wrong_is_refused_with_its_place(
    members: Contents, tmp_path: Path, name: str
) -> None:
    damage, place = BAD[name]
    damage(members)

    error = await catch_error(write(tmp_path / "a.zip", members))

    assert place in error.full_message + str(error.details.get("where")), error.full_message


async def test_a_gap_in_a_log_is_refused(members: Contents, tmp_path: Path) -> None:
    [*_, log] = members["events.jsonl"]
    log["first"] = 2
    other_log = {**log, "first": 1, "events": log["events"][:2]}
    members["events.jsonl"].append(other_log)

    assert (
        "missing or there twice" in (await catch_error(write(tmp_path / "a.zip", members))).message
    )


async def test_a_line_that_is_too_long_is_refused(file: Path) -> None:
    error = await catch_error(file, bounds=Bounds(line=100))

    assert "line 1" in str(error.details["where"])


async def test_as_many_records_as_the_manifest_says_are_wanted(
    members: Contents, tmp_path: Path
) -> None:
    members["messages.jsonl"].pop()

    error = await catch_error(write(tmp_path / "a.zip", members, count=False))

    assert error.details["where"] == "messages.jsonl"


async def test_records_that_belong_to_nothing_are_left_out_and_counted(
    members: Contents, tmp_path: Path
) -> None:
    threads = members["threads.jsonl"]
    members["threads.jsonl"] = [each for each in threads if each["id"] != THREAD]
    store = MemoryStore(lambda: NOW)

    result = await import_archive(store, write(tmp_path / "a.zip", members))

    left_out = {"messages": 7, "runs": 1, "events": 1, "actions": 1}
    assert {kind: result.skipped[kind] for kind in left_out} == left_out
    assert result.added["threads"] == len(threads) - 1


async def test_a_message_whose_citations_an_earlier_version_kept_is_the_same_message(
    tmp_path: Path,
) -> None:
    store, citations = MemoryStore(lambda: NOW), (Citation(url=PAGE, title="Two  blanks"),)
    thread = Thread(id=THREAD, title="", messages=1, version=1, created_at=1, updated_at=1)
    message = a_message(1, "Two a day.", role="assistant", citations=citations)
    reply = replace(message, id=an_id("msg", 1), thread_id=THREAD)
    await store.import_records("ann", ImportBatch(threads=[(thread, None)], messages=[reply]))
    archive = await write_archive(store, tmp_path / "own.zip")

    second_import = await import_archive(store, archive)

    assert (second_import.added, second_import.unchanged["messages"]) == ({}, 1)
    assert (await store.get(Message, "ann", reply.id)).citations == citations
    other_contents = contents(archive)
    other_contents["messages.jsonl"][0]["citations"][0]["title"] = "Another"
    with pytest.raises(errors.Conflict):
        await import_archive(store, write(tmp_path / "other.zip", other_contents))


async def test_citations_come_in_as_those_of_a_provider_do(
    members: Contents, tmp_path: Path
) -> None:
    sent_citations = [
        {"url": "javascript:alert(1)", "title": "A page"},
        {"url": PAGE, "title": "The\n\u001b[2Jmoon \u202e !", "start": 5, "end": 2},
        {"url": "https://evil.example/>)[x](javascript:alert(1)"},
    ]
    replies = [each for each in members["messages.jsonl"] if each["role"] == "assistant"]
    [reply] = [each for each in replies if each["thread_id"] == THREAD]
    reply["citations"] = sent_citations
    [log] = [each for each in members["events.jsonl"] if each["run_id"] == ENDED]
    log["events"] = [
        {"type": "citations.added", "citations": sent_citations},
        {"type": "message.completed", "message": reply},
        *log["events"][2:],
    ]
    store = MemoryStore(lambda: NOW)

    await import_archive(store, write(tmp_path / "a.zip", members))

    stored_citations = (Citation(url=PAGE, title="The [2Jmoon !"),)
    assert (await store.get(Message, "ann", reply["id"])).citations == stored_citations
    first, second, *_ = (await store.read_events(log["run_id"], 0)).lines
    assert decode(first) == CitationsAdded(citations=stored_citations)
    assert cast("MessageCompleted", decode(second)).message.citations == stored_citations
    assert (await import_archive(store, tmp_path / "a.zip")).added == {}


# Random damage


def damaged_files(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw the file with some bytes changed, cut out or put in."""
    damaged = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(damaged) - 1))
        match draw(st.sampled_from(("turn", "cut", "add"))):
            case "turn":
                damaged[place] = draw(st.integers(0, 255))
            case "cut":
                del damaged[place : place + draw(st.integers(1, 64))]
            case _:
                damaged[place:place] = draw(st.binary(min_size=1, max_size=64))
    return bytes(damaged)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)

many_examples = settings(
    max_examples=4 * settings.default.max_examples,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.hypothesis
@many_examples
@given(data=st.data())
async def test_no_bytes_do_harm(file: Path, tmp_path: Path, data: st.DataObject) -> None:
    bad_file = tmp_path / "bad.zip"
    bad_file.write_bytes(data.draw(st.composite(damaged_files)(file.read_bytes())))

    await import_twice(bad_file)


@pytest.mark.hypothesis
@many_examples
@given(data=st.data())
async def test_no_values_do_harm(members: Contents, tmp_path: Path, data: st.DataObject) -> None:
    kinds = [name for name, records in members.items() if name.endswith(".jsonl") and records]
    changed_members = json.loads(json.dumps({name: members[name] for name in kinds}))
    for _ in range(data.draw(st.integers(1, 3))):
        record = data.draw(st.sampled_from(changed_members[data.draw(st.sampled_from(kinds))]))
        if not isinstance(record, dict):
            continue
        run_or_record = record.get("run", record)
        field = data.draw(st.sampled_from(sorted(run_or_record)))
        run_or_record[field] = data.draw(json_values)

    await import_twice(write(tmp_path / "bad.zip", {**members, **changed_members}))


async def import_twice(file: Path) -> OwnerImport | None:
    """Import twice: the second adds nothing. A refused import adds nothing at all."""
    store = MemoryStore(lambda: NOW)
    try:
        result = await import_archive(store, file)
    except (errors.InvalidRequest, errors.TooLarge):
        assert not (await store.owners(9)).data
        return None
    assert (await import_archive(store, file)).added == {}
    assert (await store.live_runs(9)).data == []
    return result
