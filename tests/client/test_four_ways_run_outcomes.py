"""Ends of a conversation, and the resumption of one that was left, in all four ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from antiphon.client.sync_client import Client
from antiphon.settings.settings import Settings
from antiphon.tools.functions import Functions
from antiphon.types.errors import (
    CallerError,
    Conflict,
    IdempotencyConflict,
    InvalidAnswer,
    InvalidEventId,
    InvalidRequest,
    NotFound,
    RunCancelled,
    RunError,
    RunFailed,
    RunIncomplete,
)
from antiphon.types.events import Event, ToolOutputAdded, TurnEnded, decode
from antiphon.types.runs import Status
from tests.support.cli.scripted_upstream import Upstream
from tests.support.client.four_ways import Ways, four_ways, in_all_ways

QUESTION = "Flight times from LAX to JFK. Ask twice, in parallel."


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with four_ways() as ways:
        yield ways


@pytest.fixture
def faulty(upstream: Upstream) -> Iterator[Ways]:
    """The four ways before a model of a server that answers as the upstream says."""
    settings = Settings(
        model="far:m",
        database="memory:",
        port=0,
        shutdown_timeout=0.1,
        providers={"far": {"base_url": upstream.url}},
    )
    with four_ways(settings) as ways:
        yield ways


def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
    """Flight times between two airports."""
    return {"departs": f"{departure} 09:05", "arrives": f"{arrival} 17:30"}


FLIGHTS = Functions([get_flight_times]).specs()


def all_of(events: Any) -> tuple[list[Event], RunError]:
    """The events, and the error that they end with."""
    heard: list[Event] = []
    try:
        for event in events:
            heard.append(event)  # noqa: PERF402 - what came before the error counts
    except RunError as error:
        return heard, error
    pytest.fail("nothing was raised")


# Ends.


@in_all_ways
def test_a_question_is_answered_with_all_that_led_to_its_answer(client: Any) -> object:
    result = client.ask(QUESTION, tools=[get_flight_times])

    first, second = result.calls
    assert result.status is Status.COMPLETED
    assert result.text == result.message.text == result.messages[-1].text
    assert "LAX 09:05" in result.text
    assert {first.name, second.name} == {"get_flight_times"}
    assert msgspec.json.decode(first.arguments) == {"departure": "LAX", "arrival": "JFK"}
    assert msgspec.json.decode(first.output or "")["arrives"] == "JFK 17:30"
    assert result.usage.output_tokens > 0
    assert client.get_run(result.run_id).thread_id == result.thread_id
    return [result.text, result.status, len(result.messages), result.usage]


@dataclasses.dataclass
class Flight:
    number: str
    stops: int


@in_all_ways
def test_an_answer_has_the_type_that_was_asked_for(client: Any) -> object:
    result = client.ask("Flight AB12 with 2 stops", output_type=Flight)
    after_tools = client.ask(QUESTION, tools=[get_flight_times], output_type=Flight)

    assert isinstance(result.value, Flight)
    assert msgspec.json.decode(result.text) == dataclasses.asdict(result.value)
    assert isinstance(after_tools.value, Flight)
    assert len(after_tools.calls) == 2
    return [result.value, result.text, result.usage, after_tools.value]


@in_all_ways
def test_an_answer_is_watched_as_it_grows(client: Any) -> object:
    heard: list[Any] = []
    result = client.ask("Flight AB12 with 2 stops", output_type=Flight, on_partial=heard.append)

    assert heard[-1] == dataclasses.asdict(result.value)
    assert all(part.items() <= heard[-1].items() for part in heard if "number" not in part)
    return heard[-1]


def test_partial_values_come_before_the_end(faulty: Ways, upstream: Upstream) -> None:
    upstream.text("```json\n", '{"number": "AB', '12", "stops": 1', "2}\n```")

    @in_all_ways
    def scenario(client: Any) -> object:
        heard = list(client.converse("Which flight?").partial())

        assert heard[-1] == {"number": "AB12", "stops": 12}
        assert list(client.converse("3 words", model="demo").partial()) == []
        return heard[-1]

    scenario(faulty)


def test_an_answer_that_does_not_fit_is_corrected(faulty: Ways, upstream: Upstream) -> None:
    upstream.text('{"number": "AB12"}')

    @in_all_ways
    def scenario(client: Any) -> object:
        upstream.asked.clear()
        with pytest.raises(InvalidAnswer) as raised:
            client.ask("Which flight?", output_type=Flight)
        said = [each.text for each in client.list_messages(raised.value.thread_id).data]

        assert isinstance(raised.value, RunError)
        assert raised.value.text == '{"number": "AB12"}'
        assert [asked["response_format"]["type"] for asked in upstream.asked] == ["json_schema"] * 3
        assert len(said) == 6
        assert said[2].startswith("Your answer does not fit: Object missing required field `stops`")
        return raised.value

    scenario(faulty)


def test_a_provider_without_schemas_is_asked_by_words(upstream: Upstream) -> None:
    upstream.text('{"number": "AB12", "stops": 1}')
    far = {"base_url": upstream.url, "lacks": ("response_format.json_schema",)}
    settings = Settings(model="far:m", database="memory:", port=0, providers={"far": far})
    with Client(settings=settings) as client:
        result = client.ask("Which flight?", output_type=Flight)

    [asked] = upstream.asked
    assert result.value == Flight("AB12", 1)
    assert asked["response_format"] == {"type": "json_object"}
    assert "Answer with JSON alone" in asked["messages"][-1]["content"]


@in_all_ways
def test_the_text_alone_can_be_read_and_makes_the_result(client: Any) -> object:
    with client.converse("12 words") as events:
        pieces = events.text()
        said = next(pieces)
        before = events.result().text
        said += "".join(pieces)

    assert said == events.result().text
    assert before
    assert said.startswith(before)
    return said


@in_all_ways
def test_an_event_is_json_as_it_is_on_the_wire(client: Any) -> object:
    for event in client.converse("3 words"):
        wire = event.json()
        assert decode(wire) == event
        assert msgspec.json.decode(wire)["type"] == event.type
    return wire.startswith('{"type":"turn.ended"')


@in_all_ways
def test_a_result_holds_what_was_read_so_far(client: Any) -> object:
    with client.converse(QUESTION, tools=[get_flight_times]) as events:
        with pytest.raises(InvalidRequest):
            events.result()
        for event in events:
            if isinstance(event, ToolOutputAdded):
                break
        result = events.result()

    assert [call.output is not None for call in result.calls].count(True) == 1
    assert (result.text, result.message.tool_calls[0].id) == ("", result.calls[0].id)
    assert result.status is Status.ACTION_REQUIRED
    return [result.text, len(result.calls)]


def test_a_run_that_fails_raises_after_its_last_event(faulty: Ways, upstream: Upstream) -> None:
    upstream.status = 401

    @in_all_ways
    def scenario(client: Any) -> object:
        events = client.converse("Hello")
        heard, error = all_of(events)

        assert isinstance(error, RunFailed)
        assert error.error_code == "provider_auth"
        assert (error.run_id, error.thread_id) == (events.run_id, events.thread_id)
        assert isinstance(heard[-1], TurnEnded)
        assert events.status is Status.FAILED
        return [heard, error]

    scenario(faulty)


def test_a_cut_answer_raises_with_the_text_that_came(faulty: Ways, upstream: Upstream) -> None:
    upstream.text("The moon ", "is made", finish="length")

    @in_all_ways
    def scenario(client: Any) -> object:
        events = client.converse("Hello")
        _, error = all_of(events)  # how its text is parted, the clock decides
        _, later = all_of(client.converse(run_id=events.run_id))
        with pytest.raises(RunIncomplete, match="incomplete"):
            client.ask("Hello")

        assert isinstance(error, RunIncomplete)
        assert isinstance(later, RunIncomplete)
        assert (error.reason, error.text, later.text) == ("length", *["The moon is made"] * 2)
        return [error, later]

    scenario(faulty)


@pytest.mark.parametrize("status", [200, 401])
def test_who_folds_the_events_is_told_by_them_alone(
    faulty: Ways, upstream: Upstream, status: int
) -> None:
    upstream.status = status
    upstream.text("Half", finish="length")

    @in_all_ways
    def scenario(client: Any) -> object:
        events = client.converse("Hello", raise_on_failure=False)
        heard = list(events)

        with pytest.raises(RunError) as raised:
            events.raise_for_status()
        return [heard, events.status, raised.value]

    scenario(faulty)


def test_the_explicit_steps_raise_as_well(faulty: Ways, upstream: Upstream) -> None:
    upstream.status = 401

    @in_all_ways
    def scenario(client: Any) -> object:
        thread = client.create_thread()
        client.create_message(thread.id, "Hello")
        run = client.create_run(thread.id)
        stream = client.sync_stream().setup(run_id=run.id)
        heard, error = all_of(stream.stream_chunks())
        with pytest.raises(RunFailed) as polled:
            client.poll_and_execute_action(run.id, lambda name, arguments: "")

        assert isinstance(error, RunFailed)
        assert polled.value.error_code == error.error_code == "provider_auth"
        return [heard, error]

    scenario(faulty)


@in_all_ways
def test_a_cancelled_run_raises(client: Any) -> object:
    def get_flight_times(departure: str, arrival: str) -> str:
        return departure

    events = client.converse(QUESTION, tools=[get_flight_times])
    up_to_hand_off(events)
    client.cancel_run(events.run_id)
    heard, error = all_of(events)

    assert isinstance(error, RunCancelled)
    return [heard, error]


def up_to_hand_off(events: Any) -> None:
    next(event for event in iter(events) if isinstance(event, TurnEnded))


# Going on.


class Counted:
    """The tool, and how often each call of it ran."""

    def __init__(self) -> None:
        self.calls = 0

    @property
    def tool(self) -> Callable[..., Any]:
        def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
            """Flight times between two airports."""
            self.calls += 1
            return {"departs": f"{departure} 09:05", "arrives": f"{arrival} 17:30"}

        return get_flight_times


@in_all_ways
def test_a_reader_that_is_gone_between_any_two_events_goes_on_with_the_next(client: Any) -> object:
    whole = list(client.converse(QUESTION, tools=[get_flight_times]))
    assert sum(isinstance(event, ToolOutputAdded) for event in whole) == 2

    for number in range(1, len(whole) + 1):
        counted = Counted()
        left = client.converse(QUESTION, tools=[counted.tool])
        before: list[Event] = list(islice(left, number))
        left.close()
        run_id, last = left.run_id, left.last_event
        taken_up = client.converse(run_id=run_id, after=last, tools=[counted.tool])
        heard: list[Event] = [*before, *taken_up]

        assert last == number
        assert heard == list(client.events(run_id)), number
        assert counted.calls == 2, number
        assert taken_up.status is Status.COMPLETED, number
        assert taken_up.last_event == len(heard)
    return len(whole)


@in_all_ways
def test_a_question_with_a_key_is_asked_once_wherever_its_reader_died(client: Any) -> object:
    whole = len(list(client.converse(QUESTION, tools=[get_flight_times])))

    for number in range(1, whole + 1, 3):
        counted, key = Counted(), f"order-{uuid4()}"
        left = client.converse(QUESTION, tools=[counted.tool], idempotency_key=key)
        list(islice(left, number))
        left.close()
        result = client.ask(QUESTION, tools=[counted.tool], idempotency_key=key)
        again = client.ask(QUESTION, tools=[counted.tool], idempotency_key=key)

        assert result.run_id == again.run_id == left.run_id, number
        assert result.text == again.text != "", number
        assert counted.calls == 2, number
        assert len(result.calls) == len(again.calls) == 2, number
    return whole


@in_all_ways
def test_a_key_of_another_question_is_refused(client: Any) -> object:
    key = f"order-{uuid4()}"
    client.ask("3 words", idempotency_key=key)
    with pytest.raises(IdempotencyConflict) as raised:
        client.ask("4 words", idempotency_key=key)
    with pytest.raises(InvalidRequest, match="idempotency key cannot be used") as odd:
        client.ask("4 words", idempotency_key="a b")
    return [raised.value.code, odd.value]


@in_all_ways
def test_a_typed_answer_with_a_key_is_the_same_again(client: Any) -> object:
    key = f"order-{uuid4()}"
    results = [
        client.ask("Flight AB12 with 2 stops", output_type=Flight, idempotency_key=key)
        for _ in range(2)
    ]
    assert results[0].value == results[1].value
    assert results[0].run_id == results[1].run_id
    return results[0].value


@in_all_ways
def test_an_id_is_enough_to_go_on(client: Any) -> object:
    left = client.converse(QUESTION, tools=[get_flight_times])
    before: list[Event] = list(islice(left, 12))
    left.close()

    by_thread = client.resume(left.thread_id, after=12, tools=[get_flight_times])
    heard: list[Event] = [*before, *by_thread]
    again = client.resume(left.run_id, tools=[get_flight_times])

    assert heard == list(client.events(left.run_id))
    assert by_thread.status is Status.COMPLETED
    assert list(again) == []
    return len(heard)


@in_all_ways
def test_nothing_is_due_in_a_thread_without_a_run(client: Any) -> object:
    thread = client.create_thread()
    with pytest.raises(NotFound, match="has no run") as raised:
        list(client.resume(thread.id))
    return raised.value.code


@in_all_ways
def test_what_others_did_meanwhile_comes_first(client: Any) -> object:
    left = client.converse(QUESTION, tools=[get_flight_times])
    before: list[Event] = list(islice(left, 2))
    left.close()
    run_id = left.run_id
    list(client.converse(run_id=run_id, tools=[get_flight_times]))

    rest = client.converse(run_id=run_id, after=2, tools=[get_flight_times])

    assert [*before, *rest] == list(client.events(run_id))
    assert rest.status is Status.COMPLETED
    return None


@in_all_ways
def test_the_whole_run_is_heard_from_its_start(client: Any) -> object:
    left = client.converse(QUESTION, tools=[get_flight_times])
    up_to_hand_off(left)
    left.close()

    events = client.converse(run_id=left.run_id, after=0, tools=[get_flight_times])

    assert list(events) == list(client.events(left.run_id))
    return events.status


def test_a_run_that_failed_meanwhile_says_so_to_who_goes_on(
    faulty: Ways, upstream: Upstream
) -> None:
    upstream.status = 401

    @in_all_ways
    def scenario(client: Any) -> object:
        left = client.converse("Hello", raise_on_failure=False)
        whole = list(left)
        told: list[RunError] = []
        for number in range(len(whole) + 1):
            heard, error = all_of(client.converse(run_id=left.run_id, after=number))
            assert heard == whole[number:]
            assert isinstance(error, RunFailed)
            told.append(error)
        return told

    scenario(faulty)


@in_all_ways
def test_an_event_that_never_was_is_no_place_to_go_on(client: Any) -> object:
    ended = client.converse("Hello")
    list(ended)
    waiting = client.converse(QUESTION, tools=[get_flight_times])
    up_to_hand_off(waiting)
    waiting.close()

    def catch_error(**asked: Any) -> CallerError:
        with pytest.raises(CallerError) as raised:
            list(client.converse(**asked))
        return raised.value

    future = [catch_error(run_id=each.run_id, after=10_000) for each in (ended, waiting)]
    past = catch_error(run_id=ended.run_id, after=-1)
    whose = catch_error(after=3)

    assert all(isinstance(error, InvalidEventId) for error in (*future, past))
    assert isinstance(whose, InvalidRequest)
    return [*future, past, whose]


@in_all_ways
def test_a_place_to_go_on_that_is_no_whole_number_is_named(client: Any) -> object:
    events = client.converse("Hello")
    list(events)
    told: list[InvalidEventId] = []

    for after in ("3", 1.5, True):
        for follow in (
            partial(client.converse, run_id=events.run_id, after=after),
            partial(client.events, events.run_id, after=after),
        ):
            with pytest.raises(InvalidEventId) as raised:
                list(follow())
            told.append(raised.value)
            assert raised.value.details["received"] == repr(after)

    return told


@in_all_ways
def test_an_answer_that_was_cut_goes_on_once(client: Any) -> object:
    whole = client.ask("Say 40 words").text
    with pytest.raises(RunIncomplete) as cut:
        client.ask("Say 40 words", sampling={"max_output_tokens": 30})
    thread_id = cut.value.thread_id
    rest = client.converse(thread_id=thread_id, continues=True)
    events = list(rest)

    text = rest.result().text
    assert cut.value.text + text == whole
    assert events[0].continues
    messages = client.list_messages(thread_id).data
    assert [each.continues for each in messages[1:]] == [msgspec.UNSET, True]
    with pytest.raises(Conflict, match="does not end with an answer that was cut"):
        client.create_run(thread_id, continues=True)
    with pytest.raises(InvalidRequest, match="needs a thread, and no message"):
        list(client.converse("More.", thread_id=thread_id, continues=True))
    return [text, rest.status]
