"""Desk, worker and runner together, over a store in memory and a model that follows a script."""

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
from tests.support.runtime.rig import BY, OWNER, TOOLS, House, find_started, house, last, one


async def test_a_turn_is_streamed_numbered_from_one_and_ends_with_turn_ended() -> None:
    async with house("think Hm.\nsay Hello there.") as h:
        told = await h.ask()

        assert [number for number, _ in told] == list(range(1, len(told) + 1))
        assert last(told).status == "completed"


async def test_the_deltas_are_the_saved_message() -> None:
    async with house('think Let me see.\nsay "One two\\n\\nthree 🎼"\nusage 10 5') as h:
        told = await h.ask()
        said = fold_events(told)
        message = one(told, MessageCompleted).message

        assert (said.text, said.reasoning) == (message.text, message.reasoning)
        assert (await h.messages(message.thread_id))[1] == message


@pytest.mark.parametrize(
    ("of_run", "of_assistant", "of_settings"), [(1, 5, 9), (None, 1, 9), (None, None, 1)]
)
async def test_tool_calls_are_limited_by_the_run_else_its_assistant_else_the_setting(
    of_run: int | None, of_assistant: int | None, of_settings: int | None
) -> None:
    settings = Settings(max_tool_calls=of_settings)
    async with house('call look {"q":"x"}', 'call look {"q":"y"}', settings=settings) as h:
        creation = operations.CreateAssistant(max_tool_calls=of_assistant)
        assistant = (await h.dispatcher.dispatch(creation, BY)).value
        told = await h.ask(tools=TOOLS, assistant_id=assistant.id, max_tool_calls=of_run)
        await h.submit(told)
        again = await h.read(operations.Process(run_id=find_started(told).run_id))

        assert (last(again).status, last(again).reason) == ("incomplete", "max_tool_calls")
        assert (await h.run(find_started(told).run_id)).tool_calls == 1


@pytest.mark.parametrize(
    ("allowed", "offered"),
    [(None, ["look", "add"]), ((), []), (("add", "other"), ["add"]), (("l*",), ["look"])],
)
async def test_the_model_is_offered_the_allowed_tools_alone(
    allowed: tuple[str, ...] | None, offered: list[str]
) -> None:
    async with house("say Hi.") as h:
        await h.ask(tools=TOOLS, allowed_tools=allowed)
        (request,) = h.model.requests

        assert [tool.name for tool in request.tools] == offered


async def test_a_run_whose_time_is_over_ends_within_its_turn() -> None:
    async with house("say Hi.\nwait late\nsay there") as h:
        asking = asyncio.create_task(h.ask(timeout=1))
        await h.model.gates["late"].reached.wait()
        h.now += 1_000
        told = await asking

        assert (last(told).status, last(told).reason) == ("incomplete", "timeout")
        assert fold_events(told).text == "Hi."


async def test_a_hand_off_and_the_next_turn() -> None:
    async with house('call look {"q":"x"}', "say It is 42.") as h:
        told = await h.ask(tools=TOOLS)
        assert last(told).status == "action_required"
        (saved,) = await h.submit(told)
        assert (saved.status, saved.output) == ("completed", "42")
        again = await h.read(operations.Process(run_id=find_started(told).run_id))

        assert last(again).status == "completed"
        assert again[0][0] == told[-1][0] + 1
        seen = h.model.requests[1].decode_messages()
        assert [message["role"] for message in seen] == ["user", "assistant", "tool"]


async def test_after_a_hand_off_nothing_is_held() -> None:
    async with house('call look {"q":"x"}') as h:
        await h.ask(tools=TOOLS)
        while h.worker.active_runs:
            await asyncio.sleep(0)

        assert h.bus.subscribers == 2  # the worker's own: its queue and its leases


async def test_parallel_outputs_reach_the_model_in_call_order() -> None:
    async with house('call look {"q":1}\ncall add {"a":2}', "say Done.") as h:
        told = await h.ask(tools=TOOLS)
        first, second = one(told, ActionRequired).actions
        for action in (second, first):
            await h.dispatcher.dispatch(
                operations.SubmitToolOutput(
                    find_started(told).run_id, action.tool_call_id, f"of {action.name}"
                ),
                BY,
            )
        await h.read(operations.Process(run_id=find_started(told).run_id))

        outputs = [
            m["content"] for m in h.model.requests[1].decode_messages() if m["role"] == "tool"
        ]
        assert outputs == ["of look", "of add"]


