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
class ScenarioResult:
    """Result of a scenario: streamed, stored, and replayed."""

    streamed: Sequence[ServerEvent]
    run: Any
    messages: Sequence[Any]
    actions: Sequence[Any]
    replay: Sequence[ServerEvent]
    last_message: Any

    @property
    def valid_events(self) -> Sequence[ServerEvent]:
        """Return the events of the first turn that count: those before a restart are void."""
        restarts = [each for each in self.streamed if each.type == "turn.restarted"]
        void_numbers = {
            at for each in restarts for at in range(each.json["after"] + 1, each.number + 1)
        }
        return [each for each in self.streamed if each.number not in void_numbers]

    def pieces(self, kind: str) -> str:
        return "".join(each.json["text"] for each in self.valid_events if each.type == kind)

    def arguments(self) -> dict[str, str]:
        arguments_by_call: dict[str, str] = {}
        for each in self.valid_events:
            if each.type == "tool_call.delta":
                call = each.json["tool_call_id"]
                arguments_by_call[call] = arguments_by_call.get(call, "") + each.json["arguments"]
        return arguments_by_call


@dataclass(repr=False)  # `asyncio.run` asks for it twice, and some have megabytes of text
class ServerResults:
    """Results of all scenarios on one server, and the state of the server afterwards."""

    by_scenario: dict[str, ScenarioResult]
    is_alive: bool
    complaints: Sequence[str]
    rejected: Sequence[str]
    histories: dict[str, Any]
    verdict: Verdict


async def _play_all(folder: Path, names: Sequence[str]) -> ServerResults:
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

            async def play(name: str) -> tuple[str, ScenarioResult]:
                async with slots, asyncio.timeout(SECONDS):
                    return name, await _play(server, name)

            results_by_name = dict(await asyncio.gather(*map(play, names)))
            is_alive = server.alive
        finally:
            await server.stop_cleanly()
    verdict = judge(Record(), final_state.load(database))
    histories = {each.body["model"]: each.body["messages"] for each in upstream.requests}
    return ServerResults(
        results_by_name, is_alive, server.complaints, upstream.rejected, histories, verdict
    )


async def _play(server: Server, name: str) -> ScenarioResult:
    """Run one scenario to its first rest; load what is stored; go on with outputs to its end."""
    scenario = _scenario(name)
    provider = f"{scenario.declared}:" if scenario.declared else ""
    body: dict[str, Any] = {"message": {"content": "go"}, "model": f"{provider}quirk:{name}"}
    body |= {"deadlines": {"chunk": 1}} if scenario.expect == "stalled" else {}
    body |= {"tools": TOOLS} if name.startswith("t_") else {}
    streamed = await _turn(server, body, cancelling=scenario.expect == "cancelled")
    run_id, thread_id = streamed[0].json["run_id"], streamed[0].json["thread_id"]

    run = await _get(server, f"runs/{run_id}")
    messages = await _messages(server, thread_id)
    actions = (await _get(server, "actions", run_id=run_id))["data"]
    replay = await _replay(server, run_id, last_number=streamed[-1].number)
    for action in actions:
        output = {"run_id": run_id, "tool_call_id": action["tool_call_id"], "output": "42"}
        answer = await raw_http.send_request(server.url, "POST", "/v1/submit_tool_output", output)
        assert answer.status == 200, answer.body
    if actions:
        await raw_http.read_turn(server.url, "/v1/process", {"run_id": run_id})
    last_message = (await _messages(server, thread_id))[-1]
    return ScenarioResult(streamed, run, messages, actions, replay, last_message)


async def _turn(server: Server, body: Any, *, cancelling: bool) -> list[ServerEvent]:
    """Return the turn's events; a turn without end is cancelled after a few."""
    streamed: list[ServerEvent] = []
    async with (
        raw_http.open_request(server.url, "POST", "/v1/process", body) as stream,
        aclosing(stream.events()) as events,
    ):
        async for each in events:
            streamed.append(each)
            if cancelling and len(streamed) == 5:
                path = f"/v1/runs/{streamed[0].json['run_id']}/cancel"
                await raw_http.send_request(server.url, "POST", path, {})
    return streamed


async def _replay(server: Server, run_id: str, last_number: int) -> list[ServerEvent]:
    """Return the events again; a run that waits for outputs may go on: its stream does not end."""
    streamed: list[ServerEvent] = []
    path = f"/v1/runs/{run_id}/events"
    async with (
        raw_http.open_request(server.url, "GET", path, headers={"Last-Event-ID": "0"}) as stream,
        aclosing(stream.events()) as events,
    ):
        while not streamed or streamed[-1].number < last_number:
            streamed.append(await anext(events))
    return streamed


async def _messages(server: Server, thread_id: str) -> list[Any]:
    """Return all messages of the thread; a page ends early where they are large."""
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
def results(tmp_path_factory: pytest.TempPathFactory) -> ServerResults:
    """Run all scenarios once; the tests look at the results."""
    return asyncio.run(_play_all(tmp_path_factory.mktemp("quirks"), NAMES))


def _saved_reply(result: ScenarioResult) -> Any:
    """Return the stored reply; None if it has no text."""
    replies = [each for each in result.messages if each["role"] == "assistant"]
    assert len(replies) <= 1
    return replies[0] if replies else {"content": [], "role": "assistant"}


def _text(message: Any) -> str:
    return "".join(part["text"] for part in message["content"] if part["type"] == "text")


