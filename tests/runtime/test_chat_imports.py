"""Exports of other chats become archives: branches, calls, files, and nothing of anybody else's."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import errors
from antiphon.runtime.imports.convert import Converted, convert_export
from antiphon.runtime.imports.json_items import read_items
from tests.support.runtime.chat_exports import (
    CLAUDE,
    OPEN_WEBUI,
    PNG,
    as_json,
    as_zip,
    chatgpt,
    node,
)

Json = dict[str, Any]


def convert(
    folder: Path, content: bytes, owner: str = "ann", **more: Any
) -> tuple[Converted, dict[str, list[Json]], bytes]:
    """Convert; return the result, the records by kind, and the archive."""
    path = folder / "export"
    path.write_bytes(content)
    target = io.BytesIO()
    result = convert_export(path, target, owner, **more)
    with zipfile.ZipFile(target) as archive:
        records = {
            name.removesuffix(".jsonl"): [
                json.loads(line) for line in archive.read(name).splitlines()
            ]
            for name in archive.namelist()
            if name.endswith(".jsonl")
        }
    return result, records, target.getvalue()


def texts(records: dict[str, list[Json]], thread: Json) -> list[tuple[str, str]]:
    return [
        (each["role"], "".join(part.get("text", "") for part in each["content"]))
        for each in records["messages"]
        if each["thread_id"] == thread["id"]
    ]


def test_chatgpts_tree_becomes_branches_with_calls_thoughts_and_pictures(tmp_path: Path) -> None:
    content = as_zip(
        **{
            "x__conversations-000_dot_json": as_json(chatgpt()),
            "x__conversations-001_dot_json": as_json(chatgpt("c2")),
            "x__file-abc-cat_dot_png": PNG,
            "x__user_dot_json": b"{}",
        }
    )

    result, records, _ = convert(tmp_path, content)

    assert (result.source, result.conversations, result.threads) == ("chatgpt", 2, 4)
    shown, other = records["threads"][:2]
    assert texts(records, shown) == [
        ("user", "What is it?"),
        ("assistant", ""),
        ("tool", "dog"),
        ("assistant", "A dog."),
    ]
    assert texts(records, other) == [("user", "What is it?"), ("assistant", "A cat.")]
    assert shown["metadata"]["replaces"] == shown["family"] == other["id"]
    assert shown["metadata"]["branch_begins"] == "2"
    assert shown["updated_at"] > other["updated_at"]
    assert shown["title"] == "<script>alert(1)</script> [31m"
    call, output, last = [each for each in records["messages"] if each["thread_id"] == shown["id"]][
        1:
    ]
    assert call["reasoning"] == "Let me look."
    assert call["tool_calls"][0]["arguments"] == '{"code":"look()"}'
    assert output["tool_call_id"] == call["tool_calls"][0]["id"]
    assert last["metadata"] == {"model": "gpt-5"}
    assert "Be a spy" not in json.dumps(records)
    assert [each["media_type"] for each in records["files"]] == ["image/png"] * 2


def test_claudes_blocks_become_messages_and_its_attachments_files(tmp_path: Path) -> None:
    result, records, _ = convert(tmp_path, as_json(CLAUDE))

    assert result.skipped == {"files that are not in the export": 2}
    by_length = sorted(records["threads"], key=lambda each: each["messages"])
    assert texts(records, by_length[0])[1:] == [("assistant", "By bus.")]
    assert texts(records, by_length[1])[1:] == [
        ("assistant", "I look."),
        ("assistant", ""),
        ("tool", "09:05"),
        ("assistant", "At 09:05."),
    ]
    (call,) = [each for each in records["messages"] if each["tool_calls"]]
    assert call["tool_calls"][0]["name"] == "web_search"
    assert [(each["name"], each["media_type"]) for each in records["files"]] == [
        ("notes.txt", "text/plain")
    ]
    assert by_length[0]["created_at"] // 1000 in (1735787045, 1735787046)


def test_open_webuis_history_becomes_threads_of_the_importing_owner(tmp_path: Path) -> None:
    result, records, archive = convert(tmp_path, as_json(OPEN_WEBUI))

    assert (result.source, result.threads, result.files) == ("open-webui", 2, 1)
    shown, other = records["threads"]
    assert texts(records, shown)[-1] == ("assistant", "Meow")
    assert texts(records, other)[-1] == ("assistant", "Purr")
    assert shown["archived"]
    assert b"somebody-else" not in archive


def test_the_same_export_gives_the_same_archive_and_another_owner_other_ids(
    tmp_path: Path,
) -> None:
    _, mine, first = convert(tmp_path, as_json(chatgpt(), chatgpt("c2")))
    _, _, again = convert(tmp_path, as_json(chatgpt(), chatgpt("c2")))
    _, theirs, _ = convert(tmp_path, as_json(chatgpt(), chatgpt("c2")), "ben")

    def ids(records: dict[str, list[Json]]) -> set[str]:
        return {each["id"] for kind in records for each in records[kind]}

    assert first == again
    assert not ids(mine) & ids(theirs)


def test_what_was_imported_before_is_left_out_and_what_is_new_is_not(tmp_path: Path) -> None:
    _, records, _ = convert(tmp_path, as_json(chatgpt()))
    known = {each["id"] for each in records["threads"]}

    result, later, _ = convert(tmp_path, as_json(chatgpt(), chatgpt("c2")), known=known)

    assert (result.present, result.conversations) == (1, 1)
    assert not known & {each["id"] for each in later["threads"]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no json",
        b'[{"mapping": {}}',
        b'[{"other": 1}]',
        b"{}",
        b"PK\x03\x04 broken",
        as_zip(user_dot_json=b"{}"),
        as_zip(conversations_dot_json=b"[1, 2]"),
        b'"' + b"x" * 100,
    ],
)
def test_a_file_that_is_no_export_is_refused_with_what_is_wrong(
    tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(errors.InvalidRequest) as refused:
        convert(tmp_path, content)

    assert refused.value.details.get("expected")


@pytest.mark.parametrize(
    "mapping",
    [
        {"a": {"parent": "b"}, "b": {"parent": "a"}},
        {"a": {"parent": "a", "message": {"author": 7, "content": []}}},
        {"a": None, "b": [], "c": {"message": {"author": {"role": "user"}, "content": 3}}},
        {"a": node("a", "gone", "user", "hi \ud800 \x00", create_time="never")},
        {"a": node("a", None, "user", "hi", create_time=-1e300)},
    ],
)
def test_odd_trees_lose_what_cannot_be_read_and_nothing_else(tmp_path: Path, mapping: Json) -> None:
    result, records, _ = convert(
        tmp_path, as_json(chatgpt("odd", mapping=mapping, current_node="a"), chatgpt())
    )

    assert 1 <= result.conversations <= 2
    assert any("A dog." in text for each in records["threads"] for _, text in texts(records, each))


def test_a_conversation_that_nests_too_deep_does_not_stop_the_others(tmp_path: Path) -> None:
    deep = b'{"mapping": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"

    result, _, _ = convert(tmp_path, as_json(chatgpt())[:-1] + b"," + deep + b"]")

    assert result.conversations == 1
    assert result.skipped["unreadable conversations"] == 1


def test_a_conversation_beyond_the_limit_is_refused_before_it_is_in_memory() -> None:
    with pytest.raises(errors.TooLarge):
        list(read_items(iter([b"[", b'"', *[b"x" * 1000] * 100]), 50_000))


@given(
    items=st.lists(
        st.dictionaries(st.text(), st.text() | st.lists(st.text(max_size=4)), max_size=4),
        max_size=5,
    ),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=5),
)
def test_items_are_the_same_wherever_the_text_is_cut(items: list[Json], sizes: list[int]) -> None:
    text = json.dumps(items, indent=1).encode()
    pieces, place, turn = [], 0, 0
    while place < len(text):
        size = sizes[turn % len(sizes)]
        pieces.append(text[place : place + size])
        place, turn = place + size, turn + 1

    assert [json.loads(each) for each in read_items(pieces, 10_000)] == items
