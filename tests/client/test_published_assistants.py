"""Published assistants, on both lines: used and copied by others, changed by their author."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon import errors
from antiphon.client.async_client import AsyncClient
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import Assistant
from tests.support.client.either_transport import LINES

HOSTILE = "<img src=x onerror=alert(1)> \u202eevil"


@pytest.fixture(params=LINES)
async def base(request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient]:
    async with request.param() as client:
        yield client


async def add_assistant(client: AsyncClient, **fields: Any) -> Assistant:
    return await client.create_assistant(
        **{"name": HOSTILE, "model": "demo", "instructions": "Rhyme.", **fields}
    )


async def test_a_published_assistant_is_used_by_another_owner_with_their_rights_alone(
    base: AsyncClient,
) -> None:
    ann, ben = base.on_behalf_of("ann"), base.on_behalf_of("ben")
    file = await ann.upload_file(b"secret", "plan.txt")
    assistant = await add_assistant(
        ann,
        tools=[ToolSpec("look", "Look.")],
        file_ids=[file.id],
        metadata={"starters.0": '["Hi"]', "shared": "the mark of a link"},
    )
    with pytest.raises(errors.NotFound):
        await ben.get_published_assistant(assistant.id)

    published = await ann.publish_assistant(assistant.id)
    seen = await ben.get_published_assistant(assistant.id)
    run = await ben.create_run((await ben.create_thread()).id, assistant_id=assistant.id)
    files = await ben.list_files(thread_id=run.thread_id, assistant_id=assistant.id)

    assert published.published_at is not None
    assert (seen.name, seen.instructions, seen.author) == (HOSTILE, "Rhyme.", "")
    assert seen.metadata == {"starters.0": '["Hi"]'}
    assert (run.assistant_id, run.instructions) == (assistant.id, "Rhyme.")
    assert [each.name for each in run.tools] == ["look"]
    assert not files.data
    assert [each.id for each in (await ben.list_published_assistants()).data][:1] == [assistant.id]
    for refused in (
        lambda: ben.get_assistant(assistant.id),
        lambda: ben.update_assistant(assistant.id, name="mine"),
        lambda: ben.delete_assistant(assistant.id),
        lambda: ben.publish_assistant(assistant.id),
        lambda: ben.unpublish_assistant(assistant.id),
    ):
        with pytest.raises(errors.NotFound):
            await refused()
    assert await ann.get_assistant(assistant.id) == published


async def test_a_copy_of_a_published_assistant_is_its_owners(
    base: AsyncClient,
) -> None:
    ann, ben = base.on_behalf_of("ann"), base.on_behalf_of("ben")
    assistant = await add_assistant(ann, metadata={"starters.0": '["Hi"]', "private": "x"})
    await ann.publish_assistant(assistant.id)

    copy = await ben.copy_published_assistant(assistant.id, idempotency_key="once")
    again = await ben.copy_published_assistant(assistant.id, idempotency_key="once")
    await ann.update_assistant(assistant.id, instructions="Sing.")
    kept = await ben.update_assistant(copy.id, name="Mine")

    assert again.id == copy.id
    assert (kept.name, kept.instructions, kept.published_at) == ("Mine", "Rhyme.", None)
    assert copy.metadata == {"starters.0": '["Hi"]', "copied_from": assistant.id}
    assert (await ben.get_published_assistant(assistant.id)).instructions == "Sing."


async def test_one_that_is_taken_back_ends_for_new_runs_and_leaves_those_that_go_on(
    base: AsyncClient,
) -> None:
    ann, ben = base.on_behalf_of("ann"), base.on_behalf_of("ben")
    assistant = await add_assistant(ann)
    await ann.publish_assistant(assistant.id)
    thread = await ben.create_thread()
    run = await ben.create_run(thread.id, assistant_id=assistant.id)

    taken_back = await ann.unpublish_assistant(assistant.id)
    again = await ann.unpublish_assistant(assistant.id)

    assert taken_back == again
    assert taken_back.published_at is None
    assert (await ben.get_run(run.id)).instructions == "Rhyme."
    for refused in (
        lambda: ben.create_run(thread.id, assistant_id=assistant.id),
        lambda: ben.get_published_assistant(assistant.id),
        lambda: ben.copy_published_assistant(assistant.id),
        lambda: ben.list_files(assistant_id=assistant.id),
    ):
        with pytest.raises(errors.NotFound):
            await refused()
    assert assistant.id not in [each.id for each in (await ben.list_published_assistants()).data]


async def test_published_ones_are_listed_in_pages_and_end_when_they_are_deleted(
    base: AsyncClient,
) -> None:
    ann, ben = base.on_behalf_of("ann"), base.on_behalf_of("ben")
    made = [await add_assistant(ann, name=f"Number {number}") for number in range(3)]
    for each in made:
        await ann.publish_assistant(each.id)
    await ann.delete_assistant(made[1].id)

    first = await ben.list_published_assistants(limit=1)
    second = await ben.list_published_assistants(limit=1, after=first.next)

    assert [each.name for each in (*first.data, *second.data)] == ["Number 2", "Number 0"]
    with pytest.raises(errors.NotFound):
        await ben.create_run((await ben.create_thread()).id, assistant_id=made[1].id)
    with pytest.raises(errors.NotFound):
        await ben.list_published_assistants(after="asst_guessed")