async def test_a_tool_message_is_a_tool_output() -> None:
    async with house('call look {"q":"x"}') as h:
        told = await h.ask(tools=TOOLS)
        call_id = one(told, ActionRequired).actions[0].tool_call_id
        call = operations.CreateMessage(
            find_started(told).thread_id, "42", role="tool", tool_call_id=call_id
        )
        message = (await h.dispatcher.dispatch(call, BY)).value

        assert (message.role, message.text, message.number) == ("tool", "42", 3)
        assert (await h.dispatcher.dispatch(call, BY)).value == message
        assert (await h.run(find_started(told).run_id)).status == "queued"


async def test_a_tool_message_under_a_key_is_that_message_for_ever() -> None:
    async with house('call look {"q":1}\ncall look {"q":2}') as h:
        told = await h.ask(tools=TOOLS)
        first, second = [
            operations.CreateMessage(
                find_started(told).thread_id,
                "42",
                role="tool",
                tool_call_id=action.tool_call_id,
                metadata={"from": "test"},
            )
            for action in one(told, ActionRequired).actions
        ]
        message = (await h.dispatcher.dispatch(first, BY, "k")).value
        with pytest.raises(errors.IdempotencyConflict):
            await h.dispatcher.dispatch(second, BY, "k")
        await h.dispatcher.dispatch(operations.CancelRun(find_started(told).run_id), BY)
        again = await h.dispatcher.dispatch(first, BY, "k")

        assert again.replayed
        assert msgspec.json.decode(again.value, type=Message) == message
        assert message.metadata == {"from": "test"}


async def test_a_kept_answer_outlives_what_it_was_made_from() -> None:
    async with house("say Hi.") as h:
        assistant = (await h.dispatcher.dispatch(operations.CreateAssistant(), BY)).value
        thread = (await h.dispatcher.dispatch(operations.CreateThread(), BY)).value
        call = operations.CreateRun(thread.id, assistant_id=assistant.id)
        run = (await h.dispatcher.dispatch(call, BY, "k")).value
        await h.dispatcher.dispatch(operations.DeleteAssistant(assistant.id), BY)
        again = await h.dispatcher.dispatch(call, BY, "k")

        assert msgspec.json.decode(again.value, type=Run) == run


async def test_a_cut_reply_ends_incomplete_with_its_text_kept() -> None:
    async with house("say So far so\ncut") as h:
        told = await h.ask()

        assert (last(told).status, last(told).reason) == ("incomplete", "disconnected")
        assert one(told, MessageCompleted).message.status == "incomplete"


async def test_silence_ends_incomplete_as_stalled() -> None:
    async with house("say Well\nstall") as h:
        told = await h.ask(deadlines=Deadlines(chunk=0.05))

        assert (last(told).status, last(told).reason) == ("incomplete", "stalled")


async def test_a_turn_has_a_deadline_however_much_the_model_talks() -> None:
    async with house("say Well\nwait never") as h:
        told = await h.ask(deadlines=Deadlines(chunk=60, turn=0.05))

        assert (last(told).status, last(told).reason) == ("incomplete", "stalled")


async def test_a_providers_refusal_fails_the_run_with_its_code_and_words() -> None:
    async with house("fail provider_auth The key is wrong.") as h:
        told = await h.ask()
        run = await h.run(find_started(told).run_id)

        assert run.status == "failed"
        assert run.error is not None
        assert (run.error.code, run.error.message) == ("provider_auth", "The key is wrong.")


async def test_a_broken_call_is_asked_for_again_and_the_model_is_told_why() -> None:
    async with house('call look {"q":', 'call look {"q":1}') as h:
        told = await h.ask(tools=TOOLS)
        restarted = one(told, TurnRestarted)

        assert restarted.reason == "invalid_tool_call"
        assert last(told).status == "action_required"
        assert "look" in h.model.requests[1].decode_messages()[-1]["content"]
        assert fold_events(told).calls[0].arguments == '{"q":1}'
        assert len(await h.messages(find_started(told).thread_id)) == 2


