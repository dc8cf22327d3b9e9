"""Conversations and their items, as the official Python client sees them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest
from msgspec.structs import replace
from openai import AsyncOpenAI, OpenAI

from antiphon import AsyncClient
from antiphon.api.operations import NewMessage
from antiphon.testing.script import Script
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import McpServer, Run, Status
from tests.support.server.served import SETTINGS, Served, serve

TOOL_SERVER = Path(__file__).parents[1] / "support/harness/tool_server.py"
LOOK = ToolSpec("look")
HI: dict[str, Any] = {"role": "user", "content": "Hi."}
YES: dict[str, Any] = {"role": "assistant", "content": "Yes?"}
CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": 1}'}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "found"}


class Place(NamedTuple):
    """Server with a scripted model, OpenAI's client of it, and our client."""

    server: Served
    script: Script
    client: AsyncOpenAI
    native_client: AsyncClient

    @property
    def items(self) -> Any:
        return self.client.conversations.items

    async def create(self, *items: Any, **options: Any) -> str:
        conversation = await self.client.conversations.create(items=list(items), **options)
        return conversation.id

    async def texts(self, conversation: str) -> list[str]:
        """Return the messages of the thread behind a conversation."""
        thread_id = conversation.replace("conv_", "thread_")
        messages = (await self.native_client.list_messages(thread_id, limit=100)).data
        return [f"{message.role}: {message.text}" for message in messages]

    async def wait_for_call(self, *outcomes: str, thread_id: str | None = None) -> Run:
        """Return a run whose model called `look` once for each outcome, and waits for these."""
        self.script.calls(*(("look", {"at": n}) for n, _ in enumerate(outcomes)))
        turn = self.native_client.process(
            thread_id=thread_id, message=NewMessage("Look."), tools=(LOOK,)
        )
        _ = [event async for event in turn]
        return await self.native_client.get_run(str(turn.run_id))


@asynccontextmanager
async def open_place(**settings: Any) -> AsyncIterator[Place]:
    script = Script()
    async with (
        serve(replace(SETTINGS, model=script.model, **settings)) as server,
        AsyncClient(server.url) as native_client,
        AsyncOpenAI(
            base_url=f"{server.url}/openai/v1", api_key="none", max_retries=0, timeout=20
        ) as client,
    ):
        yield Place(server, script, client, native_client)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with open_place() as place:
        yield place


def conversation_of(run: Run) -> str:
    return run.thread_id.replace("thread_", "conv_")


def types(items: Any) -> list[str]:
    return [item.type for item in items]


def texts_of(items: Any) -> list[str]:
    return [item.content[0].text for item in items if item.type == "message"]


# Conversations.


