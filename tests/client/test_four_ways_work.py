"""Workers for tools, in all four ways: pending calls are found, claimed, run and answered once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from antiphon import ToolContext, errors, tool
from antiphon.api.operations import NewMessage, NewProgress
from antiphon.client.sync_client import Client
from antiphon.tools.functions import Functions
from antiphon.tools.tool_events import ToolBegan, ToolEvent
from antiphon.types.runs import Run, Status
from tests.support.client.four_ways import Ways, four_ways, in_all_ways

QUESTION = "When does the next LAX-JFK flight leave?"


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with four_ways() as ways:
        yield ways


def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
    """Flight times between two airports."""
    return {"departs": f"{departure} 09:05", "arrives": f"{arrival} 17:30"}


FLIGHTS = Functions([get_flight_times]).specs()


def hand_off(client: Any, **fields: Any) -> Run:
    """Start a run that waits for its tool."""
    stream = client.process(message=NewMessage(QUESTION), tools=FLIGHTS, **fields)
    list(stream)
    return client.get_run(stream.run_id)


def wait_for_end(client: Any, run: Run) -> Run:
    list(client.events(run.id))
    return client.get_run(run.id)


@in_all_ways
def test_a_worker_runs_what_waits_and_the_run_goes_on_without_its_client(client: Any) -> object:
    run = hand_off(client)

    count = client.work([get_flight_times], until_idle=True)

    assert count == 1
    assert wait_for_end(client, run).status is Status.COMPLETED
    (action,) = client.list_actions(run.id).data
    assert (action.status, action.attempt) == ("completed", 1)
    assert "LAX 09:05" in (action.output or "")
    return count


@in_all_ways
def test_what_waits_is_found_by_tool_model_assistant_and_metadata(client: Any) -> object:
    assistant = client.create_assistant(model="demo", tools=FLIGHTS)
    red = hand_off(client, metadata={"team": "red"})
    blue = hand_off(client, metadata={"team": "blue"}, assistant_id=assistant.id)

    def find_runs(**filters: Any) -> list[str]:
        return [each.run_id for each in client.list_actions(status="pending", **filters).data]

    assert find_runs() == [red.id, blue.id]
    assert find_runs(order="newest") == [blue.id, red.id]
    assert find_runs(name="get_flight_times", metadata={"team": "red"}) == [red.id]
    assert find_runs(assistant_id=assistant.id) == [blue.id]
    assert find_runs(thread_id=red.thread_id, model=red.model) == [red.id]
    assert (
        find_runs(name="other")
        == find_runs(metadata={"team": "green"})
        == find_runs(model="x")
        == []
    )
    waiting_runs = client.list_runs(status="action_required", order="oldest").data
    assert [each.id for each in waiting_runs] == [red.id, blue.id]
    assert [each.id for each in client.list_runs(metadata={"team": "red"}).data] == [red.id]

    assert client.work([get_flight_times], until_idle=True, metadata={"team": "blue"}) == 1
    assert find_runs() == [red.id]
    client.cancel_run(red.id)
    list(client.events(blue.id))
    return None


@in_all_ways
def test_a_pinned_thread_is_found_and_keeps_its_place_in_time(client: Any) -> object:
    thread = client.create_thread(title="a")
    pinned_thread = client.update_thread(thread.id, pinned=True)

    assert [each.id for each in client.list_threads(pinned=True).data] == [thread.id]
    assert pinned_thread.updated_at == thread.updated_at
    client.update_thread(thread.id, pinned=False)
    assert client.list_threads(pinned=True).data == []
    client.delete_thread(thread.id)
    return pinned_thread


@in_all_ways
def test_an_archived_thread_is_in_no_list_until_it_goes_on(client: Any) -> object:
    thread = client.create_thread(title="a")
    other = client.create_thread(title="b")
    ids = [thread.id, other.id]
    client.create_message(thread.id, "About zebras", metadata={"batch": "zebra"})

    def list_ids(**filters: Any) -> list[str]:
        return [each.id for each in client.list_threads(**filters).data if each.id in ids]

    before = client.get_thread(thread.id).updated_at
    archived_thread = client.update_thread(thread.id, archived=True)
    assert (archived_thread.archived, archived_thread.updated_at) == (True, before)
    assert list_ids() == list_ids(archived=False) == [other.id]
    assert (
        list_ids(archived=True) == list_ids(q="zebras") == list_ids(family=thread.id) == [thread.id]
    )
    assert [hit.archived for hit in client.search("zebras").data] == [True]
    fork = client.fork_thread(thread.id)
    ids.append(fork.id)
    assert (fork.archived, list_ids(parent_id=thread.id)) == (False, [fork.id])

    client.create_message(thread.id, "Further")
    assert thread.id in list_ids()
    assert not client.get_thread(thread.id).archived
    assert [hit.archived for hit in client.search("zebras").data] == [False]
    client.update_thread(thread.id, archived=True)
    list(client.process(thread_id=thread.id, model="demo"))  # an answer without a new message
    assert not client.get_thread(thread.id).archived
    for each in (thread, other, fork):
        client.delete_thread(each.id)
    return archived_thread


@in_all_ways
def test_tags_of_a_thread_are_cleaned_found_and_counted(client: Any) -> object:
    thread = client.create_thread(title="a", tags=["new"])
    tagged_thread = client.update_thread(thread.id, tags=[" Work ", "work", "e\u0301t\u00e9"])

    assert thread.tags == ("new",)
    assert (tagged_thread.tags, tagged_thread.updated_at) == (
        ("Work", "\u00e9t\u00e9"),
        thread.updated_at,
    )
    assert [each.id for each in client.list_threads(tag=" Work").data] == [thread.id]
    assert client.list_threads(tag="work").data == []
    assert client.fork_thread(thread.id).tags == tagged_thread.tags
    first, second = client.list_tags().data
    assert (first.tag, first.threads, first.archived) == ("Work", 2, 0)
    assert second.tag == "\u00e9t\u00e9"
    page = client.list_tags(limit=1)
    assert (page.next, page.has_more, [each.tag for each in page.data]) == ("Work", True, ["Work"])
    rest = client.list_tags(after=page.next)
    assert (rest.has_more, [each.tag for each in rest.data]) == (False, ["\u00e9t\u00e9"])
    for each in client.list_threads().data:
        client.delete_thread(each.id)
    return tagged_thread


@in_all_ways
def test_many_threads_are_changed_in_one_request_with_a_result_for_each(client: Any) -> object:
    first, second = client.create_thread(title="a"), client.create_thread(title="b", tags=["old"])
    branch = client.create_thread(title="c", metadata={"replaces": second.id})
    ids = [first.id, "thread_unknown", second.id, first.id]

    results = client.change_threads(ids, "tag", tags=["new", "OLD"]).data
    assert [each.done for each in results] == [True, False, True]
    assert (results[1].thread_id, results[1].code) == ("thread_unknown", "not_found")
    assert [client.get_thread(each.id).tags for each in (first, second, branch)] == [
        ("new", "OLD"),
        ("OLD", "new"),
        (),
    ]
    client.change_threads(ids, "untag", tags=["NEW"])
    client.change_threads([second.id], "archive", family=True)
    archived_ids = {each.id for each in client.list_threads(archived=True).data}
    assert archived_ids & {first.id, second.id, branch.id} == {second.id, branch.id}
    client.change_threads([branch.id], "unarchive")
    full = client.change_threads([first.id], "tag", tags=[f"t{number}" for number in range(20)])
    assert (full.data[0].done, full.data[0].code) == (False, "invalid_request")
    assert client.get_thread(first.id).tags == ("OLD",)
    for action, tags in (("archive", ["x"]), ("tag", []), ("tag", ["a,b"])):
        with pytest.raises(errors.InvalidRequest):
            client.change_threads([first.id], action, tags=tags)
    with pytest.raises(errors.InvalidRequest):
        client.change_threads([first.id] * 101, "archive")

    deletion = client.change_threads([first.id, second.id], "delete", family=True)
    assert [each.done for each in deletion.data] == [True, True]
    assert client.list_threads(metadata={}).data == []
    return deletion


NO_TAGS = ("a,b", "a\nb", "\x1b[31m", " ", "", "\u200b", "a\u202eb", "x" * 33)


@in_all_ways
def test_what_could_not_be_shown_as_a_tag_is_refused(client: Any) -> None:
    thread = client.create_thread(title="c")

    for tags in ([each] for each in NO_TAGS):
        with pytest.raises(errors.InvalidRequest):
            client.update_thread(thread.id, tags=tags)
        with pytest.raises(errors.InvalidRequest):
            client.create_thread(tags=tags)
    with pytest.raises(errors.InvalidRequest):
        client.update_thread(thread.id, tags=["a"] * 21)

    assert client.get_thread(thread.id).tags == ()
    client.delete_thread(thread.id)


@in_all_ways
def test_messages_of_all_threads_are_found(client: Any) -> object:
    first, second = client.create_thread(), client.create_thread()
    client.create_message(first.id, "one", metadata={"batch": "x"})
    client.create_message(second.id, "two", metadata={"batch": "x"})
    client.create_message(second.id, "three")

    messages = client.list_messages(metadata={"batch": "x"}, role="user").data

    assert [each.text for each in messages] == ["one", "two"]
    newest = client.list_messages(order="newest", limit=1).data
    assert [each.text for each in newest] == ["three"]
    return None


@in_all_ways
def test_a_claim_is_one_workers_until_it_is_given_back_or_lost(client: Any) -> object:
    run = hand_off(client)
    names = ("get_flight_times",)

    (first_claim,) = client.claim_actions(tools=names, worker="one", lease=60).data
    no_claims = client.claim_actions(tools=names, worker="two").data
    renewed_claim = client.renew_claim(first_claim.id, 1, 60, NewProgress(1, 2, "halfway"))
    released_action = client.release_claim(first_claim.id, 1)
    (second_claim,) = client.claim_actions(tools=names, worker="two").data
    stored_action = client.get_action(first_claim.id)
    submission = (run.id, first_claim.tool_call_id, "17:00")
    for request in (
        lambda: client.renew_claim(first_claim.id, 1),
        lambda: client.release_claim(first_claim.id, 1),
        lambda: client.submit_tool_output(*submission, attempt=1),
    ):
        with pytest.raises(errors.ClaimLost, match="is lost"):
            request()
    saved_action = client.submit_tool_output(*submission, attempt=2)
    saved_again = client.submit_tool_output(*submission, attempt=2)

    assert (first_claim.attempt, first_claim.worker, second_claim.attempt, second_claim.worker) == (
        1,
        "one",
        2,
        "two",
    )
    assert no_claims == []
    assert renewed_claim.progress is not None
    assert (renewed_claim.progress.done, renewed_claim.progress.message) == (1, "halfway")
    assert (released_action.worker, released_action.claimed_until) == (None, None)
    assert stored_action.claimed_until == second_claim.claimed_until
    assert saved_action == saved_again
    assert wait_for_end(client, run).status is Status.COMPLETED
    return None


@in_all_ways
def test_a_task_that_carries_out_a_call_is_kept_with_it(client: Any) -> object:
    run = hand_off(client)
    (action,) = client.list_actions(run.id).data

    saved_action = client.save_task(action.id, "job 7", "far (1)", "job")

    assert (saved_action.task.task_id, saved_action.task.origin, saved_action.task.tool) == (
        "job 7",
        "far (1)",
        "job",
    )
    assert client.get_action(action.id) == saved_action
    with pytest.raises(errors.Conflict, match="another task"):
        client.save_task(action.id, "job 8", "far (1)", "job")
    assert client.submit_tool_output(run.id, action.tool_call_id, "17:00").task is None
    return None


@in_all_ways
def test_any_client_may_answer_a_claimed_call_and_the_workers_output_is_dropped(
    client: Any,
) -> object:
    run = hand_off(client)
    started = threading.Event()
    output_submitted = threading.Event()

    def get_flight_times(departure: str, arrival: str) -> str:
        started.set()
        assert output_submitted.wait(20)
        return "too late"

    def answer() -> None:
        assert started.wait(20)
        (action,) = client.list_actions(run.id).data
        client.submit_tool_output(run.id, action.tool_call_id, "by hand")
        output_submitted.set()

    if not isinstance(client, Client):  # a client for asyncio is used on its loop alone
        client.cancel_run(run.id)
        return None
    thread = threading.Thread(target=answer)
    thread.start()
    count = client.work([get_flight_times], until_idle=True)
    thread.join(20)

    assert count == 0
    assert [each.output for each in client.list_actions(run.id).data] == ["by hand"]
    client.cancel_run(run.id)
    return None


@in_all_ways
def test_a_worker_reports_progress_and_its_tool_knows_the_run(client: Any) -> object:
    run = hand_off(client)
    contexts: list[tuple[str, str, int]] = []
    tool_events: list[ToolEvent] = []

    @tool(name="get_flight_times")
    def slow(departure: str, arrival: str, ctx: ToolContext) -> str:
        contexts.append((ctx.run_id, ctx.thread_id, ctx.attempt))
        ctx.report(1, 3, "asking the airline")
        return "17:00"

    client.work([slow], until_idle=True, on_tool_event=tool_events.append)

    assert contexts == [(run.id, run.thread_id, 1)]
    assert isinstance(tool_events[0], ToolBegan)
    list(client.events(run.id))
    return None


@in_all_ways
def test_a_tool_that_fails_or_returns_too_much_still_answers_its_call(client: Any) -> object:
    run = hand_off(client)

    def get_flight_times(departure: str, arrival: str) -> str:
        raise ValueError("no such airport")

    assert client.work([get_flight_times], until_idle=True) == 1
    (action,) = client.list_actions(run.id).data
    assert (action.status, action.output) == ("failed", "ValueError: no such airport")
    list(client.events(run.id))
    return None


@in_all_ways
def test_a_worker_without_tools_is_refused(client: Any) -> object:
    with pytest.raises(errors.InvalidRequest, match="needs tools"):
        client.work([], until_idle=True)
    return None


@in_all_ways
def test_a_conversation_waits_for_a_tool_that_a_worker_runs(client: Any) -> object:
    spec = FLIGHTS[0]
    stream = client.converse(QUESTION, tools=[spec], metadata={"via": "worker"})
    event_types = []
    for event in stream:
        event_types.append(event.type)
        if event.type == "action.required":
            client.work([get_flight_times], until_idle=True, metadata={"via": "worker"})

    result = stream.result()
    assert result.status is Status.COMPLETED
    assert [call.output for call in result.calls] == [
        '{"departs":"LAX 09:05","arrives":"JFK 17:30"}'
    ]
    return event_types


class Airport:
    """Tools as methods of an object, which share what it holds."""

    def __init__(self) -> None:
        self.departures: list[str] = []

    @tool
    def get_flight_times(self, departure: str, arrival: str) -> str:
        """Flight times between two airports."""
        self.departures.append(departure)
        return "09:05"

    def close(self) -> None:
        """Not a tool."""


@in_all_ways
def test_an_object_brings_its_marked_methods_as_tools(client: Any) -> object:
    airport = Airport()

    result = client.ask(QUESTION, tools=[airport])

    assert airport.departures == ["LAX"]
    return [call.name for call in result.calls]


@in_all_ways
def test_a_toolbox_among_the_tools_is_a_toolbox(client: Any) -> object:
    toolbox = Functions([get_flight_times])

    result = client.ask(QUESTION, tools=[toolbox])

    return [call.output for call in result.calls]


@in_all_ways
def test_what_is_no_tool_or_is_named_twice_is_refused(client: Any) -> object:
    messages = []
    for tools in ([object()], [get_flight_times, FLIGHTS[0]], [FLIGHTS[0], FLIGHTS[0]]):
        with pytest.raises(TypeError) as error_info:
            list(client.converse(QUESTION, tools=tools))
        messages.append(str(error_info.value))
    with pytest.raises(errors.InvalidRequest, match="can run"):
        client.work(FLIGHTS, until_idle=True)
    return messages


@in_all_ways
def test_a_worker_raises_what_its_server_refuses(client: Any) -> object:
    with pytest.raises(errors.InvalidRequest) as error_info:
        client.work([get_flight_times], lease=0.5)
    return str(error_info.value)
