"""Published assistants over both transports: used and copied by others, changed by their author."""

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

    published_assistant = await ann.publish_assistant(assistant.id)
    public_view = await ben.get_published_assistant(assistant.id)
    run = await ben.create_run((await ben.create_thread()).id, assistant_id=assistant.id)
    files = await ben.list_files(thread_id=run.thread_id, assistant_id=assistant.id)

    assert published_assistant.published_at is not None
    assert (public_view.name, public_view.instructions, public_view.author) == (
        HOSTILE,
        "Rhyme.",
        "",
    )
    assert public_view.metadata == {"starters.0": '["Hi"]'}
    assert (run.assistant_id, run.instructions) == (assistant.id, "Rhyme.")
    assert [each.name for each in run.tools] == ["look"]
    assert not files.data
    assert [each.id for each in (await ben.list_published_assistants()).data][:1] == [assistant.id]
    for request in (
        lambda: ben.get_assistant(assistant.id),
        lambda: ben.update_assistant(assistant.id, name="mine"),
        lambda: ben.delete_assistant(assistant.id),
        lambda: ben.publish_assistant(assistant.id),
        lambda: ben.unpublish_assistant(assistant.id),
    ):
        with pytest.raises(errors.NotFound):
            await request()
    assert await ann.get_assistant(assistant.id) == published_assistant


async def test_a_copy_of_a_published_assistant_is_its_owners(
    base: AsyncClient,
) -> None:
    ann, ben = base.on_behalf_of("ann"), base.on_behalf_of("ben")
    assistant = await add_assistant(ann, metadata={"starters.0": '["Hi"]', "private": "x"})
    await ann.publish_assistant(assistant.id)

    copy = await ben.copy_published_assistant(assistant.id, idempotency_key="once")
    second_copy = await ben.copy_published_assistant(assistant.id, idempotency_key="once")
    await ann.update_assistant(assistant.id, instructions="Sing.")
    updated_copy = await ben.update_assistant(copy.id, name="Mine")

    assert second_copy.id == copy.id
    assert (updated_copy.name, updated_copy.instructions, updated_copy.published_at) == (
        "Mine",
        "Rhyme.",
        None,
    )
    assert copy.metadata == {"starters.0": '["Hi"]', "copied_from": assistant.id}
    assert (await ben.get_published_assistant(assistant.id)).instructions == "Sing."


async def test_an_unpublished_assistant_is_gone_for_new_runs_and_stays_for_those_that_go_on(
    base: AsyncClient,
) -> None:
    ann, ben = base.on_behalf_of("ann"), base.on_behalf_of("ben")
    assistant = await add_assistant(ann)
    await ann.publish_assistant(assistant.id)
    thread = await ben.create_thread()
    run = await ben.create_run(thread.id, assistant_id=assistant.id)

    unpublished_assistant = await ann.unpublish_assistant(assistant.id)
    unpublished_again = await ann.unpublish_assistant(assistant.id)

    assert unpublished_assistant == unpublished_again
    assert unpublished_assistant.published_at is None
    assert (await ben.get_run(run.id)).instructions == "Rhyme."
    for request in (
        lambda: ben.create_run(thread.id, assistant_id=assistant.id),
        lambda: ben.get_published_assistant(assistant.id),
        lambda: ben.copy_published_assistant(assistant.id),
        lambda: ben.list_files(assistant_id=assistant.id),
    ):
        with pytest.raises(errors.NotFound):
            await request()
    assert assistant.id not in [each.id for each in (await ben.list_published_assistants()).data]


async def test_published_assistants_are_listed_in_pages_and_end_when_they_are_deleted(
    base: AsyncClient,
) -> None:
    ann, ben = base.on_behalf_of("ann"), base.on_behalf_of("ben")
    assistants = [await add_assistant(ann, name=f"Number {number}") for number in range(3)]
    for each in assistants:
        await ann.publish_assistant(each.id)
    await ann.delete_assistant(assistants[1].id)

    first = await ben.list_published_assistants(limit=1)
    second = await ben.list_published_assistants(limit=1, after=first.next)

    assert [each.name for each in (*first.data, *second.data)] == ["Number 2", "Number 0"]
    with pytest.raises(errors.NotFound):
        await ben.create_run((await ben.create_thread()).id, assistant_id=assistants[1].id)
    with pytest.raises(errors.NotFound):
        await ben.list_published_assistants(after="asst_guessed")
