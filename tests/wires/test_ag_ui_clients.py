"""AG-UI's own clients, from npm, read our stream: they refuse what comes in a wrong order.

Node comes with pyright. Where the packages cannot be had, this is skipped, and says so.
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
from antiphon.wires.ag_ui.run_input import ClientOutput
from antiphon.wires.ag_ui.run_input import parse_run_input as understood
from antiphon.wires.framing import HEARTBEAT, drop_void_events
from tests.support.wires.ag_ui_judge import essence
from tests.support.wires.node_programs import NodePrograms
from tests.support.wires.stories import TYPICAL, number_events, runs

HERE = Path(__file__).parents[1] / "support/wires"
CLIENTS: dict[str, Version] = {"agui0": "0", "agui1": "1"}
MINE = {"id": "mine", "role": "user", "content": "hello"}
FAR = 4_000_000_000_000  # in the year 2096
PIECE = 61  # bytes: no frame comes whole

Frames = Sequence[bytes]
Read = Callable[[str, Sequence[Sequence[dict[str, Any]]]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def read(npm_packages: Callable[[Path], Path], node: Path) -> Iterator[Read]:
    """Return the messages that a client builds from each list of exchanges."""
    clients = HERE / "ag_ui_clients"
    with NodePrograms(node, clients / "read.mjs", npm_packages(clients)) as programs:
        yield programs.ask


def exchange(events: Sequence[Numbered], reader: Reader, **said: Any) -> dict[str, Any]:
    """A stream as it may come over a wire, with signs of life in it, and what was sent for it."""
    stream = AgUi(reader)
    data = HEARTBEAT.join([*stream.feed_all(events), *stream.close()])
    cut = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
    return {"stream": [base64.b64encode(piece).decode() for piece in cut], **said}


def questions(log: Sequence[Numbered]) -> list[str]:
    """The actions of which a person is asked."""
    asked = [event.actions for _, event in log if isinstance(event, ActionRequired)]
    return [each.action_id for actions in asked for each in actions if each.kind == "approval"]


def in_time(log: Sequence[Numbered]) -> list[Numbered]:
    """The run as if it were now: a client answers nothing that has expired."""
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
    """Any runs, and a place in each."""
    drawn: list[tuple[list[Numbered], int]] = []

    @given(runs(), st.integers(0, 10_000))
    @settings(
        max_examples=how_many,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def draw(events: list[Numbered], place: int) -> None:
        drawn.append((events, place % (len(events) + 1)))

    draw()
    return drawn


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
    for log, one, other in zip(logs, live, late, strict=True):
        assert one["failures"] == one["complaints"] == [], log
        assert other["failures"] == other["complaints"] == [], log
        assert essence(one["messages"]) == essence(other["messages"]), log


@pytest.mark.parametrize("client", CLIENTS)
def test_wherever_a_client_is_cut_off_it_comes_back_to_the_same_messages(
    read: Read, client: str
) -> None:
    reader = Reader(version=CLIENTS[client], history=(MINE,))
    cuts = sample(4 * settings.default.max_examples)
    again = [Reader(version=CLIENTS[client], history=(MINE,), after=cut) for _, cut in cuts]

    whole = read(client, [[exchange(log, reader)] for log, _ in cuts])
    broken = read(
        client,
        [
            [exchange(log[:cut], reader), exchange(log, after)]
            for (log, cut), after in zip(cuts, again, strict=True)
        ],
    )
    for (log, cut), one, other in zip(cuts, whole, broken, strict=True):
        assert other["failures"] == other["complaints"] == [], (cut, log)
        assert essence(one["messages"]) == essence(other["messages"]), (cut, log)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_person_is_asked_and_a_later_run_goes_on(read: Read, client: str) -> None:
    version = CLIENTS[client]
    log = in_time(number_events(TYPICAL["mixed"]()))
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

    [made] = read(
        client,
        [
            [
                exchange(log[:rest], Reader(version=version)),
                exchange(log, after, answers=[answer], resume=resume),
            ]
        ],
    )
    assert made["failures"] == made["complaints"] == []
    finished = [run for run in made["runs"] if run[0] == "finished"]
    assert [run[2:4] for run in finished] == [["run_2:turn-1", "interrupt"], ["theirs", "success"]]
    assert [each["toolCallId"] for each in finished[0][4]] == ["c2", "c3"]
    outputs = {m["toolCallId"]: m["content"] for m in made["messages"] if m["role"] == "tool"}
    assert len([m for m in made["messages"] if m["role"] == "tool"]) == len(outputs) == 4
    assert made["messages"][-1]["content"] == "All done."


@pytest.mark.parametrize("client", CLIENTS)
def test_what_a_client_asks_for_is_understood(read: Read, client: str) -> None:
    log = in_time(number_events(TYPICAL["mixed"]()))
    rest = next(number for number, event in log if event.type == "turn.ended")
    answer = {"id": "a1", "role": "tool", "toolCallId": "c0", "content": "seen"}
    yes, no = questions(log)
    resume = [
        {"interruptId": yes, "status": "resolved", "payload": {"approved": True}},
        {"interruptId": no, "status": "cancelled"},
    ]
    first = exchange(log[:rest], Reader(version=CLIENTS[client]))
    [made] = read(client, [[first, exchange([], Reader(), answers=[answer], resume=resume)]])

    asked, again = [understood(body) for body in made["asked"]]
    assert asked.message == NewMessage("hello")
    assert (asked.thread_id, asked.message_id) == ("thread_1", "mine")
    assert asked.version == again.version == CLIENTS[client]
    assert again.message is None
    assert again.outputs == (ClientOutput("c0", "seen"),)
    assert {of: said.approve for of, said in again.approvals.items()} == {
        yes: True,
        no: False,
    }
    assert list(again.history) == made["asked"][1]["messages"]
