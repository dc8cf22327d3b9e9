"""AG-UI's own clients, from npm, read our stream: they refuse events in a wrong order.

Node comes with pyright. Without the packages the tests are skipped, with a reason.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from antiphon.api.operations import NewMessage
from antiphon.types.events import ActionRequired, Numbered
from antiphon.wires.ag_ui.encoder import AgUi, Reader
from antiphon.wires.ag_ui.events import Version
from antiphon.wires.ag_ui.run_input import ClientOutput, parse_run_input
from antiphon.wires.framing import HEARTBEAT, drop_void_events
from tests.support.wires.ag_ui_judge import essence
from tests.support.wires.node_programs import NodePrograms
from tests.support.wires.stories import TYPICAL, number_events, runs

HERE = Path(__file__).parents[1] / "support/wires"
CLIENTS: dict[str, Version] = {"agui0": "0", "agui1": "1"}
MINE = {"id": "mine", "role": "user", "content": "hello"}
FAR = 4_000_000_000_000  # in the year 2096
PIECE = 61  # bytes, so few that every frame is cut

Frames = Sequence[bytes]
Read = Callable[[str, Sequence[Sequence[dict[str, Any]]]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def read(npm_packages: Callable[[Path], Path], node: Path) -> Iterator[Read]:
    """Return the messages that a client builds from each list of exchanges."""
    clients = HERE / "ag_ui_clients"
    with NodePrograms(node, clients / "read.mjs", npm_packages(clients)) as programs:
        yield programs.ask


def exchange(events: Sequence[Numbered], reader: Reader, **request: Any) -> dict[str, Any]:
    """Return a stream in pieces with heartbeats, and the request that a client sends for it."""
    stream = AgUi(reader)
    data = HEARTBEAT.join([*stream.feed_all(events), *stream.close()])
    pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
    return {"stream": [base64.b64encode(piece).decode() for piece in pieces], **request}


def questions(log: Sequence[Numbered]) -> list[str]:
    """Return the ids of the actions that a person must approve."""
    pending_actions = [event.actions for _, event in log if isinstance(event, ActionRequired)]
    return [
        each.action_id for actions in pending_actions for each in actions if each.kind == "approval"
    ]


def without_expiry(log: Sequence[Numbered]) -> list[Numbered]:
    """Return the run with later deadlines: a client answers no expired question."""
    return [
        (
            number,
            replace(event, actions=tuple(replace(each, expires_at=FAR) for each in event.actions)),
        )
        if isinstance(event, ActionRequired)
        else (number, event)
        for number, event in log
    ]


def sample(how_many: int) -> list[tuple[list[Numbered], int]]:
    """Return random runs, and a place in each."""
    samples: list[tuple[list[Numbered], int]] = []

    @given(runs(), st.integers(0, 10_000))
    @settings(
        max_examples=how_many,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def draw(events: list[Numbered], place: int) -> None:
        samples.append((events, place % (len(events) + 1)))

    draw()
    return samples


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_reads_any_run_without_complaint_and_comes_late_to_the_same(
    read: Read, client: str
) -> None:
    reader = Reader(version=CLIENTS[client], history=(MINE,))
    logs = [number_events(story()) for story in TYPICAL.values()] + [
        log for log, _ in sample(4 * settings.default.max_examples)
    ]

    live = read(client, [[exchange(log, reader)] for log in logs])
    late = read(client, [[exchange(drop_void_events(log), reader)] for log in logs])
    for log, live_result, late_result in zip(logs, live, late, strict=True):
        assert live_result["failures"] == live_result["complaints"] == [], log
        assert late_result["failures"] == late_result["complaints"] == [], log
        assert essence(live_result["messages"]) == essence(late_result["messages"]), log


@pytest.mark.parametrize("client", CLIENTS)
def test_wherever_a_client_is_cut_off_it_comes_back_to_the_same_messages(
    read: Read, client: str
) -> None:
    reader = Reader(version=CLIENTS[client], history=(MINE,))
    cuts = sample(4 * settings.default.max_examples)
    second_readers = [
        Reader(version=CLIENTS[client], history=(MINE,), after=cut) for _, cut in cuts
    ]

    uncut = read(client, [[exchange(log, reader)] for log, _ in cuts])
    cut_off = read(
        client,
        [
            [exchange(log[:cut], reader), exchange(log, after)]
            for (log, cut), after in zip(cuts, second_readers, strict=True)
        ],
    )
    for (log, cut), uncut_result, cut_off_result in zip(cuts, uncut, cut_off, strict=True):
        assert cut_off_result["failures"] == cut_off_result["complaints"] == [], (cut, log)
        assert essence(uncut_result["messages"]) == essence(cut_off_result["messages"]), (cut, log)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_person_is_asked_and_a_later_run_goes_on(read: Read, client: str) -> None:
    version = CLIENTS[client]
    log = without_expiry(number_events(TYPICAL["mixed"]()))
    rest = next(number for number, event in log if event.type == "turn.ended")
    answer = {"id": "a1", "role": "tool", "toolCallId": "c0", "content": "seen"}
    after = Reader(
        version=version, run_id="theirs", after=rest, history=(MINE,), answered=frozenset({"c0"})
    )
    yes, no = questions(log)
    resume = [
        {"interruptId": yes, "status": "resolved", "payload": {"approved": True}},
        {"interruptId": no, "status": "cancelled"},
    ]

    [result] = read(
        client,
        [
            [
                exchange(log[:rest], Reader(version=version)),
                exchange(log, after, answers=[answer], resume=resume),
            ]
        ],
    )
    assert result["failures"] == result["complaints"] == []
    finished = [run for run in result["runs"] if run[0] == "finished"]
    assert [run[2:4] for run in finished] == [["run_2:turn-1", "interrupt"], ["theirs", "success"]]
    assert [each["toolCallId"] for each in finished[0][4]] == ["c2", "c3"]
    outputs = {m["toolCallId"]: m["content"] for m in result["messages"] if m["role"] == "tool"}
    assert len([m for m in result["messages"] if m["role"] == "tool"]) == len(outputs) == 4
    assert result["messages"][-1]["content"] == "All done."


@pytest.mark.parametrize("client", CLIENTS)
def test_what_a_client_asks_for_is_understood(read: Read, client: str) -> None:
    log = without_expiry(number_events(TYPICAL["mixed"]()))
    rest = next(number for number, event in log if event.type == "turn.ended")
    answer = {"id": "a1", "role": "tool", "toolCallId": "c0", "content": "seen"}
    yes, no = questions(log)
    resume = [
        {"interruptId": yes, "status": "resolved", "payload": {"approved": True}},
        {"interruptId": no, "status": "cancelled"},
    ]
    first = exchange(log[:rest], Reader(version=CLIENTS[client]))
    [result] = read(client, [[first, exchange([], Reader(), answers=[answer], resume=resume)]])

    first_request, second_request = [parse_run_input(body) for body in result["asked"]]
    assert first_request.message == NewMessage("hello")
    assert (first_request.thread_id, first_request.message_id) == ("thread_1", "mine")
    assert first_request.version == second_request.version == CLIENTS[client]
    assert second_request.message is None
    assert second_request.outputs == (ClientOutput("c0", "seen"),)
    assert {
        action_id: approval.approve for action_id, approval in second_request.approvals.items()
    } == {
        yes: True,
        no: False,
    }
    assert list(second_request.history) == result["asked"][1]["messages"]
