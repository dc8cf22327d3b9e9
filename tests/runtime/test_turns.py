"""Service, worker and runner together, over a store in memory and a scripted model."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.engine.snapshot import ChangeSet, ReadSet, RunUpdate, Snapshot
from antiphon.engine.transcript import fold_events
from antiphon.providers.scripted import ScriptedProvider, ScriptGate
from antiphon.runtime.housekeeper import Housekeeper
from antiphon.runtime.services.dispatch import Response
from antiphon.settings.settings import Settings
from antiphon.types import errors, events
from antiphon.types.accounts import Principal
from antiphon.types.events import (
    ActionRequired,
    MessageCompleted,
    RunStatus,
    TurnRestarted,
)
from antiphon.types.messages import File, Image, Message, Text, Upload
from antiphon.types.runs import Deadlines, Destination, Run
from tests.support.runtime.rig import (
    BY,
    OWNER,
    TOOLS,
    RuntimeRig,
    find_ended,
    find_event,
    find_started,
    open_rig,
)


async def test_a_turn_is_streamed_numbered_from_one_and_ends_with_turn_ended() -> None:
    async with open_rig("think Hm.\nsay Hello there.") as rig:
        events = await rig.ask()

        assert [number for number, _ in events] == list(range(1, len(events) + 1))
        assert find_ended(events).status == "completed"


async def test_the_deltas_are_the_saved_message() -> None:
    async with open_rig('think Let me see.\nsay "One two\\n\\nthree 🎼"\nusage 10 5') as rig:
        events = await rig.ask()
        folded = fold_events(events)
        message = find_event(events, MessageCompleted).message

        assert (folded.text, folded.reasoning) == (message.text, message.reasoning)
        assert (await rig.messages(message.thread_id))[1] == message


@pytest.mark.parametrize(
    ("of_run", "of_assistant", "of_settings"), [(1, 5, 9), (None, 1, 9), (None, None, 1)]
)
async def test_tool_calls_are_limited_by_the_run_else_its_assistant_else_the_setting(
    of_run: int | None, of_assistant: int | None, of_settings: int | None
) -> None:
    settings = Settings(max_tool_calls=of_settings)
    async with open_rig('call look {"q":"x"}', 'call look {"q":"y"}', settings=settings) as rig:
        creation = operations.CreateAssistant(max_tool_calls=of_assistant)
        assistant = (await rig.dispatcher.dispatch(creation, BY)).value
        events = await rig.ask(tools=TOOLS, assistant_id=assistant.id, max_tool_calls=of_run)
        await rig.submit(events)
        later_events = await rig.read(operations.Process(run_id=find_started(events).run_id))

        assert (find_ended(later_events).status, find_ended(later_events).reason) == (
            "incomplete",
            "max_tool_calls",
        )
        assert (await rig.run(find_started(events).run_id)).tool_calls == 1


@pytest.mark.parametrize(
    ("allowed", "expected_names"),
    [(None, ["look", "add"]), ((), []), (("add", "other"), ["add"]), (("l*",), ["look"])],
)
async def test_the_model_is_offered_the_allowed_tools_alone(
    allowed: tuple[str, ...] | None, expected_names: list[str]
) -> None:
    async with open_rig("say Hi.") as rig:
        await rig.ask(tools=TOOLS, allowed_tools=allowed)
        (request,) = rig.model.requests

        assert [tool.name for tool in request.tools] == expected_names


async def test_a_run_whose_time_is_over_ends_within_its_turn() -> None:
    async with open_rig("say Hi.\nwait late\nsay there") as rig:
        ask_task = asyncio.create_task(rig.ask(timeout=1))
        await rig.model.gates["late"].reached.wait()
        rig.now += 1_000
        events = await ask_task

        assert (find_ended(events).status, find_ended(events).reason) == ("incomplete", "timeout")
        assert fold_events(events).text == "Hi."


async def test_a_hand_off_and_the_next_turn() -> None:
    async with open_rig('call look {"q":"x"}', "say It is 42.") as rig:
        events = await rig.ask(tools=TOOLS)
        assert find_ended(events).status == "action_required"
        (action,) = await rig.submit(events)
        assert (action.status, action.output) == ("completed", "42")
        later_events = await rig.read(operations.Process(run_id=find_started(events).run_id))

        assert find_ended(later_events).status == "completed"
        assert later_events[0][0] == events[-1][0] + 1
        sent_messages = rig.model.requests[1].decode_messages()
        assert [message["role"] for message in sent_messages] == ["user", "assistant", "tool"]


async def test_after_a_hand_off_nothing_is_held() -> None:
    async with open_rig('call look {"q":"x"}') as rig:
        await rig.ask(tools=TOOLS)
        while rig.worker.active_runs:
            await asyncio.sleep(0)

        assert rig.bus.subscribers == 2  # the worker's own: its queue and its leases


async def test_parallel_outputs_reach_the_model_in_call_order() -> None:
    async with open_rig('call look {"q":1}\ncall add {"a":2}', "say Done.") as rig:
        events = await rig.ask(tools=TOOLS)
        first, second = find_event(events, ActionRequired).actions
        for action in (second, first):
            await rig.dispatcher.dispatch(
                operations.SubmitToolOutput(
                    find_started(events).run_id, action.tool_call_id, f"of {action.name}"
                ),
                BY,
            )
        await rig.read(operations.Process(run_id=find_started(events).run_id))

        outputs = [
            m["content"] for m in rig.model.requests[1].decode_messages() if m["role"] == "tool"
        ]
        assert outputs == ["of look", "of add"]


async def test_a_tool_message_is_a_tool_output() -> None:
    async with open_rig('call look {"q":"x"}') as rig:
        events = await rig.ask(tools=TOOLS)
        call_id = find_event(events, ActionRequired).actions[0].tool_call_id
        call = operations.CreateMessage(
            find_started(events).thread_id, "42", role="tool", tool_call_id=call_id
        )
        message = (await rig.dispatcher.dispatch(call, BY)).value

        assert (message.role, message.text, message.number) == ("tool", "42", 3)
        assert (await rig.dispatcher.dispatch(call, BY)).value == message
        assert (await rig.run(find_started(events).run_id)).status == "queued"


async def test_a_tool_message_under_a_key_is_that_message_for_ever() -> None:
    async with open_rig('call look {"q":1}\ncall look {"q":2}') as rig:
        events = await rig.ask(tools=TOOLS)
        first, second = [
            operations.CreateMessage(
                find_started(events).thread_id,
                "42",
                role="tool",
                tool_call_id=action.tool_call_id,
                metadata={"from": "test"},
            )
            for action in find_event(events, ActionRequired).actions
        ]
        message = (await rig.dispatcher.dispatch(first, BY, "k")).value
        with pytest.raises(errors.IdempotencyConflict):
            await rig.dispatcher.dispatch(second, BY, "k")
        await rig.dispatcher.dispatch(operations.CancelRun(find_started(events).run_id), BY)
        repeated = await rig.dispatcher.dispatch(first, BY, "k")

        assert repeated.replayed
        assert msgspec.json.decode(repeated.value, type=Message) == message
        assert message.metadata == {"from": "test"}


async def test_a_kept_answer_outlives_what_it_was_made_from() -> None:
    async with open_rig("say Hi.") as rig:
        assistant = (await rig.dispatcher.dispatch(operations.CreateAssistant(), BY)).value
        thread = (await rig.dispatcher.dispatch(operations.CreateThread(), BY)).value
        call = operations.CreateRun(thread.id, assistant_id=assistant.id)
        run = (await rig.dispatcher.dispatch(call, BY, "k")).value
        await rig.dispatcher.dispatch(operations.DeleteAssistant(assistant.id), BY)
        repeated = await rig.dispatcher.dispatch(call, BY, "k")

        assert msgspec.json.decode(repeated.value, type=Run) == run


async def test_a_cut_reply_ends_incomplete_with_its_text_kept() -> None:
    async with open_rig("say So far so\ncut") as rig:
        events = await rig.ask()

        assert (find_ended(events).status, find_ended(events).reason) == (
            "incomplete",
            "disconnected",
        )
        assert find_event(events, MessageCompleted).message.status == "incomplete"


async def test_silence_ends_incomplete_as_stalled() -> None:
    async with open_rig("say Well\nstall") as rig:
        events = await rig.ask(deadlines=Deadlines(chunk=0.05))

        assert (find_ended(events).status, find_ended(events).reason) == ("incomplete", "stalled")


async def test_a_turn_has_a_deadline_however_much_the_model_talks() -> None:
    async with open_rig("say Well\nwait never") as rig:
        events = await rig.ask(deadlines=Deadlines(chunk=60, turn=0.05))

        assert (find_ended(events).status, find_ended(events).reason) == ("incomplete", "stalled")


async def test_a_providers_refusal_fails_the_run_with_its_code_and_words() -> None:
    async with open_rig("fail provider_auth The key is wrong.") as rig:
        events = await rig.ask()
        run = await rig.run(find_started(events).run_id)

        assert run.status == "failed"
        assert run.error is not None
        assert (run.error.code, run.error.message) == ("provider_auth", "The key is wrong.")


async def test_a_broken_call_is_asked_for_again_and_the_model_is_told_why() -> None:
    async with open_rig('call look {"q":', 'call look {"q":1}') as rig:
        events = await rig.ask(tools=TOOLS)
        restart = find_event(events, TurnRestarted)

        assert restart.reason == "invalid_tool_call"
        assert find_ended(events).status == "action_required"
        assert "look" in rig.model.requests[1].decode_messages()[-1]["content"]
        assert fold_events(events).calls[0].arguments == '{"q":1}'
        assert len(await rig.messages(find_started(events).thread_id)) == 2


async def test_a_call_broken_three_times_fails_the_run_and_hands_nothing_out() -> None:
    async with open_rig(*['call nothing {"q":1}'] * 3) as rig:
        events = await rig.ask(tools=TOOLS)
        run = await rig.run(find_started(events).run_id)

        assert run.error is not None
        assert (run.status, run.error.code) == ("failed", "invalid_tool_call")
        assert len(rig.model.requests) == 3
        assert not any(isinstance(event, ActionRequired) for _, event in events)


async def test_a_cancel_closes_the_model_and_keeps_what_was_said() -> None:
    async with open_rig("say I was about\nwait never") as rig:
        ask_task = asyncio.create_task(rig.ask())
        await rig.model.gates["never"].reached.wait()
        runs = (await rig.dispatcher.dispatch(operations.ListRuns(), BY)).value.data
        answer = await rig.dispatcher.dispatch(operations.CancelRun(runs[0].id), BY)
        events = await ask_task

        assert answer.status == 202
        assert find_ended(events).status == "cancelled"
        assert find_event(events, MessageCompleted).message.text == "I was about"
        repeated = await rig.dispatcher.dispatch(operations.CancelRun(runs[0].id), BY)
        assert repeated.status == 200


async def test_a_run_whose_worker_died_is_taken_over_and_the_log_says_so() -> None:
    async with open_rig("say Lost words\nwait never", "say Found words") as rig:
        ask_task = asyncio.create_task(rig.ask())
        await rig.model.gates["never"].reached.wait()
        (run_task,) = [task for task in asyncio.all_tasks() if task.get_name().startswith("run ")]
        run_task.cancel()
        rig.now += 16_000
        await rig.worker.sweeper.sweep()
        events = await ask_task

        assert find_event(events, TurnRestarted).reason == "worker_lost"
        assert fold_events(events).text == "Found words"
        assert find_event(events, MessageCompleted).message.text == "Found words"


async def test_a_worker_that_stops_gives_its_runs_back_to_the_next() -> None:
    async with open_rig("say Lost words\nwait never", "say Found words") as rig:
        ask_task = asyncio.create_task(rig.ask())
        await rig.model.gates["never"].reached.wait()
        await rig.worker.stop(0)
        rig.worker = rig.new_worker("second")
        rig.worker.start()
        events = await ask_task

        assert fold_events(events).text == "Found words"


async def test_nobody_waits_for_the_lease_of_a_worker_that_is_certainly_dead() -> None:
    async with open_rig("say Lost words\nwait never", "say Found words") as rig:
        ask_task = asyncio.create_task(rig.ask())
        await rig.model.gates["never"].reached.wait()
        second_worker = rig.new_worker("heir", "first")
        second_worker.start()
        events = await ask_task
        await second_worker.stop(0)

        assert fold_events(events).text == "Found words"


async def test_a_run_that_nobody_asked_for_is_not_begun() -> None:
    async with open_rig("say Hi.") as rig:
        thread = (await rig.dispatcher.dispatch(operations.CreateThread(), BY)).value
        await rig.dispatcher.dispatch(operations.CreateMessage(thread.id, "Hello?"), BY)
        run = (await rig.dispatcher.dispatch(operations.CreateRun(thread.id), BY)).value
        await rig.worker.sweeper.sweep()
        assert (await rig.run(run.id)).status == "queued"
        events = await rig.read(operations.Complete(run.id))

        assert find_ended(events).status == "completed"
        assert len(rig.model.requests) == 1


async def test_a_second_reader_joins_the_turn_in_progress() -> None:
    async with open_rig("say One\nwait gate\nsay two.") as rig:
        first = asyncio.create_task(rig.ask())
        await rig.model.gates["gate"].reached.wait()
        (run,) = (await rig.dispatcher.dispatch(operations.ListRuns(), BY)).value.data
        subscribers = rig.bus.subscribers
        second = asyncio.create_task(rig.read(operations.Process(run_id=run.id)))
        while rig.bus.subscribers == subscribers:
            await asyncio.sleep(0)
        rig.model.gates["gate"].opened.set()

        assert await first == await second
        assert len(rig.model.requests) == 1


async def test_the_whole_run_can_be_followed_through_its_turns() -> None:
    async with open_rig('call look {"q":"x"}', "say It is 42.") as rig:
        events = await rig.ask(tools=TOOLS)
        follow_task = asyncio.create_task(rig.read(operations.Follow(find_started(events).run_id)))
        await rig.submit(events)
        later_events = await rig.read(operations.Process(run_id=find_started(events).run_id))
        followed_events = await follow_task

        assert followed_events[: len(events)] == events
        assert followed_events[-len(later_events) :] == later_events


async def test_an_event_from_the_future_is_refused() -> None:
    async with open_rig("say Hi.") as rig:
        events = await rig.ask()

        with pytest.raises(errors.InvalidEventId):
            await rig.read(operations.Follow(find_started(events).run_id, after=len(events) + 1))


async def test_events_past_retention_are_gone_and_the_messages_are_not() -> None:
    async with open_rig("say Hi.") as rig:
        events = await rig.ask()
        await rig.store.delete_expired(rig.now + 1, 0)

        with pytest.raises(errors.EventExpired):
            await rig.read(operations.Follow(find_started(events).run_id))
        assert len(await rig.messages(find_started(events).thread_id)) == 2


@pytest.mark.parametrize("script", ["say Hi.", 'call look {"q":"x"}'])
async def test_a_temporary_thread_is_deleted_some_time_after_its_last_change(script: str) -> None:
    settings = Settings(temporary_retention=60)
    async with open_rig(script, "say Kept.", settings=settings) as rig:
        events = await rig.ask(tools=TOOLS, temporary=True)
        kept_id = find_started(await rig.ask()).thread_id
        run_id = find_started(events).run_id
        rig.now += 60_000
        young_id = find_started(await rig.ask(temporary=True)).thread_id
        rig.now += 1
        await delete_expired(rig)

        assert await list_temporary(rig) == [young_id]
        assert await rig.messages(kept_id)
        with pytest.raises(errors.NotFound):
            await rig.run(run_id)
        (row,) = await rig.store.usage("1970-01-01", 9)
        assert row.runs == 3


async def test_an_expired_file_is_deleted() -> None:
    async with open_rig() as rig:
        upload = rig.dispatcher.files.upload
        short_upload = (await upload("ann", "a", "a/b", b"x", expires_in=60)).value
        long_upload = (await upload("ann", "b", "a/b", b"x", purpose="vision", expires_in=61)).value
        kept_upload = (await upload("ann", "c", "a/b", b"x")).value
        rig.now += 60_001
        await delete_expired(rig)

        uploads = (await rig.store.list(Upload, "ann", limit=9)).data
        assert [each.id for each in uploads] == [kept_upload.id, long_upload.id]
        with pytest.raises(errors.NotFound):
            await rig.store.content("ann", short_upload.id)


async def delete_expired(rig: RuntimeRig) -> None:
    await Housekeeper(rig.store, rig.bus, rig.settings, rig.mint).delete_expired()


async def list_temporary(rig: RuntimeRig) -> list[str]:
    answer = await rig.dispatcher.dispatch(operations.ListThreads(temporary=True), BY)
    return [thread.id for thread in answer.value.data]


async def test_the_same_process_call_under_one_key_is_one_run() -> None:
    async with open_rig("say Hi.", "say Twice!") as rig:
        call = operations.Process(message=operations.NewMessage("Hello?"))
        first = [numbered async for numbered in rig.listen(call, key="k")]
        second = [numbered async for numbered in rig.listen(call, key="k")]

        assert first == second
        assert len(rig.model.requests) == 1


async def test_a_turn_asked_for_again_under_its_key_is_told_again_even_after_its_end() -> None:
    async with open_rig('call look {"q":"x"}', "say It is 42.") as rig:
        run_id = find_started(events := await rig.ask(tools=TOOLS)).run_id
        await rig.submit(events)
        call = operations.Complete(run_id)
        first = [numbered async for numbered in rig.listen(call, key="k")]
        second = [numbered async for numbered in rig.listen(call, key="k")]

        assert find_ended(first).status == "completed"
        assert first == second
        with pytest.raises(errors.RunEnded):
            await rig.read(call)


async def test_a_background_run_needs_no_reader() -> None:
    async with open_rig("say Hi.") as rig:
        call = operations.Process(message=operations.NewMessage("Hello?"), background=True)
        answer = await rig.dispatcher.open_stream(call, BY)
        assert isinstance(answer, Response)
        events = await rig.read(operations.Follow(answer.value.id))

        assert find_ended(events).status == "completed"


async def test_a_busy_thread_can_be_waited_for() -> None:
    async with open_rig("say One\nwait gate", "say Two") as rig:
        first = asyncio.create_task(rig.ask())
        await rig.model.gates["gate"].reached.wait()
        (run,) = (await rig.dispatcher.dispatch(operations.ListRuns(), BY)).value.data
        second = asyncio.create_task(rig.ask("And?", thread_id=run.thread_id, if_busy="wait"))
        rig.model.gates["gate"].opened.set()
        await first

        assert find_ended(await second).status == "completed"
        roles = [message.role for message in await rig.messages(run.thread_id)]
        assert roles == ["user", "assistant"] * 2


async def test_the_second_turn_reads_its_history_past_the_cache() -> None:
    async with open_rig('call look {"q":"x"}', "say It is 42.") as rig:
        events = await rig.ask(tools=TOOLS)
        await rig.submit(events)
        await rig.read(operations.Process(run_id=find_started(events).run_id))

        contents = [m.get("content") for m in rig.model.requests[1].decode_messages()]
        assert contents[-1] == "42"


async def test_readers_of_an_interrupted_run_hear_of_its_end_at_once() -> None:
    async with open_rig("say One\nwait never", "say Two") as rig:
        first = asyncio.create_task(rig.ask())
        await rig.model.gates["never"].reached.wait()
        (run,) = (await rig.dispatcher.dispatch(operations.ListRuns(), BY)).value.data
        await rig.ask("And?", thread_id=run.thread_id, if_busy="interrupt")

        assert find_ended(await first).status == "cancelled"


async def test_what_the_thrown_away_replies_used_is_counted() -> None:
    bad_script = 'call nothing {"q":1}\nusage 100 50'
    async with open_rig(bad_script, bad_script, 'call look {"q":1}\nusage 100 50') as rig:
        events = await rig.ask(tools=TOOLS)
        run = await rig.run(find_started(events).run_id)

        assert (run.usage.input_tokens, run.usage.output_tokens) == (300, 150)


async def test_the_turns_deadline_holds_over_all_its_tries() -> None:
    bad_script = 'call nothing {"q":1}'
    async with open_rig(bad_script, bad_script + "\nwait never") as rig:
        events = await rig.ask(tools=TOOLS, deadlines=Deadlines(turn=0.2))

        assert find_ended(events).reason == "stalled"
        assert len(rig.model.requests) == 2


async def test_one_run_that_cannot_be_moved_on_stops_no_other() -> None:
    async with open_rig('call look {"q":1}', 'call look {"q":1}') as rig:
        stuck_id, other_id = [
            find_started(await rig.ask(tools=TOOLS, expires_in=1)).run_id for _ in range(2)
        ]
        fault = errors.Internal("This row is odd.")
        rig.store.trouble = lambda read_set: fault if read_set.run_id == stuck_id else None
        rig.now += 2_000
        await rig.worker.sweeper.sweep()

        assert (await rig.run(other_id)).status == "queued"
        assert (await rig.run(stuck_id)).status == "action_required"


async def test_a_worker_outlives_whatever_its_store_raises() -> None:
    async with open_rig("say Hi.") as rig:
        failures = iter([ValueError("odd"), errors.Internal("odder")])
        rig.store.trouble = lambda read_set: (
            next(failures, None) if read_set.what == "claim" else None
        )

        assert find_ended(await rig.ask()).status == "completed"


async def test_a_worker_that_stops_leaves_no_claim_behind() -> None:
    async with open_rig("say Hi.\nwait never", "say Hi.", own_runs=0) as rig:
        gate = rig.store.slow_claims = ScriptGate()
        ask_task = asyncio.create_task(rig.ask())
        await gate.reached.wait()
        stop_task = asyncio.create_task(rig.worker.stop(0))
        gate.opened.set()
        await stop_task
        (run,) = (await rig.dispatcher.dispatch(operations.ListRuns(), BY)).value.data

        assert run.status == "queued"
        ask_task.cancel()


async def test_a_finished_reply_waits_for_a_store_that_is_away() -> None:
    async with open_rig("say Hi.") as rig:
        failures = iter([errors.Unavailable("busy")])
        rig.store.trouble = lambda read_set: (
            next(failures, None) if read_set.what == "finalize" else None
        )

        assert find_ended(await rig.ask()).status == "completed"
        assert len(rig.model.requests) == 1


async def test_an_unknown_model_is_refused_before_anything_is_made() -> None:
    async with open_rig() as rig:
        with pytest.raises(errors.BadSettings):
            await rig.ask(model="unknown")

        assert not (await rig.dispatcher.dispatch(operations.ListThreads(), BY)).value.data


async def test_a_model_that_is_gone_when_its_run_starts_fails_the_run() -> None:
    async with open_rig() as rig:
        events = await rig.ask(model="nowhere")
        run = await rig.run(find_started(events).run_id)

        assert run.error is not None
        assert (run.status, run.error.code) == ("failed", "bad_settings")


FAR = Destination("far", digest="of its address")


async def test_a_run_that_only_others_can_serve_says_what_it_waits_for_and_goes_on() -> None:
    rig = RuntimeRig(ScriptedProvider("say Hello."))
    rig.destination = FAR
    call = operations.Process(message=operations.NewMessage("Hello?"), background=True)
    answer = await rig.dispatcher.open_stream(call, BY)
    assert isinstance(answer, Response)
    bystander = rig.new_worker("bystander", serves=lambda text: text != FAR.text)
    bystander.start()
    try:
        rig.now += 10_001
        for _ in range(3):
            await bystander.sweeper.sweep()
        waiting_run = await rig.store.get(Run, None, answer.value.id)
        page = await rig.store.read_events(waiting_run.id, 0)
        log = [events.decode(line) for line in page.lines]

        assert (waiting_run.status, waiting_run.waiting_for) == ("queued", "far")
        assert [each.waiting_for for each in log if isinstance(each, RunStatus)] == [None, "far"]
        assert not rig.model.requests

        rig.worker.start()
        await rig.read(operations.Follow(waiting_run.id))
        ended_run = await rig.store.get(Run, None, waiting_run.id)
        assert (ended_run.status, ended_run.waiting_for) == ("completed", None)
    finally:
        await bystander.stop(0)
        await rig.worker.stop(0)


async def test_nothing_is_sent_where_the_last_look_finds_another_place() -> None:
    async with open_rig("say Hello.", own_runs=0) as rig:
        rig.destination = FAR
        call = operations.Process(message=operations.NewMessage("Hello?"), background=True)
        rig.destination, own_destination = (
            Destination("far", digest="of another address"),
            rig.destination,
        )
        answer = await rig.dispatcher.open_stream(call, BY)
        assert isinstance(answer, Response)
        rig.destination = own_destination
        while rig.worker.active_runs or not (await rig.store.run_lease(answer.value.id)).epoch:
            await asyncio.sleep(0)

        assert not rig.model.requests
        assert (await rig.store.get(Run, None, answer.value.id)).error is None


async def test_a_run_that_is_not_for_this_program_waits_for_another_and_keeps_its_attempts() -> (
    None
):
    async with open_rig("say Hello.", "say Hello.", own_runs=0) as rig:
        rig.destination = Destination("far", digest="of another address")
        call = operations.Process(
            message=operations.NewMessage("Hello?"), background=True, max_attempts=1
        )
        answer = await rig.dispatcher.open_stream(call, BY)
        assert isinstance(answer, Response)
        run_id = answer.value.id
        rig.destination = FAR
        while (declined_run := await rig.store.get(Run, None, run_id)).waiting_for is None:
            await asyncio.sleep(0)
        lease = await rig.store.run_lease(run_id)
        later_events = await rig.ask()

        # Its own runs go on, though that one has waited longer, and it claims that one no more.
        assert find_ended(later_events).status == "completed"
        assert await rig.store.run_lease(run_id) == lease
        assert (declined_run.status, declined_run.attempt, declined_run.waiting_for) == (
            "queued",
            0,
            "far",
        )

        rig.destination = Destination("far", digest="of another address")
        other_worker = rig.new_worker("other")
        other_worker.start()
        try:
            await rig.read(operations.Follow(run_id))
            assert (await rig.store.get(Run, None, run_id)).status == "completed"
        finally:
            await other_worker.stop(0)


async def test_a_repeated_request_wants_the_turn_that_nobody_wants_any_more() -> None:
    rig = RuntimeRig(ScriptedProvider("say Hello."))
    thread = (await rig.dispatcher.dispatch(operations.CreateThread(), BY)).value
    run = (await rig.dispatcher.dispatch(operations.CreateRun(thread.id), BY)).value
    await rig.dispatcher.open_stream(operations.Complete(run.id), BY, "one key")

    def forget(records: Snapshot) -> ChangeSet:
        assert records.run is not None
        assert records.lease is not None
        return ChangeSet(
            run_updates=(RunUpdate(records.run, replace(records.lease, wanted=False)),)
        )

    await rig.store.change(ReadSet(owner=None, run_id=run.id), forget)
    rig.worker.start()
    try:
        async with asyncio.timeout(20):
            events = [each async for each in rig.listen(operations.Complete(run.id), "one key")]
            repeated_events = [
                each async for each in rig.listen(operations.Complete(run.id), "one key")
            ]
        assert find_ended(events).status == "completed"
        assert repeated_events == events
        assert len(rig.model.requests) == 1
    finally:
        await rig.worker.stop(0)


async def test_another_owners_thread_is_not_found() -> None:
    async with open_rig("say Hi.") as rig:
        events = await rig.ask()

        for call in (
            operations.GetRun(find_started(events).run_id),
            operations.GetThread(find_started(events).thread_id),
            operations.CancelRun(find_started(events).run_id),
            operations.ListMessages(find_started(events).thread_id),
        ):
            with pytest.raises(errors.NotFound):
                await rig.dispatcher.dispatch(call, Principal(owner="somebody else"))


@pytest.mark.parametrize(
    ("media_type", "expected_part"),
    [
        ("image/gif", {"type": "image_url", "image_url": {"url": "data:image/gif;base64,aGk="}}),
        ("text/plain", {"type": "text", "text": "File it.bin:\n\nhi"}),
        (
            "application/pdf",
            {
                "type": "file",
                "file": {"filename": "it.bin", "file_data": "data:application/pdf;base64,aGk="},
            },
        ),
    ],
)
async def test_an_upload_is_put_before_the_model(media_type: str, expected_part: object) -> None:
    async with open_rig("say I see.") as rig:
        upload = (await rig.dispatcher.files.upload(OWNER, "it.bin", media_type, b"hi")).value
        content = (Text("What is this? antiphon:no"), File(upload.id))
        await rig.read(operations.Process(message=operations.NewMessage(content)))

        (message,) = rig.model.requests[0].decode_messages()
        assert message["content"][1] == expected_part


async def test_an_image_may_be_an_upload_too() -> None:
    async with open_rig("say I see.") as rig:
        upload = (await rig.dispatcher.files.upload(OWNER, "it.gif", "image/gif", b"hi")).value
        content = (Image(file_id=upload.id),)
        await rig.read(operations.Process(message=operations.NewMessage(content)))

        (message,) = rig.model.requests[0].decode_messages()
        assert message["content"][0]["image_url"]["url"].startswith("data:image/gif;base64,")


async def test_usage_adds_up_over_the_turns() -> None:
    async with open_rig('call look {"q":"x"}\nusage 10 5', "say It is 42.\nusage 20 7") as rig:
        events = await rig.ask(tools=TOOLS)
        await rig.submit(events)
        await rig.read(operations.Process(run_id=find_started(events).run_id))
        run = await rig.run(find_started(events).run_id)

        assert (run.usage.input_tokens, run.usage.output_tokens) == (30, 12)


async def test_an_assistant_gives_what_the_run_does_not_name() -> None:
    async with open_rig("say Hi.") as rig:
        create_call = operations.CreateAssistant(
            name="Guide", model="scripted", instructions="Be brief.", tools=TOOLS
        )
        assistant = (await rig.dispatcher.dispatch(create_call, BY)).value
        await rig.ask(assistant_id=assistant.id)

        question = rig.model.requests[0]
        assert (question.instructions, question.tools) == ("Be brief.", TOOLS)


async def test_additional_instructions_stand_behind_those_of_the_run_or_its_assistant() -> None:
    async with open_rig("say Hi.", "say Hi.", "say Hi.") as rig:
        create_call = operations.CreateAssistant(model="scripted", instructions="Be brief.")
        assistant = (await rig.dispatcher.dispatch(create_call, BY)).value
        await rig.ask(assistant_id=assistant.id, additional_instructions="Be kind.")
        await rig.ask(instructions="Be slow.", additional_instructions="Be kind.")
        await rig.ask(additional_instructions="Be kind.")

        assert [request.instructions for request in rig.model.requests] == [
            "Be brief.\n\nBe kind.",
            "Be slow.\n\nBe kind.",
            "Be kind.",
        ]


async def test_a_long_log_is_read_the_same_from_every_place() -> None:
    async with open_rig("say " + " ".join(f"word{n}" for n in range(200))) as rig:
        events = await rig.ask()

        for after in range(len(events)):
            later_events = await rig.read(
                operations.Follow(find_started(events).run_id, after=after)
            )
            assert later_events == events[after:]


async def test_a_run_that_is_there_takes_nothing_that_begins_another() -> None:
    async with open_rig('call look {"q":"x"}') as rig:
        events = await rig.ask(tools=TOOLS)

        with pytest.raises(errors.InvalidRequest):
            await rig.ask("More?", run_id=find_started(events).run_id)


async def test_a_healthy_worker_beats_within_its_lease_however_seldom_it_was_told_to() -> None:
    settings = Settings(lease_duration=0.3, heartbeat_interval=60.0)
    async with open_rig("say Hi.\nwait gate\nsay there.", settings=settings) as rig:
        ask_task = asyncio.create_task(rig.ask())
        await rig.model.gates["gate"].reached.wait()
        (run,) = (await rig.dispatcher.dispatch(operations.ListRuns(), BY)).value.data
        first = (await rig.store.run_lease(run.id)).due_at
        assert first is not None
        rig.now += 100
        while (await rig.store.run_lease(run.id)).due_at == first:
            await asyncio.sleep(0)
        rig.model.gates["gate"].opened.set()

        assert find_ended(await ask_task).status == "completed"