async def test_a_call_broken_three_times_fails_the_run_and_hands_nothing_out() -> None:
    async with house(*['call nothing {"q":1}'] * 3) as h:
        told = await h.ask(tools=TOOLS)
        run = await h.run(find_started(told).run_id)

        assert run.error is not None
        assert (run.status, run.error.code) == ("failed", "invalid_tool_call")
        assert len(h.model.requests) == 3
        assert not any(isinstance(event, ActionRequired) for _, event in told)


async def test_a_cancel_closes_the_model_and_keeps_what_was_said() -> None:
    async with house("say I was about\nwait never") as h:
        reading = asyncio.create_task(h.ask())
        await h.model.gates["never"].reached.wait()
        runs = (await h.dispatcher.dispatch(operations.ListRuns(), BY)).value.data
        answer = await h.dispatcher.dispatch(operations.CancelRun(runs[0].id), BY)
        told = await reading

        assert answer.status == 202
        assert last(told).status == "cancelled"
        assert one(told, MessageCompleted).message.text == "I was about"
        again = await h.dispatcher.dispatch(operations.CancelRun(runs[0].id), BY)
        assert again.status == 200


async def test_a_run_whose_worker_died_is_taken_over_and_the_log_says_so() -> None:
    async with house("say Lost words\nwait never", "say Found words") as h:
        reading = asyncio.create_task(h.ask())
        await h.model.gates["never"].reached.wait()
        (held,) = [task for task in asyncio.all_tasks() if task.get_name().startswith("run ")]
        held.cancel()
        h.now += 16_000
        await h.worker.sweeper.sweep()
        told = await reading

        assert one(told, TurnRestarted).reason == "worker_lost"
        assert fold_events(told).text == "Found words"
        assert one(told, MessageCompleted).message.text == "Found words"


async def test_a_worker_that_stops_gives_its_runs_back_to_the_next() -> None:
    async with house("say Lost words\nwait never", "say Found words") as h:
        reading = asyncio.create_task(h.ask())
        await h.model.gates["never"].reached.wait()
        await h.worker.stop(0)
        h.worker = h.new_worker("second")
        h.worker.start()
        told = await reading

        assert fold_events(told).text == "Found words"


async def test_nobody_waits_for_the_lease_of_a_worker_that_is_certainly_dead() -> None:
    async with house("say Lost words\nwait never", "say Found words") as h:
        reading = asyncio.create_task(h.ask())
        await h.model.gates["never"].reached.wait()
        heir = h.new_worker("heir", "first")
        heir.start()
        told = await reading
        await heir.stop(0)

        assert fold_events(told).text == "Found words"


async def test_a_run_that_nobody_asked_for_is_not_begun() -> None:
    async with house("say Hi.") as h:
        thread = (await h.dispatcher.dispatch(operations.CreateThread(), BY)).value
        await h.dispatcher.dispatch(operations.CreateMessage(thread.id, "Hello?"), BY)
        run = (await h.dispatcher.dispatch(operations.CreateRun(thread.id), BY)).value
        await h.worker.sweeper.sweep()
        assert (await h.run(run.id)).status == "queued"
        told = await h.read(operations.Complete(run.id))

        assert last(told).status == "completed"
        assert len(h.model.requests) == 1


async def test_a_second_reader_joins_the_turn_in_progress() -> None:
    async with house("say One\nwait gate\nsay two.") as h:
        first = asyncio.create_task(h.ask())
        await h.model.gates["gate"].reached.wait()
        (run,) = (await h.dispatcher.dispatch(operations.ListRuns(), BY)).value.data
        subscribers = h.bus.subscribers
        second = asyncio.create_task(h.read(operations.Process(run_id=run.id)))
        while h.bus.subscribers == subscribers:
            await asyncio.sleep(0)
        h.model.gates["gate"].opened.set()

        assert await first == await second
        assert len(h.model.requests) == 1


async def test_the_whole_run_can_be_followed_through_its_turns() -> None:
    async with house('call look {"q":"x"}', "say It is 42.") as h:
        told = await h.ask(tools=TOOLS)
        following = asyncio.create_task(h.read(operations.Follow(find_started(told).run_id)))
        await h.submit(told)
        again = await h.read(operations.Process(run_id=find_started(told).run_id))
        followed = await following

        assert followed[: len(told)] == told
        assert followed[-len(again) :] == again


