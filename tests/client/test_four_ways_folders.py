"""Folders of threads, in all four ways: threads move in and out and keep their order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from antiphon import errors
from antiphon.api.operations import NewMessage
from antiphon.types.folders import MAX_FOLDERS
from tests.support.client.four_ways import Ways, four_ways, in_all_ways


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with four_ways() as ways:
        yield ways


def ids(page: Any) -> list[str]:
    return [each.id for each in page.data]


@in_all_ways
def test_a_folder_is_created_listed_changed_and_deleted(client: Any) -> object:
    first = client.create_folder(" Steuern 2026 ", "Answer in German.", idempotency_key="f-1")
    repeated_first = client.create_folder(
        " Steuern 2026 ", "Answer in German.", idempotency_key="f-1"
    )
    second = client.create_folder("家計 🧾")

    changed_folder = client.update_folder(first.id, instructions="")
    page = client.list_folders(limit=1)

    assert (first.name, first.instructions, repeated_first.id) == (
        "Steuern 2026",
        "Answer in German.",
        first.id,
    )
    assert (changed_folder.name, changed_folder.instructions) == ("Steuern 2026", "")
    assert client.get_folder(first.id) == changed_folder
    assert ids(page) == [second.id]
    assert ids(client.list_folders(after=page.next)) == [first.id]
    for folder in (first, second):
        assert client.delete_folder(folder.id).id == folder.id
    with pytest.raises(errors.NotFound):
        client.get_folder(first.id)
    return changed_folder


@in_all_ways
def test_a_thread_is_put_into_a_folder_and_keeps_its_place_in_time(client: Any) -> object:
    folder, other = client.create_folder("A"), client.create_folder("B")
    thread = client.create_thread(title="made there", folder_id=folder.id)
    moved_thread = client.create_thread(title="moved there")
    outside_thread = client.create_thread(title="outside")

    thread_in_folder = client.update_thread(moved_thread.id, folder_id=folder.id)
    fork = client.fork_thread(thread.id)

    assert (thread_in_folder.folder_id, thread_in_folder.updated_at) == (
        folder.id,
        moved_thread.updated_at,
    )
    assert fork.folder_id == folder.id
    assert ids(client.list_threads(folder_id=folder.id)) == [fork.id, moved_thread.id, thread.id]
    assert ids(client.list_threads(folder_id=other.id)) == []
    assert ids(client.list_threads(folder_id="none")) == [outside_thread.id]
    thread_without_folder = client.update_thread(moved_thread.id, folder_id=None)
    assert thread_without_folder.folder_id is None
    unfiled_threads = client.list_threads(folder_id="none", order="activity")
    assert {*ids(unfiled_threads)} == {outside_thread.id, moved_thread.id}
    assert client.update_thread(thread.id, title="x").folder_id == folder.id
    client.delete_folder(folder.id, delete_threads=True)
    client.delete_folder(other.id)
    return thread_without_folder


@in_all_ways
def test_many_threads_are_moved_in_one_request_with_a_result_for_each(client: Any) -> object:
    folder = client.create_folder("A")
    first, second = client.create_thread(title="a"), client.create_thread(title="b")

    ids_to_move = [first.id, "thread_gone", second.id]
    results = client.change_threads(ids_to_move, "move", folder_id=folder.id)

    assert [each.done for each in results.data] == [True, False, True]
    assert ids(client.list_threads(folder_id=folder.id)) == [second.id, first.id]
    client.change_threads([first.id], "move")
    assert client.get_thread(first.id).folder_id is None
    with pytest.raises(errors.NotFound):
        client.change_threads([first.id], "move", folder_id="folder_gone")
    with pytest.raises(errors.InvalidRequest):
        client.change_threads([first.id], "archive", folder_id=folder.id)
    client.delete_folder(folder.id)
    return results


@pytest.mark.slow
@in_all_ways
def test_a_deleted_folder_leaves_its_threads_unless_they_are_to_go_too(client: Any) -> object:
    kept_folder, deleted_folder = client.create_folder("kept"), client.create_folder("gone")
    kept_threads = [
        client.create_thread(title=f"t{n}", folder_id=kept_folder.id) for n in range(120)
    ]
    client.update_thread(kept_threads[0].id, archived=True)
    thread_of_deleted_folder = client.create_thread(title="goes", folder_id=deleted_folder.id)
    client.update_thread(thread_of_deleted_folder.id, archived=True)

    client.delete_folder(kept_folder.id)
    client.delete_folder(deleted_folder.id, delete_threads=True)

    assert {client.get_thread(each.id).folder_id for each in kept_threads} == {None}
    with pytest.raises(errors.NotFound):
        client.get_thread(thread_of_deleted_folder.id)
    for each in kept_threads:
        client.delete_thread(each.id)
    return client.list_folders().data


@in_all_ways
def test_a_folder_that_is_not_there_is_not_found(client: Any) -> list[object]:
    thread = client.create_thread(title="a")
    missing = {"folder_id": "folder_gone"}
    refusals: list[object] = []

    for act in (
        lambda: client.create_thread(**missing),
        lambda: client.update_thread(thread.id, **missing),
        lambda: client.list_threads(**missing),
        lambda: client.update_folder("folder_gone", name="x"),
        lambda: client.delete_folder("folder_gone"),
    ):
        with pytest.raises(errors.NotFound) as error:
            act()
        refusals.append(error.value)

    assert client.get_thread(thread.id).folder_id is None
    client.delete_thread(thread.id)
    return refusals


NO_NAMES = ("", " ", "a\nb", "\x1b[31mred", "\u200b", "a\u202eb", "a\x00", "\u2028", "x" * 129)


@in_all_ways
def test_what_could_not_be_shown_as_a_name_is_refused(client: Any) -> None:
    folder = client.create_folder("A")

    for name in NO_NAMES:
        with pytest.raises(errors.InvalidRequest):
            client.create_folder(name)
        with pytest.raises(errors.InvalidRequest):
            client.update_folder(folder.id, name=name)
    with pytest.raises(errors.InvalidRequest):
        client.create_folder("long", "x" * 32_769)

    assert [each.name for each in client.list_folders().data] == ["A"]
    client.delete_folder(folder.id)


@pytest.mark.slow
@in_all_ways
def test_an_owner_has_no_more_folders_than_the_limit(client: Any) -> object:
    folders = [client.create_folder(f"f{number}") for number in range(MAX_FOLDERS)]

    with pytest.raises(errors.Conflict) as error:
        client.create_folder("one more")

    client.delete_folder(folders[0].id)
    client.create_folder("one more")
    while page := client.list_folders(limit=100).data:
        for each in page:
            client.delete_folder(each.id)
    return error.value


@in_all_ways
def test_a_run_has_the_instructions_that_its_folder_had_when_it_began(client: Any) -> object:
    folder = client.create_folder("Taxes", "Answer in French.")
    thread = client.create_thread(title="a", folder_id=folder.id)

    list(client.process(thread_id=thread.id, message=NewMessage("Hi")))
    client.update_folder(folder.id, name="Impôts", instructions="Answer in German.")
    list(client.process(thread_id=thread.id, message=NewMessage("Hi")))
    client.update_thread(thread.id, folder_id=None)
    list(client.process(thread_id=thread.id, message=NewMessage("Hi")))

    runs = client.list_runs(thread.id).data
    parts = [[(part.name, part.text) for part in run.instruction_parts] for run in runs]
    assert parts == [[], [("Impôts", "Answer in German.")], [("Taxes", "Answer in French.")]]
    client.delete_folder(folder.id)
    return parts
