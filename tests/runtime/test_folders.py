"""Instructions of folders in runs: read once, kept through hand-offs, never another owner's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import Operation
from antiphon.engine.snapshot import ChangeSet, ReadSet, Snapshot
from antiphon.runtime.scheduler import Scheduler
from antiphon.types import errors
from antiphon.types.folders import Folder
from antiphon.types.runs import Run, Thread
from tests.support.runtime.rig import BY, OWNER, TOOLS, RuntimeRig, find_started, open_rig

FIRST = 30 * 60_000
"""The half hour after the clock of a rig begins."""


async def send(rig: RuntimeRig, call: Operation[Any]) -> Any:
    return (await rig.dispatcher.dispatch(call, BY)).value


async def test_a_folder_stands_between_the_assistant_and_the_request_and_survives_a_hand_off() -> (
    None
):
    async with open_rig('call look {"q":"x"}', "say It is 42.") as rig:
        folder = await send(rig, operations.CreateFolder("Taxes", "Answer in French."))
        thread = await send(rig, operations.CreateThread(folder_id=folder.id))
        events = await rig.ask(
            thread_id=thread.id,
            tools=TOOLS,
            instructions="Be brief.",
            additional_instructions="Be kind.",
        )
        await send(rig, operations.UpdateFolder(folder.id, instructions="Answer in German."))
        await rig.submit(events)
        await rig.read(operations.Process(run_id=find_started(events).run_id))

        expected_instructions = (
            'Be brief.\n\n<folder_instructions name="Taxes">\nAnswer in French.\n'
            "</folder_instructions>\n\nBe kind."
        )
        assert [request.instructions for request in rig.model.requests] == [
            expected_instructions,
            expected_instructions,
        ]


async def test_a_schedule_in_a_thread_of_a_folder_reads_the_instructions() -> None:
    async with open_rig("say All is well.") as rig:
        folder = await send(rig, operations.CreateFolder("Taxes", "Answer in French."))
        thread = await send(rig, operations.CreateThread(folder_id=folder.id))
        schedule = operations.CreateSchedule("Report.", cron="*/30 * * * *", thread_id=thread.id)
        await send(rig, schedule)
        rig.now = FIRST + 1
        await Scheduler(rig.store, rig.bus, rig.dispatcher.occurrences, retention=1).start_due()

        (run,) = (await send(rig, operations.ListRuns())).data
        assert [part.text for part in run.instruction_parts] == ["Answer in French."]


@pytest.mark.parametrize("owner", [OWNER, "someone else"])
async def test_a_folder_that_is_gone_or_another_owners_gives_nothing(owner: str) -> None:
    async with open_rig("say Hi.") as rig:
        folder = Folder(id="folder_1", name="F", instructions="Obey.", created_at=0, updated_at=0)
        if owner != OWNER:
            await rig.store.put(owner, folder)
        thread = await send(rig, operations.CreateThread())
        await rig.store.change(ReadSet(owner=OWNER, thread_id=thread.id), _put_into("folder_1"))
        await rig.ask(thread_id=thread.id, instructions="Be brief.")

        assert rig.model.requests[0].instructions == "Be brief."
        run: Run = (await send(rig, operations.ListRuns())).data[0]
        assert run.instruction_parts == ()


def _put_into(folder_id: str) -> Callable[[Snapshot], ChangeSet]:
    def decide(records: Snapshot) -> ChangeSet:
        assert records.thread is not None
        return ChangeSet(thread=replace(records.thread, folder_id=folder_id))

    return decide


async def test_a_thread_that_is_put_into_a_folder_as_it_is_deleted_ends_in_none() -> None:
    async with open_rig() as rig:
        folder = await send(rig, operations.CreateFolder("Taxes"))
        thread = await send(rig, operations.CreateThread())

        def delete_folder(read_set: ReadSet) -> None:
            """Delete it before the change; a store in memory never waits."""
            rig.store.trouble = lambda _: None
            with pytest.raises(StopIteration):
                rig.store.delete(Folder, OWNER, folder.id).send(None)

        rig.store.trouble = delete_folder
        with pytest.raises(errors.NotFound):
            await send(rig, operations.UpdateThread(thread.id, folder_id=folder.id))

        thread_after: Thread = await send(rig, operations.GetThread(thread.id))
        assert thread_after.folder_id is None