async def test_an_event_from_the_future_is_refused() -> None:
    async with house("say Hi.") as h:
        told = await h.ask()

        with pytest.raises(errors.InvalidEventId):
            await h.read(operations.Follow(find_started(told).run_id, after=len(told) + 1))


async def test_events_past_retention_are_gone_and_the_messages_are_not() -> None:
    async with house("say Hi.") as h:
        told = await h.ask()
        await h.store.delete_expired(h.now + 1, 0)

        with pytest.raises(errors.EventExpired):
            await h.read(operations.Follow(find_started(told).run_id))
        assert len(await h.messages(find_started(told).thread_id)) == 2


@pytest.mark.parametrize("script", ["say Hi.", 'call look {"q":"x"}'])
async def test_a_temporary_thread_is_deleted_some_time_after_its_last_change(script: str) -> None:
    settings = Settings(temporary_retention=60)
    async with house(script, "say Kept.", settings=settings) as h:
        events = await h.ask(tools=TOOLS, temporary=True)
        kept = find_started(await h.ask()).thread_id
        run_id = find_started(events).run_id
        h.now += 60_000
        young = find_started(await h.ask(temporary=True)).thread_id
        h.now += 1
        await delete_expired(h)

        assert await list_temporary(h) == [young]
        assert await h.messages(kept)
        with pytest.raises(errors.NotFound):
            await h.run(run_id)
        (row,) = await h.store.usage("1970-01-01", 9)
        assert row.runs == 3


async def test_an_expired_file_is_deleted() -> None:
    async with house() as h:
        upload = h.dispatcher.files.upload
        short = (await upload("ann", "a", "a/b", b"x", expires_in=60)).value
        long = (await upload("ann", "b", "a/b", b"x", purpose="vision", expires_in=61)).value
        kept = (await upload("ann", "c", "a/b", b"x")).value
        h.now += 60_001
        await delete_expired(h)

        left = (await h.store.list(Upload, "ann", limit=9)).data
        assert [each.id for each in left] == [kept.id, long.id]
        with pytest.raises(errors.NotFound):
            await h.store.content("ann", short.id)


async def delete_expired(h: House) -> None:
    await Housekeeper(h.store, h.bus, h.settings, h.mint).delete_expired()


async def list_temporary(h: House) -> list[str]:
    listed = await h.dispatcher.dispatch(operations.ListThreads(temporary=True), BY)
    return [thread.id for thread in listed.value.data]


async def test_the_same_process_call_under_one_key_is_one_run() -> None:
    async with house("say Hi.", "say Twice!") as h:
        call = operations.Process(message=operations.NewMessage("Hello?"))
        first = [numbered async for numbered in h.listen(call, key="k")]
        second = [numbered async for numbered in h.listen(call, key="k")]

        assert first == second
        assert len(h.model.requests) == 1


async def test_a_turn_asked_for_again_under_its_key_is_told_again_even_after_its_end() -> None:
    async with house('call look {"q":"x"}', "say It is 42.") as h:
        run_id = find_started(told := await h.ask(tools=TOOLS)).run_id
        await h.submit(told)
        call = operations.Complete(run_id)
        first = [numbered async for numbered in h.listen(call, key="k")]
        second = [numbered async for numbered in h.listen(call, key="k")]

        assert last(first).status == "completed"
        assert first == second
        with pytest.raises(errors.RunEnded):
            await h.read(call)


async def test_a_background_run_needs_no_reader() -> None:
    async with house("say Hi.") as h:
        call = operations.Process(message=operations.NewMessage("Hello?"), background=True)
        answer = await h.dispatcher.open_stream(call, BY)
        assert isinstance(answer, Response)
        told = await h.read(operations.Follow(answer.value.id))

        assert last(told).status == "completed"


async def test_a_busy_thread_can_be_waited_for() -> None:
    async with house("say One\nwait gate", "say Two") as h:
        first = asyncio.create_task(h.ask())
        await h.model.gates["gate"].reached.wait()
        (run,) = (await h.dispatcher.dispatch(operations.ListRuns(), BY)).value.data
        second = asyncio.create_task(h.ask("And?", thread_id=run.thread_id, if_busy="wait"))
        h.model.gates["gate"].opened.set()
        await first

        assert last(await second).status == "completed"
        roles = [message.role for message in await h.messages(run.thread_id)]
        assert roles == ["user", "assistant"] * 2


