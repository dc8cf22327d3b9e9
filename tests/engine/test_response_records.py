"""Records of the responses of OpenAI's wire that a run gives, as pure decisions."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from antiphon.engine import transitions
from antiphon.engine.transitions import LOCAL_PRINCIPAL
from antiphon.types import errors
from antiphon.types.chunks import Finish
from antiphon.types.events import TextDelta, ToolsListed
from antiphon.types.messages import ListedTool, ToolListing, ToolSpec
from antiphon.types.runs import ResponseRecord
from tests.support.engine.world import World, call, run_spec

CALLS = Finish("tool_calls")


def begin(world: World, **options: Any) -> transitions.TurnRequested:
    """Begin a run with a response."""
    fields = {"response": {"a": 1}, "ask": True, **options}
    answer: transitions.TurnRequested = world.apply(
        lambda records: transitions.create_run(
            records, run_spec(tools=(ToolSpec("look"),)), world.mint, by=LOCAL_PRINCIPAL, **fields
        )
    )
    return answer


@pytest.fixture
def world() -> World:
    """Return a world whose run waits for the output of one call."""
    world = World()
    begin(world)
    world.claim()
    world.reply(call(0), CALLS)
    return world


def test_a_run_has_a_record_for_each_hand_off_with_where_its_events_begin(world: World) -> None:
    hand_off_end = len(world.events)
    world.submit("c0")

    request = world.apply(partial(transitions.request_turn, response={"b": None}))

    first, second = request.run.responses
    assert (first.request, first.after, first.turn) == ({"a": 1}, 0, 0)
    assert (second.request, second.after, second.turn) == ({"b": None}, hand_off_end, 1)
    assert request.after == second.after


def test_a_turn_that_another_request_began_is_not_joined(world: World) -> None:
    world.submit("c0")
    world.ask()

    with pytest.raises(errors.RunActive):
        world.apply(partial(transitions.request_turn, response={}))


def test_a_response_displaces_only_a_run_that_waits_for_its_client(world: World) -> None:
    first_id = world.run.id

    begin(world, if_busy="interrupt")

    assert world.run.id != first_id
    with pytest.raises(errors.RunActive):
        begin(world, if_busy="interrupt")


def test_a_response_begins_after_the_messages_that_its_request_has_seen(world: World) -> None:
    thread = world.records().thread
    assert thread is not None

    with pytest.raises(transitions.ThreadMovedOn):
        begin(world, if_busy="interrupt", expected_messages=thread.messages - 1)
    begin(world, if_busy="interrupt", expected_messages=thread.messages)


def test_a_record_that_is_forgotten_keeps_one_field_and_its_place(world: World) -> None:
    forget = partial(transitions.forget_response, place=0, keep="a")

    run = world.apply(forget)

    (record,) = run.responses
    assert record == ResponseRecord(
        request={"a": 1}, created_at=record.created_at, messages=record.messages, deleted=True
    )
    with pytest.raises(errors.NotFound):
        world.apply(forget)


def test_a_list_of_tools_stays_with_a_reply_that_is_cut() -> None:
    world = World()
    begin(world)
    world.claim()
    listing = ToolListing(server="far", tools=(ListedTool(name="look"),))
    world.say(ToolsListed(listings=(listing,)), TextDelta(text="half an ans"))

    world.cancel()

    reply = world.messages[max(world.messages)]
    assert (reply.text, reply.tool_listings) == ("half an ans", (listing,))
