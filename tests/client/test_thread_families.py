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
    find_sent_run,
    latest_threads,
    predecessor_id,
)
from antiphon.settings.settings import Settings
from antiphon.types import errors
from antiphon.types.messages import Message
from antiphon.types.runs import Thread


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    async with AsyncClient(settings=Settings(model="demo", database="memory:")) as client:
        yield client


def a_moment_later() -> None:
    """Times are told in milliseconds: what happens in the same one has no order."""
    now = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == now:
        pass


async def talk(client: AsyncClient, *words: str, thread: Thread | None = None) -> Thread:
    """A thread in which this was said, or more of it, a moment later than all before."""
    a_moment_later()
    thread = thread or await client.create_thread()
    for said in words:
        await client.create_message(thread.id, said)
    return await client.get_thread(thread.id)


async def list_messages(client: AsyncClient, thread: Thread) -> list[Message]:
    return [each async for each in client.paginate(ListMessages(thread.id))]


async def otherwise(client: AsyncClient, thread: Thread, number: int, *words: str) -> Thread:
    """A branch that says something else from that message on."""
    said = await list_messages(client, thread)
    a_moment_later()
    return await talk(client, *words, thread=await branch_before(client, said[number - 1]))


async def repeat_first(client: AsyncClient, thread: Thread) -> Thread:
    """The branch of the key `beside`, which repeats the first message."""
    first = (await list_messages(client, thread))[0]
    return await branch_before(client, first, repeat=True, key="beside")


async def list_ids(client: AsyncClient, words: str = "", *, hidden: bool = False) -> list[str]:
    """Return the ids of all threads that a list shows, in its order."""
    return [each.id async for each in client.paginate(latest_threads(words, hidden=hidden))]


async def forks(client: AsyncClient, thread: Thread) -> list[Fork]:
    return thread_families.find_forks(thread, await thread_families.list_family(client, thread))


async def parts(client: AsyncClient, thread: Thread) -> list[Fork]:
    """The forks, but for what is of use only where two models were compared."""
    found = await forks(client, thread)
    return [msgspec.structs.replace(each, messages=(), columns=()) for each in found]


async def test_a_branch_before_a_message_has_what_was_said_up_to_it(client: AsyncClient) -> None:
    thread = await talk(client, "one", "two", "three")
    branch = await otherwise(client, thread, 2, "zwei")

    assert [each.text for each in await list_messages(client, branch)] == ["one", "zwei"]
    assert [each.text for each in await list_messages(client, thread)] == ["one", "two", "three"]
    assert branch.parent_id == predecessor_id(branch) == thread.id


async def test_a_branch_before_the_first_message_is_empty_and_named_anew(
    client: AsyncClient,
) -> None:
    branch = await otherwise(client, await talk(client, "one"), 1, "eins")

    assert branch.title == "eins"
    assert [each.text for each in await list_messages(client, branch)] == ["eins"]


async def test_a_title_that_was_given_is_kept(client: AsyncClient) -> None:
    thread = await talk(client, "one")
    await client.update_thread(thread.id, title="Numbers")
    branch = await otherwise(client, thread, 1, "eins")

    assert branch.title == "Numbers"


async def test_a_branch_is_the_same_for_its_key_also_after_its_thread_has_another_title(
    client: AsyncClient,
) -> None:
    thread = await talk(client, "one")
    branch = await repeat_first(client, thread)
    await client.update_thread(thread.id, title="Numbers")

    again = await repeat_first(client, thread)

    assert (again.id, again.title) == (branch.id, "")
    assert predecessor_id(again) == thread.id


async def test_a_branch_keeps_the_title_it_was_given_when_its_key_is_repeated(
    client: AsyncClient,
) -> None:
    thread = await talk(client, "one")
    branch = await repeat_first(client, thread)
    await talk(client, "one", thread=branch)

    again = await repeat_first(client, thread)

    assert (again.id, again.title) == (branch.id, "one")


