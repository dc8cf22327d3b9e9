"""An edited message continues in a branch, which replaces the other in lists."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from antiphon.api.operations import ListMessages
from antiphon.client import thread_families
from antiphon.client.async_client import AsyncClient
from antiphon.client.thread_families import (
    Fork,
    branch_after,
    branch_before,
    cancel_sent_run,
    latest_threads,
    predecessor_id,
)
from antiphon.settings.settings import Settings
from antiphon.types import errors
from antiphon.types.messages import Message
from antiphon.types.runs import Status, Thread


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    async with AsyncClient(settings=Settings(model="demo", database="memory:")) as client:
        yield client


def wait_for_next_millisecond() -> None:
    """Wait for the next millisecond: what happens within one millisecond has no order."""
    now = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == now:
        pass


async def talk(client: AsyncClient, *words: str, thread: Thread | None = None) -> Thread:
    """Add these messages to the thread or a new one, later than everything before."""
    wait_for_next_millisecond()
    thread = thread or await client.create_thread()
    for text in words:
        await client.create_message(thread.id, text)
    return await client.get_thread(thread.id)


async def list_messages(client: AsyncClient, thread: Thread) -> list[Message]:
    return [each async for each in client.paginate(ListMessages(thread.id))]


async def branch_with(client: AsyncClient, thread: Thread, number: int, *words: str) -> Thread:
    """Create a branch that has these messages from that number on."""
    messages = await list_messages(client, thread)
    wait_for_next_millisecond()
    return await talk(client, *words, thread=await branch_before(client, messages[number - 1]))


async def repeat_first(client: AsyncClient, thread: Thread) -> Thread:
    """Return the branch of the key `beside`, which repeats the first message."""
    first = (await list_messages(client, thread))[0]
    return await branch_before(client, first, repeat=True, key="beside")


async def list_ids(client: AsyncClient, words: str = "", *, hidden: bool = False) -> list[str]:
    """Return the ids of all threads that a list shows, in its order."""
    return [each.id async for each in client.paginate(latest_threads(words, hidden=hidden))]


async def find_forks(client: AsyncClient, thread: Thread) -> list[Fork]:
    return thread_families.find_forks(thread, await thread_families.list_family(client, thread))


async def find_plain_forks(client: AsyncClient, thread: Thread) -> list[Fork]:
    """Return the forks without the fields that only compared models need."""
    forks = await find_forks(client, thread)
    return [msgspec.structs.replace(each, messages=(), columns=()) for each in forks]


async def test_a_branch_before_a_message_has_what_was_said_up_to_it(client: AsyncClient) -> None:
    thread = await talk(client, "one", "two", "three")
    branch = await branch_with(client, thread, 2, "zwei")

    assert [each.text for each in await list_messages(client, branch)] == ["one", "zwei"]
    assert [each.text for each in await list_messages(client, thread)] == ["one", "two", "three"]
    assert branch.parent_id == predecessor_id(branch) == thread.id


async def test_a_branch_before_the_first_message_is_empty_and_has_a_new_title(
    client: AsyncClient,
) -> None:
    branch = await branch_with(client, await talk(client, "one"), 1, "eins")

    assert branch.title == "eins"
    assert [each.text for each in await list_messages(client, branch)] == ["eins"]


async def test_a_title_that_was_given_is_kept(client: AsyncClient) -> None:
    thread = await talk(client, "one")
    await client.update_thread(thread.id, title="Numbers")
    branch = await branch_with(client, thread, 1, "eins")

    assert branch.title == "Numbers"


async def test_a_branch_is_the_same_for_its_key_also_after_its_thread_has_another_title(
    client: AsyncClient,
) -> None:
    thread = await talk(client, "one")
    branch = await repeat_first(client, thread)
    await client.update_thread(thread.id, title="Numbers")

    same_branch = await repeat_first(client, thread)

    assert (same_branch.id, same_branch.title) == (branch.id, "")
    assert predecessor_id(same_branch) == thread.id


async def test_a_branch_keeps_the_title_it_was_given_when_its_key_is_repeated(
    client: AsyncClient,
) -> None:
    thread = await talk(client, "one")
    branch = await repeat_first(client, thread)
    await talk(client, "one", thread=branch)

    same_branch = await repeat_first(client, thread)

    assert (same_branch.id, same_branch.title) == (branch.id, "one")


async def test_where_a_branch_ends_before_must_be_said(client: AsyncClient) -> None:
    thread = await talk(client, "one")

    with pytest.raises(errors.InvalidRequest, match="which"):
        await client.fork_thread(thread.id, before=True)


async def test_a_branch_that_goes_on_elsewhere_replaces_nothing(client: AsyncClient) -> None:
    thread = await talk(client, "one")
    [one] = await list_messages(client, thread)
    wait_for_next_millisecond()
    unrelated_branch = await branch_after(client, one, replace=False)
    replacing_branch = await branch_with(client, thread, 1, "eins")
    wait_for_next_millisecond()
    second_unrelated_branch = await branch_after(
        client, (await list_messages(client, replacing_branch))[0], replace=False
    )

    assert predecessor_id(unrelated_branch) is predecessor_id(second_unrelated_branch) is None
    assert await list_ids(client) == [
        second_unrelated_branch.id,
        replacing_branch.id,
        unrelated_branch.id,
    ]


async def test_a_list_has_one_of_each_family_the_one_that_changed_last(
    client: AsyncClient,
) -> None:
    thread = await talk(client, "one", "two")
    other = await talk(client, "another")
    branch = await branch_with(client, thread, 2, "zwei")
    second = await branch_with(client, thread, 2, "deux")

    assert await list_ids(client) == [second.id, other.id]
    await talk(client, "three", thread=thread)
    assert await list_ids(client) == [thread.id, other.id]
    all_ids = await list_ids(client, hidden=True)
    assert all_ids == [thread.id, second.id, branch.id, other.id]


async def test_an_empty_branch_replaces_nothing_yet(client: AsyncClient) -> None:
    thread = await talk(client, "one")
    await branch_with(client, thread, 1)

    assert await list_ids(client) == [thread.id]


async def test_the_words_that_were_said_find_the_branch_that_has_them(client: AsyncClient) -> None:
    thread = await talk(client, "one", "two")
    await branch_with(client, thread, 2, "zwei")

    assert await list_ids(client, "two") == [thread.id]


async def test_a_thread_without_branches_parts_nowhere(client: AsyncClient) -> None:
    assert await find_plain_forks(client, await talk(client, "one", "two")) == []


async def test_branches_part_where_they_say_something_else(client: AsyncClient) -> None:
    thread = await talk(client, "one", "two")
    second = await branch_with(client, thread, 2, "zwei")
    third = await branch_with(client, second, 2, "deux")

    versions = (thread.id, second.id, third.id)
    assert await find_plain_forks(client, thread) == [Fork(2, versions, 0)]
    assert await find_plain_forks(client, second) == [Fork(2, versions, 1)]
    assert await find_plain_forks(client, third) == [Fork(2, versions, 2)]


async def test_a_branch_of_a_branch_parts_in_two_places(client: AsyncClient) -> None:
    thread = await talk(client, "one", "two", "three")
    early_branch = await branch_with(client, thread, 1, "eins", "zwei")
    late_branch = await branch_with(client, early_branch, 2, "dos")

    assert await find_plain_forks(client, thread) == [Fork(1, (thread.id, late_branch.id), 0)]
    assert await find_plain_forks(client, early_branch) == [
        Fork(1, (thread.id, early_branch.id), 1),
        Fork(2, (early_branch.id, late_branch.id), 0),
    ]
    assert await find_plain_forks(client, late_branch) == [
        Fork(1, (thread.id, late_branch.id), 1),
        Fork(2, (early_branch.id, late_branch.id), 1),
    ]


async def test_a_lineage_has_what_a_branch_came_from_also_when_it_is_deleted(
    client: AsyncClient,
) -> None:
    thread = await talk(client, "one", "two", "three")
    early_branch = await branch_with(client, thread, 2, "zwei")
    late_branch = await branch_with(client, early_branch, 1, "dos")
    await client.delete_thread(thread.id)
    family = await thread_families.list_family(client, late_branch)

    expected = [(late_branch.id, 1), (early_branch.id, 2), (thread.id, 0)]
    assert thread_families.find_lineage(late_branch, family) == expected


async def test_branches_that_repeat_a_message_differ_only_in_their_answers(
    client: AsyncClient,
) -> None:
    thread = await talk(client, "one", "two")
    [_, two] = await list_messages(client, thread)
    wait_for_next_millisecond()
    repeated_branch = await talk(
        client, "two", thread=await branch_before(client, two, repeat=True)
    )

    assert await find_plain_forks(client, repeated_branch) == [
        Fork(2, (thread.id, repeated_branch.id), 1, repeated=True)
    ]
    edited_branch = await branch_with(client, repeated_branch, 2, "zwei")
    versions = (thread.id, repeated_branch.id, edited_branch.id)
    assert await find_plain_forks(client, thread) == [Fork(2, versions, 0, repeated=False)]


async def test_versions_of_two_compared_models_are_in_a_column_for_each(
    client: AsyncClient,
) -> None:
    async def ask(thread: Thread, *words: str, **options: bool) -> Thread:
        first = (await list_messages(client, thread))[0]
        wait_for_next_millisecond()
        return await talk(client, *words, thread=await branch_before(client, first, **options))

    left = await talk(client, "one", "answer")
    right = await ask(left, "one", "answer", repeat=True, beside=True)
    left_again = await ask(left, "one", "other", repeat=True)
    left_edited = await ask(left, "eins", "answer")
    right_edited = await ask(right, "eins", "answer")

    [fork] = await find_forks(client, left)
    versions = (left, right, left_again, left_edited, right_edited)
    assert fork.at == tuple(each.id for each in versions)
    assert fork.columns == ("", right.id, "", "", right.id)
    assert fork.messages == (left.id, left.id, left.id, left_edited.id, right_edited.id)


async def test_a_version_is_shown_by_a_thread_of_the_same_column(client: AsyncClient) -> None:
    left = await talk(client, "one", "answer", "two", "answer")
    third = (await list_messages(client, left))[2]
    wait_for_next_millisecond()
    branch = await branch_before(client, third, repeat=True, beside=True)
    right = await talk(client, "two", "later", thread=branch)
    left_edited = await branch_with(client, left, 1, "eins", "answer")
    right_edited = await branch_with(client, right, 1, "eins", "answer")

    assert (await find_forks(client, left_edited))[0].at[0] == left.id
    assert (await find_forks(client, right_edited))[0].at[0] == right.id


async def test_branches_know_each_other_when_what_they_came_from_is_deleted(
    client: AsyncClient,
) -> None:
    thread = await talk(client, "one", "two")
    second = await branch_with(client, thread, 2, "zwei")
    third = await branch_with(client, thread, 2, "drei")
    await client.delete_thread(thread.id)

    assert await find_plain_forks(client, second) == [Fork(2, (second.id, third.id), 0)]
    assert await list_ids(client) == [third.id]


async def test_a_branch_that_has_said_nothing_of_its_own_is_not_led_to(
    client: AsyncClient,
) -> None:
    thread = await talk(client, "one", "two")
    empty = await branch_with(client, thread, 2)

    assert await find_plain_forks(client, thread) == []
    assert await find_plain_forks(client, empty) == []


async def test_marks_that_lead_in_a_circle_are_followed_once(client: AsyncClient) -> None:
    thread = await talk(client, "one", "two")
    branch = await branch_with(client, thread, 2, "zwei")
    circle = {thread_families.REPLACES: branch.id, thread_families.BRANCH_BEGINS: "2"}
    thread = await client.update_thread(thread.id, metadata=circle)

    assert await find_plain_forks(client, thread) == await find_plain_forks(client, branch) == []
    assert len(await list_ids(client)) == 1


async def test_a_temporary_thread_and_its_branches_are_deleted_or_kept_together(
    client: AsyncClient,
) -> None:
    first = await talk(client, "one", thread=await client.create_thread(temporary=True))
    second = await talk(client, "two", thread=await client.create_thread(temporary=True))
    branches = [
        await branch_before(client, (await list_messages(client, thread))[0])
        for thread in (first, second)
    ]
    assert [each.temporary for each in branches] == [True, True]

    await thread_families.keep_family(client, branches[0])
    await thread_families.delete_family(client, branches[1])

    kept_ids = {each.id for each in (await client.list_threads()).data}
    assert kept_ids == {first.id, branches[0].id}
    assert not (await client.list_threads(temporary=True)).data


class _ObservedTransport:
    """The transport of a client; `answer_arrived` is set once it has an answer."""

    def __init__(self, client: AsyncClient) -> None:
        self._transport = client.transport
        self.answer_arrived = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def send(self, operation: Any, key: str | None = None) -> Any:
        answer = await self._transport.send(operation, key)
        self.answer_arrived.set()
        return answer


async def test_a_run_that_is_stored_after_its_request_was_cancelled_is_cancelled(
    client: AsyncClient,
) -> None:
    thread = await talk(client, "Hello")
    transport = _ObservedTransport(client)
    cancelling = asyncio.create_task(
        cancel_sent_run(AsyncClient.over(transport), None, thread.id, "sent", "this one")
    )
    await transport.answer_arrived.wait()
    run = await client.create_run(thread.id, metadata={"sent": "this one"})

    await cancelling

    assert (await client.get_run(run.id)).status is Status.CANCELLED
