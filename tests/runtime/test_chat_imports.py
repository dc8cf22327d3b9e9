"""Exports of other chats become archives: branches, calls, files, and nothing of anybody else's."""

from __future__ import annotations

import io
import json
import random
import zipfile
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import errors
from antiphon.runtime.imports import conversations
from antiphon.runtime.imports import convert as convert_module
from antiphon.runtime.imports.conversations import ImportedConversation, SourceMessage
from antiphon.runtime.imports.conversion import Converted
from antiphon.runtime.imports.convert import convert_export
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
    content: bytes, owner: str = "ann", **options: Any
) -> tuple[Converted, dict[str, list[Json]], bytes]:
    """Convert the export; return the result, the records by kind, and the archive."""
    target = io.BytesIO()
    result = convert_export(io.BytesIO(content), target, owner, **options)
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


def test_chatgpts_tree_becomes_branches_with_calls_thoughts_and_pictures() -> None:
    content = as_zip(
        **{
            "x__conversations-000_dot_json": as_json(chatgpt()),
            "x__conversations-001_dot_json": as_json(chatgpt("c2")),
            "x__file-abc-cat_dot_png": PNG,
            "x__user_dot_json": b"{}",
        }
    )

    result, records, _ = convert(content)

    assert (result.source, result.conversations, result.threads) == ("chatgpt", 2, 4)
    shown_thread, other_thread = records["threads"][:2]
    assert texts(records, shown_thread) == [
        ("user", "What is it?"),
        ("assistant", ""),
        ("tool", "dog"),
        ("assistant", "A dog."),
    ]
    assert texts(records, other_thread) == [("user", "What is it?"), ("assistant", "A cat.")]
    assert shown_thread["metadata"]["replaces"] == shown_thread["family"] == other_thread["id"]
    assert shown_thread["metadata"]["branch_begins"] == "2"
    assert shown_thread["updated_at"] > other_thread["updated_at"]
    assert shown_thread["title"] == "<script>alert(1)</script> [31m"
    call, output, last = [
        each for each in records["messages"] if each["thread_id"] == shown_thread["id"]
    ][1:]
    assert call["reasoning"] == "Let me look."
    assert call["tool_calls"][0]["arguments"] == '{"code":"look()"}'
    assert output["tool_call_id"] == call["tool_calls"][0]["id"]
    assert last["metadata"] == {"model": "gpt-5"}
    assert "Be a spy" not in json.dumps(records)
    assert [each["media_type"] for each in records["files"]] == ["image/png"] * 2


def test_claudes_blocks_become_messages_and_its_attachments_files() -> None:
    result, records, _ = convert(as_json(CLAUDE))

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


def test_open_webuis_history_becomes_threads_of_the_importing_owner() -> None:
    result, records, archive = convert(as_json(OPEN_WEBUI))

    assert (result.source, result.threads, result.files) == ("open-webui", 2, 1)
    shown_thread, other_thread = records["threads"]
    assert texts(records, shown_thread)[-1] == ("assistant", "Meow")
    assert texts(records, other_thread)[-1] == ("assistant", "Purr")
    assert shown_thread["archived"]
    assert b"somebody-else" not in archive


def test_the_same_export_gives_the_same_archive_and_another_owner_other_ids() -> None:
    _, own_records, first_archive = convert(as_json(chatgpt(), chatgpt("c2")))
    _, _, second_archive = convert(as_json(chatgpt(), chatgpt("c2")))
    _, other_records, _ = convert(as_json(chatgpt(), chatgpt("c2")), "ben")

    def ids(records: dict[str, list[Json]]) -> set[str]:
        return {each["id"] for kind in records for each in records[kind]}

    assert first_archive == second_archive
    assert not ids(own_records) & ids(other_records)


def test_what_was_imported_before_is_left_out_and_what_is_new_is_not() -> None:
    _, records, _ = convert(as_json(chatgpt()))
    known_ids = {each["id"] for each in records["threads"]}

    result, new_records, _ = convert(as_json(chatgpt(), chatgpt("c2")), known=known_ids)

    assert (result.present, result.conversations) == (1, 1)
    assert not known_ids & {each["id"] for each in new_records["threads"]}


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
    content: bytes,
) -> None:
    with pytest.raises(errors.InvalidRequest) as excinfo:
        convert(content)

    assert excinfo.value.details.get("expected")


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
def test_odd_trees_lose_what_cannot_be_read_and_nothing_else(mapping: Json) -> None:
    result, records, _ = convert(
        as_json(chatgpt("odd", mapping=mapping, current_node="a"), chatgpt())
    )

    assert 1 <= result.conversations <= 2
    assert any("A dog." in text for each in records["threads"] for _, text in texts(records, each))


