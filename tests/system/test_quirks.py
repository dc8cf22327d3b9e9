"""Every known way to get chat completions wrong, through a whole server.

One process meets all of them, many at once, sent whole, and three of them byte by byte too. The
others byte by byte are slow, for the parser reads each of them so in its own tests; writes of other
sizes are a soak. Each run comes to what the scenario's table says, to the letter; what was
streamed, kept and replayed is the same; a run that asked for tools goes on with their outputs; and
the process lives, without a complaint, over a database without a fault.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import final_state, raw_http
from tests.support.harness.checks import Verdict, judge
from tests.support.harness.raw_http import ServerEvent
from tests.support.harness.record import Record
from tests.support.harness.servers import Server, start_server
from tests.support.providers.upstream import AFTER_TOOLS, SCENARIOS, Scenario, Upstream

AT_ONCE = 8
SECONDS = 60.0  # for one run, on a machine that does other things besides
TOOLS = [{"name": "f", "parameters": {"type": "object"}}]
SMALL = 4_000  # bytes of a body that is also sent in pieces
CUTTABLE = [name for name, one in SCENARIOS.items() if len(one.body) < SMALL and name != "endless"]
IN_BYTES = [f"{name}@1" for name in ("ok", "split_surrogates", "t_interleaved")]
NAMES = [*SCENARIOS, *IN_BYTES]
OTHER_SIZES = (2, 3, 7, 64)
DECLARED = """
[providers.cumulative]
base_url = "http://127.0.0.1"
quirks = { cumulative = true }

[providers.think_tags]
base_url = "http://127.0.0.1"
quirks = { think_tags = true }

[providers.think_prefilled]
base_url = "http://127.0.0.1"
quirks = { think_prefilled = true }

[providers.leaked_calls]
base_url = "http://127.0.0.1"
quirks = { leaked_calls = true }

[providers.stream]
base_url = "http://127.0.0.1"
quirks = { stream = "without_tools" }
"""
PRESCRIBED = {"completed", "action_required", "cancelled"}
CUT_SHORT = {"length", "content_filter", "disconnected", "stalled"}


@dataclass
class Played:
    """Results of a scenario: streamed, stored, and replayed."""

    told: Sequence[ServerEvent]
    run: Any
    messages: Sequence[Any]
    actions: Sequence[Any]
    replay: Sequence[ServerEvent]
    ended: Any

    @property
    def heard(self) -> Sequence[ServerEvent]:
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


@dataclass(repr=False)  # `asyncio.run` asks for it twice, and some have said millions of bytes
class Evening:
    """All that was played on one server, and how the server came out of it."""

    played: dict[str, Played]
    lived: bool
    complaints: Sequence[str]
    rejected: Sequence[str]
    histories: dict[str, Any]
    verdict: Verdict


async def _play_all(folder: Path, names: Sequence[str]) -> Evening:
    database = folder / "antiphon.db"
    (folder / "antiphon").mkdir()
    (folder / "antiphon" / "antiphon.toml").write_text(DECLARED)
    async with Upstream() as upstream:
        upstream.gate.set()
        server = await start_server(
            {
                "XDG_CONFIG_HOME": str(folder),
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

            played = dict(await asyncio.gather(*map(play, names)))
            lived = server.alive
        finally:
            await server.stop_cleanly()
    verdict = judge(Record(), final_state.load(database))
    histories = {each.body["model"]: each.body["messages"] for each in upstream.requests}
    return Evening(played, lived, server.complaints, upstream.rejected, histories, verdict)


async def _play(server: Server, name: str) -> Played:
    """One run, to its first rest; then what is kept of it; then, with outputs, to its end."""
    wanted = _scenario(name)
    provider = f"{wanted.declared}:" if wanted.declared else ""
    asked: dict[str, Any] = {"message": {"content": "go"}, "model": f"{provider}quirk:{name}"}
    asked |= {"deadlines": {"chunk": 1}} if wanted.expect == "stalled" else {}
    asked |= {"tools": TOOLS} if name.startswith("t_") else {}
    told = await _turn(server, asked, cancelling=wanted.expect == "cancelled")
    run_id, thread_id = told[0].json["run_id"], told[0].json["thread_id"]

    run = await _get(server, f"runs/{run_id}")
    messages = await _messages(server, thread_id)
    actions = (await _get(server, "actions", run_id=run_id))["data"]
    replay = await _replay(server, run_id, upto=told[-1].number)
    for action in actions:
        output = {"run_id": run_id, "tool_call_id": action["tool_call_id"], "output": "42"}
        answer = await raw_http.send_request(server.url, "POST", "/v1/submit_tool_output", output)
        assert answer.status == 200, answer.body
    if actions:
        await raw_http.read_turn(server.url, "/v1/process", {"run_id": run_id})
    ended = (await _messages(server, thread_id))[-1]
    return Played(told, run, messages, actions, replay, ended)


async def _turn(server: Server, asked: Any, *, cancelling: bool) -> list[ServerEvent]:
    """The turn's events; one without end is cancelled after a few."""
    told: list[ServerEvent] = []
    async with (
        raw_http.open_request(server.url, "POST", "/v1/process", asked) as stream,
        aclosing(stream.events()) as events,
    ):
        async for each in events:
            told.append(each)
            if cancelling and len(told) == 5:
                path = f"/v1/runs/{told[0].json['run_id']}/cancel"
                await raw_http.send_request(server.url, "POST", path, {})
    return told


