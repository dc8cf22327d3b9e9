"""Published assistants, in all four ways: published, read, listed, copied and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from antiphon import errors
from tests.support.client.four_ways import Ways, four_ways, in_all_ways


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with four_ways() as ways:
        yield ways


@in_all_ways
def test_a_published_assistant_is_read_listed_copied_and_taken_back(client: Any) -> object:
    assistant = client.create_assistant(
        name="Poet", model="demo", instructions="Rhyme.", metadata={"private": "x"}
    )

    published_assistant = client.publish_assistant(assistant.id)
    public_view = client.get_published_assistant(assistant.id)
    page = client.list_published_assistants()
    copy = client.copy_published_assistant(assistant.id)
    unpublished_assistant = client.unpublish_assistant(assistant.id)

    assert list(page.data) == [public_view]
    assert (public_view.published_at, public_view.metadata) == (
        published_assistant.published_at,
        {},
    )
    assert (copy.instructions, copy.published_at) == ("Rhyme.", None)
    assert copy.metadata == {"copied_from": assistant.id}
    assert unpublished_assistant == assistant
    with pytest.raises(errors.NotFound):
        client.get_published_assistant(assistant.id)
    client.publish_assistant(assistant.id)
    removed_assistant = client.remove_published_assistant(assistant.id)
    assert removed_assistant.id == assistant.id
    assert client.get_assistant(assistant.id).published_at is None
    return [published_assistant, public_view, copy, removed_assistant]
