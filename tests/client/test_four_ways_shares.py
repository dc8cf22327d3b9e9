"""Shares, in all four ways: a link shows a snapshot, and nothing once it is revoked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from antiphon import errors
from antiphon.api.operations import PastCall, PastMessage
from antiphon.types.messages import File, Text
from antiphon.types.shares import SharedCall
from tests.support.client.four_ways import Ways, four_ways, in_all_ways


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with four_ways() as ways:
        yield ways


def add_thread(client: Any) -> Any:
    """Create a thread with everything that a share leaves out or may include."""
    file = client.upload_file(b"secret bytes", "plan.txt")
    return client.create_thread(
        title="Trip",
        messages=[
            PastMessage([Text("You are a spy.")], "system"),
            PastMessage([Text("When does it leave?"), File(file.id)]),
            PastMessage((), "assistant", tool_calls=(PastCall("call_1", "look", '{"q": "x"}'),)),
            PastMessage([Text("09:05")], "tool", tool_call_id="call_1"),
            PastMessage([Text("At **09:05**.")], "assistant", reasoning="I looked."),
        ],
    )


@in_all_ways
def test_a_link_shows_text_and_names_and_nothing_else_unless_it_is_included(client: Any) -> object:
    thread = add_thread(client)

    plain_share = client.create_share(thread.id)
    full_share = client.create_share(
        thread.id, include_tools=True, include_reasoning=True, title="A trip"
    )
    plain_view, full_view = (
        client.get_shared(plain_share.token),
        client.get_shared(full_share.token),
    )

    assert [(each.role, each.text) for each in plain_view.messages] == [
        ("user", "When does it leave?"),
        ("assistant", "At **09:05**."),
    ]
    assert plain_view.messages[0].attachments == ("plan.txt",)
    assert all(not each.calls and each.reasoning is None for each in plain_view.messages)
    assert (plain_view.title, full_view.title) == ("Trip", "A trip")
    assert full_view.messages[1].calls == (SharedCall("look", '{"q": "x"}', "09:05"),)
    assert full_view.messages[2].reasoning == "I looked."
    return [plain_view, full_view, client.list_shares(thread.id).data]


@in_all_ways
def test_a_link_shows_later_messages_only_once_the_share_is_updated(client: Any) -> object:
    thread = add_thread(client)
    share, token = client.create_share(thread.id).share, client.create_share(thread.id).token
    client.append_messages(thread.id, [PastMessage([Text("And back?")])])

    before = client.get_shared(token)
    newest = client.list_shares(thread.id).data[0]
    updated_share = client.update_share(newest.id, expires_in=3600)
    after = client.get_shared(token)

    assert len(before.messages) == 2
    assert after.messages[-1].text == "And back?"
    assert (updated_share.messages, updated_share.title, updated_share.id) == (3, "Trip", newest.id)
    assert updated_share.expires_at == updated_share.updated_at + 3600_000
    assert share.id != newest.id
    return [before, after, updated_share]


@in_all_ways
def test_a_revoked_link_and_one_that_never_was_are_answered_alike(client: Any) -> object:
    thread = add_thread(client)
    share_of_deleted_thread, revoked_share = (
        client.create_share(thread.id),
        client.create_share(thread.id),
    )
    client.delete_share(revoked_share.share.id)
    other = client.create_thread(title="stays")
    kept_share = client.create_share(other.id)
    client.delete_thread(thread.id)

    answers = []
    for token in (share_of_deleted_thread.token, revoked_share.token, "A" * 32, "..", "\u202e"):
        for ask in (client.get_shared, client.copy_shared):
            with pytest.raises(errors.NotFound) as error_info:
                ask(token)
            answers.append((error_info.value.message, error_info.value.details.get("hint")))

    assert len(set(answers)) == 1
    assert client.get_shared(kept_share.token).title == "stays"
    assert client.list_shares(other.id).data == [kept_share.share]
    return answers


@in_all_ways
def test_a_reader_continues_a_shared_conversation_in_a_thread_of_their_own(client: Any) -> object:
    share = client.create_share(add_thread(client).id, include_tools=True)

    copy = client.copy_shared(share.token, idempotency_key="once")
    second_copy = client.copy_shared(share.token, idempotency_key="once")
    messages = client.list_messages(copy.id).data

    assert copy.id == second_copy.id
    assert [(each.role, each.text) for each in messages] == [
        ("user", "When does it leave?\n\n[plan.txt]"),
        ("assistant", ""),
        ("tool", "09:05"),
        ("assistant", "At **09:05**."),
    ]
    return [copy, messages]


@in_all_ways
def test_a_link_is_valid_for_thirty_days_and_no_longer_than_the_operator_allows(
    client: Any,
) -> object:
    thread = add_thread(client)

    share = client.create_share(thread.id).share
    with pytest.raises(errors.InvalidRequest) as too_long:
        client.create_share(thread.id, expires_in=366 * 86_400)
    with pytest.raises(errors.InvalidRequest):
        client.create_share(thread.id, expires_in=1)

    assert share.expires_at - share.created_at == 30 * 86_400_000
    assert "max_share_lifetime" in too_long.value.details["expected"]
    return share