async def test_the_second_turn_reads_its_history_past_the_cache() -> None:
    async with house('call look {"q":"x"}', "say It is 42.") as h:
        told = await h.ask(tools=TOOLS)
        await h.submit(told)
        await h.read(operations.Process(run_id=find_started(told).run_id))

        contents = [m.get("content") for m in h.model.requests[1].decode_messages()]
        assert contents[-1] == "42"


async def test_readers_of_an_interrupted_run_hear_of_its_end_at_once() -> None:
    async with house("say One\nwait never", "say Two") as h:
        first = asyncio.create_task(h.ask())
        await h.model.gates["never"].reached.wait()
        (run,) = (await h.dispatcher.dispatch(operations.ListRuns(), BY)).value.data
        await h.ask("And?", thread_id=run.thread_id, if_busy="interrupt")

        assert last(await first).status == "cancelled"


async def test_what_the_thrown_away_replies_used_is_counted() -> None:
    broken = 'call nothing {"q":1}\nusage 100 50'
    async with house(broken, broken, 'call look {"q":1}\nusage 100 50') as h:
        told = await h.ask(tools=TOOLS)
        run = await h.run(find_started(told).run_id)

        assert (run.usage.input_tokens, run.usage.output_tokens) == (300, 150)


async def test_the_turns_deadline_holds_over_all_its_tries() -> None:
    broken = 'call nothing {"q":1}'
    async with house(broken, broken + "\nwait never") as h:
        told = await h.ask(tools=TOOLS, deadlines=Deadlines(turn=0.2))

        assert last(told).reason == "stalled"
        assert len(h.model.requests) == 2


async def test_one_run_that_cannot_be_moved_on_stops_no_other() -> None:
    async with house('call look {"q":1}', 'call look {"q":1}') as h:
        stuck, other = [
            find_started(await h.ask(tools=TOOLS, expires_in=1)).run_id for _ in range(2)
        ]
        odd = errors.Internal("This row is odd.")
        h.store.trouble = lambda about: odd if about.run_id == stuck else None
        h.now += 2_000
        await h.worker.sweeper.sweep()

        assert (await h.run(other)).status == "queued"
        assert (await h.run(stuck)).status == "action_required"


async def test_a_worker_outlives_whatever_its_store_raises() -> None:
    async with house("say Hi.") as h:
        failures = iter([ValueError("odd"), errors.Internal("odder")])
        h.store.trouble = lambda about: next(failures, None) if about.what == "claim" else None

        assert last(await h.ask()).status == "completed"


async def test_a_worker_that_stops_leaves_no_claim_behind() -> None:
    async with house("say Hi.\nwait never", "say Hi.", own_runs=0) as h:
        gate = h.store.slow_claims = ScriptGate()
        reading = asyncio.create_task(h.ask())
        await gate.reached.wait()
        stopping = asyncio.create_task(h.worker.stop(0))
        gate.opened.set()
        await stopping
        (run,) = (await h.dispatcher.dispatch(operations.ListRuns(), BY)).value.data

        assert run.status == "queued"
        reading.cancel()


async def test_a_finished_reply_waits_for_a_store_that_is_away() -> None:
    async with house("say Hi.") as h:
        failures = iter([errors.Unavailable("busy")])
        h.store.trouble = lambda about: next(failures, None) if about.what == "finalize" else None

        assert last(await h.ask()).status == "completed"
        assert len(h.model.requests) == 1


async def test_an_unknown_model_is_refused_before_anything_is_made() -> None:
    async with house() as h:
        with pytest.raises(errors.BadSettings):
            await h.ask(model="unknown")

        assert not (await h.dispatcher.dispatch(operations.ListThreads(), BY)).value.data


async def test_a_model_that_is_gone_when_its_run_starts_fails_the_run() -> None:
    async with house() as h:
        told = await h.ask(model="nowhere")
        run = await h.run(find_started(told).run_id)

        assert run.error is not None
        assert (run.status, run.error.code) == ("failed", "bad_settings")


FAR = Destination("far", digest="of its address")