async def test_a_conversation_is_created_read_changed_and_deleted(place: Place) -> None:
    created = await place.client.conversations.create(metadata={"topic": "bees"})
    retrieved = await place.client.conversations.retrieve(created.id)
    updated = await place.client.conversations.update(created.id, metadata={"topic": "cows"})

    assert created.object == "conversation"
    assert retrieved == created
    assert (updated.id, updated.metadata) == (created.id, {"topic": "cows"})
    assert (
        created.created_at
        == (await place.native_client.get_thread(thread_of(created.id))).created_at // 1000
    )
    deleted = await place.client.conversations.delete(created.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (
        created.id,
        True,
        "conversation.deleted",
    )
    with pytest.raises(openai.NotFoundError):
        await place.client.conversations.retrieve(created.id)


def thread_of(conversation: str) -> str:
    return conversation.replace("conv_", "thread_")


async def test_a_conversation_may_begin_with_items(place: Place) -> None:
    conversation = await place.create(HI, YES, {**HI, "content": "Look."}, CALL, OUTPUT)

    page = await place.items.list(conversation, order="asc")

    assert types(page.data) == [
        "message",
        "message",
        "message",
        "function_call",
        "function_call_output",
    ]
    assert texts_of(page.data) == ["Hi.", "Yes?", "Look."]
    assert (page.first_id, page.last_id) == (page.data[0].id, page.data[-1].id)
    assert page.has_more is False
    assert (await place.native_client.get_thread(thread_of(conversation))).title == "Hi."


async def test_a_thread_of_another_face_is_a_conversation(place: Place) -> None:
    place.script.reply("Hello.", reasoning="A greeting.")
    turn = place.native_client.process(message=NewMessage("Hi."))
    _ = [event async for event in turn]
    run = await place.native_client.get_run(str(turn.run_id))

    items = [item async for item in await place.items.list(conversation_of(run), order="asc")]

    assert types(items) == ["message", "reasoning", "message"]
    assert items[1].summary[0].text == "A greeting."
    assert items[2].content[0].text == "Hello."
    for item in items:
        assert await place.items.retrieve(item.id, conversation_id=conversation_of(run)) == item


def test_the_synchronous_client_does_the_same() -> None:
    def work(client: OpenAI) -> None:
        conversation = client.conversations.create(items=[HI], metadata=None)
        client.conversations.items.create(conversation.id, items=[YES])

        (last,) = client.conversations.items.list(conversation.id, limit=1).data

        assert texts_of([last]) == ["Yes?"]
        client.conversations.items.delete(last.id, conversation_id=conversation.id)
        assert texts_of(client.conversations.items.list(conversation.id)) == ["Hi."]
        assert client.conversations.delete(conversation.id).deleted

    async def work_in_thread() -> None:
        async with open_place() as place:
            with OpenAI(base_url=f"{place.server.url}/openai/v1", api_key="none") as client:
                await asyncio.to_thread(work, client)

    asyncio.run(work_in_thread())


# Lists.


@pytest.mark.slow
async def test_items_are_listed_in_pages_both_ways(place: Place) -> None:
    messages = [{"role": "user", "content": f"{n}"} for n in range(7)]
    calls = [
        {**CALL, "call_id": "a"},
        {**CALL, "call_id": "b"},
        {**OUTPUT, "call_id": "b"},
        {**OUTPUT, "call_id": "a"},
    ]
    conversation = await place.create(*messages[:4], *calls, *messages[4:])
    all_items = (await place.items.list(conversation, order="asc", limit=100)).data
    assert len(all_items) == 11

    for limit in (1, 2, 3, 10, 11, 100):
        for order, expected_items in (("asc", all_items), ("desc", all_items[::-1])):
            items: list[Any] = []
            after: Any = openai.omit
            while True:
                page = await place.items.list(conversation, order=order, limit=limit, after=after)
                items += page.data
                if not page.has_more:
                    break
                after = page.last_id
            assert items == expected_items
    newest = await place.items.list(conversation)
    assert newest.data == all_items[::-1]
    for index, item in enumerate(all_items):
        page = await place.items.list(conversation, order="asc", after=item.id)
        assert page.data == all_items[index + 1 :]


async def test_an_empty_conversation_has_an_empty_list(place: Place) -> None:
    page = await place.items.list(await place.create())

    assert (page.data, page.has_more) == ([], False)


async def test_encrypted_reasoning_comes_when_it_is_included(place: Place) -> None:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
    conversation = await place.create(HI, thought, YES)

    page = await place.items.list(conversation, include=["reasoning.encrypted_content"])
    plain_page = await place.items.list(conversation)

    (reasoning,) = [item for item in page.data if item.type == "reasoning"]
    (bare,) = [item for item in plain_page.data if item.type == "reasoning"]
    assert bare.encrypted_content is None
    copy_id = await place.create(
        HI,
        {"type": "reasoning", "summary": [], "encrypted_content": reasoning.encrypted_content},
        YES,
    )
    (copied_reasoning,) = [
        i for i in (await place.items.list(copy_id)).data if i.type == "reasoning"
    ]
    assert copied_reasoning.summary[0].text == "Hm."


# Items that are added.


async def test_items_are_added_and_come_back_with_ids(place: Place) -> None:
    conversation = await place.create(HI)

    message_items = await place.items.create(conversation, items=[YES, {**HI, "content": "Look."}])
    call_items = await place.items.create(conversation, items=[CALL, OUTPUT])

    assert texts_of(message_items.data) == ["Yes?", "Look."]
    assert types(call_items.data) == ["function_call", "function_call_output"]
    page = await place.items.list(conversation, order="asc")
    assert page.data[1:] == [*message_items.data, *call_items.data]


async def test_items_of_one_conversation_can_be_sent_to_another(place: Place) -> None:
    first = await place.create(
        {"role": "developer", "content": "Be brief."},
        HI,
        {"type": "reasoning", "id": "rs_1", "summary": []},
        CALL,
        OUTPUT,
        {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "*** x"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "ok"},
        YES,
    )
    items = [item async for item in await place.items.list(first, order="asc")]

    copy_of_items = await place.create(*(item.to_dict() for item in items))
    copy_by_reference = await place.create(
        *({"type": "item_reference", "id": item.id} for item in items)
    )

    for copy in (copy_of_items, copy_by_reference):
        copied_items = [item async for item in await place.items.list(copy, order="asc")]
        assert [item.to_dict() | {"id": ""} for item in copied_items] == [
            item.to_dict() | {"id": ""} for item in items
        ]
        assert not {item.id for item in copied_items} & {item.id for item in items}


async def test_files_inside_items_are_stored(place: Place) -> None:
    data = "data:text/plain;base64,b2xkIHBvbmQ="
    part = {"type": "input_file", "filename": "haiku.txt", "file_data": data}

    conversation = await place.create({"role": "user", "content": [part]})

    (item,) = (await place.items.list(conversation)).data
    assert item.content[0].file_id.startswith("file-")
    assert (await place.client.files.content(item.content[0].file_id)).content == b"old pond"
    second_page = await place.items.create(
        conversation,
        items=[
            {
                "role": "user",
                "content": [{"type": "input_file", "file_id": item.content[0].file_id}],
            }
        ],
    )
    assert second_page.data[0].content[0].file_id == item.content[0].file_id


async def test_a_repeated_request_with_a_key_adds_its_items_once(place: Place) -> None:
    conversation = await place.create(HI)
    part = {"type": "input_file", "filename": "a.txt", "file_data": "aGk="}
    items = [{"role": "user", "content": [part]}]
    headers = {"Idempotency-Key": "one"}

    first = await place.items.create(conversation, items=items, extra_headers=headers)
    second = await place.items.create(conversation, items=items, extra_headers=headers)

    assert first.data == second.data
    assert len((await place.items.list(conversation)).data) == 2
    assert len((await place.native_client.list_files()).data) == 1


async def test_a_request_that_was_refused_can_be_repeated_with_its_key(place: Place) -> None:
    run = await place.wait_for_call("a")
    conversation = conversation_of(run)
    part = {"type": "input_file", "filename": "a.txt", "file_data": "aGk="}
    items = [{"role": "user", "content": [part]}]
    headers = {"Idempotency-Key": "one"}

    with pytest.raises(openai.BadRequestError):
        await place.items.create(conversation, items=items, extra_headers=headers)
    await place.native_client.cancel_run(run.id)
    created = await place.items.create(conversation, items=items, extra_headers=headers)

    content = await place.client.files.content(created.data[0].content[0].file_id)
    assert content.content == b"hi"


# Outputs of calls.


async def test_outputs_go_to_the_run_that_waits_for_them(place: Place) -> None:
    run = await place.wait_for_call("a", "b")
    conversation = conversation_of(run)
    calls = [
        i
        for i in (await place.items.list(conversation, order="asc")).data
        if i.type == "function_call"
    ]
    outputs = [{**OUTPUT, "call_id": call.call_id, "output": call.arguments} for call in calls]

    first_page = await place.items.create(conversation, items=outputs[:1])
    repeated_page = await place.items.create(conversation, items=outputs[:1])
    assert first_page.data == repeated_page.data
    assert (await place.native_client.get_run(run.id)).status is Status.ACTION_REQUIRED
    with pytest.raises(openai.BadRequestError) as excinfo:
        await place.items.create(conversation, items=[{**outputs[0], "output": "other"}])
    last_page = await place.items.create(conversation, items=outputs)

    assert excinfo.value.code == "output_conflict"
    assert [item.output for item in last_page.data] == [call.arguments for call in calls]
    assert (await place.native_client.get_run(run.id)).status is Status.QUEUED
    page = await place.items.list(conversation, order="asc")
    assert page.data[-2:] == last_page.data


async def test_pictures_of_outputs_are_shown_to_the_model_and_never_lost(place: Place) -> None:
    run = await place.wait_for_call("a")
    other_conversation = conversation_of(run)
    (call,) = [
        i for i in (await place.items.list(other_conversation)).data if i.type == "function_call"
    ]
    picture = {"type": "input_image", "image_url": "https://example.org/a.png"}
    content = [{"type": "input_text", "text": "Look:"}, picture]

    conversation = await place.create(HI, CALL, {**OUTPUT, "output": content}, YES)
    output = {**OUTPUT, "output": content}
    await place.items.create(conversation, items=[output])  # the same again
    with pytest.raises(openai.BadRequestError, match="input of a response") as excinfo:
        await place.items.create(other_conversation, items=[{**output, "call_id": call.call_id}])

    items = (await place.items.list(conversation, order="asc")).data
    assert [item.type for item in items[1:3]] == ["function_call", "function_call_output"]
    assert [part.type for part in items[3].content] == ["input_text", "input_image"]
    assert len(items) == 5
    assert excinfo.value.param == "items[0].output"


async def test_messages_may_follow_the_outputs_of_a_run(place: Place) -> None:
    run = await place.wait_for_call("a")
    conversation = conversation_of(run)
    (call,) = [i for i in (await place.items.list(conversation)).data if i.type == "function_call"]
    output = {**OUTPUT, "call_id": call.call_id}

    with pytest.raises(openai.BadRequestError, match="No tool output found for function call"):
        await place.items.create(conversation, items=[HI])
    created = await place.items.create(conversation, items=[output, HI])

    assert types(created.data) == ["function_call_output", "message"]
    assert (await place.texts(conversation))[-2:] == ["tool: found", "user: Hi."]


async def test_a_conversation_is_locked_while_it_has_a_run(place: Place) -> None:
    thread = await place.native_client.create_thread()
    conversation = conversation_of(await place.native_client.create_run(thread.id))

    for items in ([HI], [HI, CALL, OUTPUT]):
        with pytest.raises(openai.BadRequestError) as excinfo:
            await place.items.create(conversation, items=items)
        assert excinfo.value.code == "conversation_locked"
    assert await place.texts(conversation) == []


async def test_half_of_the_outputs_and_a_message_are_refused_and_nothing_is_kept(
    place: Place,
) -> None:
    run = await place.wait_for_call("a", "b")
    conversation = conversation_of(run)
    calls = [i for i in (await place.items.list(conversation)).data if i.type == "function_call"]

    with pytest.raises(openai.BadRequestError, match="No tool output found for function call"):
        await place.items.create(conversation, items=[{**OUTPUT, "call_id": calls[0].call_id}, HI])

    pending_actions = (await place.native_client.list_actions(run.id, status="pending")).data
    assert len(pending_actions) == 2


async def test_a_saved_output_may_come_again_but_no_other(place: Place) -> None:
    conversation = await place.create(HI, CALL, OUTPUT)

    repeated_page = await place.items.create(conversation, items=[OUTPUT])
    with pytest.raises(openai.BadRequestError) as another:
        await place.items.create(conversation, items=[{**OUTPUT, "output": "lost"}])
    with pytest.raises(openai.BadRequestError, match="No tool call found") as unknown:
        await place.items.create(conversation, items=[{**OUTPUT, "call_id": "c9"}])

    assert types(repeated_page.data) == ["function_call_output"]
    assert another.value.code == "output_conflict"
    assert unknown.value.param == "items[0].call_id"
    assert len((await place.items.list(conversation)).data) == 3


async def test_a_call_is_approved_by_an_item(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    far = {"command": sys.executable, "args": ["-I", str(TOOL_SERVER), str(tmp_path / "calls")]}
    config = tmp_path / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"far": {**far, "backend": True}}}))
    async with open_place(backend_mcp="configured", config=str(config)) as place:
        place.script.calls(("far__look", {}), text="I look.").reply("I have looked.")
        turn = place.native_client.process(
            message=NewMessage("Look."), mcp_servers=(McpServer("far"),)
        )
        _ = [event async for event in turn]
        run = await place.native_client.get_run(str(turn.run_id))
        conversation = conversation_of(run)
        approval_request = (await place.items.list(conversation, limit=1)).data[0]
        answer = {"type": "mcp_approval_response", "approval_request_id": approval_request.id}

        assert (approval_request.type, approval_request.server_label, approval_request.name) == (
            "mcp_approval_request",
            "far",
            "look",
        )
        with pytest.raises(openai.BadRequestError, match="mcp_approval_response"):
            await place.items.create(conversation, items=[{**answer, "approve": True}, HI])
        (approval_response,) = (
            await place.items.create(conversation, items=[{**answer, "approve": True}])
        ).data
        assert (approval_response.type, approval_response.approve) == (
            "mcp_approval_response",
            True,
        )
        _ = [event async for event in place.native_client.completions(run.id)]

        repeated_page = await place.items.create(conversation, items=[{**answer, "approve": True}])
        assert repeated_page.data == [approval_response]
        with pytest.raises(openai.BadRequestError):
            await place.items.create(conversation, items=[{**answer, "approve": False}])
        page = await place.items.list(conversation, order="asc")
        assert types(page.data)[2:] == [
            "mcp_approval_request",
            "mcp_approval_response",
            "function_call",
            "function_call_output",
            "message",
        ]