async def test_where_a_branch_ends_before_must_be_said(client: AsyncClient) -> None:
    thread = await talk(client, "one")

    with pytest.raises(errors.InvalidRequest, match="which"):
        await client.fork_thread(thread.id, before=True)


async def test_a_branch_that_goes_on_elsewhere_replaces_nothing(client: AsyncClient) -> None:
    thread = await talk(client, "one")
    [one] = await list_messages(client, thread)
    a_moment_later()
    aside = await branch_after(client, one, replace=False)
    replacing = await otherwise(client, thread, 1, "eins")
    a_moment_later()
    again = await branch_after(client, (await list_messages(client, replacing))[0], replace=False)

    assert predecessor_id(aside) is predecessor_id(again) is None
    assert await list_ids(client) == [
        again.id,
        replacing.id,
        aside.id,
    ]


async def test_a_list_has_one_of_each_family_the_one_that_changed_last(
    client: AsyncClient,
) -> None:
    thread = await talk(client, "one", "two")
    other = await talk(client, "another")
    branch = await otherwise(client, thread, 2, "zwei")
    second = await otherwise(client, thread, 2, "deux")

    assert await list_ids(client) == [second.id, other.id]
    await talk(client, "three", thread=thread)
    assert await list_ids(client) == [thread.id, other.id]
    shown = await list_ids(client, hidden=True)
    assert shown == [thread.id, second.id, branch.id, other.id]


async def test_an_empty_branch_replaces_nothing_yet(client: AsyncClient) -> None:
    thread = await talk(client, "one")
    await otherwise(client, thread, 1)

    assert await list_ids(client) == [thread.id]


async def test_the_words_that_were_said_find_the_branch_that_has_them(client: AsyncClient) -> None:
    thread = await talk(client, "one", "two")
    await otherwise(client, thread, 2, "zwei")

    assert await list_ids(client, "two") == [thread.id]


async def test_a_thread_without_branches_parts_nowhere(client: AsyncClient) -> None:
    assert await parts(client, await talk(client, "one", "two")) == []


async def test_branches_part_where_they_say_something_else(client: AsyncClient) -> None:
    thread = await talk(client, "one", "two")
    second = await otherwise(client, thread, 2, "zwei")
    third = await otherwise(client, second, 2, "deux")

    everywhere = (thread.id, second.id, third.id)
    assert await parts(client, thread) == [Fork(2, everywhere, 0)]
    assert await parts(client, second) == [Fork(2, everywhere, 1)]
    assert await parts(client, third) == [Fork(2, everywhere, 2)]


async def test_a_branch_of_a_branch_parts_in_two_places(client: AsyncClient) -> None:
    thread = await talk(client, "one", "two", "three")
    early = await otherwise(client, thread, 1, "eins", "zwei")
    late = await otherwise(client, early, 2, "dos")

    assert await parts(client, thread) == [Fork(1, (thread.id, late.id), 0)]
    assert await parts(client, early) == [
        Fork(1, (thread.id, early.id), 1),
        Fork(2, (early.id, late.id), 0),
    ]
    assert await parts(client, late) == [
        Fork(1, (thread.id, late.id), 1),
        Fork(2, (early.id, late.id), 1),
    ]


async def test_a_lineage_has_what_a_branch_came_from_also_when_it_is_deleted(
    client: AsyncClient,
) -> None:
    thread = await talk(client, "one", "two", "three")
    early = await otherwise(client, thread, 2, "zwei")
    late = await otherwise(client, early, 1, "dos")
    await client.delete_thread(thread.id)
    family = await thread_families.list_family(client, late)

    expected = [(late.id, 1), (early.id, 2), (thread.id, 0)]
    assert thread_families.find_lineage(late, family) == expected


async def test_branches_that_repeat_a_message_differ_only_in_their_answers(
    client: AsyncClient,
) -> None:
    thread = await talk(client, "one", "two")
    [_, two] = await list_messages(client, thread)
    a_moment_later()
    again = await talk(client, "two", thread=await branch_before(client, two, repeat=True))

    assert await parts(client, again) == [Fork(2, (thread.id, again.id), 1, repeated=True)]
    edited = await otherwise(client, again, 2, "zwei")
    everywhere = (thread.id, again.id, edited.id)
    assert await parts(client, thread) == [Fork(2, everywhere, 0, repeated=False)]


