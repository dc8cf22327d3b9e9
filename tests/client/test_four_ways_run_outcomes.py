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
def upstream_ways(upstream: Upstream) -> Iterator[Ways]:
    """Yield the four ways to a model of the scripted upstream."""
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


def read_until_error(events: Any) -> tuple[list[Event], RunError]:
    """Return the events and the error that ends them."""
    received_events: list[Event] = []
    try:
        for event in events:
            received_events.append(event)  # noqa: PERF402 - what came before the error counts
    except RunError as error:
        return received_events, error
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
    partial_values: list[Any] = []
    result = client.ask(
        "Flight AB12 with 2 stops", output_type=Flight, on_partial=partial_values.append
    )

    assert partial_values[-1] == dataclasses.asdict(result.value)
    assert all(
        part.items() <= partial_values[-1].items()
        for part in partial_values
        if "number" not in part
    )
    return partial_values[-1]


def test_partial_values_come_before_the_end(upstream_ways: Ways, upstream: Upstream) -> None:
    upstream.text("```json\n", '{"number": "AB', '12", "stops": 1', "2}\n```")

    @in_all_ways
    def scenario(client: Any) -> object:
        partial_values = list(client.converse("Which flight?").partial())

        assert partial_values[-1] == {"number": "AB12", "stops": 12}
        assert list(client.converse("3 words", model="demo").partial()) == []
        return partial_values[-1]

    scenario(upstream_ways)


def test_an_answer_that_does_not_fit_is_corrected(upstream_ways: Ways, upstream: Upstream) -> None:
    upstream.text('{"number": "AB12"}')

    @in_all_ways
    def scenario(client: Any) -> object:
        upstream.asked.clear()
        with pytest.raises(InvalidAnswer) as error_info:
            client.ask("Which flight?", output_type=Flight)
        texts = [each.text for each in client.list_messages(error_info.value.thread_id).data]

        assert isinstance(error_info.value, RunError)
        assert error_info.value.text == '{"number": "AB12"}'
        assert [request["response_format"]["type"] for request in upstream.asked] == [
            "json_schema"
        ] * 3
        assert len(texts) == 6
        assert texts[2].startswith(
            "Your answer does not fit: Object missing required field `stops`"
        )
        return error_info.value

    scenario(upstream_ways)


def test_a_provider_without_schemas_is_asked_by_words(upstream: Upstream) -> None:
    upstream.text('{"number": "AB12", "stops": 1}')
    far = {"base_url": upstream.url, "lacks": ("response_format.json_schema",)}
    settings = Settings(model="far:m", database="memory:", port=0, providers={"far": far})
    with Client(settings=settings) as client:
        result = client.ask("Which flight?", output_type=Flight)

    [request] = upstream.asked
    assert result.value == Flight("AB12", 1)
    assert request["response_format"] == {"type": "json_object"}
    assert "Answer with JSON alone" in request["messages"][-1]["content"]


@in_all_ways
def test_the_text_alone_can_be_read_and_makes_the_result(client: Any) -> object:
    with client.converse("12 words") as events:
        pieces = events.text()
        text = next(pieces)
        before = events.result().text
        text += "".join(pieces)

    assert text == events.result().text
    assert before
    assert text.startswith(before)
    return text


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


def test_a_run_that_fails_raises_after_its_last_event(
    upstream_ways: Ways, upstream: Upstream
) -> None:
    upstream.status = 401

    @in_all_ways
    def scenario(client: Any) -> object:
        stream = client.converse("Hello")
        events, error = read_until_error(stream)

        assert isinstance(error, RunFailed)
        assert error.error_code == "provider_auth"
        assert (error.run_id, error.thread_id) == (stream.run_id, stream.thread_id)
        assert isinstance(events[-1], TurnEnded)
        assert stream.status is Status.FAILED
        return [events, error]

    scenario(upstream_ways)


def test_a_cut_answer_raises_with_the_text_that_came(
    upstream_ways: Ways, upstream: Upstream
) -> None:
    upstream.text("The moon ", "is made", finish="length")

    @in_all_ways
    def scenario(client: Any) -> object:
        stream = client.converse("Hello")
        _, error = read_until_error(stream)  # the clock decides how its text is split
        _, later = read_until_error(client.converse(run_id=stream.run_id))
        with pytest.raises(RunIncomplete, match="incomplete"):
            client.ask("Hello")

        assert isinstance(error, RunIncomplete)
        assert isinstance(later, RunIncomplete)
        assert (error.reason, error.text, later.text) == ("length", *["The moon is made"] * 2)
        return [error, later]

    scenario(upstream_ways)