# Several writers.


async def test_items_of_several_writers_are_all_kept_and_each_request_as_a_whole(
    place: Place,
) -> None:
    conversation = await place.create()

    def pair(n: int) -> list[Any]:
        return [{"role": "user", "content": f"{n} a"}, {"role": "user", "content": f"{n} b"}]

    await asyncio.gather(*(place.items.create(conversation, items=pair(n)) for n in range(12)))

    texts = texts_of((await place.items.list(conversation, order="asc", limit=100)).data)
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    assert sorted(pairs) == sorted((f"{n} a", f"{n} b") for n in range(12))


async def test_of_different_outputs_for_one_call_exactly_one_is_saved(place: Place) -> None:
    run = await place.wait_for_call("a")
    conversation = conversation_of(run)
    (call,) = [i for i in (await place.items.list(conversation)).data if i.type == "function_call"]

    def submit(n: int) -> Any:
        output = {**OUTPUT, "call_id": call.call_id, "output": f"{n % 3}"}
        return place.items.create(conversation, items=[output])

    results = await asyncio.gather(*(submit(n) for n in range(9)), return_exceptions=True)

    saved_outputs = [each.data[0].output for each in results if not isinstance(each, BaseException)]
    refusals = [each for each in results if isinstance(each, openai.BadRequestError)]
    assert (len(set(saved_outputs)), len(saved_outputs), len(refusals)) == (1, 3, 6)
    (stored_output,) = [
        i.output
        for i in (await place.items.list(conversation)).data
        if i.type == "function_call_output"
    ]
    assert stored_output == saved_outputs[0]


