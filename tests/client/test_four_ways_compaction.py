"""Compaction of a thread in all four ways: what the model is sent, and which messages stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from antiphon.api.operations import NewMessage
from antiphon.client.async_client import AsyncClient
from antiphon.client.sync_client import Client
from antiphon.server.serve import run_server
from antiphon.settings.settings import Settings
from antiphon.types import errors
from antiphon.types.errors import AntiphonError
from antiphon.types.messages import Progress
from tests.support.cli.scripted_upstream import Upstream
from tests.support.client.four_ways import SETTINGS, Ways, four_ways, in_all_ways

LONG = "As we said before: " + 4_000 * "long "


SECONDS = 60


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with four_ways() as ways:
        yield ways


def count_prompt_tokens(client: Any, thread_id: str, text: str = "And now?") -> int:
    """Return the number of prompt tokens of this message, with the thread before it."""
    events = client.converse(text, thread_id=thread_id)
    list(events)
    tokens: int = client.get_run(events.run_id).usage.input_tokens
    return tokens


def create_thread(client: Any, *texts: str) -> str:
    thread_id: str = client.create_thread().id
    for text in texts:
        count_prompt_tokens(client, thread_id, text)
    return thread_id


def catch_error(client: Any, thread_id: str, content: object = "We met.", **fields: Any) -> object:
    with pytest.raises(errors.InvalidRequest) as refusal:
        client.create_message(thread_id, content, **fields)
    return refusal.value


@in_all_ways
def test_a_summary_is_sent_in_place_of_messages_that_stay(client: Any) -> object:
    thread_id = create_thread(client, LONG, "Go on.")
    messages_before = client.list_messages(thread_id).data
    before = count_prompt_tokens(client, thread_id)
    mark = client.create_message(thread_id, "We met.", role="system", compacts=2)
    after = count_prompt_tokens(client, thread_id)

    messages = client.list_messages(thread_id).data
    assert messages[:4] == messages_before
    assert before > 5_000 > 500 > after
    assert (mark.role, mark.text, mark.compacts) == ("system", "We met.", 2)
    return [messages, before, after]


@in_all_ways
def test_a_summary_is_taken_back(client: Any) -> object:
    thread_id = create_thread(client, LONG)
    client.create_message(thread_id, "We met.", role="system", compacts=2)
    tokens = count_prompt_tokens(client, thread_id)
    client.create_message(thread_id, "", role="system", compacts=0)

    assert tokens < 500
    assert count_prompt_tokens(client, thread_id) > 5_000
    return client.list_messages(thread_id).data


@in_all_ways
def test_a_fork_is_compacted_as_far_as_it_goes(client: Any) -> object:
    thread_id = create_thread(client, LONG, "Go on.")
    last = client.list_messages(thread_id).data[-1]
    client.create_message(thread_id, "We met.", role="system", compacts=2)
    full_fork = client.fork_thread(thread_id)
    earlier_fork = client.fork_thread(thread_id, message_id=last.id)

    assert count_prompt_tokens(client, full_fork.id) < 500
    assert count_prompt_tokens(client, earlier_fork.id) > 5_000
    return client.list_messages(full_fork.id).data


@in_all_ways
def test_a_run_rolled_back_leaves_the_summary(client: Any) -> object:
    thread_id = create_thread(client, LONG)
    client.create_message(thread_id, "We met.", role="system", compacts=2)
    client.create_run(thread_id)
    list(client.process(thread_id=thread_id, message=NewMessage("Hi."), if_busy="rollback"))

    assert count_prompt_tokens(client, thread_id) < 500
    return client.list_messages(thread_id).data


@in_all_ways
def test_a_summary_that_fits_nowhere_is_refused(client: Any) -> object:
    thread_id = create_thread(client, "Hello.", "Go on.")

    refusals: list[Any] = [
        catch_error(client, thread_id, role="system", compacts=1),
        catch_error(client, thread_id, role="system", compacts=5),
        catch_error(client, thread_id, role="system", compacts=-1),
        catch_error(client, thread_id, role="user", compacts=2),
        catch_error(client, thread_id, role="tool", compacts=2),
        catch_error(client, thread_id, " ", role="system", compacts=2),
    ]

    assert isinstance(refusals[0], AntiphonError)
    assert "before a user message" in refusals[0].details["expected"]
    assert len(client.list_messages(thread_id).data) == 4
    return refusals


# Compaction by the SDK


@pytest.mark.slow
@in_all_ways
def test_a_thread_is_summed_up_and_goes_on_from_there(client: Any) -> object:
    thread_id = create_thread(client, LONG, "Go on.", "And then?", "And now?")
    messages_before = client.list_messages(thread_id).data
    threads = [each.id for each in client.list_threads().data]
    reports: list[Progress] = []
    compaction = client.compact(thread_id, tell=reports.append)

    messages = client.list_messages(thread_id).data
    assert messages == [*messages_before, compaction.message]
    assert compaction.message.compacts == 4
    assert compaction.summary == messages[-1].text != ""
    assert compaction.tokens_before > 5_000 > 1_000 > compaction.tokens_after
    assert compaction.usage.output_tokens > 0
    assert reports[-1].done > 0
    assert [each.id for each in client.list_threads().data] == threads
    assert count_prompt_tokens(client, thread_id) < 2_000
    return [messages, compaction, reports[-1]]


@in_all_ways
def test_what_was_summed_up_is_sent_whole_again(client: Any) -> object:
    thread_id = create_thread(client, LONG, "Go on.")
    client.compact(thread_id, keep=0)
    undoing = client.uncompact(thread_id)

    assert (undoing.role, undoing.text, undoing.compacts) == ("system", "", 0)
    assert count_prompt_tokens(client, thread_id) > 5_000
    return client.list_messages(thread_id).data


@in_all_ways
def test_a_short_thread_is_left_as_it_is(client: Any) -> object:
    thread_id = create_thread(client, "Hello.", "Go on.")
    threads = client.list_threads(limit=100).data

    assert client.compact(thread_id) is None
    assert client.list_threads(limit=100).data == threads
    return client.list_messages(thread_id).data


@in_all_ways
def test_a_busy_thread_is_not_summed_up(client: Any) -> object:
    thread_id = create_thread(client, "Hello.")
    run = client.create_run(thread_id)

    with pytest.raises(errors.RunActive) as refusal:
        client.compact(thread_id, keep=0)
    client.cancel_run(run.id)
    return refusal.value


def settings_for(upstream: Upstream, **settings: Any) -> Settings:
    """Return settings in which the upstream is the model."""
    return replace(SETTINGS, model="m", base_url=upstream.url, **settings)


def test_the_summary_that_a_model_wrote_is_what_it_is_sent(upstream: Upstream) -> None:
    with Client(settings=settings_for(upstream)) as client:
        upstream.text("Hello.")
        thread_id = create_thread(client, "I am Ann.", "Go on.")
        upstream.text("Ann ", "is here.")
        client.compact(thread_id, keep=1)
        upstream.text("You are Ann.")
        count_prompt_tokens(client, thread_id, "Who am I?")

    summary_request, last_request = upstream.asked[-2:]
    assert "User: I am Ann." in summary_request["messages"][-1]["content"]
    assert "Go on." not in summary_request["messages"][-1]["content"]
    assert [message["content"].split("\n")[-1] for message in last_request["messages"]] == [
        "Ann is here.", "Go on.", "Hello.", "Who am I?"
    ]  # fmt: skip


@pytest.mark.parametrize("status", [401, 400])
def test_where_the_model_fails_the_thread_is_as_it_was(upstream: Upstream, status: int) -> None:
    with Client(settings=settings_for(upstream)) as client:
        upstream.text("Hello.")
        thread_id = create_thread(client, "I am Ann.")
        threads = client.list_threads().data
        upstream.status = status
        with pytest.raises(errors.ProviderError, match="No summary was written"):
            client.compact(thread_id, keep=0)

        assert client.list_threads().data == threads


@pytest.fixture(params=["embedded", "http"])
async def slow_client(request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient]:
    """Yield a client of a model that writes a few words a second."""
    settings = replace(SETTINGS, demo_delay=0.1)
    if request.param == "embedded":
        async with AsyncClient(settings=settings) as client:
            yield client
        return
    async with run_server(settings) as url, AsyncClient(url) as client:
        yield client


async def test_a_client_that_gives_up_waiting_leaves_nothing_behind(
    slow_client: AsyncClient,
) -> None:
    thread = await slow_client.create_thread()
    for _ in range(3):
        await slow_client.create_message(thread.id, "Hello.")
    threads = (await slow_client.list_threads()).data
    writing_started = asyncio.Event()

    def tell(_: Progress) -> None:
        writing_started.set()

    compacting = asyncio.create_task(slow_client.compact(thread.id, keep=1, tell=tell))
    async with asyncio.timeout(SECONDS):
        await writing_started.wait()
    threads_meanwhile = (await slow_client.list_threads()).data
    compacting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await compacting

    assert len(threads_meanwhile) == 2
    assert (await slow_client.list_threads()).data == threads
    assert not (await slow_client.list_runs()).data


@pytest.mark.parametrize("rounds", range(0, 40, 3))
async def test_giving_up_at_any_moment_leaves_nothing_behind(rounds: int) -> None:
    async with AsyncClient(settings=replace(SETTINGS, demo_delay=0.1)) as client:
        thread = await client.create_thread()
        for _ in range(3):
            await client.create_message(thread.id, "Hello.")
        compacting = asyncio.create_task(client.compact(thread.id, keep=1))
        for _ in range(rounds):
            await asyncio.sleep(0)
        compacting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await compacting

        assert [each.id for each in (await client.list_threads()).data] == [thread.id]
