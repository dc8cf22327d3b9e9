"""A long thread compacted: what the model is told then, in all four ways, and what stays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from four_ways import Ways, four_ways, in_all_ways

from antiphon import errors
from antiphon.calls import NewMessage
from antiphon.errors import AntiphonError

LONG = "As we said before: " + 4_000 * "long "


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with four_ways() as ways:
        yield ways


def asked(client: Any, thread_id: str, text: str = "And now?") -> int:
    """How many tokens the model was told with this message, the thread before it included."""
    events = client.converse(text, thread_id=thread_id)
    list(events)
    tokens: int = client.get_run(events.run_id).usage.input_tokens
    return tokens


def a_thread(client: Any, *texts: str) -> str:
    thread_id: str = client.create_thread().id
    for text in texts:
        asked(client, thread_id, text)
    return thread_id


def refused(client: Any, thread_id: str, content: object = "We met.", **fields: Any) -> object:
    with pytest.raises(errors.InvalidRequest) as refusal:
        client.create_message(thread_id, content, **fields)
    return refusal.value


@in_all_ways
def test_a_summary_is_told_in_place_of_messages_that_stay(client: Any) -> object:
    thread_id = a_thread(client, LONG, "Go on.")
    said = client.list_messages(thread_id).data
    before = asked(client, thread_id)
    mark = client.create_message(thread_id, "We met.", role="system", compacts=2)
    after = asked(client, thread_id)

    messages = client.list_messages(thread_id).data
    assert messages[:4] == said
    assert before > 5_000 > 500 > after
    assert (mark.role, mark.text, mark.compacts) == ("system", "We met.", 2)
    return [messages, before, after]


@in_all_ways
def test_a_summary_is_taken_back(client: Any) -> object:
    thread_id = a_thread(client, LONG)
    client.create_message(thread_id, "We met.", role="system", compacts=2)
    compacted = asked(client, thread_id)
    client.create_message(thread_id, "", role="system", compacts=0)

    assert compacted < 500
    assert asked(client, thread_id) > 5_000
    return client.list_messages(thread_id).data


@in_all_ways
def test_a_fork_is_compacted_as_far_as_it_goes(client: Any) -> object:
    thread_id = a_thread(client, LONG, "Go on.")
    last = client.list_messages(thread_id).data[-1]
    client.create_message(thread_id, "We met.", role="system", compacts=2)
    whole = client.fork_thread(thread_id)
    before = client.fork_thread(thread_id, message_id=last.id)

    assert asked(client, whole.id) < 500
    assert asked(client, before.id) > 5_000
    return client.list_messages(whole.id).data


@in_all_ways
def test_a_run_rolled_back_leaves_the_summary(client: Any) -> object:
    thread_id = a_thread(client, LONG)
    client.create_message(thread_id, "We met.", role="system", compacts=2)
    client.create_run(thread_id)
    list(client.process(thread_id=thread_id, message=NewMessage("Hi."), if_busy="rollback"))

    assert asked(client, thread_id) < 500
    return client.list_messages(thread_id).data


@in_all_ways
def test_a_summary_that_fits_nowhere_is_refused(client: Any) -> object:
    thread_id = a_thread(client, "Hello.", "Go on.")

    refusals: list[Any] = [
        refused(client, thread_id, role="system", compacts=1),
        refused(client, thread_id, role="system", compacts=5),
        refused(client, thread_id, role="system", compacts=-1),
        refused(client, thread_id, role="user", compacts=2),
        refused(client, thread_id, role="tool", compacts=2),
        refused(client, thread_id, " ", role="system", compacts=2),
    ]

    assert isinstance(refusals[0], AntiphonError)
    assert "before a user message" in refusals[0].details["expected"]
    assert len(client.list_messages(thread_id).data) == 4
    return refusals