def test_a_conversation_that_nests_too_deep_does_not_stop_the_others() -> None:
    deep_export = b'{"mapping": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"

    result, _, _ = convert(as_json(chatgpt())[:-1] + b"," + deep_export + b"]")

    assert result.conversations == 1
    assert result.skipped["unreadable conversations"] == 1


def attachments(*names: str, key: str = "c1") -> Json:
    """Return a conversation of ChatGPT that names one member of its export many times."""
    nodes = [
        node(
            f"m{place}",
            f"m{place - 1}" if place else None,
            "user",
            "See.",
            metadata={"attachments": [{"id": "file-abc", "name": name}]},
        )
        for place, name in enumerate(names)
    ]
    mapping = {each["id"]: each for each in nodes}
    return chatgpt(key, mapping=mapping, current_node=nodes[-1]["id"])


def test_a_member_that_a_conversation_names_often_is_one_file() -> None:
    conversation = attachments(*(f"{number}.bin" for number in range(40)))
    content = as_zip(
        conversations_dot_json=as_json(conversation), **{"file-abc-x_dot_bin": bytes(1 << 20)}
    )

    result, records, archive = convert(content)

    with zipfile.ZipFile(io.BytesIO(archive)) as zip_file:
        size = sum(each.file_size for each in zip_file.infolist())
    assert result.files == 1
    assert size < 2 << 20
    assert len(records["messages"]) == 40
    assert {each["content"][1]["file_id"] for each in records["messages"]} == {
        records["files"][0]["id"]
    }


def test_contents_are_bounded_together_and_counted_as_often_as_they_are_written() -> None:
    member = {"file-abc-x_dot_bin": bytes(40_000)}
    limit = 100_000
    two_conversations = [attachments("a.bin", key=f"c{number}") for number in range(2)]
    three_conversations = [attachments("a.bin", key=f"c{number}") for number in range(3)]

    small_export = as_zip(conversations_dot_json=as_json(*two_conversations), **member)
    result, _, _ = convert(small_export, max_total=limit)
    large_export = as_zip(conversations_dot_json=as_json(*three_conversations), **member)
    with pytest.raises(errors.TooLarge) as excinfo:
        convert(large_export, max_total=limit)

    assert result.files == 2
    assert "100,000 bytes" in str(excinfo.value.details["expected"])


def tree(*nodes: tuple[str, str | None], **fields: Any) -> ImportedConversation:
    """Return a conversation of nodes, each with its parent, the oldest first."""
    messages = {
        key: SourceMessage(id=key, parent=parent, text=key, at=at)
        for at, (key, parent) in enumerate(nodes)
    }
    return ImportedConversation(
        id="c", title="", created_at=1, updated_at=1, **{"messages": messages, **fields}
    )


class CountingMessages(dict[str, SourceMessage]):
    """Messages that count how often each of them is looked up."""

    visits = 0

    def __getitem__(self, key: str) -> SourceMessage:
        self.visits += 1
        return super().__getitem__(key)


def test_branches_without_number_visit_each_message_only_a_few_times() -> None:
    chain = [(f"m{number}", f"m{number - 1}" if number else None) for number in range(500)]
    leaves = [(f"leaf{number}", "m499") for number in range(19_500)]
    conversation = tree(*chain, *leaves, current="leaf0")
    messages = CountingMessages(conversation.messages)

    branches = msgspec.structs.replace(conversation, messages=messages).branches()

    assert messages.visits < 10 * 20_000
    leaf_ids = [path[-1].id for path in branches.paths]
    assert leaf_ids == [f"leaf{number}" for number in range(19_451, 19_500)] + ["leaf0"]
    assert branches.left_out == 19_450


def test_hidden_messages_make_no_branches_and_are_visited_once() -> None:
    conversation = tree(("a", None), ("b", "a"))
    hidden_messages = {
        f"h{number}": SourceMessage(
            id=f"h{number}", parent=f"h{number - 1}" if number else "b", hidden=True
        )
        for number in range(5000)
    }
    last_messages = {
        f"e{number}": SourceMessage(id=f"e{number}", parent="h4999", hidden=True)
        for number in range(5000)
    }
    messages = CountingMessages({**conversation.messages, **hidden_messages, **last_messages})

    branches = msgspec.structs.replace(conversation, messages=messages, current="e7").branches()

    assert [[each.id for each in path] for path in branches.paths] == [["a", "b"]]
    assert messages.visits < 10 * len(messages)


