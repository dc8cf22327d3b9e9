"""Imports of chats, in all four ways: uploaded, checked, started and cancelled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from antiphon import errors
from tests.support.client.four_ways import Ways, four_ways, in_all_ways
from tests.support.runtime.chat_exports import CLAUDE, as_json

DEADLINE = 120.0


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with four_ways() as ways:
        yield ways


def wait_for(client: Any, import_id: str, *statuses: str) -> Any:
    """Read the import until a worker has brought it to one of these statuses."""
    deadline = time.monotonic() + DEADLINE
    while (record := client.get_chat_import(import_id)).status not in statuses:
        assert time.monotonic() < deadline, record
    return record


@in_all_ways
def test_an_export_is_uploaded_checked_and_imported(client: Any) -> object:
    content = as_json(CLAUDE) + b" " * 600_000
    with TemporaryDirectory() as folder:
        path = Path(folder) / "claude.json"
        path.write_bytes(content)
        upload = client.upload_chat_export(path)
    ready = wait_for(client, upload.id, "ready", "failed")
    with pytest.raises(errors.Conflict):
        client.create_chat_import(10)
    client.start_chat_import(ready.id)
    completed = wait_for(client, ready.id, "completed", "failed")
    cancelled = client.cancel_chat_import(client.create_chat_import(10, name="x").id)
    with pytest.raises(errors.Conflict):
        client.add_import_piece(cancelled.id, 0, "YWJj")

    assert (ready.status, ready.found.conversations, ready.source) == ("ready", 1, "claude")
    assert (completed.status, completed.received) == ("completed", len(content))
    assert "Trip" in [each.title for each in client.list_threads().data]
    assert [each.status for each in client.list_chat_imports().data] == ["cancelled", "completed"]
    assert client.delete_chat_import(ready.id).deleted
    assert [each.status for each in client.list_chat_imports().data] == ["cancelled"]
    assert "Trip" in [each.title for each in client.list_threads().data]
    return [completed.found, cancelled.status]