async def test_a_run_that_only_others_can_serve_says_what_it_waits_for_and_goes_on() -> None:
    h = House(ScriptedProvider("say Hello."))
    h.destination = FAR
    begun = operations.Process(message=operations.NewMessage("Hello?"), background=True)
    answer = await h.dispatcher.open_stream(begun, BY)
    assert isinstance(answer, Response)
    bystander = h.new_worker("bystander", serves=lambda text: text != FAR.text)
    bystander.start()
    try:
        h.now += 10_001
        for _ in range(3):
            await bystander.sweeper.sweep()
        waiting = await h.store.get(Run, None, answer.value.id)
        page = await h.store.read_events(waiting.id, 0)
        said = [events.decode(line) for line in page.lines]

        assert (waiting.status, waiting.waiting_for) == ("queued", "far")
        assert [each.waiting_for for each in said if isinstance(each, RunStatus)] == [None, "far"]
        assert not h.model.requests

        h.worker.start()
        await h.read(operations.Follow(waiting.id))
        ended = await h.store.get(Run, None, waiting.id)
        assert (ended.status, ended.waiting_for) == ("completed", None)
    finally:
        await bystander.stop(0)
        await h.worker.stop(0)


async def test_nothing_is_sent_where_the_last_look_finds_another_place() -> None:
    async with house("say Hello.", own_runs=0) as h:
        h.destination = FAR
        begun = operations.Process(message=operations.NewMessage("Hello?"), background=True)
        h.destination, there = Destination("far", digest="of another address"), h.destination
        answer = await h.dispatcher.open_stream(begun, BY)
        assert isinstance(answer, Response)
        h.destination = there
        while h.worker.active_runs or not (await h.store.run_lease(answer.value.id)).epoch:
            await asyncio.sleep(0)

        assert not h.model.requests
        assert (await h.store.get(Run, None, answer.value.id)).error is None


async def test_a_run_that_is_not_for_this_program_waits_for_another_and_keeps_its_attempts() -> (
    None
):
    async with house("say Hello.", "say Hello.", own_runs=0) as h:
        h.destination = Destination("far", digest="of another address")
        begun = operations.Process(
            message=operations.NewMessage("Hello?"), background=True, max_attempts=1
        )
        answer = await h.dispatcher.open_stream(begun, BY)
        assert isinstance(answer, Response)
        run_id = answer.value.id
        h.destination = FAR
        while (declined := await h.store.get(Run, None, run_id)).waiting_for is None:
            await asyncio.sleep(0)
        held = await h.store.run_lease(run_id)
        later = await h.ask()

        # Its own runs go on, though that one has waited longer, and it claims that one no more.
        assert last(later).status == "completed"
        assert await h.store.run_lease(run_id) == held
        assert (declined.status, declined.attempt, declined.waiting_for) == ("queued", 0, "far")

        h.destination = Destination("far", digest="of another address")
        other = h.new_worker("other")
        other.start()
        try:
            await h.read(operations.Follow(run_id))
            assert (await h.store.get(Run, None, run_id)).status == "completed"
        finally:
            await other.stop(0)


async def test_a_repeated_request_wants_the_turn_that_nobody_wants_any_more() -> None:
    h = House(ScriptedProvider("say Hello."))
    thread = (await h.dispatcher.dispatch(operations.CreateThread(), BY)).value
    run = (await h.dispatcher.dispatch(operations.CreateRun(thread.id), BY)).value
    await h.dispatcher.open_stream(operations.Complete(run.id), BY, "one key")

    def forget(records: Snapshot) -> ChangeSet:
        assert records.run is not None
        assert records.lease is not None
        return ChangeSet(
            run_updates=(RunUpdate(records.run, replace(records.lease, wanted=False)),)
        )

    await h.store.change(ReadSet(owner=None, run_id=run.id), forget)
    h.worker.start()
    try:
        async with asyncio.timeout(20):
            told = [each async for each in h.listen(operations.Complete(run.id), "one key")]
            again = [each async for each in h.listen(operations.Complete(run.id), "one key")]
        assert last(told).status == "completed"
        assert again == told
        assert len(h.model.requests) == 1
    finally:
        await h.worker.stop(0)