async def _replay(server: Server, run_id: str, upto: int) -> list[ServerEvent]:
    """The events again; a run that waits for outputs may go on, and its stream does not end."""
    told: list[ServerEvent] = []
    path = f"/v1/runs/{run_id}/events"
    async with (
        raw_http.open_request(server.url, "GET", path, headers={"Last-Event-ID": "0"}) as stream,
        aclosing(stream.events()) as events,
    ):
        while not told or told[-1].number < upto:
            told.append(await anext(events))
    return told


async def _messages(server: Server, thread_id: str) -> list[Any]:
    """All messages of the thread; a page ends early where they are large."""
    page = await _get(server, "messages", thread_id=thread_id)
    messages = list(page["data"])
    while page["has_more"]:
        page = await _get(server, "messages", thread_id=thread_id, after=page["next"])
        messages += page["data"]
    return messages


async def _get(server: Server, path: str, **query: str) -> Any:
    answer = await raw_http.send_request(server.url, "GET", f"/v1/{path}", query=query)
    assert answer.status == 200, answer.body
    return answer.json


def _end(run: Any) -> Any:
    """Return the end of a run without the upstream's port, which differs."""
    error = run.get("error") or {}
    return (
        run["status"],
        run.get("reason"),
        error.get("code"),
        _PORT.sub(":", error.get("message", "")),
    )


_PORT = re.compile(r"(?<=127\.0\.0\.1):\d+")


def _plain_name(name: str) -> str:
    return name.partition("@")[0]


def _scenario(name: str) -> Scenario:
    return SCENARIOS[_plain_name(name)]


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Evening:
    """Everything is played once; the tests look at the outcome."""
    return asyncio.run(_play_all(tmp_path_factory.mktemp("quirks"), NAMES))


def _saved_reply(played: Played) -> Any:
    """Return the stored reply; None if it has no text."""
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
    if status not in ("failed", "cancelled"):
        assert played.pieces("text.delta") == wanted.text
        assert played.pieces("reasoning.delta") == wanted.reasoning
        assert played.pieces("refusal.delta") == wanted.refusal
    if wanted.expect == "provider_error" or (wanted.whole_only and status == "failed"):
        assert "boom" in run["error"]["message"]
    if wanted.tokens:
        used = run["usage"]
        assert (used["input_tokens"], used["output_tokens"]) == wanted.tokens


@pytest.mark.parametrize("name", NAMES)
def test_what_was_streamed_is_what_is_kept_and_replayed(evening: Evening, name: str) -> None:
    check_kept(evening.played[name])


