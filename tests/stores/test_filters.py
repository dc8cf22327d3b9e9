"""Each store finds records by the same filters, across threads and runs."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from antiphon.engine.snapshot import ChangeSet, ReadSet
from antiphon.ports import Store
from antiphon.stores.record_query import NAMES
from antiphon.types.folders import NO_FOLDER
from antiphon.types.messages import Feedback, Message, Upload
from antiphon.types.runs import Action, Assistant, Run, Status, Thread
from tests.support.stores.openers import Clock
from tests.support.stores.steps import (
    a_message,
    a_run,
    a_thread,
    add_thread,
    an_action,
    begin,
    move,
    page_through,
    say,
)


async def add_run(store: Store, number: int, **fields: Any) -> Run:
    """Add thread N with run N."""
    await add_thread(store, number)
    thread = f"thread_{number}"
    run = replace(a_run(number, thread), **fields)
    await store.change(ReadSet(owner="ann", thread_id=thread), begin(run))
    return run


async def add_actions(store: Store, run_id: str, *actions: Action) -> None:
    await store.change(ReadSet(owner=None, run_id=run_id), lambda _: ChangeSet(actions=actions))


async def runs(store: Store, **where: Any) -> list[str]:
    return await page_through(store, Run, 2, **where)


async def actions(store: Store, **where: Any) -> list[str]:
    return await page_through(store, Action, 2, **where)


@pytest.mark.slow
async def test_runs_are_found_by_status(store: Store) -> None:
    for number in range(1, 6):
        await add_run(store, number)
    for number in (2, 4):
        await store.change(ReadSet(owner=None, run_id=f"run_{number}"), move(Status.CANCELLED))

    assert await runs(store, status="queued") == ["run_5", "run_3", "run_1"]
    assert await runs(store, status="cancelled") == ["run_4", "run_2"]
    assert await runs(store, status="cancelled", order="oldest") == ["run_2", "run_4"]
    assert await runs(store, status="failed") == []
    assert (await store.list(Run, "bob", limit=9, status="queued")).data == []


async def test_runs_are_found_by_assistant_model_and_metadata(store: Store) -> None:
    await add_run(store, 1, model="demo", metadata={"team": "red", "stage": "a"})
    await add_run(store, 2, model="openai:x", metadata={"team": "red"}, assistant_id="asst_1")
    await add_run(store, 3, model="demo", metadata={"team": "blue"}, assistant_id="asst_1")

    assert await runs(store, model="demo") == ["run_3", "run_1"]
    assert await runs(store, assistant_id="asst_1") == ["run_3", "run_2"]
    assert await runs(store, metadata={"team": "red"}) == ["run_2", "run_1"]
    assert await runs(store, metadata={"team": "red", "stage": "a"}) == ["run_1"]
    assert await runs(store, metadata={}) == ["run_3", "run_2", "run_1"]
    assert await runs(store, metadata={"team": "red", "stage": "b"}) == []
    assert await runs(store, model="demo", assistant_id="asst_1", thread_id="thread_3") == ["run_3"]


@pytest.mark.parametrize("key", ["a.b", 'a"b', "$", "a'b", "[0]", "%", "ключ", "a\\u0000"])
async def test_a_key_of_metadata_is_only_a_key(store: Store, key: str) -> None:
    await add_thread(store, 1, metadata={key: "x' OR 1=1 --"})
    await add_thread(store, 2, metadata={"a": "x"})

    thread_ids = await page_through(store, Thread, 9, metadata={key: "x' OR 1=1 --"})

    assert thread_ids == ["thread_1"]
    assert await page_through(store, Thread, 9, metadata={key: "x"}) == []


async def test_a_document_with_nul_is_found_too(store: Store) -> None:
    await add_run(store, 1)
    odd = an_action(1, arguments={"a\\": "\\\x00 \x00"}, name="look", expires_at=9)
    await add_actions(store, "run_1", odd)

    assert await actions(store, status="pending", name="look") == [odd.id]


async def test_records_are_found_by_the_time_they_were_created(store: Store) -> None:
    for number in (1, 2, 3, 4):
        thread = replace(a_thread(number), created_at=number * 10)
        await store.change(
            ReadSet(owner="ann"), lambda _, new=thread: ChangeSet(thread=new, owner="ann")
        )

    thread_ids = await page_through(store, Thread, 2, created_after=10, created_before=40)

    assert thread_ids == ["thread_3", "thread_2"]
    assert await page_through(store, Thread, 9, created_after=40) == []


async def test_pinned_threads_are_found_and_no_title_can_say_so(store: Store) -> None:
    await add_thread(store, 1, pinned=True)
    await add_thread(store, 2, title='"pinned":true', metadata={"pinned": "true"})
    await add_thread(store, 3, pinned=True, owner="bob")

    assert await page_through(store, Thread, 9, pinned=True) == ["thread_1"]
    assert await page_through(store, Thread, 9, pinned=False) == ["thread_2"]
    assert await page_through(store, Thread, 9) == ["thread_2", "thread_1"]


async def test_archived_threads_are_found_and_no_title_can_say_so(store: Store) -> None:
    await add_thread(store, 1, archived=True)
    await add_thread(store, 2, title='"archived":true', metadata={"archived": "true"})

    assert await page_through(store, Thread, 9, archived=True) == ["thread_1"]
    assert await page_through(store, Thread, 9, archived=False) == ["thread_2"]
    assert await page_through(store, Thread, 9) == ["thread_2", "thread_1"]


@pytest.mark.parametrize("folder_id", ["folder_1", "x' OR 1=1 --", '"', "\\", "日本", "%_"])
async def test_threads_are_found_by_their_folder_and_by_no_other_text(
    store: Store, folder_id: str
) -> None:
    await add_thread(store, 1, folder_id=folder_id)
    await add_thread(store, 2, title=f'"folder_id":"{folder_id}"')
    await add_thread(store, 3, metadata={"folder_id": folder_id})
    await add_thread(store, 4, folder_id=f"{folder_id}0")
    await add_thread(store, 5, folder_id=folder_id, archived=True, metadata={"folder_id": "x"})
    await add_thread(store, 6, folder_id=folder_id, owner="bob")

    in_folder = await page_through(store, Thread, 1, folder_id=folder_id)
    in_none = await page_through(store, Thread, 9, folder_id=NO_FOLDER)

    assert in_folder == ["thread_5", "thread_1"]
    assert in_none == ["thread_3", "thread_2"]
    assert await page_through(store, Thread, 9, folder_id=folder_id, archived=False) == ["thread_1"]


@pytest.mark.parametrize("tag", ["work", "a b", "x' OR 1=1 --", '"]', "\\", "日本", "Ä%_"])
async def test_threads_are_found_by_a_whole_tag_and_by_no_other_text(
    store: Store, tag: str
) -> None:
    await add_thread(store, 1, tags=(tag, "other"))
    await add_thread(store, 2, title=f'"tags":["{tag}"]', metadata={"tags": tag})
    await add_thread(store, 3, tags=(f"{tag}s",))
    await add_thread(store, 4, tags=("other", tag), archived=True)
    await add_thread(store, 5, tags=(tag,), owner="bob")

    assert await page_through(store, Thread, 1, tag=tag) == ["thread_4", "thread_1"]
    assert await page_through(store, Thread, 9, tag=tag, archived=False) == ["thread_1"]


async def test_tags_are_counted_by_family_apart_from_the_archive(store: Store) -> None:
    await add_thread(store, 1, tags=("b", "a"))
    await add_thread(store, 2, tags=("a",), metadata={"replaces": "thread_1"})
    await add_thread(store, 3, tags=("a", "Z"), archived=True)
    await add_thread(store, 4, tags=("hidden",), temporary=True)
    await add_thread(store, 5, tags=("foreign",), owner="bob")
    await add_thread(store, 6, title='"tags":["c"]', metadata={"tags": "c"})

    assert await store.count_tags("ann", 9, "") == [("Z", 0, 1), ("a", 1, 1), ("b", 1, 0)]
    assert await store.count_tags("ann", 1, "Z") == [("a", 1, 1)]
    assert await store.count_tags("ann", 9, "b") == []


async def test_temporary_threads_are_found_and_no_title_can_say_so(store: Store) -> None:
    await add_thread(store, 1, temporary=True)
    await add_thread(store, 2, title='"temporary":true', metadata={"temporary": "true"})

    assert await page_through(store, Thread, 9, temporary=True) == ["thread_1"]
    assert await page_through(store, Thread, 9, temporary=False) == ["thread_2"]
    assert await page_through(store, Thread, 9) == ["thread_2", "thread_1"]


@pytest.mark.parametrize("key", NAMES)
async def test_threads_are_found_by_the_names_that_clients_gave_them(
    store: Store, key: str
) -> None:
    await add_thread(store, 1, metadata={key: "one"})
    await add_thread(store, 2, metadata={key: "one", "team": "red"})
    await add_thread(store, 3, metadata={key: 'an "odd" one'})
    await add_thread(store, 4, title=f'"{key}":"one"', metadata={"other": "one"})
    await add_thread(store, 5, metadata={key: "one"}, owner="bob")

    assert await page_through(store, Thread, 1, metadata={key: "one"}) == ["thread_2", "thread_1"]
    assert await page_through(store, Thread, 9, metadata={key: 'an "odd" one'}) == ["thread_3"]
    metadata = {key: "one", "team": "red"}
    assert await page_through(store, Thread, 9, metadata=metadata) == ["thread_2"]
    assert await page_through(store, Thread, 9, metadata={key: "two"}) == []


async def test_assistants_are_found_by_name(store: Store) -> None:
    plain = Assistant(id="asst_1", name="Ann's helper", model="demo", created_at=1, updated_at=1)
    for assistant in (
        plain,
        replace(plain, id="asst_2", name="other", instructions="Ann's helper"),
        replace(plain, id="asst_3"),
        replace(plain, id="asst_4", name=""),
    ):
        await store.put("ann", assistant)
    await store.put("bob", replace(plain, id="asst_5"))

    assert await page_through(store, Assistant, 1, name="Ann's helper") == ["asst_3", "asst_1"]
    assert await page_through(store, Assistant, 9, name="ann's helper") == []
    assert len(await page_through(store, Assistant, 9)) == 4


async def test_uploads_are_found_by_purpose_and_by_their_end(store: Store) -> None:
    plain = Upload(id="file_1", name="a", media_type="a/b", size=1, created_at=1)
    for upload in (
        plain,
        replace(plain, id="file_2", purpose="vision", name='"expires_at":1'),
        replace(plain, id="file_3", purpose="vision", expires_at=10),
        replace(plain, id="file_4", expires_at=20),
    ):
        await store.put("ann", upload, content=b"x")

    async def find(**where: Any) -> list[str]:
        return await page_through(store, Upload, 1, **where)

    assert await find() == ["file_4", "file_3", "file_2", "file_1"]
    assert await find(order="oldest", purpose="vision") == ["file_2", "file_3"]
    assert await find(purpose="batch") == []
    assert await find(expires_before=10) == []
    assert await find(expires_before=11) == ["file_3"]
    assert await find(expires_before=99) == ["file_4", "file_3"]
    assert (await store.list(Upload, None, limit=9, expires_before=11)).data[0].id == "file_3"


async def test_messages_of_all_threads_are_listed_as_they_came(store: Store) -> None:
    for number in (1, 2):
        await add_thread(store, number)
    first = a_message(1, "a")
    second = replace(a_message(1, "b"), id="msg_b", thread_id="thread_2", metadata={"k": "v"})
    third = replace(a_message(2, "c"), role="assistant", run_id="run_9")
    for message in (first, second, third):
        await store.change(ReadSet(owner="ann", thread_id=message.thread_id), say(message))

    async def find(**where: Any) -> list[str]:
        return await page_through(store, Message, 1, **where)

    assert await find() == [first.id, second.id, third.id]
    assert await find(order="newest") == [third.id, second.id, first.id]
    assert await find(role="assistant") == [third.id]
    assert await find(run_id="run_9") == [third.id]
    assert await find(metadata={"k": "v"}) == [second.id]
    assert (await store.list(Message, "bob", limit=9)).data == []


async def test_pending_calls_of_all_runs_are_found_by_what_they_are_and_by_their_run(
    store: Store,
) -> None:
    await add_run(store, 1, model="demo", assistant_id="asst_1", metadata={"team": "red"})
    await add_run(store, 2, model="other")
    one = an_action(1, name="search")
    two = an_action(2, name="book", status="completed")
    three = an_action(3, run="run_2", thread_id="thread_2", name="book")
    await add_actions(store, "run_1", one, two)
    await add_actions(store, "run_2", three)

    assert await actions(store) == [one.id, two.id, three.id]
    assert await actions(store, order="newest") == [three.id, two.id, one.id]
    assert await actions(store, status="pending") == [one.id, three.id]
    assert await actions(store, status="completed") == [two.id]
    assert await actions(store, status="pending", name=("book", "fly")) == [three.id]
    assert await actions(store, name="book") == [two.id, three.id]
    assert await actions(store, status="pending", model="demo") == [one.id]
    assert await actions(store, status="pending", assistant_id="asst_1") == [one.id]
    assert await actions(store, status="pending", metadata={"team": "red"}) == [one.id]
    assert await actions(store, status="pending", thread_id="thread_2") == [three.id]
    assert (await store.list(Action, "bob", limit=9, status="pending")).data == []


async def test_what_may_be_claimed_is_pending_free_and_for_the_client(
    store: Store, clock: Clock
) -> None:
    await add_run(store, 1)
    expires = 1_000
    fields: list[dict[str, Any]] = [
        {},
        {"claimed_until": 500},
        {"claimed_until": 501},
        {"runs_on": "server", "approval": "required"},
        {"status": "completed"},
        {"expires_at": 500},
    ]
    added = [
        an_action(number, **{"expires_at": expires, **each}) for number, each in enumerate(fields)
    ]
    await add_actions(store, "run_1", *added)

    assert await actions(store, status="pending", claimable_at=500) == [added[0].id, added[1].id]


async def test_of_two_that_change_one_action_the_second_sees_what_the_first_wrote(
    store: Store,
) -> None:
    await add_run(store, 1)
    await add_actions(store, "run_1", an_action(1))
    attempts: list[int] = []

    for _ in range(2):

        def decide(records: Any) -> ChangeSet:
            (action,) = records.actions
            attempts.append(action.attempt)
            return ChangeSet(actions=(replace(action, attempt=action.attempt + 1),))

        await store.change(ReadSet(owner="ann", run_id="run_1", tool_call_id="call_1"), decide)

    assert attempts == [0, 1]
    assert (await store.get(Action, "ann", an_action(1).id)).attempt == 2


async def test_messages_are_found_by_their_rating(store: Store) -> None:
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    await add_thread(store)
    await store.change(
        read_set,
        say(
            a_message(1, '"feedback":{"rating":"up"}', metadata={"rating": "up"}),
            *(a_message(number, "reply", role="assistant") for number in (2, 3, 4)),
        ),
    )
    for number, rating in ((2, "up"), (4, "down")):
        feedback = Feedback(rating=rating, comment="because", created_at=1)
        await store.save_feedback("ann", f"msg_thread_1_{number}_5", feedback)

    async def find(**where: str) -> list[str]:
        return await page_through(store, Message, 1, **where)

    up, down = "msg_thread_1_2_5", "msg_thread_1_4_5"
    assert await find(rating="up") == [up]
    assert await find(rating="down", thread_id="thread_1") == [down]
    assert await find(rating="any") == [up, down]
    assert (await store.list(Message, "bob", limit=9, rating="any")).data == []