async def test_a_last_item_is_deleted_once_by_several_who_delete_it(place: Place) -> None:
    conversation = await place.create(HI, YES, HI)
    last = (await place.items.list(conversation, limit=1)).data[0]

    results = await asyncio.gather(
        *(place.items.delete(last.id, conversation_id=conversation) for _ in range(6)),
        return_exceptions=True,
    )

    assert sum(not isinstance(each, BaseException) for each in results) == 1, results
    assert all(
        isinstance(each, openai.NotFoundError | openai.BadRequestError)
        for each in results
        if isinstance(each, BaseException)
    )
    assert await place.texts(conversation) == ["user: Hi.", "assistant: Yes?"]


@pytest.mark.slow
async def test_what_is_added_while_an_item_is_deleted_stays(place: Place) -> None:
    for _ in range(10):
        conversation = await place.create(HI, YES)
        last = (await place.items.list(conversation, limit=1)).data[0]

        await asyncio.gather(
            place.items.delete(last.id, conversation_id=conversation),
            place.items.create(conversation, items=[{**HI, "content": "New."}]),
            return_exceptions=True,
        )

        assert (await place.texts(conversation))[-1] == "user: New."


# Items that are deleted.


async def test_the_last_items_are_deleted_one_by_one(place: Place) -> None:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
    conversation = await place.create(
        HI, thought, YES, HI, {**YES, "content": "I look."}, CALL, OUTPUT
    )

    async def delete_last() -> list[str]:
        last = (await place.items.list(conversation, limit=1)).data[0]
        answer = await place.items.delete(last.id, conversation_id=conversation)
        assert answer.id == conversation
        return types((await place.items.list(conversation, order="asc")).data)

    with_reply = ["message", "reasoning", "message", "message", "message"]
    assert await delete_last() == with_reply  # the call goes with its output
    assert await delete_last() == with_reply[:4]
    assert await delete_last() == with_reply[:3]
    assert await delete_last() == with_reply[:1]  # the reasoning goes with what it led to
    assert await delete_last() == []