def test_a_branch_that_goes_on_after_the_one_that_is_shown_is_the_last() -> None:
    nodes = [("a", None), ("b", "a"), ("c", "b"), ("d", "b"), ("e", "a")]

    def leaf_ids(**fields: Any) -> list[str]:
        return [path[-1].id for path in tree(*nodes, **fields).branches().paths]

    assert leaf_ids() == ["c", "d", "e"]
    assert leaf_ids(current="b") == ["d", "e", "c"]
    assert leaf_ids(current="d") == ["c", "e", "d"]
    assert leaf_ids(current="gone") == ["c", "d", "e"]


def test_of_a_branch_that_is_too_long_the_newest_messages_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversations, "MAX_PATH", 3)
    nodes = [node(f"m{n}", f"m{n - 1}" if n else None, "user", f"text {n}") for n in range(5)]
    mapping = {each["id"]: each for each in nodes}

    result, records, _ = convert(as_json(chatgpt(mapping=mapping, current_node="m4")))

    assert [text for _, text in texts(records, records["threads"][0])] == [
        "text 2",
        "text 3",
        "text 4",
    ]
    assert result.skipped == {"beginnings of long branches": 1}


def test_a_conversation_of_too_many_messages_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(convert_module, "MAX_NODES", 10)
    mapping = {f"m{n}": node(f"m{n}", None, "user", "hi") for n in range(11)}

    result, _, _ = convert(as_json(chatgpt("large", mapping=mapping), chatgpt()))

    assert (result.conversations, result.skipped) == (
        1,
        {"conversations of too many messages": 1, "files that are not in the export": 2},
    )


def test_conversations_beyond_the_limits_are_left_out_and_never_in_memory() -> None:
    long_text = [b'"', *[b"x" * 1000] * 100, b'"']

    items = read_items(iter([b"[1,", *long_text, b',[2],"', b'",{}]']), 50_000, max_signs=3)

    assert list(items) == [b"1", None, b"[2]", b'""', b"{}"]
    read_values = read_items(iter([b"[[1,2,3,4],", b"5]"]), 50_000, max_signs=3)
    assert list(read_values) == [None, b"5"]


def test_a_conversation_or_message_that_is_too_large_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(convert_module, "MAX_CONVERSATION", 20_000)
    monkeypatch.setattr(convert_module, "MAX_MESSAGE", 5_000)
    nodes = [node("q", None, "user", "hi"), node("a", "q", "assistant", "x" * 6_000)]
    long_conversation = chatgpt(
        "long", mapping={each["id"]: each for each in nodes}, current_node="a"
    )
    large_conversation = chatgpt("large", more="x" * 30_000)

    result, records, _ = convert(as_json(large_conversation, long_conversation, chatgpt("c1")))

    assert result.conversations == 1
    assert result.skipped["conversations that are too large"] == 2
    assert {each["metadata"]["source_id"] for each in records["threads"]} == {"c1"}


def damage(content: bytes, name: str) -> bytes:
    """Change the compressed bytes of a member."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        info = archive.getinfo(name)
    data = bytearray(content)
    start = info.header_offset + 30 + len(name)
    data[start : start + info.compress_size] = b"\xff" * info.compress_size
    return bytes(data)


def test_a_damaged_member_of_conversations_is_named() -> None:
    content = damage(as_zip(**{"conversations.json": as_json(CLAUDE)}), "conversations.json")

    with pytest.raises(errors.InvalidRequest, match=r"^conversations\.json in the export cannot"):
        convert(content)


def test_a_damaged_file_of_a_conversation_is_left_out_and_nothing_else() -> None:
    conversation = attachments("a.bin", "b.bin")
    members = {"conversations.json": as_json(conversation), "file-abc-x.bin": bytes(1000)}

    result, records, _ = convert(damage(as_zip(**members), "file-abc-x.bin"))

    assert (result.conversations, result.files) == (1, 0)
    assert result.skipped == {"files that are damaged": 2}
    assert [text for _, text in texts(records, records["threads"][0])] == [
        "See.[a.bin]",
        "See.[b.bin]",
    ]


@given(seed=st.integers(0, 2**32))
def test_a_damaged_zip_is_read_or_refused(seed: int) -> None:
    rng = random.Random(seed)
    members = {"conversations.json": as_json(chatgpt()), "file-abc-ü": PNG}
    content = bytearray(as_zip(**members))
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(len(content))] = rng.randrange(256)

    with suppress(errors.InvalidRequest, errors.TooLarge):
        convert(bytes(content))


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
