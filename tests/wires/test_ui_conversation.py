"""A conversation with a runtime over the wire: stored messages and the client's message agree."""

from __future__ import annotations

import pytest

from antiphon import Client, tool
from antiphon.settings.settings import Settings
from antiphon.wires.ai_sdk.parts import Sdk
from tests.support.wires.ui_judge import Judge
from tests.support.wires.ui_streams import SDKS, encode_events, text


@tool
def get_flight_times(departure: str, arrival: str) -> str:
    """Flight times between two airports."""
    return f"{departure} 09:05, {arrival} 17:30 \u2028"


@pytest.mark.parametrize("sdk", SDKS)
def test_a_client_has_what_is_stored(sdk: Sdk) -> None:
    with Client(settings=Settings(model="demo", database="memory:", demo_delay=0)) as client:
        events = list(
            client.converse("When does the next LAX-JFK flight leave?", tools=[get_flight_times])
        )
        judge = Judge(sdk).read(encode_events(enumerate(events, 1), sdk))
        messages = client.list_messages(judge.message["metadata"]["threadId"]).data

    assert judge.finished
    replies = [message for message in messages if message.role == "assistant"]
    assert [text(step, "text") for step in judge.steps] == [reply.text for reply in replies]
    [output] = [message.text for message in messages if message.role == "tool"]
    assert [part["output"] for part in judge.parts if "output" in part] == [output]
    assert judge.message["metadata"]["runId"] == judge.message["id"] == messages[-1].run_id
    assert judge.message["metadata"]["usage"]["outputTokens"] > 0