async def test_an_item_in_the_middle_is_not_deleted(place: Place) -> None:
    conversation = await place.create(HI, YES)
    first = (await place.items.list(conversation, order="asc")).data[0]

    with pytest.raises(openai.BadRequestError) as excinfo:
        await place.items.delete(first.id, conversation_id=conversation)

    assert excinfo.value.param == "item_id"
    assert len((await place.items.list(conversation)).data) == 2


async def test_nothing_is_deleted_while_a_run_goes_on(place: Place) -> None:
    run = await place.wait_for_call("a")
    conversation = conversation_of(run)
    last = (await place.items.list(conversation, limit=1)).data[0]

    with pytest.raises(openai.BadRequestError):
        await place.items.delete(last.id, conversation_id=conversation)

    assert len((await place.items.list(conversation)).data) == 2


# Invalid requests.


BAD: dict[str, tuple[Any, str | None]] = {
    "a call without an output": ([HI, CALL], "items[1]"),
    "no item": (["x"], "items[0]"),
    "no list": ("x", "items"),
    "an unknown type": ([{"type": "teapot"}], "items[0].type"),
    "a refused type": ([{"type": "computer_call"}], "items[0].type"),
    "a foreign picture": (
        [{"role": "user", "content": [{"type": "input_image", "image_url": "ftp://x/"}]}],
        None,
    ),
    "data that is none": (
        [{"role": "user", "content": [{"type": "input_file", "file_data": "%"}]}],
        None,
    ),
    "a file that is not there": (
        [{"role": "user", "content": [{"type": "input_file", "file_id": "file-none"}]}],
        None,
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_items_are_refused_and_nothing_is_kept(place: Place, name: str) -> None:
    items, param = BAD[name]
    conversation = await place.create(HI)

    for attempt in (
        place.client.conversations.create(items=items),
        place.items.create(conversation, items=items),
    ):
        with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as excinfo:
            await attempt
        assert param is None or excinfo.value.param == param
    assert await place.texts(conversation) == ["user: Hi."]
    assert len((await place.native_client.list_threads()).data) == 1
    assert (await place.native_client.list_files()).data == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("", "[]", 400),
        ("", "{", 400),
        ("", '{"items": 5}', 400),
        ("", '{"metadata": "x"}', 400),
        ("", '{"metadata": {"a": 1}}', 400),
        ("", json.dumps({"metadata": {f"{n}": "x" for n in range(17)}}), 400),
        ("", json.dumps({"metadata": {"a": "x" * 513}}), 400),
        ("", '{"items": [{"role": "user", "content": "\\u0000"}]}', 400),
        ("", '{"items": ' + "[" * 200 + "]" * 200 + "}", 413),
        ("/conv_x", "{}", 400),
        ("/conv_x", '{"metadata": {}}', 404),
        ("/conv_x/items", "{}", 400),
        ("/conv_x/items", '{"items": []}', 404),
    ],
)
async def test_a_bad_body_is_refused_in_the_form_of_the_original(
    place: Place, path: str, body: str, status: int
) -> None:
    http = await place.server.client()
    headers = {"content-type": "application/json"}

    answer = await http.post(f"/openai/v1/conversations{path}", content=body, headers=headers)

    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    assert (await place.native_client.list_threads()).data == []


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"order": "up"}, {"after": "msg_x"}]
)
async def test_a_bad_query_is_refused(place: Place, query: dict[str, str]) -> None:
    conversation = await place.create(HI)

    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as excinfo:
        await place.items.list(conversation, extra_query=query)

    assert excinfo.value.status_code in (400, 404)