@pytest.mark.parametrize("name", NAMES)
def test_the_run_comes_to_what_the_reply_means(results: ServerResults, name: str) -> None:
    scenario, result = _scenario(name), results.by_scenario[name]

    status, reason = scenario.expect, None
    if scenario.expect in CUT_SHORT:
        status, reason = "incomplete", scenario.expect
    elif scenario.expect not in PRESCRIBED:
        status, reason = "failed", scenario.expect
    run = result.run
    assert run["status"] == status
    assert (run.get("error") or {"code": run.get("reason")})["code"] == reason
    assert result.streamed[-1].type == "turn.ended"
    assert result.streamed[-1].json["status"] == status
    if status not in ("failed", "cancelled"):
        assert result.pieces("text.delta") == scenario.text
        assert result.pieces("reasoning.delta") == scenario.reasoning
        assert result.pieces("refusal.delta") == scenario.refusal
    if scenario.expect == "provider_error" or (scenario.whole_only and status == "failed"):
        assert "boom" in run["error"]["message"]
    if scenario.tokens:
        usage = run["usage"]
        assert (usage["input_tokens"], usage["output_tokens"]) == scenario.tokens


@pytest.mark.parametrize("name", NAMES)
def test_what_was_streamed_is_what_is_kept_and_replayed(results: ServerResults, name: str) -> None:
    check_kept(results.by_scenario[name])


def check_kept(result: ScenarioResult) -> None:
    """Check that the message and a replay are what was streamed."""
    message = _saved_reply(result)

    assert _text(message) == result.pieces("text.delta")
    refusals = [part["refusal"] for part in message["content"] if part["type"] == "refusal"]
    assert "".join(refusals) == result.pieces("refusal.delta")
    assert (message.get("reasoning") or "") == result.pieces("reasoning.delta")
    assert [(each.number, each.data) for each in result.replay] == [
        (each.number, each.data) for each in result.streamed
    ]
    assert [each.number for each in result.streamed] == list(range(1, len(result.streamed) + 1))
    completed = [
        each.json["message"] for each in result.streamed if each.type == "message.completed"
    ]
    assert completed == [each for each in result.messages if each["role"] == "assistant"]


@pytest.mark.parametrize("name", IN_BYTES)
def test_how_a_reply_is_cut_into_writes_makes_no_difference(
    results: ServerResults, name: str
) -> None:
    check_alike(results.by_scenario[name], results.by_scenario[_plain_name(name)])


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(1, marks=pytest.mark.slow),
        *(pytest.param(size, marks=pytest.mark.soak) for size in OTHER_SIZES),
    ],
)
def test_writes_of_any_size_come_to_the_same(
    results: ServerResults, size: int, tmp_path: Path
) -> None:
    cut_results = asyncio.run(_play_all(tmp_path, [f"{name}@{size}" for name in CUTTABLE]))

    for name, pieces in cut_results.by_scenario.items():
        check_alike(pieces, results.by_scenario[_plain_name(name)])
        check_kept(pieces)
    assert cut_results.complaints == []


def check_alike(pieces: ScenarioResult, uncut: ScenarioResult) -> None:
    """Check that two runs have the same texts and calls and the same end."""
    for kind in ("text.delta", "reasoning.delta", "refusal.delta"):
        assert pieces.pieces(kind) == uncut.pieces(kind)
    assert list(pieces.arguments().values()) == list(uncut.arguments().values())
    assert _end(pieces.run) == _end(uncut.run)


TOOL_RUNS = [name for name in NAMES if _scenario(name).expect == "action_required"]


@pytest.mark.parametrize("name", TOOL_RUNS)
def test_calls_are_handed_out_whole_and_the_run_goes_on_with_their_outputs(
    results: ServerResults, name: str
) -> None:
    result, scenario = results.by_scenario[name], _scenario(name)
    calls = {call["id"]: call["arguments"] for call in _saved_reply(result)["tool_calls"]}

    assert tuple(calls.values()) == scenario.calls
    for call_id, provider_id in zip(calls, scenario.ids, strict=True):
        assert call_id == provider_id if provider_id else call_id.startswith("call_")
    assert result.arguments() == {call: arguments for call, arguments in calls.items() if arguments}
    assert [action["tool_call_id"] for action in result.actions] == list(calls)
    assert {action["name"] for action in result.actions} == {"f"}
    (manifest,) = [each.json for each in result.streamed if each.type == "action.required"]
    assert [each["tool_call_id"] for each in manifest["actions"]] == list(calls)
    assert _text(result.last_message) == AFTER_TOOLS


def test_what_only_its_provider_understands_of_a_call_goes_back_with_it(
    results: ServerResults,
) -> None:
    (call,) = results.histories["quirk:t_extra_content"][-2]["tool_calls"]

    assert call["extra_content"] == {"google": {"thought_signature": "s\ufffd"}}


@pytest.mark.parametrize("name", TOOL_RUNS)
def test_opaque_details_of_reasoning_go_back_as_they_came(
    results: ServerResults, name: str
) -> None:
    (message,) = [
        each for each in results.histories[f"quirk:{name}"] if each["role"] == "assistant"
    ]

    assert tuple(message.get("reasoning_details", ())) == _scenario(name).details


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TOOL_RUNS])
def test_no_call_is_handed_out_that_was_not_made(results: ServerResults, name: str) -> None:
    assert results.by_scenario[name].actions == []


def test_the_server_lives_and_has_nothing_to_complain_of(results: ServerResults) -> None:
    assert results.is_alive
    assert results.complaints == []
    assert results.rejected == []
    assert not any(results.verdict.numbers.values()), str(results.verdict)
