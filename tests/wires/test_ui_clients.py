"""Clients of the AI SDK, from npm, read our stream.

They are the newest client of each version, and the first one of the oldest version.

Node comes with pyright. Without the packages the tests are skipped, with a reason.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from antiphon.types.chunks import CallPiece
from antiphon.types.events import Numbered
from antiphon.wires.ai_sdk.message_stream import UIMessageStream
from antiphon.wires.framing import HEARTBEAT, drop_void_events, parse_cursor
from tests.support.engine.world import call
from tests.support.wires.node_programs import NodePrograms
from tests.support.wires.stories import CALLS, TYPICAL, begin_run, number_events, runs
from tests.support.wires.ui_client_programs import _KEPT, CLIENTS, HERE, Frames, essence, run_judge
from tests.support.wires.ui_judge import GRAMMAR, less_void
from tests.support.wires.ui_streams import encode_events

CONFUSED = "ai5.0"
"""A client with one call for each id: a call that a restart repeats replaces the void one."""
PIECE = 61  # bytes, so few that every frame is cut

Read = Callable[[str, Sequence[Sequence[Frames]]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def read(npm_packages: Callable[[Path], Path], node: Path) -> Iterator[Read]:
    """Return the messages that a client builds from each list of streams."""
    clients = HERE / "ui_clients"
    with NodePrograms(node, clients / "read.mjs", npm_packages(clients)) as programs:

        def read(name: str, stories: Sequence[Sequence[Frames]]) -> list[dict[str, Any]]:
            pieces = [[_pieces(frames) for frames in streams] for streams in stories]
            return programs.ask(name, pieces)

        yield read


def _pieces(frames: Frames) -> list[str]:
    """Return the stream as it may come over a wire: in pieces, with heartbeats."""
    data = HEARTBEAT.join(frames)
    pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
    return [base64.b64encode(piece).decode() for piece in pieces]


_KEPT += ("approval", "preliminary", "providerMetadata")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_makes_the_same_message_of_a_typical_run_as_the_judge(
    read: Read, client: str
) -> None:
    sdk = CLIENTS[client]
    stories = {
        name: encode_events(number_events(story()), sdk)
        for name, story in TYPICAL.items()
        if (name, client) != ("restarted", CONFUSED)
    }

    results = dict(
        zip(stories, read(client, [[frames] for frames in stories.values()]), strict=True)
    )
    for name, frames in stories.items():
        judge = run_judge(sdk, [frames])
        assert results[name]["complaints"] == judge.errors, name
        assert essence(results[name]["message"]) == essence(judge.message), name


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_makes_the_same_message_of_any_run_as_the_judge(read: Read, client: str) -> None:
    sdk = CLIENTS[client]
    streams: list[Frames] = []

    @given(runs())
    @settings(
        max_examples=4 * settings.default.max_examples,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def draw(events: list[Numbered]) -> None:
        streams.append(encode_events(events, sdk))

    draw()
    for frames, result in zip(streams, read(client, [[frames] for frames in streams]), strict=True):
        judge = run_judge(sdk, [frames])
        assert result["complaints"] == judge.errors, b"".join(frames).decode()
        if client != CONFUSED:
            assert essence(result["message"]) == essence(judge.message), b"".join(frames).decode()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("story", ["tool-call", "mixed", "restarted"])
def test_a_client_that_comes_back_to_a_run_at_rest_goes_on_with_its_message(
    read: Read, client: str, story: str
) -> None:
    """`useChat` does so after an approval: it adds the new parts to the message."""
    sdk = CLIENTS[client]
    events = number_events(TYPICAL[story]())
    rest = next(n for n, event in events if event.type == "turn.ended")
    first = encode_events(events[:rest], sdk)
    last = [frame for frame in first if frame.startswith(b"id: ")][-1]
    after = parse_cursor(last.decode().split("\n")[0].removeprefix("id: "), events[0][1].run_id)  # type: ignore[union-attr]
    second = encode_events(drop_void_events(events, after.number), sdk, after)

    [result] = read(client, [[first, second]])
    assert result["complaints"] == []
    expected = run_judge(sdk, [encode_events(events, sdk)]).message
    if (story, client) == ("restarted", CONFUSED):
        return
    assert less_void(essence(result["message"])["parts"]) == less_void(essence(expected)["parts"])
    assert result["message"]["metadata"] == expected["metadata"]


@pytest.mark.parametrize("client", ["ai5", "ai6", "ai7"])
def test_progress_and_questions_of_this_side_are_shown_until_the_output_comes(
    read: Read, client: str
) -> None:
    sdk = CLIENTS[client]
    world = begin_run()
    world.reply(call(0), CALLS)
    stream = UIMessageStream(sdk)
    frames = stream.feed_all(number_events(world))
    frames += stream.approval_asked("c0", "ask_1")
    frames += stream.approval_given("c0")
    frames += stream.tool_status("c0", "running", 0.5)
    frames += stream.progress("c0", 1, 2, "half")
    before_output = len(frames)
    world.submit("c0", "42")
    frames += stream.feed_all(number_events(world))

    partial, final = read(client, [[frames[:before_output]], [frames]])
    assert (partial["complaints"], final["complaints"]) == ([], [])
    [tool] = [part for part in partial["message"]["parts"] if part["type"] == "dynamic-tool"]
    assert tool["preliminary"] is True
    [tool] = [part for part in final["message"]["parts"] if part["type"] == "dynamic-tool"]
    assert (tool["output"], tool.get("preliminary")) == ("42", None)


@pytest.mark.parametrize("client", CLIENTS)
def test_no_arguments_of_a_model_break_a_client(read: Read, client: str) -> None:
    sdk = CLIENTS[client]
    stories: list[Sequence[Frames]] = []
    for arguments in (
        '{"__proto__":{"a":1}}',
        '{"a":[{"\\u005f_proto__":1}]}',
        '{"constructor":{"prototype":1}}',
        '{"a":123456789012345678901234567890,"b":"\\u2028","":[]}',
        '{"a":' + "[" * 100 + "]" * 100 + "}",
    ):
        world = begin_run()
        world.reply(CallPiece(index=0, id="c0", name="look", arguments=arguments), CALLS)
        stories.append([encode_events(number_events(world), sdk)])

    for result in read(client, stories):
        assert result["complaints"] == []
        assert [p["state"] for p in result["message"]["parts"] if "toolName" in p] == [
            "input-available"
        ]


@pytest.mark.parametrize("client", ["ai5.0", "ai5"])
def test_the_judge_forgives_no_more_than_a_client(read: Read, client: str) -> None:
    """A stream with parts that are too new for a version is an error to both."""
    frames = encode_events(number_events(TYPICAL["asked"]()), 7)

    [result] = read(client, [[frames]])
    assert result["complaints"]
    with pytest.raises(AssertionError, match="unknown to version 5"):
        run_judge(5, [frames])


def test_the_lock_file_of_the_clients_names_no_place_to_fetch_packages_from() -> None:
    lock = (HERE / "ui_clients/package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity"') > 20


def test_the_page_names_every_part_and_every_client_that_is_tested() -> None:
    page = (HERE.parents[2] / "docs/reference/wires.md").read_text("utf-8")
    pinned = json.loads((HERE / "ui_clients/package.json").read_text())["dependencies"]
    versions = [pin.removeprefix("npm:ai@") for name, pin in pinned.items() if name in CLIENTS]

    assert len(versions) == len(CLIENTS)
    assert [name for name in (*GRAMMAR, *versions) if name not in page] == []