def check_kept(played: Played) -> None:
    """Check that the message and a replay are what was streamed."""
    message = _saved_reply(played)

    assert _text(message) == played.pieces("text.delta")
    refusals = [part["refusal"] for part in message["content"] if part["type"] == "refusal"]
    assert "".join(refusals) == played.pieces("refusal.delta")
    assert (message.get("reasoning") or "") == played.pieces("reasoning.delta")
    assert [(each.number, each.data) for each in played.replay] == [
        (each.number, each.data) for each in played.told
    ]
    assert [each.number for each in played.told] == list(range(1, len(played.told) + 1))
    completed = [each.json["message"] for each in played.told if each.type == "message.completed"]
    assert completed == [each for each in played.messages if each["role"] == "assistant"]


@pytest.mark.parametrize("name", IN_BYTES)
def test_how_a_reply_is_cut_into_writes_makes_no_difference(evening: Evening, name: str) -> None:
    alike(evening.played[name], evening.played[_plain_name(name)])


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(1, marks=pytest.mark.slow),
        *(pytest.param(size, marks=pytest.mark.soak) for size in OTHER_SIZES),
    ],
)
def test_writes_of_any_size_come_to_the_same(evening: Evening, size: int, tmp_path: Path) -> None:
    again = asyncio.run(_play_all(tmp_path, [f"{name}@{size}" for name in CUTTABLE]))

    for name, pieces in again.played.items():
        alike(pieces, evening.played[_plain_name(name)])
        check_kept(pieces)
    assert again.complaints == []


def alike(pieces: Played, whole: Played) -> None:
    """Check that two runs have the same texts and calls and the same end."""
    for kind in ("text.delta", "reasoning.delta", "refusal.delta"):
        assert pieces.pieces(kind) == whole.pieces(kind)
    assert list(pieces.arguments().values()) == list(whole.arguments().values())
    assert _end(pieces.run) == _end(whole.run)


TOOL_RUNS = [name for name in NAMES if _scenario(name).expect == "action_required"]


@pytest.mark.parametrize("name", TOOL_RUNS)
def test_calls_are_handed_out_whole_and_the_run_goes_on_with_their_outputs(
    evening: Evening, name: str
) -> None:
    played, wanted = evening.played[name], _scenario(name)
    calls = {call["id"]: call["arguments"] for call in _saved_reply(played)["tool_calls"]}

    assert tuple(calls.values()) == wanted.calls
    for ours, theirs in zip(calls, wanted.ids, strict=True):
        assert ours == theirs if theirs else ours.startswith("call_")
    assert played.arguments() == {call: said for call, said in calls.items() if said}
    assert [action["tool_call_id"] for action in played.actions] == list(calls)
    assert {action["name"] for action in played.actions} == {"f"}
    (manifest,) = [each.json for each in played.told if each.type == "action.required"]
    assert [each["tool_call_id"] for each in manifest["actions"]] == list(calls)
    assert _text(played.ended) == AFTER_TOOLS


def test_what_only_its_provider_understands_of_a_call_goes_back_with_it(evening: Evening) -> None:
    (call,) = evening.histories["quirk:t_extra_content"][-2]["tool_calls"]

    assert call["extra_content"] == {"google": {"thought_signature": "s\ufffd"}}


@pytest.mark.parametrize("name", TOOL_RUNS)
def test_opaque_details_of_reasoning_go_back_as_they_came(evening: Evening, name: str) -> None:
    (asked,) = [each for each in evening.histories[f"quirk:{name}"] if each["role"] == "assistant"]

    assert tuple(asked.get("reasoning_details", ())) == _scenario(name).details


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TOOL_RUNS])
def test_no_call_is_handed_out_that_was_not_made(evening: Evening, name: str) -> None:
    assert evening.played[name].actions == []


def test_the_server_lives_and_has_nothing_to_complain_of(evening: Evening) -> None:
    assert evening.lived
    assert evening.complaints == []
    assert evening.rejected == []
    assert not any(evening.verdict.numbers.values()), str(evening.verdict)