@pytest.mark.slow
async def test_ten_thousand_items_are_kept_and_one_more_is_not(place: Place) -> None:
    messages = [{"role": "user", "content": "x"}] * 10_000

    conversation = await place.create(*messages)
    with pytest.raises(openai.BadRequestError):
        await place.create(*messages, HI)

    assert (await place.native_client.get_thread(thread_of(conversation))).messages == 10_000


async def test_too_large_a_body_is_refused(place: Place) -> None:
    data = "A" * 2_000_000

    with pytest.raises(openai.APIStatusError) as excinfo:
        await place.create({"role": "user", "content": [{"type": "input_file", "file_data": data}]})

    assert excinfo.value.status_code == 413


async def test_ids_of_others_and_forged_ones_lead_nowhere(place: Place) -> None:
    ann, bob = await place.server.key("ann"), await place.server.key("bob")
    owner = place.client.with_options(api_key=ann)
    other_client = place.client.with_options(api_key=bob)
    conversation = await owner.conversations.create(items=[HI, CALL, OUTPUT])
    items = (await owner.conversations.items.list(conversation.id)).data
    other_conversation = await other_client.conversations.create()

    attempts = [
        lambda: other_client.conversations.retrieve(conversation.id),
        lambda: other_client.conversations.update(conversation.id, metadata={}),
        lambda: other_client.conversations.delete(conversation.id),
        lambda: other_client.conversations.items.list(conversation.id),
        lambda: other_client.conversations.items.create(conversation.id, items=[HI]),
        lambda: other_client.conversations.items.retrieve(
            items[0].id, conversation_id=conversation.id
        ),
        lambda: other_client.conversations.items.retrieve(
            items[0].id, conversation_id=other_conversation.id
        ),
        lambda: other_client.conversations.items.delete(
            items[0].id, conversation_id=other_conversation.id
        ),
        lambda: other_client.conversations.items.list(other_conversation.id, after=items[0].id),
        lambda: other_client.conversations.create(
            items=[{"type": "item_reference", "id": items[0].id}]
        ),
        lambda: owner.conversations.items.retrieve(
            items[0].id, conversation_id=other_conversation.id
        ),
        lambda: owner.conversations.retrieve(thread_of(conversation.id)),
        lambda: owner.conversations.retrieve("conv_" + "0" * 35),
        lambda: owner.conversations.items.retrieve("fc_x_9999", conversation_id=conversation.id),
        lambda: owner.conversations.items.retrieve("é", conversation_id=conversation.id),
    ]
    for attempt in attempts:
        with pytest.raises(openai.NotFoundError):
            await attempt()
    assert [i.id for i in (await owner.conversations.items.list(conversation.id)).data] == [
        item.id for item in items
    ]
    with pytest.raises(openai.AuthenticationError):
        await place.client.conversations.create()