@pytest.mark.parametrize("status", [200, 401])
def test_a_reader_that_wants_no_exceptions_learns_of_a_failure_by_events(
    upstream_ways: Ways, upstream: Upstream, status: int
) -> None:
    upstream.status = status
    upstream.text("Half", finish="length")

    @in_all_ways
    def scenario(client: Any) -> object:
        stream = client.converse("Hello", raise_on_failure=False)
        events = list(stream)

        with pytest.raises(RunError) as error_info:
            stream.raise_for_status()
        return [events, stream.status, error_info.value]

    scenario(upstream_ways)


def test_the_explicit_steps_raise_as_well(upstream_ways: Ways, upstream: Upstream) -> None:
    upstream.status = 401

    @in_all_ways
    def scenario(client: Any) -> object:
        thread = client.create_thread()
        client.create_message(thread.id, "Hello")
        run = client.create_run(thread.id)
        stream = client.sync_stream().setup(run_id=run.id)
        events, error = read_until_error(stream.stream_chunks())
        with pytest.raises(RunFailed) as poll_error:
            client.poll_and_execute_action(run.id, lambda name, arguments: "")

        assert isinstance(error, RunFailed)
        assert poll_error.value.error_code == error.error_code == "provider_auth"
        return [events, error]

    scenario(upstream_ways)


@in_all_ways
def test_a_cancelled_run_raises(client: Any) -> object:
    def get_flight_times(departure: str, arrival: str) -> str:
        return departure

    stream = client.converse(QUESTION, tools=[get_flight_times])
    read_until_hand_off(stream)
    client.cancel_run(stream.run_id)
    events, error = read_until_error(stream)

    assert isinstance(error, RunCancelled)
    return [events, error]


def read_until_hand_off(events: Any) -> None:
    next(event for event in iter(events) if isinstance(event, TurnEnded))


# Going on.


class CountedTool:
    """A tool that counts its calls."""

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
    all_events = list(client.converse(QUESTION, tools=[get_flight_times]))
    assert sum(isinstance(event, ToolOutputAdded) for event in all_events) == 2

    for number in range(1, len(all_events) + 1):
        counted_tool = CountedTool()
        first_stream = client.converse(QUESTION, tools=[counted_tool.tool])
        before: list[Event] = list(islice(first_stream, number))
        first_stream.close()
        run_id, last = first_stream.run_id, first_stream.last_event
        second_stream = client.converse(run_id=run_id, after=last, tools=[counted_tool.tool])
        events: list[Event] = [*before, *second_stream]

        assert last == number
        assert events == list(client.events(run_id)), number
        assert counted_tool.calls == 2, number
        assert second_stream.status is Status.COMPLETED, number
        assert second_stream.last_event == len(events)
    return len(all_events)


@in_all_ways
def test_a_question_with_a_key_is_asked_once_wherever_its_reader_died(client: Any) -> object:
    event_count = len(list(client.converse(QUESTION, tools=[get_flight_times])))

    for number in range(1, event_count + 1, 3):
        counted_tool, key = CountedTool(), f"order-{uuid4()}"
        stream = client.converse(QUESTION, tools=[counted_tool.tool], idempotency_key=key)
        list(islice(stream, number))
        stream.close()
        result = client.ask(QUESTION, tools=[counted_tool.tool], idempotency_key=key)
        second_result = client.ask(QUESTION, tools=[counted_tool.tool], idempotency_key=key)

        assert result.run_id == second_result.run_id == stream.run_id, number
        assert result.text == second_result.text != "", number
        assert counted_tool.calls == 2, number
        assert len(result.calls) == len(second_result.calls) == 2, number
    return event_count


@in_all_ways
def test_a_key_of_another_question_is_refused(client: Any) -> object:
    key = f"order-{uuid4()}"
    client.ask("3 words", idempotency_key=key)
    with pytest.raises(IdempotencyConflict) as error_info:
        client.ask("4 words", idempotency_key=key)
    with pytest.raises(InvalidRequest, match="idempotency key cannot be used") as odd_key:
        client.ask("4 words", idempotency_key="a b")
    return [error_info.value.code, odd_key.value]


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
    stream = client.converse(QUESTION, tools=[get_flight_times])
    before: list[Event] = list(islice(stream, 12))
    stream.close()

    by_thread = client.resume(stream.thread_id, after=12, tools=[get_flight_times])
    events: list[Event] = [*before, *by_thread]
    by_run = client.resume(stream.run_id, tools=[get_flight_times])

    assert events == list(client.events(stream.run_id))
    assert by_thread.status is Status.COMPLETED
    assert list(by_run) == []
    return len(events)


