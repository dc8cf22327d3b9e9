"""Every known way to get chat completions wrong, through a whole server.

One process meets all of them, many at once, sent whole and in writes of seven bytes. Each run ends
as the scenario's table has it; what was streamed, kept and replayed is the same; a run that asked
for tools goes on with their outputs; and the process lives, without a complaint, over a database
without a fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import final, plain
from harness.checks import Verdict, judge
from harness.plain import Told
from harness.record import Record
from harness.servers import Server, started
from upstream import AFTER_TOOLS, SCENARIOS, Scenario, Upstream

AT_ONCE = 8
SECONDS = 60.0  # for one run, on a machine that does other things besides
SILENT = {"stall", "comments_forever"}
TOOLS = [{"name": "f", "parameters": {"type": "object"}}]
SMALL = 4_000  # bytes of a body that is also sent in pieces
NAMES = [*SCENARIOS, *(f"{name}@7" for name, one in SCENARIOS.items() if len(one.body) < SMALL)]
PRESCRIBED = {"completed", "action_required", "cancelled"}
CUT_SHORT = {"length", "content_filter", "disconnected", "stalled"}


@dataclass
class Played:
    """What a scenario came to: as it was streamed, as it is kept, and as it is replayed."""

    told: Sequence[Told]
    run: Any
    messages: Sequence[Any]
    actions: Sequence[Any]
    replay: Sequence[Told]
    ended: Any

    @property
    def heard(self) -> Sequence[Told]:
        """The events of the first turn that count: those before a new beginning are void."""
        again = [each for each in self.told if each.type == "turn.restarted"]
        void = {at for each in again for at in range(each.json["after"] + 1, each.number + 1)}
        return [each for each in self.told if each.number not in void]

    def pieces(self, kind: str) -> str:
        return "".join(each.json["text"] for each in self.heard if each.type == kind)

    def arguments(self) -> dict[str, str]:
        joined: dict[str, str] = {}
        for each in self.heard:
            if each.type == "tool_call.delta":
                call = each.json["tool_call_id"]
                joined[call] = joined.get(call, "") + each.json["arguments"]
        return joined


@dataclass
class Evening:
    """All that was played on one server, and how the server came out of it."""

    played: dict[str, Played]
    lived: bool
    complaints: Sequence[str]
    rejected: Sequence[str]
    verdict: Verdict


async def _play_all(folder: Path) -> Evening:
    database = folder / "antiphon.db"
    async with Upstream() as upstream:
        upstream.gate.set()
        server = await started(
            {
                "ANTIPHON_DATABASE": f"sqlite:///{database}",
                "ANTIPHON_BASE_URL": upstream.url,
                "ANTIPHON_MODEL": "quirk:ok",
            }
        )
        try:
            slots = asyncio.Semaphore(AT_ONCE)

            async def play(name: str) -> tuple[str, Played]:
                async with slots, asyncio.timeout(SECONDS):
                    return name, await _play(server, name)

            played = dict(await asyncio.gather(*map(play, NAMES)))
            lived = server.alive
        finally:
            await server.gone()
    verdict = judge(Record(), final.load(database))
    return Evening(played, lived, server.complaints, upstream.rejected, verdict)


async def _play(server: Server, name: str) -> Played:
    """One run, to its first rest; then what is kept of it; then, with outputs, to its end."""
    asked: dict[str, Any] = {"message": {"content": "go"}, "model": f"quirk:{name}"}
    asked |= {"deadlines": {"chunk": 1}} if name.partition("@")[0] in SILENT else {}
    asked |= {"tools": TOOLS} if name.startswith("t_") else {}
    told = await _turn(server, asked, cancelling=_scenario(name).expect == "cancelled")
    run_id, thread_id = told[0].json["run_id"], told[0].json["thread_id"]

    run = await _get(server, f"runs/{run_id}")
    messages = (await _get(server, "messages", thread_id=thread_id))["data"]
    actions = (await _get(server, "actions", run_id=run_id))["data"]
    replay = await _replayed(server, run_id, upto=told[-1].number)
    for action in actions:
        output = {"run_id": run_id, "tool_call_id": action["tool_call_id"], "output": "42"}
        answer = await plain.ask(server.url, "POST", "/v1/submit_tool_output", output)
        assert answer.status == 200, answer.body
    if actions:
        await plain.turn(server.url, "/v1/process", {"run_id": run_id})
    ended = (await _get(server, "messages", thread_id=thread_id))["data"][-1]
    return Played(told, run, messages, actions, replay, ended)


async def _turn(server: Server, asked: Any, *, cancelling: bool) -> list[Told]:
    """The turn's events; one without end is cancelled after a few."""
    told: list[Told] = []
    async with (
        plain.asked(server.url, "POST", "/v1/process", asked) as stream,
        aclosing(stream.events()) as events,
    ):
        async for each in events:
            told.append(each)
            if cancelling and len(told) == 5:
                path = f"/v1/runs/{told[0].json['run_id']}/cancel"
                await plain.ask(server.url, "POST", path, {})
    return told