async def test_a_key_that_may_only_read_changes_nothing(place: Place) -> None:
    writer, reader = await place.server.key("ann"), await place.server.key("ann", "read")
    conversation = await place.client.with_options(api_key=writer).conversations.create(items=[HI])
    client = place.client.with_options(api_key=reader)

    assert len((await client.conversations.items.list(conversation.id)).data) == 1
    for attempt in (
        client.conversations.create(),
        client.conversations.items.create(conversation.id, items=[HI]),
        client.conversations.delete(conversation.id),
    ):
        with pytest.raises(openai.PermissionDeniedError):
            await attempt


# Responses in a conversation.


@pytest.mark.slow
@pytest.mark.parametrize("style", ["function_call", "mcp_call"])
async def test_a_list_shows_what_the_responses_showed(tmp_path: Path, style: str) -> None:
    pytest.importorskip("mcp")
    far = {"command": sys.executable, "args": ["-I", str(TOOL_SERVER), str(tmp_path / "calls")]}
    config = tmp_path / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"far": {**far, "backend": True}}}))
    tools: list[Any] = [
        {"type": "mcp", "server_label": "far", "require_approval": "never"},
        {"type": "custom", "name": "patch"},
        {"type": "namespace", "name": "crm", "description": "", "tools": [look_tool()]},
    ]
    async with open_place(backend_mcp="configured", config=str(config)) as place:
        conversation = await place.create()
        place.script.calls(("far__look", {}), text="I look.")
        place.script.calls(("crm__look", {}), ("patch", {"input": "*** x"})).reply("Done.")

        first = await place.client.responses.create(
            model=place.script.model,
            conversation=conversation,
            input="Look.",
            tools=tools,
            extra_headers={"antiphon-server-tools": style},
        )
        answers = [
            {**OUTPUT, "type": f"{item.type}_output", "call_id": item.call_id}
            for item in first.output
            if item.type in ("function_call", "custom_tool_call") and item.name != "far__look"
        ]
        created = await place.items.create(conversation, items=answers)
        second = await place.client.responses.create(
            model=place.script.model,
            conversation=conversation,
            tools=tools,
            extra_headers={"antiphon-server-tools": style},
        )
        page = (await place.items.list(conversation, order="asc", limit=100)).data

        shown_items = [*first.output, *created.data, *second.output]
        assert [item.to_dict() for item in page[1:]] == [item.to_dict() for item in shown_items]
        assert len(answers) == 2
        for item in page:
            assert await place.items.retrieve(item.id, conversation_id=conversation) == item


def look_tool() -> dict[str, Any]:
    return {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}
