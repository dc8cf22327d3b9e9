"""The stored thread equals the messages that a page builds from its runs' streams."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import msgspec
import pytest
from hypothesis import given
from msgspec.structs import replace

from antiphon.types.chunks import Finish, TextPiece
from antiphon.types.documents import Document
from antiphon.types.messages import File, Image, Message, Text, ToolCall, Upload
from antiphon.types.runs import Run, Status
from antiphon.types.thread_view import file_ids, group_entries
from antiphon.wires.ai_sdk.history import as_ui_message
from tests.support.wires.stories import TYPICAL, Story, begin_run, number_events, stories
from tests.support.wires.ui_judge import Judge, Parts
from tests.support.wires.ui_streams import encode_events

STOP = Finish("stop")


def list_messages(world: Story) -> list[Message]:
    return sorted(world.messages.values(), key=lambda message: message.number)


def list_ui_messages(
    messages: list[Message], runs: list[Run], world: Story | None = None, **files: Upload
) -> list[dict[str, Any]]:
    """Return the UI messages as JSON values."""
    actions = list(world.actions.values()) if world else []
    entries = [each for each in group_entries(messages, runs) if not each.is_active]
    return [
        msgspec.to_builtins(as_ui_message(each, actions=actions, files=files)) for each in entries
    ]


def history(world: Story) -> list[dict[str, Any]]:
    return list_ui_messages(list_messages(world), [run for run, _ in world.runs.values()], world)


def read_live(world: Story) -> Judge:
    return Judge(5).read(encode_events(number_events(world)))


def join_steps(parts: Parts, stored: set[str]) -> list[list[Any]]:
    """Return the joined parts of each step, in an order that stream and store share.

    Calls that are not `stored` are left out, and so is the order of outputs.
    """
    steps: list[Parts] = [[]]
    for part in parts:
        if part["type"] == "step-start":
            steps.append([])
        elif part["type"] == "data-status" and part["data"]["status"] == "done":
            steps.append([part])
        elif part.get("toolCallId") in stored or part["type"] != "dynamic-tool":
            steps[-1].append(part)
    return [
        [_join_parts(*each) for each in groupby(sorted(step, key=_kind), _kind)] for step in steps
    ]


def _kind(part: dict[str, Any]) -> tuple[str, str]:
    refuses = "refusal" in _facts(part)
    return part["type"], part.get("toolCallId") or part.get("id", "") or "refusal" * refuses


def _facts(part: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = part.get("providerMetadata", {}).get("antiphon", {})
    return facts


def _join_parts(kind: tuple[str, str], parts: Iterable[dict[str, Any]]) -> Any:
    if kind[0] == "reasoning":
        thoughts = list(parts)
        seconds = sum(_facts(part).get("seconds", 0) for part in thoughts)
        return "".join(part["text"] for part in thoughts), seconds
    if kind[0] == "text":
        return "".join(part["text"] for part in parts)
    return list(parts)


def call_ids_of(world: Story) -> set[str]:
    return {call.id for message in list_messages(world) for call in message.tool_calls}


def drop_empty_steps(steps: list[list[Any]]) -> list[list[Any]]:
    return [step for step in steps if step]


def is_approval_unseen(world: Story) -> bool:
    """Return whether a call was approved too late for its stream to show it."""
    return world.run.status in (Status.CANCELLED, Status.EXPIRED) and any(
        action.approval == "given" for action in world.actions.values()
    )


@pytest.mark.parametrize(
    "name", ["text", "slow-reasoning", "refused", "tool-call", "failed", "restarted"]
)
def test_a_run_of_the_store_has_the_very_parts_of_its_stream(name: str) -> None:
    world = TYPICAL[name]()
    [_, answer] = history(world)

    judge = read_live(world)
    assert answer["parts"] == judge.parts
    assert answer["id"] == judge.message["id"]
    metadata = judge.message["metadata"]
    assert answer["metadata"] == metadata | {
        "number": 2,
        "createdAt": world.run.created_at,
        "model": world.run.model,
    }


@pytest.mark.parametrize("name", sorted(TYPICAL.keys() - {"asked"}))
def test_a_typical_run_says_the_same_when_it_is_opened_again(name: str) -> None:
    world = TYPICAL[name]()
    [_, answer] = history(world)

    stored = call_ids_of(world)
    assert drop_empty_steps(join_steps(answer["parts"], stored)) == drop_empty_steps(
        join_steps(read_live(world).parts, stored)
    )


@given(stories())
def test_whatever_happened_the_history_is_what_the_stream_told(world: Story) -> None:
    messages = history(world)
    judge = read_live(world)

    assert messages[0]["role"] == "user"
    if not world.run.status.ended:
        assert len(messages) == 1
        return
    [_, answer] = messages
    assert answer["id"] == judge.message["id"]
    metadata = {key: answer["metadata"][key] for key in judge.message["metadata"]}
    assert metadata == judge.message["metadata"]
    if not is_approval_unseen(world):
        stored = call_ids_of(world)
        assert drop_empty_steps(join_steps(answer["parts"], stored)) == drop_empty_steps(
            join_steps(judge.parts, stored)
        )


def test_a_run_under_way_is_left_to_its_stream() -> None:
    [question] = history(TYPICAL["asked"]())

    assert question["role"] == "user"
    assert question["parts"] == [{"type": "text", "text": "hello"}]


# Messages beside the runs.


def number_messages(*thread_messages: Message) -> list[Message]:
    return [replace(message, number=number) for number, message in enumerate(thread_messages, 1)]


def message(role: Any, text: str = "", **fields: Any) -> Message:
    content = (Text(text),) if text else ()
    defaults: dict[str, Any] = {
        "id": "msg_1",
        "thread_id": "thread_1",
        "number": 1,
        "created_at": 5,
        "content": content,
    }
    return Message(role=role, **(defaults | fields))


def run(id: str, status: Status, messages_before: int, created_at: int = 5) -> Run:
    return Run(
        id=id,
        thread_id="thread_1",
        model="demo",
        status=status,
        messages_before=messages_before,
        created_at=created_at,
    )


def test_a_run_that_said_nothing_stands_behind_what_it_was_asked() -> None:
    thread_messages = number_messages(
        message("user", "One?", id="m1", created_at=10),
        message("user", "Two?", id="m2", created_at=20),
        message("assistant", "Two.", id="m3", run_id="r3", created_at=21),
    )
    runs = [
        run("r3", Status.COMPLETED, 1, 20),
        run("r2", Status.FAILED, 1, 15),  # started again, without a new message
        run("r1", Status.FAILED, 0, 10),
    ]

    assert [each["id"] for each in list_ui_messages(thread_messages, runs)] == [
        "m1",
        "r1",
        "r2",
        "m2",
        "r3",
    ]


def test_a_run_whose_place_was_given_to_another_is_gone() -> None:
    thread_messages = number_messages(
        message("user", "One?", id="m1", created_at=20),
        message("assistant", "One.", id="m2", run_id="r2", created_at=21),
    )
    runs = [run("r1", Status.CANCELLED, 0, 10), run("r2", Status.COMPLETED, 0, 20)]

    assert [each["id"] for each in list_ui_messages(thread_messages, runs)] == ["m1", "r2"]


def test_answers_that_were_copied_are_one_message_each() -> None:
    thread_messages = number_messages(
        message("user", "One?", id="m1"),
        message("assistant", "I look.", id="m2"),
        message("assistant", "One.", id="m3", status="incomplete"),
        message("user", "Two?", id="m4"),
    )
    [_, answer, _] = list_ui_messages(thread_messages, [])

    assert answer["id"] == "m2"
    assert [part["type"] for part in answer["parts"]] == ["step-start", "text"] * 2
    assert answer["metadata"]["status"] == "incomplete"
    assert "runId" not in answer["metadata"]


def test_a_summary_is_a_line_between_messages() -> None:
    thread_messages = number_messages(
        message("system", "Be kind.", id="m1"),
        message("system", "They talked.", id="m2", compacts=1),
    )
    [prompt, summary] = list_ui_messages(thread_messages, [])

    assert (prompt["role"], prompt["parts"]) == ("system", [{"type": "text", "text": "Be kind."}])
    [part] = summary["parts"]
    assert part["type"] == "data-compaction"
    assert part["data"] == {"compacts": 1, "text": "They talked."}


def test_files_are_named_by_an_address_of_the_page_and_pictures_by_their_own() -> None:
    content = (
        Text("Look:"),
        File("file_1"),
        Image(file_id="file_2"),
        Image(url="data:image/png;base64,AAAA"),
        Image(url="https://example.org/a.png"),
    )
    thread_messages = [message("user", content=content)]
    upload = Upload(id="file_1", name="a.pdf", media_type="application/pdf", size=1, created_at=1)
    [question] = list_ui_messages(thread_messages, [], file_1=upload)

    assert list(file_ids(thread_messages[0])) == ["file_1", "file_2"]
    assert [part for part in question["parts"] if part["type"] == "file"] == [
        {
            "type": "file",
            "url": "/api/files/file_1",
            "mediaType": "application/pdf",
            "filename": "a.pdf",
        },
        {
            "type": "file",
            "url": "/api/files/file_2",
            "mediaType": "application/octet-stream",
            "filename": "file_2",
        },
        {"type": "file", "url": "data:image/png;base64,AAAA", "mediaType": "image/png"},
        {"type": "file", "url": "https://example.org/a.png", "mediaType": "image/*"},
    ]


def test_a_document_without_text_says_so_in_its_part_and_a_picture_does_not() -> None:
    failed = Document(status="failed", reason="encrypted")
    read = Document(status="ready", pages=2)
    states = {"a.pdf": failed, "b.pdf": Document(status="pending"), "c.pdf": read, "d.png": failed}
    uploads = {
        name: Upload(
            id=name,
            name=name,
            media_type="image/png" if name == "d.png" else "application/pdf",
            size=1,
            created_at=1,
            document=state,
        )
        for name, state in states.items()
    }
    thread_messages = [message("user", content=tuple(map(File, states)))]
    [question] = list_ui_messages(thread_messages, [], **uploads)

    assert [part.get("providerMetadata") for part in question["parts"]] == [
        {"antiphon": {"document": {"status": "failed", "reason": "encrypted"}}},
        {"antiphon": {"document": {"status": "pending"}}},
        None,
        None,
    ]


def test_runs_of_one_thread_follow_each_other() -> None:
    world = begin_run()
    world.reply(TextPiece("One."), STOP)
    world.begin("And two?")
    world.claim()
    world.reply(TextPiece("Two."), STOP)

    assert [(each["role"], each["parts"][-2:][0].get("text")) for each in history(world)] == [
        ("user", "hello"),
        ("assistant", "One."),
        ("user", "And two?"),
        ("assistant", "Two."),
    ]


def test_a_thread_in_which_nothing_was_said_is_empty() -> None:
    assert list_ui_messages([], []) == []


def test_what_a_call_gave_beside_its_words_stands_after_it_as_files() -> None:
    call = ToolCall(id="c1", name="draw", arguments="{}")
    thread_messages = number_messages(
        message("user", "Draw.", id="m1"),
        message("assistant", id="m2", tool_calls=(call,), run_id="run_1"),
        message(
            "tool",
            "Done.",
            id="m3",
            tool_call_id="c1",
            run_id="run_1",
            metadata={"files": "file_1,file_gone"},
        ),
    )
    runs = [run("run_1", Status.COMPLETED, 0)]
    upload = Upload(id="file_1", name="a.png", media_type="image/png", size=1, created_at=1)
    [_, answer] = list_ui_messages(thread_messages, runs, file_1=upload)

    assert {each for message in thread_messages for each in file_ids(message)} == {
        "file_1",
        "file_gone",
    }
    assert [part for part in answer["parts"] if part["type"] == "data-files"] == [
        {
            "type": "data-files",
            "id": "c1",
            "data": {
                "toolCallId": "c1",
                "files": [
                    {
                        "type": "file",
                        "url": "/api/files/file_1",
                        "mediaType": "image/png",
                        "filename": "a.png",
                    }
                ],
            },
        }
    ]
