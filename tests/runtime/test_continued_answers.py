"""Answers that were cut and go on: two runs and two messages, and one answer for all readers."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from antiphon.api import operations
from antiphon.client.export import render_export
from antiphon.engine.shares import take_snapshot
from antiphon.types import errors
from antiphon.types.events import Numbered, TextDelta
from antiphon.types.runs import Run, Thread, Usage
from antiphon.types.thread_view import Entry, group_entries
from antiphon.wires.ai_sdk.history import as_ui_message
from tests.support.runtime.rig import BY, TOOLS, RuntimeRig, find_ended, find_started, open_rig

CUT = 'think Hm.\nsay "Once upon a time there was a kin"\nusage 10 5\nfinish length'
REST = 'think So.\nsay "there was a king"\nsay " of bees."\nusage 20 7'


async def cut_answer(rig: RuntimeRig) -> str:
    return find_started(await rig.ask("A story.")).thread_id


async def continue_answer(
    rig: RuntimeRig, thread_id: str, key: str | None = None
) -> list[Numbered]:
    call = operations.Process(thread_id=thread_id, continues=True)
    return [numbered async for numbered in rig.listen(call, key)]


async def entries_of(rig: RuntimeRig, thread_id: str) -> list[Entry]:
    runs = (await rig.dispatcher.dispatch(operations.ListRuns(thread_id, limit=100), BY)).value.data
    return group_entries(await rig.messages(thread_id), runs)


async def test_a_cut_answer_and_its_rest_are_one_answer_for_all_readers() -> None:
    async with open_rig(CUT, REST, "say Indeed.") as rig:
        thread_id = await cut_answer(rig)
        events = await continue_answer(rig, thread_id)
        text = "Once upon a time there was a king of bees."

        assert find_ended(events).status == "completed"
        assert find_started(events).continues
        assert "".join(e.text for _, e in events if isinstance(e, TextDelta)) == "g of bees."
        messages = await rig.messages(thread_id)
        assert [each.text for each in messages[1:]] == [text[:-10], "g of bees."]

        question, answer = await entries_of(rig, thread_id)
        assert (question.number, answer.number) == (1, 2)
        assert [(each.text, each.reasoning, each.status) for each in answer.messages] == [
            (text, "Hm.\n\nSo.", "completed")
        ]
        assert answer.run is not None
        assert answer.run.usage == Usage(input_tokens=30, output_tokens=12)
        parts = msgspec.to_builtins(as_ui_message(answer, files={}).parts)
        assert [part["text"] for part in parts if part["type"] == "text"] == [text]

        thread = (await rig.dispatcher.dispatch(operations.GetThread(thread_id), BY)).value
        assert isinstance(thread, Thread)
        for form in ("md", "html"):
            export_text = "".join(render_export(thread, messages, form))
            assert text in export_text
            assert "cut off" not in export_text
        shared_messages = take_snapshot(messages, {}, {}, tools=False, reasoning=False)
        assert [(each.text, each.incomplete) for each in shared_messages] == [
            ("A story.", False),
            (text, False),
        ]

        await rig.read(
            operations.Process(thread_id=thread_id, message=operations.NewMessage("So?"))
        )
        sent_messages = rig.model.requests[-1].decode_messages()
        assert [each["content"] for each in sent_messages] == ["A story.", text, "So?"]


async def test_the_model_is_asked_for_the_rest_and_nothing_is_stored_of_that() -> None:
    async with open_rig(CUT, REST) as rig:
        thread_id = await cut_answer(rig)
        await continue_answer(rig, thread_id)
        *_, cut_message, prompt = rig.model.requests[-1].decode_messages()

        assert cut_message["content"].endswith("a kin")
        assert prompt["role"] == "user"
        assert "a kin</last_words>" in prompt["content"]
        assert [each.role for each in await rig.messages(thread_id)] == [
            "user",
            "assistant",
            "assistant",
        ]


async def test_an_answer_can_be_cut_and_go_on_again_and_again() -> None:
    scripts = [f'say "{number}, "\nfinish length' for number in ("one is a number", "two")]
    async with open_rig(*scripts, "cut disconnected", 'say "a number, two, three."') as rig:
        thread_id = await cut_answer(rig)
        await continue_answer(rig, thread_id)
        failed_events = await continue_answer(rig, thread_id)
        assert find_ended(failed_events).status in ("incomplete", "failed")
        (_, answer) = await entries_of(rig, thread_id)
        assert answer.messages[0].text == "one is a number, two, "
        assert answer.run is not None
        assert answer.run.id == find_started(failed_events).run_id

        await continue_answer(rig, thread_id)
        (_, answer) = await entries_of(rig, thread_id)
        assert answer.messages[0].text == "one is a number, two, three."
        assert len(answer.continued) == 3


async def test_a_rest_may_call_tools_and_a_branch_of_it_stays_one_answer() -> None:
    rest_script = 'say "there was a kind old king. "\ncall look {"q":"x"}'
    async with open_rig(CUT, rest_script, 'say "That is all."') as rig:
        thread_id = await cut_answer(rig)
        call = operations.Process(thread_id=thread_id, continues=True, tools=TOOLS)
        events = await rig.read(call)
        await rig.submit(events)
        await rig.read(operations.Process(run_id=find_started(events).run_id))
        text = ["Once upon a time there was a kind old king. ", "", "That is all."]

        (_, answer) = await entries_of(rig, thread_id)
        assert [m.text for m in answer.messages if m.role != "tool"] == [text[0], text[2]]
        fork = (await rig.dispatcher.dispatch(operations.ForkThread(thread_id), BY)).value
        (_, copied_entry) = await entries_of(rig, fork.id)
        assert [m.text for m in copied_entry.messages if m.role != "tool"] == [text[0], text[2]]
        sent_messages = rig.model.requests[-1].decode_messages()
        assert [each.get("content") for each in sent_messages[1:2]] == [text[0]]
        assert "tool_calls" in sent_messages[1]


async def test_an_answer_that_was_stopped_goes_on_and_the_same_request_does_so_once() -> None:
    async with open_rig('say "One, two, three, four, "\nwait', 'say "five."') as rig:
        call = operations.Process(message=operations.NewMessage("Count."))
        async for _, event in rig.listen(call):
            if isinstance(event, TextDelta):
                run = (await rig.dispatcher.dispatch(operations.ListRuns(), BY)).value.data[0]
                await rig.dispatcher.dispatch(operations.CancelRun(run.id), BY)
        first = await continue_answer(rig, run.thread_id, "key")
        repeated_events = await continue_answer(rig, run.thread_id, "key")

        assert find_started(first).run_id == find_started(repeated_events).run_id
        (_, answer) = await entries_of(rig, run.thread_id)
        assert answer.messages[0].text == "One, two, three, four, five."


async def test_an_answer_that_waits_for_a_run_goes_on_with_what_that_run_left() -> None:
    async with open_rig(CUT, 'say "One, two, "\nwait', 'say "three."') as rig:
        thread_id = await cut_answer(rig)
        is_tried = asyncio.Event()
        count_call = operations.Process(
            thread_id=thread_id, message=operations.NewMessage("Count.")
        )
        rest_call = operations.Process(thread_id=thread_id, continues=True, if_busy="wait")
        async for _, event in rig.listen(count_call):
            if isinstance(event, TextDelta):
                run = (await rig.dispatcher.dispatch(operations.ListRuns(), BY)).value.data[0]
                rig.store.trouble = lambda read_set: (
                    is_tried.set() if read_set.what == "run" else None
                )
                rest_task = asyncio.create_task(rig.read(rest_call))
                await is_tried.wait()
                await rig.dispatcher.dispatch(operations.CancelRun(run.id), BY)

        assert find_ended(await rest_task).status == "completed"
        *_, answer = await entries_of(rig, thread_id)
        assert answer.messages[0].text == "One, two, three."


async def test_an_answer_that_goes_on_meanwhile_is_waited_for_or_refused() -> None:
    counts = ('say "One, "\nfinish length', 'say "One, two, "\nfinish length')
    async with open_rig(CUT, *counts, 'say "three."') as rig:
        thread_id = await cut_answer(rig)
        count = operations.Process(thread_id=thread_id, message=operations.NewMessage("Count."))
        rest_call = operations.Process(thread_id=thread_id, continues=True)
        rig.store.before_run = lambda: rig.read(count)
        with pytest.raises(errors.RunActive, match="Something was added"):
            await rig.read(rest_call)
        rig.store.before_run = lambda: rig.read(count)
        events = await rig.read(msgspec.structs.replace(rest_call, if_busy="wait"))

        assert find_ended(events).status == "completed"


async def test_an_answer_that_ended_by_itself_does_not_go_on() -> None:
    async with open_rig("say Hello.") as rig:
        thread_id = await cut_answer(rig)

        with pytest.raises(errors.Conflict, match="does not end with an answer that was cut"):
            await continue_answer(rig, thread_id)
        runs: list[Run] = (await rig.dispatcher.dispatch(operations.ListRuns(), BY)).value.data
        assert len(runs) == 1


@pytest.mark.parametrize(
    "call",
    [
        operations.Process(continues=True, message=operations.NewMessage("Hi")),
        operations.Process(thread_id="t", continues=True, message=operations.NewMessage("Hi")),
        operations.Process(thread_id="t", continues=True, history=(operations.PastMessage("Hi"),)),
    ],
)
async def test_a_rest_takes_a_thread_and_no_message(call: operations.Process) -> None:
    async with open_rig() as rig:
        with pytest.raises(errors.InvalidRequest, match="needs a thread, and no message"):
            await rig.read(call)