async def test_versions_of_two_compared_models_are_in_a_column_for_each(
    client: AsyncClient,
) -> None:
    async def ask(thread: Thread, *words: str, **how: bool) -> Thread:
        first = (await list_messages(client, thread))[0]
        a_moment_later()
        return await talk(client, *words, thread=await branch_before(client, first, **how))

    left = await talk(client, "one", "answer")
    right = await ask(left, "one", "answer", repeat=True, beside=True)
    left_again = await ask(left, "one", "other", repeat=True)
    left_edited = await ask(left, "eins", "answer")
    right_edited = await ask(right, "eins", "answer")

    [fork] = await forks(client, left)
    versions = (left, right, left_again, left_edited, right_edited)
    assert fork.at == tuple(each.id for each in versions)
    assert fork.columns == ("", right.id, "", "", right.id)
    assert fork.messages == (left.id, left.id, left.id, left_edited.id, right_edited.id)


async def test_a_version_is_shown_by_a_thread_of_the_same_column(client: AsyncClient) -> None:
    left = await talk(client, "one", "answer", "two", "answer")
    third = (await list_messages(client, left))[2]
    a_moment_later()
    branch = await branch_before(client, third, repeat=True, beside=True)
    right = await talk(client, "two", "later", thread=branch)
    left_edited = await otherwise(client, left, 1, "eins", "answer")
    right_edited = await otherwise(client, right, 1, "eins", "answer")

    assert (await forks(client, left_edited))[0].at[0] == left.id
    assert (await forks(client, right_edited))[0].at[0] == right.id


async def test_branches_know_each_other_when_what_they_came_from_is_deleted(
    client: AsyncClient,
) -> None:
    thread = await talk(client, "one", "two")
    second = await otherwise(client, thread, 2, "zwei")
    third = await otherwise(client, thread, 2, "drei")
    await client.delete_thread(thread.id)

    assert await parts(client, second) == [Fork(2, (second.id, third.id), 0)]
    assert await list_ids(client) == [third.id]


async def test_a_branch_that_has_said_nothing_of_its_own_is_not_led_to(
    client: AsyncClient,
) -> None:
    thread = await talk(client, "one", "two")
    empty = await otherwise(client, thread, 2)

    assert await parts(client, thread) == []
    assert await parts(client, empty) == []


async def test_marks_that_lead_in_a_circle_are_followed_once(client: AsyncClient) -> None:
    thread = await talk(client, "one", "two")
    branch = await otherwise(client, thread, 2, "zwei")
    circle = {thread_families.REPLACES: branch.id, thread_families.BRANCH_BEGINS: "2"}
    thread = await client.update_thread(thread.id, metadata=circle)

    assert await parts(client, thread) == await parts(client, branch) == []
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

    kept = {each.id for each in (await client.list_threads()).data}
    assert kept == {first.id, branches[0].id}
    assert not (await client.list_threads(temporary=True)).data


class _ObservedTransport:
    """The transport of a client; `answered` is set once it has an answer."""

    def __init__(self, client: AsyncClient) -> None:
        self._transport = client.transport
        self.answered = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def send(self, operation: Any, key: str | None = None) -> Any:
        answer = await self._transport.send(operation, key)
        self.answered.set()
        return answer


async def test_a_run_that_is_stored_after_its_request_was_cancelled_is_found(
    client: AsyncClient,
) -> None:
    thread = await talk(client, "Hello")
    transport = _ObservedTransport(client)
    finding = asyncio.create_task(
        find_sent_run(AsyncClient.over(transport), thread.id, "sent", "this one")
    )
    await transport.answered.wait()
    run = await client.create_run(thread.id, metadata={"sent": "this one"})

    assert await finding == run.id