async def _replayed(server: Server, run_id: str, upto: int) -> list[Told]:
    """The events again; a run that waits for outputs may go on, and its stream does not end."""
    told: list[Told] = []
    path = f"/v1/runs/{run_id}/events"
    async with (
        plain.asked(server.url, "GET", path, headers={"Last-Event-ID": "0"}) as stream,
        aclosing(stream.events()) as events,
    ):
        while not told or told[-1].number < upto:
            told.append(await anext(events))
    return told


async def _get(server: Server, path: str, **query: str) -> Any:
    answer = await plain.ask(server.url, "GET", f"/v1/{path}", query=query)
    assert answer.status == 200, answer.body
    return answer.json


def _scenario(name: str) -> Scenario:
    return SCENARIOS[name.partition("@")[0]]


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evening]:
    """Everything is played once; the tests look at what it came to."""
    return asyncio.run(_play_all(tmp_path_factory.mktemp("quirks")))


def _saved(played: Played) -> Any:
    """What was kept of the reply; nothing where nothing was said."""
    said = [each for each in played.messages if each["role"] == "assistant"]
    assert len(said) <= 1
    return said[0] if said else {"content": [], "role": "assistant"}


def _text(message: Any) -> str:
    return "".join(part["text"] for part in message["content"] if part["type"] == "text")


@pytest.mark.parametrize("name", NAMES)
def test_the_run_comes_to_what_the_reply_means(evening: Evening, name: str) -> None:
    wanted, played = _scenario(name), evening.played[name]

    status, why = wanted.expect, None
    if wanted.expect in CUT_SHORT:
        status, why = "incomplete", wanted.expect
    elif wanted.expect not in PRESCRIBED:
        status, why = "failed", wanted.expect
    run = played.run
    assert run["status"] == status
    assert (run.get("error") or {"code": run.get("reason")})["code"] == why
    assert played.told[-1].type == "turn.ended"
    assert played.told[-1].json["status"] == status
    if wanted.expect != "cancelled":
        assert played.pieces("text.delta") == wanted.text or status == "failed"


@pytest.mark.parametrize("name", NAMES)
def test_what_was_streamed_is_what_is_kept_and_replayed(evening: Evening, name: str) -> None:
    played = evening.played[name]
    message = _saved(played)

    assert _text(message) == played.pieces("text.delta")
    assert (message.get("reasoning") or "") == played.pieces("reasoning.delta")
    assert [(each.number, each.data) for each in played.replay] == [
        (each.number, each.data) for each in played.told
    ]
    assert [each.number for each in played.told] == list(range(1, len(played.told) + 1))
    completed = [each.json["message"] for each in played.told if each.type == "message.completed"]
    assert completed == [each for each in played.messages if each["role"] == "assistant"]


IN_PIECES = [name for name in NAMES if name.endswith("@7") and name != "endless@7"]


@pytest.mark.parametrize("name", IN_PIECES)
def test_how_a_reply_is_cut_into_writes_makes_no_difference(evening: Evening, name: str) -> None:
    pieces, whole = evening.played[name], evening.played[name.removesuffix("@7")]

    for kind in ("text.delta", "reasoning.delta"):
        assert pieces.pieces(kind) == whole.pieces(kind)
    assert list(pieces.arguments().values()) == list(whole.arguments().values())
    assert (pieces.run.get("error"), pieces.run["status"]) == (
        whole.run.get("error"),
        whole.run["status"],
    )


TOOL_RUNS = [name for name in NAMES if _scenario(name).expect == "action_required"]


@pytest.mark.parametrize("name", TOOL_RUNS)
def test_calls_are_handed_out_whole_and_the_run_goes_on_with_their_outputs(
    evening: Evening, name: str
) -> None:
    played = evening.played[name]
    calls = {call["id"]: call["arguments"] for call in _saved(played)["tool_calls"]}

    assert played.arguments() == {call: said for call, said in calls.items() if said}
    assert [action["tool_call_id"] for action in played.actions] == list(calls)
    assert {action["name"] for action in played.actions} == {"f"}
    (manifest,) = [each.json for each in played.told if each.type == "action.required"]
    assert [each["tool_call_id"] for each in manifest["actions"]] == list(calls)
    assert _text(played.ended) == AFTER_TOOLS


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TOOL_RUNS])
def test_no_call_is_handed_out_that_was_not_made(evening: Evening, name: str) -> None:
    assert evening.played[name].actions == []


def test_the_server_lives_and_has_nothing_to_complain_of(evening: Evening) -> None:
    assert evening.lived
    assert evening.complaints == []
    assert evening.rejected == []
    assert not any(evening.verdict.numbers.values()), str(evening.verdict)
