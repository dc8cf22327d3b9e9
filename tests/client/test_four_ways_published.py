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

    published = client.publish_assistant(assistant.id)
    seen = client.get_published_assistant(assistant.id)
    listed = client.list_published_assistants()
    copy = client.copy_published_assistant(assistant.id)
    taken_back = client.unpublish_assistant(assistant.id)

    assert list(listed.data) == [seen]
    assert (seen.published_at, seen.metadata) == (published.published_at, {})
    assert (copy.instructions, copy.published_at) == ("Rhyme.", None)
    assert copy.metadata == {"copied_from": assistant.id}
    assert taken_back == assistant
    with pytest.raises(errors.NotFound):
        client.get_published_assistant(assistant.id)
    client.publish_assistant(assistant.id)
    removed = client.remove_published_assistant(assistant.id)
    assert removed.id == assistant.id
    assert client.get_assistant(assistant.id).published_at is None
    return [published, seen, copy, removed]