@in_all_ways
def test_nothing_is_due_in_a_thread_without_a_run(client: Any) -> object:
    thread = client.create_thread()
    with pytest.raises(NotFound, match="has no run") as error_info:
        list(client.resume(thread.id))
    return error_info.value.code


@in_all_ways
def test_what_others_did_meanwhile_comes_first(client: Any) -> object:
    stream = client.converse(QUESTION, tools=[get_flight_times])
    before: list[Event] = list(islice(stream, 2))
    stream.close()
    run_id = stream.run_id
    list(client.converse(run_id=run_id, tools=[get_flight_times]))

    rest = client.converse(run_id=run_id, after=2, tools=[get_flight_times])

    assert [*before, *rest] == list(client.events(run_id))
    assert rest.status is Status.COMPLETED
    return None


@in_all_ways
def test_the_whole_run_is_read_from_its_start(client: Any) -> object:
    stream = client.converse(QUESTION, tools=[get_flight_times])
    read_until_hand_off(stream)
    stream.close()

    second_stream = client.converse(run_id=stream.run_id, after=0, tools=[get_flight_times])

    assert list(second_stream) == list(client.events(stream.run_id))
    return second_stream.status


def test_a_run_that_failed_meanwhile_raises_for_every_later_reader(
    upstream_ways: Ways, upstream: Upstream
) -> None:
    upstream.status = 401

    @in_all_ways
    def scenario(client: Any) -> object:
        stream = client.converse("Hello", raise_on_failure=False)
        all_events = list(stream)
        errors: list[RunError] = []
        for number in range(len(all_events) + 1):
            events, error = read_until_error(client.converse(run_id=stream.run_id, after=number))
            assert events == all_events[number:]
            assert isinstance(error, RunFailed)
            errors.append(error)
        return errors

    scenario(upstream_ways)


@in_all_ways
def test_an_event_that_never_was_is_no_place_to_go_on(client: Any) -> object:
    ended_stream = client.converse("Hello")
    list(ended_stream)
    waiting_stream = client.converse(QUESTION, tools=[get_flight_times])
    read_until_hand_off(waiting_stream)
    waiting_stream.close()

    def catch_error(**options: Any) -> CallerError:
        with pytest.raises(CallerError) as error_info:
            list(client.converse(**options))
        return error_info.value

    future = [
        catch_error(run_id=each.run_id, after=10_000) for each in (ended_stream, waiting_stream)
    ]
    past = catch_error(run_id=ended_stream.run_id, after=-1)
    without_run = catch_error(after=3)

    assert all(isinstance(error, InvalidEventId) for error in (*future, past))
    assert isinstance(without_run, InvalidRequest)
    return [*future, past, without_run]


@in_all_ways
def test_a_place_to_go_on_that_is_no_whole_number_is_named(client: Any) -> object:
    stream = client.converse("Hello")
    list(stream)
    errors: list[InvalidEventId] = []

    for after in ("3", 1.5, True):
        for follow in (
            partial(client.converse, run_id=stream.run_id, after=after),
            partial(client.events, stream.run_id, after=after),
        ):
            with pytest.raises(InvalidEventId) as error_info:
                list(follow())
            errors.append(error_info.value)
            assert error_info.value.details["received"] == repr(after)

    return errors


@in_all_ways
def test_an_answer_that_was_cut_goes_on_once(client: Any) -> object:
    full_text = client.ask("Say 40 words").text
    with pytest.raises(RunIncomplete) as cut_error:
        client.ask("Say 40 words", sampling={"max_output_tokens": 30})
    thread_id = cut_error.value.thread_id
    continuation = client.converse(thread_id=thread_id, continues=True)
    events = list(continuation)

    text = continuation.result().text
    assert cut_error.value.text + text == full_text
    assert events[0].continues
    messages = client.list_messages(thread_id).data
    assert [each.continues for each in messages[1:]] == [msgspec.UNSET, True]
    with pytest.raises(Conflict, match="does not end with an answer that was cut"):
        client.create_run(thread_id, continues=True)
    with pytest.raises(InvalidRequest, match="needs a thread, and no message"):
        list(client.converse("More.", thread_id=thread_id, continues=True))
    return [text, continuation.status]