async def test_another_owners_thread_is_not_found() -> None:
    async with house("say Hi.") as h:
        told = await h.ask()

        for call in (
            operations.GetRun(find_started(told).run_id),
            operations.GetThread(find_started(told).thread_id),
            operations.CancelRun(find_started(told).run_id),
            operations.ListMessages(find_started(told).thread_id),
        ):
            with pytest.raises(errors.NotFound):
                await h.dispatcher.dispatch(call, Principal(owner="somebody else"))


@pytest.mark.parametrize(
    ("media_type", "given"),
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
async def test_an_upload_is_put_before_the_model(media_type: str, given: object) -> None:
    async with house("say I see.") as h:
        upload = (await h.dispatcher.files.upload(OWNER, "it.bin", media_type, b"hi")).value
        content = (Text("What is this? antiphon:no"), File(upload.id))
        await h.read(operations.Process(message=operations.NewMessage(content)))

        (asked,) = h.model.requests[0].decode_messages()
        assert asked["content"][1] == given


async def test_an_image_may_be_an_upload_too() -> None:
    async with house("say I see.") as h:
        upload = (await h.dispatcher.files.upload(OWNER, "it.gif", "image/gif", b"hi")).value
        content = (Image(file_id=upload.id),)
        await h.read(operations.Process(message=operations.NewMessage(content)))

        (asked,) = h.model.requests[0].decode_messages()
        assert asked["content"][0]["image_url"]["url"].startswith("data:image/gif;base64,")


async def test_usage_adds_up_over_the_turns() -> None:
    async with house('call look {"q":"x"}\nusage 10 5', "say It is 42.\nusage 20 7") as h:
        told = await h.ask(tools=TOOLS)
        await h.submit(told)
        await h.read(operations.Process(run_id=find_started(told).run_id))
        run = await h.run(find_started(told).run_id)

        assert (run.usage.input_tokens, run.usage.output_tokens) == (30, 12)


async def test_an_assistant_gives_what_the_run_does_not_name() -> None:
    async with house("say Hi.") as h:
        made = operations.CreateAssistant(
            name="Guide", model="scripted", instructions="Be brief.", tools=TOOLS
        )
        assistant = (await h.dispatcher.dispatch(made, BY)).value
        await h.ask(assistant_id=assistant.id)

        question = h.model.requests[0]
        assert (question.instructions, question.tools) == ("Be brief.", TOOLS)


async def test_additional_instructions_stand_behind_those_of_the_run_or_its_assistant() -> None:
    async with house("say Hi.", "say Hi.", "say Hi.") as h:
        made = operations.CreateAssistant(model="scripted", instructions="Be brief.")
        assistant = (await h.dispatcher.dispatch(made, BY)).value
        await h.ask(assistant_id=assistant.id, additional_instructions="Be kind.")
        await h.ask(instructions="Be slow.", additional_instructions="Be kind.")
        await h.ask(additional_instructions="Be kind.")

        assert [request.instructions for request in h.model.requests] == [
            "Be brief.\n\nBe kind.",
            "Be slow.\n\nBe kind.",
            "Be kind.",
        ]


async def test_a_long_log_is_read_the_same_from_every_place() -> None:
    async with house("say " + " ".join(f"word{n}" for n in range(200))) as h:
        told = await h.ask()

        for after in range(len(told)):
            rest = await h.read(operations.Follow(find_started(told).run_id, after=after))
            assert rest == told[after:]


async def test_a_run_that_is_there_takes_nothing_that_begins_another() -> None:
    async with house('call look {"q":"x"}') as h:
        told = await h.ask(tools=TOOLS)

        with pytest.raises(errors.InvalidRequest):
            await h.ask("More?", run_id=find_started(told).run_id)


async def test_a_healthy_worker_beats_within_its_lease_however_seldom_it_was_told_to() -> None:
    settings = Settings(lease_duration=0.3, heartbeat_interval=60.0)
    async with house("say Hi.\nwait gate\nsay there.", settings=settings) as h:
        reading = asyncio.create_task(h.ask())
        await h.model.gates["gate"].reached.wait()
        (run,) = (await h.dispatcher.dispatch(operations.ListRuns(), BY)).value.data
        first = (await h.store.run_lease(run.id)).due_at
        assert first is not None
        h.now += 100
        while (await h.store.run_lease(run.id)).due_at == first:
            await asyncio.sleep(0)
        h.model.gates["gate"].opened.set()

        assert last(await reading).status == "completed"
